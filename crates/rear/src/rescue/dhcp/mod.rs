//! A DHCP client for IPv4, for machines whose own cannot be taken into the rescue system: NetworkManager and
//! systemd-networkd have theirs built in. Gets a lease and keeps it; sets no address itself.

pub mod message;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use message::{Answer, Ask, Lease};

/// How messages go out and come in.
pub trait Wire {
    /// Sends a message to all servers.
    ///
    /// # Errors
    /// When the link does not take it.
    fn send(&self, message: &[u8]) -> io::Result<()>;
    /// The next message, or `None` when none came in that time.
    ///
    /// # Errors
    /// When the link is gone.
    fn receive(&self, limit: Duration) -> io::Result<Option<Vec<u8>>>;
}

/// A card, by its name.
pub struct Card(Socket);

impl Card {
    /// Opens the client's port on this link alone.
    ///
    /// # Errors
    /// When there is no such link, or another client has the port.
    pub fn open(device: &str) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind_device(Some(device.as_bytes()))?;
        socket.set_broadcast(true)?;
        // Each link has a socket of its own on the same port.
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into())?;
        Ok(Self(socket))
    }
}

impl Wire for Card {
    fn send(&self, message: &[u8]) -> io::Result<()> {
        self.0.send_to(message, &SocketAddrV4::new(Ipv4Addr::BROADCAST, 67).into()).map(|_| ())
    }

    fn receive(&self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        // No time at all would mean: wait for ever.
        self.0.set_read_timeout(Some(limit.max(Duration::from_millis(1))))?;
        let mut buffer = [0; 1500];
        match io::Read::read(&mut &self.0, &mut buffer) {
            Ok(length) => Ok(Some(buffer[..length].to_vec())),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            },
        }
    }
}

/// One conversation after the other with the servers of a link.
pub struct Client<'w> {
    /// The link.
    pub wire: &'w dyn Wire,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Number of the next conversation.
    pub xid: u32,
    /// How long the first answer may take; each further one twice as long, up to 16 times.
    pub patience: Duration,
}

impl Client<'_> {
    /// Gets an address, or `None` when no server gave one in that time.
    ///
    /// # Errors
    /// When the link is gone.
    pub fn acquire(&mut self, limit: Duration) -> io::Result<Option<Lease>> {
        let until = Instant::now() + limit;
        while let Some(Answer::Offer(offer)) =
            self.ask(Ask::Discover, until, |answer| matches!(answer, Answer::Offer(_)))?
        {
            let request = Ask::Request { address: offer.address, server: offer.server };
            let soon = until.min(Instant::now() + self.patience * 8);
            match self.ask(request, soon, |answer| !matches!(answer, Answer::Offer(_)))? {
                Some(Answer::Ack(lease)) => return Ok(Some(lease)),
                // Given to another meanwhile, or the server is gone: from the beginning.
                _ => std::thread::sleep(self.patience.min(until.saturating_duration_since(Instant::now()))),
            }
        }
        Ok(None)
    }

    /// Asks to keep an address: the lease renewed, or `None` when it may not be used any longer, or nobody answered.
    ///
    /// # Errors
    /// When the link is gone.
    pub fn renew(&mut self, address: Ipv4Addr, limit: Duration) -> io::Result<Option<Lease>> {
        let until = Instant::now() + limit;
        let answer = self.ask(Ask::Renew(address), until, |answer| !matches!(answer, Answer::Offer(_)))?;
        Ok(match answer {
            Some(Answer::Ack(lease)) if lease.address == address => Some(lease),
            _ => None,
        })
    }

    /// Asks until an answer comes that is wanted.
    fn ask(
        &mut self,
        ask: Ask,
        until: Instant,
        wanted: impl Fn(&Answer) -> bool,
    ) -> io::Result<Option<Answer>> {
        // An offer and its request are one conversation.
        if !matches!(ask, Ask::Request { .. }) {
            self.xid = self.xid.wrapping_add(1);
        }
        let message = message::write(ask, self.xid, self.mac);
        let mut wait = self.patience;
        while Instant::now() < until {
            self.wire.send(&message)?;
            let again = until.min(Instant::now() + wait);
            wait = (wait * 2).min(self.patience * 16);
            while Instant::now() < again {
                let left = again.saturating_duration_since(Instant::now());
                let Some(bytes) = self.wire.receive(left)? else { continue };
                match message::read(&bytes, self.xid, self.mac) {
                    Some(answer) if wanted(&answer) => return Ok(Some(answer)),
                    _ => {}
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;

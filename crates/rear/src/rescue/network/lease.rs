//! A link configured by our own DHCP client: address, routes and name servers as the server says, and the lease
//! renewed in the background as long as the rescue system runs.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use image::network::Address;
use sys::{Sys, SysExt};

use super::super::dhcp::message::Lease;
use super::super::dhcp::{Card, Client};
use super::super::screen::Screen;
use super::{DHCP_LIMIT, give, ip, resolv_conf};

/// The shortest time between two questions.
const PAUSE: Duration = Duration::from_secs(30);

/// Gets a lease and configures the link.
pub fn take(sys: &dyn Sys, screen: &Screen, device: &str) -> Result<(), String> {
    let text = sys.read_text(Path::new("/sys/class/net").join(device).join("address"));
    let mac = text.ok().as_deref().and_then(mac).ok_or("it has no hardware address of Ethernet")?;
    let card =
        Card::open(device).map_err(|error| format!("the client's port 68 cannot be opened: {error}"))?;
    let mut xid = [0; 4];
    rustix::rand::getrandom(&mut xid, rustix::rand::GetRandomFlags::empty()).map_err(|e| e.to_string())?;
    let mut client =
        Client { wire: &card, mac, xid: u32::from_ne_bytes(xid), patience: Duration::from_secs(1) };
    let lease = client
        .acquire(DHCP_LIMIT)
        .map_err(|error| error.to_string())?
        .ok_or("no server answered; is the cable in, and is it the right network?")?;
    let xid = client.xid;

    let address = Address { ip: IpAddr::V4(lease.address), prefix: lease.prefix };
    if !give(sys, screen, device, &address) {
        return Err(format!("{} was offered, and could not be taken", lease.address));
    }
    for words in words(&lease, device) {
        ip(sys, screen, &words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    if !lease.dns.is_empty() {
        let servers: Vec<String> = lease.dns.iter().map(Ipv4Addr::to_string).collect();
        resolv_conf(&servers, &lease.search, screen);
    }
    if lease.seconds != u32::MAX {
        let (screen, device) = (screen.clone(), device.to_owned());
        let thread = std::thread::Builder::new().name(format!("dhcp {device}"));
        let keeper = thread.spawn(move || keep(&card, mac, xid, &lease, &device, &screen));
        keeper.map_err(|error| format!("the lease cannot be renewed: {error}"))?;
    }
    Ok(())
}

/// What `ip` is told beside the address. A gateway outside the link's network is reached all the same (`onlink`).
fn words(lease: &Lease, device: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut add = |line: String| all.push(line.split(' ').map(str::to_owned).collect());
    if let Some(mtu) = lease.mtu {
        add(format!("link set dev {device} mtu {mtu}"));
    }
    for (destination, prefix, gateway) in &lease.routes {
        if gateway.is_unspecified() {
            add(format!("route replace {destination}/{prefix} dev {device}"));
        } else {
            add(format!("route replace {destination}/{prefix} via {gateway} dev {device} onlink"));
        }
    }
    all
}

/// Renews a lease at half of its time, then ever more often. An address is not taken away from a recovery that runs: that
/// its time is over is said, once.
fn keep(card: &Card, mac: [u8; 6], xid: u32, lease: &Lease, device: &str, screen: &Screen) {
    let mut client = Client { wire: card, mac, xid, patience: Duration::from_secs(4) };
    let mut left = Duration::from_secs(lease.seconds.into());
    let mut told = false;
    loop {
        let pause = (left / 2).max(PAUSE);
        std::thread::sleep(pause);
        left = left.saturating_sub(pause);
        match client.renew(lease.address, PAUSE) {
            Ok(Some(renewed)) => {
                left = Duration::from_secs(renewed.seconds.into());
                told = false;
            }
            Ok(None) | Err(_) if left < PAUSE && !told => {
                told = true;
                screen.say(&format!(
                    "rear: network: the lease of {} on {device} was not renewed; its server may give the address to \
                     another machine",
                    lease.address
                ));
            }
            Ok(None) | Err(_) => {}
        }
    }
}

/// `52:54:00:12:34:56`
fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.trim().split(':').map(|hex| u8::from_str_radix(hex, 16).ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses() {
        assert_eq!(mac("52:54:00:12:34:56\n"), Some([0x52, 0x54, 0, 0x12, 0x34, 0x56]));
        assert_eq!(mac("80:00:02:08:fe:80:00:00"), None, "InfiniBand");
        assert_eq!(mac(""), None);
    }

    #[test]
    fn what_the_server_says_is_configured() {
        let lease = Lease {
            address: Ipv4Addr::new(10, 0, 0, 9),
            prefix: 32,
            server: Ipv4Addr::new(10, 0, 0, 1),
            routes: vec![
                (Ipv4Addr::UNSPECIFIED, 0, Ipv4Addr::new(10, 0, 0, 1)),
                (Ipv4Addr::new(10, 9, 0, 0), 16, Ipv4Addr::UNSPECIFIED),
            ],
            dns: Vec::new(),
            search: Vec::new(),
            mtu: Some(1400),
            seconds: 60,
        };
        let lines: Vec<String> = words(&lease, "ens3").iter().map(|line| line.join(" ")).collect();
        assert_eq!(
            lines,
            [
                "link set dev ens3 mtu 1400",
                "route replace 0.0.0.0/0 via 10.0.0.1 dev ens3 onlink",
                "route replace 10.9.0.0/16 dev ens3",
            ]
        );
    }
}

//! The client against a server that loses, refuses and answers as it is told.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};

use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

#[derive(Clone, Copy)]
enum Reply {
    Offer,
    Ack,
    Nak,
    Silence,
    Noise,
}

/// Answers one message after the other as told, and remembers what kind each was.
struct Server {
    replies: RefCell<VecDeque<Reply>>,
    waiting: RefCell<VecDeque<Vec<u8>>>,
    asked: RefCell<Vec<u8>>,
}

impl Server {
    fn new(replies: &[Reply]) -> Self {
        Self {
            replies: RefCell::new(replies.iter().copied().collect()),
            waiting: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    fn client(&self) -> Client<'_> {
        Client { wire: self, mac: MAC, xid: 7, patience: Duration::from_millis(2) }
    }
}

impl Wire for Server {
    fn send(&self, message: &[u8]) -> io::Result<()> {
        self.asked.borrow_mut().push(message[242]);
        let mut bytes = message[..240].to_vec();
        bytes[0] = 2;
        bytes[16..20].copy_from_slice(&[192, 0, 2, 9]);
        let kind = match self.replies.borrow_mut().pop_front() {
            Some(Reply::Offer) => 2,
            Some(Reply::Ack) => 5,
            Some(Reply::Nak) => 6,
            Some(Reply::Noise) => {
                self.waiting.borrow_mut().push_back(vec![0xff; 40]);
                return Ok(());
            }
            Some(Reply::Silence) | None => return Ok(()),
        };
        bytes.extend([53, 1, kind, 54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 0, 60, 255]);
        self.waiting.borrow_mut().push_back(bytes);
        Ok(())
    }

    fn receive(&self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        let next = self.waiting.borrow_mut().pop_front();
        if next.is_none() {
            std::thread::sleep(limit);
        }
        Ok(next)
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn an_address_is_had_through_loss_and_noise() {
    use Reply::{Ack, Noise, Offer, Silence};
    let server = Server::new(&[Silence, Noise, Offer, Silence, Ack]);
    let lease = server.client().acquire(LONG).unwrap().unwrap();
    assert_eq!((lease.address, lease.seconds, lease.prefix), (Ipv4Addr::new(192, 0, 2, 9), 60, 24));
    assert_eq!(*server.asked.borrow(), [1, 1, 1, 3, 3]);
}

#[test]
fn a_refused_request_begins_anew() {
    let server = Server::new(&[Reply::Offer, Reply::Nak, Reply::Offer, Reply::Ack]);
    assert!(server.client().acquire(LONG).unwrap().is_some());
    assert_eq!(*server.asked.borrow(), [1, 3, 1, 3]);
}

#[test]
fn without_a_server_it_ends() {
    let server = Server::new(&[]);
    assert_eq!(server.client().acquire(Duration::from_millis(20)).unwrap(), None);
    assert!(server.asked.borrow().len() > 1);
}

#[test]
fn an_address_is_kept_or_not() {
    let address = Ipv4Addr::new(192, 0, 2, 9);
    let renew = |replies: &[Reply], address| {
        Server::new(replies).client().renew(address, Duration::from_millis(20)).unwrap().is_some()
    };
    assert!(renew(&[Reply::Silence, Reply::Ack], address));
    assert!(!renew(&[Reply::Nak], address));
    assert!(!renew(&[], address));
    assert!(!renew(&[Reply::Ack], Ipv4Addr::new(192, 0, 2, 10)), "another address is not the one we have");
}

/// Over the kernel's sockets, between the two ends of a cable, each in a network namespace of its own.
#[test]
fn over_a_link_that_has_no_address() {
    match std::env::var(ROLE).as_deref() {
        Ok("client") => be_client(),
        Ok(_) => be_server(),
        Err(_) if rustix::process::geteuid().is_root() => {
            assert!(in_namespace("client").wait().unwrap().success());
        }
        Err(_) => eprintln!("skipped: needs root to make a network namespace"),
    }
}

const ROLE: &str = "REAR_TEST_DHCP";

/// This test again, in a new network namespace.
fn in_namespace(role: &str) -> Child {
    let test = "rescue::dhcp::tests::over_a_link_that_has_no_address";
    let me = std::env::current_exe().unwrap();
    Command::new("unshare").arg("--net").arg(me).args(["--exact", test]).env(ROLE, role).spawn().unwrap()
}

fn ip(words: &str) -> bool {
    Command::new("ip").args(words.split(' ')).stderr(Stdio::null()).status().unwrap().success()
}

fn be_client() {
    let mut server = in_namespace("server");
    assert!(ip("link add client address 02:00:00:00:00:01 type veth peer name server"));
    // It has the namespace of this process until it has made its own.
    while std::fs::read_link(format!("/proc/{}/ns/net", server.id())).unwrap()
        == std::fs::read_link("/proc/self/ns/net").unwrap()
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(ip(&format!("link set server netns {}", server.id())));
    assert!(ip("link set client up"));
    let card = Card::open("client").unwrap();
    let mut client = Client { wire: &card, mac: MAC, xid: 7, patience: Duration::from_millis(100) };
    let lease = client.acquire(LONG).unwrap();
    let renewed = lease.as_ref().is_some_and(|lease| {
        assert!(ip(&format!("addr add {}/{} dev client", lease.address, lease.prefix)));
        client.renew(lease.address, LONG).unwrap().is_some()
    });
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!((lease.map(|lease| lease.address), renewed), (Some(Ipv4Addr::new(192, 0, 2, 9)), true));
    assert!(Card::open("nonesuch").is_err());
}

fn be_server() {
    while !ip("addr add 192.0.2.1/24 dev server") {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(ip("link set server up"));
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.bind_device(Some(b"server")).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67).into()).unwrap();
    let server = Server::new(&[Reply::Silence, Reply::Offer, Reply::Ack, Reply::Ack]);
    let mut buffer = [0; 1500];
    while let Ok(length) = io::Read::read(&mut &socket, &mut buffer) {
        server.send(&buffer[..length]).unwrap();
        for answer in server.waiting.borrow_mut().drain(..) {
            socket.send_to(&answer, &SocketAddrV4::new(Ipv4Addr::BROADCAST, 68).into()).unwrap();
        }
    }
}

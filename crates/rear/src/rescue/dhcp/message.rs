//! The messages of DHCP for IPv4 (RFC 2131, options of RFC 2132, 3396 and 3442), as a client writes and reads them.
//! Pure; whatever a server sends gives a lease or `None`, never a guess.

use std::net::Ipv4Addr;

/// What the client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Who has an address for me?
    Discover,
    /// I take the address that this server offered.
    Request {
        /// The address offered.
        address: Ipv4Addr,
        /// The server that offered it.
        server: Ipv4Addr,
    },
    /// May I keep the address that I have?
    Renew(Ipv4Addr),
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An address may be had.
    Offer(Lease),
    /// The address is ours.
    Ack(Lease),
    /// The address may not be used.
    Nak,
}

/// An address and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix in bits.
    pub prefix: u8,
    /// Who gave it.
    pub server: Ipv4Addr,
    /// Destination, length of its prefix, and gateway; a gateway of 0.0.0.0 is the link itself.
    pub routes: Vec<(Ipv4Addr, u8, Ipv4Addr)>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Domains to search.
    pub search: Vec<String>,
    /// Largest packet in bytes, where the server says so.
    pub mtu: Option<u16>,
    /// How long it may be used, in seconds; `u32::MAX` is for ever.
    pub seconds: u32,
}

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Offset of the cookie: the fixed part of BOOTP (RFC 951).
const FIXED: usize = 236;

const SUBNET: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const DOMAIN: u8 = 15;
const MTU: u8 = 26;
const WISH: u8 = 50;
const LEASE: u8 = 51;
const OVERLOAD: u8 = 52;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const PARAMETERS: u8 = 55;
const MAX_SIZE: u8 = 57;
const ROUTES: u8 = 121;
const END: u8 = 255;

/// The message that says it, from the card with this hardware address. Answers are asked to be broadcast, since the
/// card takes nothing else while it has no address.
pub fn write(ask: Ask, xid: u32, mac: [u8; 6]) -> Vec<u8> {
    let mut bytes = vec![0; FIXED];
    bytes[0] = 1; // a request
    bytes[1] = 1; // Ethernet
    bytes[2] = 6;
    bytes[4..8].copy_from_slice(&xid.to_be_bytes());
    bytes[10] = 0x80; // broadcast
    bytes[28..34].copy_from_slice(&mac);
    let kind = if ask == Ask::Discover { 1 } else { 3 };
    let mut options = COOKIE.to_vec();
    options.extend([KIND, 1, kind]);
    match ask {
        Ask::Discover => {}
        Ask::Request { address, server } => {
            options.extend([WISH, 4]);
            options.extend(address.octets());
            options.extend([SERVER, 4]);
            options.extend(server.octets());
        }
        Ask::Renew(address) => bytes[12..16].copy_from_slice(&address.octets()),
    }
    options.extend([MAX_SIZE, 2, 0x05, 0xdc]); // 1500 bytes
    options.extend([PARAMETERS, 6, SUBNET, ROUTES, ROUTER, DNS, DOMAIN, MTU, END]);
    bytes.extend(options);
    // Relays of BOOTP drop what is shorter than 300 bytes (RFC 1542, 2.1).
    bytes.resize(bytes.len().max(300), 0);
    bytes
}

/// Reads what came; `None` where it is not for us, or no answer that a client can use.
pub fn read(bytes: &[u8], xid: u32, mac: [u8; 6]) -> Option<Answer> {
    let fixed = bytes.get(..FIXED)?;
    let ours = fixed[0] == 2 && fixed[4..8] == xid.to_be_bytes() && fixed[28..34] == mac;
    if !ours || bytes.get(FIXED..FIXED + 4)? != COOKIE {
        return None;
    }
    let options = Options::read(bytes)?;
    match options.get(KIND).as_slice() {
        [2] => lease(fixed, &options).map(Answer::Offer),
        [5] => lease(fixed, &options).map(Answer::Ack),
        [6] => Some(Answer::Nak),
        _ => None,
    }
}

fn lease(fixed: &[u8], options: &Options) -> Option<Lease> {
    let address = Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]);
    if address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback() {
        return None;
    }
    let prefix = match options.addresses(SUBNET).first() {
        Some(mask) => {
            let bits = mask.to_bits();
            // A mask with holes is none.
            (bits.leading_ones() == bits.count_ones()).then_some(bits.leading_ones() as u8)?
        }
        None => match address.octets()[0] {
            0..128 => 8,
            128..192 => 16,
            _ => 24,
        },
    };
    // Classless routes replace the routers (RFC 3442).
    let mut routes = routes(&options.get(ROUTES));
    if routes.is_empty() {
        let router = options.addresses(ROUTER).first().copied();
        routes.extend(router.map(|router| (Ipv4Addr::UNSPECIFIED, 0, router)));
    }
    let domain = String::from_utf8(options.get(DOMAIN)).unwrap_or_default();
    let number = |code| <[u8; 4]>::try_from(options.get(code)).ok().map(u32::from_be_bytes);
    Some(Lease {
        address,
        prefix,
        server: *options.addresses(SERVER).first()?,
        routes,
        dns: options.addresses(DNS),
        search: domain.split([' ', '\0']).filter(|word| is_domain(word)).map(str::to_owned).collect(),
        mtu: <[u8; 2]>::try_from(options.get(MTU)).ok().map(u16::from_be_bytes).filter(|mtu| *mtu >= 576),
        seconds: number(LEASE)?,
    })
}

/// It is written into a file that programs read: nothing but a domain name gets there.
fn is_domain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// Prefix length, the bytes of the destination that count, gateway.
fn routes(mut bytes: &[u8]) -> Vec<(Ipv4Addr, u8, Ipv4Addr)> {
    let mut routes = Vec::new();
    while let Some((&prefix, rest)) = bytes.split_first() {
        let count = usize::from(prefix).div_ceil(8);
        if prefix > 32 || rest.len() < count + 4 {
            return Vec::new();
        }
        let mut destination = [0; 4];
        destination[..count].copy_from_slice(&rest[..count]);
        let gateway = Ipv4Addr::new(rest[count], rest[count + 1], rest[count + 2], rest[count + 3]);
        routes.push((Ipv4Addr::from(destination), prefix, gateway));
        bytes = &rest[count + 4..];
    }
    routes
}

struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    /// All options, those in the fields of file and server name too.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut options = Self(Vec::new());
        options.field(bytes.get(FIXED + 4..)?)?;
        let overload = options.get(OVERLOAD).first().copied().unwrap_or(0);
        if overload & 1 != 0 {
            options.field(bytes.get(108..236)?)?;
        }
        if overload & 2 != 0 {
            options.field(bytes.get(44..108)?)?;
        }
        Some(options)
    }

    fn field(&mut self, mut bytes: &[u8]) -> Option<()> {
        loop {
            match bytes {
                [] | [END, ..] => return Some(()),
                [0, rest @ ..] => bytes = rest,
                [code, length, rest @ ..] if rest.len() >= usize::from(*length) => {
                    let (value, rest) = rest.split_at(usize::from(*length));
                    self.0.push((*code, value.to_vec()));
                    bytes = rest;
                }
                _ => return None,
            }
        }
    }

    /// The value of an option; long ones come in several pieces (RFC 3396).
    fn get(&self, code: u8) -> Vec<u8> {
        self.0.iter().filter(|(other, _)| *other == code).flat_map(|(_, value)| value).copied().collect()
    }

    fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let value = self.get(code);
        value.chunks_exact(4).map(|a| Ipv4Addr::new(a[0], a[1], a[2], a[3])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    fn answer(kind: u8, more: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; FIXED];
        bytes[0] = 2;
        bytes[4..8].copy_from_slice(&7_u32.to_be_bytes());
        bytes[16..20].copy_from_slice(&[10, 0, 2, 15]);
        bytes[28..34].copy_from_slice(&MAC);
        bytes.extend(COOKIE);
        bytes.extend([KIND, 1, kind, SERVER, 4, 10, 0, 2, 2, LEASE, 4, 0, 1, 0x51, 0x80]);
        bytes.extend(more);
        bytes
    }

    fn offered(more: &[u8]) -> Option<Lease> {
        match read(&answer(2, more), 7, MAC)? {
            Answer::Offer(lease) => Some(lease),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lease_with_all_that_goes_with_it() {
        let more = b"\x01\x04\xff\xff\xfe\0\x03\x08\x0a\0\x02\x02\x0a\0\x02\x03\x06\x08\x0a\0\x02\x03\x01\x01\x01\x01\
            \x0f\x0bexample.org\x1a\x02\x05\x78\0\0\xff";
        let lease = offered(more).unwrap();
        assert_eq!(
            (lease.address.to_string().as_str(), lease.prefix, lease.seconds),
            ("10.0.2.15", 23, 86400)
        );
        assert_eq!(lease.routes, [(Ipv4Addr::UNSPECIFIED, 0, Ipv4Addr::new(10, 0, 2, 2))]);
        assert_eq!(lease.dns.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.2.3", "1.1.1.1"]);
        assert_eq!((lease.search, lease.mtu), (vec!["example.org".to_owned()], Some(1400)));
        assert!(matches!(read(&answer(5, b"\xff"), 7, MAC), Some(Answer::Ack(_))));
        assert_eq!(read(&answer(6, b"\xff"), 7, MAC), Some(Answer::Nak));
    }

    #[test]
    fn classless_routes_replace_the_router_and_may_come_in_pieces() {
        let more = b"\x03\x04\x0a\0\x02\x02\x79\x06\0\x0a\0\x02\x09\x18\x79\x07\xc0\xa8\x05\0\0\0\0\xff";
        let host = Ipv4Addr::new(10, 0, 2, 9);
        let link = (Ipv4Addr::new(192, 168, 5, 0), 24, Ipv4Addr::UNSPECIFIED);
        assert_eq!(offered(more).unwrap().routes, [(Ipv4Addr::UNSPECIFIED, 0, host), link]);
        // A broken list is not half believed.
        let more = b"\x03\x04\x0a\0\x02\x02\x79\x06\x21\x0a\0\x02\x09\x18\xff";
        assert_eq!(offered(more).unwrap().routes, [(Ipv4Addr::UNSPECIFIED, 0, Ipv4Addr::new(10, 0, 2, 2))]);
    }

    #[test]
    fn what_is_not_ours_or_broken_is_no_answer() {
        let good = answer(2, b"\xff");
        assert!(read(&good, 7, MAC).is_some());
        assert_eq!(read(&good, 8, MAC), None);
        assert_eq!(read(&good, 7, [0; 6]), None);
        for (at, value) in [(0, 1), (FIXED, 0), (16, 127), (16, 255)] {
            let mut bad = good.clone();
            bad[at] = value;
            if at == 16 {
                bad[17..20].copy_from_slice(&[255; 3]);
            }
            assert_eq!(read(&bad, 7, MAC), None, "{at}");
        }
        for length in 0..good.len() {
            // Without the end mark alone nothing is missing.
            assert_eq!(read(&good[..length], 7, MAC).is_some(), length == good.len() - 1, "{length}");
        }
        assert_eq!(offered(b"\x01\x04\xff\0\xff\0\xff"), None, "a mask with a hole");
        assert!(offered(b"\x0f\x0aa\nname b\xff\xff").unwrap().search.is_empty());
    }

    #[test]
    fn options_in_the_fields_of_file_and_server_name() {
        let mut bytes = answer(2, b"\x34\x01\x03\xff");
        bytes[108..115].copy_from_slice(b"\x01\x04\xff\xff\xff\x80\xff");
        bytes[44..51].copy_from_slice(b"\x06\x04\x09\x09\x09\x09\xff");
        let Some(Answer::Offer(lease)) = read(&bytes, 7, MAC) else { panic!() };
        assert_eq!((lease.prefix, lease.dns), (25, vec![Ipv4Addr::new(9, 9, 9, 9)]));
    }

    #[test]
    fn what_is_asked() {
        let discover = write(Ask::Discover, 7, MAC);
        assert_eq!((discover.len(), discover[0], discover[10], &discover[28..34]), (300, 1, 0x80, &MAC[..]));
        assert_eq!(discover[240..243], [KIND, 1, 1]);
        let address = Ipv4Addr::new(10, 0, 2, 15);
        let request = write(Ask::Request { address, server: Ipv4Addr::new(10, 0, 2, 2) }, 7, MAC);
        assert_eq!(request[240..255], [KIND, 1, 3, WISH, 4, 10, 0, 2, 15, SERVER, 4, 10, 0, 2, 2]);
        // Who renews says its address in the fixed part only (RFC 2131, table 5).
        let renew = write(Ask::Renew(address), 7, MAC);
        assert_eq!((&renew[12..16], &renew[240..244]), (&[10, 0, 2, 15][..], &[KIND, 1, 3, MAX_SIZE][..]));
    }
}

//! What the kernel command line asks of the rescue system. Pure: text in, options out; unknown words are the
//! kernel's business and are passed over in silence.

/// What happens once the rescue system is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Shells only.
    #[default]
    Shell,
    /// `rear recover` on the main console, with its questions.
    Interactive,
    /// `rear recover` without questions, then a reboot if and only if it succeeded.
    Unattended,
}

/// The options that are ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What to do after boot.
    pub mode: Mode,
    /// More output (`rear.debug`).
    pub debug: bool,
    /// What to recover from, where it is not the medium's own point (`rear.from=snapshot:ID`).
    pub from: Option<String>,
    /// Consoles named by `console=`, in their order, each with its speed in baud where one is given.
    pub consoles: Vec<(String, Option<u32>)>,
    /// What to do about the network.
    pub network: NetworkOption,
}

/// The operator's word on the network; it goes before what was captured from the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkOption {
    /// As the machine had it.
    #[default]
    AsCaptured,
    /// No network at all (`noip`).
    Off,
    /// DHCP (`dhcp`, `ip=dhcp`), on this interface or on all.
    Dhcp(Option<String>),
    /// One address given by hand (`ip=…`).
    Static(StaticAddress),
}

/// `ip=ADDRESS[/PREFIX] nm=MASK gw=GATEWAY netdev=INTERFACE`, or the kernel's own `ip=A:SERVER:GW:MASK:HOST:DEV:off`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticAddress {
    /// Address with its prefix length: `192.0.2.7/24`.
    pub address: String,
    /// Default gateway.
    pub gateway: Option<String>,
    /// Interface; the first one with a carrier where not given.
    pub interface: Option<String>,
    /// Name servers.
    pub dns: Vec<String>,
}

impl Options {
    /// The words of the recovery that is asked for.
    pub fn recovery(&self) -> Vec<String> {
        let from = self.from.as_ref().map(|from| format!("--from={from}"));
        ["recover".to_owned()].into_iter().chain(from).collect()
    }
}

/// Reads `/proc/cmdline`. Later words win over earlier ones; `rear.shell` wins over every kind of recovery.
pub fn parse(line: &str) -> Options {
    let mut options = Options::default();
    let mut only_shell = false;
    let (mut ip, mut dhcp, mut off) = (None::<String>, false, false);
    let mut hand = StaticAddress::default();
    let mut mask = None;
    for word in words(line) {
        let (key, value) = word.split_once('=').map_or((word.as_str(), None), |(k, v)| (k, Some(v)));
        match (key, value) {
            ("unattended", None) => options.mode = Mode::Unattended,
            ("auto_recover" | "automatic", None) if options.mode == Mode::Shell => {
                options.mode = Mode::Interactive;
            }
            ("rear.shell", None) => only_shell = true,
            ("rear.from", Some(value)) => {
                options.from = Some(value.to_owned()).filter(|from| !from.is_empty())
            }
            ("rear.debug" | "debug", None) => options.debug = true,
            ("console", Some(value)) => options.consoles.extend(console(value)),
            ("noip", None) => off = true,
            ("dhcp", None) => dhcp = true,
            ("ip", Some(value)) => ip = Some(value.to_owned()),
            ("nm" | "netmask", Some(value)) => mask = Some(value.to_owned()),
            ("gw" | "gateway", Some(value)) => hand.gateway = Some(value.to_owned()),
            ("netdev", Some(value)) => hand.interface = Some(value.to_owned()),
            ("nameserver", Some(value)) => hand.dns.push(value.to_owned()),
            _ => {}
        }
    }
    if only_shell {
        options.mode = Mode::Shell;
    }
    options.network = if off {
        NetworkOption::Off
    } else if let Some(ip) = ip {
        address(&ip, mask.as_deref(), hand)
    } else if dhcp {
        NetworkOption::Dhcp(hand.interface)
    } else {
        NetworkOption::AsCaptured
    };
    options
}

/// A device with its optional mode: `ttyS0,115200n8` is `ttyS0` at 115200 baud. `null` and addresses of memory
/// are no consoles for people.
pub fn console(value: &str) -> Option<(String, Option<u32>)> {
    let (name, mode) = value.split_once(',').map_or((value, None), |(n, m)| (n, Some(m)));
    let name = name.trim_start_matches("/dev/");
    let plain =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if !plain || matches!(name, "null" | "uart" | "uart8250") {
        return None;
    }
    let digits = mode.map(|mode| mode.chars().take_while(char::is_ascii_digit).collect::<String>());
    Some((name.to_owned(), digits.and_then(|digits| digits.parse().ok())))
}

fn address(ip: &str, mask: Option<&str>, mut hand: StaticAddress) -> NetworkOption {
    const AUTOMATIC: [&str; 5] = ["dhcp", "on", "any", "auto6", "dhcp6"];
    let interface = hand.interface.clone();
    if matches!(ip, "off" | "none") {
        return NetworkOption::Off;
    }
    if AUTOMATIC.contains(&ip) {
        return NetworkOption::Dhcp(interface);
    }
    let parts = fields(ip);
    let part = |n: usize| parts.get(n).map(String::as_str).filter(|text| !text.is_empty());
    // `ip=INTERFACE:dhcp`, as dracut has it.
    if parts.len() == 2 && part(1).is_some_and(|method| AUTOMATIC.contains(&method)) {
        return NetworkOption::Dhcp(part(0).map(str::to_owned));
    }
    // The kernel's form: address:server:gateway:mask:host:device:method:dns0:dns1.
    if part(6).is_some_and(|method| AUTOMATIC.contains(&method)) && part(0).is_none() {
        return NetworkOption::Dhcp(part(5).map(str::to_owned).or(interface));
    }
    let Some(address) = part(0) else { return NetworkOption::AsCaptured };
    let prefix = part(3).or(mask).and_then(prefix_length);
    hand.address = match prefix {
        _ if address.contains('/') => address.to_owned(),
        Some(prefix) => format!("{address}/{prefix}"),
        None if address.contains(':') => format!("{address}/64"),
        None => format!("{address}/24"),
    };
    hand.gateway = part(2).map(str::to_owned).or(hand.gateway);
    hand.interface = part(5).map(str::to_owned).or(interface);
    hand.dns.extend([7, 8].into_iter().filter_map(part).map(str::to_owned));
    NetworkOption::Static(hand)
}

/// Fields between colons, where an IPv6 address stands in brackets.
fn fields(text: &str) -> Vec<String> {
    // A bare IPv6 address has two colons in a row or seven of them, and nothing but hexadecimal digits.
    let (bare, _) = text.split_once('/').unwrap_or((text, ""));
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return vec![text.to_owned()];
    }
    let mut fields = vec![String::new()];
    let mut inside = false;
    for c in text.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            ':' if !inside => fields.push(String::new()),
            c => {
                if let Some(last) = fields.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    fields
}

/// The prefix length of a dotted mask (`255.255.255.0`) or of a number; `None` for anything else.
pub fn prefix_length(mask: &str) -> Option<u8> {
    if let Ok(mask) = mask.parse::<std::net::Ipv4Addr>() {
        let bits = u32::from(mask);
        return (bits.leading_ones() + bits.trailing_zeros() >= 32).then_some(bits.leading_ones() as u8);
    }
    mask.parse::<u8>().ok().filter(|prefix| *prefix <= 128)
}

/// Words between blanks; double quotes hold a word with blanks together, as the kernel reads its line.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!(parse("root=/dev/ram0 quiet\n").mode, Mode::Shell);
        assert_eq!(parse("unattended").mode, Mode::Unattended);
        assert_eq!(parse("automatic").mode, Mode::Interactive);
        assert_eq!(parse("unattended auto_recover").mode, Mode::Unattended);
        assert_eq!(parse("auto_recover unattended").mode, Mode::Unattended);
        assert_eq!(parse("unattended rear.shell").mode, Mode::Shell);
        assert_eq!(parse("dyndbg=\"file x unattended +p\"").mode, Mode::Shell, "inside of quotes");
        assert_eq!(parse("unattended=no notunattended").mode, Mode::Shell);
    }

    #[test]
    fn what_to_recover_from() {
        assert_eq!(parse("automatic").recovery(), ["recover"]);
        let options = parse("automatic rear.from=snapshot:1f0c38a2");
        assert_eq!(
            (options.mode, options.recovery()),
            (Mode::Interactive, vec!["recover".into(), "--from=snapshot:1f0c38a2".into()])
        );
        assert_eq!(parse("rear.from= rear.from").from, None);
    }

    #[test]
    fn consoles() {
        let options =
            parse("console=tty0 console=ttyS0,115200n8 console=hvc0 console=null console=uart,io,0x3f8");
        assert_eq!(
            options.consoles,
            [("tty0".into(), None), ("ttyS0".into(), Some(115_200)), ("hvc0".into(), None)]
        );
        assert_eq!(console("../etc/passwd"), None);
        assert_eq!(console("/dev/ttyAMA0,57600"), Some(("ttyAMA0".into(), Some(57_600))));
    }

    fn by_hand(line: &str) -> StaticAddress {
        match parse(line).network {
            NetworkOption::Static(address) => address,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn network() {
        assert_eq!(parse("x").network, NetworkOption::AsCaptured);
        assert_eq!(parse("dhcp noip").network, NetworkOption::Off);
        assert_eq!(parse("ip=dhcp").network, NetworkOption::Dhcp(None));
        assert_eq!(parse("ip=eth1:dhcp").network, NetworkOption::Dhcp(Some("eth1".into())));
        assert_eq!(parse("ip=:::::eth0:dhcp").network, NetworkOption::Dhcp(Some("eth0".into())));
        let kernel = by_hand("ip=192.0.2.7::192.0.2.1:255.255.252.0:host:eth0:none:192.0.2.53");
        assert_eq!(kernel.address, "192.0.2.7/22");
        assert_eq!(kernel.gateway.as_deref(), Some("192.0.2.1"));
        assert_eq!(kernel.interface.as_deref(), Some("eth0"));
        assert_eq!(kernel.dns, ["192.0.2.53"]);
        let words = by_hand("ip=192.0.2.7 nm=255.255.255.128 gw=192.0.2.1 netdev=ens3");
        assert_eq!((words.address.as_str(), words.interface.as_deref()), ("192.0.2.7/25", Some("ens3")));
        assert_eq!(by_hand("ip=2001:db8::7").address, "2001:db8::7/64");
        assert_eq!(
            by_hand("ip=[2001:db8::7]::[2001:db8::1]:64::eth0:off").gateway.as_deref(),
            Some("2001:db8::1")
        );
        assert_eq!(by_hand("ip=192.0.2.7/29").address, "192.0.2.7/29");
    }

    #[test]
    fn masks() {
        assert_eq!(prefix_length("255.255.255.0"), Some(24));
        assert_eq!(prefix_length("0.0.0.0"), Some(0));
        assert_eq!(prefix_length("255.0.255.0"), None);
        assert_eq!(prefix_length("64"), Some(64));
        assert_eq!(prefix_length("x"), None);
    }
}

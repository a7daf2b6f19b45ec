//! Brings the network up in the background, each step with a time limit: a recovery that needs no network never
//! waits for it. An address that another machine answers for is not taken.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use image::RescueConfig;
use image::network::{Address, Network};
use sys::{Cmd, Sys, SysExt};

use super::cmdline::NetworkOption;
use super::links::{self, Card, Step};
use super::screen::Screen;

mod lease;

/// How long a cable may take until it carries something.
const CARRIER: Duration = Duration::from_secs(5);

/// The kernel asks three times, one second apart, who has an address.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a DHCP client may take.
const DHCP_LIMIT: Duration = Duration::from_secs(60);

/// Starts it; nothing waits for it.
pub fn start(sys: sys::Real, config: Option<&RescueConfig>, option: NetworkOption, screen: Screen) {
    let network = config.map(|config| config.network.clone()).unwrap_or_default();
    let use_dhcp = config.and_then(|config| config.use_dhcp);
    let failed = screen.clone();
    let thread = std::thread::Builder::new().name("network".to_owned());
    if let Err(error) = thread.spawn(move || bring_up(&sys, &network, &option, use_dhcp, &screen)) {
        failed.say(&format!("rear: no network: {error}"));
    }
}

/// The loopback link, which local programs need in any case.
pub fn loopback(sys: &dyn Sys, screen: &Screen) {
    ip(sys, screen, &["link", "set", "dev", "lo", "up"]);
}

fn bring_up(
    sys: &dyn Sys,
    network: &Network,
    option: &NetworkOption,
    use_dhcp: Option<bool>,
    screen: &Screen,
) {
    let cards = cards(sys);
    let plan = links::plan(network, option, use_dhcp, &cards);
    for note in &plan.notes {
        screen.say(&format!("rear: network: {note}"));
    }
    if !plan.resolvers.is_empty() {
        resolv_conf(&plan.resolvers, &network.search, screen);
    }
    let mut taken = Vec::new();
    for step in &plan.steps {
        match step {
            Step::Ip(words) => {
                ip(sys, screen, &words.iter().map(String::as_str).collect::<Vec<_>>());
            }
            Step::Address(device, address) => {
                if give(sys, screen, device, address) {
                    taken.push(format!("{}/{} on {device}", address.ip, address.prefix));
                }
            }
            Step::Dhcp(device) => {
                wait_for_carrier(sys, device);
                dhcp(sys, screen, device);
                taken.extend(present_addresses(sys, device));
            }
        }
    }
    if !taken.is_empty() {
        screen.say(&format!("rear: network is up: {}", taken.join(", ")));
    }
}

/// The network cards that are there: links with hardware below them, in the order of their names.
fn cards(sys: &dyn Sys) -> Vec<Card> {
    let names = sys.list(Path::new("/sys/class/net")).unwrap_or_default();
    let card = |name: String| {
        let entry = Path::new("/sys/class/net").join(&name);
        // 1 is Ethernet and all that behaves so (ARPHRD_ETHER).
        let ethernet = sys.read_opt(entry.join("type")).ok().flatten().is_some_and(|kind| kind == "1");
        if !ethernet || !sys.exists(&entry.join("device")) {
            return None;
        }
        // Nothing has changed it yet, so this is the hardware's own.
        let mac = sys.read_opt(entry.join("address")).ok().flatten()?;
        Some(Card { name, mac })
    };
    names.into_iter().filter_map(card).collect()
}

/// Gives a link an address; false where it was not taken.
fn give(sys: &dyn Sys, screen: &Screen, device: &str, address: &Address) -> bool {
    wait_for_carrier(sys, device);
    let full = format!("{}/{}", address.ip, address.prefix);
    if address.ip.is_ipv4() && answers(sys, screen, device, address.ip) {
        refuse(screen, &address.ip);
        return false;
    }
    let words: &[&str] = match address.ip {
        IpAddr::V4(_) => &["addr", "add", &full, "brd", "+", "dev", device],
        IpAddr::V6(_) => &["addr", "add", &full, "dev", device],
    };
    if !ip(sys, screen, words) {
        return false;
    }
    if address.ip.is_ipv6() && rejected(sys, device, &address.ip) {
        refuse(screen, &address.ip);
        ip(sys, screen, &["addr", "del", &full, "dev", device]);
        return false;
    }
    true
}

fn refuse(screen: &Screen, ip: &IpAddr) {
    screen.say(&format!(
        "rear: network: another machine has the address {ip} now, so it is not taken here. Is the machine that \
         you recover still running? The kernel option ip=ADDRESS/PREFIX gives this rescue system another one."
    ));
}

/// Whether another machine answers for an IPv4 address. While we have no address, the kernel's question has the
/// sender 0.0.0.0, which is the probe of RFC 5227: it changes nobody's tables.
fn answers(sys: &dyn Sys, screen: &Screen, device: &str, address: IpAddr) -> bool {
    let address = address.to_string();
    if !ip(sys, screen, &["neigh", "replace", &address, "dev", device, "use"]) {
        screen.note(&format!("rear: network: cannot check whether {address} is taken"));
        return false;
    }
    let until = Instant::now() + ANSWER;
    let show =
        Cmd::new("ip").args(["neigh", "show", &address, "dev", device]).timeout(Duration::from_secs(5));
    let mut taken = false;
    while Instant::now() < until {
        match sys.run(&show).map(|output| neighbour(&output.text())) {
            Ok(Some(answer)) => {
                taken = answer;
                break;
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(100)),
            Err(_) => break,
        }
    }
    let delete = Cmd::new("ip").args(["neigh", "del", &address, "dev", device]).accept(&[1, 2]);
    let _ = sys.run(&delete.timeout(Duration::from_secs(5)));
    taken
}

/// What `ip neigh show` says of an address: answered, nobody there, or (`None`) not known yet.
fn neighbour(text: &str) -> Option<bool> {
    if text.contains(" lladdr ") {
        return Some(true);
    }
    (text.contains("FAILED") || text.trim().is_empty()).then_some(false)
}

/// Whether the kernel's own duplicate address detection for IPv6 failed. It takes about two seconds.
fn rejected(sys: &dyn Sys, device: &str, address: &IpAddr) -> bool {
    let until = Instant::now() + ANSWER;
    let show =
        Cmd::new("ip").args(["-6", "-o", "addr", "show", "dev", device]).timeout(Duration::from_secs(5));
    while Instant::now() < until {
        let Ok(output) = sys.run(&show) else { return false };
        let text = output.text();
        let own = format!(" {address}/");
        let line = text.lines().find(|line| line.contains(&own)).unwrap_or_default();
        if line.contains("dadfailed") {
            return true;
        }
        if !line.contains("tentative") {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

fn wait_for_carrier(sys: &dyn Sys, device: &str) {
    let until = Instant::now() + CARRIER;
    let carrier = Path::new("/sys/class/net").join(device).join("carrier");
    // Reading it fails while the link is down.
    while !sys.read_opt(&carrier).is_ok_and(|carrier| carrier.as_deref() == Some("1"))
        && Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Gets an address by DHCP: with the client of the machine where it could be taken along, else with our own.
fn dhcp(sys: &dyn Sys, screen: &Screen, device: &str) {
    let clients = [
        ("dhclient", vec!["-1", "-q", device]),
        ("dhcpcd", vec!["-q", "-w", "-t", "50", device]),
        ("udhcpc", vec!["-q", "-n", "-t", "10", "-i", device]),
    ];
    let failed = match clients.into_iter().find(|(program, _)| sys.which(program).is_some()) {
        // It stays to renew the lease.
        Some((program, arguments)) => sys
            .run(&Cmd::new(program).args(arguments).timeout(DHCP_LIMIT))
            .err()
            .map(|error| error.to_string()),
        None => lease::take(sys, screen, device).err(),
    };
    if let Some(reason) = failed {
        screen.say(&format!("rear: network: no address by DHCP for {device}: {reason}"));
    }
}

/// Global addresses that a link has.
fn present_addresses(sys: &dyn Sys, device: &str) -> Vec<String> {
    let show = Cmd::new("ip").args(["-o", "addr", "show", "dev", device, "scope", "global"]);
    let Ok(output) = sys.run(&show.timeout(Duration::from_secs(5))) else { return Vec::new() };
    output
        .text()
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("inet"));
            words.nth(1).map(|address| format!("{address} on {device}"))
        })
        .collect()
}

/// Writes `/etc/resolv.conf`; a DHCP client may replace it.
fn resolv_conf(resolvers: &[String], search: &[String], screen: &Screen) {
    let mut text = String::new();
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    // The C library reads no more than three.
    for server in resolvers.iter().take(3) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if let Err(error) = std::fs::write("/etc/resolv.conf", text) {
        screen.note(&format!("rear: network: cannot write /etc/resolv.conf: {error}"));
    }
}

/// Runs `ip`; a failure is noted, and the next step tried.
fn ip(sys: &dyn Sys, screen: &Screen, words: &[&str]) -> bool {
    let cmd = Cmd::new("ip").args(words.iter().copied()).timeout(Duration::from_secs(20));
    match sys.run(&cmd) {
        Ok(_) => true,
        Err(error) => {
            screen.note(&format!("rear: network: {error}"));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::neighbour;

    #[test]
    fn neighbours() {
        assert_eq!(neighbour("192.0.2.7 lladdr 7e:dc:5f:12:a8:28 REACHABLE \n"), Some(true));
        assert_eq!(neighbour("192.0.2.8 INCOMPLETE \n"), None);
        assert_eq!(neighbour("192.0.2.8 FAILED \n"), Some(false));
        assert_eq!(neighbour(""), Some(false));
    }
}

//! The network of the running machine, so that the rescue system can have the same: links, addresses, routes,
//! rules, name servers, and whether DHCP made them. Reads only; nothing is ever brought up or down here.

mod dhcp;
mod parse;

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sys::{Cmd, Sys, SysExt};

use crate::{Error, glob};

/// A machine's network, complete enough to bring it up again.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Links in the order in which they must be made: members and parents come before what is built of them.
    pub links: Vec<Link>,
    /// Routes that somebody set (those that the kernel makes by itself for addresses are not listed).
    pub routes: Vec<Route>,
    /// Routing rules other than the kernel's own three.
    pub rules: Vec<Rule>,
    /// Name servers' addresses, the real ones behind a local stub.
    pub resolvers: Vec<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// Whether any address came by DHCP.
    pub dhcp: bool,
}

/// A network interface.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Name on this machine; in the rescue system the MAC address decides which device it is.
    pub name: String,
    /// MAC address that the hardware has by itself, as `52:54:00:12:34:56`; for made links the present one.
    pub mac: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Largest packet, in bytes.
    pub mtu: Option<u32>,
    /// Names of the links that it is built of (bond, bridge).
    pub members: Vec<String>,
    /// Addresses, those made by the kernel itself (link-local) left out.
    pub addresses: Vec<Address>,
    /// Whether it was up.
    pub up: bool,
    /// Whether its addresses came by DHCP.
    pub dhcp: bool,
}

/// Kinds of links.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kind {
    /// A network card (also a virtual machine's).
    Physical,
    /// Several links as one (`ip link add type bond`).
    Bond {
        /// As `ip` names it: `active-backup`, `802.3ad`.
        mode: String,
        /// Milliseconds between looks at the carrier.
        miimon: Option<u32>,
        /// `slow` or `fast` (802.3ad).
        lacp_rate: Option<String>,
        /// `layer2`, `layer3+4`.
        xmit_hash_policy: Option<String>,
        /// Preferred member.
        primary: Option<String>,
    },
    /// A tagged network on another link.
    Vlan {
        /// Tag, 0 to 4094.
        id: u16,
        /// The link below.
        parent: String,
        /// `802.1Q` or `802.1ad`.
        protocol: String,
    },
    /// A software switch.
    Bridge {
        /// Whether it speaks the spanning tree protocol.
        stp: bool,
    },
    /// A team of links; the rescue system makes a bond of it.
    Team,
}

/// An address with the length of its network's prefix.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// IPv4 or IPv6.
    pub ip: IpAddr,
    /// Bits of the network part.
    pub prefix: u8,
}

/// A route.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `default` or `10.0.0.0/8`.
    pub destination: String,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Link name.
    pub device: Option<String>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Smaller wins.
    pub metric: Option<u32>,
    /// Table by name or number; `main` mostly.
    pub table: String,
    /// The gateway is reached directly although no address says so.
    pub onlink: bool,
    /// IPv6 (for `default`, which does not tell).
    pub v6: bool,
    /// Came by DHCP.
    pub dhcp: bool,
}

/// A routing rule (`ip rule`).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Smaller comes first.
    pub priority: u32,
    /// Source network, `None` for all.
    pub from: Option<String>,
    /// Destination network, `None` for all.
    pub to: Option<String>,
    /// Incoming link.
    pub iif: Option<String>,
    /// Outgoing link.
    pub oif: Option<String>,
    /// Mark, as `ip` writes it.
    pub fwmark: Option<String>,
    /// Table to look into.
    pub table: String,
    /// IPv6.
    pub v6: bool,
}

/// Records the network as it is now. `exclude_interfaces` are names (wildcards allowed) of links, and
/// `exclude_addresses` are addresses with or without a prefix, that the rescue system shall not have.
pub fn capture(
    sys: &dyn Sys,
    exclude_interfaces: &[String],
    exclude_addresses: &[String],
) -> Result<Network, Error> {
    let ip = |args: &[&str]| -> Result<serde_json::Value, Error> {
        let cmd = Cmd::new("ip").arg("-j").args(args.iter().copied());
        let output = match sys.run(&cmd) {
            Err(sys::Error::NoProgram { .. }) => return Err(Error::NoIp),
            other => other?,
        };
        // Without any result ip prints nothing at all, or an empty line, instead of an empty list.
        let text = output.text();
        if text.trim().is_empty() {
            return Ok(serde_json::Value::Array(Vec::new()));
        }
        serde_json::from_str(&text)
            .map_err(|error| sys::Error::Answer { what: cmd.line(), detail: error.to_string() }.into())
    };
    read(sys, &ip, exclude_interfaces, exclude_addresses).map_err(|error| match error {
        Error::Sys(sys::Error::Answer { what, detail }) => {
            let what = format!("{what}{}", sys.version(&Cmd::new("ip").arg("-V")));
            sys::Error::Answer { what, detail }.into()
        }
        other => other,
    })
}

fn read(
    sys: &dyn Sys,
    ip: &dyn Fn(&[&str]) -> Result<serde_json::Value, Error>,
    exclude_interfaces: &[String],
    exclude_addresses: &[String],
) -> Result<Network, Error> {
    let excluded = |name: &str| exclude_interfaces.iter().any(|pattern| glob::matches(pattern, name));
    let mut links = parse::links(&ip(&["-d", "link"])?, &ip(&["addr"])?)?;
    links.retain(|link| !excluded(&link.name));
    parse::drop_without_ground(&mut links);
    for link in &mut links {
        link.addresses.retain(|address| {
            let (plain, full) = (address.ip.to_string(), format!("{}/{}", address.ip, address.prefix));
            !exclude_addresses.iter().any(|unwanted| *unwanted == plain || *unwanted == full)
        });
    }
    let known = |name: &str| links.iter().any(|link| link.name == name);
    // Without a family "table all" lists both, and nothing tells which "default" is of which.
    let mut routes = parse::routes(&ip(&["-4", "route", "show", "table", "all"])?, false)?;
    routes.extend(parse::routes(&ip(&["-6", "route", "show", "table", "all"])?, true)?);
    routes.retain(|route| route.device.as_deref().is_none_or(known));
    let mut rules = parse::rules(&ip(&["-4", "rule", "show"])?, false)?;
    rules.extend(parse::rules(&ip(&["-6", "rule", "show"])?, true)?);
    let (resolvers, search) = resolvers(sys)?;

    let evidence = dhcp::Evidence::read(sys)?;
    for link in &mut links {
        link.dhcp |= evidence.speaks_for(&link.name);
    }
    let by_dhcp = links.iter().any(|link| link.dhcp) || routes.iter().any(|route| route.dhcp);
    let mut network = Network { links, routes, rules, resolvers, search, dhcp: by_dhcp };
    if !by_dhcp && evidence.unbound() {
        // A client runs, but no lease is seen: it is for the links that have no address of their own.
        network.dhcp = true;
        let bare = |link: &&mut Link| link.kind == Kind::Physical && link.up && link.addresses.is_empty();
        let used: Vec<String> = network.links.iter().flat_map(|link| link.members.clone()).collect();
        network.links.iter_mut().filter(bare).filter(|l| !used.contains(&l.name)).for_each(|l| l.dhcp = true);
    }
    Ok(network)
}

/// Name servers and search domains; where a stub on this machine answers, those that it asks itself.
fn resolvers(sys: &dyn Sys) -> Result<(Vec<String>, Vec<String>), Error> {
    let text = sys.read_opt("/etc/resolv.conf")?.unwrap_or_default();
    let (servers, search) = parse::resolv_conf(&text);
    if servers.iter().any(|server| !parse::is_loopback(server)) {
        return Ok((servers.into_iter().filter(|server| !parse::is_loopback(server)).collect(), search));
    }
    let behind = [
        "/run/systemd/resolve/resolv.conf",
        "/run/NetworkManager/no-stub-resolv.conf",
        "/run/resolvconf/resolv.conf",
        "/var/run/NetworkManager/resolv.conf",
    ];
    for path in behind {
        let Some(text) = sys.read_opt(Path::new(path))? else { continue };
        let (servers, more) = parse::resolv_conf(&text);
        let real: Vec<_> = servers.into_iter().filter(|server| !parse::is_loopback(server)).collect();
        if !real.is_empty() {
            return Ok((real, if more.is_empty() { search } else { more }));
        }
    }
    Ok((Vec::new(), search))
}

#[cfg(test)]
mod tests;

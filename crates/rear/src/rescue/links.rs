//! The network that the machine had, as steps for the network cards that are there now. Pure: nothing is asked
//! and nothing is changed here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use image::network::{Address, Kind, Link, Network, Route, Rule};

use super::cmdline::{NetworkOption, StaticAddress};

/// A network card of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The kernel's name for it now.
    pub name: String,
    /// Its own MAC address.
    pub mac: String,
}

/// One thing to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run `ip` with these arguments.
    Ip(Vec<String>),
    /// Give the link this address, unless another machine answers for it.
    Address(String, Address),
    /// Ask a DHCP server for an address for this link.
    Dhcp(String),
}

/// What to do, and what a person should know about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// Sentences.
    pub notes: Vec<String>,
    /// Name servers to write down before any DHCP client runs.
    pub resolvers: Vec<String>,
}

impl Plan {
    fn ip(&mut self, words: &[&str]) {
        self.steps.push(Step::Ip(words.iter().map(|word| (*word).to_owned()).collect()));
    }
}

/// Plans the network. The kernel option goes before `USE_DHCLIENT` and that before what was captured.
pub fn plan(network: &Network, option: &NetworkOption, use_dhcp: Option<bool>, cards: &[Card]) -> Plan {
    match (option, use_dhcp) {
        (NetworkOption::Off, _) => Plan::default(),
        (NetworkOption::Static(address), _) => by_hand(address, cards),
        (NetworkOption::Dhcp(interface), _) => dhcp(interface.as_deref(), network, cards),
        (NetworkOption::AsCaptured, Some(true)) => dhcp(None, network, cards),
        (NetworkOption::AsCaptured, Some(false)) => captured(network, false, cards),
        (NetworkOption::AsCaptured, None) => captured(network, true, cards),
    }
}

fn by_hand(wish: &StaticAddress, cards: &[Card]) -> Plan {
    let mut plan = Plan { resolvers: wish.dns.clone(), ..Plan::default() };
    let card = match &wish.interface {
        Some(name) => cards.iter().find(|card| card.name == *name || card.mac.eq_ignore_ascii_case(name)),
        None => cards.first(),
    };
    let Some(card) = card else {
        let name = wish.interface.as_deref().unwrap_or("any");
        plan.notes.push(format!("the network card of the kernel option ip= ({name}) is not there"));
        return plan;
    };
    let address = wish
        .address
        .split_once('/')
        .and_then(|(ip, prefix)| Some(Address { ip: ip.parse().ok()?, prefix: prefix.parse().ok()? }));
    let Some(address) = address else {
        plan.notes.push(format!("the address of the kernel option ip= ({}) is not one", wish.address));
        return plan;
    };
    plan.ip(&["link", "set", "dev", &card.name, "up"]);
    plan.steps.push(Step::Address(card.name.clone(), address));
    if let Some(gateway) = &wish.gateway {
        plan.ip(&["route", "replace", "default", "via", gateway, "dev", &card.name]);
    }
    plan
}

fn dhcp(interface: Option<&str>, network: &Network, cards: &[Card]) -> Plan {
    let mut plan = Plan { resolvers: network.resolvers.clone(), ..Plan::default() };
    for card in cards.iter().filter(|card| interface.is_none_or(|name| name == card.name)) {
        plan.ip(&["link", "set", "dev", &card.name, "up"]);
        plan.steps.push(Step::Dhcp(card.name.clone()));
    }
    if plan.steps.is_empty() {
        plan.notes.push(format!("no network card for DHCP ({})", interface.unwrap_or("any")));
    }
    plan
}

fn captured(network: &Network, with_dhcp: bool, cards: &[Card]) -> Plan {
    let mut plan = Plan { resolvers: network.resolvers.clone(), ..Plan::default() };
    let names = place(&network.links, cards, &mut plan.notes);
    let name = |old: &str| names.get(old).map(String::as_str);
    let mut made: Vec<&Link> = Vec::new();
    for link in &network.links {
        if let Some(present) = name(&link.name)
            && make(&mut plan, link, present, &name)
        {
            made.push(link);
        }
    }
    for link in &made {
        let Some(present) = name(&link.name) else { continue };
        if link.dhcp && with_dhcp {
            // Its addresses are the server's to give, also when they are the same as before.
            plan.steps.push(Step::Dhcp(present.to_owned()));
            continue;
        }
        for address in &link.addresses {
            plan.steps.push(Step::Address(present.to_owned(), address.clone()));
        }
    }
    for route in network.routes.iter().filter(|route| !(route.dhcp && with_dhcp)) {
        let device = route.device.as_deref().map(name);
        if device == Some(None) {
            continue;
        }
        plan.steps.push(Step::Ip(route_words(route, device.flatten())));
    }
    for rule in &network.rules {
        plan.steps.push(Step::Ip(rule_words(rule, &name)));
    }
    plan
}

/// Whether a link of the machine may be on this card.
type Fits<'a> = &'a dyn Fn(&Link, &Card) -> bool;

/// Which old name is which link now: cards by their MAC address, then those of the same name, then the rest in
/// order (other hardware). Links that are made keep their names.
fn place(links: &[Link], cards: &[Card], notes: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let mut free: Vec<&Card> = cards.iter().collect();
    let mut open: Vec<&Link> = Vec::new();
    for link in links {
        if link.kind == Kind::Physical {
            open.push(link)
        } else {
            drop(names.insert(link.name.clone(), link.name.clone()))
        }
    }
    let same_mac =
        |link: &Link, card: &Card| link.mac.as_ref().is_some_and(|mac| mac.eq_ignore_ascii_case(&card.mac));
    let same_name = |link: &Link, card: &Card| link.name == card.name;
    let any = |_: &Link, _: &Card| true;
    let rules: [Fits<'_>; 3] = [&same_mac, &same_name, &any];
    for (rank, fits) in rules.into_iter().enumerate() {
        open.retain(|link| {
            let Some(at) = free.iter().position(|card| fits(link, card)) else { return true };
            let card = free.remove(at);
            if rank > 0 {
                notes.push(format!(
                    "no network card has the address of {} ({}); {} ({}) takes its place",
                    link.name,
                    link.mac.as_deref().unwrap_or("unknown"),
                    card.name,
                    card.mac
                ));
            }
            names.insert(link.name.clone(), card.name.clone());
            false
        });
    }
    for link in open {
        notes.push(format!("there is no network card for {}; it is left out", link.name));
    }
    names
}

/// Makes one link; false where something that it needs is missing, or where it was down.
fn make<'a>(plan: &mut Plan, link: &Link, present: &str, name: &impl Fn(&str) -> Option<&'a str>) -> bool {
    let members: Vec<&str> = link.members.iter().filter_map(|member| name(member)).collect();
    match &link.kind {
        Kind::Physical => {}
        Kind::Bond { .. } | Kind::Bridge { .. } | Kind::Team
            if members.is_empty() && !link.members.is_empty() =>
        {
            plan.notes.push(format!("none of the members of {} is there; it is left out", link.name));
            return false;
        }
        Kind::Bond { mode, miimon, lacp_rate, xmit_hash_policy, primary } => {
            let miimon = miimon.map(|miimon| miimon.to_string());
            let mut words = vec!["link", "add", "name", present, "type", "bond", "mode", mode];
            let options = [
                ("miimon", miimon.as_deref()),
                ("lacp_rate", lacp_rate.as_deref()),
                ("xmit_hash_policy", xmit_hash_policy.as_deref()),
            ];
            for (key, value) in options {
                words.extend(value.into_iter().flat_map(|value| [key, value]));
            }
            plan.ip(&words);
            enslave(plan, link, present, &members);
            if let Some(primary) = primary.as_deref().and_then(name) {
                plan.ip(&["link", "set", "dev", present, "type", "bond", "primary", primary]);
            }
        }
        Kind::Team => {
            plan.notes.push(format!("{} was a team; it becomes an active-backup bond here", link.name));
            plan.ip(&[
                "link",
                "add",
                "name",
                present,
                "type",
                "bond",
                "mode",
                "active-backup",
                "miimon",
                "100",
            ]);
            enslave(plan, link, present, &members);
        }
        Kind::Bridge { stp } => {
            // Without the spanning tree protocol there is nothing to wait for before packets are passed on.
            let (stp, delay) = if *stp { ("1", "1500") } else { ("0", "0") };
            plan.ip(&[
                "link",
                "add",
                "name",
                present,
                "type",
                "bridge",
                "stp_state",
                stp,
                "forward_delay",
                delay,
            ]);
            enslave(plan, link, present, &members);
        }
        Kind::Vlan { id, parent, protocol } => {
            let Some(parent) = name(parent) else {
                plan.notes
                    .push(format!("{} has lost the link below it ({parent}); it is left out", link.name));
                return false;
            };
            let id = id.to_string();
            let words = [
                "link", "add", "link", parent, "name", present, "type", "vlan", "proto", protocol, "id", &id,
            ];
            plan.ip(&words);
        }
    }
    if let Some(mtu) = link.mtu.filter(|mtu| *mtu != 1500) {
        plan.ip(&["link", "set", "dev", present, "mtu", &mtu.to_string()]);
    }
    if link.up {
        plan.ip(&["link", "set", "dev", present, "up"]);
    }
    link.up
}

fn enslave(plan: &mut Plan, link: &Link, present: &str, members: &[&str]) {
    if let Some(mac) = &link.mac {
        // Switches and DHCP servers know the machine by it.
        plan.ip(&["link", "set", "dev", present, "address", mac]);
    }
    for member in members {
        // A bond takes only members that are down.
        plan.ip(&["link", "set", "dev", member, "down"]);
        plan.ip(&["link", "set", "dev", member, "master", present]);
        plan.ip(&["link", "set", "dev", member, "up"]);
    }
}

fn route_words(route: &Route, device: Option<&str>) -> Vec<String> {
    let mut words = Vec::new();
    if route.v6 {
        words.push("-6".to_owned());
    }
    words.extend(["route", "replace", &route.destination].map(str::to_owned));
    let mut add = |key: &str, value: Option<String>| {
        words.extend(value.into_iter().flat_map(|value| [key.to_owned(), value]));
    };
    // An IPv4 route over an IPv6 gateway has a word of its own.
    let foreign = matches!(route.gateway, Some(IpAddr::V6(_))) && !route.v6;
    let gateway = route.gateway.map(|gateway| gateway.to_string());
    if foreign {
        add("via", gateway.map(|gateway| format!("inet6 {gateway}")));
    } else {
        add("via", gateway);
    }
    add("dev", device.map(str::to_owned));
    add("src", route.source.map(|source| source.to_string()));
    add("metric", route.metric.map(|metric| metric.to_string()));
    add("table", (route.table != "main" && !route.table.is_empty()).then(|| route.table.clone()));
    let mut words: Vec<String> = words.iter().flat_map(|word| word.split(' ')).map(str::to_owned).collect();
    if route.onlink {
        words.push("onlink".to_owned());
    }
    words
}

fn rule_words<'a>(rule: &Rule, name: &impl Fn(&str) -> Option<&'a str>) -> Vec<String> {
    let mut words = Vec::new();
    if rule.v6 {
        words.push("-6".to_owned());
    }
    words.extend(["rule", "add", "priority", &rule.priority.to_string()].map(str::to_owned));
    let link = |old: &Option<String>| old.as_deref().map(|old| name(old).unwrap_or(old).to_owned());
    let parts = [
        ("from", rule.from.clone().or_else(|| Some("all".to_owned()))),
        ("to", rule.to.clone()),
        ("iif", link(&rule.iif)),
        ("oif", link(&rule.oif)),
        ("fwmark", rule.fwmark.clone()),
        ("table", Some(rule.table.clone())),
    ];
    for (key, value) in parts {
        words.extend(value.into_iter().flat_map(|value| [key.to_owned(), value]));
    }
    words
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;

//! Reads the JSON that `ip -j` of iproute2 4.18 to 6.15 prints, and `resolv.conf(5)`. Pure.

use std::net::IpAddr;

use serde_json::Value;

use super::{Address, Kind, Link, Route, Rule};
use crate::Error;

/// What is said of an answer of `ip` in which a field is not there or not of its form.
fn wrong(what: &str, detail: String) -> Error {
    sys::Error::Answer { what: format!("'ip -j {what}'"), detail }.into()
}

/// A field that is never left out, as what `take` makes of it.
fn need<T>(
    what: &str,
    of: &str,
    value: &Value,
    key: &str,
    take: impl Fn(&Value) -> Option<T>,
) -> Result<T, Error> {
    value.get(key).and_then(take).ok_or_else(|| {
        let found = value.get(key).map_or_else(|| "nothing".to_owned(), Value::to_string);
        wrong(what, format!("{of} has an unexpected field '{key}': {found}"))
    })
}

/// An address where there is one.
fn address(what: &str, of: &str, value: &Value, key: &str) -> Result<Option<IpAddr>, Error> {
    if value.get(key).is_none() {
        return Ok(None);
    }
    need(what, of, value, key, ip).map(Some)
}

fn ip(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

fn words(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn list<'v>(value: &'v Value, what: &str) -> Result<impl Iterator<Item = &'v Value>, Error> {
    let Some(list) = value.as_array() else {
        return Err(wrong(what, "it is not a list".to_owned()));
    };
    // Filters of ip leave empty objects behind.
    Ok(list.iter().filter(|item| item.as_object().is_some_and(|object| !object.is_empty())))
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

fn number(value: &Value, key: &str) -> Option<u32> {
    value.get(key)?.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn slave(item: &Value, key: &str) -> Option<String> {
    text(item.get("linkinfo")?.get("info_slave_data")?, key)
}

/// Virtual links that belong to programs running on the machine, not to its network.
fn belongs_to_program(name: &str) -> bool {
    [
        "docker",
        "veth",
        "virbr",
        "vnet",
        "br-",
        "cni",
        "flannel",
        "cali",
        "lxcbr",
        "lxdbr",
        "podman",
        "tailscale",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

/// Links with their addresses, sorted so that what is built of others comes after them.
pub(super) fn links(links: &Value, addresses: &Value) -> Result<Vec<Link>, Error> {
    let mut found = Vec::new();
    let mut masters = Vec::new();
    for item in list(links, "-d link")? {
        let name = need("-d link", "a link", item, "ifname", words)?;
        if name == "lo" || text(item, "link_type").as_deref() == Some("loopback") || belongs_to_program(&name)
        {
            continue;
        }
        let Some(kind) = kind(&name, item)? else {
            tracing::debug!(name, "network link of a kind that the rescue system does not make");
            continue;
        };
        if let Some(master) = text(item, "master") {
            masters.push((name.clone(), master));
        }
        let flags = need("-d link", &name, item, "flags", |flags| flags.as_array().cloned())?;
        found.push(Link {
            // A member of a bond carries the bond's address; the kernel tells its own in one of two places.
            mac: text(item, "permaddr")
                .or_else(|| slave(item, "perm_hwaddr"))
                .or_else(|| text(item, "address")),
            mtu: number(item, "mtu"),
            up: flags.iter().filter_map(Value::as_str).any(|flag| flag == "UP"),
            members: Vec::new(),
            addresses: Vec::new(),
            dhcp: false,
            kind,
            name,
        });
    }
    for item in list(addresses, "addr")? {
        let name = need("addr", "a link", item, "ifname", words)?;
        let Some(link) = found.iter_mut().find(|link| link.name == name) else { continue };
        for info in need("addr", &name, item, "addr_info", |list| list.as_array().cloned())? {
            // Filters of ip leave empty objects behind here, too.
            if info.as_object().is_some_and(|object| !object.is_empty()) {
                add_address(link, &info)?;
            }
        }
    }
    for (member, master) in masters {
        if let Some(link) = found.iter_mut().find(|link| link.name == master) {
            link.members.push(member);
        }
    }
    Ok(sorted(found))
}

fn add_address(link: &mut Link, info: &Value) -> Result<(), Error> {
    let of = format!("an address of {}", link.name);
    // Others are no addresses of the internet (MCTP).
    if !["inet", "inet6"].contains(&need("addr", &of, info, "family", words)?.as_str()) {
        return Ok(());
    }
    let yes = |key: &str| info.get(key).and_then(Value::as_bool) == Some(true);
    // Link-local addresses come by themselves; temporary ones (privacy) change by the day.
    if text(info, "scope").as_deref() == Some("link") || yes("temporary") {
        return Ok(());
    }
    let ip = need("addr", &of, info, "local", ip)?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = need("addr", &of, info, "prefixlen", |bits| {
        bits.as_u64().and_then(|bits| u8::try_from(bits).ok()).filter(|bits| *bits <= most)
    })?;
    // A lease has an end: the kernel then shows the address as "dynamic". IPv6 autoconfiguration does so, too,
    // there the kernel itself ("mngtmpaddr", prefix 64) is who repeats it.
    let lasts = info.get("valid_life_time").and_then(Value::as_u64);
    let leased = yes("dynamic") || lasts.is_some_and(|seconds| seconds < u64::from(u32::MAX));
    if leased && ip.is_ipv6() && (yes("mngtmpaddr") || prefix == 64) {
        return Ok(());
    }
    link.dhcp |= leased;
    link.addresses.push(Address { ip, prefix });
    Ok(())
}

/// What a link is; `None` where it is of a kind that the rescue system does not make.
fn kind(name: &str, item: &Value) -> Result<Option<Kind>, Error> {
    let info = item.get("linkinfo").unwrap_or(&Value::Null);
    let data = info.get("info_data").unwrap_or(&Value::Null);
    Ok(match info.get("info_kind").and_then(Value::as_str) {
        None => (text(item, "link_type").as_deref() == Some("ether")).then_some(Kind::Physical),
        Some("bond") => Some(Kind::Bond {
            mode: need("-d link", name, data, "mode", words)?,
            miimon: number(data, "miimon").filter(|ms| *ms > 0),
            lacp_rate: text(data, "ad_lacp_rate"),
            xmit_hash_policy: text(data, "xmit_hash_policy"),
            primary: text(data, "primary"),
        }),
        Some("vlan") => {
            let id =
                need("-d link", name, data, "id", |id| id.as_u64().and_then(|id| u16::try_from(id).ok()))?;
            // A link in another namespace has no name here.
            let protocol = text(data, "protocol").unwrap_or_else(|| "802.1Q".to_owned());
            text(item, "link").map(|parent| Kind::Vlan { id, parent, protocol })
        }
        Some("bridge") => {
            Some(Kind::Bridge { stp: number(data, "stp_state").is_some_and(|state| state > 0) })
        }
        Some("team") => Some(Kind::Team),
        Some(_) => None,
    })
}

/// What a link is built of.
fn ground(link: &Link) -> impl Iterator<Item = &String> {
    let parent = match &link.kind {
        Kind::Vlan { parent, .. } => Some(parent),
        _ => None,
    };
    link.members.iter().chain(parent)
}

fn sorted(mut links: Vec<Link>) -> Vec<Link> {
    let mut done: Vec<Link> = Vec::new();
    while !links.is_empty() {
        let waiting: Vec<String> = links.iter().map(|link| link.name.clone()).collect();
        let ready = links.iter().position(|link| !ground(link).any(|name| waiting.contains(name)));
        // A circle cannot exist in the kernel; taking the first one keeps this loop finite all the same.
        done.push(links.remove(ready.unwrap_or(0)));
    }
    done
}

/// Takes out what lost its ground: a tagged network on an excluded link, members that are gone, empty bonds.
pub(super) fn drop_without_ground(links: &mut Vec<Link>) {
    loop {
        let names: Vec<String> = links.iter().map(|link| link.name.clone()).collect();
        for link in links.iter_mut() {
            link.members.retain(|member| names.contains(member));
        }
        links.retain(|link| match &link.kind {
            Kind::Vlan { parent, .. } => names.contains(parent),
            Kind::Bond { .. } | Kind::Team => !link.members.is_empty(),
            Kind::Bridge { .. } => !link.members.is_empty() || !link.addresses.is_empty(),
            Kind::Physical => true,
        });
        if links.len() == names.len() {
            return;
        }
    }
}

/// Routes of all tables, without those that the kernel makes by itself.
pub(super) fn routes(value: &Value, v6: bool) -> Result<Vec<Route>, Error> {
    let mut routes = Vec::new();
    for item in list(value, "route")? {
        let protocol = text(item, "protocol").unwrap_or_default();
        let kind = text(item, "type").unwrap_or_else(|| "unicast".to_owned());
        let table = text(item, "table").unwrap_or_else(|| "main".to_owned());
        if table == "local" || kind != "unicast" || ["kernel", "ra", "redirect"].contains(&protocol.as_str())
        {
            continue;
        }
        let destination = need("route", "a route", item, "dst", words)?;
        let of = format!("the route to {destination}");
        let flags = item.get("flags").and_then(Value::as_array).into_iter().flatten();
        let flags: Vec<&str> = flags.filter_map(Value::as_str).collect();
        let mut route = Route {
            destination,
            gateway: gateway(&of, item)?,
            device: text(item, "dev"),
            source: address("route", &of, item, "prefsrc")?,
            metric: number(item, "metric"),
            table,
            onlink: flags.contains(&"onlink"),
            v6,
            dhcp: protocol == "dhcp",
        };
        let hops: Vec<&Value> =
            item.get("nexthops").and_then(Value::as_array).into_iter().flatten().collect();
        if hops.is_empty() {
            routes.push(route);
            continue;
        }
        // Of several next hops the first usable one is enough to reach a backup.
        let usable =
            |hop: &&&Value| !hop.get("flags").is_some_and(|flags| flags.to_string().contains("dead"));
        if let Some(hop) = hops.iter().find(usable) {
            route.gateway = gateway(&of, hop)?;
            route.device = text(hop, "dev");
            routes.push(route);
        }
    }
    Ok(routes)
}

/// Where a route or one of its hops leads, of the other address family in "via".
fn gateway(of: &str, item: &Value) -> Result<Option<IpAddr>, Error> {
    match item.get("via") {
        Some(via) => need("route", of, via, "host", ip).map(Some),
        None => address("route", of, item, "gateway"),
    }
}

/// Rules, without the three that every kernel starts with.
pub(super) fn rules(value: &Value, v6: bool) -> Result<Vec<Rule>, Error> {
    let mut rules = Vec::new();
    for item in list(value, "rule")? {
        // Those that refuse packets or lead to other rules name no table, and neither does that for the tables of VRFs.
        let others = ["action", "goto", "nop", "l3mdev", "masquerade", "nat_gateway"];
        if item.get("table").is_none() && others.iter().any(|other| item.get(other).is_some()) {
            continue;
        }
        let table = need("rule", "a rule", item, "table", words)?;
        let network = |key: &str| {
            let address = text(item, key).filter(|address| address != "all")?;
            Some(match number(item, &format!("{key}len")) {
                Some(bits) => format!("{address}/{bits}"),
                None => address,
            })
        };
        let rule = Rule {
            priority: need("rule", "a rule", item, "priority", |number| {
                number.as_u64().and_then(|number| u32::try_from(number).ok())
            })?,
            from: network("src"),
            to: network("dst"),
            iif: text(item, "iif"),
            oif: text(item, "oif"),
            fwmark: text(item, "fwmark"),
            table,
            v6,
        };
        if !matches!(rule.priority, 0 | 32766 | 32767) {
            rules.push(rule);
        }
    }
    Ok(rules)
}

/// Name servers and search domains.
pub(super) fn resolv_conf(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut servers, mut search) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words.next().map(str::to_owned)),
            // The last of them counts (resolv.conf(5)).
            Some("search" | "domain") => {
                search = words.filter(|word| *word != ".").map(str::to_owned).collect()
            }
            _ => {}
        }
    }
    (servers, search)
}

/// Whether a name server is on this machine itself.
pub(super) fn is_loopback(server: &str) -> bool {
    let plain = server.split('%').next().unwrap_or(server);
    plain.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

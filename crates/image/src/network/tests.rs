//! A machine with a bridge on a tagged network on a bond, and a card with DHCP, as `ip` of iproute2 6.1 prints it.

use super::*;
use serde_json::json;
use sys::Replay;

const LINKS: &str = include_str!("../../tests/ip/link.json");
const ADDRESSES: &str = include_str!("../../tests/ip/addr.json");
const ROUTES_4: &str = include_str!("../../tests/ip/route4.json");
const ROUTES_6: &str = include_str!("../../tests/ip/route6.json");
const RULES_4: &str = include_str!("../../tests/ip/rule4.json");

/// The recording of a machine whose name servers hide behind systemd-resolved.
fn machine(more: &[(&str, serde_json::Value)]) -> Replay {
    let mut answers = json!({
        "run ip -j -d link": {"text": LINKS},
        "run ip -j addr": {"text": ADDRESSES},
        "run ip -j -4 route show table all": {"text": ROUTES_4},
        "run ip -j -6 route show table all": {"text": ROUTES_6},
        "run ip -j -4 rule show": {"text": RULES_4},
        "run ip -j -6 rule show": {"text": "\n"},
        "read /etc/resolv.conf": {"text": "nameserver 127.0.0.53\noptions edns0\nsearch example.org\n"},
        "read /run/systemd/resolve/resolv.conf": {"text": "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch .\n"},
        "list /proc": {"names": ["1", "self"]},
        "read /proc/1/comm": {"text": "systemd\n"},
        "list /run/systemd/netif/leases": {"names": []},
        "list /run/NetworkManager/devices": {"names": []},
    });
    for (key, answer) in more {
        answers[key] = answer.clone();
    }
    Replay::from_json(&answers.to_string()).unwrap()
}

fn link<'n>(network: &'n Network, name: &str) -> &'n Link {
    network.links.iter().find(|link| link.name == name).unwrap()
}

#[test]
fn everything_is_found_in_the_order_of_making() {
    let sys = machine(&[]);
    let network = capture(&sys, &[], &[]).unwrap();
    assert_eq!(sys.unused(), [""; 0]);
    let names: Vec<_> = network.links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(names, ["enp1s0", "enp2s0", "bond0", "bond0.20", "br0", "enp3s0"]);
    assert_eq!(link(&network, "enp2s0").mac.as_deref(), Some("52:54:00:aa:00:02"));
    let bond = link(&network, "bond0");
    assert_eq!(bond.members, ["enp1s0", "enp2s0"]);
    assert_eq!(bond.mtu, Some(9000));
    assert!(matches!(&bond.kind, Kind::Bond { mode, miimon: Some(100), lacp_rate: Some(rate), .. }
        if mode == "802.3ad" && rate == "fast"));
    assert!(
        matches!(&link(&network, "bond0.20").kind, Kind::Vlan { id: 20, parent, .. } if parent == "bond0")
    );
    let bridge = link(&network, "br0");
    assert_eq!(bridge.members, ["bond0.20"]);
    let addresses: Vec<_> = bridge.addresses.iter().map(|a| format!("{}/{}", a.ip, a.prefix)).collect();
    assert_eq!(addresses, ["192.0.2.5/24", "2001:db8::5/64"]);
    assert!(!bridge.dhcp && network.dhcp);
    // The leased address is there, the one that IPv6 makes by itself is not.
    let card = link(&network, "enp3s0");
    assert!(card.dhcp);
    assert_eq!(card.addresses.len(), 1);
    assert_eq!(network.resolvers, ["192.0.2.53", "2001:db8::53"]);
    assert_eq!(network.search, ["example.org"]);
}

#[test]
fn routes_and_rules_that_somebody_set() {
    let network = capture(&machine(&[]), &[], &[]).unwrap();
    let routes: Vec<_> = network
        .routes
        .iter()
        .map(|r| {
            (r.destination.as_str(), r.gateway.unwrap().to_string(), r.table.as_str(), r.v6, r.onlink, r.dhcp)
        })
        .collect();
    assert_eq!(
        routes,
        [
            ("10.0.0.0/8", "192.0.2.9".to_owned(), "100", false, false, false),
            ("default", "192.0.2.1".to_owned(), "main", false, true, false),
            ("default", "198.51.100.1".to_owned(), "main", false, false, true),
            ("203.0.113.0/24", "192.0.2.9".to_owned(), "main", false, false, false),
            ("default", "2001:db8::1".to_owned(), "main", true, false, false),
        ]
    );
    assert_eq!(network.rules.len(), 2);
    assert_eq!(network.rules[0].from.as_deref(), Some("192.0.2.0/24"));
    assert_eq!(network.rules[1].fwmark.as_deref(), Some("0x10"));
}

#[test]
fn what_stands_on_an_excluded_link_goes_with_it() {
    let network = capture(&machine(&[]), &["bond*".into()], &["2001:db8::5".into()]).unwrap();
    let names: Vec<_> = network.links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(names, ["enp1s0", "enp2s0", "br0", "enp3s0"]);
    assert!(link(&network, "br0").members.is_empty());
    assert_eq!(link(&network, "br0").addresses.len(), 1);
    let network =
        capture(&machine(&[]), &["enp1s0".into(), "enp2s0".into()], &["192.0.2.5/24".into()]).unwrap();
    assert!(!network.links.iter().any(|link| link.name.starts_with("bond")));
}

#[test]
fn a_client_without_a_visible_lease_counts() {
    let plain = ADDRESSES.replace("\"dynamic\":true,", "").replace(":3600,", ":4294967295,");
    let routes = ROUTES_4.replace("\"dhcp\"", "\"static\"");
    let sys = machine(&[
        ("run ip -j addr", json!({"text": plain})),
        ("run ip -j -4 route show table all", json!({"text": routes})),
    ]);
    assert!(!capture(&sys, &[], &[]).unwrap().dhcp);
    let sys = machine(&[
        ("run ip -j addr", json!({"text": plain})),
        ("run ip -j -4 route show table all", json!({"text": routes})),
        ("list /proc", json!({"names": ["77"]})),
        ("read /proc/77/comm", json!({"text": "dhclient\n"})),
        ("read /proc/77/cmdline", json!({"text": "dhclient -v enp3s0"})),
    ]);
    // The arguments of a real command line end with NUL; this one says nothing about a link.
    assert!(capture(&sys, &[], &[]).unwrap().dhcp);
}

#[test]
fn a_network_survives_json() {
    let network = capture(&machine(&[]), &[], &[]).unwrap();
    let text = serde_json::to_string(&network).unwrap();
    assert_eq!(serde_json::from_str::<Network>(&text).unwrap(), network);
}

/// A bridge with a static and a leased address, routes and rules, by the `ip` of several distributions.
const VERSIONS: [(&str, &str); 3] = [
    ("iproute2 5.9 (Debian 11)", include_str!("../../tests/ip/debian11.json")),
    ("iproute2 6.1 (Debian 12)", include_str!("../../tests/ip/debian12.json")),
    ("iproute2 6.15 (Debian 13)", include_str!("../../tests/ip/debian13.json")),
];

/// The machine that printed this, after a change to what it printed.
fn told(text: &str, change: impl Fn(&mut serde_json::Value)) -> Replay {
    let mut all: serde_json::Value = serde_json::from_str(text).unwrap();
    change(&mut all);
    let answers = all.as_object().unwrap().iter();
    let answers: Vec<_> = answers
        .map(|(args, said)| (format!("run ip -j {args}"), json!({"text": said.to_string()})))
        .collect();
    let mut more: Vec<(&str, serde_json::Value)> =
        answers.iter().map(|(key, answer)| (key.as_str(), answer.clone())).collect();
    more.push(("run ip -V", json!({"text": "ip utility, iproute2-6.1.0, libbpf 1.1.0\n"})));
    machine(&more)
}

#[test]
fn every_version_tells_the_same() {
    let networks = VERSIONS.map(|(_, text)| capture(&told(text, |_| {}), &[], &[]).unwrap());
    let bridge = link(&networks[0], "br0");
    let addresses: Vec<_> = bridge.addresses.iter().map(|a| format!("{}/{}", a.ip, a.prefix)).collect();
    assert_eq!(addresses, ["192.0.2.5/24", "192.0.2.6/32", "2001:db8::5/64"]);
    assert!(bridge.up && bridge.dhcp && bridge.kind == Kind::Bridge { stp: false });
    let routes: Vec<_> = networks[0]
        .routes
        .iter()
        .map(|route| (route.destination.as_str(), route.gateway.unwrap().to_string(), route.table.as_str()))
        .collect();
    assert_eq!(
        routes,
        [
            ("10.0.0.0/8", "192.0.2.9".to_owned(), "100"),
            ("default", "192.0.2.1".to_owned(), "main"),
            ("203.0.113.0/24", "192.0.2.9".to_owned(), "main"),
            ("default", "2001:db8::1".to_owned(), "main"),
        ]
    );
    let rules: Vec<_> = networks[0].rules.iter().map(|rule| (rule.priority, rule.table.as_str())).collect();
    assert_eq!(rules, [(32764, "100"), (32765, "100")]);
    for ((version, _), network) in VERSIONS.iter().zip(&networks) {
        assert_eq!(network, &networks[0], "{version}");
    }
}

#[test]
fn a_field_of_another_form_is_an_error_that_names_it() {
    let bond = json!({"info_kind": "bond", "info_data": {"miimon": 100}});
    for (command, place, value, field) in [
        ("-d link", "/0/ifname", json!(null), "ifname"),
        ("-d link", "/0/ifname", json!(""), "ifname"),
        ("-d link", "/0/flags", json!("UP"), "flags"),
        ("-d link", "/0/linkinfo", bond, "mode"),
        ("-d link", "/0/linkinfo", json!({"info_kind": "vlan", "info_data": {"id": "x"}}), "id"),
        ("addr", "/0/ifname", json!(2), "ifname"),
        ("addr", "/0/addr_info", json!(null), "addr_info"),
        ("addr", "/0/addr_info/0/family", json!(null), "family"),
        ("addr", "/0/addr_info/0/local", json!("192.0.2.5/24"), "local"),
        ("addr", "/0/addr_info/0/prefixlen", json!("24"), "prefixlen"),
        ("addr", "/0/addr_info/0/prefixlen", json!(33), "prefixlen"),
        ("-4 route show table all", "/0/dst", json!(null), "dst"),
        ("-4 route show table all", "/0/gateway", json!("via 192.0.2.9"), "gateway"),
        ("-4 rule show", "/2/table", json!(null), "table"),
        ("-4 rule show", "/2/priority", json!("first"), "priority"),
    ] {
        let sys = told(VERSIONS[1].1, |all| *all[command].pointer_mut(place).unwrap() = value.clone());
        let error = capture(&sys, &[], &[]).unwrap_err().to_string();
        assert!(error.contains("'ip -j ") && error.contains(&format!("'{field}'")), "{error}");
        assert!(error.contains("iproute2-6.1.0"), "{error}");
    }
}

#[test]
fn without_ip_the_error_says_what_to_install() {
    let error = capture(&sys::Forbid, &[], &[]).unwrap_err();
    assert!(!matches!(error, Error::NoIp));
    assert!(Error::NoIp.to_string().contains("iproute2"));
    let broken = machine(&[("run ip -j addr", json!({"text": "Option \"-j\" is unknown"}))]);
    assert!(capture(&broken, &[], &[]).unwrap_err().to_string().contains("ip -j addr"));
}

#[test]
fn name_servers_behind_a_stub() {
    for stub in ["127.0.0.1", "::1", "127.0.0.53%lo"] {
        assert!(parse::is_loopback(stub), "{stub}");
    }
    let (servers, search) = parse::resolv_conf("# x\ndomain a.b\nsearch c d\nnameserver  ::1\nnameserver\n");
    assert_eq!((servers, search), (vec!["::1".to_owned()], vec!["c".to_owned(), "d".to_owned()]));
}

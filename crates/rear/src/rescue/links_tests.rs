//! Networks of real servers, as the commands that bring them up.

use super::*;

fn link(name: &str, mac: &str, kind: Kind) -> Link {
    Link {
        name: name.into(),
        mac: Some(mac.into()),
        kind,
        mtu: Some(1500),
        members: Vec::new(),
        addresses: Vec::new(),
        up: true,
        dhcp: false,
    }
}

fn route(destination: &str, gateway: &str, device: &str) -> Route {
    Route {
        destination: destination.into(),
        gateway: Some(gateway.parse().unwrap()),
        device: Some(device.into()),
        source: None,
        metric: None,
        table: "main".into(),
        onlink: false,
        v6: false,
        dhcp: false,
    }
}

fn card(name: &str, mac: &str) -> Card {
    Card { name: name.into(), mac: mac.into() }
}

fn address(text: &str, prefix: u8) -> Address {
    Address { ip: text.parse().unwrap(), prefix }
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.steps
        .iter()
        .map(|step| match step {
            Step::Ip(words) => words.join(" "),
            Step::Address(device, address) => format!("+ {}/{} {device}", address.ip, address.prefix),
            Step::Dhcp(device) => format!("dhcp {device}"),
        })
        .collect()
}

#[test]
fn bond_with_vlan_in_a_bridge() {
    let mut bond = link(
        "bond0",
        "52:54:00:00:00:01",
        Kind::Bond {
            mode: "802.3ad".into(),
            miimon: Some(100),
            lacp_rate: Some("fast".into()),
            xmit_hash_policy: Some("layer3+4".into()),
            primary: None,
        },
    );
    bond.members = vec!["ens3".into(), "ens4".into()];
    bond.mtu = Some(9000);
    let vlan = link(
        "bond0.7",
        "52:54:00:00:00:01",
        Kind::Vlan { id: 7, parent: "bond0".into(), protocol: "802.1Q".into() },
    );
    let mut bridge = link("br0", "52:54:00:00:00:01", Kind::Bridge { stp: false });
    bridge.members = vec!["bond0.7".into()];
    bridge.addresses = vec![address("192.0.2.7", 24), address("2001:db8::7", 64)];
    let network = Network {
        links: vec![
            link("ens3", "52:54:00:00:00:01", Kind::Physical),
            link("ens4", "52:54:00:00:00:02", Kind::Physical),
            bond,
            vlan,
            bridge,
        ],
        routes: vec![route("default", "192.0.2.1", "br0")],
        ..Network::default()
    };
    // The cards have changed places since.
    let cards = [card("ens3", "52:54:00:00:00:02"), card("ens4", "52:54:00:00:00:01")];
    let plan = plan(&network, &NetworkOption::AsCaptured, None, &cards);
    assert_eq!(plan.notes, Vec::<String>::new());
    let expected = "link set dev ens4 up
link set dev ens3 up
link add name bond0 type bond mode 802.3ad miimon 100 lacp_rate fast xmit_hash_policy layer3+4
link set dev bond0 address 52:54:00:00:00:01
link set dev ens4 down
link set dev ens4 master bond0
link set dev ens4 up
link set dev ens3 down
link set dev ens3 master bond0
link set dev ens3 up
link set dev bond0 mtu 9000
link set dev bond0 up
link add link bond0 name bond0.7 type vlan proto 802.1Q id 7
link set dev bond0.7 up
link add name br0 type bridge stp_state 0 forward_delay 0
link set dev br0 address 52:54:00:00:00:01
link set dev bond0.7 down
link set dev bond0.7 master br0
link set dev bond0.7 up
link set dev br0 up
+ 192.0.2.7/24 br0
+ 2001:db8::7/64 br0
route replace default via 192.0.2.1 dev br0";
    assert_eq!(lines(&plan), expected.lines().collect::<Vec<_>>());
}

#[test]
fn other_hardware_takes_the_place_and_is_named() {
    let mut eth0 = link("eth0", "52:54:00:aa:aa:aa", Kind::Physical);
    eth0.addresses = vec![address("192.0.2.7", 24)];
    let mut eth1 = link("eth1", "52:54:00:bb:bb:bb", Kind::Physical);
    eth1.addresses = vec![address("198.51.100.7", 24)];
    let mut eth2 = link("eth2", "52:54:00:cc:cc:cc", Kind::Physical);
    eth2.addresses = vec![address("203.0.113.7", 24)];
    let network = Network {
        links: vec![eth0, eth1, eth2],
        routes: vec![route("10.0.0.0/8", "203.0.113.1", "eth2"), route("default", "192.0.2.1", "eth0")],
        ..Network::default()
    };
    let cards = [card("enp1s0", "02:00:00:00:00:01"), card("enp2s0", "52:54:00:BB:BB:BB")];
    let plan = plan(&network, &NetworkOption::AsCaptured, None, &cards);
    assert_eq!(
        lines(&plan),
        [
            "link set dev enp1s0 up",
            "link set dev enp2s0 up",
            "+ 192.0.2.7/24 enp1s0",
            "+ 198.51.100.7/24 enp2s0",
            "route replace default via 192.0.2.1 dev enp1s0",
        ]
    );
    assert_eq!(plan.notes.len(), 2);
    assert!(plan.notes[0].contains("enp1s0 (02:00:00:00:00:01) takes its place"), "{:?}", plan.notes);
    assert!(plan.notes[1].contains("no network card for eth2"), "{:?}", plan.notes);
}

#[test]
fn dhcp_as_on_the_machine_and_by_option() {
    let mut eth0 = link("eth0", "52:54:00:aa:aa:aa", Kind::Physical);
    eth0.addresses = vec![address("192.0.2.7", 24)];
    eth0.dhcp = true;
    let mut default = route("default", "192.0.2.1", "eth0");
    default.dhcp = true;
    let network = Network { links: vec![eth0], routes: vec![default], dhcp: true, ..Network::default() };
    let cards = [card("eth0", "52:54:00:aa:aa:aa")];
    let with = |option: &NetworkOption, use_dhcp| lines(&plan(&network, option, use_dhcp, &cards));
    assert_eq!(with(&NetworkOption::AsCaptured, None), ["link set dev eth0 up", "dhcp eth0"]);
    assert_eq!(
        with(&NetworkOption::AsCaptured, Some(false)),
        ["link set dev eth0 up", "+ 192.0.2.7/24 eth0", "route replace default via 192.0.2.1 dev eth0"]
    );
    assert!(with(&NetworkOption::Off, Some(true)).is_empty());
    assert!(with(&NetworkOption::Dhcp(Some("eth9".into())), None).is_empty());
    let by_hand = StaticAddress {
        address: "10.0.0.2/8".into(),
        gateway: Some("10.0.0.1".into()),
        ..Default::default()
    };
    assert_eq!(
        with(&NetworkOption::Static(by_hand), Some(true)),
        ["link set dev eth0 up", "+ 10.0.0.2/8 eth0", "route replace default via 10.0.0.1 dev eth0"]
    );
}

#[test]
fn routes_and_rules_in_all_their_parts() {
    let mut full = route("10.0.0.0/8", "2001:db8::1", "eth0");
    full.source = Some("192.0.2.7".parse().unwrap());
    full.metric = Some(100);
    full.table = "200".into();
    full.onlink = true;
    assert_eq!(
        route_words(&full, Some("ens3")).join(" "),
        "route replace 10.0.0.0/8 via inet6 2001:db8::1 dev ens3 src 192.0.2.7 metric 100 table 200 onlink"
    );
    let rule = Rule {
        priority: 1000,
        from: None,
        to: Some("10.0.0.0/8".into()),
        iif: Some("eth0".into()),
        oif: None,
        fwmark: Some("0x1/0xff".into()),
        table: "200".into(),
        v6: true,
    };
    let name = |old: &str| (old == "eth0").then_some("ens3");
    assert_eq!(
        rule_words(&rule, &name).join(" "),
        "-6 rule add priority 1000 from all to 10.0.0.0/8 iif ens3 fwmark 0x1/0xff table 200"
    );
}

#[test]
fn what_has_lost_its_ground_is_left_out() {
    let vlan = link("eth5.9", "x", Kind::Vlan { id: 9, parent: "eth5".into(), protocol: "802.1Q".into() });
    let network = Network { links: vec![vlan], ..Network::default() };
    let plan = plan(&network, &NetworkOption::AsCaptured, None, &[]);
    assert!(plan.steps.is_empty());
    assert!(plan.notes[0].contains("eth5.9 has lost the link below it"));
}

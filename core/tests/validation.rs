//! What the host may get wrong, a case a row: the text that it reads, the other interface configured all the same, and
//! the files of the refused one untouched.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;

use nova_agent_core::effect::{Change, GuestPath, InterfaceState, RouteState};
use nova_agent_core::network::{MacAddr, Validated, validate};
use nova_agent_core::plan::{Action, Undo};
use nova_agent_core::render::{Configuration, HostData, Prepared, set_hostname};
use nova_agent_core::wire::StorePath;
use serde_json::{Value, json};

use self::support::{File, Guest, apply};

const MAC: &str = "00:16:3e:00:00:01";
const OTHER_MAC: &str = "00:16:3e:00:00:02";

/// `tests/invalid.json` has errors of a value whose key and `mac` are those of `eth0`: what is changed in the value, and
/// the text.
#[test]
fn an_error_leaves_its_interface_alone_and_configures_the_other() {
    let cases: Vec<(Value, String)> =
        serde_json::from_str(include_str!("../../tests/invalid.json")).unwrap();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for (change, text) in cases {
        let value = changed(&change).to_string();
        // An address on both interfaces is an error of both, so there is nothing that could be configured.
        let shared = text.contains(" is on ");
        for system in [debian(), centos()] {
            let mut data = host(&[("00163E000001", &value), neighbour()]);
            if shared {
                data.networking
                    .push(("00163e000003".into(), third().to_string().into_bytes()));
            }
            let configuration = prepared(&system, &data);
            let mut errors = vec![format!("{MAC}: {text}")];
            if shared {
                errors.push(format!("{OTHER_MAC}: {text}"));
            }
            assert_eq!(configuration.errors, errors, "{change}");
            assert_only_the_other_changes(
                &system,
                &configuration,
                if shared { "10.99.0.1" } else { "10.180.3.7" },
            );
        }
    }
}

#[test]
fn one_interface_too_many_is_told_and_the_first_ones_are_configured() {
    let mac = |nth: usize| format!("00163E00{nth:04X}");
    let value = |nth: usize| {
        json!({ "ips": [{ "ip": format!("10.0.{nth}.1"), "netmask": 24 }] }).to_string()
    };
    for count in [64, 65, 4096] {
        let lists = BTreeMap::from([
            (
                store_path("vm-data/networking"),
                (0..count).map(mac).collect(),
            ),
            (
                store_path("device/vif"),
                (0..count).map(|nth| nth.to_string()).collect(),
            ),
        ]);
        let mut values = BTreeMap::from([(store_path("vm-data/hostname"), None)]);
        let unread = HostData::collect(&lists, &values).unwrap_err();
        assert_eq!(
            unread.values.len(),
            2 * count.min(65),
            "no more is read than needed to tell"
        );
        for (nth, path) in
            (0..count).map(|nth| (nth, store_path(&format!("vm-data/networking/{}", mac(nth)))))
        {
            values.insert(path, Some(value(nth).into_bytes()));
            values.insert(
                store_path(&format!("device/vif/{nth}/mac")),
                Some(mac(nth).into_bytes()),
            );
        }
        let data = HostData::collect(&lists, &values).unwrap();
        let interfaces = (0..64).map(|nth| InterfaceState {
            name: format!("eth{nth}"),
            mac: MacAddr::try_from(&*mac(nth)).ok(),
            vif: u32::try_from(nth).ok(),
            ..debian().interfaces.remove(0)
        });
        let interfaces: Vec<InterfaceState> = interfaces.collect();
        let Validated { config, errors, .. } = validate(&data.networking, &data.vifs, &interfaces);
        assert_eq!(config.interfaces.len(), 64);
        assert_eq!(errors.len(), usize::from(count > 64), "{errors:?}");
        assert!(
            errors
                .iter()
                .all(|error| error.starts_with("more than 64 interfaces")),
            "{errors:?}"
        );
    }
}

#[test]
fn a_list_has_as_many_entries_as_the_bound_and_one_more_refuses_the_interface() {
    let address = |nth: usize| json!({ "ip": format!("10.0.{}.{}", nth / 200, nth % 200 + 1), "netmask": 16 });
    let route = |nth: usize| json!({ "route": format!("192.168.{nth}.0"), "netmask": 24, "gateway": "203.0.113.1" });
    let server = |nth: usize| json!(format!("192.0.2.{nth}"));
    let lists: [(&str, &dyn Fn(usize) -> Value); 3] =
        [("ips", &address), ("routes", &route), ("dns", &server)];
    for (key, entry) in lists {
        for (count, error) in [
            (128, None),
            (
                129,
                Some(format!("{MAC}: more than 128 entries in \"{key}\"")),
            ),
        ] {
            let change = json!({ key: (1..=count).map(entry).collect::<Vec<_>>() });
            let data = host(&[("00163E000001", &changed(&change).to_string()), neighbour()]);
            let configuration = prepared(&debian(), &data);
            assert_eq!(
                configuration.errors,
                error.clone().into_iter().collect::<Vec<_>>()
            );
            if error.is_some() {
                assert_only_the_other_changes(&debian(), &configuration, "10.180.3.7");
            }
        }
    }
}

fn store_path(path: &str) -> StorePath {
    StorePath::try_from(path).unwrap()
}

#[test]
fn values_that_are_no_objects_are_errors_that_name_the_key() {
    for (value, text) in [
        ("", "empty value"),
        ("{\"a\":", "JSON ends too early"),
        ("{hunter2}", "malformed JSON at line 1, column 2"),
        ("[]", "not a JSON object"),
        ("\"\\\"twice\\\"\"", "not a JSON object"),
    ] {
        let configuration = prepared(&debian(), &host(&[("00163E000001", value), neighbour()]));
        assert_eq!(configuration.errors, [format!("{MAC}: {text}")]);
        assert_only_the_other_changes(&debian(), &configuration, "10.180.3.7");
    }
    let configuration = prepared(&debian(), &host(&[("a\"\n", "{\"ips\": []}"), neighbour()]));
    assert_eq!(configuration.errors, ["a<22><a>: no MAC address"]);
}

#[test]
fn two_values_for_one_address_are_an_error() {
    let value = good().to_string();
    let configuration = prepared(
        &debian(),
        &host(&[
            ("00163e000001", &value),
            ("00163E000001", &value),
            neighbour(),
        ]),
    );
    assert_eq!(
        configuration.errors,
        [format!("{MAC}: duplicate configuration for MAC {MAC}")]
    );
    assert_only_the_other_changes(&debian(), &configuration, "10.180.3.7");
}

#[test]
fn a_vif_without_an_interface_is_an_error_but_a_stale_value_is_a_warning() {
    let gone = changed(&json!({ "mac": "00:16:3e:00:00:99" })).to_string();
    let mut data = host(&[("00163e000099", &gone), neighbour()]);
    let configuration = prepared(&debian(), &data);
    assert_eq!(configuration.errors, Vec::<String>::new());
    assert_eq!(
        configuration.warnings,
        ["00:16:3e:00:00:99: ignored, no such interface"]
    );
    assert_only_the_other_changes(&debian(), &configuration, "10.180.3.7");

    data.vifs.push((9, "00:16:3E:00:00:99".into()));
    let text = "00:16:3e:00:00:99: no interface has MAC 00:16:3e:00:00:99";
    assert_eq!(prepared(&debian(), &data).errors, [text]);

    let alone = prepared(&debian(), &host(&[("00163e000099", &gone)]));
    assert_eq!(
        (alone.errors, alone.plan.steps.len()),
        (vec![text.to_string()], 0)
    );
}

#[test]
fn ports_and_names_that_no_file_can_hold_are_refused() {
    let data = host(&[("00163e000001", &good().to_string()), neighbour()]);
    let mut guest = debian();
    guest.interfaces[0].master = Some("br0".into());
    let configuration = prepared(&guest, &data);
    assert_eq!(
        configuration.errors,
        [format!("{MAC}: eth0 is a port of br0: not changed")]
    );
    assert_only_the_other_changes(&guest, &configuration, "10.180.3.7");

    let mut guest = debian();
    guest.interfaces[0].name = "a;reboot".into();
    assert_eq!(
        prepared(&guest, &data).errors,
        [format!("{MAC}: interface name not usable")]
    );

    let mut guest = debian();
    guest.interfaces.push(InterfaceState {
        name: "ens3".into(),
        vif: None,
        ..guest.interfaces[0].clone()
    });
    guest.interfaces[0].vif = None;
    assert_eq!(
        prepared(&guest, &data).errors,
        [format!(
            "{MAC}: more than one interface has MAC {MAC}: eth0, ens3"
        )]
    );
    guest.interfaces[0].driver = Some("vif".into());
    assert_eq!(
        prepared(&guest, &data).errors,
        Vec::<String>::new(),
        "the paravirtual one is preferred"
    );
}

#[test]
fn what_is_tolerated_is_logged() {
    for (change, warning) in [
        (
            json!({ "ips": [{ "ip": "203.0.113.255", "netmask": 24 }] }),
            "203.0.113.255/24 is the network or broadcast address",
        ),
        (
            json!({ "ips": [{ "ip": "203.0.113.10", "netmask": 24 }, { "ip": "203.0.113.10", "netmask": "255.255.255.0" }] }),
            "203.0.113.10 is listed twice",
        ),
        (
            json!({ "gateway": "192.0.2.1" }),
            "gateway 192.0.2.1 is in none of the networks: taken as on-link",
        ),
        (
            json!({ "gateway_v6": "fe80::1" }),
            "ignored default gateway fe80::1: no IPv6 address",
        ),
        (
            json!({ "routes": [{ "route": "10.176.0.9", "netmask": 12, "gateway": "203.0.113.2" }] }),
            "route 10.176.0.9/12 has host bits set: taken as 10.176.0.0/12",
        ),
        (
            json!({ "routes": [{ "route": "203.0.113.0", "netmask": 24, "gateway": "203.0.113.2" }] }),
            "ignored route 203.0.113.0/24: it is connected",
        ),
        (
            json!({ "routes": [{ "route": "10.180.0.0", "netmask": 19, "gateway": "203.0.113.2" }] }),
            "ignored route 10.180.0.0/19: it is connected",
        ),
        (
            json!({ "routes": [{ "route": "10.0.0.0", "netmask": 8, "gateway": "203.0.113.2" },
                               { "route": "10.0.0.0", "netmask": 8, "gateway": "203.0.113.3" }] }),
            "ignored route 10.0.0.0/8: listed twice",
        ),
        (
            json!({ "routes": [{ "route": "10.0.0.0", "netmask": 8, "gateway": "192.0.2.2" }] }),
            "gateway 192.0.2.2 of route 10.0.0.0/8 is in none of the networks: taken as on-link",
        ),
        (json!({ "dns": [""] }), "ignored an empty name server"),
        (json!({ "dns": [null] }), "ignored an empty name server"),
        (
            json!({ "dns": ["192.0.2.1", "192.0.2.1"] }),
            "name server 192.0.2.1 is listed twice",
        ),
        (json!({ "label": "a\nup reboot" }), "label cleaned"),
    ] {
        let validated = validated(&[&changed(&change)]);
        assert_eq!(validated.errors, Vec::<String>::new(), "{change}");
        assert_eq!(
            validated.warnings,
            [format!("{MAC}: {warning}")],
            "{change}"
        );
        assert_eq!(validated.config.interfaces.len(), 2);
    }
    let many = validated(&[&changed(
        &json!({ "dns": ["192.0.2.1", "192.0.2.2", "192.0.2.3", "::4"] }),
    )]);
    assert_eq!(many.warnings, ["4 name servers: the resolver reads 3"]);
}

#[test]
fn every_spelling_of_no_gateway_is_none() {
    for none in [json!(null), json!(""), json!("0.0.0.0"), json!(" ")] {
        let validated = validated(&[&changed(&json!({ "gateway": none }))]);
        assert_eq!(validated.config.interfaces[0].v4.gateway, None);
        assert_eq!((validated.errors, validated.warnings), (vec![], vec![]));
    }
    let v6 = json!({ "ip6s": [{ "address": "2001:db8::5", "netmask": "64" }], "gateway_v6": "::" });
    assert_eq!(
        validated(&[&changed(&v6)]).config.interfaces[0].v6.gateway,
        None
    );
}

#[test]
fn the_gateway_of_ipv6_is_found_by_the_newest_key() {
    let gateway = |change: Value| {
        let mut value = changed(&json!({ "ip6s": [
            { "ip": "2001:db8:1::5", "netmask": 64, "enabled": 0, "gateway": "fe80::9" },
            { "ip": "2001:db8::5", "netmask": 64, "gateway": "fe80::3" },
        ] }));
        merge(&mut value, &change);
        validated(&[&value]).config.interfaces[0]
            .v6
            .gateway
            .map(|gateway| (gateway.address.to_string(), gateway.onlink))
    };
    let found = |address: &str, onlink| Some((address.to_string(), onlink));
    assert_eq!(gateway(json!({})), found("fe80::3", false));
    assert_eq!(
        gateway(json!({ "gateway6": "fe80::2" })),
        found("fe80::2", false)
    );
    assert_eq!(
        gateway(json!({ "gateway6": "fe80::2", "gateway_v6": "fe80::1%eth7" })),
        found("fe80::1", false)
    );
    assert_eq!(
        gateway(json!({ "gateway_v6": "2001:db8::1" })),
        found("2001:db8::1", false)
    );
    assert_eq!(
        gateway(json!({ "gateway_v6": "2001:db8:9::1" })),
        found("2001:db8:9::1", true)
    );
}

#[test]
fn a_default_route_is_the_gateway() {
    let route = json!([{ "route": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "203.0.113.1" }]);
    for gateway in [json!(null), json!("203.0.113.1")] {
        let validated = validated(&[&changed(&json!({ "gateway": gateway, "routes": route }))]);
        let interface = &validated.config.interfaces[0];
        assert_eq!(
            interface.v4.gateway.unwrap().address.to_string(),
            "203.0.113.1"
        );
        assert_eq!((interface.routes.len(), validated.warnings.len()), (0, 0));
    }
}

#[test]
fn of_two_default_gateways_the_public_one_stays() {
    let with_gateway = |mut value: Value, label: &str, gateway: &str| {
        merge(&mut value, &json!({ "label": label, "gateway": gateway }));
        value
    };
    let gateways = |first: Value, second: Value| {
        let validated = validate(
            &[
                ("a".into(), first.to_string().into_bytes()),
                ("b".into(), second.to_string().into_bytes()),
            ],
            &[],
            &debian().interfaces,
        );
        let kept: Vec<bool> = validated
            .config
            .interfaces
            .iter()
            .map(|interface| interface.has_gateway())
            .collect();
        (kept, validated.warnings)
    };
    let second: Value = serde_json::from_str(neighbour().1).unwrap();
    let (kept, warnings) = gateways(
        with_gateway(good(), "x", "203.0.113.1"),
        with_gateway(second.clone(), "public", "10.180.0.1"),
    );
    assert_eq!(kept, [false, true]);
    assert_eq!(
        warnings,
        [format!(
            "{MAC}: ignored default gateway 203.0.113.1 of eth0"
        )]
    );
    let (kept, _) = gateways(
        with_gateway(good(), "x", "203.0.113.1"),
        with_gateway(second.clone(), "y", "10.180.0.1"),
    );
    assert_eq!(kept, [true, false], "the lowest number of the VIFs");

    let refused = with_gateway(changed(&json!({ "dns": ["x"] })), "public", "203.0.113.1");
    let (kept, _) = gateways(refused, with_gateway(second, "y", "10.180.0.1"));
    assert_eq!(
        kept,
        [false],
        "the refused interface keeps its default route"
    );
}

#[test]
fn an_address_of_this_server_is_no_gateway_for_its_other_interfaces() {
    let router = changed(&json!({
        "ips": [{ "ip": "10.180.3.9", "netmask": 19 }],
        "gateway": "10.180.3.7",
        "routes": [
            { "route": "10.99.0.0", "netmask": 16, "gateway": "10.180.3.7" },
            { "route": "10.98.0.0", "netmask": 16, "gateway": "10.180.3.8" },
        ],
    }));
    let validated = validated(&[&router]);
    let interface = &validated.config.interfaces[0];
    assert_eq!(interface.v4.gateway, None);
    let routes: Vec<String> = interface
        .routes
        .iter()
        .map(|route| route.destination.to_string())
        .collect();
    assert_eq!(routes, ["10.98.0.0/16"]);
    let why = "10.180.3.7 is an address of eth1";
    assert_eq!(
        validated.warnings,
        [
            format!("{MAC}: ignored default gateway of eth0: {why}"),
            format!("{MAC}: ignored route 10.99.0.0/16: {why}"),
        ]
    );
    assert_eq!(validated.errors, Vec::<String>::new());
}

/// A gateway on the link gets a route of its own, and the kernel takes each only once.
#[test]
fn a_gateway_on_the_link_belongs_to_one_interface_and_to_no_other_route() {
    let first = changed(&json!({
        "gateway": "192.0.2.1",
        "routes": [
            { "route": "192.0.2.1", "netmask": 32, "gateway": null },
            { "route": "192.0.2.1", "netmask": 31, "gateway": "192.0.2.1" },
        ],
    }));
    let second = json!({
        "mac": OTHER_MAC, "ips": [{ "ip": "10.180.3.7", "netmask": 19 }],
        "routes": [
            { "route": "10.99.0.0", "netmask": 16, "gateway": "192.0.2.1" },
            { "route": "10.98.0.0", "netmask": 16, "gateway": "192.0.2.2" },
        ],
    });
    let networking = [
        ("a".into(), first.to_string().into_bytes()),
        ("b".into(), second.to_string().into_bytes()),
    ];
    let validated = validate(&networking, &[], &debian().interfaces);
    assert_eq!(validated.errors, Vec::<String>::new());
    let routes: Vec<Vec<String>> = validated
        .config
        .interfaces
        .iter()
        .map(|interface| {
            interface
                .routes
                .iter()
                .map(|route| route.destination.to_string())
                .collect()
        })
        .collect();
    assert_eq!(routes, [["192.0.2.0/31"], ["10.98.0.0/16"]]);
    for text in [
        format!("{MAC}: ignored route 192.0.2.1/32: it leads to a gateway"),
        format!("{OTHER_MAC}: ignored route 10.99.0.0/16: another interface has its gateway"),
    ] {
        assert!(
            validated.warnings.contains(&text),
            "{:?}",
            validated.warnings
        );
    }
}

#[test]
fn an_ipv6_only_interface_has_no_ipv4_lines() {
    let value = json!({ "mac": MAC, "ip6s": [{ "ip": "2001:db8::5", "netmask": 64 }] }).to_string();
    for system in [debian(), centos()] {
        let configuration = prepared(&system, &host(&[("k", &value)]));
        for (path, text) in written(&configuration) {
            for word in ["eth0 inet ", "IPADDR=", "=dhcp"] {
                assert!(!text.contains(word), "{path}: {text}");
            }
        }
    }
}

#[test]
fn an_invalid_hostname_keeps_the_present_one() {
    for name in [
        "",
        "  ",
        "bad_name",
        "-x",
        "10.0.0.1",
        "a..b",
        "RESCUE-\u{fc}",
        &"x".repeat(65),
    ] {
        let mut data = host(&[neighbour()]);
        data.hostname = Some(name.as_bytes().to_vec());
        let configuration = prepared(&debian(), &data);
        assert_eq!(configuration.errors, Vec::<String>::new());
        assert_eq!(
            configuration.warnings.len(),
            usize::from(!name.trim().is_empty()),
            "{:?}",
            configuration.warnings
        );
        assert!(
            !configuration
                .plan
                .changes()
                .any(|step| matches!(step, Change::SetHostname(_)))
        );
    }
    let Prepared::Refused(refusal) = debian().ask(&|snapshot| set_hostname("bad name\n", snapshot))
    else {
        panic!()
    };
    assert_eq!(refusal.to_string(), "bad hostname \"bad name<a>\"");
}

#[test]
fn setting_the_hostname_changes_store_kernel_and_hosts() {
    let mut guest = debian();
    guest.interfaces[0].addresses = vec![
        ("fe80::1".parse().unwrap(), 64),
        ("203.0.113.9".parse().unwrap(), 24),
    ];
    let Prepared::Ready(configuration) = guest.ask(&|snapshot| set_hostname("web-01", snapshot))
    else {
        panic!()
    };
    let written = written(&configuration);
    assert_eq!(written["/etc/hostname"], "web-01\n");
    assert_eq!(
        written["/etc/hosts"],
        "127.0.0.1\tlocalhost\n::1\tlocalhost\n203.0.113.9\tweb-01\n"
    );
    let steps: Vec<String> = configuration
        .plan
        .changes()
        .map(ToString::to_string)
        .collect();
    // Interrupted anywhere, a second run still knows the name that the first one has to lose.
    assert_eq!(
        steps,
        [
            "write /etc/hosts",
            "write /etc/hostname",
            "set hostname web-01"
        ]
    );
}

#[test]
fn an_interface_is_restarted_though_no_file_changes_if_the_kernel_shows_something_else_of_it() {
    let address = |text: &str, prefix_len| (text.parse().unwrap(), prefix_len);
    let route =
        |interface: &str, destination: &str, prefix_len, gateway: Option<&str>| RouteState {
            interface: interface.into(),
            destination: destination.parse().unwrap(),
            prefix_len,
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        };
    for mut guest in [debian(), centos()] {
        let mut good = good();
        good["gateway"] = json!("203.0.113.1");
        good["routes"] =
            json!([{"route": "10.0.0.0", "netmask": "255.0.0.0", "gateway": "203.0.113.2"}]);
        let data = host(&[("00163e000001", &good.to_string()), neighbour()]);
        let first = prepared(&guest, &data);
        apply(&first.plan, &mut guest.files);
        let mut restarted = |addresses: &[(IpAddr, u8)], routes: &[RouteState]| {
            guest.interfaces[0].addresses = addresses.to_vec();
            guest.interfaces[1].addresses = vec![address("10.180.3.7", 19), address("fe80::7", 64)];
            guest.routes = routes.to_vec();
            let configuration = prepared(&guest, &data);
            let commands: Vec<String> = configuration
                .plan
                .changes()
                .map(ToString::to_string)
                .collect();
            match commands.as_slice() {
                [] => false,
                commands => {
                    assert_eq!(
                        commands,
                        [
                            "ifdown eth0",
                            "ip addr flush dev eth0 scope global",
                            "ifup eth0"
                        ]
                    );
                    true
                }
            }
        };
        let own = address("203.0.113.10", 24);
        let default = route("eth0", "0.0.0.0", 0, Some("203.0.113.1"));
        let net = route("eth0", "10.0.0.0", 8, Some("203.0.113.2"));
        assert!(!restarted(&[own], &[]), "routes are unknown");
        assert!(!restarted(&[own], &[default.clone(), net.clone()]));
        assert!(!restarted(
            &[own, address("203.0.113.77", 32)],
            &[default.clone(), net.clone()]
        ));
        assert!(restarted(&[], &[default.clone(), net.clone()]));
        assert!(restarted(
            &[address("198.51.100.200", 24)],
            &[default.clone(), net.clone()]
        ));
        // It may be that of a service that moves from server to server.
        assert!(!restarted(
            &[own, address("198.51.100.200", 24)],
            &[default.clone(), net.clone()]
        ));
        assert!(restarted(&[own], &[net]));
        assert!(restarted(
            &[own],
            &[default, route("eth1", "10.0.0.0", 8, Some("203.0.113.2"))]
        ));
    }
}

/// It is that of the server from which this one was cloned.
#[test]
fn an_old_network_without_an_address_in_use_is_not_brought_back() {
    let data = host(&[("00163e000001", &good().to_string()), neighbour()]);
    for mut guest in [debian(), centos()] {
        let lo = InterfaceState {
            name: "lo".into(),
            mac: None,
            physical: false,
            vif: None,
            ..guest.interfaces[0].clone()
        };
        guest.interfaces.push(InterfaceState {
            addresses: vec![("127.0.0.1".parse().unwrap(), 8)],
            ..lo
        });
        guest.interfaces[0].addresses = vec![("fe80::1".parse().unwrap(), 64)];
        let has_undo = |guest: &Guest| {
            let steps = prepared(guest, &data).plan.steps;
            steps
                .iter()
                .any(|step| step.undo != Undo::Steps(Vec::new()))
        };
        assert!(!has_undo(&guest));
        guest.interfaces[0]
            .addresses
            .push(("198.51.100.200".parse().unwrap(), 24));
        assert!(has_undo(&guest));
    }
}

/// FreeBSD shows an address as alone in its network if an earlier one is in the same network.
#[test]
fn what_is_awaited_is_what_the_kernel_will_show() {
    let ips =
        json!([{ "ip": "203.0.113.10", "netmask": 24 }, { "ip": "203.0.113.11", "netmask": 24 }]);
    let data = host(&[("00163e000001", &changed(&json!({ "ips": ips })).to_string())]);
    let mut freebsd = Guest {
        kernel: "FreeBSD".into(),
        ..debian()
    };
    freebsd.files.insert(
        GuestPath::constant("/etc/rc.conf"),
        File::Regular(b"ifconfig_eth0=\"DHCP\"\n".to_vec()),
    );
    for (guest, prefix_len) in [(debian(), 24), (freebsd, 32)] {
        let steps = prepared(&guest, &data).plan.steps;
        let awaited = steps.iter().find_map(|step| match &step.action {
            Action::Await(condition) => Some(&condition.expectation.interfaces[0].addresses),
            _ => None,
        });
        let address = |text: &str, prefix_len| (text.parse::<IpAddr>().unwrap(), prefix_len);
        assert_eq!(
            awaited,
            Some(&vec![
                address("203.0.113.10", 24),
                address("203.0.113.11", prefix_len)
            ])
        );
    }
}

/// Everything but the neighbour's part of the files is as before.
fn assert_only_the_other_changes(guest: &Guest, configuration: &Configuration, address: &str) {
    let mut files = guest.files.clone();
    apply(&configuration.plan, &mut files);
    let text = |path: &str| match files.get(&GuestPath::try_from(path).unwrap()) {
        Some(File::Regular(content)) => String::from_utf8(content.clone()).unwrap(),
        other => panic!("{path}: {other:?}"),
    };
    if configuration.target == "ifupdown" {
        let text = text("/etc/network/interfaces");
        assert!(text.contains(OLD_STANZA), "{text}");
        assert!(
            text.contains(&format!("\n    address {address}\n")),
            "{text}"
        );
    } else {
        let path = "/etc/sysconfig/network-scripts/ifcfg-eth0";
        assert_eq!(
            files.get(&GuestPath::try_from(path).unwrap()),
            guest.files.get(&GuestPath::try_from(path).unwrap())
        );
        let all: String = written(configuration).into_values().collect();
        assert!(all.contains(&format!("\nIPADDR={address}\n")), "{all}");
    }
    for step in configuration.plan.changes() {
        if let Change::Run(program) = step {
            assert!(
                !program.argv.iter().any(|word| word == "eth0"),
                "{}",
                program.command_line()
            );
        }
    }
}

fn written(configuration: &Configuration) -> BTreeMap<&str, String> {
    let changes = configuration.plan.changes();
    changes
        .filter_map(|step| match step {
            Change::WriteFile(write) => Some((
                write.path.as_str(),
                String::from_utf8(write.content.expose().to_vec()).unwrap(),
            )),
            _ => None,
        })
        .collect()
}

fn prepared(guest: &Guest, data: &HostData) -> Configuration {
    match guest.prepare(data) {
        Prepared::Ready(configuration) => configuration,
        other => panic!("{other:?}"),
    }
}

fn validated(values: &[&Value]) -> Validated {
    let mut networking = vec![(neighbour().0.to_string(), neighbour().1.as_bytes().to_vec())];
    networking.extend(
        values
            .iter()
            .map(|value| ("00163E000001".into(), value.to_string().into_bytes())),
    );
    validate(&networking, &[], &debian().interfaces)
}

fn host(networking: &[(&str, &str)]) -> HostData {
    let networking = networking
        .iter()
        .map(|(key, value)| (key.to_string(), value.as_bytes().to_vec()))
        .collect();
    HostData {
        hostname: None,
        networking,
        vifs: vec![(0, MAC.into()), (1, OTHER_MAC.into())],
    }
}

fn good() -> Value {
    json!({ "label": "public", "mac": MAC, "ips": [{ "ip": "203.0.113.10", "netmask": "255.255.255.0" }] })
}

fn changed(change: &Value) -> Value {
    let mut value = good();
    merge(&mut value, change);
    value
}

fn merge(value: &mut Value, change: &Value) {
    for (key, new) in change.as_object().unwrap() {
        value[key] = new.clone();
    }
}

fn neighbour() -> (&'static str, &'static str) {
    let value = r#"{"mac": "00:16:3e:00:00:02", "ips": [{"ip": "10.180.3.7", "netmask": "255.255.224.0"}]}"#;
    ("00163e000002", value)
}

fn third() -> Value {
    json!({ "mac": "00:16:3e:00:00:03", "ips": [{ "ip": "10.99.0.1", "netmask": 16 }] })
}

const OLD_STANZA: &str =
    "auto eth0\niface eth0 inet static\n  address 198.51.100.200/24\n  gateway 198.51.100.1\n";

fn debian() -> Guest {
    guest(&[
        ("/etc/os-release", "NAME=Debian\nID=debian\n"),
        (
            "/etc/network/interfaces",
            &format!("auto lo\niface lo inet loopback\n{OLD_STANZA}\niface eth1 inet dhcp\n"),
        ),
    ])
}

fn centos() -> Guest {
    guest(&[
        ("/etc/redhat-release", "CentOS release 6.10 (Final)\n"),
        ("/etc/rc.d/rc3.d/S10network", ""),
        ("/etc/sysconfig/network-scripts/network-functions", ""),
        (
            "/etc/sysconfig/network-scripts/ifcfg-eth0",
            "DEVICE=eth0\nIPADDR=198.51.100.200\nNETMASK=255.255.255.0\n",
        ),
    ])
}

fn guest(files: &[(&str, &str)]) -> Guest {
    let interface = |(number, mac): (u32, &str)| InterfaceState {
        name: format!("eth{number}"),
        mac: Some(MacAddr::try_from(mac).unwrap()),
        physical: true,
        vif: Some(number),
        master: None,
        driver: None,
        up: true,
        addresses: Vec::new(),
    };
    let files = files
        .iter()
        .map(|(path, text)| {
            (
                GuestPath::try_from(*path).unwrap(),
                File::Regular(text.as_bytes().to_vec()),
            )
        })
        .collect();
    let programs = ["ifup", "ifdown"].map(|name| {
        (
            name.to_string(),
            GuestPath::try_from(format!("/sbin/{name}")).unwrap(),
        )
    });
    Guest {
        files,
        hostname: "old".into(),
        interfaces: [(0, MAC), (1, OTHER_MAC), (2, "00:16:3e:00:00:03")]
            .map(interface)
            .to_vec(),
        routes: Vec::new(),
        kernel: "Linux".into(),
        programs: programs.into(),
    }
}

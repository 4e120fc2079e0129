//! No text of the host adds a line to a file of the guest, whatever it holds: shells run some of these files as root.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

mod support;

use nova_agent_core::render::{HostData, Prepared};
use proptest::prelude::*;
use serde_json::{Value, json};

use self::support::lines::{check_lines, check_shell};
use self::support::systems::{arch, centos, debian, shells, suse};

proptest! {
    #[test]
    fn every_line_is_an_old_one_or_a_generated_one(data in host()) {
        for guest in [debian(), centos(), suse(), arch()] {
            if let Prepared::Ready(configuration) = guest.prepare(&data) {
                check_lines(&guest, &configuration);
            }
        }
    }

    #[test]
    fn nothing_of_the_host_means_something_to_a_shell(data in host()) {
        for guest in shells() {
            if let Prepared::Ready(configuration) = guest.prepare(&data) {
                check_shell(&configuration);
            }
        }
    }

    #[test]
    fn no_bytes_of_the_host_panic(key in ".*", value in proptest::collection::vec(any::<u8>(), 0..200), name in ".*") {
        let data = HostData {
            hostname: Some(name.clone().into_bytes()),
            networking: vec![(key, value)],
            vifs: vec![(0, name)],
        };
        debian().prepare(&data);
    }
}

/// Texts that would do harm in some file, and any others.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("x\nup reboot".to_string()),
        Just("10.0.0.1\n    up reboot".to_string()),
        Just("$(reboot)".to_string()),
        Just("`reboot`; reboot #".to_string()),
        Just("\\".to_string()),
        Just("\"\r\n'".to_string()),
        Just("fe80::1%eth0;reboot".to_string()),
        ".{0,80}",
    ]
}

/// An address as it should be in most cases, so that most values reach the renderers.
fn mostly(good: &[&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![9 => proptest::sample::select(good.to_vec()).prop_map(String::from), 1 => hostile()]
}

fn value(mac: &'static str) -> impl Strategy<Value = Value> {
    (
        hostile(),
        mostly(&["203.0.113.10", "10.1.2.3"]),
        mostly(&["255.255.255.0", "8"]),
        mostly(&["203.0.113.1", "192.0.2.1", ""]),
        mostly(&["2001:db8::1", "2001:db8:1::1"]),
        mostly(&["fe80::1", "2001:db8::ffff", "2001:db8:ffff::1", ""]),
        mostly(&["192.0.2.53", "2001:db8::53"]),
        (
            mostly(&["10.0.0.0", "2001:db8:8000::"]),
            mostly(&["255.0.0.0", "40"]),
            mostly(&["203.0.113.9", "fe80::9", ""]),
        ),
        hostile(),
    )
        .prop_map(move |(label, ip, netmask, gateway, ip6, gateway6, dns, (route, mask, via), other)| {
            let mut value = json!({
                "label": label, "mac": mac, "gateway": gateway, "gateway_v6": gateway6, "dns": [dns],
                "ips": [{ "ip": ip, "netmask": netmask }], "ip6s": [{ "ip": ip6, "netmask": 64 }],
                "routes": [{ "route": route, "netmask": mask, "gateway": via }], "broadcast": &other,
            });
            value[&other] = json!(other);
            value
        })
}

fn host() -> impl Strategy<Value = HostData> {
    (
        value("00:16:3e:00:00:01"),
        value("00:16:3e:00:00:02"),
        hostile(),
        mostly(&["web-01", "web.example.org"]),
    )
        .prop_map(|(first, second, key, hostname)| HostData {
            hostname: Some(hostname.into_bytes()),
            networking: vec![
                (key, first.to_string().into_bytes()),
                ("00163e000002".into(), second.to_string().into_bytes()),
            ],
            vifs: Vec::new(),
        })
}

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

use std::collections::BTreeMap;
use std::net::IpAddr;

use nova_agent_core::effect::{GuestPath, InterfaceState, Step};
use nova_agent_core::network::MacAddr;
use nova_agent_core::render::{HostData, Prepared};
use proptest::prelude::*;
use serde_json::{Value, json};

use self::support::{File, Guest};

proptest! {
    #[test]
    fn every_line_is_an_old_one_or_a_generated_one(data in host()) {
        for guest in [debian(), centos(), suse(), arch()] {
            let Prepared::Ready(configuration) = guest.prepare(&data) else { continue };
            for step in configuration.plan.changes() {
                match step {
                    Step::WriteFile(write) => {
                        let old = match guest.files.get(&write.path) {
                            Some(File::Regular(old)) => String::from_utf8_lossy(old).into_owned(),
                            _ => String::new(),
                        };
                        let text = String::from_utf8(write.content.expose().to_vec()).expect("ASCII");
                        for line in text.split('\n') {
                            let known = old.split('\n').any(|old| old == line) || is_generated(line);
                            prop_assert!(known, "{}: {line:?}", write.path);
                        }
                    }
                    Step::Run(program) => {
                        for word in &program.argv {
                            let safe = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                            prop_assert!(safe, "{word:?}");
                        }
                    }
                    _ => {}
                }
            }
            for text in configuration.errors {
                prop_assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'\\'), "{text:?}");
            }
        }
    }

    #[test]
    fn nothing_of_the_host_means_something_to_a_shell(data in host()) {
        for guest in shells() {
            let Prepared::Ready(configuration) = guest.prepare(&data) else { continue };
            for step in configuration.plan.changes() {
                let Step::WriteFile(write) = step else { continue };
                let text = String::from_utf8(write.content.expose().to_vec()).expect("ASCII");
                for line in text.lines().filter(|line| !line.starts_with("# ") || line.starts_with("# Label ")) {
                    let harmless = |c: char| c.is_ascii_alphanumeric() || "\t _.:/%=-@".contains(c);
                    let label = line.strip_prefix("# Label ").map(|label| label.replace('+', ""));
                    let plain = line.replace(" && ", "").replace(['"', '(', ')', '!'], "");
                    prop_assert!(label.unwrap_or(plain).chars().all(harmless), "{}: {line:?}", write.path);
                    prop_assert!(line.matches('(').count() == line.matches(')').count(), "{}: {line:?}", write.path);
                }
                prop_assert!(text.matches('"').count().is_multiple_of(2), "{}: {text}", write.path);
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

/// Whether a line is one that the renderers make.
fn is_generated(line: &str) -> bool {
    if let Some(label) = line.strip_prefix("# Label ") {
        return label.len() <= 64 && label.chars().all(|c| c.is_ascii_alphanumeric() || " ._:/@+-".contains(c));
    }
    if let Some((key, value)) = line.split_once('=') {
        return is_assignment(key, value);
    }
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words.as_slice() {
        [] | ["[Unit]"] => true,
        ["auto", name] => is_interface(name) || *name == "lo",
        ["iface", "lo", "inet", "loopback"] => true,
        ["iface", name, "inet" | "inet6", "static"] => is_interface(name),
        ["address" | "gateway" | "nameserver", address] => is_address(address),
        ["netmask", mask] => is_address(mask) || mask.parse::<u8>().is_ok(),
        ["dns-nameservers", addresses @ ..] => addresses.iter().all(|address| is_address(address)),
        ["up", "ip", "-6", "route", "add", route @ ..] | ["up", "ip", "route", "add", route @ ..] => {
            is_route(route, "$IFACE")
        }
        [address, names @ ..] if is_address(address) => {
            (1..=2).contains(&names.len()) && names.iter().all(|name| is_hostname(name))
        }
        [name] if is_hostname(name) => true,
        [destination, gateway, "-", name] => {
            (*destination == "default" || is_network(destination))
                && (*gateway == "-" || is_address(gateway))
                && is_interface(name)
        }
        route if is_route(route, "eth0") || is_route(route, "eth1") => true,
        _ => line == "# Generated by nova-agent; local changes are lost on resetnetwork",
    }
}

fn is_assignment(key: &str, value: &str) -> bool {
    let quoted = |word: &str| word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')).map(String::from);
    // The values of an array, each in quotes.
    let array = || -> Vec<String> {
        let inner = value.strip_prefix("('").and_then(|value| value.strip_suffix("')")).unwrap_or("none");
        inner.split("' '").map(String::from).collect()
    };
    let is_profile_route = |route: &String| match *route.split(' ').collect::<Vec<_>>() {
        [destination] => is_network(destination),
        [destination, "via", gateway] => (destination == "default" || is_network(destination)) && is_address(gateway),
        _ => false,
    };
    match key {
        "Interface" => return is_interface(value),
        "Connection" | "IP" | "IP6" | "BOOTPROTO" | "STARTMODE" if value.starts_with('\'') => {
            return ["'ethernet'", "'static'", "'auto'"].contains(&value);
        }
        "Address" | "Address6" => return array().iter().all(|address| is_network(address)),
        "Gateway" | "Gateway6" => return quoted(value).is_some_and(|gateway| is_address(&gateway)),
        "Routes" | "Routes6" => return array().iter().all(is_profile_route),
        "BindsTo" | "After" => {
            return ["eth0", "eth1"]
                .map(|name| format!("sys-subsystem-net-devices-{name}.device"))
                .contains(&value.into());
        }
        "DNS" => return array().iter().all(|address| is_address(address)),
        "NETCONFIG_DNS_STATIC_SERVERS" => return value.trim_matches('"').split(' ').all(is_address),
        _ if key.starts_with("IPADDR") && value.starts_with('\'') => {
            return quoted(value).is_some_and(|address| is_network(&address));
        }
        _ => {}
    }
    let word = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let name = key.trim_end_matches(|c: char| c.is_ascii_digit());
    match name {
        "DEVICE" => is_interface(value),
        "TYPE" | "BOOTPROTO" | "ONBOOT" | "NM_CONTROLLED" | "DEFROUTE" | "IPV" | "IPV6INIT" | "IPV6_AUTOCONF"
        | "PEERDNS" | "NETWORKING" | "NETWORKING_IPV" | "NOZEROCONF" => {
            ["Ethernet", "none", "yes", "no"].contains(&value)
        }
        "HWADDR" => MacAddr::try_from(value).is_ok(),
        "IPADDR" | "NETMASK" | "GATEWAY" | "DNS" | "ADDRESS" => is_address(value),
        "IPV6ADDR" | "IPV6ADDR_SECONDARIES" => word.split(' ').all(is_network),
        "IPV6_DEFAULTGW" => {
            is_address(["%eth0", "%eth1"].iter().find_map(|zone| value.strip_suffix(zone)).unwrap_or(value))
        }
        "HOSTNAME" => is_hostname(value),
        _ => false,
    }
}

fn is_route(words: &[&str], interface: &str) -> bool {
    let is_destination = |word: &str| word == "default" || is_network(word);
    match words {
        [destination, "via", gateway, "dev", name] => {
            is_destination(destination) && is_address(gateway) && *name == interface
        }
        [destination, "dev", name] => is_network(destination) && *name == interface,
        _ => false,
    }
}

fn is_interface(name: &str) -> bool {
    ["eth0", "eth1"].contains(&name)
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn is_network(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, len)| is_address(address) && len.parse::<u8>().is_ok())
}

fn is_hostname(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
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
    (value("00:16:3e:00:00:01"), value("00:16:3e:00:00:02"), hostile(), mostly(&["web-01", "web.example.org"]))
        .prop_map(|(first, second, key, hostname)| HostData {
            hostname: Some(hostname.into_bytes()),
            networking: vec![
                (key, first.to_string().into_bytes()),
                ("00163e000002".into(), second.to_string().into_bytes()),
            ],
            vifs: Vec::new(),
        })
}

fn debian() -> Guest {
    guest(&[
        ("/etc/os-release", "NAME=Debian\nID=debian\n"),
        ("/etc/network/interfaces", "auto lo\niface lo inet loopback\n\n# mine\nauto eth0\niface eth0 inet dhcp\n"),
        ("/etc/resolv.conf", "search example.org\nnameserver 192.0.2.1\n"),
        ("/etc/hosts", "127.0.0.1 localhost\n127.0.2.1 x\n"),
    ])
}

fn centos() -> Guest {
    guest(&[
        ("/etc/redhat-release", "CentOS release 6.10 (Final)\n"),
        ("/etc/rc.d/rc3.d/S10network", ""),
        ("/etc/sysconfig/network-scripts/network-functions", ""),
        ("/etc/sysconfig/network-scripts/ifcfg-eth0", "DEVICE=eth0\nBOOTPROTO=dhcp\nZONE=public\n"),
    ])
}

fn suse() -> Guest {
    guest(&[
        ("/etc/os-release", "NAME=SLES\nID=sles\nVERSION_ID=15.5\n"),
        ("/etc/systemd/system/multi-user.target.wants/wicked.service", ""),
        ("/etc/sysconfig/network/ifcfg-eth0", "BOOTPROTO='dhcp'\nSTARTMODE='auto'\nZONE=public\n"),
        ("/etc/sysconfig/network/config", "NETCONFIG_DNS_POLICY=\"auto\"\n"),
    ])
}

fn arch() -> Guest {
    guest(&[
        ("/etc/os-release", "NAME=Arch\nID=arch\n"),
        ("/usr/lib/systemd/systemd", ""),
        ("/usr/bin/netctl", ""),
        ("/etc/netctl/eth0", "Interface=eth0\nConnection=ethernet\nIP=dhcp\n"),
    ])
}

/// Systems whose whole configuration is read by a shell.
fn shells() -> [Guest; 5] {
    let net = ("/etc/conf.d/net", "modules=\"iproute2\"\nconfig_eth0=\"dhcp\"\n");
    let rc_conf = ("/etc/rc.conf", "HOSTNAME=\"old\"\neth0=\"dhcp\"\nINTERFACES=(eth0)\nDAEMONS=(network)\n");
    let gentoo = [("/etc/gentoo-release", ""), ("/etc/init.d/net.lo", ""), net];
    let arch = [("/etc/arch-release", ""), rc_conf];
    [
        guest(&[&gentoo[..], &[("/sbin/openrc", "")]].concat()),
        guest(&gentoo),
        guest(&[&arch[..], &[("/usr/bin/netcfg", "")]].concat()),
        guest(&arch),
        Guest { kernel: "FreeBSD".into(), ..guest(&[("/etc/rc.conf", "ifconfig_eth0=\"DHCP\"\n")]) },
    ]
}

fn guest(files: &[(&str, &str)]) -> Guest {
    let interface = |number: u32| InterfaceState {
        name: format!("eth{number}"),
        mac: Some(MacAddr::try_from(format!("00163e00000{}", number + 1).as_str()).unwrap()),
        physical: true,
        vif: Some(number),
        master: None,
        driver: None,
        up: true,
        addresses: Vec::new(),
    };
    let file =
        |(path, text): &(&str, &str)| (GuestPath::try_from(*path).unwrap(), File::Regular(text.as_bytes().to_vec()));
    Guest {
        files: files.iter().map(file).collect::<BTreeMap<_, _>>(),
        hostname: "old".into(),
        interfaces: vec![interface(0), interface(1)],
        routes: Vec::new(),
        kernel: "Linux".into(),
        programs: ["ifup", "netconfig", "resolvconf"]
            .map(|name| (name.to_string(), GuestPath::try_from(format!("/sbin/{name}")).unwrap()))
            .into(),
    }
}

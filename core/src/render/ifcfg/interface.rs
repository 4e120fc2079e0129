//! `ifcfg-IF`: the addresses, gateways and name servers of an interface.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::net::IpAddr;

use super::routes::plain_gateways;
use super::{Reader, Wanted, path};
use crate::network::Interface;
use crate::render::assignments::Assignments;
use crate::render::context::Context;
use crate::render::error::Refusal;
use crate::render::shell_line::{is_plain, kept_lines};
use crate::render::text::{HEADER, label_comment, stable_order};

/// Returns the text of the file. Kept lines of the old file come last.
pub(super) fn ifcfg(
    reader: Reader,
    wanted: &Wanted<'_>,
    cx: &mut Context<'_>,
) -> Result<String, Refusal> {
    let interface = wanted.interface;
    let old = match path("ifcfg", &interface.name) {
        Some(path) => cx.text(&path)?,
        None => None,
    };
    let old = old.map(|text| Assignments::parse(&text));

    let mut lines = Lines(format!("{HEADER}{}", label_comment(interface)));
    lines.push("DEVICE", &interface.name);
    if let Some(uuid) = &wanted.uuid {
        lines.push_quoted("NAME", &profile_name(interface, old.as_ref()));
        lines.push("UUID", uuid);
    }
    lines.push("TYPE", "Ethernet");
    lines.push("BOOTPROTO", "none");
    // ifup refuses an interface with another address, so one that was changed by hand is known by
    // its name alone. NetworkManager compares the one that the host gave it.
    if reader == Reader::NetworkManager || cx.guest.address_unchanged(interface) {
        let mac = interface.mac.to_string().to_ascii_uppercase();
        lines.push("HWADDR", mac);
    }
    lines.push("ONBOOT", "yes");
    match reader {
        Reader::NetworkManager => lines.push("AUTOCONNECT_PRIORITY", "999"),
        Reader::NetworkScripts => lines.push("NM_CONTROLLED", "no"),
    }
    push_addresses(reader, interface, &mut lines);
    if reader == Reader::NetworkManager {
        push_family_options(interface, &mut lines);
    }
    let present = old.as_ref().map(old_nameservers).unwrap_or_default();
    push_nameservers(&stable_order(&wanted.nameservers, &present), &mut lines);

    let Lines(text) = lines;
    let old_lines = old.iter().flat_map(Assignments::lines);
    let kept = kept_lines(old_lines, |key| is_ours(reader, key), &interface.name, cx);
    Ok(format!("{text}{kept}"))
}

/// Lines of a file.
struct Lines(String);

impl Lines {
    fn push(&mut self, key: &str, value: impl Display) {
        self.0.push_str(&format!("{key}={value}\n"));
    }

    fn push_quoted(&mut self, key: &str, value: &str) {
        self.push(key, format!("\"{value}\""));
    }
}

fn push_addresses(reader: Reader, interface: &Interface, lines: &mut Lines) {
    for (nth, own) in interface.v4.addresses.iter().enumerate() {
        // Numbers start at 1, behind the one without a number.
        let number = if nth == 0 {
            String::new()
        } else {
            nth.to_string()
        };
        lines.push(&format!("IPADDR{number}"), own.address());
        lines.push(&format!("NETMASK{number}"), own.netmask());
    }
    let [gateway, gateway_v6] = plain_gateways(reader, interface);
    if let Some(gateway) = gateway {
        lines.push("GATEWAY", gateway);
    }
    lines.push("DEFROUTE", yes_no(interface.has_gateway()));
    lines.push("IPV6INIT", yes_no(!interface.v6.addresses.is_empty()));
    if let [first, others @ ..] = interface.v6.addresses.as_slice() {
        lines.push("IPV6_AUTOCONF", "no");
        lines.push("IPV6ADDR", first);
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            lines.push_quoted("IPV6ADDR_SECONDARIES", &others.join(" "));
        }
    }
    if let Some(IpAddr::V6(address)) = gateway_v6 {
        let zone = if address.is_unicast_link_local() {
            format!("%{}", interface.name)
        } else {
            String::new()
        };
        lines.push("IPV6_DEFAULTGW", format!("{address}{zone}"));
    }
}

/// Says what NetworkManager does about a family that has no address, or cannot be brought up.
fn push_family_options(interface: &Interface, lines: &mut Lines) {
    // Without it the kernel would take what routers announce.
    if interface.v6.addresses.is_empty() {
        lines.push("IPV6_DISABLED", "yes");
    }
    // Else the profile counts as active when one of its families is, and the other one is still
    // missing.
    for (family, key) in [
        (&interface.v4, "IPV4_FAILURE_FATAL"),
        (&interface.v6, "IPV6_FAILURE_FATAL"),
    ] {
        if !family.addresses.is_empty() {
            lines.push(key, "yes");
        }
    }
}

fn push_nameservers(nameservers: &[IpAddr], lines: &mut Lines) {
    if !nameservers.is_empty() {
        lines.push("PEERDNS", "yes");
    }
    for (address, number) in nameservers.iter().zip(1_usize..) {
        lines.push(&format!("DNS{number}"), address);
    }
}

const fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// The name of the profile: its old one, else the one that NetworkManager would give it.
fn profile_name(interface: &Interface, old: Option<&Assignments>) -> String {
    old.and_then(|old| old.get("NAME"))
        .filter(|name| !name.is_empty() && is_plain(&format!("NAME=\"{name}\"")))
        .unwrap_or_else(|| format!("System {}", interface.name))
}

/// Returns whether the agent sets or removes a key.
fn is_ours(reader: Reader, key: &str) -> bool {
    const KEYS: [&str; 20] = [
        "BOOTPROTO",
        "BRIDGE",
        "DEFROUTE",
        "DEVICE",
        "GATEWAY",
        "GATEWAYDEV",
        "HWADDR",
        "MACADDR",
        "MASTER",
        "NAME",
        "NETWORK",
        "NM_CONTROLLED",
        "ONBOOT",
        "PEERDNS",
        "PERSISTENT_DHCLIENT",
        "SLAVE",
        "TYPE",
        "UUID",
        "BONDING_MASTER",
        "TEAM_MASTER",
    ];
    const PREFIXES: [&str; 7] = [
        "IPADDR",
        "NETMASK",
        "PREFIX",
        "BROADCAST",
        "IPV6",
        "DNS",
        "DHCP",
    ];
    const OF_NETWORK_MANAGER: [&str; 2] = ["AUTOCONNECT_PRIORITY", "IPV4_FAILURE_FATAL"];

    KEYS.contains(&key)
        || PREFIXES.iter().any(|prefix| key.starts_with(prefix))
        || (reader == Reader::NetworkManager && OF_NETWORK_MANAGER.contains(&key))
}

fn old_nameservers(old: &Assignments) -> Vec<IpAddr> {
    (1_u8..=16)
        .map_while(|nth| old.get(&format!("DNS{nth}"))?.parse().ok())
        .collect()
}

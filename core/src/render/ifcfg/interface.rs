//! `ifcfg-IF`: the addresses, gateways and name servers of an interface.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::routes::plain_gateways;
use super::{Reader, path};
use crate::network::Interface;
use crate::render::assignments::Assignments;
use crate::render::context::Context;
use crate::render::network_manager;
use crate::render::network_manager::nmcli::Old;
use crate::render::shell_line::{is_plain, kept_lines};
use crate::render::text::{HEADER, label_comment, stable_order};

pub(super) fn ifcfg(
    reader: Reader,
    interface: &Interface,
    nameservers: &[IpAddr],
    cx: &mut Context<'_>,
) -> Result<String, String> {
    let name = &interface.name;
    let old = match path("ifcfg", name) {
        Some(path) => cx.text(&path)?,
        None => None,
    };
    let old = old.map(|text| Assignments::parse(&text));
    let v4 = !interface.v4.addresses.is_empty();
    let v6 = !interface.v6.addresses.is_empty();

    let mut text = format!("{HEADER}{}", label_comment(interface));
    let mut line = |key: &str, value: &str| text.push_str(&format!("{key}={value}\n"));
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    line("DEVICE", name.as_str());
    if reader == Reader::NetworkManager {
        line(
            "NAME",
            &format!("\"{}\"", profile_name(interface, old.as_ref())),
        );
        line("UUID", &uuid(interface, old.as_ref()));
    }
    line("TYPE", "Ethernet");
    line("BOOTPROTO", "none");
    // ifup refuses an interface with another address, so one that was changed by hand is known by its name alone.
    // NetworkManager compares the one that the host gave it.
    let unchanged = || {
        cx.guest
            .interface(name.as_str())
            .is_none_or(|state| state.mac.is_none_or(|mac| mac == interface.mac))
    };
    if reader == Reader::NetworkManager || unchanged() {
        line("HWADDR", &interface.mac.to_string().to_ascii_uppercase());
    }
    line("ONBOOT", "yes");
    match reader {
        Reader::NetworkManager => line("AUTOCONNECT_PRIORITY", "999"),
        Reader::NetworkScripts => line("NM_CONTROLLED", "no"),
    }
    for (nth, own) in interface.v4.addresses.iter().enumerate() {
        // Numbers start at 1, behind the one without a number.
        let number = if nth == 0 {
            String::new()
        } else {
            nth.to_string()
        };
        line(&format!("IPADDR{number}"), &own.address().to_string());
        line(&format!("NETMASK{number}"), &own.netmask().to_string());
    }
    let [gateway, gateway_v6] = plain_gateways(reader, interface);
    if let Some(gateway) = gateway {
        line("GATEWAY", &gateway.to_string());
    }
    line("DEFROUTE", yes_no(interface.has_gateway()));
    line("IPV6INIT", yes_no(v6));
    if let [first, others @ ..] = interface.v6.addresses.as_slice() {
        line("IPV6_AUTOCONF", "no");
        line("IPV6ADDR", &first.to_string());
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            line("IPV6ADDR_SECONDARIES", &format!("\"{}\"", others.join(" ")));
        }
    }
    if let Some(IpAddr::V6(address)) = gateway_v6 {
        let zone = if address.is_unicast_link_local() {
            format!("%{name}")
        } else {
            String::new()
        };
        line("IPV6_DEFAULTGW", &format!("{address}{zone}"));
    }
    if reader == Reader::NetworkManager {
        // Without it the kernel would take what routers announce.
        if !v6 {
            line("IPV6_DISABLED", "yes");
        }
        // Else the profile counts as active when one of its families is, and the other one is still missing.
        for (family, key) in [(v4, "IPV4_FAILURE_FATAL"), (v6, "IPV6_FAILURE_FATAL")] {
            if family {
                line(key, "yes");
            }
        }
    }
    let nameservers = stable_order(
        nameservers,
        &old.as_ref().map(old_nameservers).unwrap_or_default(),
    );
    if !nameservers.is_empty() {
        line("PEERDNS", "yes");
    }
    for (nth, address) in nameservers.iter().enumerate() {
        line(
            &format!("DNS{}", nth.saturating_add(1)),
            &address.to_string(),
        );
    }
    let old_lines = old.iter().flat_map(Assignments::lines);
    text.push_str(&kept_lines(old_lines, |key| is_ours(reader, key), name, cx));
    Ok(text)
}

/// The identity of the profile: NetworkManager's own one if the file names it.
pub(super) fn uuid(interface: &Interface, old: Option<&Assignments>) -> String {
    match old
        .and_then(|old| old.get("UUID"))
        .map(|uuid| Old::with_uuid(&uuid))
    {
        Some(Old::Uuid(uuid)) => uuid,
        Some(Old::Nothing | Old::Unknown) | None => network_manager::uuid(interface.mac),
    }
}

/// The name of the profile: its old one, else the one that NetworkManager would give it.
fn profile_name(interface: &Interface, old: Option<&Assignments>) -> String {
    let old = old.and_then(|old| old.get("NAME"));
    let usable = |name: &String| !name.is_empty() && is_plain(&format!("NAME=\"{name}\""));
    old.filter(usable)
        .unwrap_or_else(|| format!("System {}", interface.name))
}

/// Whether the agent decides what a key says, or that it is not there.
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

//! Red Hat network-scripts: `ifcfg-IF`, `route-IF` and `route6-IF` in `/etc/sysconfig/network-scripts`.
//!
//! A shell reads these files as root, so every generated line is made of parsed values, and of the old file only lines
//! are kept that assign a plain word.

mod stale;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::Renderer;
use super::assignments::{Assignments, is_plain, key_of};
use super::files::{Files, Importance};
use super::guest::Guest;
use super::os::Os;
use super::restart::{Activation, Commands, one_by_one};
use super::text::{HEADER, LABEL, stable_order};
use crate::effect::GuestPath;
use crate::network::{Cidr, Gateway, Interface, InterfaceName, NetworkConfig};

const DIRECTORY: GuestPath = GuestPath::constant("/etc/sysconfig/network-scripts");
const GLOBAL: GuestPath = GuestPath::constant("/etc/sysconfig/network");

/// `ifup` and `ifdown` find the configuration by the name of the interface; there is no way to force them.
const COMMANDS: Commands = Commands { up: &["ifup"], down: &["ifdown"], force_down: &["ifdown"] };

/// The stack of Red Hat Enterprise Linux up to 7 and Amazon Linux up to 2.
#[derive(Debug)]
pub(super) struct NetworkScripts;

impl Renderer for NetworkScripts {
    fn render(
        &self,
        config: &NetworkConfig,
        _: &Os,
        guest: &Guest<'_>,
        files: &mut Files<'_, '_>,
        warnings: &mut Vec<String>,
    ) -> Result<Activation, String> {
        let mut changed = BTreeSet::new();
        let stale = stale::find(config, guest);
        for interface in &config.interfaces {
            let name = &interface.name;
            let mut differs = stale.iter().any(|(_, owner)| owner == name);
            for (prefix, content) in [
                ("ifcfg", Some(ifcfg(interface, config, guest, files, warnings)?)),
                ("route", route(interface)),
                ("route6", route6(interface)),
            ] {
                let Some(path) = path(prefix, name) else { continue };
                let old = files.text(&path)?;
                differs |= meaning(old.as_deref()) != meaning(content.as_deref());
                match content {
                    Some(content) => files.write(&path, &content, Importance::Essential)?,
                    None => files.remove(&path),
                }
            }
            if differs {
                changed.insert(name.clone());
            }
        }
        for (path, _) in stale {
            files.remove(&path);
        }
        if global(config, files)? {
            changed.extend(config.interfaces.iter().map(|interface| interface.name.clone()));
        }
        Ok(one_by_one(config, &changed, COMMANDS, guest))
    }
}

/// The file of one kind for an interface.
pub(super) fn path(prefix: &str, name: &InterfaceName) -> Option<GuestPath> {
    DIRECTORY.join(&format!("{prefix}-{name}")).ok()
}

/// What a shell sees of a file.
fn meaning(text: Option<&str>) -> Vec<&str> {
    let lines = text.unwrap_or_default().lines().map(str::trim_ascii);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

fn ifcfg(
    interface: &Interface,
    config: &NetworkConfig,
    guest: &Guest<'_>,
    files: &Files<'_, '_>,
    warnings: &mut Vec<String>,
) -> Result<String, String> {
    let name = &interface.name;
    let old = match path("ifcfg", name) {
        Some(path) => files.text(&path)?.unwrap_or_default(),
        None => String::new(),
    };
    let old = Assignments::parse(&old);

    let mut text = String::from(HEADER);
    let mut line = |key: &str, value: &str| text.push_str(&format!("{key}={value}\n"));
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    line("DEVICE", name.as_str());
    line("TYPE", "Ethernet");
    line("BOOTPROTO", "none");
    // ifup refuses an interface with another address. One that was changed by hand is known by its name alone.
    if guest.interface(name.as_str()).is_none_or(|state| state.mac.is_none_or(|mac| mac == interface.mac)) {
        line("HWADDR", &interface.mac.to_string().to_ascii_uppercase());
    }
    line("ONBOOT", "yes");
    line("NM_CONTROLLED", "no");
    for (nth, own) in interface.v4.addresses.iter().enumerate() {
        // Numbers start at 1, behind the one without a number.
        let number = if nth == 0 { String::new() } else { nth.to_string() };
        line(&format!("IPADDR{number}"), &own.address().to_string());
        line(&format!("NETMASK{number}"), &own.netmask().to_string());
    }
    if let Some(gateway) = plain_gateway(interface) {
        line("GATEWAY", &gateway.to_string());
    }
    line("DEFROUTE", yes_no(interface.has_gateway()));
    line("IPV6INIT", yes_no(!interface.v6.addresses.is_empty()));
    if let [first, others @ ..] = interface.v6.addresses.as_slice() {
        line("IPV6_AUTOCONF", "no");
        line("IPV6ADDR", &first.to_string());
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            line("IPV6ADDR_SECONDARIES", &format!("\"{}\"", others.join(" ")));
        }
    }
    if let Some(Gateway { address: IpAddr::V6(address), onlink: false }) = interface.v6.gateway {
        let zone = if address.is_unicast_link_local() { format!("%{name}") } else { String::new() };
        line("IPV6_DEFAULTGW", &format!("{address}{zone}"));
    }
    // ifup-post replaces the servers that another interface brought along, so each one that brings any brings them all.
    let all = if interface.nameservers.is_empty() { Vec::new() } else { config.nameservers() };
    let nameservers = stable_order(&all, &old_nameservers(&old));
    if !nameservers.is_empty() {
        line("PEERDNS", "yes");
    }
    for (nth, address) in nameservers.iter().enumerate() {
        line(&format!("DNS{}", nth.saturating_add(1)), &address.to_string());
    }
    if let Some(label) = &interface.label {
        text.insert_str(HEADER.len(), &format!("{LABEL}{}\n", label.as_str()));
    }
    for kept in old.lines() {
        let kept = kept.trim_ascii();
        if kept.is_empty() || kept.starts_with('#') || key_of(kept).is_some_and(is_ours) {
            continue;
        }
        if is_plain(kept) {
            text.push_str(&format!("{kept}\n"));
        } else {
            warnings.push(format!("ifcfg-{name}: a line was dropped that is no plain assignment"));
        }
    }
    Ok(text)
}

/// Whether the agent decides what a key says, or that it is not there.
fn is_ours(key: &str) -> bool {
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
    const PREFIXES: [&str; 7] = ["IPADDR", "NETMASK", "PREFIX", "BROADCAST", "IPV6", "DNS", "DHCP"];

    KEYS.contains(&key) || PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

fn old_nameservers(old: &Assignments) -> Vec<IpAddr> {
    (1_u8..=16).map_while(|nth| old.get(&format!("DNS{nth}"))?.parse().ok()).collect()
}

/// The IPv4 gateway, if `GATEWAY` can express it: network-scripts skip one outside the first address's network silently.
fn plain_gateway(interface: &Interface) -> Option<IpAddr> {
    let gateway = interface.v4.gateway?.address;
    interface.v4.addresses.first().filter(|first| first.contains(gateway)).map(|_| gateway)
}

/// `route-IF` for IPv4, in the form of variables if that can express everything, else in that of `ip route`.
fn route(interface: &Interface) -> Option<String> {
    let routes: Vec<(Cidr, Option<Gateway>)> = routes(interface, |address| address.is_ipv4());
    let default = match plain_gateway(interface) {
        Some(_) => None,
        None => interface.v4.gateway,
    };
    if default.is_some() || routes.iter().any(|(_, via)| via.is_none_or(|via| via.onlink)) {
        return ip_form(interface, default, &routes);
    }
    let mut text = String::from(HEADER);
    // Reading stops at the first number that is missing.
    for (nth, (destination, via)) in routes.iter().enumerate() {
        let Some(via) = via else { continue };
        let (address, netmask) = (destination.address(), destination.netmask());
        text.push_str(&format!("ADDRESS{nth}={address}\nNETMASK{nth}={netmask}\nGATEWAY{nth}={}\n", via.address));
    }
    (!routes.is_empty()).then_some(text)
}

/// `route6-IF`, always in the form of `ip route`.
fn route6(interface: &Interface) -> Option<String> {
    let routes = routes(interface, |address| address.is_ipv6());
    ip_form(interface, interface.v6.gateway.filter(|gateway| gateway.onlink), &routes)
}

fn routes(interface: &Interface, of_family: fn(&IpAddr) -> bool) -> Vec<(Cidr, Option<Gateway>)> {
    let routes = interface.routes.iter().map(|route| (route.destination, route.via));
    routes.filter(|(destination, _)| of_family(&destination.address())).collect()
}

/// Lines of arguments for `ip route add`; a gateway outside all networks gets a route of its own first.
fn ip_form(interface: &Interface, default: Option<Gateway>, routes: &[(Cidr, Option<Gateway>)]) -> Option<String> {
    let name = &interface.name;
    let mut lines: Vec<String> = Vec::new();
    let gateways = default.iter().chain(routes.iter().filter_map(|(_, via)| via.as_ref()));
    for gateway in gateways.filter(|gateway| gateway.onlink) {
        let line = format!("{} dev {name}\n", Cidr::host(gateway.address));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if let Some(default) = default {
        lines.push(format!("default via {} dev {name}\n", default.address));
    }
    for (destination, via) in routes {
        lines.push(match via {
            Some(via) => format!("{destination} via {} dev {name}\n", via.address),
            None => format!("{destination} dev {name}\n"),
        });
    }
    (!lines.is_empty()).then(|| format!("{HEADER}{}", lines.concat()))
}

/// `/etc/sysconfig/network`; tells whether something changed that concerns the interfaces.
fn global(config: &NetworkConfig, files: &mut Files<'_, '_>) -> Result<bool, String> {
    let old = files.text(&GLOBAL)?.unwrap_or_default();
    let mut file = Assignments::parse(&old);
    // They would win over the gateways of the interfaces.
    for key in ["GATEWAY", "GATEWAYDEV", "IPV6_DEFAULTGW", "IPV6_DEFAULTDEV"] {
        file.remove(key);
    }
    let overridden = file.text() != old;
    let v6 = config.interfaces.iter().any(|interface| !interface.v6.addresses.is_empty());
    let v6_before = file.get("NETWORKING_IPV6");
    file.set("NETWORKING", "yes");
    // Other interfaces may need IPv6 even if these do not.
    match v6_before.as_deref() {
        Some("yes") => {}
        Some(_) | None if v6 => file.set("NETWORKING_IPV6", "yes"),
        Some(_) => {}
        None => file.set("NETWORKING_IPV6", "no"),
    }
    // Else every interface gets a route for 169.254.0.0/16.
    file.set("NOZEROCONF", "yes");
    files.write(&GLOBAL, &file.text(), Importance::Essential)?;
    Ok(overridden || (v6 && v6_before.as_deref() != Some("yes")))
}

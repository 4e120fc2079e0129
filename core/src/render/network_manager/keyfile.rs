//! The text of a profile.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{profiles, uuid};
use crate::network::{Family, Interface, Route};
use crate::render::ini::{Ini, Section};
use crate::render::routes::in_order;
use crate::render::text::{HEADER, label_comment, stable_order};

/// Sections that the agent writes itself, and those that would make the profile one for something
/// else than a plain interface.
const NOT_KEPT: [&str; 12] = [
    "",
    "802-3-ethernet",
    "bond-port",
    "bridge-port",
    "connection",
    "ethernet",
    "ipv4",
    "ipv6",
    "match",
    "ovs-interface",
    "ovs-port",
    "team-port",
];

/// The profile of an interface. What is kept of the profiles that it replaces is taken from the
/// first one that has it.
pub(super) fn text(
    interface: &Interface,
    nameservers: &[IpAddr],
    replaced: &[Ini],
    without_ipv6: &str,
) -> String {
    let mut file = Ini::parse(&format!("{HEADER}{}", label_comment(interface)));

    let mut connection = Section::new("connection");
    connection.push("id", &format!("nova-{}", interface.name));
    connection.push("uuid", &uuid(interface.mac));
    connection.push("type", "ethernet");
    // The highest: cloud-init gives its profiles 120.
    connection.push("autoconnect-priority", "999");
    keep(
        &mut connection,
        "zone",
        kept(replaced, "connection", "zone"),
    );
    file.push(connection);

    let mut ethernet = Section::new("ethernet");
    // Not by name: so a clone of this server boots without an address rather than with this
    // server's.
    ethernet.push(
        "mac-address",
        &interface.mac.to_string().to_ascii_uppercase(),
    );
    for key in ["mtu", "cloned-mac-address"] {
        keep(&mut ethernet, key, kept_of_ethernet(replaced, key));
    }
    file.push(ethernet);

    let (v4, v6) = (
        Side::new("ipv4", &interface.v4, IpAddr::is_ipv4),
        Side::new("ipv6", &interface.v6, IpAddr::is_ipv6),
    );
    file.push(v4.section(&v6, "disabled", interface, nameservers, replaced));
    file.push(v6.section(&v4, without_ipv6, interface, nameservers, replaced));

    // Its own sections come before those of other files, and each is taken once.
    let mut names: Vec<&str> = NOT_KEPT.into();
    for old in replaced {
        let sections = || {
            old.sections()
                .filter(|section| !section.name().starts_with('.'))
        };
        for section in sections().filter(|section| !names.contains(&section.name())) {
            let mut copy = Section::new(section.name());
            section
                .entries()
                .for_each(|(key, value)| copy.push(key, value));
            if section.entries().next().is_some() {
                file.push(copy);
            }
        }
        names.extend(sections().map(Section::name));
    }
    file.to_string()
}

/// One address family.
struct Side<'a> {
    name: &'static str,
    family: &'a Family,
    is_of: fn(&IpAddr) -> bool,
}

impl<'a> Side<'a> {
    const fn new(name: &'static str, family: &'a Family, is_of: fn(&IpAddr) -> bool) -> Self {
        Self {
            name,
            family,
            is_of,
        }
    }

    const fn is_off(&self) -> bool {
        self.family.addresses.is_empty()
    }

    fn section(
        &self,
        other: &Self,
        off: &str,
        interface: &Interface,
        nameservers: &[IpAddr],
        replaced: &[Ini],
    ) -> Section {
        let Self {
            name,
            family,
            is_of,
        } = *self;
        let mut section = Section::new(name);
        // A family that is off must hold nothing else.
        if self.is_off() {
            section.push("method", off);
            return section;
        }
        section.push("method", "manual");
        for (own, number) in family.addresses.iter().zip(1_u16..) {
            section.push(&format!("address{number}"), &own.to_string());
        }
        match family.gateway {
            // NetworkManager makes the route to a gateway outside the networks by itself.
            Some(gateway) => section.push("gateway", &gateway.address.to_string()),
            None => section.push("never-default", "true"),
        }
        let routes: Vec<&Route> = interface
            .routes
            .iter()
            .filter(|route| is_of(&route.destination.address()))
            .collect();
        for (route, number) in route_values(&routes).iter().zip(1_u16..) {
            section.push(&format!("route{number}"), route);
        }

        let wanted: Vec<IpAddr> = nameservers.iter().copied().filter(is_of).collect();
        let nameservers = stable_order(&wanted, &profiles::nameservers(replaced.first(), name));
        if !nameservers.is_empty() {
            let list: String = nameservers
                .iter()
                .map(|address| format!("{address};"))
                .collect();
            section.push("dns", &list);
        }
        let search = kept(replaced, name, "dns-search")
            .or_else(|| kept(replaced, other.name, "dns-search").filter(|_| other.is_off()));
        keep(&mut section, "dns-search", search);
        keep(
            &mut section,
            "ignore-auto-dns",
            kept(replaced, name, "ignore-auto-dns"),
        );
        // Else the profile counts as active when one of its families is, and the other one is still
        // missing.
        section.push("may-fail", "false");
        section
    }
}

/// The routes; a gateway outside the networks gets one of its own first. The option `onlink` would
/// not do: of IPv6, the kernel refuses it if a route through another interface leads to the
/// gateway.
fn route_values(routes: &[&Route]) -> Vec<String> {
    in_order(None, routes.iter().copied())
        .iter()
        .map(|hop| hop.to_string().replace(" via ", ","))
        .collect()
}

fn keep(section: &mut Section, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        section.push(key, value);
    }
}

fn kept<'a>(replaced: &'a [Ini], section: &'a str, key: &'a str) -> Option<&'a str> {
    replaced
        .iter()
        .find_map(|file| file.get(section, key).filter(|value| !value.is_empty()))
}

fn kept_of_ethernet<'a>(replaced: &'a [Ini], key: &'a str) -> Option<&'a str> {
    replaced
        .iter()
        .find_map(|file| profiles::of_ethernet(file, key).filter(|value| !value.is_empty()))
}

//! The variables of rc.conf(5) that the agent decides about.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::RC_CONF;
use crate::network::{Cidr, Interface, NetworkConfig};
use crate::render::assignments::Assignments;
use crate::render::error::{Refusal, Unclear};
use crate::render::guest::Guest;
use crate::render::routes::{Hop, in_order};
use crate::render::shell_line::variable;
use crate::render::text::label_comment;

/// Settings of the hardware in an old value, which are kept.
const CAPABILITIES: [&str; 12] = [
    "lro",
    "polling",
    "rxcsum",
    "rxcsum6",
    "tso",
    "tso4",
    "tso6",
    "txcsum",
    "txcsum6",
    "vlanhwfilter",
    "vlanhwtag",
    "vlanmtu",
];

/// The variables that the agent replaces, whatever their values are.
#[derive(Debug)]
pub(super) struct Managed<'c> {
    config: &'c NetworkConfig,
    /// Whether there are interfaces that stay as they are.
    others: bool,
    /// Whether they may need the gateway that is there.
    keeps_v4_gateway: bool,
    keeps_v6_gateway: bool,
}

impl<'c> Managed<'c> {
    pub(super) fn new(config: &'c NetworkConfig, file: &Assignments, guest: &Guest<'_>) -> Self {
        let others = guest.has_others(config);
        let keeps = |key, v6| others && !config.has_gateway(v6) && !is_tied(file, key, config);
        let keeps_v4_gateway = keeps("defaultrouter", false);
        let keeps_v6_gateway = keeps("ipv6_defaultrouter", true);
        Self {
            config,
            others,
            keeps_v4_gateway,
            keeps_v6_gateway,
        }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        let interfaces = &self.config.interfaces;
        match key {
            "defaultrouter" => !self.keeps_v4_gateway,
            "ipv6_defaultrouter" => !self.keeps_v6_gateway,
            // From before FreeBSD 9. Today the first one lets routers configure addresses, and the
            // second one needs no value to mean every interface.
            "ipv6_enable" | "ipv6_network_interfaces" => true,
            key => interfaces.iter().any(|interface| is_of(key, interface)),
        }
    }

    /// Returns whether a route belongs to a managed interface, or to the first agent, which
    /// numbered the routes of all interfaces.
    fn is_stale_route(&self, name: &str) -> bool {
        let name = route_name(name);
        self.config
            .interfaces
            .iter()
            .any(|interface| is_route_of(name, &variable(&interface.name)))
            || (!self.others && name.strip_prefix("lan").is_some_and(is_number))
    }
}

/// Returns whether a gateway like `fe80::1%xn0` is tied to one of the managed interfaces.
fn is_tied(file: &Assignments, key: &str, config: &NetworkConfig) -> bool {
    file.get(key)
        .as_deref()
        .and_then(|gateway| gateway.split_once('%'))
        .is_some_and(|(_, zone)| config.interface(zone).is_some())
}

/// Returns whether a variable configures an interface, or is a route that the agent added for it.
pub(super) fn is_of(key: &str, interface: &Interface) -> bool {
    is_variable_of(key, &variable(&interface.name))
}

fn is_variable_of(key: &str, variable: &str) -> bool {
    let numbered_alias = |rest: &str| rest.strip_prefix("_alias").is_some_and(is_number);
    let ifconfig = key
        .strip_prefix("ifconfig_")
        .and_then(|rest| rest.strip_prefix(variable));
    let old_ifconfig = key
        .strip_prefix("ipv6_ifconfig_")
        .and_then(|rest| rest.strip_prefix(variable));
    let lists = ["ipv4_addrs_", "ipv6_addrs_", "ipv6_prefix_"];
    let route = key
        .strip_prefix("route_")
        .or_else(|| key.strip_prefix("ipv6_route_"));

    ifconfig.is_some_and(|rest| matches!(rest, "" | "_ipv6" | "_aliases") || numbered_alias(rest))
        || old_ifconfig.is_some_and(|rest| rest.is_empty() || numbered_alias(rest))
        || lists
            .iter()
            .any(|list| key.strip_prefix(list) == Some(variable))
        || route.is_some_and(|name| is_route_of(name, variable))
}

/// Returns whether the agent gave a route this name.
fn is_route_of(name: &str, variable: &str) -> bool {
    let rest = name
        .strip_prefix("nova_")
        .and_then(|rest| rest.strip_prefix(variable)?.strip_prefix('_'));
    rest.is_some_and(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A list of static routes: names, each of which has a variable.
#[derive(Debug)]
pub(super) struct StaticRoutes {
    key: &'static str,
    prefix: &'static str,
    kept: Vec<String>,
    stale: Vec<String>,
    /// Names and arguments of route(8).
    ours: Vec<(String, String)>,
}

/// The lists of both families.
pub(super) const STATIC_ROUTES: [&str; 2] = ["static_routes", "ipv6_static_routes"];

impl StaticRoutes {
    /// # Errors
    /// Refuses if the content of a list depends on other variables.
    pub(super) fn all<'a>(
        main: &'a Assignments,
        overrides: &[&'a Assignments],
        managed: &Managed<'_>,
    ) -> Result<Vec<Self>, Refusal> {
        let mut all = Vec::new();
        for (key, prefix) in STATIC_ROUTES.into_iter().zip(["route_", "ipv6_route_"]) {
            let last = overrides
                .iter()
                .rev()
                .find(|file| file.keys().any(|other| other == key))
                .unwrap_or(&main);
            if !last.is_literal(key) {
                return Err(Unclear::RefersToVariables { list: key }.at(&RC_CONF));
            }
            let (stale, kept) = last
                .words(key)
                .into_iter()
                .partition(|name| managed.is_stale_route(name));
            let ours = managed.config.interfaces.iter().flat_map(|interface| {
                let of_family = move |(v6, _): &(bool, String)| *v6 == key.starts_with("ipv6");
                let routes = static_routes(interface)
                    .into_iter()
                    .filter(of_family)
                    .enumerate();
                routes.map(|(nth, (_, route))| {
                    (format!("nova_{}_{nth}", variable(&interface.name)), route)
                })
            });
            all.push(Self {
                key,
                prefix,
                kept,
                stale,
                ours: ours.collect(),
            });
        }
        Ok(all)
    }

    /// Returns whether a variable is the list, if that changes, or a route that is removed from it.
    pub(super) fn replaces(&self, key: &str) -> bool {
        let lost = |name| self.stale.iter().any(|stale| route_name(stale) == name);
        (key == self.key && !(self.stale.is_empty() && self.ours.is_empty()))
            || key.strip_prefix(self.prefix).is_some_and(lost)
    }

    /// Returns the lines for the list and its routes.
    pub(super) fn generated(&self) -> String {
        let Self {
            key,
            prefix,
            kept,
            stale,
            ours,
        } = self;
        let names: Vec<&str> = kept
            .iter()
            .chain(ours.iter().map(|(name, _)| name))
            .map(String::as_str)
            .collect();
        if (stale.is_empty() && ours.is_empty()) || names.is_empty() {
            return String::new();
        }
        let mut text = format!("{key}=\"{}\"\n", names.join(" "));
        text.extend(
            ours.iter()
                .map(|(name, route)| format!("{prefix}{name}=\"{route}\"\n")),
        );
        text
    }
}

/// The name without the interface that may be behind it.
fn route_name(name: &str) -> &str {
    name.split(':').next().unwrap_or_default()
}

/// Returns the lines for all interfaces, without their static routes; `old` gives the old value of
/// a variable.
pub(super) fn generated(config: &NetworkConfig, old: &dyn Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    for interface in &config.interfaces {
        let (v4, v6) = (&interface.v4, &interface.v6);
        let variable = variable(&interface.name);
        text.push_str(&label_comment(interface));
        let mut set = |key: &str, value: &str| text.push_str(&format!("{key}=\"{value}\"\n"));

        let key = format!("ifconfig_{variable}");
        let kept = old(&key).map(|value| hardware(&value)).unwrap_or_default();
        let first = v4
            .addresses
            .first()
            .map(|own| ifconfig(*own))
            .unwrap_or_else(|| "up".to_string());
        set(&key, &format!("{first}{kept}"));
        // Without it the system gives the interface no IPv6 address at all, alias or not.
        if let Some(first) = v6.addresses.first() {
            set(&format!("ifconfig_{variable}_ipv6"), &ifconfig(*first));
        }
        // Both families share one count, and reading stops at a gap.
        let others = v4
            .addresses
            .iter()
            .skip(1)
            .chain(v6.addresses.iter().skip(1));
        for (nth, alias) in others.enumerate() {
            set(
                &format!("ifconfig_{variable}_alias{nth}"),
                &ifconfig(*alias),
            );
        }
        for (key, gateway) in [
            ("defaultrouter", v4.gateway),
            ("ipv6_defaultrouter", v6.gateway),
        ] {
            if let Some(gateway) = gateway {
                set(key, &via(gateway.address, interface));
            }
        }
    }
    text
}

/// Returns the hardware settings of an old value.
fn hardware(old: &str) -> String {
    let mut kept = String::new();
    let mut words = old.split_ascii_whitespace();
    while let Some(word) = words.next() {
        if word == "mtu" {
            if let Some(mtu) = words.next().and_then(|mtu| mtu.parse::<u16>().ok()) {
                kept.push_str(&format!(" mtu {mtu}"));
            }
        } else if CAPABILITIES.contains(&word.strip_prefix('-').unwrap_or(word)) {
            kept.push_str(&format!(" {word}"));
        }
    }
    kept
}

fn ifconfig(own: Cidr) -> String {
    match own.address() {
        IpAddr::V4(address) => format!("inet {address} netmask {}", own.netmask()),
        IpAddr::V6(address) => format!("inet6 {address} prefixlen {}", own.prefix_len()),
    }
}

/// A gateway with the interface that it is tied to.
fn via(gateway: IpAddr, interface: &Interface) -> String {
    match gateway {
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            format!("{address}%{}", interface.name)
        }
        address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address.to_string(),
    }
}

/// Returns arguments of route(8), and whether they are for IPv6. They are set before the default
/// routes, so that gateways outside all networks can be reached by then.
fn static_routes(interface: &Interface) -> Vec<(bool, String)> {
    let name = &interface.name;
    let defaults = [interface.v4.gateway, interface.v6.gateway]
        .into_iter()
        .flatten();
    let line = |Hop {
                    destination,
                    via: gateway,
                }: Hop| {
        let network = destination?;
        let destination = match network.address() {
            address if Cidr::host(address) == network => format!("-host {address}"),
            IpAddr::V4(address) => format!("-net {address} -netmask {}", network.netmask()),
            IpAddr::V6(_) => format!("-net {network}"),
        };
        let target = gateway.map_or_else(
            || format!("-interface {name}"),
            |gateway| via(gateway, interface),
        );
        Some((
            network.address().is_ipv6(),
            format!("{destination} {target}"),
        ))
    };
    in_order(defaults, &interface.routes)
        .into_iter()
        .filter_map(line)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_other_interfaces_are_not_ours() {
        for ours in [
            "ifconfig_xn1",
            "ifconfig_xn1_alias12",
            "ifconfig_xn1_ipv6",
            "ipv4_addrs_xn1",
            "route_nova_xn1_0",
        ] {
            assert!(is_variable_of(ours, "xn1"), "{ours}");
        }
        for other in [
            "ifconfig_xn10",
            "ifconfig_xn1_5",
            "ifconfig_xn1_descr",
            "ifconfig_xn1_alias",
            "vlans_xn1",
            "route_nova_xn1_5_0",
            "route_corp",
        ] {
            assert!(!is_variable_of(other, "xn1"), "{other}");
        }
    }

    #[test]
    fn only_what_is_about_the_hardware_stays() {
        assert_eq!(hardware("SYNCDHCP mtu 9000 -tso lro"), " mtu 9000 -tso lro");
        assert_eq!(
            hardware("inet 192.0.2.1/24 mtu $(x) up descr tso4"),
            " tso4"
        );
    }
}

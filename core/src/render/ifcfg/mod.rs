//! Red Hat's `ifcfg-IF`, `route-IF` and `route6-IF` in `/etc/sysconfig/network-scripts`, which are
//! read by network-scripts or by NetworkManager.
//!
//! A shell reads these files as root, so every generated line is made of parsed values, and of the
//! old file only lines are kept that assign a plain word.

mod interface;
mod routes;
mod stale;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use self::interface::ifcfg;
use self::routes::{route, route6};
pub(super) use self::stale::{find, find_beside_own, routes_beside};
use super::assignments::Assignments;
use super::context::Context;
use super::error::Refusal;
use super::renderer::{Renderer, Stack};
use super::restart::{Activation, InterfacePrograms, per_interface};
use super::text::effective_lines;
use crate::effect::GuestPath;
use crate::network::{Interface, InterfaceName, NetworkConfig};

const DIRECTORY: GuestPath = GuestPath::constant("/etc/sysconfig/network-scripts");
const GLOBAL: GuestPath = GuestPath::constant("/etc/sysconfig/network");

/// `ifup` and `ifdown` find the configuration by the name of the interface; there is no way to
/// force them.
const PROGRAMS: InterfacePrograms = InterfacePrograms {
    up: &["ifup"],
    down: &["ifdown"],
    force_down: &["ifdown"],
};

/// What reads the files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reader {
    NetworkManager,
    NetworkScripts,
}

/// An interface, and what its files say beside its addresses.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) interface: &'a Interface,
    pub(super) nameservers: Vec<IpAddr>,
    /// The UUID of the profile; network-scripts have none.
    pub(super) uuid: Option<String>,
}

/// The stack of Red Hat Enterprise Linux up to 7 and Amazon Linux up to 2.
pub(super) static STACK: Stack = Stack::new("network-scripts", &NetworkScripts);

#[derive(Debug)]
struct NetworkScripts;

impl Renderer for NetworkScripts {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        let (config, guest) = (cx.config, cx.guest);
        // ifup-post replaces the servers that another interface brought along, so each one that
        // brings any brings them all.
        let all = config.nameservers();
        let mut wanted = Vec::new();
        for interface in &config.interfaces {
            let nameservers = if interface.nameservers.is_empty() {
                Vec::new()
            } else {
                all.clone()
            };
            wanted.push(Wanted {
                interface,
                nameservers,
                uuid: None,
            });
        }

        let mut changed = write(Reader::NetworkScripts, &wanted, cx)?;
        for (path, owner) in find_beside_own(config, guest) {
            cx.remove(&path);
            changed.insert(owner);
        }
        if write_global(Reader::NetworkScripts, cx)? {
            changed.extend(config.names().cloned());
        }
        Ok(per_interface(config, &changed, PROGRAMS, guest))
    }
}

/// Returns the path of the file with this prefix for an interface.
pub(super) fn path(prefix: &str, name: &InterfaceName) -> Option<GuestPath> {
    DIRECTORY.join(&format!("{prefix}-{name}")).ok()
}

/// Writes the files of every interface and returns the interfaces for which they mean something
/// new.
pub(super) fn write(
    reader: Reader,
    all: &[Wanted<'_>],
    cx: &mut Context<'_>,
) -> Result<BTreeSet<InterfaceName>, Refusal> {
    let mut changed = BTreeSet::new();
    for wanted in all {
        let interface = wanted.interface;
        let name = &interface.name;
        for (prefix, content) in [
            ("ifcfg", Some(ifcfg(reader, wanted, cx)?)),
            ("route", route(reader, interface)),
            ("route6", route6(reader, interface)),
        ] {
            let Some(path) = path(prefix, name) else {
                continue;
            };
            let old = cx.text(&path)?;
            if effective_lines(old.as_deref()) != effective_lines(content.as_deref()) {
                changed.insert(name.clone());
            }
            match content {
                Some(content) => cx.write(&path, &content)?,
                None => cx.remove(&path),
            }
        }
        let rules = path("rule", name).is_some_and(|path| cx.guest.exists(&path));
        if reader == Reader::NetworkManager && rules && !interface.routes.is_empty() {
            cx.warn(format!(
                "rule-{name} exists: NetworkManager reads no routes beside it"
            ));
        }
    }
    Ok(changed)
}

/// Writes `/etc/sysconfig/network` and returns whether something changed that concerns the
/// interfaces.
pub(super) fn write_global(reader: Reader, cx: &mut Context<'_>) -> Result<bool, Refusal> {
    let old = match (cx.text(&GLOBAL)?, reader) {
        (Some(old), _) => old,
        (None, Reader::NetworkScripts) => String::new(),
        (None, Reader::NetworkManager) => return Ok(false),
    };
    let mut file = Assignments::parse(&old);
    remove_gateways(&mut file, cx);
    let mut concerns_interfaces = file.text() != old;
    if reader == Reader::NetworkScripts {
        concerns_interfaces |= enable(&mut file, cx.config);
    }
    cx.write(&GLOBAL, &file.text())?;
    Ok(concerns_interfaces)
}

/// Removes the gateways that would win over those of the interfaces. An interface that stays as it
/// is may need one.
fn remove_gateways(file: &mut Assignments, cx: &Context<'_>) {
    let (config, others) = (cx.config, cx.guest.has_others(cx.config));
    for (v6, gateway, device) in [
        (false, "GATEWAY", "GATEWAYDEV"),
        (true, "IPV6_DEFAULTGW", "IPV6_DEFAULTDEV"),
    ] {
        let value = file.get(gateway).unwrap_or_default();
        let (address, zone) = value.split_once('%').unwrap_or((&value, ""));
        let device_name = file.get(device).unwrap_or_default();
        let through_ours = config.interface(zone).is_some()
            || config.interface(&device_name).is_some()
            || address
                .parse()
                .is_ok_and(|address| config.contains(address));
        if config.has_gateway(v6) || through_ours || !others {
            file.remove(gateway);
            file.remove(device);
        }
    }
}

/// Turns the network on, and IPv6 where it is needed; returns whether IPv6 was off.
fn enable(file: &mut Assignments, config: &NetworkConfig) -> bool {
    let v6 = config
        .interfaces
        .iter()
        .any(|interface| !interface.v6.addresses.is_empty());
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
    v6 && v6_before.as_deref() != Some("yes")
}

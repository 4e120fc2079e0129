//! Red Hat's `ifcfg-IF`, `route-IF` and `route6-IF` in `/etc/sysconfig/network-scripts`, which are read by network-scripts
//! or by NetworkManager.
//!
//! A shell reads these files as root, so every generated line is made of parsed values, and of the old file only lines
//! are kept that assign a plain word.

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
pub(super) use self::stale::{find, routes_beside};
use super::Renderer;
use super::assignments::Assignments;
use super::context::Context;
use super::guest::Guest;
use super::network_manager::nmcli::{self, Connection, Old};
use super::network_manager::{self, profiles};
use super::restart::{Activation, Commands, one_by_one};
use super::text::effective_lines;
use crate::effect::{EntryKind, GuestPath};
use crate::network::{InterfaceName, NetworkConfig};

const DIRECTORY: GuestPath = GuestPath::constant("/etc/sysconfig/network-scripts");
const GLOBAL: GuestPath = GuestPath::constant("/etc/sysconfig/network");

/// `ifup` and `ifdown` find the configuration by the name of the interface; there is no way to force them.
const COMMANDS: Commands = Commands {
    up: &["ifup"],
    down: &["ifdown"],
    force_down: &["ifdown"],
};

/// Who reads the files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reader {
    NetworkManager,
    NetworkScripts,
}

/// The stack of Red Hat Enterprise Linux up to 7 and Amazon Linux up to 2.
#[derive(Debug)]
pub(super) struct NetworkScripts;

impl Renderer for NetworkScripts {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, String> {
        let (config, guest) = (cx.config, cx.guest);
        // ifup-post replaces the servers that another interface brought along, so each one that brings any brings them all.
        let all = config.nameservers();
        let nameservers = |own: &Vec<IpAddr>| {
            if own.is_empty() {
                Vec::new()
            } else {
                all.clone()
            }
        };
        let nameservers: Vec<Vec<IpAddr>> = config
            .interfaces
            .iter()
            .map(|interface| nameservers(&interface.nameservers))
            .collect();

        let mut changed = write(Reader::NetworkScripts, config, &nameservers, cx)?;
        for (path, owner) in stale::find_beside_own(config, guest) {
            cx.remove(&path);
            changed.insert(owner);
        }
        if global(Reader::NetworkScripts, cx)? {
            changed.extend(config.names().cloned());
        }
        Ok(one_by_one(config, &changed, COMMANDS, guest))
    }
}

/// The stack of Red Hat Enterprise Linux 8, and of 7 where NetworkManager took over from network-scripts.
#[derive(Debug)]
pub(super) struct NetworkManagerIfcfg;

impl Renderer for NetworkManagerIfcfg {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, String> {
        let (config, guest) = (cx.config, cx.guest);
        let keyfiles = profiles::find(config, guest);
        let stale = stale::find_beside_own(config, guest);
        let mut connections = Vec::new();
        let mut changed = BTreeSet::new();
        for interface in &config.interfaces {
            let name = &interface.name;
            let Some(path) = path("ifcfg", name) else {
                continue;
            };
            let old = cx.text(&path)?.map(|text| Assignments::parse(&text));
            let mut connection =
                Connection::new(interface, interface::uuid(interface, old.as_ref()));
            if let Some(old) = old {
                connection.old = old
                    .get("UUID")
                    .map_or(Old::Unknown, |uuid| Old::with_uuid(&uuid));
            }
            connection.paths.push(path);
            for (path, _) in stale.iter().filter(|(_, owner)| owner == name) {
                routes_beside(path).iter().for_each(|path| cx.remove(path));
                connection.paths.push(path.clone());
            }
            let keyfiles = keyfiles.iter().filter(|profile| profile.interface == *name);
            connection
                .paths
                .extend(keyfiles.map(|profile| profile.path.clone()));
            for path in connection.paths.iter().skip(1) {
                cx.remove(path);
                changed.insert(name.clone());
                if connection.old == Old::Nothing {
                    connection.old = Old::Unknown;
                }
            }
            connections.push(connection);
        }
        let nameservers = network_manager::nameservers(cx);
        changed.extend(write(Reader::NetworkManager, config, &nameservers, cx)?);
        if global(Reader::NetworkManager, cx)? {
            changed.extend(config.names().cloned());
        }
        Ok(nmcli::activation(config, &changed, &connections, guest))
    }
}

/// The file of one kind for an interface.
pub(super) fn path(prefix: &str, name: &InterfaceName) -> Option<GuestPath> {
    DIRECTORY.join(&format!("{prefix}-{name}")).ok()
}

/// Whether NetworkManager can read ifcfg files: it looks for the plugin in a directory that is named after its version.
pub(super) fn plugin_exists(guest: &Guest<'_>) -> bool {
    /// The most versions looked into. A system has one.
    const VERSIONS_MAX: usize = 16;

    const PLUGIN: &str = "libnm-settings-plugin-ifcfg-rh.so";

    const LIBRARIES: [GuestPath; 2] = [
        GuestPath::constant("/usr/lib64/NetworkManager"),
        GuestPath::constant("/usr/lib/NetworkManager"),
    ];
    LIBRARIES.into_iter().fold(false, |any, library| {
        let versions = guest
            .entries(&library)
            .iter()
            .filter(|entry| entry.kind != EntryKind::File);
        let versions = versions
            .take(VERSIONS_MAX)
            .filter_map(|version| library.join(&version.name).ok());
        let here = guest.names(&library).contains(&PLUGIN);
        versions.fold(here, |any, version| {
            guest.names(&version).contains(&PLUGIN) | any
        }) | any
    })
}

/// Puts the files of every interface into `files` and returns the interfaces for which they mean something new.
fn write(
    reader: Reader,
    config: &NetworkConfig,
    nameservers: &[Vec<IpAddr>],
    cx: &mut Context<'_>,
) -> Result<BTreeSet<InterfaceName>, String> {
    let mut changed = BTreeSet::new();
    for (interface, nameservers) in config.interfaces.iter().zip(nameservers) {
        let name = &interface.name;
        for (prefix, content) in [
            ("ifcfg", Some(ifcfg(reader, interface, nameservers, cx)?)),
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

/// `/etc/sysconfig/network`; tells whether something changed that concerns the interfaces.
fn global(reader: Reader, cx: &mut Context<'_>) -> Result<bool, String> {
    let Some(old) = cx
        .text(&GLOBAL)?
        .or_else(|| (reader == Reader::NetworkScripts).then(String::new))
    else {
        return Ok(false);
    };
    let mut file = Assignments::parse(&old);
    let is_ours = |name: &str| {
        cx.config
            .interfaces
            .iter()
            .any(|interface| interface.name.as_str() == name)
    };
    let others = cx
        .guest
        .interfaces()
        .iter()
        .any(|other| other.physical && !is_ours(&other.name));
    for (v6, gateway, device) in [
        (false, "GATEWAY", "GATEWAYDEV"),
        (true, "IPV6_DEFAULTGW", "IPV6_DEFAULTDEV"),
    ] {
        let mut families = cx
            .config
            .interfaces
            .iter()
            .map(|interface| if v6 { &interface.v6 } else { &interface.v4 });
        let has_gateway = families.any(|family| family.gateway.is_some());
        let value = file.get(gateway).unwrap_or_default();
        let (address, zone) = value.split_once('%').unwrap_or((&value, ""));
        let mut networks = cx
            .config
            .interfaces
            .iter()
            .flat_map(|interface| interface.addresses());
        let through_ours = is_ours(zone)
            || file.get(device).is_some_and(|name| is_ours(&name))
            || address
                .parse()
                .is_ok_and(|address: IpAddr| networks.any(|network| network.contains(address)));
        // They would win over the gateways of the interfaces. One that stays as it is may need what is there.
        if has_gateway || through_ours || !others {
            file.remove(gateway);
            file.remove(device);
        }
    }
    let overridden = file.text() != old;
    let v6 = cx
        .config
        .interfaces
        .iter()
        .any(|interface| !interface.v6.addresses.is_empty());
    let v6_before = file.get("NETWORKING_IPV6");
    if reader == Reader::NetworkScripts {
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
    }
    cx.write(&GLOBAL, &file.text())?;
    Ok(overridden
        || (reader == Reader::NetworkScripts && v6 && v6_before.as_deref() != Some("yes")))
}

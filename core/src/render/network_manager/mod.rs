//! NetworkManager's keyfiles: one profile per interface in
//! `/etc/NetworkManager/system-connections`.
//!
//! Which profile an interface gets is decided by priority among all that fit, so every other one
//! that means the interface is moved away, whatever its name and format.

mod ifcfg;
mod keyfile;
pub(super) mod nmcli;
pub(super) mod profiles;

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

pub(super) use self::ifcfg::{STACK as STACK_WITH_IFCFG, plugin_exists};
use self::nmcli::{Connection, Old};
use super::context::Context;
use super::error::Refusal;
use super::ini::Ini;
use super::renderer::{Renderer, Stack};
use super::restart::Activation;
use super::text::effective_lines;
use crate::effect::GuestPath;
use crate::network::{Interface, InterfaceName, MacAddr};

const DIRECTORY: GuestPath = GuestPath::constant("/etc/NetworkManager/system-connections");

/// The stack of Red Hat Enterprise Linux from 9 on, Fedora, SUSE Linux Enterprise 16 and of
/// desktops.
pub(super) static STACK: Stack = Stack::new("NetworkManager", &NetworkManager);

#[derive(Debug)]
struct NetworkManager;

impl Renderer for NetworkManager {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        let (config, guest) = (cx.config, cx.guest);
        let profiles = profiles::find(config, guest);
        // Both are asked in one round. Files that NetworkManager cannot read are left alone.
        let (ifcfg_files, read) = (super::ifcfg::find(config, guest), plugin_exists(guest));
        let ifcfg_files = if read { ifcfg_files } else { Vec::new() };
        let nameservers = nameservers(cx);

        let mut changed = BTreeSet::new();
        let mut connections = Vec::new();
        for (interface, nameservers) in config.interfaces.iter().zip(&nameservers) {
            let name = &interface.name;
            let Some(path) = own_path(name) else { continue };
            let old = cx.text(&path)?;
            let mut connection = Connection::new(interface, uuid(interface.mac));
            connection.paths.push(path.clone());
            // The best source of what is kept comes first.
            let mut replaced: Vec<Ini> = old.iter().map(|text| Ini::parse(text)).collect();

            let mut stale = Vec::new();
            for profile in profiles
                .iter()
                .filter(|profile| profile.interface == *name && profile.path != path)
            {
                replaced.push(profile.file.clone());
                stale.push(profile.path.clone());
            }
            connection.old = replaced.first().map(profiles::old).unwrap_or_default();
            for (path, _) in ifcfg_files.iter().filter(|(_, owner)| owner == name) {
                let text = guest.text(path).unwrap_or_default();
                replaced.push(profiles::of_ifcfg(&text));
                if connection.old == Old::Nothing {
                    connection.old = Old::Unknown;
                }
                stale.push(path.clone());
                super::ifcfg::routes_beside(path)
                    .iter()
                    .for_each(|path| cx.remove(path));
            }

            let new = keyfile::text(
                interface,
                nameservers,
                &replaced,
                cx.os.without_ipv6_in_network_manager(),
            );
            if !stale.is_empty() || effective_lines(old.as_deref()) != effective_lines(Some(&new)) {
                changed.insert(name.clone());
            }
            cx.write_private(&path, &new)?;
            stale.iter().for_each(|path| cx.remove(path));
            connection.paths.extend(stale);
            connections.push(connection);
        }
        Ok(nmcli::activation(config, &changed, &connections, guest))
    }
}

/// The agent's own profile of an interface.
fn own_path(name: &InterfaceName) -> Option<GuestPath> {
    DIRECTORY.join(&format!("nova-{name}.nmconnection")).ok()
}

/// The identity of an interface's profile. It stays when the file is rewritten, so that it replaces
/// the old profile.
pub(super) fn uuid(mac: MacAddr) -> String {
    let digits: String = mac
        .octets()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    format!("6e6f7661-0000-5000-8000-{digits}")
}

/// The name servers of each interface, in the order of the interfaces.
///
/// A family without an address cannot hold name servers: they go to the first interface that has
/// one. A name server of a family that no interface has is left out with a warning.
pub(super) fn nameservers(cx: &mut Context<'_>) -> Vec<Vec<IpAddr>> {
    let config = cx.config;
    let holds = |interface: &Interface, nameserver: &IpAddr| match nameserver {
        IpAddr::V4(_) => !interface.v4.addresses.is_empty(),
        IpAddr::V6(_) => !interface.v6.addresses.is_empty(),
    };
    let mut lists: Vec<Vec<IpAddr>> = config.interfaces.iter().map(|_| Vec::new()).collect();
    for (nth, interface) in config.interfaces.iter().enumerate() {
        for nameserver in &interface.nameservers {
            let holder = if holds(interface, nameserver) {
                Some(nth)
            } else {
                config
                    .interfaces
                    .iter()
                    .position(|other| holds(other, nameserver))
            };
            match holder.and_then(|nth| lists.get_mut(nth)) {
                Some(list) => list.push(nameserver.to_owned()),
                None => cx.warn(format!(
                    "name server {nameserver} is left out: no address of its family"
                )),
            }
        }
    }
    lists
}

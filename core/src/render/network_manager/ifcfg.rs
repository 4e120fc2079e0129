//! NetworkManager on systems where it stores profiles in ifcfg files.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::nmcli::{self, Connection, Old};
use super::profiles::{self, Profile};
use crate::effect::{EntryKind, GuestPath};
use crate::network::{Interface, InterfaceName};
use crate::render::assignments::Assignments;
use crate::render::context::Context;
use crate::render::error::Refusal;
use crate::render::guest::Guest;
use crate::render::ifcfg::{self, Reader, Wanted};
use crate::render::renderer::{Renderer, Stack};
use crate::render::restart::Activation;

/// The stack of Red Hat Enterprise Linux 8, and of 7 where NetworkManager took over from
/// network-scripts.
pub(in crate::render) static STACK: Stack =
    Stack::new("NetworkManager with ifcfg files", &NetworkManagerIfcfg);

#[derive(Debug)]
struct NetworkManagerIfcfg;

impl Renderer for NetworkManagerIfcfg {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        let (config, guest) = (cx.config, cx.guest);
        let keyfiles = profiles::find(config, guest);
        let stale = ifcfg::find_beside_own(config, guest);
        let nameservers = super::nameservers(cx);

        let mut wanted = Vec::new();
        let mut connections = Vec::new();
        let mut changed = BTreeSet::new();
        for (interface, nameservers) in config.interfaces.iter().zip(nameservers) {
            let name = &interface.name;
            let Some(path) = ifcfg::path("ifcfg", name) else {
                continue;
            };
            let old = cx.text(&path)?.map(|text| old(&text)).unwrap_or_default();
            let uuid = match &old {
                Old::Uuid(uuid) => uuid.clone(),
                Old::Nothing | Old::Unknown => super::uuid(interface.mac),
            };
            let mut connection = Connection::new(interface, uuid.clone());
            connection.old = old;
            connection.paths.push(path);
            let replaced = replaced(interface, &stale, &keyfiles, cx);
            if !replaced.is_empty() {
                changed.insert(name.clone());
                if connection.old == Old::Nothing {
                    connection.old = Old::Unknown;
                }
            }
            connection.paths.extend(replaced);
            connections.push(connection);
            wanted.push(Wanted {
                interface,
                nameservers,
                uuid: Some(uuid),
            });
        }
        changed.extend(ifcfg::write(Reader::NetworkManager, &wanted, cx)?);
        if ifcfg::write_global(Reader::NetworkManager, cx)? {
            changed.extend(config.names().cloned());
        }
        Ok(nmcli::activation(config, &changed, &connections, guest))
    }
}

/// Returns how the profile in a file can be activated again.
fn old(text: &str) -> Old {
    Assignments::parse(text)
        .get("UUID")
        .map_or(Old::Unknown, |uuid| Old::with_uuid(&uuid))
}

/// Removes the other profiles of an interface and returns their paths.
fn replaced(
    interface: &Interface,
    stale: &[(GuestPath, InterfaceName)],
    keyfiles: &[Profile],
    cx: &mut Context<'_>,
) -> Vec<GuestPath> {
    let mut paths = Vec::new();
    for (path, _) in stale.iter().filter(|(_, owner)| *owner == interface.name) {
        for beside in ifcfg::routes_beside(path) {
            cx.remove(&beside);
        }
        paths.push(path.clone());
    }
    let keyfiles = keyfiles
        .iter()
        .filter(|profile| profile.interface == interface.name);
    paths.extend(keyfiles.map(|profile| profile.path.clone()));
    for path in &paths {
        cx.remove(path);
    }
    paths
}

/// Whether NetworkManager can read ifcfg files: it looks for the plugin in a directory that is
/// named after its version.
pub(in crate::render) fn plugin_exists(guest: &Guest<'_>) -> bool {
    /// The most versions looked into. A system has one.
    const VERSIONS_MAX: usize = 16;

    const PLUGIN: &str = "libnm-settings-plugin-ifcfg-rh.so";

    const LIBRARIES: [GuestPath; 2] = [
        GuestPath::constant("/usr/lib64/NetworkManager"),
        GuestPath::constant("/usr/lib/NetworkManager"),
    ];
    let mut names = Vec::new();
    for library in LIBRARIES {
        names.extend(guest.names(&library));
        let versions = guest
            .entries(&library)
            .iter()
            .filter(|entry| entry.kind != EntryKind::File)
            .take(VERSIONS_MAX);
        for version in versions {
            if let Ok(directory) = library.join(&version.name) {
                names.extend(guest.names(&directory));
            }
        }
    }
    names.contains(&PLUGIN)
}

//! Files that would configure a managed interface twice.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::DIRECTORY;
use crate::effect::GuestPath;
use crate::network::{Interface, InterfaceName, MacAddr, NetworkConfig};
use crate::render::assignments::Assignments;
use crate::render::guest::Guest;

/// In front of the name of an interface.
const PREFIX: &str = "ifcfg-";

/// Suffixes of files that network-scripts ignore.
const IGNORED: [&str; 7] = [
    "~", ".bak", ".old", ".orig", ".rpmnew", ".rpmorig", ".rpmsave",
];

/// Returns the files for managed interfaces, each interface's own first, for a stack that no longer
/// reads them.
pub(in crate::render) fn find(
    config: &NetworkConfig,
    guest: &Guest<'_>,
) -> Vec<(GuestPath, InterfaceName)> {
    let own = config.interfaces.iter().filter_map(|interface| {
        let path = super::path("ifcfg", &interface.name)?;
        guest.exists(&path).then(|| (path, interface.name.clone()))
    });
    own.chain(find_beside_own(config, guest)).collect()
}

/// Returns the route files beside an ifcfg file, whether they exist or not.
pub(in crate::render) fn routes_beside(path: &GuestPath) -> Vec<GuestPath> {
    let suffix = path.name().strip_prefix(PREFIX);
    let beside = |prefix: &str| DIRECTORY.join(&format!("{prefix}-{}", suffix?)).ok();
    ["route", "route6"].into_iter().filter_map(beside).collect()
}

/// Returns the files to remove beside the interfaces' own ones, each with its interface.
pub(in crate::render) fn find_beside_own(
    config: &NetworkConfig,
    guest: &Guest<'_>,
) -> Vec<(GuestPath, InterfaceName)> {
    let mut stale = Vec::new();
    for name in guest.list(&DIRECTORY, is_read) {
        let Some(suffix) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let Ok(path) = DIRECTORY.join(name) else {
            continue;
        };
        if let Some(owner) = owner(suffix, &path, config, guest) {
            stale.push((path, owner.name.clone()));
        }
    }
    stale
}

fn is_read(name: &str) -> bool {
    name.starts_with(PREFIX) && !IGNORED.iter().any(|ignored| name.ends_with(ignored))
}

/// Returns the managed interface that a file configures beside the interface's own file.
fn owner<'a>(
    suffix: &str,
    path: &GuestPath,
    config: &'a NetworkConfig,
    guest: &Guest<'_>,
) -> Option<&'a Interface> {
    // Further addresses are in the interface's own file now.
    let alias = suffix
        .split_once(':')
        .or_else(|| suffix.split_once("-range"));
    if let Some((base, _)) = alias {
        return config.interface(base);
    }
    // The file of any interface that exists is its own, whatever it says.
    if suffix == "lo" || config.interface(suffix).is_some() || guest.interface(suffix).is_some() {
        return None;
    }
    let file = Assignments::parse(&guest.text(path)?);
    let kind = file.get("TYPE").unwrap_or_else(|| "Ethernet".to_string());
    let virtual_device = ["VLAN", "BONDING_OPTS", "BRIDGING_OPTS", "TEAM_CONFIG"]
        .iter()
        .any(|key| file.get(key).is_some());
    if !kind.eq_ignore_ascii_case("ethernet") || virtual_device || suffix.contains('.') {
        return None;
    }
    match file.get("DEVICE") {
        Some(device) if config.interface(&device).is_some() => config.interface(&device),
        // An interface of another name with the same address: the server was cloned, or the kernel
        // changed its mind.
        Some(device) if device.contains(['.', ':']) || guest.interface(&device).is_some() => None,
        Some(_) | None => {
            let mac = MacAddr::try_from(file.get("HWADDR")?.as_str()).ok()?;
            config
                .interfaces
                .iter()
                .find(|interface| interface.mac == mac)
        }
    }
}

//! Files that would configure a managed interface twice.

use alloc::vec::Vec;

use super::DIRECTORY;
use crate::effect::GuestPath;
use crate::network::{InterfaceName, MacAddr, NetworkConfig};
use crate::render::guest::Guest;

/// In front of the name of an interface.
const PREFIXES: [&str; 2] = ["ifcfg-", "ifroute-"];

/// Suffixes of files that no program reads as a configuration.
const IGNORED: [&str; 8] = [
    "~",
    ".old",
    ".bak",
    ".orig",
    ".scpmbackup",
    ".rpmnew",
    ".rpmsave",
    ".rpmorig",
];

/// Returns the files to remove, each with its interface.
pub(super) fn find(config: &NetworkConfig, guest: &Guest<'_>) -> Vec<(GuestPath, InterfaceName)> {
    let mut stale = Vec::new();
    for name in guest.list(&DIRECTORY, is_read) {
        let Some(suffix) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) else {
            continue;
        };
        if let (Some(owner), Ok(path)) = (owner(suffix, config), DIRECTORY.join(name)) {
            stale.push((path, owner.clone()));
        }
    }
    stale
}

fn is_read(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && !IGNORED.iter().any(|ignored| name.ends_with(ignored))
}

/// The managed interface that a file means beside the interface's own file: an alias of it, or its
/// address as in old releases.
fn owner<'a>(suffix: &str, config: &'a NetworkConfig) -> Option<&'a InterfaceName> {
    let mac = suffix
        .strip_prefix("eth-id-")
        .and_then(|mac| MacAddr::try_from(mac).ok());
    let alias_of = suffix.split_once(':').map(|(base, _)| base);
    let owner = config.interfaces.iter().find(|interface| match mac {
        Some(mac) => interface.mac == mac,
        None => alias_of == Some(interface.name.as_str()),
    });
    owner.map(|interface| &interface.name)
}

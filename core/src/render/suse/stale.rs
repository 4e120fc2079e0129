//! Files that would configure a managed interface a second time.

use alloc::vec::Vec;

use super::DIRECTORY;
use crate::effect::{EntryKind, GuestPath};
use crate::network::{InterfaceName, MacAddr, NetworkConfig};
use crate::render::guest::Guest;

/// The most files looked at. A server has a handful.
const FILES_MAX: usize = 256;

/// What no program takes for a configuration.
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

/// The files to move away, and which interface each one means.
pub(super) fn find(config: &NetworkConfig, guest: &Guest<'_>) -> Vec<(GuestPath, InterfaceName)> {
    let files = guest
        .entries(&DIRECTORY)
        .iter()
        .filter(|entry| entry.kind != EntryKind::Directory)
        .take(FILES_MAX);
    let mut stale = Vec::new();
    for file in files.filter(|file| !IGNORED.iter().any(|ignored| file.name.ends_with(ignored))) {
        let Some(suffix) = file
            .name
            .strip_prefix("ifcfg-")
            .or_else(|| file.name.strip_prefix("ifroute-"))
        else {
            continue;
        };
        if let (Some(owner), Ok(path)) = (owner(suffix, config), DIRECTORY.join(&file.name)) {
            stale.push((path, owner.clone()));
        }
    }
    stale
}

/// The managed interface that a file means beside the interface's own file: an alias of it, or its address as in old
/// releases.
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

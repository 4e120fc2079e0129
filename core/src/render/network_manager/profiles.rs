//! The existing profiles.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::IpAddr;

use super::DIRECTORY;
use super::nmcli::Old;
use crate::effect::GuestPath;
use crate::network::{Interface, InterfaceName, MacAddr, NetworkConfig};
use crate::render::assignments::Assignments;
use crate::render::guest::Guest;
use crate::render::ini::{Ini, Section};

/// A profile for a managed interface.
#[derive(Debug)]
pub(in crate::render) struct Profile {
    pub(in crate::render) path: GuestPath,
    pub(in crate::render) interface: InterfaceName,
    pub(super) file: Ini,
}

/// The keyfiles that mean a managed interface, the agent's own ones among them. What NetworkManager
/// prefers comes first.
pub(in crate::render) fn find(config: &NetworkConfig, guest: &Guest<'_>) -> Vec<Profile> {
    let mut profiles = Vec::new();
    for name in guest.list(&DIRECTORY, |name| !is_ignored(name)) {
        profiles.extend(profile(name, config, guest));
    }
    profiles.sort_by_key(|profile| Reverse(priority(&profile.file)));
    profiles
}

/// Returns the profile in a file; `None` if it is not for a managed interface. Symlinks are not
/// followed.
fn profile(name: &str, config: &NetworkConfig, guest: &Guest<'_>) -> Option<Profile> {
    let path = DIRECTORY.join(name).ok()?;
    let file = Ini::parse(&guest.text(&path)?);
    let interface = owner(name, &file, config)?.name.clone();
    Some(Profile {
        path,
        interface,
        file,
    })
}

fn priority(file: &Ini) -> i32 {
    file.get("connection", "autoconnect-priority")
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// Returns whether NetworkManager treats a file as a backup or a temporary file.
fn is_ignored(name: &str) -> bool {
    let is_temporary = name.rsplit_once('.').is_some_and(|(_, suffix)| {
        suffix.len() == 6 && suffix.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    name.starts_with('.') || name.ends_with('~') || is_temporary
}

/// The managed interface that a profile is for.
fn owner<'a>(name: &str, file: &Ini, config: &'a NetworkConfig) -> Option<&'a Interface> {
    let from_cloud_init = config
        .interfaces
        .iter()
        .find(|interface| name == format!("cloud-init-{}.nmconnection", interface.name));
    if from_cloud_init.is_some() {
        return from_cloud_init;
    }
    let is_ethernet = match file.get("connection", "type") {
        Some(kind) => matches!(kind, "ethernet" | "802-3-ethernet"),
        None => file
            .sections()
            .any(|section| matches!(section.name(), "ethernet" | "802-3-ethernet")),
    };
    if !is_ethernet {
        return None;
    }
    let mac = of_ethernet(file, "mac-address").and_then(|mac| MacAddr::try_from(mac).ok());
    let interface_name = file.get("connection", "interface-name");
    let by_mac = config
        .interfaces
        .iter()
        .find(|interface| Some(interface.mac) == mac);
    by_mac.or_else(|| config.interface(interface_name?))
}

/// A value of the section that has two names.
pub(super) fn of_ethernet<'a>(file: &'a Ini, key: &'a str) -> Option<&'a str> {
    file.get("ethernet", key)
        .or_else(|| file.get("802-3-ethernet", key))
}

/// The name servers of a family, in the order of the file.
pub(super) fn nameservers(file: Option<&Ini>, family: &str) -> Vec<IpAddr> {
    let list = file
        .and_then(|file| file.get(family, "dns"))
        .unwrap_or_default();
    list.split([';', ','])
        .filter_map(|address| address.trim_ascii().parse().ok())
        .collect()
}

/// Returns how a profile can be activated again.
pub(super) fn old(file: &Ini) -> Old {
    file.get("connection", "uuid")
        .map_or(Old::Unknown, Old::with_uuid)
}

/// Converts the kept settings of an ifcfg file to those of a keyfile.
pub(super) fn of_ifcfg(text: &str) -> Ini {
    let ifcfg = Assignments::parse(text);
    let mut file = Ini::default();
    for (section, key, from) in [
        ("connection", "zone", "ZONE"),
        ("ethernet", "mtu", "MTU"),
        ("ipv4", "dns-search", "DOMAIN"),
    ] {
        let Some(value) = ifcfg
            .get(from)
            .filter(|value| value.bytes().all(|b| b.is_ascii_graphic() || b == b' '))
        else {
            continue;
        };
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        let value: String = match key {
            "dns-search" => words.iter().map(|word| format!("{word};")).collect(),
            _ => words.concat(),
        };
        let mut part = Section::new(section);
        part.push(key, &value);
        file.push(part);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_and_temporary_files_are_no_profiles() {
        for name in [".eth0.nmconnection", "eth0~", "eth0.X7WCDV", "eth0.backup"] {
            assert!(is_ignored(name), "{name}");
        }
        for name in [
            "eth0",
            "eth0.nmconnection",
            "Wired connection 1",
            "eth0.nmconnection.170.bak",
            "eth0.bak",
        ] {
            assert!(!is_ignored(name), "{name}");
        }
    }
}

//! The state of running daemons, from the files that they keep below `/run`.
//!
//! `systemctl`, `nmcli` and `networkctl` would show the same: the first two over a bus that may not
//! be there yet, the last one by reading these files.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::assignments::Assignments;
use super::guest::Guest;
use crate::effect::GuestPath;
use crate::network::NetworkConfig;

/// A link `invocation:NAME.service` for every unit that is active (systemd, `src/core/unit.c`).
pub(super) const SYSTEMD_UNITS: GuestPath = GuestPath::constant("/run/systemd/units");

/// A link for every service that was started (`openrc-run(8)`).
pub(super) const OPENRC_STARTED: GuestPath = GuestPath::constant("/run/openrc/started");

/// The socket of the system's D-Bus.
pub(super) const BUS: GuestPath = GuestPath::constant("/run/dbus/system_bus_socket");

const SYS_CLASS_NET: GuestPath = GuestPath::constant("/sys/class/net");
const NETWORK_MANAGER_DEVICES: GuestPath = GuestPath::constant("/run/NetworkManager/devices");
const NETWORKD_LINKS: GuestPath = GuestPath::constant("/run/systemd/netif/links");

/// Returns the name of the service in an entry of [`SYSTEMD_UNITS`].
pub(super) fn active_unit(entry: &str) -> Option<&str> {
    entry.strip_prefix("invocation:")?.strip_suffix(".service")
}

/// Returns the services that run; none if that is unknown. Before its version 236, systemd showed
/// them only as control groups.
pub(super) fn active_services<'a>(guest: &Guest<'a>) -> Vec<&'a str> {
    const SLICE: GuestPath = GuestPath::constant("/sys/fs/cgroup/systemd/system.slice");

    let (units, groups) = (guest.names(&SYSTEMD_UNITS), guest.names(&SLICE));
    if units.is_empty() {
        groups
            .into_iter()
            .filter_map(|group| group.strip_suffix(".service"))
            .collect()
    } else {
        units.into_iter().filter_map(active_unit).collect()
    }
}

/// Returns whether NetworkManager runs; `None` if it is unknown which services run.
pub(super) fn network_manager_runs(guest: &Guest<'_>) -> Option<bool> {
    let (active, started) = (active_services(guest), guest.names(&OPENRC_STARTED));
    let runs = active.contains(&"NetworkManager") || started.contains(&"NetworkManager");
    (!active.is_empty() || !started.is_empty()).then_some(runs)
}

/// Returns whether NetworkManager manages any of the interfaces; `None` if it has not run. It keeps
/// one file per device that it manages, named after the interface's index.
pub(super) fn network_manager_manages(config: &NetworkConfig, guest: &Guest<'_>) -> Option<bool> {
    let known = guest.names(&NETWORK_MANAGER_DEVICES);
    let managed = indices(config, guest)
        .iter()
        .filter(|index| known.contains(&index.as_str()))
        .filter(|index| !is_set(&NETWORK_MANAGER_DEVICES, index, "managed", "false", guest))
        .count();
    (!known.is_empty()).then_some(managed > 0)
}

/// Returns whether systemd-networkd manages any of the interfaces; `None` if it has not run. It
/// keeps one file per interface.
pub(super) fn networkd_manages(config: &NetworkConfig, guest: &Guest<'_>) -> Option<bool> {
    let known = guest.names(&NETWORKD_LINKS);
    let managed = indices(config, guest)
        .iter()
        .filter(|index| !is_set(&NETWORKD_LINKS, index, "ADMIN_STATE", "unmanaged", guest))
        .count();
    (!known.is_empty()).then_some(managed > 0)
}

/// Returns the kernel's indices of the interfaces.
fn indices(config: &NetworkConfig, guest: &Guest<'_>) -> Vec<String> {
    let mut indices = Vec::new();
    for name in config.names() {
        if let Ok(path) = SYS_CLASS_NET.join(&format!("{name}/ifindex"))
            && let Some(index) = guest.text(&path)
        {
            indices.push(index.trim_ascii().to_string());
        }
    }
    indices
}

fn is_set(directory: &GuestPath, name: &str, key: &str, value: &str, guest: &Guest<'_>) -> bool {
    let text = directory
        .join(name)
        .ok()
        .and_then(|path| guest.text(&path))
        .unwrap_or_default();
    Assignments::parse(&text).get(key).as_deref() == Some(value)
}

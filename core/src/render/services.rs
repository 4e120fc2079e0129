//! Which services of the guest run or start at boot, whatever starts them.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use super::guest::Guest;
use super::running;
use crate::effect::GuestPath;

/// The services that run and those that start at boot.
#[derive(Debug)]
pub(super) struct Services<'a> {
    units: BTreeSet<&'a str>,
    scripts: BTreeSet<&'a str>,
    active: BTreeSet<&'a str>,
    masked: Vec<&'a str>,
}

/// The services that may be masked, and where the mask is.
const ASKED: [(&str, GuestPath); 4] = [
    (
        "NetworkManager",
        GuestPath::constant("/etc/systemd/system/NetworkManager.service"),
    ),
    (
        "systemd-networkd",
        GuestPath::constant("/etc/systemd/system/systemd-networkd.service"),
    ),
    (
        "network",
        GuestPath::constant("/etc/systemd/system/network.service"),
    ),
    (
        "wicked",
        GuestPath::constant("/etc/systemd/system/wicked.service"),
    ),
];

impl<'a> Services<'a> {
    pub(super) fn of(guest: &Guest<'a>) -> Self {
        let names = |directories: &[GuestPath]| {
            directories
                .iter()
                .flat_map(|directory| guest.names(directory))
                .collect::<Vec<&'a str>>()
        };
        let units = names(&[
            GuestPath::constant("/etc/systemd/system/multi-user.target.wants"),
            GuestPath::constant("/etc/systemd/system/network-online.target.wants"),
            GuestPath::constant("/usr/lib/systemd/system/multi-user.target.wants"),
        ]);
        // Red Hat boots to runlevel 3, Debian to 2; OpenRC lists plain names.
        let started = names(&[
            GuestPath::constant("/etc/rc.d/rc3.d"),
            GuestPath::constant("/etc/rc3.d"),
            GuestPath::constant("/etc/rc2.d"),
        ]);
        let openrc = names(&[
            GuestPath::constant("/etc/runlevels/boot"),
            GuestPath::constant("/etc/runlevels/default"),
        ]);
        let masked = ASKED
            .into_iter()
            .filter(|(_, path)| guest.link_target(path) == Some("/dev/null"))
            .map(|(name, _)| name)
            .collect();
        let scripts = started
            .into_iter()
            .filter_map(start_link)
            .chain(openrc)
            .collect();
        let active = names(&[running::SYSTEMD_UNITS])
            .into_iter()
            .filter_map(running::active_unit)
            .chain(names(&[running::OPENRC_STARTED]))
            .collect();
        Self {
            units: units.into_iter().collect(),
            scripts,
            active,
            masked,
        }
    }

    /// Returns whether a service runs or will run: at boot it may not have been started yet.
    pub(super) fn runs_or_is_enabled(&self, name: &str) -> bool {
        // A service that was removed but not purged is masked on Debian, its links stay.
        let enabled =
            self.units.contains(&*format!("{name}.service")) || self.scripts.contains(name);
        self.active.contains(name) || enabled && !self.masked.contains(&name)
    }

    pub(super) fn any_unit(&self, wanted: fn(&str) -> bool) -> bool {
        self.units.iter().any(|name| wanted(name))
    }
}

/// The name of the service that a link like `S10network` starts.
fn start_link(link: &str) -> Option<&str> {
    let (number, name) = link.strip_prefix('S')?.split_at_checked(2)?;
    number
        .bytes()
        .all(|digit| digit.is_ascii_digit())
        .then_some(name)
}

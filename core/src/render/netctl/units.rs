//! The systemd units of profiles. They are made and removed as files, as netctl does, so that a
//! roll-back brings back exactly what was there.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::profile;
use crate::effect::GuestPath;
use crate::network::InterfaceName;
use crate::render::context::Context;
use crate::render::error::Refusal;
use crate::render::guest::Guest;
use crate::render::running;
use crate::render::text::HEADER;

const UNITS: GuestPath = GuestPath::constant("/etc/systemd/system");
const WANTED: GuestPath = GuestPath::constant("/etc/systemd/system/multi-user.target.wants");
const TEMPLATE: &str = "/usr/lib/systemd/system/netctl@.service";

/// A unit that chooses a profile for an interface when there is a carrier.
#[derive(Debug)]
pub(super) struct Automatic {
    pub(super) name: String,
    pub(super) owner: InterfaceName,
    /// What starts it.
    pub(super) link: GuestPath,
}

/// Starts the profile of an interface at boot, as soon as there is the interface.
///
/// # Errors
/// Refuses if a file cannot be edited.
pub(super) fn enable(name: &InterfaceName, cx: &mut Context<'_>) -> Result<(), Refusal> {
    let unit = unit(&profile(name));
    if let Ok(link) = WANTED.join(&unit) {
        cx.link(&link, TEMPLATE);
    }
    let device = device(name);
    let text = format!("{HEADER}[Unit]\nBindsTo={device}\nAfter={device}\n");
    match drop_in(&unit) {
        Some(path) => cx.write(&path, &text),
        None => Ok(()),
    }
}

/// Removes everything that starts a profile at boot.
pub(super) fn disable(profile: &str, cx: &mut Context<'_>) {
    let unit = unit(profile);
    // netctl before 1.19 wrote a unit of its own instead of an addition to the template's.
    let paths = [
        WANTED.join(&unit).ok(),
        UNITS.join(&unit).ok(),
        drop_in(&unit),
    ];
    for path in paths
        .into_iter()
        .flatten()
        .filter(|path| cx.guest.exists(path))
    {
        cx.remove(&path);
    }
}

/// Whether a profile starts at boot.
pub(super) fn is_enabled(profile: &str, guest: &Guest<'_>) -> bool {
    guest.names(&WANTED).contains(&&*unit(profile))
}

/// The units that choose a profile for an interface and would start another one.
pub(super) fn automatic(owner: &InterfaceName, guest: &Guest<'_>) -> Vec<Automatic> {
    let by_device = UNITS.join(&format!("{}.wants", device(owner))).ok();
    let mut found = Vec::new();
    for directory in by_device.into_iter().chain([WANTED]) {
        for kind in ["netctl-auto", "netctl-ifplugd"] {
            let name = format!("{kind}@{}.service", escape(owner.as_str()));
            let Ok(link) = directory.join(&name) else {
                continue;
            };
            if guest.names(&directory).contains(&&*name) {
                found.push(Automatic {
                    name,
                    owner: owner.clone(),
                    link,
                });
            }
        }
    }
    found
}

/// Whether the unit of any profile runs.
pub(super) fn any_is_active(guest: &Guest<'_>) -> bool {
    let units = guest.names(&running::SYSTEMD_UNITS);
    units
        .into_iter()
        .filter_map(running::active_unit)
        .any(|unit| unit.starts_with("netctl"))
}

fn drop_in(unit: &str) -> Option<GuestPath> {
    UNITS
        .join(&format!("{unit}.d"))
        .ok()?
        .join("profile.conf")
        .ok()
}

/// The unit of a profile.
pub(super) fn unit(profile: &str) -> String {
    format!("netctl@{}.service", escape(profile))
}

/// Returns the device unit of an interface.
fn device(name: &InterfaceName) -> String {
    format!("sys-subsystem-net-devices-{}.device", escape(name.as_str()))
}

/// Escapes a name for use in the name of a unit, see systemd.unit(5).
fn escape(name: &str) -> String {
    let mut escaped = String::new();
    for (nth, byte) in name.bytes().enumerate() {
        match byte {
            b'.' if nth == 0 => escaped.push_str("\\x2e"),
            b'.' | b':' | b'_' => escaped.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => escaped.push(byte.into()),
            byte => escaped.push_str(&format!("\\x{byte:02x}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `systemd-escape --template=netctl@.service` of systemd 252 prints them.
    #[test]
    fn units_are_named_as_systemd_escapes_them() {
        for (profile, name) in [
            ("nova-eth0", "netctl@nova\\x2deth0.service"),
            ("a b", "netctl@a\\x20b.service"),
            ("nova-eth0.5", "netctl@nova\\x2deth0.5.service"),
            (".x", "netctl@\\x2ex.service"),
            ("é@+", "netctl@\\xc3\\xa9\\x40\\x2b.service"),
        ] {
            assert_eq!(unit(profile), name);
        }
    }
}

//! Where the hostname is kept over a reboot.

use alloc::format;
use alloc::string::{String, ToString};

use super::assignments::Assignments;
use super::files::{Files, Importance};
use super::guest::Guest;
use super::os::{Os, OsFamily};
use crate::effect::{GuestPath, Step};
use crate::network::Hostname;
use crate::plan::{OnFailure, PlanStep};

const ETC_HOSTNAME: GuestPath = GuestPath::constant("/etc/hostname");
const SYSCONFIG: GuestPath = GuestPath::constant("/etc/sysconfig/network");

/// Stores the name.
///
/// With systemd this is what `hostnamectl` does too, together with [`kernel`]; but it needs a running bus, which a guest
/// does not have early at boot. The same two steps are right on every system.
///
/// # Errors
/// The text for the host, if the place is not known or cannot be edited.
pub(super) fn store(
    hostname: &Hostname,
    os: &Os,
    files: &mut Files<'_, '_>,
    importance: Importance,
) -> Result<(), String> {
    match os.family {
        OsFamily::RedHat if !os.systemd => {
            let text = files.text(&SYSCONFIG)?.unwrap_or_default();
            let mut file = Assignments::parse(&text);
            if file.get("HOSTNAME").as_deref() != Some(hostname.as_str()) {
                file.set("HOSTNAME", hostname.as_str());
            }
            files.write(&SYSCONFIG, &file.text(), importance)
        }
        OsFamily::FreeBsd | OsFamily::Gentoo | OsFamily::Slackware | OsFamily::Suse | OsFamily::Arch if !os.systemd => {
            Err(format!("storing the hostname is not supported: {}", os.name))
        }
        OsFamily::Alpine
        | OsFamily::Arch
        | OsFamily::Debian
        | OsFamily::FreeBsd
        | OsFamily::Gentoo
        | OsFamily::Networkd
        | OsFamily::RedHat
        | OsFamily::Slackware
        | OsFamily::Suse
        | OsFamily::Unknown => files.write(&ETC_HOSTNAME, &format!("{}\n", hostname.as_str()), importance),
    }
}

/// Sets the name in the kernel, unless it has it.
pub(super) fn kernel(hostname: &Hostname, guest: &Guest<'_>, importance: Importance) -> Option<PlanStep> {
    let present = &guest.kernel()?.hostname;
    if present == hostname.as_str() {
        return None;
    }
    let on_failure = match importance {
        Importance::Essential => OnFailure::RollBack,
        Importance::Minor => OnFailure::GoOn,
    };
    Some(PlanStep { on_failure, ..PlanStep::new(Step::SetHostname(hostname.as_str().to_string())) })
}

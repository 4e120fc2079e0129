//! Where the hostname is kept over a reboot.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::assignments::Assignments;
use super::files::{Files, Importance};
use super::freebsd::Overrides;
use super::guest::Guest;
use super::os::{Os, OsFamily};
use super::running::BUS;
use crate::effect::{Change, GuestPath, Program};
use crate::network::Hostname;
use crate::plan::{OnFailure, Step, Undo};

/// What systemd, Debian and many others read.
const ETC_HOSTNAME: GuestPath = GuestPath::constant("/etc/hostname");

/// SUSE before systemd, and Slackware.
const ETC_HOSTNAME_IN_CAPITALS: GuestPath = GuestPath::constant("/etc/HOSTNAME");

const SYSCONFIG: GuestPath = GuestPath::constant("/etc/sysconfig/network");
const CONF_D: GuestPath = GuestPath::constant("/etc/conf.d/hostname");
const RC_CONF: GuestPath = GuestPath::constant("/etc/rc.conf");

const HOSTNAMECTL: &str = "hostnamectl";

/// It starts systemd-hostnamed if that does not run.
const HOSTNAMECTL_MAX: Duration = Duration::from_secs(10);

/// Stores the name.
///
/// With systemd this is what `hostnamectl` does too, together with [`kernel`]; but it needs a running bus, which a guest
/// does not have early at boot. The same two steps are right on every system, and [`announce`] makes the change known.
///
/// # Errors
/// The text for the host, if the place cannot be edited.
pub(super) fn store(
    hostname: &Hostname,
    os: &Os,
    guest: &Guest<'_>,
    files: &mut Files<'_, '_>,
    importance: Importance,
) -> Result<(), String> {
    let line = format!("{}\n", hostname.as_str());
    match os.family {
        OsFamily::RedHat if !os.systemd => {
            assign(hostname, &SYSCONFIG, &["HOSTNAME"], "", files, importance)
        }
        OsFamily::Gentoo if !os.systemd => {
            // OpenRC prefers the other file if it exists, baselayout 1 wants capitals.
            write_if_present(&line, files, importance)?;
            assign(
                hostname,
                &CONF_D,
                &["hostname", "HOSTNAME"],
                "\"",
                files,
                importance,
            )
        }
        OsFamily::Arch if !os.systemd => match files.text(&RC_CONF)? {
            // Made anew, it would say that the scripts that read it are in charge of the network.
            None => files.write(&ETC_HOSTNAME, &line, importance),
            Some(text) => {
                // Later versions prefer this one.
                write_if_present(&line, files, importance)?;
                let is_missing = Assignments::for_editing(&RC_CONF, &text)?
                    .get("HOSTNAME")
                    .is_none();
                if is_missing && files.text(&ETC_HOSTNAME)?.is_some() {
                    return Ok(());
                }
                assign(hostname, &RC_CONF, &["HOSTNAME"], "\"", files, importance)
            }
        },
        OsFamily::FreeBsd => {
            assign(hostname, &RC_CONF, &["hostname"], "\"", files, importance)?;
            let is_name = |key: &str| key == "hostname";
            Overrides::load(&is_name, guest, files)?.remove(&is_name, files, importance)
        }
        OsFamily::Slackware => files.write(&ETC_HOSTNAME_IN_CAPITALS, &line, importance),
        OsFamily::Suse if !os.systemd => files.write(&ETC_HOSTNAME_IN_CAPITALS, &line, importance),
        OsFamily::Alpine
        | OsFamily::Arch
        | OsFamily::Debian
        | OsFamily::Gentoo
        | OsFamily::Networkd
        | OsFamily::RedHat
        | OsFamily::Suse
        | OsFamily::Unknown => files.write(&ETC_HOSTNAME, &line, importance),
    }
}

/// Writes `/etc/hostname` where it is not the usual place.
fn write_if_present(
    line: &str,
    files: &mut Files<'_, '_>,
    importance: Importance,
) -> Result<(), String> {
    match files.text(&ETC_HOSTNAME)? {
        Some(_) => files.write(&ETC_HOSTNAME, line, importance),
        None => Ok(()),
    }
}

/// Sets each of the keys that a file has, or else the first one.
fn assign(
    hostname: &Hostname,
    path: &GuestPath,
    keys: &[&str],
    quote: &str,
    files: &mut Files<'_, '_>,
    importance: Importance,
) -> Result<(), String> {
    let text = files.text(path)?.unwrap_or_default();
    let mut file = Assignments::for_editing(path, &text)?;
    let mut present: Vec<&str> = keys
        .iter()
        .copied()
        .filter(|key| file.get(key).is_some())
        .collect();
    if present.is_empty() {
        present.extend(keys.first());
    }
    for key in present {
        if file.get(key).as_deref() != Some(hostname.as_str()) {
            file.set(key, &format!("{quote}{}{quote}", hostname.as_str()));
        }
    }
    files.write(path, &file.text(), importance)
}

/// Tells systemd-hostnamed, and through it everybody who keeps the name in mind, NetworkManager for one. It finds everything
/// as it would have made it, so it does not matter whether it succeeds.
pub(super) fn announce(hostname: &Hostname, os: &Os, guest: &Guest<'_>) -> Option<Step> {
    let has_bus = guest.exists(&BUS);
    guest
        .program(HOSTNAMECTL)
        .filter(|_| os.systemd && has_bus)?;
    let program = Program::new(
        [HOSTNAMECTL, "set-hostname", hostname.as_str()],
        HOSTNAMECTL_MAX,
    );
    Some(Step {
        on_failure: OnFailure::GoOn,
        undo: Undo::Steps(Vec::new()),
        ..Step::new(Change::Run(program))
    })
}

/// Sets the name in the kernel, unless it has it.
pub(super) fn kernel(
    hostname: &Hostname,
    guest: &Guest<'_>,
    importance: Importance,
) -> Option<Step> {
    let present = &guest.kernel()?.hostname;
    if present == hostname.as_str() {
        return None;
    }
    let on_failure = match importance {
        Importance::Essential => OnFailure::RollBack,
        Importance::Minor => OnFailure::GoOn,
    };
    Some(Step {
        on_failure,
        ..Step::new(Change::SetHostname(hostname.as_str().to_string()))
    })
}

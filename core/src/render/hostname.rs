//! Stores the hostname, so that it survives a reboot.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::assignments::Assignments;
use super::context::Context;
use super::error::Refusal;
use super::files::Importance;
use super::guest::Guest;
use super::os::OsFamily;
use super::rc_conf_overrides::Overrides;
use super::running::BUS;
use crate::effect::{Change, GuestPath, Program};
use crate::network::Hostname;
use crate::plan::{OnFailure, Step, Undo};

/// What systemd, Debian and many others read.
const ETC_HOSTNAME: GuestPath = GuestPath::constant("/etc/hostname");

/// SUSE before systemd, and Slackware.
const ETC_HOSTNAME_IN_CAPITALS: GuestPath = GuestPath::constant("/etc/HOSTNAME");

const RC_CONF: GuestPath = GuestPath::constant("/etc/rc.conf");

/// A variable that holds the name, in a file that a shell reads.
struct Variable {
    path: GuestPath,
    /// Its names: each one that the file has is set, or else the first one.
    names: &'static [&'static str],
    quote: &'static str,
}

/// Red Hat before systemd.
const SYSCONFIG: Variable = Variable {
    path: GuestPath::constant("/etc/sysconfig/network"),
    names: &["HOSTNAME"],
    quote: "",
};

/// OpenRC; baselayout 1 wants capitals.
const CONF_D: Variable = Variable {
    path: GuestPath::constant("/etc/conf.d/hostname"),
    names: &["hostname", "HOSTNAME"],
    quote: "\"",
};

/// Arch Linux before systemd.
const ARCH: Variable = Variable {
    path: RC_CONF,
    names: &["HOSTNAME"],
    quote: "\"",
};

const FREEBSD: Variable = Variable {
    path: RC_CONF,
    names: &["hostname"],
    quote: "\"",
};

const HOSTNAMECTL: &str = "hostnamectl";

/// It starts systemd-hostnamed if that does not run.
const HOSTNAMECTL_MAX: Duration = Duration::from_secs(10);

/// Stores the name in the place that the system reads at boot.
///
/// With systemd this is what `hostnamectl` does too, together with [`kernel`]; but it needs a
/// running bus, which a guest does not have early at boot. The same two steps are right on every
/// system, and [`announce`] makes the change known.
///
/// # Errors
/// Refuses if the place cannot be edited.
pub(super) fn store(
    hostname: &Hostname,
    importance: Importance,
    cx: &mut Context<'_>,
) -> Result<(), Refusal> {
    let line = format!("{}\n", hostname.as_str());
    let os = cx.os;
    match os.family {
        OsFamily::RedHat if !os.systemd => assign(hostname, &SYSCONFIG, importance, cx),
        OsFamily::Gentoo if !os.systemd => {
            // OpenRC prefers the other file if it exists.
            write_if_present(&line, importance, cx)?;
            assign(hostname, &CONF_D, importance, cx)
        }
        OsFamily::Arch if !os.systemd => match cx.text(&RC_CONF)? {
            // A new rc.conf would enable the scripts that read it to configure the network.
            None => cx.write_with(&ETC_HOSTNAME, &line, importance),
            Some(text) => {
                // Later versions prefer this one.
                write_if_present(&line, importance, cx)?;
                let is_missing = Assignments::for_editing(&RC_CONF, &text)?
                    .get("HOSTNAME")
                    .is_none();
                if is_missing && cx.text(&ETC_HOSTNAME)?.is_some() {
                    return Ok(());
                }
                assign(hostname, &ARCH, importance, cx)
            }
        },
        OsFamily::FreeBsd => {
            assign(hostname, &FREEBSD, importance, cx)?;
            let is_name = |key: &str| key == "hostname";
            Overrides::load(&is_name, cx)?.remove(&is_name, importance, cx)
        }
        OsFamily::Slackware => cx.write_with(&ETC_HOSTNAME_IN_CAPITALS, &line, importance),
        OsFamily::Suse if !os.systemd => {
            cx.write_with(&ETC_HOSTNAME_IN_CAPITALS, &line, importance)
        }
        OsFamily::Alpine
        | OsFamily::Arch
        | OsFamily::Debian
        | OsFamily::Gentoo
        | OsFamily::Networkd
        | OsFamily::RedHat
        | OsFamily::Suse
        | OsFamily::Unknown => cx.write_with(&ETC_HOSTNAME, &line, importance),
    }
}

/// Writes `/etc/hostname` where it is not the usual place.
fn write_if_present(
    line: &str,
    importance: Importance,
    cx: &mut Context<'_>,
) -> Result<(), Refusal> {
    match cx.text(&ETC_HOSTNAME)? {
        Some(_) => cx.write_with(&ETC_HOSTNAME, line, importance),
        None => Ok(()),
    }
}

fn assign(
    hostname: &Hostname,
    variable: &Variable,
    importance: Importance,
    cx: &mut Context<'_>,
) -> Result<(), Refusal> {
    let Variable { path, names, quote } = variable;
    let text = cx.text(path)?.unwrap_or_default();
    let mut file = Assignments::for_editing(path, &text)?;
    let mut present: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| file.get(name).is_some())
        .collect();
    if present.is_empty() {
        present.extend(names.first());
    }
    for name in present {
        if file.get(name).as_deref() != Some(hostname.as_str()) {
            file.set(name, &format!("{quote}{}{quote}", hostname.as_str()));
        }
    }
    cx.write_with(path, &file.text(), importance)
}

/// Announces the name to systemd-hostnamed and, through it, to programs that remember it, such as
/// NetworkManager. It finds everything as it would have made it, so a failure does not matter.
pub(super) fn announce(hostname: &Hostname, cx: &Context<'_>) -> Option<Step> {
    let has_bus = cx.guest.exists(&BUS);
    cx.guest
        .program(HOSTNAMECTL)
        .filter(|_| cx.os.systemd && has_bus)?;
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
    importance: Importance,
    guest: &Guest<'_>,
) -> Option<Step> {
    let present = &guest.kernel()?.hostname;
    if present == hostname.as_str() {
        return None;
    }
    Some(Step {
        on_failure: importance.into(),
        ..Step::new(Change::SetHostname(hostname.as_str().to_string()))
    })
}

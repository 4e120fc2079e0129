//! Makes a running NetworkManager load and activate changed profiles.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::effect::{GuestPath, Program};
use crate::network::{Interface, InterfaceName, NetworkConfig};
use crate::render::guest::Guest;
use crate::render::restart::{Activation, BatchPrograms, affected, batch};
use crate::render::running::{self, BUS};

/// The exit code of `nmcli` for that, from nmcli(1).
const NOT_RUNNING: i32 = 8;

/// Reading a few files.
const LOAD_MAX: Duration = Duration::from_secs(4);

/// How long an activation may take. IPv6 looks for another owner of each address, all at once, for
/// a second or two.
const UP_SECONDS: u64 = 20;

/// The same when there is less time, for what worked before.
const UP_AGAIN_SECONDS: u64 = 8;

/// For `nmcli` to start, and to tell that the time is over.
const MARGIN_SECONDS: u64 = 2;

/// The longest name of a profile that is given to `nmcli`.
const UUID_MAX: usize = 64;

/// The profile of an interface, before and after.
#[derive(Debug)]
pub(in crate::render) struct Connection {
    interface: InterfaceName,
    uuid: String,
    /// Every file that held a profile for the interface or holds one now.
    pub(in crate::render) paths: Vec<GuestPath>,
    pub(in crate::render) old: Old,
}

impl Connection {
    /// The new profile of an interface, with nothing known of files yet.
    pub(in crate::render) fn new(interface: &Interface, uuid: String) -> Self {
        Self {
            interface: interface.name.clone(),
            uuid,
            paths: Vec::new(),
            old: Old::default(),
        }
    }
}

/// The profile that a roll-back brings back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::render) enum Old {
    /// No file had one.
    #[default]
    Nothing,
    /// One without a UUID of its own: NetworkManager finds it by the interface.
    Unknown,
    /// The one with this UUID.
    Uuid(String),
}

impl Old {
    /// By the UUID as a file has it.
    pub(in crate::render) fn with_uuid(text: &str) -> Self {
        let is_uuid =
            text.len() <= UUID_MAX && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let starts_well = text.starts_with(|c: char| c.is_ascii_hexdigit());
        if is_uuid && starts_well {
            Self::Uuid(text.to_string())
        } else {
            Self::Unknown
        }
    }
}

/// Loads and activates the profiles of the interfaces that are affected. If NetworkManager does not
/// run yet, it reads the files when it starts.
pub(in crate::render) fn activation(
    config: &NetworkConfig,
    changed: &BTreeSet<InterfaceName>,
    connections: &[Connection],
    guest: &Guest<'_>,
) -> Activation {
    let interfaces = affected(config, changed, guest);
    // If that is unknown, it may run if there is a bus; if it does not, `nmcli` says so.
    let bus = guest.exists(&BUS);
    if !running::network_manager_runs(guest).unwrap_or(bus) {
        return Activation::default();
    }
    let connections: Vec<&Connection> = interfaces
        .iter()
        .filter_map(|interface| {
            connections
                .iter()
                .find(|connection| connection.interface == interface.name)
        })
        .collect();
    let mut programs = BatchPrograms::default();
    // A profile that it refuses to load cannot be activated in the next step.
    programs.try_run(load(&connections));
    programs.restore(load(&connections));
    for connection in connections {
        programs.run(up(["uuid", &connection.uuid], UP_SECONDS));
        if let Some(again) = again(connection) {
            programs.restore(again);
        }
    }
    batch(&interfaces, programs, guest)
}

/// Loads every file of the profiles; one that is gone takes its profile along.
fn load(connections: &[&Connection]) -> Program {
    let paths = connections
        .iter()
        .flat_map(|connection| &connection.paths)
        .map(GuestPath::as_str);
    program(["connection", "load"].into_iter().chain(paths), LOAD_MAX)
}

/// Brings the old profile up again. By the name of the interface, it is the one that the next boot
/// would choose.
fn again(Connection { interface, old, .. }: &Connection) -> Option<Program> {
    let which = match old {
        Old::Uuid(uuid) => ["uuid", uuid],
        Old::Unknown => ["ifname", interface.as_str()],
        // What lives in memory comes back by itself when the new profile is gone.
        Old::Nothing => return None,
    };
    Some(up(which, UP_AGAIN_SECONDS))
}

fn up(which: [&str; 2], seconds: u64) -> Program {
    let wait = seconds.to_string();
    let arguments = ["--wait", &wait, "connection", "up"]
        .into_iter()
        .chain(which);
    program(
        arguments,
        Duration::from_secs(seconds.saturating_add(MARGIN_SECONDS)),
    )
}

fn program<'a>(arguments: impl Iterator<Item = &'a str>, timeout: Duration) -> Program {
    let mut program = Program::new(core::iter::once("nmcli").chain(arguments), timeout);
    program.accept.push(NOT_RUNNING);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_uuid_never_reaches_a_command() {
        let uuid = "5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03";
        assert_eq!(Old::with_uuid(uuid), Old::Uuid(uuid.into()));
        for text in ["", "-a", "a b", "a\u{e9}", "xyz", &"0".repeat(UUID_MAX + 1)] {
            assert_eq!(Old::with_uuid(text), Old::Unknown, "{text:?}");
        }
    }
}

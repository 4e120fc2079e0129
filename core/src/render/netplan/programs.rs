//! The programs that make netplan's backends take the files.

use core::time::Duration;

use super::kept::NETWORKD;
use crate::effect::Program;
use crate::network::Interface;
use crate::render::restart::{BatchPrograms, flush};
use crate::render::systemd;

/// It reads and writes a few files, but since its version 1.0 it also makes systemd reload all of
/// its units, which runs every generator.
const GENERATE_MAX: Duration = Duration::from_secs(10);

/// It restarts the backend, and asks udev about every interface before that.
const APPLY_MAX: Duration = Duration::from_secs(20);

/// The same, when there is less time.
const RESTORE_MAX: Duration = Duration::from_secs(15);

/// Applies the files. Older versions of networkd keep addresses that are no longer in them.
pub(super) fn apply(interfaces: &[&Interface], keeps_addresses: bool) -> BatchPrograms {
    let mut programs = BatchPrograms::default();
    programs.run(generate());
    for interface in interfaces.iter().filter(|_| keeps_addresses) {
        programs.try_run(flush(&interface.name));
        programs.restore(flush(&interface.name));
    }
    programs.run(Program::new(["netplan", "apply"], APPLY_MAX));
    programs.restore(Program::new(["netplan", "apply"], RESTORE_MAX));
    programs
}

/// At boot, the backends find the files when they start, which waits for the agent.
pub(super) fn apply_at_start(waiting: &[&str]) -> BatchPrograms {
    let mut programs = BatchPrograms::default();
    programs.run(generate());
    for backend in waiting {
        programs.try_run(match *backend {
            NETWORKD => systemd::start_later("systemd-networkd"),
            backend => systemd::start_later(backend),
        });
    }
    programs.restore(generate());
    programs
}

fn generate() -> Program {
    Program::new(["netplan", "generate"], GENERATE_MAX)
}

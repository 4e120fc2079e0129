//! How a changed configuration is brought into effect.
//!
//! [`per_interface`] is for stacks that take interfaces down with their old configuration and up
//! with the new one, [`batch`] for those that are told of all changes at once.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::guest::Guest;
use super::verify;
use crate::address::is_global;
use crate::effect::{Change, InterfaceState, Program};
use crate::network::{Interface, InterfaceName, NetworkConfig};
use crate::plan::{Budget, OnFailure, Step, Undo};

/// The host waits about 60 s for a response. The rest is for files, for killing programs that hang,
/// and for the host's own delays.
pub(super) const BUDGET: Budget = Budget {
    apply: Duration::from_secs(26),
    roll_back: Duration::from_secs(20),
};

/// Bringing an interface up takes time for every address: `arping` or the kernel looks for another
/// owner of it.
const UP_MAX: Duration = Duration::from_secs(25);

/// Taking an interface down runs no check of the network; a DHCP client gives its lease back.
const DOWN_MAX: Duration = Duration::from_secs(5);

/// Removing addresses is one call of the kernel; the time is for starting the program on a busy
/// guest.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// The programs of a stack that restarts one interface after the other; the name of the interface
/// is added to each.
#[derive(Clone, Copy, Debug)]
pub(super) struct InterfacePrograms {
    pub(super) up: &'static [&'static str],
    pub(super) down: &'static [&'static str],
    /// Takes down what the stack does not know to be up.
    pub(super) force_down: &'static [&'static str],
}

/// The steps before and after the changes of the files.
#[derive(Debug, Default)]
pub(super) struct Activation {
    pub(super) before: Vec<Step>,
    pub(super) after: Vec<Step>,
    /// Whether the old configuration is worth going back to.
    pub(super) old: OldState,
    /// Whether the service that reads the files starts only after the agent, as at boot: until then
    /// the kernel shows no effect.
    pub(super) starts_later: bool,
}

/// The configuration that a roll-back would restore.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum OldState {
    /// A configuration whose addresses are in use, as far as the kernel tells.
    #[default]
    Usable,
    /// That of the server from which this one was cloned: none of its addresses is in use, so there
    /// is no way back.
    Stale,
}

/// The programs of a stack that is told of all changes at once.
#[derive(Debug, Default)]
pub(super) struct BatchPrograms {
    before: Vec<Program>,
    after: Vec<Step>,
    restore: Vec<Change>,
}

impl BatchPrograms {
    /// Adds a program that runs before the files change. The plan goes on if it fails.
    pub(super) fn run_before(&mut self, program: Program) {
        self.before.push(program);
    }

    /// Adds a program that runs when the files have changed. The plan is rolled back if it fails.
    pub(super) fn run(&mut self, program: Program) {
        self.after.push(Step {
            undo: Undo::Steps(Vec::new()),
            ..Step::new(Change::Run(program))
        });
    }

    /// Adds a program that runs when the files have changed. The plan goes on if it fails.
    pub(super) fn try_run(&mut self, program: Program) {
        self.after.push(tolerated(Change::Run(program)));
    }

    /// Adds a program that runs after a roll-back, when the files are what they were.
    pub(super) fn restore(&mut self, program: Program) {
        self.restore.push(Change::Run(program));
    }
}

/// Returns the interfaces whose configuration changed, and those whose state in the kernel is
/// incomplete.
///
/// Interfaces with a default gateway come last: their outage is the one that people notice.
pub(super) fn affected<'c>(
    config: &'c NetworkConfig,
    changed: &BTreeSet<InterfaceName>,
    guest: &Guest<'_>,
) -> Vec<&'c Interface> {
    let (last, mut interfaces): (Vec<_>, Vec<_>) = config
        .interfaces
        .iter()
        .filter(|interface| changed.contains(&interface.name) || verify::differs(interface, guest))
        .partition(|interface| interface.has_gateway());
    interfaces.extend(last);
    interfaces
}

/// Runs the programs of a stack once for all interfaces that are affected; nothing if there are
/// none.
pub(super) fn batch(
    interfaces: &[&Interface],
    programs: BatchPrograms,
    guest: &Guest<'_>,
) -> Activation {
    let mut activation = Activation {
        old: old_state(interfaces, guest),
        ..Activation::default()
    };
    if interfaces.is_empty() {
        return activation;
    }
    // Undone last, when the files are back.
    activation.before.push(Step::only_undo(programs.restore));
    for program in programs.before {
        activation.before.push(tolerated(Change::Run(program)));
    }
    activation.after = programs.after;
    activation
}

/// Like [`batch`], for a service that starts only after the agent, as at boot: until then the
/// kernel shows no effect.
pub(super) fn batch_at_start(
    interfaces: &[&Interface],
    programs: BatchPrograms,
    guest: &Guest<'_>,
) -> Activation {
    Activation {
        starts_later: !interfaces.is_empty(),
        ..batch(interfaces, programs, guest)
    }
}

fn tolerated(step: Change) -> Step {
    Step {
        on_failure: OnFailure::GoOn,
        undo: Undo::Steps(Vec::new()),
        ..Step::new(step)
    }
}

/// Restarts the interfaces that are affected, one after the other.
pub(super) fn per_interface(
    config: &NetworkConfig,
    changed: &BTreeSet<InterfaceName>,
    programs: InterfacePrograms,
    guest: &Guest<'_>,
) -> Activation {
    let interfaces = affected(config, changed, guest);
    let mut activation = Activation {
        old: old_state(&interfaces, guest),
        ..Activation::default()
    };
    for interface in interfaces {
        let name = &interface.name;
        // It fails if the interface was not up or its addresses were removed by hand; the plan must
        // go on.
        let was_down = state(interface, guest).is_some_and(|state| !state.up) && can_tell(guest);
        let back_up = if was_down {
            Vec::new()
        } else {
            Vec::from([programs.up(name)])
        };
        activation.before.push(Step {
            on_failure: OnFailure::GoOn,
            undo: Undo::Steps(back_up),
            ..Step::new(Change::Run(program(programs.down, name, DOWN_MAX)))
        });
        // A leftover address makes the next step fail with `File exists`.
        activation.after.push(tolerated(Change::Run(flush(name))));
        activation.after.push(Step {
            on_failure: OnFailure::Retry(programs.clear(name)),
            undo: Undo::Steps(programs.clear(name)),
            ..Step::new(programs.up(name))
        });
    }
    activation
}

impl InterfacePrograms {
    fn up(&self, name: &InterfaceName) -> Change {
        Change::Run(program(self.up, name, UP_MAX))
    }

    /// Takes down an interface that was only half brought up.
    fn clear(&self, name: &InterfaceName) -> Vec<Change> {
        let force_down = program(self.force_down, name, DOWN_MAX);
        Vec::from([Change::Run(force_down), Change::Run(flush(name))])
    }
}

fn program(argv: &[&str], name: &InterfaceName, timeout: Duration) -> Program {
    Program::new(argv.iter().copied().chain([name.as_str()]), timeout)
}

/// Removes the addresses of both families; the routes go with them.
pub(super) fn flush(name: &InterfaceName) -> Program {
    Program::new(
        [
            "ip",
            "addr",
            "flush",
            "dev",
            name.as_str(),
            "scope",
            "global",
        ],
        FLUSH_MAX,
    )
}

fn state<'a>(interface: &Interface, guest: &Guest<'a>) -> Option<&'a InterfaceState> {
    guest.interface(interface.name.as_str())
}

/// Returns whether the system shows addresses at all: then at least the loopback interface has one.
fn can_tell(guest: &Guest<'_>) -> bool {
    guest
        .interfaces()
        .iter()
        .any(|interface| !interface.addresses.is_empty())
}

/// Interfaces that stay as they are count, too: the files and the service of a stack concern all of
/// them.
fn old_state(interfaces: &[&Interface], guest: &Guest<'_>) -> OldState {
    let in_use = guest.interfaces().iter().any(|state| {
        let is_meant = state.physical
            || interfaces
                .iter()
                .any(|interface| interface.name.as_str() == state.name);
        is_meant
            && state
                .addresses
                .iter()
                .any(|(address, _)| is_global(*address))
    });
    if !interfaces.is_empty() && !in_use && can_tell(guest) {
        OldState::Stale
    } else {
        OldState::Usable
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use crate::effect::{Done, Effect, Failure, Outcome, Snapshot};
    use crate::network::validate;
    use crate::plan::{Next, Plan, Runner};
    use crate::time::Instant;

    use super::*;

    const PROGRAMS: InterfacePrograms = InterfacePrograms {
        up: &["ifup"],
        down: &["ifdown"],
        force_down: &["ifdown", "--force"],
    };

    /// Carries a plan out whose every program hangs until it is killed; returns how long that
    /// takes.
    fn hang(plan: Plan) -> Duration {
        let mut now = Instant::default();
        let mut runner = Runner::new(plan, now);
        loop {
            match runner.poll(now) {
                Next::Perform(Effect::Change(Change::Run(program))) => {
                    now = now.after(program.timeout);
                    runner.handle_outcome(
                        Outcome::Failed(Failure::TimedOut {
                            output: String::new(),
                        }),
                        now,
                    );
                }
                Next::Wait(at) => now = at,
                // The kernel never shows what it shall.
                Next::Perform(Effect::Probe(_)) => {
                    runner.handle_outcome(
                        Outcome::Failed(Failure::TimedOut {
                            output: String::new(),
                        }),
                        now,
                    );
                }
                Next::Perform(_) => runner.handle_outcome(Outcome::Done(Done::default()), now),
                Next::Finished(_) => return now.since_origin(),
            }
        }
    }

    #[test]
    fn a_configuration_that_another_interface_uses_is_worth_going_back_to() {
        let interface = |nth: u32, address: &str| InterfaceState {
            name: format!("eth{nth}"),
            mac: format!("00163e0000{nth:02x}").as_str().try_into().ok(),
            physical: true,
            vif: Some(nth),
            master: None,
            driver: None,
            up: true,
            addresses: Vec::from([(address.parse().unwrap(), 24)]),
        };
        let old = |first: &str| {
            let interfaces = Vec::from([interface(0, first), interface(1, "169.254.0.1")]);
            let snapshot = Snapshot {
                interfaces: Some(interfaces),
                routes: Some(Vec::new()),
                ..Snapshot::default()
            };
            let guest = Guest::new(&snapshot);
            let value = |nth| {
                format!("{{\"ips\": [{{\"ip\": \"10.0.{nth}.1\", \"netmask\": 24}}]}}").into_bytes()
            };
            let networking = [
                ("00163e000000".into(), value(0)),
                ("00163e000001".into(), value(1)),
            ];
            let config = validate(&networking, &[], guest.interfaces()).config;
            per_interface(&config, &BTreeSet::new(), PROGRAMS, &guest).old
        };
        assert_eq!(old("10.0.0.1"), OldState::Usable);
        assert_eq!(old("169.254.0.2"), OldState::Stale);
    }

    #[test]
    fn going_forward_and_back_again_ends_in_time_even_if_every_program_hangs() {
        for count in 1..=7 {
            let mac = |nth: u32| format!("00163e0000{nth:02x}");
            let value = |nth: u32| {
                format!("{{\"ips\": [{{\"ip\": \"10.0.{nth}.1\", \"netmask\": 24}}]}}").into_bytes()
            };
            let networking: Vec<_> = (0..count).map(|nth| (mac(nth), value(nth))).collect();
            let interfaces = (0..count).map(|nth| InterfaceState {
                name: format!("eth{nth}"),
                mac: mac(nth).as_str().try_into().ok(),
                physical: true,
                vif: Some(nth),
                master: None,
                driver: None,
                up: true,
                addresses: Vec::new(),
            });
            let snapshot = Snapshot {
                interfaces: Some(interfaces.collect()),
                ..Snapshot::default()
            };
            let guest = Guest::new(&snapshot);
            let config = validate(&networking, &[], guest.interfaces()).config;
            let changed = config
                .interfaces
                .iter()
                .map(|interface| interface.name.clone())
                .collect();
            let Activation { before, after, .. } =
                per_interface(&config, &changed, PROGRAMS, &guest);

            let steps: Vec<Step> = before.into_iter().chain(after).collect();
            assert_eq!(steps.len(), config.interfaces.len() * 3);
            let took = hang(Plan {
                steps,
                budget: Some(BUDGET),
                ..Plan::default()
            });
            // With more than a few interfaces, bringing the network back matters more than the
            // host's patience.
            let most = Duration::from_secs(if count <= 3 { 50 } else { 70 });
            assert!(took > BUDGET.apply / 2 && took <= most, "{count}: {took:?}");
        }
    }
}

//! Taking interfaces down with their old configuration and up with the new one, for stacks that do it one by one.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::guest::Guest;
use crate::effect::{InterfaceState, Program, Step};
use crate::network::{Interface, InterfaceName, NetworkConfig};
use crate::plan::{OnFailure, PlanStep, Undo};

/// The host waits about 60 s for an answer; what is left is for files and for the host's own delays.
const APPLY_AND_ROLL_BACK: Duration = Duration::from_secs(48);

/// How often each interface is taken down and up at worst: at first, at the second try, and at the roll-back.
const ROUNDS: u64 = 3;

/// Taking an interface down runs no check of the network.
const DOWN_MAX: Duration = Duration::from_secs(2);

/// Removing addresses is one call of the kernel; the time is for starting the program on a busy guest.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// An interface without addresses counts like this many of them when the time is shared out.
const BASE_WEIGHT: u64 = 2;

/// The programs that a stack uses; the name of the interface is added to each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commands {
    pub(super) up: &'static [&'static str],
    pub(super) down: &'static [&'static str],
    /// Takes down what the stack does not know to be up.
    pub(super) force_down: &'static [&'static str],
}

/// Steps around the changes of the files.
#[derive(Debug, Default)]
pub(super) struct Activation {
    pub(super) before: Vec<PlanStep>,
    pub(super) after: Vec<PlanStep>,
    /// Whether the old configuration is worth going back to.
    pub(super) old: OldState,
}

/// What a roll-back would bring back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum OldState {
    /// A configuration that works, as far as one can tell.
    #[default]
    Usable,
    /// That of the server from which this one was cloned: no address of it is in use. The second try is all there is.
    Worthless,
}

/// Restarts the interfaces whose configuration changed, and those that lack an address that they should have.
///
/// Private interfaces come first, the one with the default gateway last: it is the one that people notice.
pub(super) fn one_by_one(
    config: &NetworkConfig,
    changed: &BTreeSet<InterfaceName>,
    commands: Commands,
    guest: &Guest<'_>,
) -> Activation {
    let mut interfaces: Vec<&Interface> = config
        .interfaces
        .iter()
        .filter(|interface| changed.contains(&interface.name) || lacks_an_address(interface, guest))
        .collect();
    interfaces.sort_by_key(|interface| interface.has_gateway());
    let timeouts = Timeouts::share(&interfaces);
    let old = old_state(&interfaces, guest);

    let mut activation = Activation { old, ..Activation::default() };
    for interface in &interfaces {
        let name = &interface.name;
        let up = || Step::Run(program(commands.up, name, timeouts.up(interface)));
        let down = || Step::Run(program(commands.down, name, timeouts.down));
        let clear = || {
            let force_down = Step::Run(program(commands.force_down, name, timeouts.down));
            alloc::vec![force_down, flush(name, timeouts.flush)]
        };
        let undo = |steps: Vec<Step>| match old {
            OldState::Usable => Undo::Steps(steps),
            OldState::Worthless => Undo::Steps(Vec::new()),
        };
        // It fails if the interface was not up or its addresses were removed by hand: that must not stop anything.
        let was_down = state(interface, guest).is_some_and(|state| !state.up) && can_tell(guest);
        let back_up = if was_down { Vec::new() } else { alloc::vec![up()] };
        activation.before.push(PlanStep { step: down(), on_failure: OnFailure::GoOn, undo: undo(back_up) });
        // An address that is left over makes the next step fail with `File exists`.
        activation.after.push(PlanStep {
            step: flush(name, timeouts.flush),
            on_failure: OnFailure::GoOn,
            undo: Undo::Steps(Vec::new()),
        });
        activation.after.push(PlanStep { step: up(), on_failure: OnFailure::Retry(clear()), undo: undo(clear()) });
    }
    activation
}

/// How long each program may take, so that all rounds of all interfaces end in time.
#[derive(Debug)]
struct Timeouts {
    down: Duration,
    flush: Duration,
    /// For one unit of weight.
    up: Duration,
}

impl Timeouts {
    /// Bringing an interface up takes time for every address: `arping` or the kernel looks for another owner of it.
    fn share(interfaces: &[&Interface]) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let count = u64::try_from(interfaces.len()).unwrap_or(u64::MAX).max(1);
        let round = millis(APPLY_AND_ROLL_BACK).checked_div(ROUNDS).unwrap_or_default();
        let each = round.checked_div(count).unwrap_or_default();
        // With many interfaces, going down may take a quarter and flushing an eighth of the time.
        let down = millis(DOWN_MAX).min(each >> 2);
        let flush = millis(FLUSH_MAX).min(each >> 3);
        let rest = round.saturating_sub(down.saturating_add(flush).saturating_mul(count));
        let weights = interfaces.iter().map(|interface| weight(interface)).fold(0_u64, u64::saturating_add);
        let up = rest.checked_div(weights).unwrap_or(rest);
        Self { down: Duration::from_millis(down), flush: Duration::from_millis(flush), up: Duration::from_millis(up) }
    }

    fn up(&self, interface: &Interface) -> Duration {
        self.up.saturating_mul(u32::try_from(weight(interface)).unwrap_or(u32::MAX))
    }
}

fn weight(interface: &Interface) -> u64 {
    u64::try_from(interface.addresses().count()).unwrap_or(u64::MAX).saturating_add(BASE_WEIGHT)
}

fn program(argv: &[&str], name: &InterfaceName, timeout: Duration) -> Program {
    Program::new(argv.iter().copied().chain([name.as_str()]), timeout)
}

/// Removes the addresses of both families; the routes go with them.
fn flush(name: &InterfaceName, timeout: Duration) -> Step {
    let argv = ["ip", "addr", "flush", "dev", name.as_str(), "scope", "global"].map(String::from);
    Step::Run(Program::new(argv, timeout))
}

fn state<'a>(interface: &Interface, guest: &Guest<'a>) -> Option<&'a InterfaceState> {
    guest.interface(interface.name.as_str())
}

/// Whether the system tells addresses at all: then at least the loopback interface has one.
fn can_tell(guest: &Guest<'_>) -> bool {
    guest.interfaces().iter().any(|interface| !interface.addresses.is_empty())
}

fn lacks_an_address(interface: &Interface, guest: &Guest<'_>) -> bool {
    state(interface, guest).is_some_and(|state| {
        !state.addresses.is_empty()
            && interface.addresses().any(|wanted| !state.addresses.contains(&(wanted.address(), wanted.prefix_len())))
    })
}

fn old_state(interfaces: &[&Interface], guest: &Guest<'_>) -> OldState {
    let has_global = |interface: &&Interface| {
        state(interface, guest).is_some_and(|state| state.addresses.iter().any(|(address, _)| is_global(*address)))
    };
    let none_in_use = !interfaces.is_empty() && !interfaces.iter().any(has_global);
    if none_in_use && can_tell(guest) { OldState::Worthless } else { OldState::Usable }
}

/// Whether an address says something about the configuration, unlike one that the kernel made up.
pub(super) const fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    }
}

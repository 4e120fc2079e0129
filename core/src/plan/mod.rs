//! Plans: ordered steps with what to do when one fails.
//!
//! It knows nothing of the host: a plan does not know which command it serves.

mod awaiting;
mod expectation;
mod failure;
mod runner;
mod time;

use alloc::vec::Vec;
use core::time::Duration;

pub use self::expectation::{Expectation, ExpectedInterface};
pub use self::failure::{PlanFailure, RollBack};
pub use self::runner::{Next, Runner};
use crate::effect::Change;

/// An ordered list of changes of the guest. Carried out whole, or rolled back.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// The steps in the order in which they are carried out.
    pub steps: Vec<Step>,
    /// How long its programs may take together; each by itself if `None`.
    pub budget: Option<Budget>,
    /// What the guest shall show when a roll-back is over; if it does not, the roll-back has failed.
    pub restored: Option<Await>,
}

/// How long the programs of a plan may take together, whatever each may take by itself: whoever waits for the plan waits
/// for its roll-back, too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    /// For the steps of the plan.
    pub apply: Duration,
    /// For undoing them, beside what `apply` leaves.
    pub roll_back: Duration,
}

impl Plan {
    /// The changes of the guest that it makes if nothing fails.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.steps.iter().filter_map(Step::step)
    }

    /// Adds a step whose failure ends the plan and whose undo is what its outcome says.
    pub fn push(&mut self, step: Change) {
        self.steps.push(Step::new(step));
    }
}

/// A step and its place in the plan.
#[derive(Debug, Eq, PartialEq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// What happens when it fails.
    pub on_failure: OnFailure,
    /// How it is undone when it or a later step ends the plan.
    pub undo: Undo,
}

impl Step {
    /// A step whose failure ends the plan and whose undo is what its outcome says.
    #[must_use]
    pub const fn new(step: Change) -> Self {
        Self {
            action: Action::Change(step),
            on_failure: OnFailure::RollBack,
            undo: Undo::FromOutcome,
        }
    }

    /// Nothing but a place for an undo: these steps are carried out when everything behind it is undone.
    #[must_use]
    pub const fn only_undo(steps: Vec<Change>) -> Self {
        Self {
            action: Action::Nothing,
            on_failure: OnFailure::RollBack,
            undo: Undo::Steps(steps),
        }
    }

    /// Waits for a change to come into effect; if it does not, the plan ends.
    #[must_use]
    pub const fn wait(condition: Await) -> Self {
        Self {
            action: Action::Await(condition),
            on_failure: OnFailure::RollBack,
            undo: Undo::FromOutcome,
        }
    }

    /// The change, if it is one.
    #[must_use]
    pub const fn step(&self) -> Option<&Change> {
        match &self.action {
            Action::Change(step) => Some(step),
            Action::Await(_) | Action::Nothing => None,
        }
    }
}

/// What a plan does in one place.
#[derive(Debug, Eq, PartialEq)]
pub enum Action {
    /// Waits for a change to come into effect.
    Await(Await),
    /// Nothing.
    Nothing,
    /// Changes the guest.
    Change(Change),
}

/// Asks the guest again and again until it shows what is expected of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Await {
    /// What it shall show.
    pub expectation: Expectation,
    /// After this time it counts as a failure that it does not.
    pub patience: Duration,
}

/// What happens when a step fails.
#[derive(Debug, Eq, PartialEq)]
pub enum OnFailure {
    /// The plan goes on.
    GoOn,
    /// Carry these steps out, whose failures do not matter, then try once more; roll back if it fails again. Only for
    /// programs without input: another step is not tried again, nor is a program whose time ran out, because a second
    /// try would take as long.
    Retry(Vec<Change>),
    /// The plan ends: what was done is undone in reverse order.
    RollBack,
}

/// How a step is undone.
#[derive(Debug, Eq, PartialEq)]
pub enum Undo {
    /// By the step that its outcome named, if it named one: for changes of files, whose earlier state is backed up.
    FromOutcome,
    /// By these steps, whether it succeeded or failed: for programs, which may have done half of their work.
    Steps(Vec<Change>),
}

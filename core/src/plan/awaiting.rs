//! Waiting until the guest shows what is expected of it.

use alloc::string::{String, ToString};
use core::time::Duration;

use super::{Expectation, PlanFailure};
use crate::effect::Outcome;
use crate::time::Instant;

/// How often the guest is asked whether it shows what is expected.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// What is awaited, and of which part of the plan it is.
#[derive(Debug)]
pub(super) struct Awaiting {
    pub(super) expectation: Expectation,
    /// When patience ends.
    pub(super) until: Instant,
    /// When the guest is asked next; `None` while it is being asked.
    pub(super) ask: Option<Instant>,
    /// The failure that is being rolled back, if one is.
    pub(super) rolled_back: Option<PlanFailure>,
}

/// What a look at the guest tells.
pub(super) enum Look {
    /// Not yet; there is time for another look.
    Again(Awaiting),
    /// It shows what is expected; with the failure that is being rolled back, if one is.
    Met(Option<PlanFailure>),
    /// It does not, and time is up: the first thing that is missing, and the failure that is being rolled back.
    Unmet(String, Option<PlanFailure>),
}

impl Awaiting {
    /// Compares the answer of the guest with the expectation.
    pub(super) fn look(self, outcome: Outcome, now: Instant) -> Look {
        let unmet = match outcome {
            Outcome::Probed(snapshot) => self.expectation.unmet(&snapshot),
            Outcome::Failed(failure) => Some(failure.to_string()),
            Outcome::Done(_) | Outcome::Entropy(_) => {
                Some("the driver answered another question".into())
            }
        };
        match unmet {
            Some(_) if now < self.until => Look::Again(Self {
                ask: Some(now.after(ASK_AGAIN).min(self.until)),
                ..self
            }),
            Some(unmet) => Look::Unmet(unmet, self.rolled_back),
            None => Look::Met(self.rolled_back),
        }
    }
}

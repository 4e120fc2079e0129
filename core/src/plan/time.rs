//! How much time the programs of a plan have left.

use core::time::Duration;

use super::Budget;
use crate::time::Instant;

/// What a program of the roll-back gets even if so many are to run that its share of the time is less. A guest without a
/// network is worse than a late answer, and on a guest that is short of processor time nothing is quick.
pub(super) const UNDO_MIN: Duration = Duration::from_secs(2);

/// With less time than this left, a second try is not worth beginning.
pub(super) const SECOND_TRY_MIN: Duration = Duration::from_secs(1);

/// The budget of a plan that is being carried out.
#[derive(Debug)]
pub(super) struct Time {
    budget: Option<Budget>,
    /// When the time for the steps, or for undoing them, is used up.
    deadline: Option<Instant>,
}

impl Time {
    pub(super) fn new(budget: Option<Budget>, now: Instant) -> Self {
        let deadline = budget.map(|budget| now.after(budget.apply));
        Self { budget, deadline }
    }

    /// Begins the way back. What going forward has left helps there: together they take no longer than before.
    pub(super) fn begin_roll_back(&mut self, now: Instant) {
        let left = self
            .deadline
            .map_or(Duration::ZERO, |deadline| deadline.since(now));
        self.deadline = self
            .budget
            .map(|budget| now.after(budget.roll_back.saturating_add(left)));
    }

    pub(super) fn left(&self, now: Instant) -> Duration {
        self.deadline
            .map_or(Duration::MAX, |deadline| deadline.since(now))
    }

    /// What a program of the roll-back may take so that as much is left for each of the `behind` programs that follow. What
    /// it does not use, they have.
    pub(super) fn share(&self, now: Instant, behind: usize) -> Duration {
        let programs = u32::try_from(behind).unwrap_or(u32::MAX).saturating_add(1);
        let share = self.left(now).checked_div(programs).unwrap_or_default();
        share.max(UNDO_MIN)
    }
}

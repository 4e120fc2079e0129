//! Carries a plan out, one step at a time.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::{Action, Await, Budget, OnFailure, Plan, Step, Undo};
use crate::effect::{Change, Effect, Failure, Outcome};
use crate::plan::Expectation;
use crate::time::Instant;

/// A plan that is being carried out.
///
/// Call [`Runner::poll`] for the effect to carry out, report its outcome with [`Runner::handle_outcome`], and go on until
/// `poll` says that the plan is finished. One effect is in hand at a time.
#[derive(Debug)]
pub struct Runner {
    ahead: VecDeque<Step>,
    /// What brings back the state before, the latest change last.
    undo: Vec<Change>,
    state: State,
    budget: Option<Budget>,
    /// When the time for the steps, or for undoing them, is used up.
    deadline: Option<Instant>,
    restored: Option<Await>,
}

/// What a program of the roll-back gets even if so many are to run that its share of the time is less. A guest without a
/// network is worse than a late answer, and on a guest that is short of processor time nothing is quick.
const UNDO_MIN: Duration = Duration::from_secs(2);

/// What is said of a change that does not come into effect.
const WAITING: &str = "wait for the network";

/// How often the guest is asked whether it shows what is expected.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// With less time than this left, a second try is not worth beginning.
const SECOND_TRY_MIN: Duration = Duration::from_secs(1);

/// What a [`Runner`] wants next.
#[derive(Debug, Eq, PartialEq)]
pub enum Next {
    /// The plan has come to its end.
    Finished(Result<(), PlanFailure>),
    /// Carry out this step or answer these probes, and report the outcome.
    Perform(Effect),
    /// Poll again at this time.
    Wait(Instant),
}

/// A plan that failed. Its text names the step that ended it, why, and whether the state before was brought back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlanFailure {
    /// The step that ended the plan, in words.
    pub step: String,
    /// Why it failed.
    pub failure: Failure,
    /// The first step of the roll-back that failed, if one did.
    pub roll_back: RollBack,
}

/// What became of the changes that were made before a plan failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RollBack {
    /// They were undone.
    Done,
    /// A step of the roll-back failed; the others were carried out.
    Failed {
        /// The step in words.
        step: String,
        /// Why it failed.
        failure: Failure,
    },
    /// There were none.
    NothingToDo,
}

#[derive(Debug)]
enum State {
    /// Between two steps of the plan.
    Idle,
    /// A step of the plan is in hand.
    Forward(InHand),
    /// The steps before a second try are being carried out.
    Recovering {
        first: VecDeque<Change>,
        again: Change,
        in_hand: InHand,
    },
    /// The guest has to show what is expected.
    Awaiting(Awaiting),
    /// The plan failed; changes are being undone.
    RollingBack {
        failure: PlanFailure,
        in_hand: Option<String>,
    },
    Finished,
}

/// What is awaited, and of which part of the plan it is.
#[derive(Debug)]
struct Awaiting {
    expectation: Expectation,
    /// When patience ends.
    until: Instant,
    /// When the guest is asked next; `None` while it is being asked.
    ask: Option<Instant>,
    /// The failure that is being rolled back, if one is.
    rolled_back: Option<PlanFailure>,
}

/// The step in hand without its content, which has gone to whom carries it out.
#[derive(Debug)]
struct InHand {
    description: String,
    on_failure: AfterFailure,
    undo: Undo,
}

/// [`OnFailure`] together with what it needs.
#[derive(Debug)]
enum AfterFailure {
    GoOn,
    Retry { first: Vec<Change>, again: Change },
    RollBack,
}

impl Runner {
    /// Starts a plan.
    #[must_use]
    pub fn new(plan: Plan, now: Instant) -> Self {
        let Plan {
            steps,
            budget,
            restored,
        } = plan;
        let deadline = budget.map(|budget| now.after(budget.apply));
        Self {
            ahead: steps.into(),
            undo: Vec::new(),
            state: State::Idle,
            budget,
            deadline,
            restored,
        }
    }

    /// What to do next. To be called once at the start and once after each outcome.
    pub fn poll(&mut self, now: Instant) -> Next {
        match self.advance(now) {
            Next::Perform(Effect::Change(Change::Run(mut program))) => {
                let most = if matches!(self.state, State::RollingBack { .. }) {
                    self.share(now).max(UNDO_MIN)
                } else {
                    // There is time left, or the plan would have been given up.
                    self.time_left(now).max(SECOND_TRY_MIN)
                };
                program.timeout = program.timeout.min(most);
                Next::Perform(Effect::Change(Change::Run(program)))
            }
            next @ (Next::Finished(_) | Next::Perform(_) | Next::Wait(_)) => next,
        }
    }

    fn advance(&mut self, now: Instant) -> Next {
        match core::mem::replace(&mut self.state, State::Finished) {
            State::Idle => {
                let Some(Step {
                    action,
                    on_failure,
                    undo,
                }) = self.ahead.pop_front()
                else {
                    return Next::Finished(Ok(()));
                };
                let step = match action {
                    Action::Change(step) => step,
                    Action::Await(condition) => {
                        self.begin_to_wait(condition, None, now);
                        return self.advance(now);
                    }
                    Action::Nothing => {
                        self.note_undo(undo, None);
                        self.state = State::Idle;
                        return self.advance(now);
                    }
                };
                if matches!(step, Change::Run(_)) && self.time_left(now).is_zero() {
                    // What need not succeed is not worth giving up what did.
                    if on_failure == OnFailure::GoOn {
                        self.note_undo(undo, None);
                        self.state = State::Idle;
                        return self.advance(now);
                    }
                    self.state = self.give_up(
                        step.to_string(),
                        Failure::TimedOut {
                            output: String::new(),
                        },
                        now,
                    );
                    return self.advance(now);
                }
                let on_failure = match (on_failure, step.again()) {
                    (OnFailure::GoOn, _) => AfterFailure::GoOn,
                    (OnFailure::Retry(first), Some(again)) => AfterFailure::Retry { first, again },
                    (OnFailure::Retry(_), None) | (OnFailure::RollBack, _) => {
                        AfterFailure::RollBack
                    }
                };
                self.state = State::Forward(InHand {
                    description: step.to_string(),
                    on_failure,
                    undo,
                });
                perform(step)
            }
            State::Recovering {
                mut first,
                again,
                in_hand,
            } => match first.pop_front() {
                Some(step) => {
                    self.state = State::Recovering {
                        first,
                        again,
                        in_hand,
                    };
                    perform(step)
                }
                None => {
                    self.state = State::Forward(in_hand);
                    perform(again)
                }
            },
            State::RollingBack { failure, .. } => match (self.undo.pop(), self.restored.take()) {
                (Some(step), restored) => {
                    self.restored = restored;
                    self.state = State::RollingBack {
                        failure,
                        in_hand: Some(step.to_string()),
                    };
                    perform(step)
                }
                // What could not be put back has been said already.
                (None, Some(condition)) if failure.roll_back == RollBack::Done => {
                    self.begin_to_wait(condition, Some(failure), now);
                    self.advance(now)
                }
                (None, _) => Next::Finished(Err(failure)),
            },
            State::Awaiting(mut awaiting) => match awaiting.ask.filter(|ask| *ask > now) {
                Some(ask) => {
                    self.state = State::Awaiting(awaiting);
                    Next::Wait(ask)
                }
                None => {
                    awaiting.ask = None;
                    self.state = State::Awaiting(awaiting);
                    Next::Perform(Effect::Probe(Expectation::probes()))
                }
            },
            // Only after a call too many: there is nothing more to do.
            State::Forward(_) | State::Finished => Next::Finished(Ok(())),
        }
    }

    /// What became of the effect that `poll` gave out.
    pub fn handle_outcome(&mut self, outcome: Outcome, now: Instant) {
        let outcome = match (
            core::mem::replace(&mut self.state, State::Finished),
            outcome,
        ) {
            (State::Awaiting(awaiting), outcome) => {
                self.state = self.look(awaiting, outcome, now);
                return;
            }
            (state, outcome) => {
                self.state = state;
                outcome
            }
        };
        let (undo_from_outcome, failure) = match outcome {
            Outcome::Done(done) => (done.undo, None),
            Outcome::Failed(failure) => (None, Some(failure)),
            Outcome::Entropy(_) | Outcome::Probed(_) => (
                None,
                Some(Failure::Unsupported(
                    "the driver answered another question".into(),
                )),
            ),
        };
        self.state = match core::mem::replace(&mut self.state, State::Finished) {
            State::Forward(in_hand) => self.forward(in_hand, undo_from_outcome, failure, now),
            // Whether these succeed does not matter: the second try tells. What they changed belongs to the step.
            State::Recovering {
                first,
                again,
                in_hand,
            } => State::Recovering {
                first,
                again,
                in_hand,
            },
            State::RollingBack {
                failure: mut first,
                in_hand,
            } => {
                if let (RollBack::Done, Some(failure), Some(step)) =
                    (&first.roll_back, failure, in_hand)
                {
                    first.roll_back = RollBack::Failed { step, failure };
                }
                State::RollingBack {
                    failure: first,
                    in_hand: None,
                }
            }
            state @ (State::Awaiting(_) | State::Idle | State::Finished) => state,
        };
    }

    /// What the guest shows while something is awaited.
    fn look(&mut self, awaiting: Awaiting, outcome: Outcome, now: Instant) -> State {
        let unmet = match outcome {
            Outcome::Probed(snapshot) => awaiting.expectation.unmet(&snapshot),
            Outcome::Failed(failure) => Some(failure.to_string()),
            Outcome::Done(_) | Outcome::Entropy(_) => {
                Some("the driver answered another question".into())
            }
        };
        match (unmet, awaiting.rolled_back) {
            (Some(_), rolled_back) if now < awaiting.until => {
                let ask = Some(now.after(ASK_AGAIN).min(awaiting.until));
                State::Awaiting(Awaiting {
                    ask,
                    rolled_back,
                    ..awaiting
                })
            }
            (Some(unmet), None) => {
                self.give_up(WAITING.into(), Failure::TimedOut { output: unmet }, now)
            }
            (Some(unmet), Some(failure)) => {
                let roll_back = RollBack::Failed {
                    step: WAITING.into(),
                    failure: Failure::TimedOut { output: unmet },
                };
                State::RollingBack {
                    failure: PlanFailure {
                        roll_back,
                        ..failure
                    },
                    in_hand: None,
                }
            }
            (None, None) => State::Idle,
            (None, Some(failure)) => State::RollingBack {
                failure,
                in_hand: None,
            },
        }
    }

    /// Also with no time left the guest is asked once.
    fn begin_to_wait(&mut self, condition: Await, rolled_back: Option<PlanFailure>, now: Instant) {
        let Await {
            expectation,
            patience,
        } = condition;
        let until = now.after(patience.min(self.time_left(now).max(SECOND_TRY_MIN)));
        self.state = State::Awaiting(Awaiting {
            expectation,
            until,
            ask: Some(now),
            rolled_back,
        });
    }

    fn forward(
        &mut self,
        in_hand: InHand,
        undo_from_outcome: Option<Change>,
        failure: Option<Failure>,
        now: Instant,
    ) -> State {
        let InHand {
            description,
            on_failure,
            undo,
        } = in_hand;
        let (failure, fatal) = match (failure, on_failure) {
            // A second try would take as long, and the host's patience is limited.
            (failure @ Some(Failure::TimedOut { .. }), AfterFailure::Retry { .. }) => {
                (failure, true)
            }
            (Some(_), AfterFailure::Retry { first, again })
                if self.time_left(now) > SECOND_TRY_MIN =>
            {
                let in_hand = InHand {
                    description,
                    on_failure: AfterFailure::RollBack,
                    undo,
                };
                return State::Recovering {
                    first: first.into(),
                    again,
                    in_hand,
                };
            }
            (failure, AfterFailure::GoOn) => (failure, false),
            (failure, AfterFailure::RollBack | AfterFailure::Retry { .. }) => (failure, true),
        };
        self.note_undo(undo, undo_from_outcome);
        match failure {
            Some(failure) if fatal => self.give_up(description, failure, now),
            Some(_) | None => State::Idle,
        }
    }

    fn note_undo(&mut self, undo: Undo, from_outcome: Option<Change>) {
        match undo {
            Undo::FromOutcome => self.undo.extend(from_outcome),
            Undo::Steps(steps) => self.undo.extend(steps.into_iter().rev()),
        }
    }

    fn give_up(&mut self, step: String, failure: Failure, now: Instant) -> State {
        self.ahead.clear();
        // What going forward has left helps on the way back: together they take no longer than before.
        let left = self
            .deadline
            .map_or(Duration::ZERO, |deadline| deadline.since(now));
        self.deadline = self
            .budget
            .map(|budget| now.after(budget.roll_back.saturating_add(left)));
        let roll_back = if self.undo.is_empty() {
            RollBack::NothingToDo
        } else {
            RollBack::Done
        };
        State::RollingBack {
            failure: PlanFailure {
                step,
                failure,
                roll_back,
            },
            in_hand: None,
        }
    }

    /// What a program of the roll-back may take so that as much is left for each of those behind it. What it does not use,
    /// they have.
    fn share(&self, now: Instant) -> Duration {
        let behind = self
            .undo
            .iter()
            .filter(|step| matches!(step, Change::Run(_)))
            .count();
        let programs = u32::try_from(behind).unwrap_or(u32::MAX).saturating_add(1);
        self.time_left(now)
            .checked_div(programs)
            .unwrap_or_default()
    }

    fn time_left(&self, now: Instant) -> Duration {
        self.deadline
            .map_or(Duration::MAX, |deadline| deadline.since(now))
    }
}

const fn perform(step: Change) -> Next {
    Next::Perform(Effect::Change(step))
}

impl fmt::Display for PlanFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.failure)?;
        match &self.roll_back {
            RollBack::Done => f.write_str("; previous state restored"),
            RollBack::Failed { step, failure } => {
                write!(f, "; restore failed too: {step}: {failure}")
            }
            RollBack::NothingToDo => Ok(()),
        }
    }
}

impl core::error::Error for PlanFailure {}

#[cfg(test)]
mod tests;

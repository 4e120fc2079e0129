//! Carries a plan out, one step at a time.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::awaiting::{Awaiting, Look};
use super::time::{SECOND_TRY_MIN, Time};
use super::{Action, Await, Expectation, OnFailure, Plan, PlanFailure, RollBack, Step, Undo};
use crate::effect::{Change, Effect, Failure, Outcome};
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
    time: Time,
    restored: Option<Await>,
}

/// What is said of a change that does not come into effect.
const WAITING: &str = "wait for the network";

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
    /// It came to this end.
    Finished(Result<(), PlanFailure>),
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
        Self {
            ahead: steps.into(),
            undo: Vec::new(),
            state: State::Idle,
            time: Time::new(budget, now),
            restored,
        }
    }

    /// What to do next. To be called once at the start and once after each outcome.
    pub fn poll(&mut self, now: Instant) -> Next {
        match self.advance(now) {
            Next::Perform(Effect::Change(Change::Run(mut program))) => {
                let most = if matches!(self.state, State::RollingBack { .. }) {
                    let is_program = |change: &&Change| matches!(change, Change::Run(_));
                    self.time
                        .share(now, self.undo.iter().filter(is_program).count())
                } else {
                    // There is time left, or the plan would have been given up.
                    self.time.left(now).max(SECOND_TRY_MIN)
                };
                program.timeout = program.timeout.min(most);
                Next::Perform(Effect::Change(Change::Run(program)))
            }
            next @ (Next::Finished(_) | Next::Perform(_) | Next::Wait(_)) => next,
        }
    }

    fn advance(&mut self, now: Instant) -> Next {
        loop {
            let next = match core::mem::replace(&mut self.state, State::Idle) {
                State::Idle => match self.ahead.pop_front() {
                    Some(step) => self.begin(step, now),
                    None => Some(self.finish(Ok(()))),
                },
                State::Recovering {
                    mut first,
                    again,
                    in_hand,
                } => {
                    let change = match first.pop_front() {
                        Some(change) => {
                            self.state = State::Recovering {
                                first,
                                again,
                                in_hand,
                            };
                            change
                        }
                        None => {
                            self.state = State::Forward(in_hand);
                            again
                        }
                    };
                    Some(perform(change))
                }
                State::RollingBack { failure, .. } => self.go_on_rolling_back(failure, now),
                State::Awaiting(mut awaiting) => {
                    let ask = awaiting.ask.filter(|ask| *ask > now);
                    awaiting.ask = ask;
                    self.state = State::Awaiting(awaiting);
                    let probe = || Next::Perform(Effect::Probe(Expectation::probes()));
                    Some(ask.map_or_else(probe, Next::Wait))
                }
                // Reached only if `poll` is called once more without an outcome.
                State::Forward(in_hand) => {
                    let failure = Failure::Unsupported("its outcome was not awaited".into());
                    self.state = self.give_up(in_hand.description, failure, now);
                    None
                }
                State::Finished(result) => Some(self.finish(result)),
            };
            if let Some(next) = next {
                return next;
            }
        }
    }

    /// Begins a step. Returns nothing if the state says how to go on.
    fn begin(&mut self, step: Step, now: Instant) -> Option<Next> {
        let Step {
            action,
            on_failure,
            undo,
        } = step;
        let change = match action {
            Action::Change(change) => change,
            Action::Await(condition) => {
                self.begin_to_wait(condition, None, now);
                return None;
            }
            Action::Nothing => {
                self.note_undo(undo, None);
                return None;
            }
        };
        if matches!(change, Change::Run(_)) && self.time.left(now).is_zero() {
            // An optional program is skipped rather than rolling the plan back.
            if on_failure == OnFailure::GoOn {
                self.note_undo(undo, None);
            } else {
                let output = String::new();
                self.state = self.give_up(change.to_string(), Failure::TimedOut { output }, now);
            }
            return None;
        }
        let on_failure = match (on_failure, change.again()) {
            (OnFailure::GoOn, _) => AfterFailure::GoOn,
            (OnFailure::Retry(first), Some(again)) => AfterFailure::Retry { first, again },
            (OnFailure::Retry(_), None) | (OnFailure::RollBack, _) => AfterFailure::RollBack,
        };
        self.state = State::Forward(InHand {
            description: change.to_string(),
            on_failure,
            undo,
        });
        Some(perform(change))
    }

    fn go_on_rolling_back(&mut self, failure: PlanFailure, now: Instant) -> Option<Next> {
        if let Some(change) = self.undo.pop() {
            self.state = State::RollingBack {
                failure,
                in_hand: Some(change.to_string()),
            };
            return Some(perform(change));
        }
        match self.restored.take() {
            // What could not be put back has been said already.
            Some(condition) if failure.roll_back == RollBack::Done => {
                self.begin_to_wait(condition, Some(failure), now);
                None
            }
            Some(_) | None => Some(self.finish(Err(failure))),
        }
    }

    /// The result is the same however often it is asked for.
    fn finish(&mut self, result: Result<(), PlanFailure>) -> Next {
        self.state = State::Finished(result.clone());
        Next::Finished(result)
    }

    /// What became of the effect that `poll` gave out.
    pub fn handle_outcome(&mut self, outcome: Outcome, now: Instant) {
        let outcome = match (core::mem::replace(&mut self.state, State::Idle), outcome) {
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
        self.state = match core::mem::replace(&mut self.state, State::Idle) {
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
            state @ (State::Awaiting(_) | State::Idle | State::Finished(_)) => state,
        };
    }

    /// What the guest shows while something is awaited.
    fn look(&mut self, awaiting: Awaiting, outcome: Outcome, now: Instant) -> State {
        match awaiting.look(outcome, now) {
            Look::Again(awaiting) => State::Awaiting(awaiting),
            Look::Met(None) => State::Idle,
            Look::Met(Some(failure)) => State::RollingBack {
                failure,
                in_hand: None,
            },
            Look::Unmet(unmet, None) => {
                self.give_up(WAITING.into(), Failure::TimedOut { output: unmet }, now)
            }
            Look::Unmet(unmet, Some(failure)) => {
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
        }
    }

    /// Asks the guest at least once, even if no time is left.
    fn begin_to_wait(&mut self, condition: Await, rolled_back: Option<PlanFailure>, now: Instant) {
        let Await {
            expectation,
            patience,
        } = condition;
        let until = now.after(patience.min(self.time.left(now).max(SECOND_TRY_MIN)));
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
                if self.time.left(now) > SECOND_TRY_MIN =>
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
        self.time.begin_roll_back(now);
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
}

const fn perform(step: Change) -> Next {
    Next::Perform(Effect::Change(step))
}

#[cfg(test)]
mod tests;

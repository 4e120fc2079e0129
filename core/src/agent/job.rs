//! A command at work: gathers facts, carries plans out.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::context::Context;
use super::session::{Purpose, Session};
use super::{Report, RequestId};
use crate::command::{
    Argument, Command, Context as CommandContext, Execution, Facts, FailureResponse, Kind,
    Progress, Questions,
};
use crate::effect::{Effect, Outcome};
use crate::plan::{self, Runner};
use crate::response::{MESSAGE_MAX, Response, harmless};
use crate::severity::Severity;
use crate::store::Operation;
use crate::time::Instant;
use crate::wire::{ErrorName, StorePath};

/// How often a command may ask for more facts. The command with the most rounds needs 8.
const ROUNDS_MAX: u8 = 16;

/// The most notices of a command that are logged. There may be something to say of each of the thousands of entries in a
/// host's data.
const NOTICES_MAX: usize = 64;

/// A command at work for a request.
pub(super) struct Job {
    command: &'static Command,
    argument: Argument,
    facts: Facts,
    rounds: u8,
    phase: Phase,
}

/// What a job does next.
pub(super) enum Next {
    /// It is over, with this answer.
    Respond(Response),
    /// It waits for an answer to a question, an outcome, or a time.
    Wait(Box<Job>),
}

enum Phase {
    /// These questions are not answered yet.
    Asking {
        lists: BTreeSet<StorePath>,
        values: BTreeSet<StorePath>,
        effects: u8,
    },
    /// A plan is being carried out.
    Running {
        runner: Box<Runner>,
        success: Response,
        failure: FailureResponse,
        /// When the runner goes on, if it waits.
        until: Option<Instant>,
    },
}

impl Job {
    pub(super) fn new(command: &'static Command, argument: Argument) -> Self {
        let phase = Phase::Asking {
            lists: BTreeSet::new(),
            values: BTreeSet::new(),
            effects: 0,
        };
        Self {
            command,
            argument,
            facts: Facts::default(),
            rounds: 0,
            phase,
        }
    }

    /// Calls the command with the facts so far, and does what it says.
    pub(super) fn advance(mut self: Box<Self>, id: &RequestId, cx: &mut Context<'_>) -> Next {
        let mut context = CommandContext {
            now: cx.session.now,
            policy: cx.policy,
            exchanges: cx.exchanges,
        };
        match (self.command.advance)(&self.argument, &mut self.facts, &mut context) {
            Progress::Reply(response) => Next::Respond(response),
            Progress::Ask(_) if self.rounds >= ROUNDS_MAX => {
                Next::Respond(Response::failed_where_500_is_success(
                    "The guest did not answer what had to be known",
                ))
            }
            Progress::Ask(questions) => {
                self.rounds = self.rounds.saturating_add(1);
                self.ask(id, questions, cx.session)
            }
            Progress::Run(Execution {
                plan,
                notices,
                success,
                failure,
            }) => {
                report_notices(id, notices, cx.session);
                self.phase = Phase::Running {
                    runner: Box::new(Runner::new(plan, cx.session.now)),
                    success,
                    failure,
                    until: None,
                };
                self.run(id, cx.session)
            }
        }
    }

    /// What became of one of its effects.
    pub(super) fn handle_outcome(
        mut self: Box<Self>,
        id: &RequestId,
        outcome: Outcome,
        cx: &mut Context<'_>,
    ) -> Next {
        match &mut self.phase {
            Phase::Running { runner, .. } => {
                runner.handle_outcome(outcome, cx.session.now);
                self.run(id, cx.session)
            }
            Phase::Asking { effects, .. } => {
                *effects = effects.saturating_sub(1);
                match outcome {
                    Outcome::Entropy(bytes) => self.facts.entropy = Some(bytes),
                    Outcome::Probed(snapshot) => self.facts.snapshot.merge(snapshot),
                    Outcome::Failed(failure) => {
                        let message = format!("The guest cannot be read: {failure}");
                        return Next::Respond(Response::failed_where_500_is_success(message));
                    }
                    Outcome::Done(_) => {
                        let message = "The driver answered another question";
                        return Next::Respond(Response::failed_where_500_is_success(message));
                    }
                }
                self.advance_when_answered(id, cx)
            }
        }
    }

    /// The children of a node that it asked for.
    pub(super) fn handle_list(
        mut self: Box<Self>,
        id: &RequestId,
        path: StorePath,
        names: Result<Vec<String>, ErrorName>,
        cx: &mut Context<'_>,
    ) -> Next {
        let names = match names {
            Ok(names) => names,
            // A directory that the guest may not list counts as empty.
            Err(ErrorName::Enoent | ErrorName::Eacces) => Vec::new(),
            Err(error) => return refuse_fact(&path, error),
        };
        if let Phase::Asking { lists, .. } = &mut self.phase {
            lists.remove(&path);
        }
        self.facts.lists.insert(path, names);
        self.advance_when_answered(id, cx)
    }

    /// A value that it asked for.
    pub(super) fn handle_value(
        mut self: Box<Self>,
        id: &RequestId,
        path: StorePath,
        value: Result<Vec<u8>, ErrorName>,
        cx: &mut Context<'_>,
    ) -> Next {
        let value = match value {
            Ok(value) => Some(value),
            Err(ErrorName::Enoent) => None,
            Err(error) => return refuse_fact(&path, error),
        };
        if let Phase::Asking { values, .. } = &mut self.phase {
            values.remove(&path);
        }
        self.facts.values.insert(path, value);
        self.advance_when_answered(id, cx)
    }

    /// The plan may have waited for this time.
    pub(super) fn handle_woken(mut self: Box<Self>, id: &RequestId, cx: &mut Context<'_>) -> Next {
        match &mut self.phase {
            Phase::Running { until, .. } if until.is_some_and(|until| until <= cx.session.now) => {
                *until = None;
                self.run(id, cx.session)
            }
            // The timer was for a state that the request has left.
            Phase::Asking { .. } | Phase::Running { .. } => Next::Wait(self),
        }
    }

    /// After a new connection: asks once more what the old one did not answer.
    pub(super) fn ask_store_again(&self, id: &RequestId, session: &mut Session) {
        if let Phase::Asking { lists, values, .. } = &self.phase {
            ask_store(id, lists, values, session);
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        self.command.kind
    }

    pub(super) const fn name(&self) -> &'static str {
        self.command.name
    }

    fn ask(
        mut self: Box<Self>,
        id: &RequestId,
        questions: Questions,
        session: &mut Session,
    ) -> Next {
        let Questions {
            probes,
            lists,
            values,
            entropy,
        } = questions;
        let mut effects: u8 = 0;
        if !probes.is_empty() {
            effects = effects.saturating_add(1);
            session.perform(id, Effect::Probe(probes));
        }
        if let Some(len) = entropy {
            effects = effects.saturating_add(1);
            session.perform(id, Effect::Entropy { len });
        }
        if session.is_connected {
            ask_store(id, &lists, &values, session);
        }
        self.phase = Phase::Asking {
            lists: lists.into_iter().collect(),
            values: values.into_iter().collect(),
            effects,
        };
        Next::Wait(self)
    }

    fn advance_when_answered(self: Box<Self>, id: &RequestId, cx: &mut Context<'_>) -> Next {
        match &self.phase {
            Phase::Asking {
                lists,
                values,
                effects: 0,
            } if lists.is_empty() && values.is_empty() => self.advance(id, cx),
            Phase::Asking { .. } | Phase::Running { .. } => Next::Wait(self),
        }
    }

    /// The next step of the plan, or the answer if it has come to its end.
    fn run(mut self: Box<Self>, id: &RequestId, session: &mut Session) -> Next {
        let Phase::Running {
            runner,
            success,
            failure,
            until,
        } = &mut self.phase
        else {
            return Next::Wait(self);
        };
        match runner.poll(session.now) {
            plan::Next::Perform(effect) => session.perform(id, effect),
            plan::Next::Wait(at) => {
                *until = Some(at);
                session.wake(id, at);
            }
            plan::Next::Finished(Ok(())) => return Next::Respond(success.clone()),
            plan::Next::Finished(Err(error)) => return Next::Respond(failure.response(&error)),
        }
        Next::Wait(self)
    }
}

fn ask_store<'a>(
    id: &RequestId,
    lists: impl IntoIterator<Item = &'a StorePath>,
    values: impl IntoIterator<Item = &'a StorePath>,
    session: &mut Session,
) {
    for path in lists {
        let purpose = Purpose::FactList(id.clone(), path.clone());
        session.submit(purpose, Operation::List(path.clone()));
    }
    for path in values {
        let purpose = Purpose::FactValue(id.clone(), path.clone());
        session.submit(purpose, Operation::Read(path.clone()));
    }
}

/// A node that cannot be read for once is not one that is missing: an interface would lose its configuration.
fn refuse_fact(path: &StorePath, error: ErrorName) -> Next {
    let message = format!("Xenstore refused to read {path}: {error}");
    Next::Respond(Response::failed_where_500_is_success(message))
}

pub(super) fn report_notices(
    id: &RequestId,
    notices: Vec<(Severity, String)>,
    session: &mut Session,
) {
    let left_out = notices.len().saturating_sub(NOTICES_MAX);
    let more = (left_out > 0).then(|| (Severity::Warning, format!("{left_out} more warnings")));
    for (severity, notice) in notices.into_iter().take(NOTICES_MAX).chain(more) {
        session.report(Report::Notice {
            request: id.clone(),
            severity,
            text: notice.chars().take(MESSAGE_MAX).map(harmless).collect(),
        });
    }
}

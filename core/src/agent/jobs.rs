//! Commands at work: gathering facts, carrying plans out.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Agent, Output, Purpose, Report, RequestId, State};
use crate::command::{Argument, Command, Context, Facts, Kind, Progress, Questions, Work};
use crate::effect::{Effect, Outcome};
use crate::ordered::CollectOrdered;
use crate::plan::{self, PlanFailure, Runner};
use crate::response::{MESSAGE_MAX, Response, harmless};
use crate::severity::Severity;
use crate::store::Operation;
use crate::time::Instant;
use crate::wire::{ErrorName, StorePath};

/// How often a command may ask for more facts. The most curious one asks half as often.
const ROUNDS_MAX: u8 = 16;

/// The most notices of a command that are logged. A host's data may have something to be said of each of its thousands of
/// entries.
const NOTICES_MAX: usize = 64;

/// A command at work for a request.
pub(super) struct Job {
    command: &'static Command,
    argument: Argument,
    facts: Facts,
    rounds: u8,
    phase: Phase,
}

enum Phase {
    /// These are not answered yet.
    Asking {
        lists: BTreeSet<StorePath>,
        values: BTreeSet<StorePath>,
        effects: u8,
    },
    /// A plan is being carried out.
    Running {
        runner: Box<Runner>,
        success: Response,
        failure: fn(&PlanFailure) -> Response,
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

    pub(super) const fn kind(&self) -> Kind {
        self.command.kind
    }

    pub(super) const fn name(&self) -> &'static str {
        self.command.name
    }
}

impl Agent {
    /// Calls the command with the facts so far, and does what it says.
    pub(super) fn advance(&mut self, id: &RequestId, mut job: Job) {
        let mut context = Context {
            now: self.now,
            policy: &self.config.commands,
            exchanges: &mut self.exchanges,
        };
        match (job.command.advance)(&job.argument, &mut job.facts, &mut context) {
            Progress::Reply(response) => self.respond(id, response),
            Progress::Ask(_) if job.rounds >= ROUNDS_MAX => {
                self.respond(
                    id,
                    Response::failed("The guest did not answer what had to be known"),
                );
            }
            Progress::Ask(questions) => {
                job.rounds = job.rounds.saturating_add(1);
                self.ask(id, job, questions);
            }
            Progress::Run(Work {
                plan,
                notices,
                success,
                failure,
            }) => {
                self.report_notices(id, notices);
                let runner = Box::new(Runner::new(plan, self.now));
                job.phase = Phase::Running {
                    runner,
                    success,
                    failure,
                    until: None,
                };
                self.run(id, job);
            }
        }
    }

    pub(super) fn report_notices(&mut self, id: &RequestId, notices: Vec<(Severity, String)>) {
        let left_out = notices.len().saturating_sub(NOTICES_MAX);
        let more = (left_out > 0).then(|| {
            (
                Severity::Warning,
                alloc::format!("{left_out} more warnings"),
            )
        });
        for (severity, notice) in notices.into_iter().take(NOTICES_MAX).chain(more) {
            let text = notice.chars().take(MESSAGE_MAX).map(harmless).collect();
            self.outputs.push_back(Output::Report(Report::Notice {
                request: id.clone(),
                severity,
                text,
            }));
        }
    }

    /// What became of an effect of a job.
    pub(super) fn handle_outcome(&mut self, id: &RequestId, outcome: Outcome) {
        let Some(mut job) = self.take_job(id) else {
            return;
        };
        match &mut job.phase {
            Phase::Running { runner, .. } => {
                runner.handle_outcome(outcome, self.now);
                self.run(id, job);
            }
            Phase::Asking { effects, .. } => {
                *effects = effects.saturating_sub(1);
                match outcome {
                    Outcome::Entropy(bytes) => job.facts.entropy = Some(bytes),
                    Outcome::Probed(snapshot) => job.facts.snapshot.merge(snapshot),
                    Outcome::Failed(failure) => {
                        return self.respond(
                            id,
                            Response::failed(alloc::format!("The guest cannot be read: {failure}")),
                        );
                    }
                    Outcome::Done(_) => {
                        return self
                            .respond(id, Response::failed("The driver answered another question"));
                    }
                }
                self.continue_when_answered(id, job);
            }
        }
    }

    pub(super) fn handle_fact_list(
        &mut self,
        id: &RequestId,
        path: StorePath,
        names: Result<Vec<String>, ErrorName>,
    ) {
        let Some(mut job) = self.take_job(id) else {
            return;
        };
        let names = match names {
            Ok(names) => names,
            // What a guest may not look into holds nothing for it.
            Err(ErrorName::Enoent | ErrorName::Eacces) => Vec::new(),
            Err(error) => return self.refuse_fact(id, &path, &error),
        };
        if let Phase::Asking { lists, .. } = &mut job.phase {
            lists.remove(&path);
        }
        job.facts.lists.insert(path, names);
        self.continue_when_answered(id, job);
    }

    pub(super) fn handle_fact_value(
        &mut self,
        id: &RequestId,
        path: StorePath,
        value: Result<Vec<u8>, ErrorName>,
    ) {
        let Some(mut job) = self.take_job(id) else {
            return;
        };
        let value = match value {
            Ok(value) => Some(value),
            Err(ErrorName::Enoent) => None,
            Err(error) => return self.refuse_fact(id, &path, &error),
        };
        if let Phase::Asking { values, .. } = &mut job.phase {
            values.remove(&path);
        }
        job.facts.values.insert(path, value);
        self.continue_when_answered(id, job);
    }

    /// A node that cannot be read for once is not one that is missing: an interface would lose its configuration.
    fn refuse_fact(&mut self, id: &RequestId, path: &StorePath, error: &ErrorName) {
        self.respond(
            id,
            Response::failed(alloc::format!("Xenstore refused to read {path}: {error}")),
        );
    }

    /// After a new connection: what the old one did not answer is asked once more.
    pub(super) fn ask_store_again(&mut self, id: &RequestId) {
        let Some(job) = self.take_job(id) else { return };
        if let Phase::Asking { lists, values, .. } = &job.phase {
            self.ask_store(id, lists.iter(), values.iter());
        }
        self.set(id, State::Running(Box::new(job)));
    }

    fn ask(&mut self, id: &RequestId, mut job: Job, questions: Questions) {
        let Questions {
            probes,
            lists,
            values,
            entropy,
        } = questions;
        let mut effects: u8 = 0;
        if !probes.is_empty() {
            effects = effects.saturating_add(1);
            self.perform(id, Effect::Probe(probes));
        }
        if let Some(len) = entropy {
            effects = effects.saturating_add(1);
            self.perform(id, Effect::Entropy { len });
        }
        if self.connected {
            self.ask_store(id, lists.iter(), values.iter());
        }
        let lists = lists.into_iter().collect_ordered();
        let values = values.into_iter().collect_ordered();
        job.phase = Phase::Asking {
            lists,
            values,
            effects,
        };
        self.set(id, State::Running(Box::new(job)));
    }

    fn ask_store<'a>(
        &mut self,
        id: &RequestId,
        lists: impl Iterator<Item = &'a StorePath>,
        values: impl Iterator<Item = &'a StorePath>,
    ) {
        for path in lists {
            self.submit(
                Purpose::FactList(id.clone(), path.clone()),
                Operation::List(path.clone()),
            );
        }
        for path in values {
            self.submit(
                Purpose::FactValue(id.clone(), path.clone()),
                Operation::Read(path.clone()),
            );
        }
    }

    fn continue_when_answered(&mut self, id: &RequestId, job: Job) {
        match &job.phase {
            Phase::Asking {
                lists,
                values,
                effects: 0,
            } if lists.is_empty() && values.is_empty() => self.advance(id, job),
            Phase::Asking { .. } | Phase::Running { .. } => {
                self.set(id, State::Running(Box::new(job)))
            }
        }
    }

    /// A plan may have waited for this time.
    pub(super) fn go_on(&mut self, id: &RequestId) {
        let Some(mut job) = self.take_job(id) else {
            return;
        };
        match &mut job.phase {
            Phase::Running { until, .. } if until.is_some_and(|until| until <= self.now) => {
                *until = None;
                self.run(id, job);
            }
            // The timer was for a state that the request has left.
            Phase::Asking { .. } | Phase::Running { .. } => {
                self.set(id, State::Running(Box::new(job)))
            }
        }
    }

    /// The next step of the plan, or the answer if it has come to its end.
    fn run(&mut self, id: &RequestId, mut job: Job) {
        let Phase::Running {
            runner,
            success,
            failure,
            until,
        } = &mut job.phase
        else {
            return;
        };
        match runner.poll(self.now) {
            plan::Next::Perform(effect) => {
                self.perform(id, effect);
                self.set(id, State::Running(Box::new(job)));
            }
            plan::Next::Wait(at) => {
                *until = Some(at);
                self.wake(id, at);
                self.set(id, State::Running(Box::new(job)));
            }
            plan::Next::Finished(Ok(())) => {
                let response = success.clone();
                self.respond(id, response);
            }
            plan::Next::Finished(Err(error)) => {
                let response = failure(&error);
                self.respond(id, response);
            }
        }
    }

    fn take_job(&mut self, id: &RequestId) -> Option<Job> {
        let running = self
            .requests
            .get_mut(id)?
            .take_if(|state| matches!(state, State::Running(_)));
        let Some(State::Running(job)) = running else {
            return None;
        };
        Some(*job)
    }
}

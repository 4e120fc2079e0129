//! From the first sight of a request to its command.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use zeroize::Zeroizing;

use super::state::State;
use super::{Next, Request};
use crate::agent::Report;
use crate::agent::context::Context;
use crate::agent::envelope::Envelope;
use crate::agent::job::Job;
use crate::command::{self, Argument, Kind};
use crate::response::{Response, ReturnCode, harmless};
use crate::store::{Operation, Reply};
use crate::wire::ErrorName;

/// How long an empty request may stay empty: hosts write the value in the same operation.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(10);

/// The most characters of an unknown command's name that are repeated.
const NAME_MAX: usize = 64;

impl Request {
    /// A watch event named the node.
    pub(super) fn handle_fired(mut self, cx: &mut Context<'_>) -> Next {
        match &mut self.state {
            State::CheckingAnswered { changed_meanwhile }
            | State::Reading { changed_meanwhile }
            | State::Removing { changed_meanwhile } => {
                *changed_meanwhile = true;
                Next::Keep(self)
            }
            State::AwaitingContent { .. } => self.read(cx),
            State::Unreadable => self.begin(cx),
            // It was read, or will be: what the host does to it now is seen then.
            State::AwaitingTurn
            | State::Running(_)
            | State::ConfirmingDemand { .. }
            | State::Answering { .. }
            | State::MakingRoom { .. }
            | State::AwaitingRetry { .. }
            | State::Unremovable => Next::Keep(self),
        }
    }

    /// A listing has the node: what the store refused is tried once more.
    pub(super) fn handle_listed(self, is_answered: bool, cx: &mut Context<'_>) -> Next {
        match &self.state {
            State::Unremovable => Next::Keep(self.remove(cx)),
            State::Unreadable if is_answered => Next::Keep(self.remove(cx)),
            State::Unreadable => self.begin(cx),
            State::CheckingAnswered { .. }
            | State::Reading { .. }
            | State::AwaitingContent { .. }
            | State::AwaitingTurn
            | State::Running(_)
            | State::ConfirmingDemand { .. }
            | State::Answering { .. }
            | State::MakingRoom { .. }
            | State::AwaitingRetry { .. }
            | State::Removing { .. } => Next::Keep(self),
        }
    }

    /// Reads the request, unless it is not known whether an earlier run has answered it.
    pub(super) fn begin(self, cx: &mut Context<'_>) -> Next {
        if cx.responses.may_be_of_earlier_run(&self.id) {
            self.submit(cx, |nodes| Operation::Read(nodes.response.clone()));
            self.keep(State::CheckingAnswered {
                changed_meanwhile: false,
            })
        } else {
            self.read(cx)
        }
    }

    pub(super) fn handle_checked(
        self,
        result: Result<Reply, ErrorName>,
        cx: &mut Context<'_>,
    ) -> Next {
        match result {
            Ok(_) => {
                self.make_room(cx);
                Next::Keep(self.remove(cx))
            }
            Err(ErrorName::Enoent) => self.read(cx),
            Err(error) => {
                if let Some(nodes) = &self.nodes {
                    cx.session.report_refusal("read", &nodes.response, error);
                }
                self.keep(State::Unreadable)
            }
        }
    }

    pub(super) fn read(self, cx: &mut Context<'_>) -> Next {
        self.submit(cx, |nodes| Operation::Read(nodes.request.clone()));
        self.keep(State::Reading {
            changed_meanwhile: false,
        })
    }

    pub(super) fn handle_read(
        mut self,
        result: Result<Vec<u8>, ErrorName>,
        changed_meanwhile: bool,
        cx: &mut Context<'_>,
    ) -> Next {
        let now = cx.session.now;
        self.read = now;
        let until = self.seen.after(EMPTY_TIMEOUT);
        match result {
            Ok(content) if content.is_empty() && changed_meanwhile => self.read(cx),
            Ok(content) if content.is_empty() && until <= now => {
                self.respond(Response::error("Request is malformed: it is empty"), cx)
            }
            Ok(content) if content.is_empty() => {
                cx.session.wake(&self.id, until);
                cx.turn.release(&self.id);
                self.keep(State::AwaitingContent { until })
            }
            // It may hold the content of a file.
            Ok(content) => self.handle_content(&Zeroizing::new(content), cx),
            // The host took it back, or this is the echo of its removal.
            Err(ErrorName::Enoent) if changed_meanwhile => self.read(cx),
            Err(ErrorName::Enoent) => Next::Gone,
            Err(error) => {
                if let Some(nodes) = &self.nodes {
                    cx.session.report_refusal("read", &nodes.request, error);
                }
                cx.turn.release(&self.id);
                self.keep(State::Unreadable)
            }
        }
    }

    /// Starts the command, or has it wait for its turn.
    fn handle_content(mut self, content: &[u8], cx: &mut Context<'_>) -> Next {
        let envelope = match Envelope::parse(content) {
            Ok(envelope) => envelope,
            Err(refusal) => return self.respond(refusal, cx),
        };
        let name: String = envelope.name.chars().take(NAME_MAX).map(harmless).collect();
        let Some(command) = command::find(&envelope.name, cx.policy) else {
            let message = format!("No such agent command '{name}'");
            self.command = name;
            let code = ReturnCode::NotFound;
            return self.respond(Response { code, message }, cx);
        };
        self.command = command.name.into();
        let is_taken = cx.turn.is_taken_from(&self.id);
        if command.kind == Kind::Change && (is_taken || cx.session.is_stopping) {
            // The content is dropped: it waits in the store, where the host can still take it back.
            cx.turn.wait(&self.id);
            return self.keep(State::AwaitingTurn);
        }
        self.start(Job::new(command, Argument::new(envelope.value)), cx)
    }

    pub(super) fn start(mut self, job: Job, cx: &mut Context<'_>) -> Next {
        match job.kind() {
            Kind::Change => {
                cx.turn.give(&self.id);
                cx.session.report(Report::Started {
                    request: self.id.clone(),
                    command: job.name().into(),
                });
            }
            // A change may have turned into a query while it waited.
            Kind::Query => cx.turn.release(&self.id),
        }
        self.state = State::Running(alloc::boxed::Box::new(job));
        Next::Start(self)
    }
}

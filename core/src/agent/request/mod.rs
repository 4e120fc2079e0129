//! The life of a request, as a state machine that takes itself by value.
//!
//! ```text
//!                     CheckingAnswered                                (connection ends)
//!  found: may be ──────►│   │                ┌────────────────────────────────────────────► forgotten, and found
//!  answered             │   │ not answered   │                                              again by a listing
//!                       │   ▼                │
//!  found ───────────────┼► Reading ──────────┴─► Running ───────┬──────────────────┐
//!                       │   │ ▲  │ ▲  a change, while another   │ quick            │ late: is it still wanted?
//!                 is    │   │ │  │ └───AwaitingTurn             │                  ▼
//!             answered  │   │ │  └────► its turn comes: Reading │          ConfirmingDemand ──► no: gone
//!                       │   │ └─ AwaitingContent (empty)        ▼                  │
//!                       │   └──► malformed, unknown: ──────► Answering ◄───────────┘
//!                       │                                     │ │ ▲ ▲
//!                       │        full: MakingRoom ◄───────────┘ │ │ └── AwaitingRetry ◄── refused, or no connection
//!                       │               └───────────────────────┼─┘
//!                       └────────────────────────────────────► Removing ──► gone, or found anew if it changed
//! ```
//!
//! Whatever the store refuses to read is `Unreadable`, what it refuses to remove `Unremovable`; both are left alone until a
//! listing finds them again. `Running` and what holds a response outlive the connection: a response in hand becomes
//! `AwaitingRetry`, an answered request `Unremovable`.

mod answer;
mod intake;
mod state;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use self::state::State;
use super::context::Context;
use super::job::{self, Job};
use super::retention::Need;
use super::session::Purpose;
use super::{REQUESTS, RESPONSES, RequestId};
use crate::command::{self, Argument};
use crate::effect::Outcome;
use crate::store::{Operation, Reply};
use crate::time::Instant;
use crate::wire::{ErrorName, StorePath};

/// A request that is followed.
pub(super) struct Request {
    id: RequestId,
    /// `None` for the reset of the network at the start, which no host asked for.
    nodes: Option<Nodes>,
    /// The command that it named, in harmless characters, once it was read.
    command: String,
    /// When it was first seen.
    seen: Instant,
    /// When it was read.
    read: Instant,
    state: State,
}

/// The nodes of a request in Xenstore.
struct Nodes {
    request: StorePath,
    response: StorePath,
}

/// Something that concerns one request.
pub(super) enum Event {
    /// The store answered the operation that the state awaits.
    Answer(Result<Reply, ErrorName>),
    /// The connection has ended: nothing that was submitted will be answered.
    Disconnected,
    /// The store answered its command's question for the children of a node.
    FactList(StorePath, Result<Vec<String>, ErrorName>),
    /// The store answered its command's question for a value.
    FactValue(StorePath, Result<Vec<u8>, ErrorName>),
    /// A watch event named its node.
    Fired,
    /// A listing has its node, and maybe its response.
    Listed { is_answered: bool },
    /// An effect of its command has this outcome.
    Outcome(Outcome),
    /// There is a connection again.
    Reconnected,
    /// It has been given the turn that it waited for.
    TurnGiven,
    /// It said [`Next::Start`], and everybody else has had their say.
    Started,
    /// The time that it wanted to be woken at has come.
    Woken,
}

/// What becomes of a request after an event.
pub(super) enum Next {
    /// It was just answered.
    Answered(Request),
    /// It is over, and its node changed while it was being removed: by the removal itself, or because the host used its
    /// name again.
    Anew,
    /// It is over.
    Gone,
    /// It goes on.
    Keep(Request),
    /// It goes on with [`Event::Started`] at once.
    Start(Request),
}

impl Request {
    /// Follows a request that was found in the store.
    pub(super) fn find(id: RequestId, cx: &mut Context<'_>) -> Next {
        match Self::new(id, cx.session.now) {
            Some(request) => request.begin(cx),
            None => Next::Gone,
        }
    }

    /// Follows a request that an earlier run got as far as answering.
    pub(super) fn find_answered(id: RequestId, cx: &mut Context<'_>) -> Next {
        match Self::new(id, cx.session.now) {
            Some(request) => Next::Keep(request.remove(cx)),
            None => Next::Gone,
        }
    }

    /// The reset of the network at the start.
    pub(super) fn start_up(cx: &mut Context<'_>) -> Next {
        let command = command::reset_network();
        let request = Self {
            id: RequestId::start_up(),
            nodes: None,
            command: command.name.into(),
            seen: cx.session.now,
            read: cx.session.now,
            state: State::AwaitingTurn,
        };
        request.start(
            Job::new(command, Argument::new(serde_json::Value::Null)),
            cx,
        )
    }

    fn new(id: RequestId, now: Instant) -> Option<Self> {
        let nodes = Nodes {
            request: REQUESTS.join(id.as_str()).ok()?,
            response: RESPONSES.join(id.as_str()).ok()?,
        };
        Some(Self {
            id,
            nodes: Some(nodes),
            command: String::new(),
            seen: now,
            read: now,
            state: State::AwaitingTurn,
        })
    }

    /// Takes note of an event, and does what follows from it.
    pub(super) fn handle(self, event: Event, cx: &mut Context<'_>) -> Next {
        match event {
            Event::Answer(result) => self.handle_answer(result, cx),
            Event::Disconnected => self.handle_disconnected(),
            Event::FactList(path, names) => {
                self.with_job(cx, |job, id, cx| job.handle_list(id, path, names, cx))
            }
            Event::FactValue(path, value) => {
                self.with_job(cx, |job, id, cx| job.handle_value(id, path, value, cx))
            }
            Event::Fired => self.handle_fired(cx),
            Event::Listed { is_answered } => self.handle_listed(is_answered, cx),
            Event::Outcome(outcome) => {
                self.with_job(cx, |job, id, cx| job.handle_outcome(id, outcome, cx))
            }
            Event::Reconnected => self.handle_reconnected(cx),
            Event::Started => self.with_job(cx, Job::advance),
            Event::TurnGiven if matches!(self.state, State::AwaitingTurn) => self.read(cx),
            Event::TurnGiven => Next::Keep(self),
            Event::Woken => self.handle_woken(cx),
        }
    }

    pub(super) const fn delays_readiness(&self) -> bool {
        self.state.delays_readiness()
    }

    pub(super) const fn is_in_hand(&self, is_connected: bool) -> bool {
        self.state.is_in_hand(is_connected)
    }

    pub(super) const fn is_left_alone(&self) -> bool {
        self.state.is_left_alone()
    }

    pub(super) const fn awaits_turn(&self) -> bool {
        matches!(self.state, State::AwaitingTurn)
    }

    /// What its response is needed for.
    pub(super) const fn need(&self) -> Need {
        self.state.need()
    }

    /// The name of its state, for tests and logs.
    pub(super) const fn state_name(&self) -> &'static str {
        self.state.name()
    }

    fn handle_answer(mut self, result: Result<Reply, ErrorName>, cx: &mut Context<'_>) -> Next {
        match core::mem::replace(&mut self.state, State::Unreadable) {
            State::CheckingAnswered { .. } => self.handle_checked(result, cx),
            State::Reading { changed_meanwhile } => {
                self.handle_read(result.and_then(Reply::into_value), changed_meanwhile, cx)
            }
            State::ConfirmingDemand { response } => self.handle_demand(response, result, cx),
            State::Answering { response, attempt } => {
                self.handle_written(response, attempt, result, cx)
            }
            State::MakingRoom { response } => {
                self.handle_responses(response, result.and_then(Reply::into_names), cx)
            }
            State::Removing { changed_meanwhile } => {
                self.handle_removed(changed_meanwhile, result, cx)
            }
            // These await no operation.
            state @ (State::Unreadable
            | State::AwaitingContent { .. }
            | State::AwaitingTurn
            | State::Running(_)
            | State::AwaitingRetry { .. }
            | State::Unremovable) => self.keep(state),
        }
    }

    /// Keeps work and responses. What a listing finds again is over.
    fn handle_disconnected(mut self) -> Next {
        match core::mem::replace(&mut self.state, State::Unremovable) {
            State::ConfirmingDemand { response }
            | State::Answering { response, .. }
            | State::MakingRoom { response }
            | State::AwaitingRetry { response, .. } => self.keep(State::AwaitingRetry {
                response,
                until: None,
            }),
            State::Running(job) => self.keep(State::Running(job)),
            // Its response may be gone by the time that it is listed again.
            State::Removing { .. } | State::Unremovable => Next::Keep(self),
            State::Unreadable
            | State::CheckingAnswered { .. }
            | State::Reading { .. }
            | State::AwaitingContent { .. }
            | State::AwaitingTurn => Next::Gone,
        }
    }

    fn handle_reconnected(mut self, cx: &mut Context<'_>) -> Next {
        match core::mem::replace(&mut self.state, State::Unremovable) {
            State::AwaitingRetry { response, .. } => self.confirm_demand(response, cx),
            State::Running(job) => {
                job.ask_store_again(&self.id, cx.session);
                self.keep(State::Running(job))
            }
            state @ (State::Unreadable
            | State::CheckingAnswered { .. }
            | State::Reading { .. }
            | State::AwaitingContent { .. }
            | State::AwaitingTurn
            | State::ConfirmingDemand { .. }
            | State::Answering { .. }
            | State::MakingRoom { .. }
            | State::Removing { .. }
            | State::Unremovable) => self.keep(state),
        }
    }

    fn handle_woken(mut self, cx: &mut Context<'_>) -> Next {
        let now = cx.session.now;
        match core::mem::replace(&mut self.state, State::Unreadable) {
            // The event of its value may have been lost.
            State::AwaitingContent { until } if until <= now => self.read(cx),
            State::AwaitingRetry {
                response,
                until: Some(until),
            } if until <= now => self.confirm_demand(response, cx),
            State::Running(job) => {
                self.state = State::Running(job);
                self.with_job(cx, Job::handle_woken)
            }
            // The timer was for a state that the request has left.
            state @ (State::Unreadable
            | State::CheckingAnswered { .. }
            | State::Reading { .. }
            | State::AwaitingContent { .. }
            | State::AwaitingTurn
            | State::ConfirmingDemand { .. }
            | State::Answering { .. }
            | State::MakingRoom { .. }
            | State::AwaitingRetry { .. }
            | State::Removing { .. }
            | State::Unremovable) => self.keep(state),
        }
    }

    /// Lets the command go on, if it is at work.
    fn with_job(
        mut self,
        cx: &mut Context<'_>,
        go_on: impl FnOnce(Box<Job>, &RequestId, &mut Context<'_>) -> job::Next,
    ) -> Next {
        match core::mem::replace(&mut self.state, State::Unreadable) {
            State::Running(job) => match go_on(job, &self.id, cx) {
                job::Next::Wait(job) => self.keep(State::Running(job)),
                job::Next::Respond(response) => self.respond(response, cx),
            },
            state @ (State::Unreadable
            | State::CheckingAnswered { .. }
            | State::Reading { .. }
            | State::AwaitingContent { .. }
            | State::AwaitingTurn
            | State::ConfirmingDemand { .. }
            | State::Answering { .. }
            | State::MakingRoom { .. }
            | State::AwaitingRetry { .. }
            | State::Removing { .. }
            | State::Unremovable) => self.keep(state),
        }
    }

    fn keep(mut self, state: State) -> Next {
        self.state = state;
        Next::Keep(self)
    }

    /// Submits an operation for the state that the request is about to take.
    fn submit(&self, cx: &mut Context<'_>, operation: impl FnOnce(&Nodes) -> Operation) {
        if let Some(nodes) = &self.nodes {
            let purpose = Purpose::Request(self.id.clone());
            cx.session.submit(purpose, operation(nodes));
        }
    }
}

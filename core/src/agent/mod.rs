//! The life of requests: found in the store, read, carried out, answered, removed.
//!
//! The agent speaks in operations and events of the [`store`](crate::store), so it works over a byte stream
//! ([`Machine`](crate::Machine) adds that) as well as over any other way to Xenstore. It knows nothing of bytes.
//!
//! ```text
//!  event or listing        parse            Need / Run                     WRITE data/guest/<id>   RM data/host/<id>
//! ──────────────────► Reading ──► Waiting ──► Running ──► (Checking) ──► Answering ──────────► Removing ──► gone
//!                        │  ▲     (a change     │                            │ ▲
//!                 empty  ▼  │      at a time)   ▼ quick answers              ▼ │ refused: sweep, then try later
//!                       Empty ─────────► 500                                Held
//! ```

mod clean_up;
mod jobs;
mod life_cycle;
mod report;
mod request;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use core::time::Duration;

use self::clean_up::Responses;
pub use self::clean_up::{RESPONSE_TIMEOUT, RESPONSES_MAX};
use self::jobs::Job;
pub use self::report::Report;
pub use self::request::RequestId;
use crate::config::Config;
use crate::crypto::exchanges::Exchanges;
use crate::effect::{Effect, EffectId, Failure, Outcome};
use crate::response::Response;
use crate::store::{Event, Operation, OperationId};
use crate::time::Instant;
use crate::wire::{StorePath, Token};

/// Where the host puts its requests.
pub const REQUESTS: StorePath = StorePath::constant("data/host");

/// Where the agent puts its responses.
pub const RESPONSES: StorePath = StorePath::constant("data/guest");

/// The most requests that are followed at once. The store holds the others until there is room.
pub const REQUESTS_MAX: usize = 1024;

/// The token of the watch on [`REQUESTS`].
const TOKEN: &str = "nova-agent";

/// How long a store that cannot be reached keeps the agent from being ready: services that bring the network up wait for
/// that.
pub const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long after [`Agent::handle_terminate`] the agent leaves although something is still in hand. Plans take less.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The agent above the store: which request is where in its life, and what is to be done about it.
///
/// Inputs are the `handle_*` functions; after each of them call [`Agent::poll`] until it returns `None`, then come back
/// at [`Agent::deadline`] at the latest, with [`Agent::handle_timeout`]. Inputs after [`Output::Exit`] are ignored.
pub struct Agent {
    config: Config,
    now: Instant,
    outputs: VecDeque<Output>,
    connected: bool,
    last_operation: u64,
    operations: BTreeMap<OperationId, Purpose>,
    last_effect: u64,
    effects: BTreeMap<EffectId, PendingEffect>,
    requests: BTreeMap<RequestId, Request>,
    /// When to look at a request again, once each; an entry whose request has moved on means nothing.
    timers: BTreeSet<(Instant, RequestId)>,
    turn: Turn,
    listing: Listing,
    responses: Responses,
    exchanges: Exchanges,
    readiness: Readiness,
    alive_at: Option<Instant>,
    stopping: Stopping,
}

/// What the agent wants done.
#[derive(Debug, Eq, PartialEq)]
pub enum Output {
    /// Leave: everything in hand is finished. Nothing follows.
    Exit,
    /// Carry out an effect and report its outcome with [`Agent::handle_completed`], once.
    Perform(EffectId, Effect),
    /// Write it to the log, and tell the service manager if it concerns it.
    Report(Report),
    /// Carry out an operation in Xenstore and report its answer with [`Agent::handle_event`].
    Store(OperationId, Operation),
}

/// The driver broke the contract. The agent's state is what it was before.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Misuse {
    /// Bytes or an event came although there is no connection.
    #[error("there is no connection")]
    NotConnected,
    /// The id of an effect was never given out.
    #[error("effect {0} was never given out")]
    UnknownEffect(EffectId),
}

/// Why an operation is under way.
#[derive(Debug)]
enum Purpose {
    /// Whether the host still waits, before a late answer.
    Check(RequestId),
    /// Fact for a command: the children of a node.
    FactList(RequestId, StorePath),
    /// Fact for a command: a value.
    FactValue(RequestId, StorePath),
    /// The listing of [`REQUESTS`].
    ListRequests,
    /// The listing of [`RESPONSES`], at the start of a connection.
    ListResponses,
    /// Whether a request is answered, when the responses could not be listed.
    Look(RequestId),
    /// The content of a request.
    Read(RequestId),
    /// The removal of a request that is answered.
    Remove(RequestId),
    /// Room is made; how it ends does not matter.
    RemoveOld,
    /// The same of one response.
    RemoveResponse(RequestId),
    /// The listing of [`RESPONSES`] before the answer to a request is tried once more.
    Sweep(RequestId),
    /// The watch on [`REQUESTS`].
    Watch,
    /// The answer to a request.
    Write(RequestId),
}

/// An effect that has been given out.
#[derive(Debug)]
struct PendingEffect {
    request: RequestId,
    deadline: Instant,
    /// Whether the deadline was put off because of a pause, which happens once.
    is_forgiven: bool,
}

/// A request and where it is in its life.
struct Request {
    state: State,
    /// The command that it named, in harmless characters, once it was read.
    command: String,
    /// When it was first seen.
    seen: Instant,
    /// When it was read.
    read: Instant,
}

enum State {
    /// The response is being written. `attempt` counts from 0.
    Answering { response: Response, attempt: u8 },
    /// The response waits for an answer to whether the host still wants it.
    Checking { response: Response },
    /// The node was empty: its writer may not have come to the value yet.
    Empty { until: Instant },
    /// The store refused the response or is away: it is tried again at `until`, or at the next connection.
    Held {
        response: Response,
        until: Option<Instant>,
    },
    /// The node is being read; `again` if it changed meanwhile.
    Reading { again: bool },
    /// Answered; the node is being removed; `again` if it changed meanwhile.
    Removing { again: bool },
    /// The command is at work.
    Running(Box<Job>),
    /// The store refuses to read or, if `answered`, to remove the node: left alone until the next listing.
    Stuck { answered: bool },
    /// A change that waits for its turn. Its content waits in the store.
    Waiting,
}

impl Request {
    /// Takes the state out if it is one of the wanted ones; the caller puts the next one in.
    fn take_if(&mut self, wanted: fn(&State) -> bool) -> Option<State> {
        wanted(&self.state).then(|| core::mem::replace(&mut self.state, State::Waiting))
    }
}

/// Whose turn it is to change the guest.
#[derive(Debug, Default)]
struct Turn {
    in_hand: Option<RequestId>,
    waiting: VecDeque<RequestId>,
}

/// The listings of requests and responses.
#[derive(Debug, Default)]
struct Listing {
    /// Whether the watch is set.
    watched: bool,
    /// Whether the log says that the store refuses the watch: it is tried again every few seconds.
    refused: bool,
    in_flight: bool,
    /// Whether one has been answered on this connection.
    listed: bool,
    /// Another one is wanted after the one in flight.
    again: bool,
    /// Requests that an event named before that: whether an earlier run has answered them is not known yet.
    early: BTreeSet<RequestId>,
    /// There were more requests than [`REQUESTS_MAX`]: list again when there is room.
    overflow: bool,
    /// The next one, if nothing calls for one earlier.
    due: Option<Instant>,
    /// At the start of a connection: the responses that exist, if the store lists them.
    found_responses: Option<BTreeSet<RequestId>>,
    /// There are more responses than can be listed.
    too_many_responses: bool,
    /// Since when there are too many requests to list.
    too_long_since: Option<Instant>,
}

/// Whether the requests that waited when the agent started are answered.
#[derive(Debug, Eq, PartialEq)]
enum Readiness {
    /// They are not known yet; the agent is ready at this time all the same, if the store could not be reached.
    Unknown {
        until: Option<Instant>,
    },
    /// These are not answered yet.
    Awaiting(BTreeSet<RequestId>),
    Ready,
}

/// Whether the agent is about to leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stopping {
    No,
    /// When everything in hand is finished, at this time at the latest.
    Until(Instant),
    /// It has left.
    Gone,
}

impl Agent {
    /// An agent without a connection.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            alive_at: config.alive.map(|_| Instant::default()),
            config,
            now: Instant::default(),
            outputs: VecDeque::new(),
            connected: false,
            last_operation: 0,
            operations: BTreeMap::new(),
            last_effect: 0,
            effects: BTreeMap::new(),
            requests: BTreeMap::new(),
            timers: BTreeSet::new(),
            turn: Turn::default(),
            listing: Listing::default(),
            responses: Responses::default(),
            exchanges: Exchanges::new(),
            readiness: Readiness::Unknown { until: None },
            stopping: Stopping::No,
        }
    }

    /// The store can be reached. Nothing that was submitted before will be answered any more.
    pub fn handle_connected(&mut self, now: Instant) {
        self.advance_clock(now);
        // While it stops, the command in hand still has to be answered.
        if self.connected || self.stopping == Stopping::Gone {
            return;
        }
        self.connected = true;
        self.begin_connection();
        self.settle();
    }

    /// The store cannot be reached any more.
    pub fn handle_disconnected(&mut self, now: Instant) {
        if self.stopping == Stopping::Gone {
            return;
        }
        self.advance_clock(now);
        if let Readiness::Unknown {
            until: until @ None,
        } = &mut self.readiness
        {
            *until = Some(self.now.after(READY_TIMEOUT));
        }
        self.end_connection();
        self.settle();
    }

    /// The store answered an operation, or a watch fired.
    ///
    /// # Errors
    /// [`Misuse::NotConnected`] if there is no connection that it could come from.
    pub fn handle_event(&mut self, now: Instant, event: Event) -> Result<(), Misuse> {
        if !self.connected {
            return Err(Misuse::NotConnected);
        }
        if self.stopping == Stopping::Gone {
            return Ok(());
        }
        self.advance_clock(now);
        match event {
            Event::Answered(id, result) => {
                // An id that is not known belongs to a connection that has ended.
                if let Some(purpose) = self.operations.remove(&id) {
                    self.handle_answer(purpose, result);
                }
            }
            Event::Fired { path, token } if token.as_bytes() == TOKEN.as_bytes() => {
                self.handle_fired(&path)
            }
            Event::Fired { .. } => {}
        }
        self.settle();
        Ok(())
    }

    /// What became of an effect. An outcome that comes a second time or after the effect's deadline is ignored.
    ///
    /// # Errors
    /// [`Misuse::UnknownEffect`] for an id that was never given out.
    pub fn handle_completed(
        &mut self,
        now: Instant,
        id: EffectId,
        outcome: Outcome,
    ) -> Result<(), Misuse> {
        if id.0 == 0 || id.0 > self.last_effect {
            return Err(Misuse::UnknownEffect(id));
        }
        if self.stopping == Stopping::Gone {
            return Ok(());
        }
        self.advance_clock(now);
        if let Some(pending) = self.effects.remove(&id) {
            self.handle_outcome(&pending.request, outcome);
        }
        self.settle();
        Ok(())
    }

    /// Time has passed: call it at [`Agent::deadline`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.stopping == Stopping::Gone {
            return;
        }
        self.advance_clock(now);
        let now = self.now;
        self.forgive_pause();
        let late: alloc::vec::Vec<EffectId> = self
            .effects
            .iter()
            .filter(|(_, pending)| pending.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(pending) = self.effects.remove(&id) {
                let failure = Failure::TimedOut {
                    output: String::new(),
                };
                self.handle_outcome(&pending.request, Outcome::Failed(failure));
            }
        }
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((_, id)) = self.timers.pop_first()
        {
            self.handle_timer(&id);
        }
        self.exchanges.expire(now);
        if let Readiness::Unknown { until: Some(until) } = self.readiness
            && until <= now
        {
            self.readiness = Readiness::Awaiting(BTreeSet::new());
        }
        if self.connected {
            self.remove_old_responses();
            if self.listing.due.is_some_and(|due| due <= now) {
                self.listing.due = None;
                self.list_again();
            }
        }
        if let (Some(at), Some(interval)) = (self.alive_at, self.config.alive)
            && at <= now
        {
            self.alive_at = Some(now.after(interval));
            self.outputs.push_back(Output::Report(Report::Alive));
        }
        self.settle();
    }

    /// The agent is to leave: it finishes the command in hand, answers, and says [`Output::Exit`]. What waits, waits in the
    /// store for the next start. A plan in hand is carried to its end: a guest between two steps would be worse off.
    pub fn handle_terminate(&mut self, now: Instant) {
        self.advance_clock(now);
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Until(self.now.after(STOP_TIMEOUT));
            self.outputs.push_back(Output::Report(Report::Stopping));
        }
        self.settle();
    }

    /// Whether the store has answered everything that a connection begins with.
    pub(crate) const fn has_listed(&self) -> bool {
        self.listing.listed
    }

    /// The next thing to be done, if there is one.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Agent::handle_timeout`] has something to do, if nothing happens before; `None` for never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.stopping == Stopping::Gone {
            return None;
        }
        let effects = self.effects.values().map(|pending| pending.deadline).min();
        let timers = self.timers.first().map(|(at, _)| *at);
        let store = if self.connected {
            [self.responses.deadline(), self.listing.due]
                .into_iter()
                .flatten()
                .min()
        } else {
            None
        };
        let ready = match self.readiness {
            Readiness::Unknown { until } => until,
            Readiness::Awaiting(_) | Readiness::Ready => None,
        };
        let stop = match self.stopping {
            Stopping::Until(at) => Some(at),
            Stopping::Gone | Stopping::No => None,
        };
        [
            effects,
            timers,
            store,
            ready,
            stop,
            self.exchanges.next_expiry(),
            self.alive_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Time that goes backwards is ignored.
    fn advance_clock(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// What has to hold after every input.
    fn settle(&mut self) {
        self.check_readiness();
        self.leave_when_done();
    }

    /// Puts deadlines off that passed long ago: the guest was paused, and so were its programs. Their outcomes are about
    /// to come, but a driver may need a moment for them.
    fn forgive_pause(&mut self) {
        /// A driver that is late by more was not running.
        const LATE: Duration = Duration::from_secs(1);
        const RESPITE: Duration = Duration::from_secs(5);

        let now = self.now;
        for pending in self.effects.values_mut() {
            if !pending.is_forgiven && now.since(pending.deadline) > LATE {
                pending.is_forgiven = true;
                pending.deadline = now.after(RESPITE);
            }
        }
    }

    /// Looks at a request at this time, and not at the one before.
    fn wake(&mut self, id: &RequestId, at: Instant) {
        self.timers.retain(|(_, other)| other != id);
        self.timers.insert((at, id.clone()));
    }

    fn submit(&mut self, purpose: Purpose, operation: Operation) {
        self.last_operation = self.last_operation.saturating_add(1);
        let id = OperationId(self.last_operation);
        self.operations.insert(id, purpose);
        self.outputs.push_back(Output::Store(id, operation));
    }

    fn perform(&mut self, request: &RequestId, effect: Effect) {
        self.last_effect = self.last_effect.saturating_add(1);
        let id = EffectId(self.last_effect);
        let deadline = self.now.after(effect.timeout());
        self.effects.insert(
            id,
            PendingEffect {
                request: request.clone(),
                deadline,
                is_forgiven: false,
            },
        );
        self.outputs.push_back(Output::Perform(id, effect));
    }

    fn check_readiness(&mut self) {
        let Readiness::Awaiting(awaited) = &mut self.readiness else {
            return;
        };
        // A request that the store or the guest keeps from being answered must not keep the guest from booting.
        awaited.retain(
            |id| match self.requests.get(id).map(|request| &request.state) {
                None | Some(State::Empty { .. } | State::Held { .. } | State::Stuck { .. }) => {
                    false
                }
                Some(
                    State::Answering { .. }
                    | State::Checking { .. }
                    | State::Reading { .. }
                    | State::Removing { .. }
                    | State::Running(_)
                    | State::Waiting,
                ) => true,
            },
        );
        if awaited.is_empty() {
            self.readiness = Readiness::Ready;
            self.outputs.push_back(Output::Report(Report::Ready));
        }
    }

    fn leave_when_done(&mut self) {
        let Stopping::Until(at) = self.stopping else {
            return;
        };
        let in_hand = |request: &Request| match &request.state {
            State::Running(_) => true,
            State::Answering { .. } | State::Checking { .. } | State::Removing { .. } => {
                self.connected
            }
            State::Empty { .. }
            | State::Held { .. }
            | State::Reading { .. }
            | State::Stuck { .. }
            | State::Waiting => false,
        };
        if at <= self.now || !self.requests.values().any(in_hand) {
            self.stopping = Stopping::Gone;
            self.exchanges.clear();
            self.outputs.push_back(Output::Exit);
        }
    }
}

/// The token of the watch as the store takes it.
fn token() -> Token {
    Token::try_from(TOKEN).unwrap_or_else(|_| unreachable!("the token is a constant without NUL"))
}

#[cfg(test)]
mod tests;

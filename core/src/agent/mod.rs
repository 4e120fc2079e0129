//! The agent above the store: finds requests, has them carried out, answered and removed.
//!
//! The agent speaks in operations and events of the [`store`](crate::store), so it works over a byte stream
//! ([`Machine`](crate::Machine) adds that) as well as over any other way to Xenstore. It knows nothing of bytes.
//!
//! | module | |
//! |--|--|
//! | `mailbox` | discovers requests: the watch and the listings |
//! | `requests` | all requests that are followed, and what they share |
//! | `request` | the life of one request, a state machine with a diagram |
//! | `context` | what a request can see and do |
//! | `job` | a command at work for a request: its questions, its plan |
//! | `retention` | which responses stay in the store |
//! | `turn` | which request may change the guest |
//! | `readiness` | whether the requests that waited at the start are answered |
//! | `session` | the clock, the connection, outputs and who awaits the answers |

mod context;
mod envelope;
mod id;
mod job;
mod mailbox;
mod output;
mod readiness;
mod report;
mod request;
mod requests;
mod retention;
mod session;
mod turn;

use alloc::collections::BTreeSet;
use alloc::string::String;
use core::time::Duration;

pub use self::id::RequestId;
use self::mailbox::Mailbox;
pub use self::output::{Misuse, Output};
pub use self::readiness::READY_TIMEOUT;
use self::readiness::Readiness;
pub use self::report::Report;
use self::requests::Requests;
pub use self::retention::{RESPONSE_TIMEOUT, RESPONSES_MAX};
use self::session::{Purpose, Session};
use crate::config::Config;
use crate::effect::{EffectId, Failure, Outcome};
use crate::store::{Event, Reply};
use crate::time::Instant;
use crate::wire::{ErrorName, StorePath};

/// Where the host puts its requests.
pub const REQUESTS: StorePath = StorePath::constant("data/host");

/// Where the agent puts its responses.
pub const RESPONSES: StorePath = StorePath::constant("data/guest");

/// The most requests that are followed at once. The store holds the others until there is room.
pub const REQUESTS_MAX: usize = 1024;

/// How long after [`Agent::handle_terminate`] the agent leaves although something is still in hand. Plans take less.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The agent above the store: which request is where in its life, and what is to be done about it.
///
/// Inputs are the `handle_*` functions; after each of them call [`Agent::poll`] until it returns `None`, then come back
/// at [`Agent::deadline`] at the latest, with [`Agent::handle_timeout`]. Inputs after [`Output::Exit`] are ignored.
pub struct Agent {
    session: Session,
    mailbox: Mailbox,
    requests: Requests,
    readiness: Readiness,
    /// How often the requests are listed without a reason.
    rescan: Option<Duration>,
    /// Whether the network is still to be reset, because this is the start.
    resets_network: bool,
    /// How often to report that the agent is alive, and when to do that next.
    alive: Option<(Duration, Instant)>,
    stopping: Stopping,
}

/// Whether the agent is about to leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stopping {
    No,
    /// When everything in hand is finished, at this time at the latest.
    Until(Instant),
    /// It has left.
    Terminated,
}

impl Agent {
    /// An agent without a connection.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let Config {
            commands,
            rescan,
            reset_network_at_start,
            alive,
        } = config;
        Self {
            session: Session::default(),
            mailbox: Mailbox::default(),
            requests: Requests::new(commands),
            readiness: Readiness::default(),
            rescan,
            resets_network: reset_network_at_start,
            alive: alive.map(|interval| (interval, Instant::default())),
            stopping: Stopping::No,
        }
    }

    /// The store can be reached. Nothing that was submitted before will be answered any more.
    pub fn handle_connected(&mut self, now: Instant) {
        self.session.advance_clock(now);
        // While it stops, the command in hand still has to be answered.
        if self.session.is_connected || self.stopping == Stopping::Terminated {
            return;
        }
        self.session.is_connected = true;
        self.requests.responses.connect();
        self.mailbox.connect(&mut self.session);
        self.requests.handle_connected(&mut self.session);
        if self.stopping == Stopping::No && core::mem::take(&mut self.resets_network) {
            self.requests.start_up(&mut self.session);
        }
        self.settle();
    }

    /// The store cannot be reached any more.
    pub fn handle_disconnected(&mut self, now: Instant) {
        if self.stopping == Stopping::Terminated {
            return;
        }
        self.session.advance_clock(now);
        self.readiness.handle_disconnected(self.session.now);
        if self.session.is_connected {
            self.session.disconnect();
            self.mailbox.disconnect();
            self.requests.handle_disconnected(&mut self.session);
        }
        self.settle();
    }

    /// The store answered an operation, or a watch fired.
    ///
    /// # Errors
    /// [`Misuse::NotConnected`] if there is no connection that it could come from.
    pub fn handle_event(&mut self, now: Instant, event: Event) -> Result<(), Misuse> {
        if !self.session.is_connected {
            return Err(Misuse::NotConnected);
        }
        if self.stopping == Stopping::Terminated {
            return Ok(());
        }
        self.session.advance_clock(now);
        match event {
            Event::Answered(id, result) => {
                if let Some(purpose) = self.session.take_purpose(id) {
                    self.handle_answer(purpose, result);
                }
            }
            Event::Fired { path, token } if mailbox::is_own(&token) => {
                let Self {
                    session,
                    mailbox,
                    requests,
                    ..
                } = self;
                if let Some(id) = mailbox.handle_fired(&path, session, &requests.responses) {
                    requests.find(id, session);
                }
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
        let is_terminated = self.stopping == Stopping::Terminated;
        let request = self.session.take_effect(id)?;
        if is_terminated {
            return Ok(());
        }
        self.session.advance_clock(now);
        if let Some(request) = request {
            self.tell(&request, request::Event::Outcome(outcome));
        }
        self.settle();
        Ok(())
    }

    /// Time has passed: call it at [`Agent::deadline`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.stopping == Stopping::Terminated {
            return;
        }
        self.session.advance_clock(now);
        let now = self.session.now;
        for request in self.session.take_late_effects() {
            let output = String::new();
            let outcome = Outcome::Failed(Failure::TimedOut { output });
            self.tell(&request, request::Event::Outcome(outcome));
        }
        while let Some(request) = self.session.next_woken() {
            self.tell(&request, request::Event::Woken);
        }
        self.requests.exchanges.expire(now);
        self.readiness.handle_timeout(now);
        if self.session.is_connected {
            self.requests.limit_responses(&mut self.session);
            self.mailbox
                .handle_timeout(&mut self.session, &self.requests.responses);
        }
        if let Some((interval, at)) = &mut self.alive
            && *at <= now
        {
            *at = now.after(*interval);
            self.session.report(Report::Alive);
        }
        self.settle();
    }

    /// The agent is to leave: it finishes the command in hand, answers, and says [`Output::Exit`]. What waits, waits in the
    /// store for the next start. A plan in hand is carried to its end: a guest between two steps would be worse off.
    pub fn handle_terminate(&mut self, now: Instant) {
        self.session.advance_clock(now);
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Until(self.session.now.after(STOP_TIMEOUT));
            self.session.is_stopping = true;
            self.session.report(Report::Stopping);
        }
        self.settle();
    }

    /// The next thing to be done, if there is one.
    pub fn poll(&mut self) -> Option<Output> {
        self.session.poll()
    }

    /// When [`Agent::handle_timeout`] has something to do, if nothing happens before; `None` for never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let stop = match self.stopping {
            Stopping::Terminated => return None,
            Stopping::Until(at) => Some(at),
            Stopping::No => None,
        };
        let store = self.session.is_connected.then(|| {
            let responses = self.requests.responses.deadline();
            responses.into_iter().chain(self.mailbox.deadline()).min()
        });
        [
            self.session.deadline(),
            store.flatten(),
            self.readiness.deadline(),
            stop,
            self.requests.exchanges.next_expiry(),
            self.alive.map(|(_, at)| at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Which request is in which state, by the state's name; for tests.
    #[doc(hidden)]
    pub fn states(&self) -> impl Iterator<Item = (&RequestId, &'static str)> {
        let states = self.requests.iter();
        states.map(|(id, request)| (id, request.state_name()))
    }

    /// Whether the store has answered everything that a connection begins with.
    pub(crate) const fn has_listed(&self) -> bool {
        self.mailbox.has_listed()
    }

    fn handle_answer(&mut self, purpose: Purpose, result: Result<Reply, ErrorName>) {
        let Self {
            session,
            mailbox,
            requests,
            ..
        } = self;
        match purpose {
            Purpose::Evict(id) => match result {
                Ok(_) | Err(ErrorName::Enoent) => requests.responses.handle_evicted(&id),
                Err(_) => requests.responses.handle_eviction_refused(session.now, id),
            },
            Purpose::EvictAll => {}
            Purpose::FactList(id, path) => {
                let event = request::Event::FactList(path, result.and_then(Reply::into_names));
                requests.handle(&id, event, session);
            }
            Purpose::FactValue(id, path) => {
                let event = request::Event::FactValue(path, result.and_then(Reply::into_value));
                requests.handle(&id, event, session);
            }
            Purpose::ListRequests => self.handle_requests(mailbox::ids(result)),
            Purpose::ListResponses => match mailbox::ids(result) {
                Ok(found) => requests.responses.handle_found(found),
                Err(error) => mailbox.handle_responses_refused(error, session),
            },
            Purpose::Request(id) => requests.handle(&id, request::Event::Answer(result), session),
            Purpose::Watch => mailbox.handle_watch(result, session, &requests.responses),
        }
    }

    /// The reply to the listing of requests.
    fn handle_requests(&mut self, result: Result<BTreeSet<RequestId>, ErrorName>) {
        let Self {
            session,
            mailbox,
            requests,
            ..
        } = self;
        let is_complete = match result {
            Ok(found) => {
                mailbox.handle_listed();
                requests.handle_listed(&found, session);
                // So many responses are of hosts that gave up long ago, and none of them is of a request that is still
                // there.
                if mailbox.take_too_many_responses()
                    && found.is_empty()
                    && requests.responses.is_empty()
                {
                    requests.responses.evict_all(session);
                    requests.responses.handle_found(BTreeSet::new());
                }
                requests.responses.are_known()
            }
            Err(error) => {
                mailbox.handle_refused(error, requests.is_empty(), session);
                false
            }
        };
        for id in mailbox.finish(is_complete, self.rescan, session.now) {
            requests.find(id, session);
        }
        self.readiness
            .handle_listed(requests.iter().map(|(id, _)| id.clone()));
        mailbox.list_if_asked(session, &requests.responses);
    }

    fn tell(&mut self, id: &RequestId, event: request::Event) {
        self.requests.handle(id, event, &mut self.session);
    }

    /// Does what follows from any input.
    fn settle(&mut self) {
        let Self {
            session,
            mailbox,
            requests,
            ..
        } = self;
        if session.is_connected && requests.take_room() {
            mailbox.list(session, &requests.responses);
        }
        let delays = |id: &RequestId| {
            requests
                .get(id)
                .is_some_and(|request| request.delays_readiness())
        };
        if self.readiness.becomes_ready(delays) {
            session.report(Report::Ready);
        }
        if let Stopping::Until(at) = self.stopping {
            let is_connected = session.is_connected;
            let is_busy = requests
                .iter()
                .any(|(_, request)| request.is_in_hand(is_connected));
            if at <= session.now || !is_busy {
                self.stopping = Stopping::Terminated;
                requests.exchanges.clear();
                session.exit();
            }
        }
    }
}

#[cfg(test)]
mod tests;

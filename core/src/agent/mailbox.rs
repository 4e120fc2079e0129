//! How requests are discovered: a watch on [`REQUESTS`], and listings of what it may not have told.

use alloc::collections::BTreeSet;
use core::time::Duration;

use super::retention::Responses;
use super::session::{Purpose, Session};
use super::{REQUESTS, REQUESTS_MAX, RESPONSES, Report, RequestId};
use crate::store::{Operation, Reply};
use crate::time::Instant;
use crate::wire::{ErrorName, StorePath, Token};

const TOKEN: &str = "nova-agent";

/// How often the requests are listed while the store refuses to watch them.
const UNWATCHED: Duration = Duration::from_secs(5);

/// How soon the requests are listed again when that failed: nothing else tells of those that waited at the start.
pub(super) const UNLISTED: Duration = Duration::from_secs(60);

/// How long requests that are too many to be listed are left alone: the longest time that a host waits for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// The state of watch and listings.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// Whether the watch is set.
    is_watched: bool,
    /// Whether the log says that the store refuses the watch: it is tried again every few seconds.
    is_refused: bool,
    is_in_flight: bool,
    /// Whether a listing has been answered on this connection.
    has_listed: bool,
    /// Whether another listing is wanted after the one in flight.
    list_again: bool,
    /// Requests that an event named before the first listing: whether an earlier run has answered them is not known yet.
    early: BTreeSet<RequestId>,
    /// The next listing, if nothing calls for one earlier.
    due: Option<Instant>,
    /// Whether there are more responses than can be listed.
    has_too_many_responses: bool,
    /// Since when there are too many requests to list.
    too_many_requests_since: Option<Instant>,
}

impl Mailbox {
    /// Begins a connection: sets the watch, then, when it is set, lists both sides.
    pub(super) fn connect(&mut self, session: &mut Session) {
        self.is_in_flight = true;
        self.list_again = false;
        watch(session);
    }

    pub(super) fn disconnect(&mut self) {
        self.due = None;
        self.is_watched = false;
        self.has_listed = false;
        self.is_refused = false;
    }

    /// A watch event: it names the node that changed, or something above it. Returns the request that it names, if that
    /// is to be looked at now.
    pub(super) fn handle_fired(
        &mut self,
        path: &StorePath,
        session: &mut Session,
        responses: &Responses,
    ) -> Option<RequestId> {
        let below = match path.below(&REQUESTS) {
            // Something above was replaced, or the store means "look again" by naming something else.
            Some("") | None => {
                self.list(session, responses);
                return None;
            }
            Some(below) => below,
        };
        let id = below.split('/').next().and_then(RequestId::from_node)?;
        self.too_many_requests_since = None;
        if self.has_listed {
            return Some(id);
        }
        if self.early.len() < REQUESTS_MAX {
            self.early.insert(id);
        } else {
            self.list_again = true;
        }
        None
    }

    /// Lists the requests, now or when the listing that is under way has ended.
    pub(super) fn list(&mut self, session: &mut Session, responses: &Responses) {
        if self.is_in_flight {
            self.list_again = true;
            return;
        }
        self.is_in_flight = true;
        if self.is_watched {
            submit_listings(session, responses);
        } else {
            watch(session);
        }
    }

    /// Lists the requests if it is time.
    pub(super) fn handle_timeout(&mut self, session: &mut Session, responses: &Responses) {
        if self.due.is_some_and(|due| due <= session.now) {
            self.due = None;
            self.list(session, responses);
        }
    }

    /// The reply to the watch.
    pub(super) fn handle_watch(
        &mut self,
        result: Result<Reply, ErrorName>,
        session: &mut Session,
        responses: &Responses,
    ) {
        // A store that knows the watch already has it set.
        self.is_watched = matches!(result, Ok(_) | Err(ErrorName::Eexist));
        if let Err(error) = result
            && !self.is_watched
            && !core::mem::replace(&mut self.is_refused, true)
        {
            session.report_refusal("watch", &REQUESTS, error);
        }
        if !self.has_listed {
            session.report(Report::Connected);
        }
        submit_listings(session, responses);
    }

    /// The store refused to list the responses: each request is looked up by itself then.
    pub(super) fn handle_responses_refused(&mut self, error: ErrorName, session: &mut Session) {
        self.has_too_many_responses = error == ErrorName::E2Big;
        session.report_refusal("list", &RESPONSES, error);
    }

    /// The store listed the requests.
    pub(super) fn handle_listed(&mut self) {
        self.is_in_flight = false;
        self.too_many_requests_since = None;
    }

    /// The store refused to list the requests. If they are more than it can list, watch events still name new ones. When no
    /// host can be waiting for the others any more, and none is followed, they are removed together.
    pub(super) fn handle_refused(
        &mut self,
        error: ErrorName,
        is_idle: bool,
        session: &mut Session,
    ) {
        self.is_in_flight = false;
        if error == ErrorName::E2Big {
            let now = session.now;
            let since = *self.too_many_requests_since.get_or_insert(now);
            if now.since(since) >= REQUEST_TIMEOUT && is_idle {
                self.too_many_requests_since = None;
                session.submit(Purpose::EvictAll, Operation::Remove(REQUESTS));
            }
        }
        session.report_refusal("list", &REQUESTS, error);
    }

    /// Ends a listing, and plans the next one: soon, if this one did not tell everything. Returns the requests that were
    /// named too early.
    pub(super) fn finish(
        &mut self,
        is_complete: bool,
        rescan: Option<Duration>,
        now: Instant,
    ) -> BTreeSet<RequestId> {
        let rescan = if self.is_watched {
            rescan
        } else {
            Some(UNWATCHED)
        };
        let retry = (!is_complete).then_some(UNLISTED);
        self.has_listed = true;
        self.due = rescan
            .into_iter()
            .chain(retry)
            .min()
            .map(|interval| now.after(interval));
        core::mem::take(&mut self.early)
    }

    /// Lists once more if that was asked for during the last listing.
    pub(super) fn list_if_asked(&mut self, session: &mut Session, responses: &Responses) {
        if core::mem::take(&mut self.list_again) {
            self.list(session, responses);
        }
    }

    /// Returns whether there were more responses than can be listed, once.
    pub(super) fn take_too_many_responses(&mut self) -> bool {
        core::mem::take(&mut self.has_too_many_responses)
    }

    /// Whether the store has answered everything that a connection begins with.
    pub(super) const fn has_listed(&self) -> bool {
        self.has_listed
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.due
    }
}

/// The token of the watch on [`REQUESTS`].
pub(super) fn token() -> Token {
    Token::try_from(TOKEN).unwrap_or_else(|_| unreachable!("the token is a constant without NUL"))
}

/// Whether a watch event is one of the watch on [`REQUESTS`].
pub(super) fn is_own(token: &Token) -> bool {
    token.as_bytes() == TOKEN.as_bytes()
}

/// The requests or responses that a listing names. A node that does not exist has none.
pub(super) fn ids(result: Result<Reply, ErrorName>) -> Result<BTreeSet<RequestId>, ErrorName> {
    match result.and_then(Reply::into_names) {
        Ok(names) => Ok(names
            .iter()
            .filter_map(|name| RequestId::from_node(name))
            .collect()),
        Err(ErrorName::Enoent) => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

fn watch(session: &mut Session) {
    let operation = Operation::Watch {
        path: REQUESTS,
        token: token(),
    };
    session.submit(Purpose::Watch, operation);
}

fn submit_listings(session: &mut Session, responses: &Responses) {
    if !responses.are_known() {
        session.submit(Purpose::ListResponses, Operation::List(RESPONSES));
    }
    session.submit(Purpose::ListRequests, Operation::List(REQUESTS));
}

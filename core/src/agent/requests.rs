//! All requests that are followed, and what they share.

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::context::Context;
use super::request::{Event, Next, Request};
use super::retention::{Need, Responses};
use super::session::Session;
use super::turn::Turn;
use super::{REQUESTS_MAX, RequestId};
use crate::config::CommandPolicy;
use crate::crypto::exchanges::Exchanges;

/// The requests, by their ids.
pub(super) struct Requests {
    all: BTreeMap<RequestId, Request>,
    policy: CommandPolicy,
    pub(super) turn: Turn,
    pub(super) exchanges: Exchanges,
    pub(super) responses: Responses,
    /// There were more requests than [`REQUESTS_MAX`]: they are listed again when there is room.
    has_overflowed: bool,
}

impl Requests {
    pub(super) fn new(policy: CommandPolicy) -> Self {
        Self {
            all: BTreeMap::new(),
            policy,
            turn: Turn::default(),
            exchanges: Exchanges::new(),
            responses: Responses::default(),
            has_overflowed: false,
        }
    }

    /// A request was seen, for the first time or again.
    pub(super) fn find(&mut self, id: RequestId, session: &mut Session) {
        if session.is_stopping {
            return;
        }
        if self.all.contains_key(&id) {
            self.handle(&id, Event::Fired, session);
        } else if self.all.len() < REQUESTS_MAX {
            self.begin(&id, session, |cx| Request::find(id.clone(), cx));
        } else {
            self.has_overflowed = true;
        }
    }

    /// Begins with the reset of the network at the start.
    pub(super) fn start_up(&mut self, session: &mut Session) {
        self.begin(&RequestId::start_up(), session, Request::start_up);
    }

    /// Compares what is followed with the requests that the store has.
    pub(super) fn handle_listed(&mut self, found: &BTreeSet<RequestId>, session: &mut Session) {
        for id in self.ids_where(|request| request.is_left_alone()) {
            if !found.contains(&id) {
                self.all.remove(&id);
                self.leave(&id, session);
            }
        }
        let answered = self.responses.take_found();
        for id in found {
            let is_answered = answered.contains(id) || self.responses.contains(id);
            if self.all.contains_key(id) {
                self.handle(id, Event::Listed { is_answered }, session);
            } else if is_answered {
                self.begin(id, session, |cx| Request::find_answered(id.clone(), cx));
            } else {
                self.find(id.clone(), session);
            }
        }
        for id in answered {
            if !self.responses.contains(&id) {
                self.responses.insert(session.now, id);
                let all = &self.all;
                self.responses.limit_burst(session, |id| need(all, id));
            }
        }
        self.limit_responses(session);
    }

    /// Tells a request of an event, if it is followed, and everybody of what came of it.
    pub(super) fn handle(&mut self, id: &RequestId, event: Event, session: &mut Session) {
        if let Some(request) = self.all.remove(id) {
            let next = self.with_context(session, |cx| request.handle(event, cx));
            self.go_on(id, next, session);
        }
    }

    /// The connection has ended.
    pub(super) fn handle_disconnected(&mut self, session: &mut Session) {
        self.responses.disconnect();
        self.turn.disconnect();
        for id in self.ids_where(|_| true) {
            self.handle(&id, Event::Disconnected, session);
        }
    }

    /// There is a connection: takes up what the last one left.
    pub(super) fn handle_connected(&mut self, session: &mut Session) {
        for id in self.ids_where(|_| true) {
            self.handle(&id, Event::Reconnected, session);
        }
    }

    /// Removes responses that are too old or too many.
    pub(super) fn limit_responses(&mut self, session: &mut Session) {
        let all = &self.all;
        self.responses.limit(session, |id| need(all, id));
    }

    /// Returns whether there is room again for requests that found none, once.
    pub(super) fn take_room(&mut self) -> bool {
        let has_room = self.has_overflowed && self.all.len() <= REQUESTS_MAX / 2;
        self.has_overflowed &= !has_room;
        has_room
    }

    pub(super) fn get(&self, id: &RequestId) -> Option<&Request> {
        self.all.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&RequestId, &Request)> {
        self.all.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn begin(
        &mut self,
        id: &RequestId,
        session: &mut Session,
        begin: impl FnOnce(&mut Context<'_>) -> Next,
    ) {
        let next = self.with_context(session, begin);
        self.go_on(id, next, session);
    }

    fn with_context(
        &mut self,
        session: &mut Session,
        action: impl FnOnce(&mut Context<'_>) -> Next,
    ) -> Next {
        let all = &self.all;
        action(&mut Context {
            session,
            policy: &self.policy,
            exchanges: &mut self.exchanges,
            turn: &mut self.turn,
            responses: &mut self.responses,
            need: &|id| all.get(id).map(Request::need),
        })
    }

    fn go_on(&mut self, id: &RequestId, next: Next, session: &mut Session) {
        match next {
            Next::Answered(request) => {
                self.all.insert(id.clone(), request);
                // Its age is counted from here.
                self.responses.insert(session.now, id.clone());
                self.limit_responses(session);
                self.pass_turn(session);
            }
            Next::Anew => {
                self.leave(id, session);
                self.find(id.clone(), session);
            }
            Next::Gone => self.leave(id, session),
            Next::Keep(request) => {
                self.all.insert(id.clone(), request);
                self.pass_turn(session);
            }
            Next::Start(request) => {
                self.all.insert(id.clone(), request);
                self.pass_turn(session);
                self.handle(id, Event::Started, session);
            }
        }
    }

    /// A request is over.
    fn leave(&mut self, id: &RequestId, session: &mut Session) {
        session.cancel_timer(id);
        self.turn.release(id);
        self.pass_turn(session);
        // Its response is no longer needed.
        if session.is_connected && self.responses.contains(id) {
            self.limit_responses(session);
        }
    }

    /// Has the next request read that waits for its turn, if nobody has it.
    fn pass_turn(&mut self, session: &mut Session) {
        if session.is_stopping || !session.is_connected {
            return;
        }
        let all = &self.all;
        let wants = |id: &RequestId| all.get(id).is_some_and(Request::awaits_turn);
        if let Some(next) = self.turn.pass(wants) {
            self.handle(&next, Event::TurnGiven, session);
        }
    }

    fn ids_where(&self, is_wanted: impl Fn(&Request) -> bool) -> Vec<RequestId> {
        self.all
            .iter()
            .filter(|(_, request)| is_wanted(request))
            .map(|(id, _)| id.clone())
            .collect()
    }
}

/// What the response to a request is needed for.
fn need(all: &BTreeMap<RequestId, Request>, id: &RequestId) -> Need {
    all.get(id).map_or(Need::Free, Request::need)
}

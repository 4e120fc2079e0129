//! Old responses, which no host removes, and what to do when they fill the store.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Agent, Purpose, REQUESTS, RESPONSES, RequestId, State};
use crate::store::Operation;
use crate::time::Instant;
use crate::wire::ErrorName;

/// How long a response is kept. Hosts look for it every half second and wait for 60 s at most, by default.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);

/// The most responses that are kept. The C daemon refuses the 55th with a UUID for its name.
pub const RESPONSES_MAX: usize = 30;

/// The most responses that there may be for a moment, when many requests are answered at once.
const RESPONSES_BURST: usize = 50;

/// When room has to be made, a response of this age may go: hosts look for it every half second.
const READ_BY_NOW: Duration = Duration::from_secs(5);

/// How long requests that are too many to be listed are left alone: the longest time that a host waits for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// The responses that are in the store, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Responses {
    kept: VecDeque<(Instant, RequestId)>,
    /// Those that are being removed: when many answers find no room, each of them would have all of them removed.
    leaving: BTreeSet<RequestId>,
}

impl Responses {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.kept.front().map(|(written, _)| written.after(RESPONSE_TIMEOUT))
    }

    pub(super) fn contains(&self, id: &RequestId) -> bool {
        self.kept.iter().any(|(_, kept)| kept == id)
    }

    fn insert(&mut self, now: Instant, id: RequestId) {
        self.kept.retain(|(_, kept)| *kept != id);
        self.leaving.remove(&id);
        self.kept.push_back((now, id));
    }

    /// Takes out the oldest response if it is too old, or if there are more than `most`.
    fn pop_old(&mut self, now: Instant, most: usize) -> Option<RequestId> {
        let too_many = self.kept.len() > most;
        let (_, id) = self.kept.pop_front_if(|(written, _)| too_many || written.after(RESPONSE_TIMEOUT) <= now)?;
        Some(id)
    }

    /// A response is removed.
    pub(super) fn forget(&mut self, id: &RequestId) {
        self.leaving.remove(id);
    }

    /// A response could not be removed. That is tried again when it has grown old once more, but not of any number of them.
    pub(super) fn retain(&mut self, now: Instant, id: RequestId) {
        self.leaving.remove(&id);
        if self.kept.len() < RESPONSES_BURST {
            self.insert(now, id);
        }
    }

    /// Nobody will tell any more what became of those that were being removed.
    pub(super) fn forget_all(&mut self) {
        self.leaving.clear();
    }

    fn is_young(&self, now: Instant, id: &RequestId) -> bool {
        self.kept.iter().any(|(written, kept)| kept == id && now.since(*written) < READ_BY_NOW)
    }
}

impl Agent {
    /// A response exists, or is about to be written: room for it is made before if many are written at once, else after.
    pub(super) fn remember_response(&mut self, id: RequestId) {
        self.responses.insert(self.now, id);
        // In such a burst there is no room for those either whose request is about to be removed.
        self.keep_responses(RESPONSES_BURST, |state| matches!(state, State::Stuck { answered: true }));
    }

    pub(super) fn remove_old_responses(&mut self) {
        self.keep_responses(RESPONSES_MAX, |state| {
            // Of an answer that is held nobody knows whether it was written.
            matches!(
                state,
                State::Answering { .. }
                    | State::Checking { .. }
                    | State::Held { .. }
                    | State::Removing { .. }
                    | State::Stuck { answered: true }
            )
        });
    }

    /// Without its response, a request that is still there would be carried out once more by the next agent.
    fn keep_responses(&mut self, most: usize, is_needed: fn(&State) -> bool) {
        // Each at most once, as some stay.
        for _ in 0..self.responses.kept.len() {
            let Some(id) = self.responses.pop_old(self.now, most) else { return };
            if self.requests.get(&id).is_some_and(|request| is_needed(&request.state)) {
                self.responses.insert(self.now, id);
            } else {
                self.remove_response(&id);
            }
        }
    }

    fn remove_response(&mut self, id: &RequestId) {
        if let Ok(path) = RESPONSES.join(id.as_str())
            && self.responses.leaving.insert(id.clone())
        {
            self.submit(Purpose::RemoveResponse(id.clone()), Operation::Remove(path));
        }
    }

    /// The store is full: makes room, then tries the answer to a request once more.
    pub(super) fn sweep(&mut self, id: RequestId) {
        self.submit(Purpose::Sweep(id), Operation::List(RESPONSES));
    }

    pub(super) fn handle_sweep_list(&mut self, id: &RequestId, result: Result<Vec<String>, ErrorName>) {
        match result {
            Ok(names) => {
                for name in names {
                    let Some(response) = RequestId::from_node(&name) else { continue };
                    // Without its response, a request that is still there would be carried out a second time.
                    let needed = self.requests.contains_key(&response);
                    if !needed && !self.responses.is_young(self.now, &response) {
                        self.responses.kept.retain(|(_, kept)| *kept != response);
                        self.remove_response(&response);
                    }
                }
            }
            // More responses than can be listed: no host reads them any more, or it would have.
            Err(ErrorName::E2Big) => self.remove_all_responses(),
            Err(_) => {}
        }
        if let Some(request) = self.requests.get_mut(id)
            && let State::Answering { response, attempt } = &request.state
        {
            let response = response.clone();
            let attempt = *attempt;
            self.write_response(id, response, attempt);
        }
    }

    pub(super) fn remove_all_responses(&mut self) {
        self.responses.kept.clear();
        self.submit(Purpose::RemoveOld, Operation::Remove(RESPONSES));
    }

    /// There are more requests than can be listed, and this store does not list in parts: watch events still name new
    /// ones. When no host can be waiting for the others any more, they are removed together.
    pub(super) fn handle_too_many_requests(&mut self) {
        let since = *self.listing.too_long_since.get_or_insert(self.now);
        if self.now.since(since) >= REQUEST_TIMEOUT && self.requests.is_empty() {
            self.listing.too_long_since = None;
            self.submit(Purpose::RemoveOld, Operation::Remove(REQUESTS));
        }
    }
}

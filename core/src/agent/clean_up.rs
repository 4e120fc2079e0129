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

/// The most responses that stay for as long as their request cannot be removed. The others need the room.
pub(super) const RESPONSES_STUCK: usize = 20;

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
        self.kept
            .front()
            .map(|(written, _)| written.after(RESPONSE_TIMEOUT))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn contains(&self, id: &RequestId) -> bool {
        self.kept.iter().any(|(_, kept)| kept == id)
    }

    pub(super) fn insert(&mut self, now: Instant, id: RequestId) {
        self.kept.retain(|(_, kept)| *kept != id);
        self.leaving.remove(&id);
        self.kept.push_back((now, id));
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
        self.kept
            .iter()
            .any(|(written, kept)| kept == id && now.since(*written) < READ_BY_NOW)
    }
}

impl Agent {
    /// A response exists, or is about to be written: room for it is made before if many are written at once, else after.
    pub(super) fn remember_response(&mut self, id: RequestId) {
        self.responses.insert(self.now, id);
        // In such a burst there is no room for those either whose request is about to be removed.
        self.keep_responses(RESPONSES_BURST, |_| false);
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
            )
        });
    }

    /// Removes the oldest responses if they are too old, or if there are more than `most` beside those that are needed.
    /// Without its response, a request that is still there would be carried out once more by the next agent.
    fn keep_responses(&mut self, most: usize, is_needed: fn(&State) -> bool) {
        let Self {
            requests,
            responses: Responses { kept, .. },
            now,
            ..
        } = self;
        let state = |id: &RequestId| requests.get(id).map(|request| &request.state);
        let is_stuck = |id: &RequestId| matches!(state(id), Some(State::Stuck { answered: true }));
        let is_needed = |id: &RequestId| state(id).is_some_and(is_needed);

        let stuck = kept.iter().filter(|(_, id)| is_stuck(id)).count();
        let others = kept
            .iter()
            .filter(|(_, id)| !is_stuck(id) && !is_needed(id))
            .count();
        let mut surplus_stuck = stuck.saturating_sub(RESPONSES_STUCK);
        // A burst has to leave room for those as well.
        let most = most.min(RESPONSES_BURST.saturating_sub(stuck.min(RESPONSES_STUCK)));
        let mut surplus = others.saturating_sub(most);
        let (mut leaving, mut staying) = (Vec::new(), Vec::new());
        kept.retain(|(written, id)| {
            let is_old = written.after(RESPONSE_TIMEOUT) <= *now;
            let goes = if is_stuck(id) {
                take_one(&mut surplus_stuck)
            } else {
                !is_needed(id) && (take_one(&mut surplus) || is_old)
            };
            if goes {
                leaving.push(id.clone());
            } else if is_old {
                // Looked at again when it is as old once more.
                staying.push((*now, id.clone()));
            }
            !goes && !is_old
        });
        kept.extend(staying);
        for id in leaving {
            self.remove_response(&id);
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

    pub(super) fn handle_sweep_list(
        &mut self,
        id: &RequestId,
        result: Result<Vec<String>, ErrorName>,
    ) {
        match result {
            Ok(names) => {
                for name in names {
                    let Some(response) = RequestId::from_node(&name) else {
                        continue;
                    };
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

/// Counts down; whether there was anything to count.
fn take_one(count: &mut usize) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}

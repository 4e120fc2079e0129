//! Which responses stay in the store. No host removes them, and they would fill it.

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use super::session::{Purpose, Session};
use super::{RESPONSES, RequestId};
use crate::store::Operation;
use crate::time::Instant;

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

/// The responses that are in the store.
#[derive(Debug, Default)]
pub(super) struct Responses {
    /// The oldest first.
    kept: VecDeque<(Instant, RequestId)>,
    /// Those that are being removed: when many answers find no room, each of them would have all of them removed.
    leaving: BTreeSet<RequestId>,
    /// At the start of a connection: the responses that exist, if the store lists them.
    of_earlier_runs: Option<BTreeSet<RequestId>>,
}

/// What a response is needed for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// For nothing but a host that may still read it.
    Free,
    /// To tell that its request, which is still there, is answered.
    Needed,
    /// For the same, while the store refuses to remove the request.
    Unremovable,
}

impl Responses {
    /// A response was written, or is about to be.
    pub(super) fn insert(&mut self, now: Instant, id: RequestId) {
        self.kept.retain(|(_, kept)| *kept != id);
        self.leaving.remove(&id);
        self.kept.push_back((now, id));
    }

    /// Removes the oldest responses if they are too old, or if there are more than stay for long.
    pub(super) fn limit(&mut self, session: &mut Session, need: impl Fn(&RequestId) -> Need) {
        self.evict(RESPONSES_MAX, session, need);
    }

    /// Makes room before another response is written, when many are written at once. During such a burst even responses
    /// whose request is being removed must go.
    pub(super) fn limit_burst(&mut self, session: &mut Session, need: impl Fn(&RequestId) -> Need) {
        self.evict(RESPONSES_BURST, session, |id| match need(id) {
            Need::Free | Need::Needed => Need::Free,
            Need::Unremovable => Need::Unremovable,
        });
    }

    /// Removes a response to make room, unless its host may not have read it.
    pub(super) fn evict_unless_young(&mut self, id: &RequestId, session: &mut Session) {
        let is_young = self
            .kept
            .iter()
            .any(|(written, kept)| kept == id && session.now.since(*written) < READ_BY_NOW);
        if !is_young {
            self.kept.retain(|(_, kept)| kept != id);
            self.remove(id, session);
        }
    }

    /// Removes all of them together.
    pub(super) fn evict_all(&mut self, session: &mut Session) {
        self.kept.clear();
        session.submit(Purpose::EvictAll, Operation::Remove(RESPONSES));
    }

    /// A response is removed.
    pub(super) fn handle_evicted(&mut self, id: &RequestId) {
        self.leaving.remove(id);
    }

    /// A response could not be removed. That is tried again when it has grown old once more, but not for any number of
    /// them.
    pub(super) fn handle_eviction_refused(&mut self, now: Instant, id: RequestId) {
        self.leaving.remove(&id);
        if self.kept.len() < RESPONSES_BURST {
            self.insert(now, id);
        }
    }

    /// The connection has ended: the removals in flight will not be answered.
    pub(super) fn disconnect(&mut self) {
        self.leaving.clear();
    }

    /// A connection begins: which responses earlier runs have left is not known.
    pub(super) fn connect(&mut self) {
        self.of_earlier_runs = None;
    }

    /// The responses that exist at the start of a connection.
    pub(super) fn handle_found(&mut self, found: BTreeSet<RequestId>) {
        self.of_earlier_runs = Some(found);
    }

    /// Takes the responses that were found. From then on one is known by having been written by this run.
    pub(super) fn take_found(&mut self) -> BTreeSet<RequestId> {
        match &mut self.of_earlier_runs {
            Some(found) => core::mem::take(found),
            None => BTreeSet::new(),
        }
    }

    /// Whether the responses that exist at the start of the connection are known.
    pub(super) const fn are_known(&self) -> bool {
        self.of_earlier_runs.is_some()
    }

    /// Whether an earlier run may have answered a request.
    pub(super) fn may_be_of_earlier_run(&self, id: &RequestId) -> bool {
        self.of_earlier_runs
            .as_ref()
            .is_none_or(|found| found.contains(id))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn contains(&self, id: &RequestId) -> bool {
        self.kept.iter().any(|(_, kept)| kept == id)
    }

    /// When the oldest response is too old.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.kept
            .front()
            .map(|(written, _)| written.after(RESPONSE_TIMEOUT))
    }

    /// Removes the oldest responses if they are too old, or if there are more than `most` beside those that are needed.
    /// Without its response, a request that is still there would be carried out once more by the next agent.
    fn evict(&mut self, most: usize, session: &mut Session, need: impl Fn(&RequestId) -> Need) {
        let now = session.now;
        let count = |wanted: Need| {
            let is_wanted = |(_, id): &&(Instant, RequestId)| need(id) == wanted;
            self.kept.iter().filter(is_wanted).count()
        };
        let unremovable = count(Need::Unremovable);
        // A burst has to leave room for those as well.
        let room = RESPONSES_BURST.saturating_sub(unremovable.min(RESPONSES_STUCK));
        let mut surplus = count(Need::Free).saturating_sub(most.min(room));
        let mut surplus_unremovable = unremovable.saturating_sub(RESPONSES_STUCK);
        let mut staying = VecDeque::new();
        let mut again = VecDeque::new();
        for (written, id) in core::mem::take(&mut self.kept) {
            let is_old = written.after(RESPONSE_TIMEOUT) <= now;
            let goes = match need(&id) {
                Need::Free => take_one(&mut surplus) || is_old,
                Need::Needed => false,
                Need::Unremovable => take_one(&mut surplus_unremovable),
            };
            if goes {
                self.remove(&id, session);
            } else if is_old {
                // Looked at again when it is as old once more.
                again.push_back((now, id));
            } else {
                staying.push_back((written, id));
            }
        }
        staying.append(&mut again);
        self.kept = staying;
    }

    fn remove(&mut self, id: &RequestId, session: &mut Session) {
        if let Ok(path) = RESPONSES.join(id.as_str())
            && self.leaving.insert(id.clone())
        {
            session.submit(Purpose::Evict(id.clone()), Operation::Remove(path));
        }
    }
}

/// Decrements the counter; returns false if it was zero.
fn take_one(count: &mut usize) -> bool {
    let is_left = *count > 0;
    *count = count.saturating_sub(1);
    is_left
}

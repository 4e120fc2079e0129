//! Whether the requests that waited when the agent started are answered.

use alloc::collections::BTreeSet;
use core::time::Duration;

use super::RequestId;
use crate::time::Instant;

/// How long a store that cannot be reached keeps the agent from being ready: services that bring the network up wait for
/// that.
pub const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// How far the agent is from being ready, which it becomes once.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Readiness {
    /// The requests are not known yet. The agent is ready at this time all the same, if the store could not be reached.
    Unknown {
        until: Option<Instant>,
    },
    /// These requests are not answered yet.
    Awaiting(BTreeSet<RequestId>),
    Ready,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::Unknown { until: None }
    }
}

impl Readiness {
    /// The store cannot be reached: it is waited for from the first time on.
    pub(super) fn handle_disconnected(&mut self, now: Instant) {
        if let Self::Unknown {
            until: until @ None,
        } = self
        {
            *until = Some(now.after(READY_TIMEOUT));
        }
    }

    /// The first listing has been answered, and found these requests.
    pub(super) fn handle_listed(&mut self, found: impl Iterator<Item = RequestId>) {
        if matches!(self, Self::Unknown { .. }) {
            *self = Self::Awaiting(found.collect());
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.deadline().is_some_and(|until| until <= now) {
            *self = Self::Awaiting(BTreeSet::new());
        }
    }

    /// Returns whether the agent has become ready: none of the requests keeps it any more.
    pub(super) fn becomes_ready(&mut self, delays: impl Fn(&RequestId) -> bool) -> bool {
        let Self::Awaiting(awaited) = self else {
            return false;
        };
        awaited.retain(|id| delays(id));
        let is_ready = awaited.is_empty();
        if is_ready {
            *self = Self::Ready;
        }
        is_ready
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Unknown { until } => *until,
            Self::Awaiting(_) | Self::Ready => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_origin(Duration::from_secs(1000));

    #[test]
    fn it_becomes_ready_once_when_nothing_delays_it() {
        let mut readiness = Readiness::default();
        assert!(!readiness.becomes_ready(|_| false), "nothing is known");
        let id = RequestId::from_node("a").unwrap();
        readiness.handle_listed([id].into_iter());
        assert!(!readiness.becomes_ready(|_| true));
        assert!(readiness.becomes_ready(|_| false));
        assert!(!readiness.becomes_ready(|_| false), "a second time");
    }

    #[test]
    fn a_store_out_of_reach_delays_it_for_ten_seconds_from_the_first_time() {
        let mut readiness = Readiness::default();
        readiness.handle_disconnected(NOW);
        readiness.handle_disconnected(NOW.after(Duration::from_secs(9)));
        let until = NOW.after(READY_TIMEOUT);
        assert_eq!(readiness.deadline(), Some(until));
        readiness.handle_timeout(NOW.after(Duration::from_secs(9)));
        assert!(!readiness.becomes_ready(|_| false));
        readiness.handle_timeout(until);
        assert!(readiness.becomes_ready(|_| false));
    }
}

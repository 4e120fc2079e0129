//! When to try again, for what gives no notice of a change.

use std::time::{Duration, Instant};

/// Tries every `pause` until a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetrySchedule {
    end: Instant,
    next: Instant,
    pause: Duration,
}

impl RetrySchedule {
    /// Starts now: the first retry is due after one `pause`, the last one after `limit`.
    pub(crate) fn new(limit: Duration, pause: Duration) -> Self {
        let now = Instant::now();
        Self {
            end: now + limit,
            next: now + pause,
            pause,
        }
    }

    /// Whether the limit is reached, so that no more retries follow.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.end <= now
    }

    /// Returns when the next retry is due.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Schedules the next retry after one that failed.
    pub(crate) fn postpone(&mut self, now: Instant) {
        self.next = (now + self.pause).min(self.end);
    }
}

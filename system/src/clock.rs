//! The machine's time. The only place in the project that reads a clock for it.

use nova_agent_core::Instant;

/// A monotonic clock that counts from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    /// A clock that reads zero now.
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// When this clock reads `time`, on the clock that runtimes wait by; `None` if that does not reach so far.
    pub(crate) fn instant(&self, time: Instant) -> Option<std::time::Instant> {
        self.0.checked_add(time.since_origin())
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_origin(self.0.elapsed())
    }
}

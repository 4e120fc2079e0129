//! Time as the core sees it: an instant that the driver hands in, never a clock that the core reads.

use core::fmt;
use core::time::Duration;

/// A moment on the driver's monotonic clock: the time since an origin that the driver picks.
///
/// An instant and a [`Duration`] are different types, so that a deadline cannot be mistaken for a timeout.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instant(Duration);

impl Instant {
    /// The instant that lies `since_origin` after the driver's origin.
    #[must_use]
    pub const fn from_origin(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// The time between the driver's origin and this instant.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// This instant moved `timeout` into the future; stays at the end of time rather than overflow.
    #[must_use]
    pub const fn after(self, timeout: Duration) -> Self {
        Self(self.0.saturating_add(timeout))
    }

    /// How long after `earlier` this instant lies; zero if it does not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{:?}", self.0)
    }
}

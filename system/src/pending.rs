//! Effects that take their time, for runtimes that wait for many things at once.

use core::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use nova_agent_core::effect::{Failure, Outcome};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::root::Root;

/// The state of an effect after [`System::start`](crate::runtime::System::start) or
/// [`System::advance`](crate::runtime::System::advance).
#[derive(Debug)]
#[must_use = "an outcome that is dropped is never reported to the core"]
pub enum Started {
    /// The effect is finished.
    Finished(Outcome),
    /// The effect goes on.
    Running(PendingEffect),
}

/// An effect that is not finished: a program that runs, or a condition of the guest that another process has to meet.
///
/// Call [`System::advance`](crate::runtime::System::advance) whenever one of [`PendingEffect::sources`] is ready or
/// [`PendingEffect::deadline`] has passed, until the effect is finished. Dropping a pending effect kills its program.
#[derive(Debug)]
pub struct PendingEffect(Box<dyn Pending>);

/// One kind of pending effect.
pub(crate) trait Pending: fmt::Debug + Send + Sync {
    /// Returns what to wait for. The set may shrink with each [`Pending::advance`], but never grows.
    fn sources(&self) -> Vec<Source<'_>> {
        Vec::new()
    }

    /// Returns when to go on even if no source is ready.
    fn deadline(&self) -> Instant;

    /// Does what can be done without waiting.
    fn advance(self: Box<Self>, root: &Root, now: Instant) -> Started;
}

/// A descriptor to wait for, level- or edge-triggered.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The descriptor. It stays open until the next [`System::advance`](crate::runtime::System::advance).
    pub fd: BorrowedFd<'a>,
    /// What to wait for.
    pub interest: Interest,
}

/// The readiness to wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interest {
    /// The descriptor can be read.
    Read,
    /// The descriptor can be written.
    Write,
}

impl PendingEffect {
    pub(crate) fn new(pending: Box<dyn Pending>) -> Self {
        Self(pending)
    }

    /// Returns what to wait for. The set may shrink with each [`System::advance`](crate::runtime::System::advance), but never
    /// grows.
    #[must_use]
    pub fn sources(&self) -> Vec<Source<'_>> {
        self.0.sources()
    }

    /// Returns when to go on even if no source is ready.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.0.deadline()
    }

    pub(crate) fn advance(self, root: &Root, now: Instant) -> Started {
        self.0.advance(root, now)
    }

    /// Gives the effect up because the runtime cannot wait for it.
    #[must_use]
    pub fn abandon(self, error: &io::Error) -> Outcome {
        Outcome::Failed(Failure::Io(format!("wait for an effect: {error}")))
    }

    /// Waits until a source is ready or the deadline has passed.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let sources = self.sources();
        let mut fds: Vec<PollFd<'_>> = sources.iter().map(Source::poll_fd).collect();
        let left = self.deadline().saturating_duration_since(Instant::now());
        let timeout =
            Timespec::try_from(left).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl<'a> Source<'a> {
    fn poll_fd(&self) -> PollFd<'a> {
        let flags = match self.interest {
            Interest::Read => PollFlags::IN,
            Interest::Write => PollFlags::OUT,
        };
        PollFd::from_borrowed_fd(self.fd, flags)
    }
}

//! Effects that take their time, for runtimes that wait for many things at once.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nova_agent_core::effect::{Failure, Outcome};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::entropy::PendingEntropy;
use crate::password::PendingPassword;
use crate::probe::Settling;
use crate::programs::Child;

/// An effect that was begun.
#[derive(Debug)]
#[must_use = "an outcome that is dropped is never reported to the core"]
pub enum Started {
    /// It is over.
    Finished(Outcome),
    /// It goes on.
    Running(Work),
}

/// An effect that goes on: a program that runs, or something in the guest that somebody else has to finish first.
///
/// Call [`System::advance`](crate::System::advance) whenever one of [`Work::sources`] is ready or [`Work::deadline`] has
/// passed, until it is finished. A program whose work is dropped before is killed.
#[derive(Debug)]
pub struct Work(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    /// The kernel has not gathered enough since its start.
    Entropy(PendingEntropy),
    /// The shadow file is locked.
    Password(PendingPassword),
    Program(Box<Child>),
    /// Network interfaces are about to appear.
    Settling(Settling),
}

/// A descriptor to wait for, in level- or edge-triggered mode.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The descriptor. It stays open until the next [`System::advance`](crate::System::advance).
    pub fd: BorrowedFd<'a>,
    /// What to wait for.
    pub interest: Interest,
}

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interest {
    /// That it can be read.
    Read,
    /// That it can be written.
    Write,
}

/// How long, and how often, something is looked at that tells nobody when it changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    end: Instant,
    next: Instant,
    pause: Duration,
}

impl Work {
    /// What to wait for. There are never more of them than at the start; they are closed one after the other.
    #[must_use]
    pub fn sources(&self) -> Vec<Source<'_>> {
        match &self.0 {
            Kind::Program(child) => child.sources(),
            Kind::Entropy(_) | Kind::Password(_) | Kind::Settling(_) => Vec::new(),
        }
    }

    /// When to go on even if no source is ready.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match &self.0 {
            Kind::Entropy(pending) => pending.patience.next,
            Kind::Password(pending) => pending.patience.next,
            Kind::Program(child) => child.deadline(),
            Kind::Settling(settling) => settling.patience.next,
        }
    }

    /// Ends it, as it cannot be waited for.
    #[must_use]
    pub fn abandon(self, error: &io::Error) -> Outcome {
        Outcome::Failed(Failure::Io(format!("wait for an effect: {error}")))
    }

    /// Waits until there is something to do.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let sources = self.sources();
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .map(|source| {
                PollFd::from_borrowed_fd(
                    source.fd,
                    match source.interest {
                        Interest::Read => PollFlags::IN,
                        Interest::Write => PollFlags::OUT,
                    },
                )
            })
            .collect();
        let left = self.deadline().saturating_duration_since(Instant::now());
        let timeout =
            Timespec::try_from(left).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Patience {
    /// Looks again every `pause`, the first time after one, and for the last time after `limit`.
    pub(crate) fn new(limit: Duration, pause: Duration) -> Self {
        let now = Instant::now();
        Self {
            end: now + limit,
            next: now + pause,
            pause,
        }
    }

    pub(crate) fn is_at_end(&self, now: Instant) -> bool {
        self.end <= now
    }

    pub(crate) fn next(self, now: Instant) -> Self {
        Self {
            next: (now + self.pause).min(self.end),
            ..self
        }
    }
}

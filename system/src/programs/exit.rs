//! Learning that a program has ended, without a thread that waits for it.

use std::io::{self, Read};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Once};

use rustix::process::Pid;
use signal_hook::SigId;
use signal_hook::consts::SIGCHLD;

/// A descriptor that becomes readable when a program has, or may have, ended. The program is not reaped by that.
#[derive(Debug)]
pub(super) enum ExitWatch {
    /// Stays readable from the program's end on (`pidfd_open(2)`, Linux since 5.3).
    #[cfg(target_os = "linux")]
    Process(OwnedFd),
    /// Gets a byte with every SIGCHLD, whichever program it is for.
    Signal(Subscription),
}

impl ExitWatch {
    /// Watches a child of this process. It may have ended before: a [`ExitWatch::Signal`] does not show that.
    #[cfg(target_os = "linux")]
    pub(super) fn new(pid: Pid) -> io::Result<Self> {
        match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            Ok(fd) => Ok(Self::Process(fd)),
            Err(_) => Subscription::new().map(Self::Signal),
        }
    }

    /// Watches the children of this process.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn new(_: Pid) -> io::Result<Self> {
        Subscription::new().map(Self::Signal)
    }

    /// Makes it readable only by what happens from now on, unless the program itself has ended.
    pub(super) fn rearm(&mut self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Process(_) => {}
            Self::Signal(subscription) => subscription.drain(),
        }
    }
}

/// Makes sure that SIGCHLD is not ignored, so that exit codes can be collected. A process may have been started with it
/// ignored, and then the kernel discards them.
pub(super) fn unignore_sigchld() {
    static ONCE: Once = Once::new();

    ONCE.call_once(|| {
        if let Err(error) = signal_hook::flag::register(SIGCHLD, Arc::default()) {
            tracing::warn!(%error, "failed to handle SIGCHLD: exit codes of programs may be lost");
        }
    });
}

impl AsFd for ExitWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Process(fd) => fd.as_fd(),
            Self::Signal(subscription) => subscription.pipe.as_fd(),
        }
    }
}

/// To SIGCHLD.
#[derive(Debug)]
pub(super) struct Subscription {
    pipe: UnixStream,
    handler: SigId,
}

impl Subscription {
    fn new() -> io::Result<Self> {
        let (pipe, write) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        let handler = signal_hook::low_level::pipe::register(SIGCHLD, write)?;
        Ok(Self { pipe, handler })
    }

    fn drain(&mut self) {
        // It does not block: the end is an error.
        while self.pipe.read(&mut [0; 64]).is_ok_and(|len| len > 0) {}
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.handler);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_readable(watch: &ExitWatch, within: Duration) -> bool {
        let timeout = Timespec::try_from(within).unwrap();
        poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&timeout)).unwrap() > 0
    }

    #[test]
    fn the_end_of_a_program_makes_either_watch_readable() {
        let mut child = Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let by_process = ExitWatch::new(Pid::from_child(&child)).unwrap();
        let mut by_signal = ExitWatch::Signal(Subscription::new().unwrap());
        drop(child.stdin.take());
        for watch in [&by_process, &by_signal] {
            assert!(is_readable(watch, Duration::from_secs(10)));
        }
        child.wait().unwrap();
        by_signal.rearm();
        // Other tests have children, too.
        let rests = |watch: &mut ExitWatch| {
            watch.rearm();
            !is_readable(watch, Duration::from_millis(1))
        };
        assert!((0..10_000).any(|_| rests(&mut by_signal)));
    }
}

//! SIGTERM and SIGINT as a readable descriptor.
//!
//! A handler may hardly do anything and cannot be written without unsafe code, so `signal-hook` does it: it writes a byte
//! into a socket pair. Every runtime can wait for a descriptor.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Receives SIGTERM and SIGINT, which no longer end the process. After it is dropped, the signals do nothing at all.
#[derive(Debug)]
pub struct Signals {
    pipe: UnixStream,
    handlers: Vec<SigId>,
}

impl Signals {
    /// Installs the handlers. Call it while the process has one thread.
    ///
    /// The signals are blocked meanwhile: `signal-hook` publishes what a signal is to do only after the kernel knows its
    /// handler, and one that came in between was lost. One that is blocked waits for the end of this function.
    ///
    /// # Errors
    /// If the system refuses a socket pair or a handler.
    pub fn new() -> io::Result<Self> {
        let (pipe, write) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        let mut signals = Self {
            pipe,
            handlers: Vec::new(),
        };
        let before = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT])
            .thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let result = signals.install(&write);
        before.thread_set_mask()?;
        result.map(|()| signals)
    }

    /// Whether a signal has come since the last call. Never waits.
    pub fn take(&mut self) -> bool {
        let mut buffer = [0; 64];
        let mut is_signalled = false;
        loop {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return is_signalled,
                Ok(_) => is_signalled = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return is_signalled,
            }
        }
    }

    fn install(&mut self, write: &UnixStream) -> io::Result<()> {
        for signal in [SIGTERM, SIGINT] {
            let handler = signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
            self.handlers.push(handler);
        }
        Ok(())
    }
}

/// Readable when a signal has come.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            signal_hook::low_level::unregister(handler);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::retry_on_intr;
    use rustix::process::{Signal, getpid, kill_process};

    use super::Signals;

    #[test]
    fn a_signal_makes_the_descriptor_readable_until_it_is_taken() {
        let mut signals = Signals::new().unwrap();
        assert!(!signals.take());
        for signal in [Signal::TERM, Signal::INT] {
            kill_process(getpid(), signal).unwrap();
            // The handler may run in this very thread.
            retry_on_intr(|| poll(&mut [PollFd::new(&signals, PollFlags::IN)], None)).unwrap();
            assert!(signals.take());
            assert!(!signals.take());
        }
    }
}

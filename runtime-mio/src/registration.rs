//! What a poller is told to wait for.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

/// A connection that a poller waits for, until this is dropped, which has to be before the connection is closed.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Rc<Registry>,
    fd: RawFd,
    token: Token,
    interest: Cell<Interest>,
}

impl Registration {
    /// Waits for something to read.
    pub(crate) fn new(
        registry: &Rc<Registry>,
        fd: BorrowedFd<'_>,
        token: Token,
    ) -> io::Result<Self> {
        let (registry, fd, interest) = (Rc::clone(registry), fd.as_raw_fd(), Interest::READABLE);
        registry.register(&mut SourceFd(&fd), token, interest)?;
        Ok(Self {
            registry,
            fd,
            token,
            interest: Cell::new(interest),
        })
    }

    /// Waits until it can be written as well, or does not any more. A poller that is asked for both all the time would
    /// wake up with every message that the store reads.
    pub(crate) fn set_writable(&self, is_wanted: bool) -> io::Result<()> {
        let interest = if is_wanted {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        if self.interest.replace(interest) != interest {
            self.registry
                .reregister(&mut SourceFd(&self.fd), self.token, interest)?;
        }
        Ok(())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // It fails if the connection is closed, and then nobody waits for it.
        let _ = self.registry.deregister(&mut SourceFd(&self.fd));
    }
}

//! The registration of a connection with a poller.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

/// A connection that a poller waits for until this is dropped. Must be dropped before the connection is closed.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Rc<Registry>,
    fd: RawFd,
    token: Token,
    interest: Cell<Interest>,
}

impl Registration {
    /// Registers a connection for reading.
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

    /// Starts or stops waiting until the connection is writable. A poller that always waited for both would wake up with
    /// every message that the store reads.
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
        // This fails if the connection is closed, which ends the registration anyway.
        let _ = self.registry.deregister(&mut SourceFd(&self.fd));
    }
}

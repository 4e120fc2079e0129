//! An open way to Xenstore that never keeps anybody waiting.

use core::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::message_log::MessageLog;
use crate::transport::Transport;

/// As much as the device gives at once; a socket is read in as many pieces as it takes.
const READ_MAX: usize = 4096;

/// The most bytes that wait for a socket to take them. The core has one operation on the wire, so one message would do.
const UNSENT_MAX: usize = 64 * 1024;

/// A connection with what could not be written yet.
pub(crate) struct Connection {
    transport: Transport,
    unsent: Vec<u8>,
    buffer: Box<[u8; READ_MAX]>,
    log: MessageLog,
}

impl Connection {
    pub(crate) fn new(transport: Transport) -> Self {
        Self {
            transport,
            unsent: Vec::new(),
            buffer: Box::new([0; READ_MAX]),
            log: MessageLog::new(),
        }
    }

    /// Sends one message.
    ///
    /// The device takes it in one write and never says that it is writable, so it is not asked. What a socket does not take
    /// waits for [`Connection::flush`].
    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.log.sent(message);
        if !self.unsent.is_empty() {
            return self.keep(message);
        }
        let written = self.write(message)?;
        self.keep(message.get(written..).unwrap_or_default())
    }

    /// Writes what a socket did not take before.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let unsent = core::mem::take(&mut self.unsent);
        let written = self.write(&unsent)?;
        self.keep(unsent.get(written..).unwrap_or_default())
    }

    /// Whether to wait until it can be written, and then to [`Connection::flush`]. Never true for a device.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads once; `None` if there is nothing yet. The end is an error, [`ErrorKind::UnexpectedEof`].
    ///
    /// Must only be called when there is something to read: FreeBSD's device blocks despite `O_NONBLOCK`, and on
    /// `/proc/xen/xenbus` of Linux 3.14 to about 4.9 a `read` that sleeps keeps every `write` waiting.
    pub(crate) fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        match rustix::io::read(&self.transport, &mut self.buffer[..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                let bytes = self.buffer.get(..len);
                self.log.received(bytes.unwrap_or_default());
                Ok(bytes)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes until everything is written, or the socket takes no more.
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(&self.transport, rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => written += len,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if matches!(self.transport, Transport::Socket(_)) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(written)
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.unsent.len().saturating_add(bytes.len()) > UNSENT_MAX {
            return Err(io::Error::other("the store does not read"));
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

/// Prints nothing of what was sent or received: passwords and keys may be among it.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (Connection, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Connection::new(Transport::Socket(near)), far)
    }

    #[test]
    fn what_a_socket_does_not_take_is_sent_in_order_later() {
        let (mut connection, mut far) = pair();
        // More than fits the buffers of the kernel, but no more than may wait.
        let mut sent = Vec::new();
        for nth in 0_u8.. {
            let message = [nth; 4096];
            connection.send(&message).unwrap();
            sent.extend_from_slice(&message);
            if connection.unsent.len() > 5000 {
                break;
            }
        }
        let mut received = Vec::new();
        let mut buffer = [0; 1000];
        while received.len() < sent.len() {
            let len = far.read(&mut buffer).unwrap();
            received.extend_from_slice(&buffer[..len]);
            connection.flush().unwrap();
        }
        assert!(received == sent);
        assert!(!connection.has_unsent());
    }

    #[test]
    fn a_store_that_never_reads_is_given_up() {
        let (mut connection, _far) = pair();
        let error = (0..10_000)
            .find_map(|_| connection.send(&[0; 4096]).err())
            .expect("a bound");
        assert_eq!(error.to_string(), "the store does not read");
        assert!(connection.unsent.len() <= UNSENT_MAX);
    }

    #[test]
    fn a_device_that_takes_nothing_is_not_waited_for() {
        // A full pipe takes nothing; it would say when it does again, as a device of Xenstore never does.
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let mut device = Connection::new(Transport::Device(writer.into()));
        let error = (0..10_000)
            .find_map(|_| device.send(&[0; 4096]).err())
            .expect("a pipe is full some time");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(!device.has_unsent());
        drop(reader);
    }

    #[test]
    fn nothing_to_read_and_the_end_are_told_apart() {
        let (mut connection, mut far) = pair();
        assert!(connection.receive().unwrap().is_none());
        far.write_all(b"abc").unwrap();
        assert_eq!(connection.receive().unwrap(), Some(&b"abc"[..]));
        drop(far);
        assert_eq!(
            connection.receive().unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
    }
}

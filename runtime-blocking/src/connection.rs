//! An open way to Xenstore: a thread that reads, and writes from the thread that owns the machine.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;

use nova_agent_system::Transport;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::driver::Event;

/// As much as the device gives at once; a socket is read in as many pieces as it takes.
const READ_MAX: usize = 4096;

/// Tells connections apart: what the reader of an earlier one sent late belongs to nobody.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ConnectionId(u64);

impl ConnectionId {
    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// Dropped, it is closed as soon as its reader has noticed.
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    transport: Arc<Transport>,
    /// Its other end tells the reader that this one has been closed.
    _hang_up: OwnedFd,
}

impl Connection {
    /// Starts to read. What is read goes to `events`.
    pub(crate) fn start(id: ConnectionId, transport: Transport, events: Sender<Event>) -> io::Result<Self> {
        let transport = Arc::new(transport);
        let (hung_up, hang_up) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let reader = Arc::clone(&transport);
        thread::Builder::new().name("xenstore".into()).spawn(move || {
            let reason = read(id, reader.as_fd(), &hung_up, &events);
            // The machine's thread may have left: then nobody needs to know.
            let _ = events.send(Event::Closed(id, reason));
        })?;
        Ok(Self { id, transport, _hang_up: hang_up })
    }

    /// Writes one message. Meanwhile the reader reads on, so the two sides cannot wait for each other.
    pub(crate) fn write(&self, message: &[u8]) -> io::Result<()> {
        self.transport.send(message)
    }
}

/// Reads until the connection ends or is hung up; returns why it ended.
///
/// It never sleeps in `read`, only in `poll`: on `/proc/xen/xenbus` of kernels 3.14 to about 4.9 a sleeping `read` keeps
/// every `write` waiting, and FreeBSD's device sleeps although it is told not to.
fn read(id: ConnectionId, transport: BorrowedFd<'_>, hung_up: &OwnedFd, events: &Sender<Event>) -> String {
    let mut buffer = [0; READ_MAX];
    loop {
        let mut descriptors = [PollFd::new(&transport, PollFlags::IN), PollFd::new(hung_up, PollFlags::IN)];
        match poll(&mut descriptors, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return format!("poll: {errno}"),
        }
        let [readable, hung_up] = descriptors.map(|descriptor| descriptor.revents());
        if !hung_up.is_empty() {
            return String::from("closed");
        }
        if readable.is_empty() {
            continue;
        }
        match rustix::io::read(transport, &mut buffer) {
            Ok(0) => return String::from("end of file"),
            Ok(len) => {
                let bytes = buffer.get(..len).unwrap_or_default().to_vec();
                if events.send(Event::Bytes(id, bytes)).is_err() {
                    return String::from("closed");
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return format!("read: {errno}"),
        }
    }
}

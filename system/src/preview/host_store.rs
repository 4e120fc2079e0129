//! What the host says about the network, read from Xenstore once.

use core::time::Duration;
use std::collections::BTreeMap;
use std::io;

use nova_agent_core::render::{HostData, Unread};
use nova_agent_core::store::{Client, Event, Operation, OperationId, ProtocolError, Reply};
use nova_agent_core::wire::ErrorName;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::clock::Clock;
use crate::connection::Connection;
use crate::transport::{OpenError, StoreAddress, Transport};

/// How long all of it may take. Somebody waits in front of a terminal, and a store that works answers in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// First the lists, then the values in them.
const ROUNDS_MAX: usize = 4;

/// Xenstore cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostStoreError {
    #[error("Xenstore: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("Xenstore: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("Xenstore: no answer within {0:?}")]
    TimedOut(Duration),
    #[error("Xenstore: the lists change faster than they can be read")]
    Unsettled,
}

/// Reads the nodes that `resetnetwork` reads.
pub(super) fn read(address: &StoreAddress) -> Result<HostData, HostStoreError> {
    read_within(TIMEOUT, address)
}

fn read_within(timeout: Duration, address: &StoreAddress) -> Result<HostData, HostStoreError> {
    let mut exchange = Exchange::new(address.open()?, timeout);
    let (mut lists, mut values) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..ROUNDS_MAX {
        let unread = match HostData::collect(&lists, &values) {
            Ok(data) => return Ok(data),
            Err(unread) => unread,
        };
        let Unread {
            lists: to_list,
            values: to_read,
        } = unread;
        for path in to_list {
            // As for the agent: what cannot be read is not there.
            let names = match exchange.ask(Operation::List(path.clone()))? {
                Ok(Reply::Names(names)) => names,
                Ok(Reply::Done | Reply::Value(_)) | Err(_) => Vec::new(),
            };
            lists.insert(path, names);
        }
        for path in to_read {
            let value = match exchange.ask(Operation::Read(path.clone()))? {
                Ok(Reply::Value(value)) => Some(value),
                Ok(Reply::Done | Reply::Names(_)) | Err(_) => None,
            };
            values.insert(path, value);
        }
    }
    Err(HostStoreError::Unsettled)
}

/// A connection on which one operation at a time is waited for.
struct Exchange {
    connection: Connection,
    client: Client,
    clock: Clock,
    timeout: Duration,
    operations: u64,
}

impl Exchange {
    fn new(transport: Transport, timeout: Duration) -> Self {
        Self {
            connection: Connection::new(transport),
            client: Client::new(),
            clock: Clock::start(),
            timeout,
            operations: 0,
        }
    }

    fn ask(&mut self, operation: Operation) -> Result<Result<Reply, ErrorName>, HostStoreError> {
        self.operations = self.operations.wrapping_add(1);
        self.client.submit(
            self.clock.now(),
            OperationId::new(self.operations),
            operation,
        );
        loop {
            while let Some(message) = self.client.poll_transmit() {
                self.connection.send(&message)?;
            }
            match self.client.poll_event() {
                Some(Event::Answered(_, result)) => return Ok(result),
                // Nothing is watched here, but a socket of dom0 may send events all the same.
                Some(Event::Fired { .. }) => continue,
                None => self.receive()?,
            }
        }
    }

    fn receive(&mut self) -> Result<(), HostStoreError> {
        let timed_out = HostStoreError::TimedOut(self.timeout);
        let left = self.timeout.saturating_sub(self.clock.now().since_origin());
        if left.is_zero() {
            return Err(timed_out);
        }
        let timeout = Timespec::try_from(left).map_err(|_| timed_out)?;
        let interest = if self.connection.has_unsent() {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        let mut fds = [PollFd::new(&self.connection, interest)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        let [ready] = fds.map(|fd| fd.revents());
        if ready.contains(PollFlags::OUT) {
            self.connection.flush()?;
        }
        if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
            && let Some(bytes) = self.connection.receive()?
        {
            self.client.handle_bytes(self.clock.now(), bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_store_that_does_not_answer_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        let error = read_within(Duration::from_millis(20), &StoreAddress::Unix(path))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "Xenstore: no answer within 20ms");
        // Not the same path: a child that another test has just forked may keep that listener open.
        let error = read_within(TIMEOUT, &StoreAddress::Unix(directory.path().join("none")))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("no way to Xenstore"), "{error}");
    }

    #[test]
    fn a_store_that_goes_away_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let reader = std::thread::spawn(move || read_within(TIMEOUT, &StoreAddress::Unix(path)));
        drop(listener.accept().unwrap());
        let error = reader.join().unwrap().unwrap_err().to_string();
        assert!(error.starts_with("Xenstore: "), "{error}");
    }
}

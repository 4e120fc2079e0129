//! Everything a runtime needs except waiting.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

use nova_agent_core::agent::REQUESTS_MAX;
use nova_agent_core::effect::{Effect, EffectId, Failure, Outcome};
use nova_agent_core::{Instant, Machine, Output};

use crate::clock::Clock;
use crate::connection::Connection;
use crate::service::{ServiceManager, report};
use crate::transport::StoreAddress;

/// The most effects that a runtime carries out at the same time: one per request. There are more only if the core has given
/// some up that do not end, because a disk is dead.
const EFFECTS_MAX: usize = REQUESTS_MAX;

/// The machine with its connection to Xenstore, its clock, its log and its service manager.
///
/// `Attachment` is what the runtime needs for waiting for a connection, such as its registration with a poller; `()` if it
/// needs nothing. [`Driver::next_demand`] makes one for each connection, and drops it before the connection is closed.
///
/// A runtime meets the demands of [`Driver::next_demand`] until that is to wait. Then it waits for
///
/// - the deadline,
/// - [`Driver::store`] to become readable, or writable if [`Driver::wants_write`],
/// - an effect to be finished, by a thread or as a [`PendingEffect`](crate::runtime::PendingEffect),
/// - a signal to end.
///
/// It passes what has happened to [`Driver::receive`], [`Driver::flush`], [`Driver::complete`] and [`Driver::terminate`],
/// and after each of them meets the demands again. When everything has had its turn it calls [`Driver::fire_timers`] and
/// begins anew.
///
/// In the words of the core's documentation, this is a driver without the waiting and the effects.
#[derive(Debug)]
pub struct Driver<Attachment> {
    machine: Machine,
    clock: Clock,
    xenstore: StoreAddress,
    service: ServiceManager,
    store: Option<Store<Attachment>>,
    deadline: Option<Instant>,
    /// The number of effects that were demanded and are not completed.
    running: usize,
}

/// What a runtime must do next.
#[derive(Debug)]
#[must_use = "an effect that is dropped is lost to the host"]
pub enum Demand {
    /// Return: everything is finished.
    Exit,
    /// Carry the effect out while waiting for everything else, and call [`Driver::complete`] exactly once.
    Perform(EffectId, Effect),
    /// Wait until this time, or without a limit. If it has passed, only look what has happened.
    Wait(Option<std::time::Instant>),
}

/// Whether [`Driver::receive`] may find more to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum More {
    /// There may be more: call it again, without waiting if the poller is edge-triggered.
    Maybe,
    /// Everything was read, or the connection is closed: wait until the store is readable.
    Nothing,
}

/// The fields are dropped in their order.
#[derive(Debug)]
struct Store<Attachment> {
    attachment: Attachment,
    connection: Connection,
}

impl<Attachment> Driver<Attachment> {
    pub(crate) fn new(machine: Machine, xenstore: StoreAddress, service: ServiceManager) -> Self {
        Self {
            machine,
            clock: Clock::start(),
            xenstore,
            service,
            store: None,
            deadline: None,
            running: 0,
        }
    }

    /// Returns what to do next. Calls `attach` with each connection that is opened; if that fails, closes the connection.
    pub fn next_demand(
        &mut self,
        mut attach: impl FnMut(BorrowedFd<'_>) -> io::Result<Attachment>,
    ) -> Demand {
        loop {
            match self.machine.poll_output() {
                Output::Connect => self.connect(&mut attach),
                Output::Disconnect => self.store = None,
                Output::Exit => return Demand::Exit,
                Output::Perform(id, _) if self.running >= EFFECTS_MAX => {
                    let refusal = Failure::Refused(format!("{EFFECTS_MAX} effects do not end"));
                    self.tell(id, Outcome::Failed(refusal));
                }
                Output::Perform(id, effect) => {
                    self.running = self.running.saturating_add(1);
                    return Demand::Perform(id, effect);
                }
                Output::Report(event) => report(&event, &self.service),
                Output::Transmit(message) => self.write(|connection| connection.send(&message)),
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    return Demand::Wait(
                        deadline.and_then(|deadline| self.clock.instant(deadline)),
                    );
                }
            }
        }
    }

    /// Returns the connection to wait for, if there is one: its descriptor and its attachment.
    pub fn store(&self) -> Option<(BorrowedFd<'_>, &Attachment)> {
        self.store
            .as_ref()
            .map(|store| (store.connection.as_fd(), &store.attachment))
    }

    /// Whether to wait for the connection to become writable, too. Never so for a device, because that of Linux never
    /// becomes writable.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.store
            .as_ref()
            .is_some_and(|store| store.connection.has_unsent())
    }

    /// Reads from the connection once. Call it when the store is readable.
    #[must_use = "a poller that is edge-triggered does not report the rest"]
    pub fn receive(&mut self) -> More {
        let Some(store) = &mut self.store else {
            return More::Nothing;
        };
        let misuse = match store.connection.receive() {
            Ok(Some(bytes)) => self.machine.handle_bytes(self.clock.now(), bytes).err(),
            Ok(None) => return More::Nothing,
            Err(error) => {
                let is_end = error.kind() == ErrorKind::UnexpectedEof;
                self.close(&if is_end {
                    String::from("end of file")
                } else {
                    format!("read: {error}")
                });
                return More::Nothing;
            }
        };
        if let Some(misuse) = misuse {
            tracing::error!(%misuse, "bytes were passed to a machine without a connection");
        }
        More::Maybe
    }

    /// Writes what is unsent. Call it when the store is writable.
    pub fn flush(&mut self) {
        self.write(Connection::flush);
    }

    /// Closes the connection because the runtime cannot wait for it.
    pub fn abandon(&mut self, error: &io::Error) {
        self.close(&format!("wait: {error}"));
    }

    /// Passes the outcome of an effect to the machine.
    pub fn complete(&mut self, id: EffectId, outcome: Outcome) {
        self.running = self.running.saturating_sub(1);
        self.tell(id, outcome);
    }

    fn tell(&mut self, id: EffectId, outcome: Outcome) {
        if let Err(misuse) = self.machine.handle_completed(self.clock.now(), id, outcome) {
            tracing::error!(%misuse, "the runtime completed an effect that was never begun");
        }
    }

    /// Fires due timers. Call it once per turn, after everything else that has happened, even if there is always more.
    ///
    /// After a pause of the whole guest, the outcome of an effect and its deadline are due at once. The outcome comes first,
    /// so that a change that succeeded is not taken for one that hangs.
    pub fn fire_timers(&mut self) {
        let now = self.clock.now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.machine.handle_timeout(now);
        }
    }

    /// Ends the agent as soon as the command that runs is finished and answered.
    pub fn terminate(&mut self) {
        self.machine.handle_terminate(self.clock.now());
    }

    fn connect(&mut self, attach: &mut impl FnMut(BorrowedFd<'_>) -> io::Result<Attachment>) {
        let opened = self.xenstore.open().map_err(io::Error::other);
        let store = opened.map(Connection::new).and_then(|connection| {
            let attachment = attach(connection.as_fd())?;
            Ok(Store {
                attachment,
                connection,
            })
        });
        match store {
            Ok(store) => {
                self.store = Some(store);
                self.machine.handle_connected(self.clock.now());
            }
            Err(error) => self.close(&error.to_string()),
        }
    }

    fn write(&mut self, act: impl FnOnce(&mut Connection) -> io::Result<()>) {
        if let Some(Err(error)) = self.store.as_mut().map(|store| act(&mut store.connection)) {
            self.close(&format!("write: {error}"));
        }
    }

    fn close(&mut self, reason: &str) {
        self.store = None;
        self.machine.handle_closed(self.clock.now(), reason);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use nova_agent_core::Config;
    use nova_agent_core::wire::{Decoder, Message, Op, PAYLOAD_MAX};
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    /// Serves a store with one key exchange waiting, and returns the response.
    fn serve(listener: &UnixListener) -> String {
        let (mut agent, _) = listener.accept().unwrap();
        let mut decoder = Decoder::new(PAYLOAD_MAX);
        let mut buffer = [0; PAYLOAD_MAX];
        loop {
            let len = agent.read(&mut buffer).unwrap();
            let mut bytes = &buffer[..len];
            while let Some(Message {
                kind,
                req_id,
                tx_id,
                payload,
            }) = decoder.decode(&mut bytes).unwrap()
            {
                let text = String::from_utf8_lossy(&payload).into_owned();
                let op = Message {
                    kind,
                    req_id,
                    tx_id,
                    payload,
                }
                .op()
                .unwrap();
                let reply: &[u8] = if op == Op::Write {
                    return text;
                } else if op == Op::Read {
                    br#"{"name": "keyinit", "value": "5"}"#
                } else if op != Op::Directory {
                    b"OK\0"
                } else if text.starts_with("data/host") {
                    b"1\0"
                } else {
                    b""
                };
                agent
                    .write_all(
                        &Message::new(op, req_id, tx_id, reply.into())
                            .encode_within(PAYLOAD_MAX)
                            .unwrap(),
                    )
                    .unwrap();
            }
        }
    }

    /// Returns what an agent answers while so many effects run, or `None` if it starts one more.
    fn answer(running: usize) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let listener = UnixListener::bind(&path).unwrap();
        let store = std::thread::spawn(move || serve(&listener));
        let machine = Machine::new(Config::default());
        let mut driver = Driver::new(machine, StoreAddress::Unix(path), ServiceManager::detect());
        driver.running = running;
        while !store.is_finished() {
            match driver.next_demand(|_| Ok(())) {
                Demand::Perform(..) => {
                    assert_eq!(driver.running, running + 1);
                    return None;
                }
                Demand::Exit => panic!("it leaves"),
                Demand::Wait(_) => {}
            }
            let Some((fd, ())) = driver.store() else {
                continue;
            };
            let timeout = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: 10_000_000,
            };
            if poll(
                &mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)],
                Some(&timeout),
            )
            .unwrap()
                > 0
            {
                let _ = driver.receive();
            }
        }
        assert_eq!(driver.running, running);
        Some(store.join().unwrap())
    }

    #[test]
    fn no_more_effects_are_demanded_than_the_bound_and_the_next_one_fails() {
        assert_eq!(answer(EFFECTS_MAX - 1), None);
        let answer = answer(EFFECTS_MAX).unwrap();
        assert!(
            answer.starts_with("data/guest/1\0") && answer.contains("1024 effects do not end"),
            "{answer}"
        );
    }
}

//! Between the machine and a runtime: everything but waiting.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

use nova_agent_core::agent::REQUESTS_MAX;
use nova_agent_core::effect::{Effect, EffectId, Failure, Outcome};
use nova_agent_core::{Instant, Machine, Output};

use crate::clock::Clock;
use crate::connection::Connection;
use crate::service::{ServiceManager, report};
use crate::transport::StoreAddress;

/// The most effects that a runtime has in hand: one for each request. More can only be when the core has given some up,
/// because a disk is dead, and they do not end.
const EFFECTS_MAX: usize = REQUESTS_MAX;

/// The machine with its connection to Xenstore, its clock, its log and its service manager.
///
/// A runtime does what [`Driver::poll`] demands until that is to wait. Then it waits for
///
/// - the deadline,
/// - [`Driver::store`] to become readable, or writable if that [is wanted](Driver::is_sending),
/// - an effect to be finished, by a thread or by driving its [`PendingEffect`](crate::PendingEffect),
/// - a signal to leave.
///
/// What has happened it tells the driver: [`Driver::receive`], [`Driver::flush`], [`Driver::complete`],
/// [`Driver::terminate`]; after each of them it polls until it is to wait again. At last, when everything is told or has had
/// its turn, it calls [`Driver::tick`] and begins anew.
///
/// `A` is what the runtime needs for waiting for a connection, such as its registration with a poller. The driver makes
/// one for each connection, and drops it before the connection is closed.
#[derive(Debug)]
pub struct Driver<A> {
    machine: Machine,
    clock: Clock,
    xenstore: StoreAddress,
    service: ServiceManager,
    store: Option<Store<A>>,
    deadline: Option<Instant>,
    /// How many effects were demanded and are not completed.
    in_hand: usize,
}

/// What a runtime is to do.
#[derive(Debug)]
#[must_use = "an effect that is dropped is lost to the host"]
pub enum Demand {
    /// Return. Everything in hand is finished.
    Exit,
    /// Carry the effect out beside waiting for everything else, and tell the driver what came of it, exactly once.
    Perform(EffectId, Effect),
    /// Wait until this time at most, or without end. It may have passed: then look what has happened, and do not wait.
    Wait(Option<std::time::Instant>),
}

/// The fields are dropped in their order.
#[derive(Debug)]
struct Store<A> {
    attachment: A,
    connection: Connection,
}

impl<A> Driver<A> {
    pub(crate) fn new(machine: Machine, xenstore: StoreAddress, service: ServiceManager) -> Self {
        Self {
            machine,
            clock: Clock::start(),
            xenstore,
            service,
            store: None,
            deadline: None,
            in_hand: 0,
        }
    }

    /// What to do next. `attach` is called with every connection that is opened; if it fails, so does the connection.
    pub fn poll(&mut self, mut attach: impl FnMut(BorrowedFd<'_>) -> io::Result<A>) -> Demand {
        loop {
            match self.machine.poll_output() {
                Output::Connect => self.connect(&mut attach),
                Output::Disconnect => self.store = None,
                Output::Exit => return Demand::Exit,
                Output::Perform(id, _) if self.in_hand >= EFFECTS_MAX => {
                    let refusal = Failure::Refused(format!("{EFFECTS_MAX} effects do not end"));
                    self.tell(id, Outcome::Failed(refusal));
                }
                Output::Perform(id, effect) => {
                    self.in_hand = self.in_hand.saturating_add(1);
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

    /// The connection to wait for, if there is one: its descriptor, and what `attach` made for it.
    pub fn store(&self) -> Option<(BorrowedFd<'_>, &A)> {
        self.store
            .as_ref()
            .map(|store| (store.connection.as_fd(), &store.attachment))
    }

    /// Whether to wait for the connection to become writable, too. The device of Linux never does, so this is never the
    /// case for a device.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.store
            .as_ref()
            .is_some_and(|store| store.connection.has_unsent())
    }

    /// The connection has something to read. Reads once, and tells whether there may be more: if not, it says so again
    /// when something comes.
    pub fn receive(&mut self) -> bool {
        let Some(store) = &mut self.store else {
            return false;
        };
        let misuse = match store.connection.receive() {
            Ok(Some(bytes)) => self.machine.handle_bytes(self.clock.now(), bytes).err(),
            Ok(None) => return false,
            Err(error) => {
                let is_end = error.kind() == ErrorKind::UnexpectedEof;
                self.close(&if is_end {
                    String::from("end of file")
                } else {
                    format!("read: {error}")
                });
                return false;
            }
        };
        if let Some(misuse) = misuse {
            tracing::error!(%misuse, "the driver broke the machine's contract");
        }
        true
    }

    /// The connection can be written.
    pub fn flush(&mut self) {
        self.write(Connection::flush);
    }

    /// The connection cannot be waited for, and is closed.
    pub fn abandon(&mut self, error: &io::Error) {
        self.close(&format!("wait: {error}"));
    }

    /// What came of an effect.
    pub fn complete(&mut self, id: EffectId, outcome: Outcome) {
        self.in_hand = self.in_hand.saturating_sub(1);
        self.tell(id, outcome);
    }

    fn tell(&mut self, id: EffectId, outcome: Outcome) {
        if let Err(misuse) = self.machine.handle_completed(self.clock.now(), id, outcome) {
            tracing::error!(%misuse, "the runtime completed an effect that was never begun");
        }
    }

    /// Timers that are due go off.
    ///
    /// After a pause of the whole guest the outcome of an effect and its deadline come at once. So this comes behind what
    /// has happened: a step that succeeded is not to be taken for one that hangs. But it has to come even if there is always
    /// more.
    pub fn tick(&mut self) {
        let now = self.clock.now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.machine.handle_timeout(now);
        }
    }

    /// The agent is to leave as soon as the command in hand is finished and answered.
    pub fn terminate(&mut self) {
        self.machine.handle_terminate(self.clock.now());
    }

    fn connect(&mut self, attach: &mut impl FnMut(BorrowedFd<'_>) -> io::Result<A>) {
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

    /// A store with one key exchange waiting; returns the response that it gets.
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

    /// What an agent answers that has so many effects in hand; `None` if it goes on with one more.
    fn answer(in_hand: usize) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let listener = UnixListener::bind(&path).unwrap();
        let store = std::thread::spawn(move || serve(&listener));
        let machine = Machine::new(Config::default());
        let mut driver = Driver::new(machine, StoreAddress::Unix(path), ServiceManager::detect());
        driver.in_hand = in_hand;
        while !store.is_finished() {
            match driver.poll(|_| Ok(())) {
                Demand::Perform(..) => {
                    assert_eq!(driver.in_hand, in_hand + 1);
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
                driver.receive();
            }
        }
        assert_eq!(driver.in_hand, in_hand);
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

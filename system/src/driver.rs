//! Between the machine and a runtime: everything but waiting.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

use nova_agent_core::effect::{Effect, EffectId, Outcome};
use nova_agent_core::{Instant, Machine, Output};

use crate::clock::Clock;
use crate::connection::Connection;
use crate::launch::report;
use crate::service::ServiceManager;
use crate::transport::StoreAddress;

/// The machine with its connection to Xenstore, its clock, its log and its service manager.
///
/// A runtime does what [`Driver::poll`] demands until that is to wait. Then it waits for
///
/// - the deadline,
/// - [`Driver::store`] to become readable, or writable if that [is wanted](Driver::is_sending),
/// - an effect to be finished, by a thread or by driving its [`Work`](crate::Work),
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
        Self { machine, clock: Clock::start(), xenstore, service, store: None, deadline: None }
    }

    /// What to do next. `attach` is called with every connection that is opened; if it fails, so does the connection.
    pub fn poll(&mut self, mut attach: impl FnMut(BorrowedFd<'_>) -> io::Result<A>) -> Demand {
        loop {
            match self.machine.poll_output() {
                Output::Connect => self.connect(&mut attach),
                Output::Disconnect => self.store = None,
                Output::Exit => return Demand::Exit,
                Output::Perform(id, effect) => return Demand::Perform(id, effect),
                Output::Report(event) => report(&event, &self.service),
                Output::Transmit(message) => self.write(|connection| connection.send(&message)),
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    return Demand::Wait(deadline.and_then(|deadline| self.clock.instant(deadline)));
                }
            }
        }
    }

    /// The connection to wait for, if there is one: its descriptor, and what `attach` made for it.
    pub fn store(&self) -> Option<(BorrowedFd<'_>, &A)> {
        self.store.as_ref().map(|store| (store.connection.as_fd(), &store.attachment))
    }

    /// Whether to wait for the connection to become writable, too. The device of Linux never does, so this is never the
    /// case for a device.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.store.as_ref().is_some_and(|store| store.connection.has_unsent())
    }

    /// The connection has something to read. Reads once, and tells whether there may be more: if not, it says so again
    /// when something comes.
    pub fn receive(&mut self) -> bool {
        let Some(store) = &mut self.store else { return false };
        let misuse = match store.connection.receive() {
            Ok(Some(bytes)) => self.machine.handle_bytes(self.clock.now(), bytes).err(),
            Ok(None) => return false,
            Err(error) => {
                let is_end = error.kind() == ErrorKind::UnexpectedEof;
                self.close(&if is_end { String::from("end of file") } else { format!("read: {error}") });
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
            Ok(Store { attachment, connection })
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

//! The loop: everything that happens goes to the machine, everything that it wants is done.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use nova_agent_core::effect::{Effect, EffectId, Outcome};
use nova_agent_core::{Instant, Machine, Output};
use nova_agent_system::{Clock, Launch, Signals, System, report};

use crate::connection::{Connection, ConnectionId};

/// What a thread tells the machine's thread.
pub(crate) enum Event {
    Bytes(ConnectionId, Vec<u8>),
    Closed(ConnectionId, String),
    Completed(EffectId, Outcome),
    Terminate,
}

/// Serves the host's requests until a signal says to leave and everything in hand is finished.
///
/// # Errors
/// If the system refuses a thread.
pub fn run(launch: Launch) -> io::Result<()> {
    let Launch { machine, system, xenstore, service, signals, clock, instance: _instance } = launch;
    let (events, inbox) = mpsc::channel();
    let system = Arc::new(system);
    wait_for_signals(signals, events.clone())?;
    let work = start_worker(Arc::clone(&system), events.clone())?;
    let mut driver = Driver { machine, clock, connection: None, last: ConnectionId::default() };
    let mut overdue = 0;
    loop {
        // Drain: the machine may queue more with everything that it is told.
        let deadline = loop {
            match driver.machine.poll_output() {
                Output::Connect => {
                    let opened = xenstore.open().map_err(io::Error::other);
                    driver.last = driver.last.next();
                    let started = opened.and_then(|way| Connection::start(driver.last, way, events.clone()));
                    driver.connected(started);
                }
                Output::Disconnect => driver.connection = None,
                Output::Exit => return Ok(()),
                Output::Perform(id, effect @ Effect::Entropy { .. }) => {
                    // A key exchange does not wait for a program that runs.
                    let outcome = system.perform(effect);
                    driver.handle(Event::Completed(id, outcome));
                }
                Output::Perform(id, effect @ (Effect::Probe(_) | Effect::Step(_))) => {
                    if work.send((id, effect)).is_err() {
                        return Err(io::Error::other("the worker thread has ended"));
                    }
                }
                Output::Report(event) => report(&event, &service),
                Output::Transmit(message) => driver.transmit(&message),
                Output::Wait(deadline) => break deadline,
            }
        };
        match wait(&inbox, deadline, driver.clock.now(), &mut overdue) {
            Some(event) => driver.handle(event),
            None => driver.machine.handle_timeout(driver.clock.now()),
        }
    }
}

struct Driver {
    machine: Machine,
    clock: Clock,
    connection: Option<Connection>,
    last: ConnectionId,
}

impl Driver {
    fn connected(&mut self, connection: io::Result<Connection>) {
        match connection {
            Ok(connection) => {
                self.connection = Some(connection);
                self.machine.handle_connected(self.clock.now());
            }
            Err(error) => self.machine.handle_closed(self.clock.now(), &error.to_string()),
        }
    }

    fn transmit(&mut self, message: &[u8]) {
        if let Some(Err(error)) = self.connection.as_ref().map(|connection| connection.write(message)) {
            self.connection = None;
            self.machine.handle_closed(self.clock.now(), &format!("write: {error}"));
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.clock.now();
        let current = self.connection.as_ref().map(|connection| connection.id);
        let taken = match event {
            Event::Bytes(id, bytes) if Some(id) == current => self.machine.handle_bytes(now, &bytes),
            Event::Closed(id, reason) if Some(id) == current => {
                self.connection = None;
                self.machine.handle_closed(now, &reason);
                Ok(())
            }
            Event::Bytes(..) | Event::Closed(..) => Ok(()),
            Event::Completed(id, outcome) => self.machine.handle_completed(now, id, outcome),
            Event::Terminate => {
                self.machine.handle_terminate(now);
                Ok(())
            }
        };
        if let Err(misuse) = taken {
            tracing::error!(%misuse, "the driver broke the machine's contract");
        }
    }
}

/// The next event, or `None` at the deadline.
///
/// After a pause of the whole guest the outcome of an effect and its deadline come at once. What has happened goes first,
/// so that a step that succeeded is not taken for one that hangs; but `overdue` counts, so that a stream of events cannot
/// keep the machine's timers waiting.
fn wait(inbox: &Receiver<Event>, deadline: Option<Instant>, now: Instant, overdue: &mut u32) -> Option<Event> {
    /// More than anything but a flood leaves in the channel.
    const OVERDUE_MAX: u32 = 64;

    if deadline.is_some_and(|deadline| deadline <= now)
        && *overdue < OVERDUE_MAX
        && let Ok(event) = inbox.try_recv()
    {
        *overdue = overdue.saturating_add(1);
        return Some(event);
    }
    *overdue = 0;
    match deadline {
        Some(deadline) if deadline <= now => None,
        Some(deadline) => inbox.recv_timeout(deadline.since(now)).ok(),
        None => inbox.recv().ok(),
    }
}

/// The thread that carries out what may take its time, one effect after the other.
fn start_worker(system: Arc<System>, events: Sender<Event>) -> io::Result<Sender<(EffectId, Effect)>> {
    let (work, queue) = mpsc::channel::<(EffectId, Effect)>();
    thread::Builder::new().name("effects".into()).spawn(move || {
        for (id, effect) in queue {
            if events.send(Event::Completed(id, system.perform(effect))).is_err() {
                return;
            }
        }
    })?;
    Ok(work)
}

fn wait_for_signals(mut signals: Signals, events: Sender<Event>) -> io::Result<()> {
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || while signals.wait().is_ok() && events.send(Event::Terminate).is_ok() {})?;
    Ok(())
}

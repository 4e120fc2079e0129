//! A whole world in one thread: the machine, an embedded store, a guest in memory and a host, on a clock that jumps from
//! one event to the next. Nothing in it is random, so that a run repeats itself to the byte.
//!
//! A [`Fault`] is one thing that goes wrong at a place that can be counted through: a test runs the same story with the
//! fault at every place, or several faults at all pairs of places. A [`simulation`] drives the same world through faults and
//! orders of events that a seed chooses.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test"
)]

mod guest;
mod host;
pub mod simulation;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use nova_agent_core::agent::Report;
use nova_agent_core::effect::{EffectId, Outcome};
use nova_agent_core::wire::{Decoder, Message, PAYLOAD_MAX};
use nova_agent_core::{Config, Instant, Machine, Output};

pub use self::guest::{File, Guest};
use self::host::Dom0;
use crate::xenstored::{ConnId, Flavour, Peer, Store};

/// The number of the agent's domain.
pub const DOMID: u32 = 7;

/// How much may happen at one moment before it counts as an endless loop.
const OUTPUTS_MAX: usize = 20_000;

/// What goes wrong, once. Places count from 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The agent is killed when this message, of either direction, is about to arrive, and started again.
    Crash(usize),
    /// What the store sends is cut at this byte of everything that it sends: the rest of the message comes later.
    Cut(usize),
    /// The connection breaks when this message, of either direction, is about to arrive.
    Disconnect(usize),
    /// This message of the store never arrives.
    Lose(usize),
    /// Every byte of the store arrives alone.
    Trickle,
}

/// Who sends a message.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Sender {
    /// The agent.
    Agent,
    /// The store.
    Store,
}

/// The machine and everything around it.
#[derive(Debug)]
pub struct World {
    now: Instant,
    machine: Machine,
    store: Store,
    dom0: Dom0,
    guest: Guest,
    faults: Vec<Fault>,
    config: Config,
    /// Whether the store can be reached.
    is_up: bool,
    /// Who the agent is for the store.
    peer: Peer,
    connection: Option<ConnId>,
    /// What the machine has sent and the store has not yet received.
    outbox: VecDeque<Vec<u8>>,
    /// What the store has sent and the machine has not yet received.
    inbox: VecDeque<Vec<u8>>,
    /// Every message of either side, in the order in which they were sent.
    messages: Vec<(Sender, Message)>,
    /// What became of effects, at the time at which they are over.
    outcomes: BTreeMap<(Instant, EffectId), Outcome>,
    /// When the machine wants to be woken.
    deadline: Option<Instant>,
    reports: Vec<(Instant, Report)>,
    has_exited: bool,
    counted: Counted,
}

/// What a world counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counted {
    /// How often the machine wanted to connect.
    pub connects: usize,
    /// Bytes from the store to the machine.
    pub bytes: usize,
    /// Messages between the two, in either direction.
    pub messages: usize,
    /// Messages from the store to the machine.
    pub received: usize,
    /// How often the machine was woken by its deadline.
    pub wake_ups: usize,
}

impl World {
    /// A world in which the agent has not yet begun.
    #[must_use]
    pub fn new(flavour: Flavour, config: Config) -> Self {
        let mut store = Store::new(flavour);
        store.add_domain(DOMID);
        let dom0 = Dom0::new(&mut store, DOMID);
        Self {
            // Not the origin, which is nothing special.
            now: Instant::from_origin(Duration::from_secs(1000)),
            machine: Machine::new(config.clone()),
            store,
            dom0,
            guest: Guest::debian(),
            faults: Vec::new(),
            config,
            is_up: true,
            peer: Peer::Guest(DOMID),
            connection: None,
            outbox: VecDeque::new(),
            inbox: VecDeque::new(),
            messages: Vec::new(),
            outcomes: BTreeMap::new(),
            deadline: None,
            reports: Vec::new(),
            has_exited: false,
            counted: Counted::default(),
        }
    }

    /// Has things go wrong.
    pub fn set_faults(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.faults = faults.into_iter().collect();
    }

    /// The guest.
    pub const fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }

    /// What has been counted.
    #[must_use]
    pub const fn counted(&self) -> Counted {
        self.counted
    }

    /// Every message of either side, in the order in which they were sent.
    #[must_use]
    pub fn messages(&self) -> &[(Sender, Message)] {
        &self.messages
    }

    /// What the machine reported, and when.
    #[must_use]
    pub fn reports(&self) -> &[(Instant, Report)] {
        &self.reports
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// When the machine wants to be woken next.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the machine has left.
    #[must_use]
    pub const fn has_exited(&self) -> bool {
        self.has_exited
    }

    /// Tells the machine to leave.
    pub fn terminate(&mut self) {
        self.machine.handle_terminate(self.now);
        self.settle();
    }

    /// Saves the domain and restores it under the next number.
    pub fn restore(&mut self) {
        self.change_domain();
        self.settle();
    }

    /// The domain goes on under the next number.
    fn change_domain(&mut self) {
        if let Peer::Guest(domid) = self.peer {
            self.store.restore_domain(domid, domid + 1);
            self.dom0.set_domain(&mut self.store, domid + 1);
            self.peer = Peer::Guest(domid + 1);
        }
    }

    /// Breaks the connection; `is_up` says whether another one is to be had.
    pub fn disconnect(&mut self, is_up: bool) {
        self.is_up = is_up;
        self.close("the test broke the connection");
        self.settle();
    }

    /// Lets time pass, and everything happen that happens meanwhile.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        self.settle();
        while self.step(end) {}
        self.now = end;
    }

    /// As [`Self::run_for`], until a condition holds. Returns whether it does.
    pub fn run_until(
        &mut self,
        timeout: Duration,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let end = self.now.after(timeout);
        self.settle();
        while !condition(self) {
            if !self.step(end) {
                self.now = end;
                return condition(self);
            }
        }
        true
    }

    /// Jumps to the next time at which something happens, unless that is after `end`.
    fn step(&mut self, end: Instant) -> bool {
        let outcome = self.outcomes.keys().next().map(|(at, _)| *at);
        let Some(next) = [outcome, self.deadline]
            .into_iter()
            .flatten()
            .min()
            .filter(|next| *next <= end)
        else {
            return false;
        };
        self.now = self.now.max(next);
        if self.deadline.is_some_and(|deadline| deadline <= self.now) {
            self.counted.wake_ups += 1;
            self.machine.handle_timeout(self.now);
            self.settle();
            let late = self.deadline.filter(|deadline| *deadline <= self.now);
            assert_eq!(late, None, "a deadline that has passed is asked for again");
        } else {
            self.settle();
        }
        true
    }

    /// Does what the machine wants and tells it what happens, until nothing is left to do at this time.
    fn settle(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            match self.machine.poll_output() {
                Output::Connect if self.is_up => {
                    self.counted.connects += 1;
                    self.connection = Some(self.store.connect(self.peer));
                    self.machine.handle_connected(self.now);
                }
                Output::Connect => {
                    self.counted.connects += 1;
                    self.machine.handle_closed(self.now, "connection refused");
                }
                Output::Disconnect => {
                    self.hang_up();
                }
                Output::Exit => {
                    self.has_exited = true;
                    self.deadline = None;
                    return;
                }
                Output::Perform(id, effect) => {
                    let (takes, outcome) = self.guest.perform(effect);
                    self.outcomes.insert((self.now.after(takes), id), outcome);
                }
                Output::Report(report) => self.reports.push((self.now, report)),
                Output::Transmit(message) => {
                    self.outbox.push_back(message);
                    self.send_one();
                }
                Output::Wait(deadline) => {
                    assert_eq!(
                        self.machine.poll_output(),
                        Output::Wait(deadline),
                        "the same question again"
                    );
                    if !self.complete_one() && !self.receive_one() {
                        self.deadline = deadline;
                        return;
                    }
                }
            }
        }
        panic!(
            "the world never comes to rest; the last reports: {:?}",
            self.reports.iter().rev().take(10)
        );
    }

    /// Reports an effect that is over.
    fn complete_one(&mut self) -> bool {
        let Some(first) = self
            .outcomes
            .first_entry()
            .filter(|first| first.key().0 <= self.now)
        else {
            return false;
        };
        let ((_, id), outcome) = first.remove_entry();
        self.machine
            .handle_completed(self.now, id, outcome)
            .expect("the machine gave out this effect");
        true
    }

    /// Delivers a message of the machine.
    fn send_one(&mut self) {
        let (Some(connection), Some(message)) = (self.connection, self.outbox.pop_front()) else {
            return;
        };
        self.messages.push((Sender::Agent, the_message(&message)));
        if self.breaks_here() {
            return;
        }
        self.store.handle_bytes(connection, &message);
        self.dom0.hear(&mut self.store);
    }

    /// Delivers a message of the store.
    fn receive_one(&mut self) -> bool {
        let Some(connection) = self.connection else {
            return false;
        };
        while let Some(message) = self.store.poll_bytes(connection) {
            let decoded = Decoder::new(PAYLOAD_MAX)
                .decode(&mut message.as_slice())
                .ok()
                .flatten();
            self.messages
                .push((Sender::Store, decoded.expect("a whole message")));
            self.inbox.push_back(message);
        }
        let Some(message) = self.inbox.pop_front() else {
            return false;
        };
        if self.breaks_here() {
            return true;
        }
        let number = self.counted.received;
        self.counted.received += 1;
        if self.faults.contains(&Fault::Lose(number)) {
            return true;
        }
        let start = self.counted.bytes;
        self.counted.bytes += message.len();
        let cut = self.faults.iter().find_map(|fault| match fault {
            Fault::Cut(at) => message.split_at_checked(at.checked_sub(start)?),
            Fault::Crash(_) | Fault::Disconnect(_) | Fault::Lose(_) | Fault::Trickle => None,
        });
        let mut pieces: VecDeque<&[u8]> = match cut {
            _ if self.faults.contains(&Fault::Trickle) => message.chunks(1).collect(),
            Some((first, second)) if !first.is_empty() && !second.is_empty() => {
                [first, second].into()
            }
            Some(_) | None => [message.as_slice()].into(),
        };
        while let Some(piece) = pieces.pop_front() {
            self.machine
                .handle_bytes(self.now, piece)
                .expect("there is a connection");
            if !pieces.is_empty() {
                // Nothing can come of a part of a message.
                assert!(matches!(self.machine.poll_output(), Output::Wait(_)));
            }
        }
        true
    }

    /// Counts a message that is about to arrive, and breaks the connection if that is its fate.
    fn breaks_here(&mut self) -> bool {
        let number = self.counted.messages;
        self.counted.messages += 1;
        let crashes = self.faults.contains(&Fault::Crash(number));
        let breaks = self.faults.contains(&Fault::Disconnect(number));
        if crashes {
            self.crash();
        } else if breaks {
            self.close("a fault of this run");
        }
        crashes || breaks
    }

    /// What the guest did stays done.
    fn crash(&mut self) {
        self.hang_up();
        self.outcomes.clear();
        self.machine = Machine::new(self.config.clone());
    }

    fn close(&mut self, reason: &str) {
        if self.hang_up() {
            self.machine.handle_closed(self.now, reason);
        }
    }

    /// Returns whether there was a connection.
    fn hang_up(&mut self) -> bool {
        self.inbox.clear();
        self.outbox.clear();
        let connection = self.connection.take();
        if let Some(connection) = connection {
            self.store.disconnect(connection);
        }
        connection.is_some()
    }
}

/// One write of the machine is one message.
fn the_message(bytes: &[u8]) -> Message {
    let mut rest = bytes;
    let only = Decoder::new(PAYLOAD_MAX).decode(&mut rest).ok().flatten();
    only.filter(|_| rest.is_empty())
        .expect("one write, one message")
}

//! The loop: meet the driver's demands, wait, and pass to the driver what has happened.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Poll, Registry, Token};
use nova_agent_core::effect::{Effect, EffectId};
use nova_agent_system::runtime::{
    Demand, Driver, Interest, Launch, More, PendingEffect, Signals, Source, Started, System,
};

use crate::registration::Registration;

const STORE: Token = Token(0);
const SIGNALS: Token = Token(1);

/// Tokens from here on are those of effects that go on, each used once.
const EFFECTS: Token = Token(2);

/// The most events per call of the poller; the rest follow with the next one. With one program there are fewer.
const EVENTS_MAX: usize = 32;

/// The most reads from the store per turn.
const READS_MAX: usize = 64;

/// Serves the host's requests until SIGTERM or SIGINT, and until everything that was begun is finished.
///
/// # Errors
/// If the system refuses a poller, or cannot wait.
pub fn run(launch: Launch, mut signals: Signals) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let registry = Rc::new(poll.registry().try_clone()?);
    registry.register(
        &mut SourceFd(&signals.as_fd().as_raw_fd()),
        SIGNALS,
        mio::Interest::READABLE,
    )?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut agent = Agent::new(launch, registry);
    loop {
        agent.arm();
        let ControlFlow::Continue(deadline) = agent.drain() else {
            return Ok(());
        };
        match poll.poll(&mut events, agent.timeout(deadline)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                STORE => agent.handle_store(event.is_writable()),
                SIGNALS => {
                    signals.take();
                    agent.driver.terminate();
                }
                effect => agent.advance(effect),
            }
            // If this is `Break`, the next turn sees it again.
            let _ = agent.drain();
        }
        agent.advance_overdue();
        agent.receive();
        agent.driver.fire_timers();
    }
}

struct Agent {
    driver: Driver<Registration>,
    system: System,
    registry: Rc<Registry>,
    /// The effects that are not finished, by the tokens of their sources.
    pending: BTreeMap<Token, (EffectId, PendingEffect)>,
    next: Token,
    /// Whether there may be something to read from the store: the poller is edge-triggered.
    is_readable: bool,
}

impl Agent {
    fn new(launch: Launch, registry: Rc<Registry>) -> Self {
        let (driver, system) = launch.split();
        Self {
            driver,
            system,
            registry,
            pending: BTreeMap::new(),
            next: EFFECTS,
            is_readable: false,
        }
    }

    /// Meets the driver's demands until that is to wait or to exit.
    fn drain(&mut self) -> ControlFlow<(), Option<Instant>> {
        loop {
            match self
                .driver
                .next_demand(|store| Registration::new(&self.registry, store, STORE))
            {
                Demand::Exit => return ControlFlow::Break(()),
                Demand::Perform(id, effect) => self.begin(id, effect),
                Demand::Wait(deadline) => return ControlFlow::Continue(deadline),
            }
        }
    }

    /// Makes the poller wait until the store is writable, if something is unsent.
    fn arm(&mut self) {
        let registration = self.driver.store().map(|(_, registration)| registration);
        if let Some(Err(error)) = registration.map(|it| it.set_writable(self.driver.wants_write()))
        {
            self.driver.abandon(&error);
        }
    }

    /// Returns how long to wait.
    fn timeout(&self, deadline: Option<Instant>) -> Option<Duration> {
        if self.is_readable {
            return Some(Duration::ZERO);
        }
        self.pending
            .values()
            .map(|(_, pending)| pending.deadline())
            .chain(deadline)
            .min()
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    fn handle_store(&mut self, is_writable: bool) {
        if is_writable {
            self.driver.flush();
        }
        // The end and an error are found by reading.
        self.is_readable = true;
    }

    fn receive(&mut self) {
        for _ in 0..READS_MAX {
            if !self.is_readable {
                return;
            }
            self.is_readable = self.driver.receive() == More::Maybe;
            let _ = self.drain();
        }
    }

    fn begin(&mut self, id: EffectId, effect: Effect) {
        match self.system.start(effect) {
            Started::Finished(outcome) => self.driver.complete(id, outcome),
            Started::Running(pending) => {
                let token = self.next;
                self.next = Token(token.0.wrapping_add(1).max(EFFECTS.0));
                match register(&self.registry, &pending, token) {
                    Ok(()) => _ = self.pending.insert(token, (id, pending)),
                    Err(error) => self.driver.complete(id, pending.abandon(&error)),
                }
            }
        }
    }

    fn advance(&mut self, token: Token) {
        // An event may be older than the end of its effect.
        let Some((id, pending)) = self.pending.remove(&token) else {
            return;
        };
        match self.system.advance(pending, Instant::now()) {
            Started::Finished(outcome) => self.driver.complete(id, outcome),
            Started::Running(pending) => _ = self.pending.insert(token, (id, pending)),
        }
    }

    fn advance_overdue(&mut self) {
        let now = Instant::now();
        let overdue: Vec<Token> = self
            .pending
            .iter()
            .filter(|(_, (_, pending))| pending.deadline() <= now)
            .map(|(token, _)| *token)
            .collect();
        for token in overdue {
            self.advance(token);
            let _ = self.drain();
        }
    }
}

/// Registers the sources of an effect. Each registration ends when the effect closes the descriptor.
fn register(registry: &Registry, pending: &PendingEffect, token: Token) -> io::Result<()> {
    for Source { fd, interest } in pending.sources() {
        let interest = match interest {
            Interest::Read => mio::Interest::READABLE,
            Interest::Write => mio::Interest::WRITABLE,
        };
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, interest)?;
    }
    Ok(())
}

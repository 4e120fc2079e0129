//! The loop: do what the driver demands, wait, tell it what has happened.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Poll, Registry, Token};
use nova_agent_core::effect::{Effect, EffectId};
use nova_agent_system::{Demand, Driver, Interest, Launch, Signals, Source, Started, System, Work};

use crate::registration::Registration;

const STORE: Token = Token(0);
const SIGNALS: Token = Token(1);

/// Tokens from here on are those of effects that go on, each used once.
const EFFECTS: Token = Token(2);

/// How many events are taken from the poller at once; the others come next. More than there ever are, with one program.
const EVENTS_MAX: usize = 32;

/// How often the store is read before something else has its turn.
const READS_MAX: usize = 64;

/// Serves the host's requests until a signal says to leave and everything in hand is finished.
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
            // Should this be the end, it is so at the next turn as well.
            let _ = agent.drain();
        }
        agent.advance_overdue();
        agent.receive();
        agent.driver.tick();
    }
}

struct Agent {
    driver: Driver<Registration>,
    system: System,
    registry: Rc<Registry>,
    /// The effects that go on, by the tokens of their sources.
    works: BTreeMap<Token, (EffectId, Work)>,
    next: Token,
    /// There may be something to read from the store. The poller tells only when more comes.
    is_readable: bool,
}

impl Agent {
    fn new(launch: Launch, registry: Rc<Registry>) -> Self {
        let (driver, system) = launch.split();
        Self {
            driver,
            system,
            registry,
            works: BTreeMap::new(),
            next: EFFECTS,
            is_readable: false,
        }
    }

    /// Does what the driver demands, until that is to wait or to leave.
    fn drain(&mut self) -> ControlFlow<(), Option<Instant>> {
        loop {
            match self
                .driver
                .poll(|store| Registration::new(&self.registry, store, STORE))
            {
                Demand::Exit => return ControlFlow::Break(()),
                Demand::Perform(id, effect) => self.begin(id, effect),
                Demand::Wait(deadline) => return ControlFlow::Continue(deadline),
            }
        }
    }

    /// Has the poller wait until the store can be written, if something is unsent.
    fn arm(&mut self) {
        let registration = self.driver.store().map(|(_, registration)| registration);
        if let Some(Err(error)) = registration.map(|it| it.set_writable(self.driver.is_sending())) {
            self.driver.abandon(&error);
        }
    }

    /// How long to wait.
    fn timeout(&self, deadline: Option<Instant>) -> Option<Duration> {
        if self.is_readable {
            return Some(Duration::ZERO);
        }
        let works = self.works.values().map(|(_, work)| work.deadline());
        works
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
            self.is_readable = self.driver.receive();
            let _ = self.drain();
        }
    }

    fn begin(&mut self, id: EffectId, effect: Effect) {
        match self.system.start(effect) {
            Started::Finished(outcome) => self.driver.complete(id, outcome),
            Started::Running(work) => {
                let token = self.next;
                self.next = Token(token.0.wrapping_add(1).max(EFFECTS.0));
                match register(&self.registry, &work, token) {
                    Ok(()) => _ = self.works.insert(token, (id, work)),
                    Err(error) => self.driver.complete(id, work.abandon(&error)),
                }
            }
        }
    }

    fn advance(&mut self, token: Token) {
        // An event may be older than the end of its effect.
        let Some((id, work)) = self.works.remove(&token) else {
            return;
        };
        match self.system.advance(work, Instant::now()) {
            Started::Finished(outcome) => self.driver.complete(id, outcome),
            Started::Running(work) => _ = self.works.insert(token, (id, work)),
        }
    }

    fn advance_overdue(&mut self) {
        let now = Instant::now();
        let is_overdue = |(token, (_, work)): (&Token, &(EffectId, Work))| {
            (work.deadline() <= now).then_some(*token)
        };
        let overdue: Vec<Token> = self.works.iter().filter_map(is_overdue).collect();
        for token in overdue {
            self.advance(token);
            let _ = self.drain();
        }
    }
}

/// The registrations end when the work closes its descriptors, one after the other.
fn register(registry: &Registry, work: &Work, token: Token) -> io::Result<()> {
    for Source { fd, interest } in work.sources() {
        let interest = match interest {
            Interest::Read => mio::Interest::READABLE,
            Interest::Write => mio::Interest::WRITABLE,
        };
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, interest)?;
    }
    Ok(())
}

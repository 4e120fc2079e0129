//! Hostile and unlucky worlds: a seed chooses what hosts ask, in which order everything happens, and what goes wrong.
//!
//! A `Simulation` drives a [`World`] one event at a time and looks after each of them whether every [`Invariant`] holds.
//! All that is not the agent's doing comes from [`Choices`], so that a run repeats itself to the byte, and a failure is
//! [shrunk](shrink) by taking choices away. `docs/simulation.md` says how to read a failure, and how to add a fault.
#![allow(
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

mod choices;
mod digest;
mod effects;
mod events;
mod hosts;
mod invariants;
mod many;
mod requests;
mod shrink;
mod transport;
mod verdict;
mod versions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use nova_agent_core::agent::{Report, STOP_TIMEOUT};
use nova_agent_core::{CommandPolicy, Config, Instant, Machine, Output};

pub use self::choices::{Choices, InvalidChoices, Lists, SITES, Site};
pub use self::digest::Digests;
use self::effects::{Orphan, Work};
use self::hosts::Hosts;
pub use self::invariants::{Invariant, Violation};
use self::invariants::{Secrets, ensure};
pub use self::many::{Failure, Figures, run_many, show};
pub use self::requests::Command;
pub use self::shrink::shrink;
use self::transport::Arrival;
use super::World;
use super::host::Dom0;
use crate::xenstored::{Flavour, Peer};

/// The most outputs of one input. The longest lists come from hosts that ask many things at once.
const OUTPUTS_MAX: usize = 64;

/// How many events a world has in which something may go wrong, for each request and beside them.
const EVENTS_A_REQUEST: usize = 40;
const EVENTS: usize = 60;

/// Time spans that faults take, and hosts.
const TIMES: [Duration; 7] = [
    Duration::from_millis(20),
    Duration::from_millis(700),
    Duration::from_secs(2),
    Duration::from_secs(7),
    Duration::from_secs(33),
    Duration::from_secs(95),
    Duration::from_secs(400),
];

type Checked = Result<(), Violation>;

/// A world with everything that is to be known of it to judge the agent.
struct Simulation {
    world: World,
    choices: Choices,
    /// Nothing goes wrong any more.
    is_calm: bool,
    /// Which of the agents this is: each start makes another one.
    life: usize,
    /// When the next agent starts, if there is none.
    revives: Option<Instant>,
    /// When this one was told to leave.
    stopping: Option<Instant>,
    is_ready: bool,
    /// The latest time that the machine was told.
    told: Instant,
    /// How often, at which time, it wanted to be woken at a time that had passed.
    late: (Instant, usize),
    /// When the store can be reached again.
    up_at: Option<Instant>,
    numbers: usize,
    awaits_reply: bool,
    arriving: VecDeque<Arrival>,
    delayed: Vec<(Instant, Vec<u8>)>,
    works: Vec<Work>,
    orphans: Vec<Orphan>,
    hosts: Hosts,
    secrets: Secrets,
    /// Contents that each injected file was given.
    injected: BTreeMap<String, BTreeSet<Vec<u8>>>,
    /// What was put into which file.
    applied: BTreeSet<(String, Vec<u8>)>,
    /// Responses that the store refused to remove.
    kept: BTreeSet<String>,
    plan: Option<effects::PlanInHand>,
    events: u64,
    story: Option<String>,
    digests: Digests,
}

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Run {
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// What was chosen.
    pub lists: Lists,
    /// How many events there were.
    pub events: u64,
    /// How often each command was given.
    pub commands: BTreeMap<String, u64>,
    /// What happened, if it was asked for.
    pub story: String,
    /// What the agent did, as numbers.
    pub digests: Digests,
}

/// Runs a world.
#[must_use]
pub fn run(choices: Choices, with_story: bool) -> Run {
    let mut simulation = Simulation::new(choices, with_story);
    let violation = many::catch(|| simulation.play()).err();
    if let Some(violation) = &violation {
        let line = format!("VIOLATED: {}: {}", violation.invariant, violation.what);
        simulation.tell(|| line);
    }
    Run {
        violation,
        lists: simulation.choices.made().clone().trimmed(),
        events: simulation.events,
        commands: simulation.hosts.counted(),
        story: simulation.story.unwrap_or_default(),
        digests: simulation.digests,
    }
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// The store takes a message.
    Serve,
    /// The agent receives something.
    Receive,
    /// An effect changes the guest, or is over.
    Land,
    /// A change lands that an earlier agent began.
    LandOrphan,
    /// An event that was delayed is under way again.
    Release,
    /// The agent's deadline has come.
    Wake,
    /// A host does something.
    Host,
    /// The agent starts.
    Start,
    /// The store can be reached again.
    Up,
    /// Time passes.
    Jump,
}

impl Simulation {
    fn new(mut choices: Choices, with_story: bool) -> Self {
        let flavour = [Flavour::C, Flavour::Oxen][choices.pick(Site::Flavour)];
        let rescan =
            [Some(300), Some(60), None][choices.pick(Site::Rescan)].map(Duration::from_secs);
        let extra = choices.pick(Site::Config);
        let config = Config {
            rescan,
            alive: (extra == 1).then_some(Duration::from_secs(45)),
            reset_network_at_start: extra == 2,
            commands: CommandPolicy {
                inject_files: extra != 3,
                ..CommandPolicy::default()
            },
        };
        let mut world = World::new(flavour, config);
        if choices.pick(Site::Peer) == 1 {
            world.peer = Peer::Dom0;
            world.dom0 = Dom0::new(&mut world.store, 0);
        }
        let numbers = choices.pick(Site::Numbers);
        let hosts = Hosts::new(&mut choices, world.now);
        Self {
            world,
            choices,
            is_calm: false,
            life: 0,
            revives: None,
            stopping: None,
            is_ready: false,
            told: Instant::default(),
            late: (Instant::default(), 0),
            up_at: None,
            numbers,
            awaits_reply: false,
            arriving: VecDeque::new(),
            delayed: Vec::new(),
            works: Vec::new(),
            orphans: Vec::new(),
            hosts,
            secrets: Secrets::new(),
            injected: BTreeMap::new(),
            applied: BTreeSet::new(),
            kept: BTreeSet::new(),
            plan: None,
            events: 0,
            story: with_story.then(String::new),
            digests: Digests::default(),
        }
    }

    /// The whole life of the world.
    fn play(&mut self) -> Checked {
        self.furnish();
        let most = EVENTS + self.hosts.planned() * EVENTS_A_REQUEST;
        self.drain()?;
        for _ in 0..most {
            self.disturb()?;
            if !self.turn(None)? || self.is_over() {
                break;
            }
        }
        self.come_to_rest()
    }

    /// Whether nothing is left to go wrong with: no host will ask, and the agent sleeps for long.
    fn is_over(&self) -> bool {
        let soon = self.world.now.after(Duration::from_secs(130));
        self.hosts.next().is_none()
            && matches!(self.moves()[..], [Move::Jump] | [])
            && self.times().all(|time| time > soon)
    }

    /// One event, unless it lies behind `end`. Returns whether there was one.
    fn turn(&mut self, end: Option<Instant>) -> Result<bool, Violation> {
        self.events += 1;
        let moves = self.moves();
        let nth = self.choose(Site::Order, moves.len());
        let Some(chosen) = moves.get(nth).copied() else {
            return Ok(false);
        };
        match chosen {
            Move::Serve => self.serve()?,
            Move::Receive => self.receive()?,
            Move::Land => self.land()?,
            Move::LandOrphan => self.land_orphan()?,
            Move::Release => self.release(),
            Move::Wake => self.wake()?,
            Move::Host => self.host_acts()?,
            Move::Start => self.start()?,
            Move::Up => {
                self.up_at = None;
                self.world.is_up = true;
            }
            Move::Jump => {
                let next = self.times().filter(|time| *time > self.world.now).min();
                let Some(next) = next.filter(|next| end.is_none_or(|end| *next <= end)) else {
                    return Ok(false);
                };
                self.world.now = next;
            }
        }
        Ok(true)
    }

    /// What may happen next, first what would happen first.
    fn moves(&self) -> Vec<Move> {
        let now = self.world.now;
        let is_due = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        [
            (!self.world.outbox.is_empty(), Move::Serve),
            (!self.arriving.is_empty(), Move::Receive),
            (
                is_due(self.works.iter().filter_map(Work::next).min()),
                Move::Land,
            ),
            (
                is_due(self.orphans.iter().map(|orphan| orphan.lands).min()),
                Move::LandOrphan,
            ),
            (
                is_due(self.delayed.iter().map(|(at, _)| *at).min()),
                Move::Release,
            ),
            (self.is_alive() && is_due(self.world.deadline), Move::Wake),
            (is_due(self.hosts.next()), Move::Host),
            (is_due(self.revives), Move::Start),
            (is_due(self.up_at), Move::Up),
            (self.times().any(|time| time > now), Move::Jump),
        ]
        .into_iter()
        .filter_map(|(possible, chosen)| possible.then_some(chosen))
        .collect()
    }

    /// When something will happen.
    fn times(&self) -> impl Iterator<Item = Instant> {
        let one_of_each = [
            self.world.deadline.filter(|_| self.is_alive()),
            self.hosts.next(),
            self.revives,
            self.up_at,
            self.works.iter().filter_map(Work::next).min(),
            self.orphans.iter().map(|orphan| orphan.lands).min(),
            self.delayed.iter().map(|(at, _)| *at).min(),
        ];
        one_of_each.into_iter().flatten()
    }

    const fn is_alive(&self) -> bool {
        self.revives.is_none()
    }

    /// Tells the machine something, and does what it wants then.
    fn input<T>(&mut self, input: impl FnOnce(&mut Machine, Instant) -> T) -> Result<T, Violation> {
        let now = match self.pick(Site::Clock) {
            0 => self.world.now,
            _ => {
                let back = self.time();
                self.tell(|| format!("the clock shows {} s less", back.as_secs_f32()));
                Instant::from_origin(self.world.now.since_origin().saturating_sub(back))
            }
        };
        self.told = self.told.max(now);
        let result = input(&mut self.world.machine, now);
        self.drain()?;
        Ok(result)
    }

    /// Does what the machine wants, until it wants nothing.
    fn drain(&mut self) -> Checked {
        let mut outputs = 0;
        while self.is_alive() {
            let output = self.world.machine.poll_output();
            self.digests.add(&output);
            match output {
                Output::Wait(deadline) => {
                    let again = self.world.machine.poll_output();
                    let same = again == Output::Wait(deadline);
                    ensure(same, Invariant::Contract, || {
                        format!("{again:?} after a wait")
                    })?;
                    self.world.deadline = deadline;
                    return self.look_at_deadline();
                }
                Output::Exit => {
                    self.tell(|| "the agent leaves".into());
                    let again = self.world.machine.poll_output();
                    ensure(again == Output::Exit, Invariant::Contract, || {
                        format!("{again:?} after the exit")
                    })?;
                    ensure(self.stopping.is_some(), Invariant::Contract, || {
                        "nobody told it to leave".into()
                    })?;
                    self.end_life()?;
                }
                output @ (Output::Connect
                | Output::Disconnect
                | Output::Perform(..)
                | Output::Report(_)
                | Output::Transmit(_)) => {
                    outputs += 1;
                    ensure(outputs <= OUTPUTS_MAX, Invariant::Bounded, || {
                        format!("more than {OUTPUTS_MAX} outputs of one input")
                    })?;
                    self.look_for_secrets(&output)?;
                    self.obey(output)?;
                    if self.pick(Site::Output) == 1 {
                        self.tell(|| "the agent is killed between two outputs".into());
                        self.end_life()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn obey(&mut self, output: Output) -> Checked {
        match output {
            Output::Connect if self.world.is_up => {
                self.tell(|| "the agent connects".into());
                self.awaits_reply = false;
                self.world.connection = Some(self.world.store.connect(self.world.peer));
                self.told = self.world.now;
                self.world.machine.handle_connected(self.world.now);
            }
            Output::Connect => {
                self.tell(|| "the agent cannot connect".into());
                self.world
                    .machine
                    .handle_closed(self.world.now, "connection refused");
            }
            Output::Disconnect => {
                self.tell(|| "the agent closes the connection".into());
                self.hang_up()?;
            }
            Output::Perform(id, effect) => self.perform(id, effect)?,
            Output::Report(report) => self.hear_report(report)?,
            Output::Transmit(message) => self.send(message)?,
            Output::Wait(_) | Output::Exit => {}
        }
        Ok(())
    }

    fn hear_report(&mut self, report: Report) -> Checked {
        self.tell(|| format!("  log: {report}"));
        match &report {
            Report::Ready => {
                ensure(!self.is_ready, Invariant::Contract, || {
                    "it is ready a second time".into()
                })?;
                self.is_ready = true;
            }
            Report::Started { request, .. } => self.plan_begins(request.as_str())?,
            Report::Alive
            | Report::Answered { .. }
            | Report::Connected
            | Report::Disconnected { .. }
            | Report::Notice { .. }
            | Report::StoreRefused { .. }
            | Report::Stopping
            | Report::Withdrawn { .. } => {}
        }
        Ok(())
    }

    fn wake(&mut self) -> Checked {
        self.tell(|| "the agent wakes up".into());
        // A driver that calls at the deadline has a clock that shows it.
        self.told = self.world.now;
        self.world.machine.handle_timeout(self.world.now);
        self.drain()?;
        let now = self.world.now;
        let is_late =
            self.is_alive() && self.world.deadline.is_some_and(|deadline| deadline <= now);
        // Once more is no loop: what waited for a connection is due when there is one.
        self.late = match self.late {
            (at, times) if is_late && at == now => (now, times + 1),
            _ => (now, usize::from(is_late)),
        };
        ensure(self.late.1 < 3, Invariant::Progress, || {
            "a deadline that has passed is asked for again".into()
        })
    }

    fn look_at_deadline(&self) -> Checked {
        let Some(since) = self.stopping else {
            return Ok(());
        };
        let until = since.after(STOP_TIMEOUT);
        let in_time = self
            .world
            .deadline
            .is_some_and(|deadline| deadline <= until);
        ensure(in_time, Invariant::Leaves, || {
            format!(
                "told to leave at {since:?}, it waits until {:?}",
                self.world.deadline
            )
        })
    }

    fn look_for_secrets(&self, output: &Output) -> Checked {
        let text = match output {
            Output::Report(report) => format!("{report} {report:?}"),
            Output::Perform(_, effect) => {
                let step = match effect {
                    nova_agent_core::effect::Effect::Change(step) => step.to_string(),
                    nova_agent_core::effect::Effect::Entropy { .. }
                    | nova_agent_core::effect::Effect::Probe(_) => String::new(),
                };
                format!("{output:?} {step}")
            }
            // As numbers only now and then: it takes long.
            Output::Transmit(bytes) if !self.events.is_multiple_of(16) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            Output::Transmit(bytes) => format!("{output:?} {}", String::from_utf8_lossy(bytes)),
            Output::Connect | Output::Disconnect | Output::Exit | Output::Wait(_) => return Ok(()),
        };
        ensure(self.secrets.are_absent(&text), Invariant::NoSecret, || {
            // Not the text itself, which may be printed.
            format!(
                "in an output of {} bytes: {}",
                text.len(),
                text.split([' ', '(']).next().unwrap_or_default()
            )
        })?;
        let machine = format!("{:?}", self.world.machine);
        ensure(
            self.secrets.are_absent(&machine),
            Invariant::NoSecret,
            || "in the machine".into(),
        )
    }

    fn start(&mut self) -> Checked {
        self.tell(|| "the agent starts".into());
        self.revives = None;
        self.life += 1;
        self.drain()
    }

    fn pick(&mut self, site: Site) -> usize {
        if self.is_calm {
            0
        } else {
            self.choices.pick(site)
        }
    }

    fn choose(&mut self, site: Site, bound: usize) -> usize {
        if self.is_calm {
            0
        } else {
            self.choices.choose(site, bound)
        }
    }

    fn time(&mut self) -> Duration {
        TIMES[self.choose(Site::Time, TIMES.len())]
    }

    /// What happened, for the story. Without one, only what costs nothing is done.
    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let line = line();
            let since = self.world.now.since_origin().as_secs_f64() - 1000.0;
            let _ = writeln!(story, "{since:10.3} s  {line}");
        }
    }
}

//! Many worlds, and what there was in them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use super::choices::{Choices, Lists, Site};
use super::{Checked, Command, Digests, Invariant, Run, Violation, run, shrink};

/// What has to be answered at least once, or the worlds are too hostile to show anything.
const ANSWERS: [&str; 9] = [
    "FileInject answered 0",
    "FileInject answered 500",
    "InjectFile answered 0",
    "KeyInit answered D0",
    "Password answered 0",
    "Password answered 500",
    "ResetNetwork answered 0",
    "ResetNetwork answered 1",
    "SetHostname answered 0",
];

/// What there was in many worlds.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// How many worlds.
    pub worlds: u64,
    /// How many events.
    pub events: u64,
    /// How long it took.
    pub took: Duration,
    /// How often each command was given.
    pub commands: BTreeMap<String, u64>,
    /// How often each kind of fault happened.
    pub kinds: BTreeMap<&'static str, u64>,
    /// What the agent did in the world of each seed.
    pub digests: BTreeMap<u64, Digests>,
}

/// A world in which an invariant did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// Its choices.
    pub lists: Lists,
    /// What did not hold.
    pub violation: Violation,
}

/// Runs the worlds of these seeds with all processors, until the first failure.
///
/// # Errors
/// The failure with the smallest seed of those that were found.
pub fn run_many(first: u64, count: u64) -> Result<Figures, Box<Failure>> {
    let start = Instant::now();
    let next = AtomicU64::new(first);
    let has_failed = AtomicBool::new(false);
    let shared = Mutex::new((Figures::default(), None::<Failure>));
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                let mut figures = Figures::default();
                while !has_failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first.saturating_add(count) {
                        break;
                    }
                    let run = run(Choices::of_seed(seed), false);
                    figures.add(seed, &run);
                    if let Some(violation) = run.violation {
                        has_failed.store(true, Ordering::Relaxed);
                        let mut shared = shared.lock().expect("no thread panics");
                        if shared.1.as_ref().is_none_or(|failure| failure.seed > seed) {
                            shared.1 = Some(Failure {
                                seed,
                                lists: run.lists,
                                violation,
                            });
                        }
                    }
                }
                shared.lock().expect("no thread panics").0.merge(figures);
            });
        }
    });
    let (mut figures, failure) = shared
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    figures.took = start.elapsed();
    failure.map_or(Ok(figures), |failure| Err(Box::new(failure)))
}

/// A failure for a reader: the invariant, the shrunk story, the choices, and how to see it again.
#[must_use]
pub fn show(failure: &Failure) -> String {
    let Failure {
        seed,
        lists,
        violation,
    } = failure;
    let shrunk = shrink(lists.clone(), violation.invariant);
    let run = run(Choices::of_lists(shrunk), true);
    let found = run.violation.as_ref().unwrap_or(violation);
    format!(
        "seed {seed}: this did not hold: {}\n{}\n\nThe simplest world in which it does not:\n{}\nIts choices:\n{}\n\
         The whole world: make simulate SEED={seed}\n",
        found.invariant, found.what, run.story, run.lists
    )
}

impl Figures {
    fn add(&mut self, seed: u64, run: &Run) {
        self.worlds += 1;
        self.digests.insert(seed, run.digests);
        self.events += run.events;
        for (command, times) in &run.commands {
            *self.commands.entry(command.clone()).or_default() += times;
        }
        for (site, list) in Site::ALL.iter().zip(&run.lists.0) {
            for kind in list
                .iter()
                .filter_map(|choice| site.kinds().get(usize::from(*choice).checked_sub(1)?))
            {
                *self.kinds.entry(kind).or_default() += 1;
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.digests.extend(other.digests);
        self.events += other.events;
        for (command, times) in other.commands {
            *self.commands.entry(command).or_default() += times;
        }
        for (kind, times) in other.kinds {
            *self.kinds.entry(kind).or_default() += times;
        }
    }

    /// Kinds of faults and commands that there were none of.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let kinds = Site::ALL.iter().flat_map(|site| site.kinds());
        let kinds = kinds
            .filter(|kind| !self.kinds.contains_key(*kind))
            .map(|kind| (*kind).to_owned());
        let answers = ANSWERS.iter().map(|answer| (*answer).to_owned());
        let commands = Command::ALL
            .iter()
            .map(|command| command.name())
            .chain(answers);
        kinds
            .chain(commands.filter(|command| !self.commands.contains_key(command)))
            .collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64().max(0.001);
        writeln!(
            f,
            "{} worlds, {} events in {seconds:.1} s: {:.0} worlds/s, {:.0} events/s",
            self.worlds,
            self.events,
            self.worlds as f64 / seconds,
            self.events as f64 / seconds
        )?;
        for (kind, times) in &self.kinds {
            writeln!(f, "{times:10}  {kind}")?;
        }
        for (command, times) in &self.commands {
            writeln!(f, "{times:10}  request {command}")?;
        }
        Ok(())
    }
}

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Makes a violation of a panic, and keeps it off the terminal: a shrinking world panics a thousand times.
pub(super) fn catch(action: impl FnOnce() -> Checked) -> Checked {
    static HOOK: Once = Once::new();

    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                CAUGHT.set(info.to_string());
            } else {
                before(info);
            }
        }));
    });
    CATCHING.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(action));
    CATCHING.set(false);
    result.unwrap_or_else(|_| {
        Err(Violation {
            invariant: Invariant::Panic,
            what: CAUGHT.take(),
        })
    })
}

//! What came of all rounds of a command, and the table of it.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use super::command::Command;

/// How many failures are told in full.
const TOLD_MAX: usize = 20;

/// What came of the rounds of one command at one place.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) runtime: &'static str,
    pub(crate) daemon: &'static str,
    pub(crate) command: Command,
    pub(crate) rounds: usize,
    /// Rounds in which the agent was hit while the request was in the store.
    pub(crate) hits: usize,
    pub(crate) requests: usize,
    pub(crate) failures: Vec<(Failure, String)>,
}

/// What must not be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// A request that nobody took back has no answer, or cannot be carried out any more.
    Lost,
    /// A request has two answers, or was carried out after it had one.
    Doubled,
    /// A file is neither what it was nor what it is to be.
    Mixture,
    /// There is something that an undisturbed run does not leave.
    Leftover,
}

impl Tally {
    pub(crate) const fn new(runtime: &'static str, daemon: &'static str, command: Command) -> Self {
        Self {
            runtime,
            daemon,
            command,
            rounds: 0,
            hits: 0,
            requests: 0,
            failures: Vec::new(),
        }
    }

    fn count(&self, failure: Failure) -> usize {
        self.failures
            .iter()
            .filter(|(found, _)| *found == failure)
            .count()
    }
}

/// The lines of a test.
pub(crate) struct Table {
    text: String,
    tallies: Vec<Tally>,
}

impl Table {
    /// `hits` is what it is called that befalls the agent.
    pub(crate) fn new(hits: &str, title: String) -> Self {
        let mut text = title;
        write!(
            text,
            "\n{:10}{:8}{:22}{:>8}{hits:>9}{:>10}{:>6}{:>9}{:>10}{:>11}\n",
            "runtime",
            "daemon",
            "command",
            "rounds",
            "requests",
            "lost",
            "doubled",
            "mixtures",
            "leftovers"
        )
        .unwrap();
        Self {
            text,
            tallies: Vec::new(),
        }
    }

    pub(crate) fn add_all(&mut self, tallies: Vec<Tally>) {
        for tally in &tallies {
            let Tally {
                runtime,
                daemon,
                rounds,
                hits,
                requests,
                ..
            } = tally;
            writeln!(
                self.text,
                "{runtime:10}{daemon:8}{:22}{rounds:>8}{hits:>9}{requests:>10}{:>6}{:>9}{:>10}{:>11}",
                tally.command.name(),
                tally.count(Failure::Lost),
                tally.count(Failure::Doubled),
                tally.count(Failure::Mixture),
                tally.count(Failure::Leftover),
            )
            .unwrap();
        }
        self.tallies.extend(tallies);
    }

    /// Prints the table, leaves it in a file for `make test`, which shows it again at its end, and fails if it shows a
    /// failure, or if `was_hit` says that too few rounds have proved anything.
    pub(crate) fn finish(self, was_hit: impl FnOnce(&[Tally]) -> bool) {
        // Not by print!, which the test harness swallows.
        std::io::stderr().write_all(self.text.as_bytes()).unwrap();
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crash.txt");
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .unwrap();
        file.write_all(self.text.as_bytes()).unwrap();
        let failures: Vec<_> = self
            .tallies
            .iter()
            .flat_map(|tally| &tally.failures)
            .collect();
        let told = failures
            .iter()
            .take(TOLD_MAX)
            .map(|(failure, what)| format!("{failure:?}: {what}\n"));
        assert!(
            failures.is_empty(),
            "{} failures, of which the first are:\n{}",
            failures.len(),
            told.collect::<String>()
        );
        assert!(was_hit(&self.tallies), "too few hits");
    }
}

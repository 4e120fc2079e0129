//! The vocabulary that the core shares with its drivers: what to do in the guest, and what came of it.
//!
//! Everything here is plain data. It knows nothing of requests, commands or Xenstore.

mod change;
mod path;
mod probe;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

pub use self::change::{Change, ExistingMode, Program, WriteFile};
pub use self::path::{FileMode, GuestPath, InvalidGuestPath, NAME_MAX, PATH_MAX};
pub use self::probe::{
    DirectoryEntry, EntryKind, FileState, InterfaceState, Kernel, Probe, RouteState, Snapshot,
};
use crate::secret::Secret;

/// The largest file that a probe reads. No configuration file that the agent edits comes near it.
pub const FILE_MAX: usize = 256 * 1024;

/// The most bytes kept of what a program printed: its last ones.
pub const OUTPUT_MAX: usize = 4096;

/// Identifies an effect between its start and its outcome. Ids count up and are never used again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EffectId(pub(crate) u64);

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Something to do outside the core.
///
/// The enum is closed on purpose: a new effect does not compile until every driver handles it.
#[derive(Debug, Eq, PartialEq)]
pub enum Effect {
    /// Get random bytes from the system, fresh for every call. Answered by [`Outcome::Entropy`].
    Entropy {
        /// How many bytes.
        len: usize,
    },
    /// Answer questions about the guest. Answered by [`Outcome::Probed`].
    Probe(Vec<Probe>),
    /// Change the guest. Answered by [`Outcome::Done`] or [`Outcome::Failed`].
    Change(Change),
}

impl Effect {
    /// Whether it is carried out after the effects that were given out before. Random bytes are not: a key exchange does not
    /// wait for a program that runs.
    #[must_use]
    pub const fn waits_its_turn(&self) -> bool {
        match self {
            Self::Entropy { .. } => false,
            Self::Probe(_) | Self::Change(_) => true,
        }
    }

    /// How long the core waits for the outcome. A later outcome is ignored.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        /// For what touches files only: they may be on a slow disk, not on a dead one.
        const FILES: Duration = Duration::from_secs(30);
        /// A program is killed at its own timeout; this is for the killing.
        const KILLING: Duration = Duration::from_secs(5);

        match self {
            Self::Change(Change::Run(program)) => program.timeout.saturating_add(KILLING),
            Self::Entropy { .. } | Self::Probe(_) | Self::Change(_) => FILES,
        }
    }
}

/// What came of an effect.
#[derive(Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The step is done.
    Done(Done),
    /// The random bytes, as many as were asked for.
    Entropy(Secret),
    /// The effect failed and changed nothing, or as little as the guest's kernel allowed.
    Failed(Failure),
    /// The answers to the probes.
    Probed(Snapshot),
}

/// A step that succeeded.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Done {
    /// The step that brings back what was before; `None` if nothing changed or nothing can be brought back.
    pub undo: Option<Change>,
}

/// Why an effect failed. The texts may go into a reply, so they hold no secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// A program ended with an exit code that does not count as success.
    #[error("exit code {code}{}", Tail(output))]
    Exit {
        /// The exit code.
        code: i32,
        /// The end of what it printed, at most [`OUTPUT_MAX`] bytes.
        output: String,
    },
    /// The system refused.
    #[error("{0}")]
    Io(String),
    /// A program does not exist.
    #[error("program not found")]
    NotFound,
    /// The agent refused, because it would not have been safe.
    #[error("refused: {0}")]
    Refused(String),
    /// A program was ended by a signal.
    #[error("killed by signal {signal}{}", Tail(output))]
    Signal {
        /// The number of the signal.
        signal: i32,
        /// The end of what it printed, at most [`OUTPUT_MAX`] bytes.
        output: String,
    },
    /// A program or another effect took too long.
    #[error("timed out{}", Tail(output))]
    TimedOut {
        /// The end of what it printed, at most [`OUTPUT_MAX`] bytes.
        output: String,
    },
    /// This guest or this driver cannot do it.
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// Prints the last lines of a program's output behind a colon, or nothing.
struct Tail<'a>(&'a str);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// As much as helps in a reply of at most 1,000 bytes.
        const LINES: usize = 3;

        let lines: Vec<&str> = self
            .0
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        for (nth, line) in lines
            .iter()
            .skip(lines.len().saturating_sub(LINES))
            .enumerate()
        {
            f.write_str(if nth == 0 { ": " } else { "; " })?;
            f.write_str(line)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_program_is_given_its_own_time_and_that_for_killing_it() {
        let program = Program::new(["true"], Duration::from_secs(20));
        assert_eq!(
            Effect::Change(Change::Run(program)).timeout(),
            Duration::from_secs(25)
        );
        let program = Program::new(["true"], Duration::MAX);
        assert_eq!(
            Effect::Change(Change::Run(program)).timeout(),
            Duration::MAX
        );
        assert_eq!(Effect::Probe(Vec::new()).timeout(), Duration::from_secs(30));
    }

    #[test]
    fn a_failure_shows_the_last_lines_of_the_output() {
        let failure = Failure::Exit {
            code: 1,
            output: "one\n\ntwo\nthree\n  four\n".into(),
        };
        assert_eq!(failure.to_string(), "exit code 1: two; three; four");
        assert_eq!(
            Failure::TimedOut {
                output: String::new()
            }
            .to_string(),
            "timed out"
        );
    }
}

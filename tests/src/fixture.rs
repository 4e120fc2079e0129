//! Whole guests in files: what they are before a reset of the network, what the host says, and what they are afterwards.
//!
//! `tests/guests/NAME/` of the repository holds
//!
//! - `before/`: the guest's root directory, as the agent's `--sandbox` takes it,
//! - `network.json`: what the host says, as `nova-agent plan --network` takes it,
//! - `after/`: the files and symlinks that the reset changes, as they are then,
//! - `effects`: which network stack is configured and why, every step in order, what is told to the host and the log.
//!
//! A name is that of the system; behind a `+` is what is special about this guest of it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test"
)]

mod guest;
mod tree;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nova_agent_core::render::HostData;
use nova_agent_system::internal::read_host_file;

pub use self::guest::Guest;
pub use self::tree::{Entry, Tree};

/// One guest of the repository.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Fixture {
    directory: PathBuf,
}

impl Fixture {
    /// All of them, in the order of their names.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let root = root();
        let entries =
            fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
        let mut fixtures: Vec<Self> = entries
            .map(|entry| Self {
                directory: entry.unwrap().path(),
            })
            .collect();
        fixtures.sort();
        fixtures
    }

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let fixture = Self {
            directory: root().join(name),
        };
        assert!(fixture.before().is_dir(), "there is no guest {name}");
        fixture
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.directory
            .file_name()
            .and_then(|name| name.to_str())
            .expect("names are UTF-8")
    }

    /// The system that it is a guest of.
    #[must_use]
    pub fn system(&self) -> &str {
        self.name().split('+').next().unwrap_or_default()
    }

    /// The network stack that its `effects` name; `None` if the reset is refused.
    #[must_use]
    pub fn stack(&self) -> Option<String> {
        let effects = fs::read_to_string(self.effects()).ok()?;
        let (stack, _) = effects.strip_prefix("target: ")?.split_once(": ")?;
        Some(stack.into())
    }

    /// What the host says.
    #[must_use]
    pub fn host(&self) -> HostData {
        read_host_file(&self.directory.join("network.json"))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The directory with the guest as it is.
    #[must_use]
    pub fn before(&self) -> PathBuf {
        self.directory.join("before")
    }

    /// The directory with what changes.
    #[must_use]
    pub fn after(&self) -> PathBuf {
        self.directory.join("after")
    }

    /// The file that tells how.
    #[must_use]
    pub fn effects(&self) -> PathBuf {
        self.directory.join("effects")
    }

    /// The guest as it is, with the modes that a repository does not keep.
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree::read(&self.before()).with_usual_modes()
    }

    /// A private copy of the guest, to be changed.
    #[must_use]
    pub fn guest(&self) -> Guest {
        Guest::new(&self.tree())
    }
}

impl fmt::Display for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests")
}

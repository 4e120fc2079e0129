//! Whole guests: what they are before a reset of the network, what the host says, and what they are afterwards.
//!
//! Each is a file `tests/guests/NAME.guest` of the repository; [mod@format] says what is in it. A name is that of the system;
//! behind a `+` is what is special about this guest of it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test"
)]

pub mod format;
mod guest;
mod pack;
mod tree;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nova_agent_core::render::HostData;
use serde_json::{Map, Value};

pub use self::format::{GuestText, GuestTextError, Host};
pub use self::guest::Guest;
pub use self::pack::pack;
pub use self::tree::{Entry, Tree};

/// One guest of the repository, or of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fixture {
    name: String,
    text: GuestText,
    tree: Tree,
    host: Host,
}

impl Fixture {
    /// All of the repository, in the order of their names.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let root = root();
        let entries =
            fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
            .iter()
            .map(|path| Self::read(path).unwrap_or_else(|error| panic!("{error}")))
            .collect()
    }

    /// The one of the repository with this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::read(&path_of(name)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads a file. The base of a variant is looked for beside it, then in the repository.
    ///
    /// # Errors
    /// A text with the file's name and the line that cannot be read.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
        let text = GuestText::parse(&text).map_err(|error| failed(&error))?;
        let find = |name: &str| {
            let beside = path.with_file_name(file_name(name));
            let text = fs::read_to_string(beside).or_else(|_| fs::read_to_string(path_of(name)));
            GuestText::parse(&text.ok()?).ok()
        };
        let (tree, host) = text.resolve(&find).map_err(|error| failed(&error))?;
        let name = path.file_stem().and_then(|name| name.to_str());
        Ok(Self {
            name: name.unwrap_or_default().into(),
            text,
            tree,
            host,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The system that it is a guest of.
    #[must_use]
    pub fn system(&self) -> &str {
        self.name().split('+').next().unwrap_or_default()
    }

    /// The network stack that is configured; `None` if the reset is refused.
    #[must_use]
    pub fn stack(&self) -> Option<String> {
        let (stack, _) = self.plan().strip_prefix("target: ")?.split_once(": ")?;
        Some(stack.into())
    }

    /// What the host says.
    #[must_use]
    pub fn host(&self) -> HostData {
        self.host.data()
    }

    /// The guest as it is.
    #[must_use]
    pub fn tree(&self) -> Tree {
        self.tree.clone()
    }

    /// The files and symlinks that the reset changes, as they are then, with the directories that they are in.
    #[must_use]
    pub fn after(&self) -> Tree {
        self.text.after.clone().with_parents()
    }

    /// Which network stack is configured and why, every step in order, what is told to the host and the log.
    #[must_use]
    pub fn plan(&self) -> &str {
        &self.text.plan
    }

    /// Its file.
    #[must_use]
    pub fn text(&self) -> &GuestText {
        &self.text
    }

    /// The same without a base.
    #[must_use]
    pub fn whole(&self) -> GuestText {
        GuestText {
            base: None,
            gone: BTreeSet::new(),
            host: self.host.clone(),
            tree: self.tree.clone().without_implied(),
            ..self.text.clone()
        }
    }

    /// Writes the file of the repository anew, with what comes of the reset.
    pub fn bless(&self, plan: &str, after: &Tree) {
        let text = GuestText {
            plan: plan.into(),
            after: after.clone().without_implied(),
            ..self.text.clone()
        };
        fs::write(path_of(&self.name), text.write()).unwrap();
    }

    /// A private copy of the guest, to be changed.
    #[must_use]
    pub fn guest(&self) -> Guest {
        Guest::new(&self.tree)
    }

    /// Writes what `nova-agent plan` takes into a directory that exists: `before/`, the guest's root for `--sandbox`, and
    /// `network.json` for `--network`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn unpack(&self, directory: &Path) -> std::io::Result<()> {
        let before = directory.join("before");
        fs::create_dir(&before)?;
        self.tree.write(&before);
        fs::write(directory.join("network.json"), self.host_json())
    }

    fn host_json(&self) -> String {
        let value = |text: &String| match serde_json::from_str(text) {
            Ok(object @ Value::Object(_)) => object,
            Ok(_) | Err(_) => Value::String(text.clone()),
        };
        let mut json = Map::new();
        if let Some(hostname) = &self.host.hostname {
            json.insert("hostname".into(), hostname.clone().into());
        }
        let networks = self.host.networks.iter();
        let networks = networks.map(|(key, text)| (key.clone(), value(text)));
        json.insert("networking".into(), Value::Object(networks.collect()));
        let vifs = self.host.vifs.iter();
        let vifs = vifs.map(|(number, mac)| (number.to_string(), mac.clone().into()));
        json.insert("vifs".into(), Value::Object(vifs.collect()));
        format!("{:#}\n", Value::Object(json))
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

/// Where a guest of the repository is.
#[must_use]
pub fn path_of(name: &str) -> PathBuf {
    root().join(file_name(name))
}

/// Names with a slash lead nowhere.
fn file_name(name: &str) -> String {
    format!("{}.guest", name.replace('/', "_"))
}

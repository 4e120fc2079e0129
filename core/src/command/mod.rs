//! The commands that a host can give, one file each, and the registry that finds them by name.
//!
//! A command is a pure function of its argument and of the [`Facts`] that were gathered for it: as long as a fact is
//! missing it asks, and it is called again with the answers; then it replies at once, or with a plan to be carried out.
//! It knows nothing of the store's request nodes, and nothing of how steps are run.

mod execution;
mod features;
mod inject_file;
mod key_exchange;
mod password;
mod ready;
mod reset_network;
mod set_hostname;
mod version;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;
use zeroize::Zeroize;

pub(crate) use self::execution::{Execution, FailureResponse};
use crate::config::CommandPolicy;
use crate::crypto::exchanges::Exchanges;
use crate::effect::{Probe, Snapshot};
use crate::response::Response;
use crate::secret::Secret;
use crate::time::Instant;
use crate::wire::StorePath;

/// A command of the registry.
pub(crate) struct Command {
    /// The name by which hosts call it; its case does not matter.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether the policy lets hosts use it.
    enabled: fn(&CommandPolicy) -> bool,
    /// The command itself. It is called again with more facts as long as it asks.
    pub(crate) advance: fn(&Argument, &mut Facts, &mut Context<'_>) -> Progress,
}

/// Whether a command changes the guest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// It does: one at a time, in order.
    Change,
    /// It does not: answered at once.
    Query,
}

/// What a command may look at and change besides its argument and the facts.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) policy: &'a CommandPolicy,
    pub(crate) exchanges: &'a mut Exchanges,
}

/// What a command does next.
pub(crate) enum Progress {
    /// It needs these facts first.
    Ask(Questions),
    /// It is done.
    Reply(Response),
    /// It needs this plan to be carried out.
    Run(Execution),
}

/// The facts that a command asks for.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    pub(crate) probes: Vec<Probe>,
    pub(crate) lists: Vec<StorePath>,
    pub(crate) values: Vec<StorePath>,
    /// How many random bytes.
    pub(crate) entropy: Option<usize>,
}

/// The facts that were gathered for a command so far.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) snapshot: Snapshot,
    /// Children by node; empty for a node that does not exist or that the guest may not look into.
    pub(crate) lists: BTreeMap<StorePath, Vec<String>>,
    /// Values by node; `None` for a node that does not exist.
    pub(crate) values: BTreeMap<StorePath, Option<Vec<u8>>>,
    pub(crate) entropy: Option<Secret>,
}

/// The value of a request. It may hold a file's content, so its text is wiped when it is dropped.
pub(crate) struct Argument(Value);

impl Argument {
    pub(crate) const fn new(value: Value) -> Self {
        Self(value)
    }

    /// Returns the argument as it is, for commands that take an object, or a text that a number cannot stand for.
    pub(crate) const fn value(&self) -> &Value {
        &self.0
    }

    /// Returns the argument as text, for commands that take one text. Hosts differ about types, so a number counts as its
    /// digits. `None` for anything else.
    fn text(&self) -> Option<String> {
        match &self.0 {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(alloc::string::ToString::to_string(number)),
            Value::Array(_) | Value::Bool(_) | Value::Null | Value::Object(_) => None,
        }
    }
}

impl Drop for Argument {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// All commands, in the order in which `features` names them.
static COMMANDS: &[Command] = &[
    version::COMMAND,
    features::COMMAND,
    ready::COMMAND,
    key_exchange::COMMAND,
    password::COMMAND,
    inject_file::INJECTFILE,
    inject_file::FILE_INJECT,
    set_hostname::COMMAND,
    reset_network::COMMAND,
];

/// The command with a name, unless there is none or the policy leaves it out.
pub(crate) fn find(name: &str, policy: &CommandPolicy) -> Option<&'static Command> {
    COMMANDS
        .iter()
        .find(|command| command.name.eq_ignore_ascii_case(name) && (command.enabled)(policy))
}

/// The command that configures the network.
pub(crate) const fn reset_network() -> &'static Command {
    static RESET_NETWORK: Command = reset_network::COMMAND;
    &RESET_NETWORK
}

/// The names of the commands that are not left out.
fn names(policy: &CommandPolicy) -> impl Iterator<Item = &'static str> {
    COMMANDS
        .iter()
        .filter(|command| (command.enabled)(policy))
        .map(|command| command.name)
}

/// For commands that cannot be left out.
const fn always(_: &CommandPolicy) -> bool {
    true
}

/// The depth is bounded by that of the parser.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Bool(_) | Value::Null | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;

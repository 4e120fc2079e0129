//! The client side of one connection to Xenstore.
//!
//! [`Operation`]s go in; [`Event`]s come out: the answer to each operation, and watches that fired. [`Client`] turns both
//! into bytes and back. Who has another way to Xenstore (a driver without a byte stream) speaks in operations and events
//! directly. Nothing here knows of requests or commands.

mod client;
mod listing;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use self::client::{Client, ProtocolError, REPLY_TIMEOUT};
use crate::wire::{ErrorName, StorePath, Token};

/// Identifies an operation between its submission and its answer. Ids count up and are never used again.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct OperationId(pub(crate) u64);

impl OperationId {
    /// The operation with this number, for who uses a [`Client`] alone and counts by itself.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// Something to do in Xenstore.
///
/// There are no transactions: one that is open blocks the migration of the server on kernels before 5.2.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operation {
    /// List the names of a node's children. Answered by [`Reply::Names`].
    List(StorePath),
    /// Read a node's value. Answered by [`Reply::Value`].
    Read(StorePath),
    /// Remove a node with everything below it.
    Remove(StorePath),
    /// Watch a node and everything below it.
    Watch {
        /// The node, which need not exist.
        path: StorePath,
        /// What its events carry.
        token: Token,
    },
    /// Set a node's value. Missing parents are created.
    Write {
        /// The node.
        path: StorePath,
        /// Its new value.
        value: Vec<u8>,
    },
}

/// The answer to an operation that succeeded.
#[derive(Clone, Eq, PartialEq)]
pub enum Reply {
    /// It was carried out.
    Done,
    /// The names of the children, in no order that means anything.
    Names(Vec<String>),
    /// The value.
    Value(Vec<u8>),
}

impl Reply {
    /// The names of a listing.
    ///
    /// # Errors
    /// `EINVAL` if it is another kind of reply, which no store sends.
    pub(crate) fn into_names(self) -> Result<Vec<String>, ErrorName> {
        match self {
            Self::Names(names) => Ok(names),
            Self::Done | Self::Value(_) => Err(ErrorName::Einval),
        }
    }

    /// The value that was read.
    ///
    /// # Errors
    /// As [`Reply::into_names`].
    pub(crate) fn into_value(self) -> Result<Vec<u8>, ErrorName> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Done | Self::Names(_) => Err(ErrorName::Einval),
        }
    }
}

/// What comes from Xenstore.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// An operation was answered.
    Answered(OperationId, Result<Reply, ErrorName>),
    /// A watch fired: the node at the path changed, or something that means "look again".
    Fired {
        /// The node that changed; below the watched path, or that path itself.
        path: StorePath,
        /// The token of the watch.
        token: Token,
    },
}

/// The operation in a few words for messages; never the value.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(path) => write!(f, "list {path}"),
            Self::Read(path) => write!(f, "read {path}"),
            Self::Remove(path) => write!(f, "remove {path}"),
            Self::Watch { path, .. } => write!(f, "watch {path}"),
            Self::Write { path, .. } => write!(f, "write {path}"),
        }
    }
}

/// Prints no value: it may be a request with a file in it.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Names(names) => f.debug_tuple("Names").field(names).finish(),
            Self::Value(value) => write!(f, "Value({} bytes)", value.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_nothing_of_a_value() {
        let event = Event::Answered(OperationId(1), Ok(Reply::Value(b"hunter2".into())));
        let printed = alloc::format!("{event:?}");
        assert!(
            printed.contains("7 bytes") && !printed.contains("104, 117"),
            "{printed}"
        );
    }
}

//! Where the daemons differ: limits, and the names of errors.

use nova_agent_core::wire::ErrorName;

/// The daemon that the embedded store behaves like. Everything below was observed on version 4.17.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flavour {
    /// `xenstored`, written in C.
    C,
    /// `oxenstored`, the one of `XenServer` and XCP-ng, with the configuration it is delivered with.
    Oxen,
}

impl Flavour {
    /// The longest path; what stands in `/local/domain/N/` does not count.
    pub(super) const fn path_max(self) -> usize {
        match self {
            Self::C => 2048,
            Self::Oxen => 1024,
        }
    }

    /// The most watches of a guest. C tests after adding one.
    pub(super) const fn watches_max(self) -> usize {
        match self {
            Self::C => 129,
            Self::Oxen => 101,
        }
    }

    /// The longest value that anybody may write.
    pub(super) const fn value_max(self) -> usize {
        match self {
            Self::C => usize::MAX,
            Self::Oxen => 2048,
        }
    }

    /// The largest record of a node that a guest may write: its value, permissions and names of children together.
    pub(super) const fn record_max(self) -> usize {
        match self {
            Self::C => 2047,
            Self::Oxen => usize::MAX,
        }
    }

    /// The most entries of permissions that a guest may give a node.
    pub(super) const fn perms_max(self) -> usize {
        match self {
            Self::C => 5,
            Self::Oxen => usize::MAX,
        }
    }

    /// What a guest is told that owns [`NODES_MAX`] nodes, or has [`TRANSACTIONS_MAX`] open.
    pub(super) const fn quota_error(self) -> ErrorName {
        match self {
            Self::C => ErrorName::Enospc,
            Self::Oxen => ErrorName::Equota,
        }
    }

    /// What a guest is told that has too many watches.
    pub(super) const fn watch_quota_error(self) -> ErrorName {
        match self {
            Self::C => ErrorName::E2Big,
            Self::Oxen => ErrorName::Equota,
        }
    }

    /// What is answered to the number of a transaction that does not exist.
    pub(super) const fn unknown_transaction(self) -> ErrorName {
        match self {
            Self::C => ErrorName::Enoent,
            Self::Oxen => ErrorName::Eio,
        }
    }
}

/// The most nodes that a guest may own.
pub(super) const NODES_MAX: usize = 1000;

/// The most open transactions of a guest: the limit is 10, tested before adding one.
pub(super) const TRANSACTIONS_MAX: usize = 11;

/// The fixed part of a node's record in C's database.
pub(super) const RECORD_HEADER: usize = 24;

/// What an entry of permissions takes in C's database.
pub(super) const RECORD_PERM: usize = 8;

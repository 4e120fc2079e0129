//! The types of messages.

/// The type of a message (`xs_wire.h`, `enum xsd_sockmsg_type`), in the order of its numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u32)]
pub enum Op {
    /// Commands to the daemon itself, for dom0.
    Control = 0,
    /// Lists the children of a node.
    Directory = 1,
    /// Reads a value.
    Read = 2,
    /// Reads the permissions of a node.
    GetPerms = 3,
    /// Registers a watch, which fires once at once.
    Watch = 4,
    /// Removes a watch.
    Unwatch = 5,
    /// Opens a transaction.
    TransactionStart = 6,
    /// Commits or aborts a transaction.
    TransactionEnd = 7,
    /// Tells the daemon of a new domain, for dom0.
    Introduce = 8,
    /// Tells the daemon that a domain is gone, for dom0.
    Release = 9,
    /// Asks for the home of a domain.
    GetDomainPath = 10,
    /// Writes a value and creates the node with its parents if necessary.
    Write = 11,
    /// Creates a node with an empty value; no change if it exists.
    Mkdir = 12,
    /// Removes a node with everything below it.
    Rm = 13,
    /// Sets the permissions of a node.
    SetPerms = 14,
    /// From the store only: something happened at or below a watched path.
    WatchEvent = 15,
    /// From the store only: the request failed.
    Error = 16,
    /// Asks whether the daemon knows a domain, for dom0.
    IsDomainIntroduced = 17,
    /// Tells the daemon that a domain was resumed, for dom0.
    Resume = 18,
    /// Gives a domain control of another one, for dom0.
    SetTarget = 19,
    /// Drops every watch and transaction of the caller.
    ResetWatches = 21,
    /// Lists a part of the children of a node.
    DirectoryPart = 22,
    /// Reads the optional features of the daemon.
    GetFeature = 23,
    /// Sets the optional features of a domain, for dom0.
    SetFeature = 24,
    /// Reads a quota, for dom0.
    GetQuota = 25,
    /// Sets a quota, for dom0.
    SetQuota = 26,
}

impl Op {
    /// The operation of a number on the wire; `None` if it is not known, 20 (RESTRICT, removed) included.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Option<Self> {
        Some(match raw {
            0 => Self::Control,
            1 => Self::Directory,
            2 => Self::Read,
            3 => Self::GetPerms,
            4 => Self::Watch,
            5 => Self::Unwatch,
            6 => Self::TransactionStart,
            7 => Self::TransactionEnd,
            8 => Self::Introduce,
            9 => Self::Release,
            10 => Self::GetDomainPath,
            11 => Self::Write,
            12 => Self::Mkdir,
            13 => Self::Rm,
            14 => Self::SetPerms,
            15 => Self::WatchEvent,
            16 => Self::Error,
            17 => Self::IsDomainIntroduced,
            18 => Self::Resume,
            19 => Self::SetTarget,
            21 => Self::ResetWatches,
            22 => Self::DirectoryPart,
            23 => Self::GetFeature,
            24 => Self::SetFeature,
            25 => Self::GetQuota,
            26 => Self::SetQuota,
            _ => return None,
        })
    }

    /// The number on the wire.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_its_operations_number() {
        let known = (0..100).filter_map(|raw| Op::from_raw(raw).map(|op| (raw, op)));
        assert!(known.clone().all(|(raw, op)| op.raw() == raw));
        assert_eq!(known.count(), 26);
    }

    #[test]
    fn unknown_numbers_have_no_operation() {
        for raw in [20, 27, 99, 0xffff, u32::MAX] {
            assert_eq!(Op::from_raw(raw), None);
        }
    }
}

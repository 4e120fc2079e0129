//! Xenstore messages as bytes, in both directions (xen, `docs/misc/xenstore.txt` and `xen/include/public/io/xs_wire.h`).
//!
//! [`Decoder`] cuts a byte stream into [`Message`]s, [`payload`] builds and parses what they carry, and [`StorePath`] and
//! [`Token`] are the two kinds of text that go into it. A client and a store use the same code.
//!
//! The module knows nothing of connections: which reply belongs to which request is decided above it.

mod decoder;
mod error_name;
mod message;
mod op;
mod path;
pub mod payload;

use core::fmt;

pub use self::decoder::{DecodeError, Decoder};
pub use self::error_name::ErrorName;
pub use self::message::{Header, Message, Oversize};
pub use self::op::Op;
pub use self::path::{
    ABSOLUTE_PATH_MAX, InvalidPath, InvalidToken, PathKind, RELATIVE_PATH_MAX, StorePath, Token,
};
pub use self::payload::{Access, DirectoryPart, Malformed, Permission, TransactionEnd, WatchEvent};

/// The length of a header: four 32-bit integers.
pub const HEADER_LEN: usize = 16;

/// The longest payload of a message on a ring (`xs_wire.h`, `XENSTORE_PAYLOAD_MAX`).
///
/// A longer request silences a guest's ring for good.
pub const PAYLOAD_MAX: usize = 4096;

/// The longest payload that Linux' xenbus device takes: header and payload share one buffer of 4096 bytes
/// (`drivers/xen/xenbus/xenbus_dev_frontend.c`, `xenbus_file_write`).
pub const DEVICE_PAYLOAD_MAX: usize = 4080;

/// The longest payload accepted from a daemon's Unix socket, where `oxenstored` does not limit its replies.
///
/// A directory of 2,000 UUIDs takes 74,000 bytes; this leaves room for a directory of a domain 14 times as large.
pub const SOCKET_REPLY_MAX: usize = 1024 * 1024;

/// The number of a request, chosen by the client and echoed in the reply.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ReqId(pub u32);

/// The number of a transaction, chosen by the store.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TxId(pub u32);

impl TxId {
    /// Outside every transaction.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for ReqId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests;

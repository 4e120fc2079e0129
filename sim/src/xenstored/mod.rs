//! An embedded Xenstore daemon that behaves like `xenstored` or `oxenstored` of Xen 4.17, as far as a guest and its host
//! can tell.
//!
//! [`Store`] has no clock and does no I/O: messages go in, messages come out, so that a simulated world may hold one. The
//! suite `tests/tests/store.rs` puts it behind Unix sockets and runs the same assertions on it and on the real
//! daemons; where they disagree, the daemon is right.
//!
//! Left out: what needs a clock (a daemon drops events that a guest does not drain, and slows down a guest that writes too
//! much), and limits that nobody meets by accident (outstanding requests, memory). A transaction sees the store as it was
//! at its start, as in `oxenstored`; in C each node is kept from its first use on.

mod connection;
mod domain;
mod flavour;
mod node_ops;
mod request;
mod store;
mod transaction;
mod tree;

pub use self::flavour::Flavour;
pub use self::store::{ConnId, Peer, Store};

#[cfg(test)]
mod tests;

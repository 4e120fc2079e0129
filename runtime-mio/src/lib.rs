//! Drives nova-agent's core on a single thread: one mio poller waits for Xenstore, signals, the guest's programs with
//! their pipes, and the time.
//!
//! Effects that touch only files are carried out between two waits.
#![forbid(unsafe_code)]

mod registration;
mod run;

pub use self::run::run;

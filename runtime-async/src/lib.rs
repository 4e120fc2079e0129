//! Drives nova-agent's core as a future, which waits for the device or socket of Xenstore, for the pipes of the guest's
//! programs and for the time. Files and users are left to the threads behind `spawn_blocking`.
//!
//! [`run_until`] is for a program that has any executor of its own: the threads of async-io and blocking, which async-std is
//! built on, wake the agent.
#![forbid(unsafe_code)]

mod effect;
mod run;

pub use self::run::{run, run_until};

//! Drives nova-agent's core as a future: the device or socket of Xenstore, the pipes of the guest's programs and the time
//! are waited for by readiness; files and users are left to the threads behind `spawn_blocking`.
//!
//! [`run_until`] is for a program that has an executor of its own, of whatever kind: what the agent waits for is served by
//! the threads of async-io and blocking, which are below async-std, too.
#![forbid(unsafe_code)]

mod effect;
mod run;

pub use self::run::{run, run_until};

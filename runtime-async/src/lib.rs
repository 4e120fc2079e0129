//! Drives nova-agent's core as a future: the device or socket of Xenstore, the pipes of the guest's programs and the time
//! are waited for by readiness; files and users are left to async-std's blocking threads.
//!
//! [`run_until`] is for a program that has an executor of its own. It needs nothing of that: what it waits for is served by
//! a thread of its own.
#![forbid(unsafe_code)]

mod effect;
mod run;

pub use self::run::{run, run_until};

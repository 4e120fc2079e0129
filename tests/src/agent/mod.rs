//! The agent's binary at work: in a sandbox, against a store of any kind, watched from the host's side.
//!
//! A test takes a [`Rig`], which is all of that together. What the agent answers is read along by a [`Witness`], and at
//! the end of every test the real tools of a host have to read each answer as it is; see [`Rig::finish`].
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test"
)]

mod attacker;
mod device;
mod process;
mod rig;
mod runtime;
mod saboteur;
mod sandbox;
mod witness;

pub use self::attacker::{Attack, Attacker};
pub use self::device::Device;
pub use self::process::AgentProcess;
pub use self::rig::{Answer, DOMID, Rig, core_dumps_allowed, refusal};
pub use self::runtime::Runtime;
pub use self::saboteur::{Calls, Instead, Obeyed, Order, Saboteur};
pub use self::sandbox::Sandbox;
pub use self::witness::{Seen, Witness};

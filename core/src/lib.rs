//! The core of nova-agent.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod base64;
pub mod crypto;
pub mod effect;
mod json;
pub mod network;
pub mod plan;
pub mod render;
pub mod secret;
mod time;
pub mod wire;

pub use self::time::Instant;

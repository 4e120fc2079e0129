//! What the tests of nova-agent stand on: Xenstore daemons, embedded and real, and a client for the host's side.
#![deny(unsafe_code)]

pub mod agent;
mod child;
pub mod client;
pub mod fixture;
pub mod host;
pub mod json_oracle;
pub mod oracle;
pub mod proxy;
pub mod real;
pub mod stores;
pub mod transcript;
pub mod xenstored;

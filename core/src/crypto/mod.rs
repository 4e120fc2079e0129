//! How a password travels from the host to the guest.
//!
//! The host opens an exchange with its Diffie-Hellman key, the agent answers with its own, and a later request carries
//! the password encrypted under what both then share. [`compat`] is the arithmetic and the cipher, [`exchanges`] is the
//! table of secrets that wait for their password.
//!
//! Nothing here knows of requests, replies or where randomness comes from.

pub mod compat;
pub mod exchanges;
#[cfg(test)]
mod vectors;

//! The cryptography that deployed hosts dictate. **It protects nobody.**
//!
//! The Diffie-Hellman group has 107 bits, which a laptop breaks; neither side is authenticated; the key derivation is one
//! round of MD5 or SHA without salt; the ciphertext carries no authentication code. All it does is keep a password from
//! being read at a glance in a listing of Xenstore. It stands apart under this name so that nobody takes it for a
//! building block, and it cannot be changed without changing every host.

mod cipher;
mod key_exchange;

#[cfg(test)]
pub(super) use self::cipher::{BLOCK_LEN, Digest, KeyMaterial};
pub(super) use self::cipher::{Candidate, DIGESTS, decrypt};
pub use self::key_exchange::{
    ENTROPY_MAX, ENTROPY_MIN, InvalidEntropy, InvalidPublicKey, PrivateKey, PublicKey, SharedSecret,
};

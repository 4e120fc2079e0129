//! Network configuration as the host describes it, validated.
//!
//! It knows nothing of files: turning a configuration into files is the business of `render`.

mod mac;

pub use self::mac::{InvalidMacAddr, MacAddr};

//! What a reset of the network would change, without changing anything.

mod host_file;

pub use self::host_file::{HostFileError, read_host_file};

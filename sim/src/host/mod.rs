//! The host's side of the mailbox, as far as it is a function: what Nova knows of a server, its half of a key exchange, and
//! how it judges a response.
//!
//! It knows nothing of the agent's code.

mod cipher;
mod key_exchange;
mod response;
mod server;
pub mod tools;

pub use self::cipher::encrypt;
pub use self::key_exchange::{HostKey, KeyExchange};
pub use self::response::{Rejection, Reply, Unreadable, judge, parse_response, read_features};
pub use self::server::{InjectedFile, Server, Vif};

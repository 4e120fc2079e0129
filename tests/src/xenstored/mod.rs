//! The embedded Xenstore daemon behind Unix sockets.

mod server;

pub use nova_agent_sim::xenstored::Flavour;

pub use self::server::{Server, ServerError};

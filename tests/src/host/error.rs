//! What may go wrong for the host.

use std::io;
use std::time::Duration;

use super::{Rejection, Unreadable};
use crate::client;

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request cannot be expressed in JSON.
    #[error("request cannot be written: {0}")]
    Encode(#[from] serde_json::Error),
    /// The agent knows neither of the commands that inject a file.
    #[error("NOT IMPLEMENTED: the agent cannot inject files")]
    NotImplemented,
    /// The `openssl` program, which encrypts passwords for Nova too, failed or is missing.
    #[error("openssl: {0}")]
    Openssl(io::Error),
    /// The system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(io::Error),
    /// The plugin could not read the agent's features.
    #[error("response to features cannot be read: {0}")]
    Features(Unreadable),
    /// The domain went away while the host waited.
    #[error("REBOOT: the domain is gone")]
    Reboot,
    /// Nova read a refusal, or could not read the response.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The store failed.
    #[error("store: {0}")]
    Store(#[from] client::Error),
    /// There was no response in time; the request is deleted.
    #[error("TIMEOUT: no response from the agent within {} seconds", .0.as_secs_f64())]
    Timeout(Duration),
}

impl Error {
    /// Whether Nova catches this error, records a fault of the instance, and goes on with the build.
    ///
    /// All others end the build, or this simulation cannot go on.
    #[must_use]
    pub const fn is_tolerated(&self) -> bool {
        match self {
            Self::Features(_)
            | Self::NotImplemented
            | Self::Rejected(Rejection::Refused { .. })
            | Self::Store(client::Error::Store(_) | client::Error::Oversize(_))
            | Self::Timeout(_) => true,
            Self::Encode(_)
            | Self::Openssl(_)
            | Self::Random(_)
            | Self::Reboot
            | Self::Store(_)
            | Self::Rejected(Rejection::Unreadable { .. }) => false,
        }
    }
}

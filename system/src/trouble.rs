//! Why something could not be done, before it becomes a `Failure` of the core's vocabulary.

use core::fmt;
use std::io;

use nova_agent_core::effect::Failure;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The system refused.
    #[error("{action} {path}: {source}")]
    Io {
        action: &'static str,
        path: String,
        source: io::Error,
    },
    /// Something on the way to a path, or at its end, does not exist.
    #[error("{path} does not exist")]
    Missing { path: String },
    /// It would not have been safe.
    #[error("{0}")]
    Refused(String),
}

impl Trouble {
    /// For `map_err`: what was tried with which path.
    pub(crate) fn io<E: Into<io::Error>>(
        action: &'static str,
        path: impl fmt::Display,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_string(),
            source: source.into(),
        }
    }

    pub(crate) fn refused(text: impl fmt::Display) -> Self {
        Self::Refused(text.to_string())
    }
}

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Io { source, .. } => source,
            Trouble::Missing { .. } => Self::new(io::ErrorKind::NotFound, trouble),
            Trouble::Refused(_) => Self::new(io::ErrorKind::PermissionDenied, trouble),
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Io { .. } | Trouble::Missing { .. } => Self::Io(trouble.to_string()),
            Trouble::Refused(text) => Self::Refused(text),
        }
    }
}

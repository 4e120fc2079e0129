//! Errors of files and directories, before they become a `Failure` of the core.

use core::fmt;
use std::io;

use nova_agent_core::effect::Failure;

#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// A system call failed.
    #[error("{action} {path}: {source}")]
    Io {
        action: &'static str,
        path: String,
        source: io::Error,
    },
    /// Something on the way to a path, or at its end, does not exist.
    #[error("{path} does not exist")]
    Missing { path: String },
    /// Doing it would not have been safe.
    #[error("{0}")]
    Refused(String),
}

impl FileError {
    /// Returns a function for `map_err`, which adds the action and the path.
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

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io { source, .. } => source,
            FileError::Missing { .. } => Self::new(io::ErrorKind::NotFound, error),
            FileError::Refused(_) => Self::new(io::ErrorKind::PermissionDenied, error),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io { .. } | FileError::Missing { .. } => Self::Io(error.to_string()),
            FileError::Refused(text) => Self::Refused(text),
        }
    }
}

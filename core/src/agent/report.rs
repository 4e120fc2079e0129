//! What the agent tells the log. Nothing here holds a secret.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use super::id::RequestId;
use crate::response::ReturnCode;
use crate::severity::Severity;
use crate::wire::ErrorName;

/// Something worth a line in the log or a word to the service manager.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Report {
    /// The agent is alive: said once in each interval that [`Config::alive`](super::Config::alive) asks for.
    Alive,
    /// A request was answered.
    Answered {
        /// The request.
        request: RequestId,
        /// The command that it named, in harmless characters; empty if it could not be read.
        command: String,
        /// The return code of the answer.
        code: ReturnCode,
        /// The message of an answer that says what went wrong; empty for a success.
        message: String,
        /// The time from when the request was read until the answer was written.
        took: Duration,
    },
    /// The store can be reached, and has answered.
    Connected,
    /// The store cannot be reached, or not any more; the agent tries again after `retry`, and then less and less often.
    /// Said once for the same reason, until the store has answered.
    Disconnected {
        /// Why.
        reason: String,
        /// The time until the next try.
        retry: Duration,
    },
    /// What a command found, or left alone.
    Notice {
        /// The request whose command it was.
        request: RequestId,
        /// How much it matters.
        severity: Severity,
        /// What it was, in harmless characters.
        text: String,
    },
    /// The requests that waited when the agent started are answered.
    Ready,
    /// The work of a command begins.
    Started {
        /// The request.
        request: RequestId,
        /// The command.
        command: String,
    },
    /// The store refused an operation.
    StoreRefused {
        /// The operation, in words.
        operation: String,
        /// What the store said.
        error: ErrorName,
    },
    /// The agent was told to leave; it finishes what it has in hand.
    Stopping,
    /// The host took a request back before it was answered.
    Withdrawn {
        /// The request.
        request: RequestId,
    },
}

impl Report {
    /// How much it matters.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Alive => Severity::Debug,
            Self::Answered {
                code: ReturnCode::Success | ReturnCode::KeyExchanged,
                ..
            }
            | Self::Connected
            | Self::Ready
            | Self::Started { .. }
            | Self::Stopping
            | Self::Withdrawn { .. } => Severity::Info,
            Self::Answered { .. } | Self::Disconnected { .. } | Self::StoreRefused { .. } => {
                Severity::Warning
            }
            Self::Notice { severity, .. } => *severity,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive => f.write_str("alive"),
            Self::Answered {
                request,
                command,
                code,
                message,
                took,
            } => {
                write!(
                    f,
                    "request {request}: {command} answered {code} after {} ms",
                    took.as_millis()
                )?;
                if message.is_empty() {
                    Ok(())
                } else {
                    write!(f, ": {message}")
                }
            }
            Self::Connected => f.write_str("connected to Xenstore"),
            Self::Disconnected { reason, retry } => {
                write!(
                    f,
                    "no Xenstore: {reason}; trying again in {} ms",
                    retry.as_millis()
                )
            }
            Self::Notice { request, text, .. } => write!(f, "request {request}: {text}"),
            Self::Ready => f.write_str("ready"),
            Self::Started { request, command } => write!(f, "request {request}: {command} started"),
            Self::StoreRefused { operation, error } => {
                write!(f, "Xenstore refused: {operation}: {error}")
            }
            Self::Stopping => f.write_str("stopping"),
            Self::Withdrawn { request } => write!(f, "request {request}: withdrawn by the host"),
        }
    }
}

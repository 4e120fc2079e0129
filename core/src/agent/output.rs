//! What the agent says to its driver.

use super::Report;
use crate::effect::{Effect, EffectId};
use crate::store::{Operation, OperationId};

/// What the agent wants done.
#[derive(Debug, Eq, PartialEq)]
pub enum Output {
    /// Leave: everything in hand is finished. Nothing follows.
    Exit,
    /// Carry out an effect and report its outcome with [`Agent::handle_completed`](super::Agent::handle_completed), once.
    Perform(EffectId, Effect),
    /// Write it to the log, and tell the service manager if it concerns it.
    Report(Report),
    /// Carry out an operation in Xenstore and report its answer with [`Agent::handle_event`](super::Agent::handle_event).
    Store(OperationId, Operation),
}

/// The driver broke the contract. The agent's state is what it was before.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Misuse {
    /// Bytes or an event came although there is no connection.
    #[error("there is no connection")]
    NotConnected,
    /// The id of an effect was never given out.
    #[error("effect {0} was never given out")]
    UnknownEffect(EffectId),
}

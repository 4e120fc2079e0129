//! Where a request is in its life.

use alloc::boxed::Box;

use crate::agent::job::Job;
use crate::agent::retention::Need;
use crate::response::Response;
use crate::time::Instant;

/// The state of a request, with what it awaits.
pub(super) enum State {
    /// The store refuses to read the node: left alone until the next listing or event.
    Unreadable,
    /// The reply to whether an earlier run has answered it, asked for where the responses could not be listed.
    CheckingAnswered { changed_meanwhile: bool },
    /// The content of the node.
    Reading { changed_meanwhile: bool },
    /// The node was empty: its writer may not have come to the value yet. Read once more at `until`.
    AwaitingContent { until: Instant },
    /// Its turn to change the guest. The content waits in the store.
    AwaitingTurn,
    /// The command is at work.
    Running(Box<Job>),
    /// The reply to whether the host still waits for a late response.
    ConfirmingDemand { response: Response },
    /// The response is being written. `attempt` counts from 0.
    Answering { response: Response, attempt: u8 },
    /// The listing of responses, to make room for this one in a full store.
    MakingRoom { response: Response },
    /// The store refused the response or is away: it is tried again at `until`, or at the next connection.
    AwaitingRetry {
        response: Response,
        until: Option<Instant>,
    },
    /// Answered; the node is being removed.
    Removing { changed_meanwhile: bool },
    /// Answered; the store refuses to remove the node: left alone until the next listing.
    Unremovable,
}

impl State {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Unreadable => "Unreadable",
            Self::CheckingAnswered { .. } => "CheckingAnswered",
            Self::Reading { .. } => "Reading",
            Self::AwaitingContent { .. } => "AwaitingContent",
            Self::AwaitingTurn => "AwaitingTurn",
            Self::Running(_) => "Running",
            Self::ConfirmingDemand { .. } => "ConfirmingDemand",
            Self::Answering { .. } => "Answering",
            Self::MakingRoom { .. } => "MakingRoom",
            Self::AwaitingRetry { .. } => "AwaitingRetry",
            Self::Removing { .. } => "Removing",
            Self::Unremovable => "Unremovable",
        }
    }

    /// Whether the agent is not ready before this has changed. What the store or the guest keeps from being answered must
    /// not keep the guest from booting.
    pub(super) const fn delays_readiness(&self) -> bool {
        match self {
            Self::CheckingAnswered { .. }
            | Self::Reading { .. }
            | Self::AwaitingTurn
            | Self::Running(_)
            | Self::ConfirmingDemand { .. }
            | Self::Answering { .. }
            | Self::MakingRoom { .. }
            | Self::Removing { .. } => true,
            Self::Unreadable
            | Self::AwaitingContent { .. }
            | Self::AwaitingRetry { .. }
            | Self::Unremovable => false,
        }
    }

    /// Whether an agent that is about to leave finishes this first.
    pub(super) const fn is_in_hand(&self, is_connected: bool) -> bool {
        match self {
            Self::Running(_) => true,
            Self::ConfirmingDemand { .. }
            | Self::Answering { .. }
            | Self::MakingRoom { .. }
            | Self::Removing { .. } => is_connected,
            Self::Unreadable
            | Self::CheckingAnswered { .. }
            | Self::Reading { .. }
            | Self::AwaitingContent { .. }
            | Self::AwaitingTurn
            | Self::AwaitingRetry { .. }
            | Self::Unremovable => false,
        }
    }

    /// Whether its node may be gone without an event having told so.
    pub(super) const fn is_left_alone(&self) -> bool {
        match self {
            Self::Unreadable | Self::AwaitingContent { .. } | Self::Unremovable => true,
            Self::CheckingAnswered { .. }
            | Self::Reading { .. }
            | Self::AwaitingTurn
            | Self::Running(_)
            | Self::ConfirmingDemand { .. }
            | Self::Answering { .. }
            | Self::MakingRoom { .. }
            | Self::AwaitingRetry { .. }
            | Self::Removing { .. } => false,
        }
    }

    /// What its response is needed for: without it, the request would be carried out once more by the next agent. Nobody
    /// knows whether a response that is to be tried again was written.
    pub(super) const fn need(&self) -> Need {
        match self {
            Self::ConfirmingDemand { .. }
            | Self::Answering { .. }
            | Self::MakingRoom { .. }
            | Self::AwaitingRetry { .. }
            | Self::Removing { .. } => Need::Needed,
            Self::Unreadable
            | Self::CheckingAnswered { .. }
            | Self::Reading { .. }
            | Self::AwaitingContent { .. }
            | Self::AwaitingTurn
            | Self::Running(_) => Need::Free,
            Self::Unremovable => Need::Unremovable,
        }
    }
}

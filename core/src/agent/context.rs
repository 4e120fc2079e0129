//! What a request can see and do.

use super::RequestId;
use super::retention::{Need, Responses};
use super::session::Session;
use super::turn::Turn;
use crate::config::CommandPolicy;
use crate::crypto::exchanges::Exchanges;

/// All that a request can see and do beside itself.
pub(super) struct Context<'a> {
    pub(super) session: &'a mut Session,
    pub(super) policy: &'a CommandPolicy,
    pub(super) exchanges: &'a mut Exchanges,
    pub(super) turn: &'a mut Turn,
    pub(super) responses: &'a mut Responses,
    /// What the response to another request is needed for; `None` if there is no such request.
    pub(super) need: &'a dyn Fn(&RequestId) -> Option<Need>,
}

//! `version`: which version of the agent this is.

use super::{Argument, Command, Context, Facts, Kind, Progress, always};
use crate::response::Response;

pub(super) const COMMAND: Command = Command {
    name: "version",
    kind: Kind::Query,
    enabled: always,
    advance,
};

/// Hosts may ask for the version of other programs by an argument; the answer is always the agent's own, because a text
/// that is not a version breaks their comparison.
fn advance(_: &Argument, _: &mut Facts, context: &mut Context<'_>) -> Progress {
    Progress::Reply(Response::success(context.policy.version.clone()))
}

//! `features`: which commands there are.

use alloc::vec::Vec;

use super::{Argument, Command, Context, Facts, Kind, Progress, always, names};
use crate::response::Response;

pub(super) const COMMAND: Command = Command {
    name: "features",
    kind: Kind::Query,
    enabled: always,
    advance,
};

/// Nova splits at commas and compares exactly, so there is no blank between the names.
fn advance(_: &Argument, _: &mut Facts, context: &mut Context<'_>) -> Progress {
    let names: Vec<&str> = names(context.policy).collect();
    Progress::Reply(Response::success(names.join(",")))
}

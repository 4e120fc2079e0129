//! `ready`: whether the agent takes commands. It does, or it would not answer.

use alloc::string::String;

use super::{Argument, Command, Context, Facts, Kind, Progress, always};
use crate::response::Response;

pub(super) const COMMAND: Command = Command {
    name: "ready",
    kind: Kind::Query,
    enabled: always,
    advance,
};

fn advance(_: &Argument, _: &mut Facts, _: &mut Context<'_>) -> Progress {
    Progress::Reply(Response::success(String::new()))
}

//! `sethostname`: a new name for the server.

use super::execution::Detail;
use super::{Argument, Command, Context, Facts, FailureResponse, Kind, Progress, always};
use crate::render;
use crate::response::{Response, ReturnCode};

pub(super) const COMMAND: Command = Command {
    name: "sethostname",
    kind: Kind::Change,
    enabled: always,
    advance,
};

const FAILURE: FailureResponse = FailureResponse {
    code: ReturnCode::Failed,
    prefix: "hostname not changed",
    detail: Detail::Step,
};

fn advance(argument: &Argument, facts: &mut Facts, _: &mut Context<'_>) -> Progress {
    let Some(name) = argument.text() else {
        return Progress::Reply(Response::failed_where_500_is_success(
            "The hostname is not a string",
        ));
    };
    let prepared = render::set_hostname(name.trim(), &facts.snapshot);
    Progress::from_prepared(prepared, None, FAILURE)
}

//! `sethostname`: a new name for the server.

use alloc::format;
use alloc::string::{String, ToString};

use super::{Argument, Command, Context, Execution, Facts, Kind, Progress, Questions, always};
use crate::plan::PlanFailure;
use crate::render::{self, Prepared};
use crate::response::Response;
use crate::severity::Severity;

pub(super) const COMMAND: Command = Command {
    name: "sethostname",
    kind: Kind::Change,
    enabled: always,
    advance,
};

fn advance(argument: &Argument, facts: &mut Facts, _: &mut Context<'_>) -> Progress {
    let Some(name) = argument.text() else {
        return Progress::Reply(Response::failed("The hostname is not a string"));
    };
    match render::set_hostname(name.trim(), &facts.snapshot) {
        Prepared::Missing(probes) => Progress::Ask(Questions {
            probes,
            ..Questions::default()
        }),
        Prepared::Refused(why) => Progress::Reply(Response::failed(why.to_string())),
        Prepared::Ready(configuration) => Progress::Run(Execution {
            plan: configuration.plan,
            notices: configuration
                .warnings
                .into_iter()
                .map(|text| (Severity::Warning, text))
                .collect(),
            success: match configuration.errors.as_slice() {
                [] => Response::success(String::new()),
                errors => Response::failed(errors.join("; ")),
            },
            failure,
        }),
    }
}

fn failure(failure: &PlanFailure) -> Response {
    Response::failed(format!("hostname not changed: {failure}"))
}

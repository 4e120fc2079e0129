//! `resetnetwork`: makes the guest's network what the host says it is.
//!
//! The request itself says nothing: the configuration is below `vm-data` in Xenstore; see [`HostData`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Argument, Command, Context, Execution, Facts, Kind, Progress, Questions, always};
use crate::plan::PlanFailure;
use crate::render::{self, HostData, Prepared, Unread};
use crate::response::Response;
use crate::severity::Severity;

pub(super) const COMMAND: Command = Command {
    name: "resetnetwork",
    kind: Kind::Change,
    enabled: always,
    advance,
};

fn advance(_: &Argument, facts: &mut Facts, _: &mut Context<'_>) -> Progress {
    let data = match HostData::collect(&facts.lists, &facts.values) {
        Ok(data) => data,
        Err(Unread { lists, values }) => {
            return Progress::Ask(Questions {
                lists,
                values,
                ..Questions::default()
            });
        }
    };
    match render::reset_network(&data, &facts.snapshot) {
        Prepared::Missing(probes) => Progress::Ask(Questions {
            probes,
            ..Questions::default()
        }),
        Prepared::Refused(why) => Progress::Reply(Response::failed(why.to_string())),
        Prepared::Ready(configuration) => {
            let found = format!(
                "{}, because {}",
                configuration.target, configuration.because
            );
            let mut notices = Vec::from([(Severity::Info, found)]);
            notices.extend(
                configuration
                    .warnings
                    .into_iter()
                    .map(|text| (Severity::Warning, text)),
            );
            let success = match configuration.errors.as_slice() {
                [] => Response::success(String::new()),
                errors => Response::failed(errors.join("; ")),
            };
            Progress::Run(Execution {
                plan: configuration.plan,
                notices,
                success,
                failure,
            })
        }
    }
}

/// Nova takes code 500 for success of this command, so a failure is never 500.
pub(super) fn failure(failure: &PlanFailure) -> Response {
    Response::failed(format!("network not changed: {failure}"))
}

//! `resetnetwork`: makes the guest's network what the host says it is.
//!
//! The request itself says nothing: the configuration is below `vm-data` in Xenstore; see [`HostData`].

use alloc::format;

use super::execution::Detail;
use super::{
    Argument, Command, Context, Facts, FailureResponse, Kind, Progress, Questions, always,
};
use crate::render::{self, HostData, Prepared, Unread};
use crate::response::ReturnCode;

pub(super) const COMMAND: Command = Command {
    name: "resetnetwork",
    kind: Kind::Change,
    enabled: always,
    advance,
};

/// Nova takes code 500 for success of this command, so a failure is never 500.
pub(super) const FAILURE: FailureResponse = FailureResponse {
    code: ReturnCode::Failed,
    prefix: "network not changed",
    detail: Detail::Step,
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
    let prepared = render::reset_network(&data, &facts.snapshot);
    let found = match &prepared {
        Prepared::Ready(configuration) => Some(format!(
            "{}, because {}",
            configuration.target, configuration.because
        )),
        Prepared::Missing(_) | Prepared::Refused(_) => None,
    };
    Progress::from_prepared(prepared, found, FAILURE)
}

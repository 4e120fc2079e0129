//! What a command does when it has all facts: a plan, and the responses to it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Progress, Questions};
use crate::plan::{Plan, PlanFailure};
use crate::render::Prepared;
use crate::response::{Response, ReturnCode};
use crate::severity::Severity;

/// A plan to be carried out, and the responses to it.
pub(crate) struct Execution {
    pub(crate) plan: Plan,
    /// What was found and left alone, for the log.
    pub(crate) notices: Vec<(Severity, String)>,
    /// The response when the plan was carried out.
    pub(crate) success: Response,
    /// The response when the plan failed.
    pub(crate) failure: FailureResponse,
}

/// How a command words the response when its plan fails: a prefix, then the detail.
#[derive(Clone, Copy)]
pub(crate) struct FailureResponse {
    pub(super) code: ReturnCode,
    pub(super) prefix: &'static str,
    pub(super) detail: Detail,
}

/// What the response says about a failed plan.
#[derive(Clone, Copy)]
pub(super) enum Detail {
    /// Why the step failed. For plans of one step, which the prefix describes.
    Cause,
    /// The step, why it failed, and whether the state before was brought back.
    Step,
}

impl FailureResponse {
    /// Returns the response for a plan that failed.
    pub(crate) fn response(&self, failure: &PlanFailure) -> Response {
        let prefix = self.prefix;
        let message = match self.detail {
            Detail::Cause => format!("{prefix}: {}", failure.failure),
            Detail::Step => format!("{prefix}: {failure}"),
        };
        Response {
            code: self.code,
            message,
        }
    }
}

impl Progress {
    /// Translates what a renderer prepared. `found` is logged before the warnings, if there is a plan.
    pub(super) fn from_prepared(
        prepared: Prepared,
        found: Option<String>,
        failure: FailureResponse,
    ) -> Self {
        match prepared {
            Prepared::Missing(probes) => Self::Ask(Questions {
                probes,
                ..Questions::default()
            }),
            Prepared::Refused(why) => Self::Reply(Response {
                code: failure.code,
                message: why.to_string(),
            }),
            Prepared::Ready(configuration) => {
                let found = found.into_iter().map(|text| (Severity::Info, text));
                let warnings = configuration.warnings.into_iter();
                let warnings = warnings.map(|text| (Severity::Warning, text));
                let success = match configuration.errors.as_slice() {
                    [] => Response::success(String::new()),
                    errors => Response {
                        code: failure.code,
                        message: errors.join("; "),
                    },
                };
                Self::Run(Execution {
                    plan: configuration.plan,
                    notices: found.chain(warnings).collect(),
                    success,
                    failure,
                })
            }
        }
    }
}

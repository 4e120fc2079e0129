//! From the answer of a command to the removal of its request.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::state::State;
use super::{Next, Request};
use crate::agent::context::Context;
use crate::agent::retention::Need;
use crate::agent::{RESPONSES, Report, RequestId};
use crate::response::{MESSAGE_MAX, Response, ReturnCode, harmless};
use crate::store::{Operation, Reply};
use crate::wire::ErrorName;

/// A response that took longer is written only if the host still waits for it.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// The shortest and the longest pause before a response that the store refused is tried again.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// A message of this many bytes is not what a quota forbids.
const SHORT: usize = 100;

impl Request {
    /// The command has come to its answer.
    pub(super) fn respond(self, response: Response, cx: &mut Context<'_>) -> Next {
        let is_late = cx.session.now.since(self.read) > CONFIRM_AFTER;
        if self.nodes.is_none() {
            self.report_answer(&response, cx);
            return Next::Gone;
        }
        cx.turn.release(&self.id);
        if !cx.session.is_connected {
            self.keep(State::AwaitingRetry {
                response,
                until: None,
            })
        } else if is_late {
            self.confirm_demand(response, cx)
        } else {
            self.write(response, 0, cx)
        }
    }

    /// Asks whether the host still waits for the response.
    pub(super) fn confirm_demand(self, response: Response, cx: &mut Context<'_>) -> Next {
        self.submit(cx, |nodes| Operation::Read(nodes.request.clone()));
        self.keep(State::ConfirmingDemand { response })
    }

    pub(super) fn handle_demand(
        self,
        response: Response,
        result: Result<Reply, ErrorName>,
        cx: &mut Context<'_>,
    ) -> Next {
        if result == Err(ErrorName::Enoent) {
            cx.session.report(Report::Withdrawn { request: self.id });
            Next::Gone
        } else {
            self.write(response, 0, cx)
        }
    }

    fn write(mut self, response: Response, attempt: u8, cx: &mut Context<'_>) -> Next {
        let value = response.encode();
        self.state = State::Answering { response, attempt };
        self.make_room(cx);
        self.submit(cx, |nodes| Operation::Write {
            path: nodes.response.clone(),
            value,
        });
        Next::Keep(self)
    }

    pub(super) fn handle_written(
        self,
        response: Response,
        attempt: u8,
        result: Result<Reply, ErrorName>,
        cx: &mut Context<'_>,
    ) -> Next {
        match (result, attempt) {
            (Ok(_), _) => {
                self.report_answer(&response, cx);
                Next::Answered(self.remove(cx))
            }
            (Err(error), 0) if error.is_quota() => {
                self.submit(cx, |_| Operation::List(RESPONSES));
                self.keep(State::MakingRoom { response })
            }
            (Err(error), 1) if error.is_quota() && response.message.len() > SHORT => {
                let code = match response.code {
                    ReturnCode::Error | ReturnCode::KeyExchanged | ReturnCode::Success => {
                        ReturnCode::Error
                    }
                    // Nova may take 500 for success of this command.
                    code @ (ReturnCode::Failed | ReturnCode::NotFound) => code,
                };
                let message = "Response too large".into();
                self.write(Response { code, message }, 2, cx)
            }
            (Err(error), _) => {
                if let Some(nodes) = &self.nodes {
                    cx.session.report_refusal("write", &nodes.response, error);
                }
                self.retry_later(response, cx)
            }
        }
    }

    /// The store is full: removes what no host can be waiting for, and writes the response once more.
    pub(super) fn handle_responses(
        self,
        response: Response,
        names: Result<Vec<String>, ErrorName>,
        cx: &mut Context<'_>,
    ) -> Next {
        match names {
            Ok(names) => {
                for id in names.iter().filter_map(|name| RequestId::from_node(name)) {
                    // Without its response, a request that is still there would be carried out a second time.
                    if id != self.id && (cx.need)(&id).is_none() {
                        cx.responses.evict_unless_young(&id, cx.session);
                    }
                }
            }
            // More responses than can be listed: no host reads them any more, or it would have.
            Err(ErrorName::E2Big) => cx.responses.evict_all(cx.session),
            Err(_) => {}
        }
        self.write(response, 1, cx)
    }

    /// The store does not take the response: it is tried again, less and less often, as long as the host waits.
    fn retry_later(self, response: Response, cx: &mut Context<'_>) -> Next {
        let now = cx.session.now;
        let until = now.after(now.since(self.read).clamp(RETRY_MIN, RETRY_MAX));
        cx.session.wake(&self.id, until);
        self.keep(State::AwaitingRetry {
            response,
            until: Some(until),
        })
    }

    /// Asks the store to remove the node of an answered request.
    pub(super) fn remove(mut self, cx: &mut Context<'_>) -> Self {
        self.submit(cx, |nodes| Operation::Remove(nodes.request.clone()));
        self.state = State::Removing {
            changed_meanwhile: false,
        };
        self
    }

    pub(super) fn handle_removed(
        self,
        changed_meanwhile: bool,
        result: Result<Reply, ErrorName>,
        cx: &mut Context<'_>,
    ) -> Next {
        match result {
            Ok(_) | Err(ErrorName::Enoent) if changed_meanwhile && !cx.session.is_stopping => {
                Next::Anew
            }
            Ok(_) | Err(ErrorName::Enoent) => Next::Gone,
            Err(error) => {
                if let Some(nodes) = &self.nodes {
                    cx.session.report_refusal("remove", &nodes.request, error);
                }
                self.keep(State::Unremovable)
            }
        }
    }

    /// The response exists, or is about to be written: makes room first if many are written at once.
    pub(super) fn make_room(&self, cx: &mut Context<'_>) {
        let need = cx.need;
        cx.responses.insert(cx.session.now, self.id.clone());
        cx.responses
            .limit_burst(cx.session, |id| need(id).unwrap_or(Need::Free));
    }

    fn report_answer(&self, response: &Response, cx: &mut Context<'_>) {
        let message = match response.code {
            ReturnCode::Success | ReturnCode::KeyExchanged => String::new(),
            ReturnCode::Error | ReturnCode::Failed | ReturnCode::NotFound => response
                .message
                .chars()
                .take(MESSAGE_MAX)
                .map(harmless)
                .collect(),
        };
        cx.session.report(Report::Answered {
            request: self.id.clone(),
            command: self.command.clone(),
            code: response.code,
            message,
            took: cx.session.now.since(self.read),
        });
    }
}

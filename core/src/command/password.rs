//! `password`: the second half of a password change. The account is root's.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::execution::Detail;
use super::{
    Argument, Command, Context, Execution, Facts, FailureResponse, Kind, Progress, always,
};
use crate::crypto::exchanges::PasswordError;
use crate::effect::Change;
use crate::plan::Plan;
use crate::response::{Response, ReturnCode};

pub(super) const COMMAND: Command = Command {
    name: "password",
    kind: Kind::Change,
    enabled: always,
    advance,
};

const FAILURE: FailureResponse = FailureResponse {
    code: ReturnCode::Error,
    prefix: "Failed to change password for root",
    detail: Detail::Cause,
};

fn advance(argument: &Argument, _: &mut Facts, context: &mut Context<'_>) -> Progress {
    context.exchanges.expire(context.now);
    let decrypted = match argument.text() {
        Some(text) => context.exchanges.decrypt(&text),
        None => Err(PasswordError::Encoding),
    };
    let password = match decrypted {
        Ok(password) => password,
        Err(error) => return Progress::Reply(Response::error(error.to_string())),
    };
    if password.is_empty() && !context.policy.allow_empty_password {
        return Progress::Reply(Response::error("An empty password is not allowed"));
    }
    let mut plan = Plan::default();
    plan.push(Change::SetPassword {
        user: "root".into(),
        password,
    });
    Progress::Run(Execution {
        plan,
        notices: Vec::new(),
        success: Response::success(String::new()),
        failure: FAILURE,
    })
}

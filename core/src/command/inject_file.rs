//! `injectfile` and `file_inject`: a file from the host.
//!
//! They differ in their argument only. Nova's plugin prefers `file_inject` where `features` offers it: it is not confused
//! by a comma in the path.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use super::execution::Detail;
use super::{Argument, Command, Execution, FailureResponse, Kind, Progress};
use crate::base64;
use crate::config::CommandPolicy;
use crate::effect::{Change, ExistingMode, FileMode, GuestPath, WriteFile};
use crate::plan::Plan;
use crate::response::{Response, ReturnCode};
use crate::secret::Secret;

pub(super) const INJECTFILE: Command = Command {
    name: "injectfile",
    kind: Kind::Change,
    enabled,
    advance: |argument, _, _| inject(one_text(argument)),
};

pub(super) const FILE_INJECT: Command = Command {
    name: "file_inject",
    kind: Kind::Change,
    enabled,
    advance: |argument, _, _| inject(two_texts(argument)),
};

const FAILURE: FailureResponse = FailureResponse {
    code: ReturnCode::Error,
    prefix: "File injection failed",
    detail: Detail::Step,
};

/// A host that sees neither name in `features` does not try.
const fn enabled(policy: &CommandPolicy) -> bool {
    policy.inject_files
}

fn inject(file: Result<(Vec<u8>, Secret), &'static str>) -> Progress {
    let (path, content) = match file {
        Ok(file) => file,
        Err(why) => return Progress::Reply(Response::error(why)),
    };
    let path = match core::str::from_utf8(&path).map(GuestPath::try_from) {
        Ok(Ok(path)) if path != GuestPath::ROOT => path,
        Ok(Ok(_)) => {
            return Progress::Reply(Response::error("Invalid file path: path is a directory"));
        }
        Ok(Err(why)) => {
            return Progress::Reply(Response::error(format!("Invalid file path: {why}")));
        }
        Err(_) => return Progress::Reply(Response::error("Invalid file path: path is not UTF-8")),
    };
    let success = Response::success(String::new());
    Progress::Run(Execution {
        plan: plan(path, content),
        notices: Vec::new(),
        success,
        failure: FAILURE,
    })
}

/// Everything from the first directory below the root down to the file.
fn plan(path: GuestPath, content: Secret) -> Plan {
    let mut directories = Vec::new();
    let mut above = path.parent();
    while let Some(directory) = above.filter(|directory| *directory != GuestPath::ROOT) {
        above = directory.parent();
        directories.push(directory);
    }
    let mut plan = Plan::default();
    for path in directories.into_iter().rev() {
        // sshd ignores keys in a directory that others may change; 0700 is what ssh itself makes.
        let mode = if path.name() == ".ssh" {
            FileMode::PRIVATE_DIRECTORY
        } else {
            FileMode::PUBLIC_DIRECTORY
        };
        plan.push(Change::MakeDirectory { path, mode });
    }
    let mode = if path.name() == "authorized_keys" {
        FileMode::PRIVATE
    } else {
        FileMode::PUBLIC
    };
    plan.push(Change::WriteFile(WriteFile {
        path,
        content,
        mode,
        existing: ExistingMode::Keep,
    }));
    plan
}

/// `injectfile`: base64 of the path, a comma and the content.
fn one_text(argument: &Argument) -> Result<(Vec<u8>, Secret), &'static str> {
    const NOT_BASE64: &str = "Error doing base64 decoding of data";

    let Value::String(text) = argument.value() else {
        return Err(NOT_BASE64);
    };
    let both = base64::decode(text).map_err(|_| NOT_BASE64)?;
    let mut halves = both.expose().splitn(2, |byte| *byte == b',');
    match (halves.next(), halves.next()) {
        (Some(path), Some(content)) => Ok((path.into(), Secret::new(content.into()))),
        _ => Err("No comma between path and content"),
    }
}

/// `file_inject`: an object of two base64 texts.
fn two_texts(argument: &Argument) -> Result<(Vec<u8>, Secret), &'static str> {
    let Value::Object(fields) = argument.value() else {
        return Err("The argument is not an object");
    };
    let field = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let path = field("b64_path").ok_or("'b64_path' is missing or not a string")?;
    let content = field("b64_file").ok_or("'b64_file' is missing or not a string")?;
    let path = base64::decode(path).map_err(|_| "Error doing base64 decoding of 'b64_path'")?;
    let content =
        base64::decode(content).map_err(|_| "Error doing base64 decoding of 'b64_file'")?;
    Ok((path.expose().into(), content))
}

//! From payloads to operations, with the daemons' own errors.

use nova_agent_core::wire::{ErrorName, Op, PathKind, Permission, StorePath, payload};

use super::domain;
use super::flavour::Flavour;
use super::node_ops::{Caller, NodeOp};

/// The fields of a payload, each of which ends with a NUL.
pub(super) fn fields(payload: &[u8]) -> Result<Vec<&[u8]>, ErrorName> {
    let Some((0, fields)) = payload.split_last() else {
        return Err(ErrorName::Einval);
    };
    Ok(fields.split(|byte| *byte == 0).collect())
}

/// As C's `atoi` reads it.
pub(super) fn leading_number(text: &[u8]) -> u32 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u32, digit| {
        number
            .wrapping_mul(10)
            .wrapping_add(u32::from(digit - b'0'))
    })
}

/// The operation on a node that a request asks for.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "called for operations on nodes only"
)]
pub(super) fn parse_node_op(
    op: Op,
    payload: &[u8],
    caller: Caller,
    flavour: Flavour,
) -> Result<NodeOp, ErrorName> {
    let Some(end) = payload.iter().position(|byte| *byte == 0) else {
        // C answers what its last system call left behind; this is as good as anything.
        let takes_more = matches!(op, Op::Write | Op::SetPerms | Op::DirectoryPart);
        return Err(if flavour == Flavour::C && !takes_more {
            ErrorName::Enoent
        } else {
            ErrorName::Einval
        });
    };
    let (path, rest) = payload.split_at(end);
    let rest = rest.get(1..).unwrap_or_default();
    let path = node_path(path, caller, flavour)?;
    Ok(match op {
        Op::Write => NodeOp::Write(path, rest.into()),
        Op::SetPerms => NodeOp::SetPerms(path, parse_perms(rest)?),
        Op::DirectoryPart => match fields(rest)?[..] {
            [offset] => NodeOp::DirectoryPart(
                path,
                usize::try_from(leading_number(offset)).unwrap_or(usize::MAX),
            ),
            _ => return Err(ErrorName::Einval),
        },
        _ if !rest.is_empty() => return Err(ErrorName::Einval),
        Op::Directory => NodeOp::Directory(path),
        Op::GetPerms => NodeOp::GetPerms(path),
        Op::Mkdir => NodeOp::Mkdir(path),
        Op::Read => NodeOp::Read(path),
        Op::Rm => NodeOp::Rm(path),
        _ => return Err(ErrorName::Enosys),
    })
}

fn parse_perms(text: &[u8]) -> Result<Vec<Permission>, ErrorName> {
    payload::parse_perms(text).map_err(|_| ErrorName::Einval)
}

/// The absolute path of a node.
fn node_path(path: &[u8], caller: Caller, flavour: Flavour) -> Result<String, ErrorName> {
    let (path, shown) = watch_path(path, caller, flavour)?;
    match (shown.starts_with('@'), flavour) {
        (true, Flavour::C) => Err(ErrorName::Einval),
        // There, what can be watched is a node like others.
        (true, Flavour::Oxen) => Ok(format!("/{path}")),
        (false, _) => Ok(path),
    }
}

/// The absolute path of a node or the name of a special watch, and the same as the client gave it.
pub(super) fn watch_path(
    path: &[u8],
    caller: Caller,
    flavour: Flavour,
) -> Result<(String, String), ErrorName> {
    let path = StorePath::from_bytes(path).map_err(|_| ErrorName::Einval)?;
    let absolute = absolute(path.as_str(), caller.domid);
    if path.kind() != PathKind::Special && without_home(&absolute).len() > flavour.path_max() {
        return Err(ErrorName::Einval);
    }
    Ok((absolute, path.as_str().into()))
}

/// The path as seen from the root.
pub(super) fn absolute(path: &str, domid: u32) -> String {
    match path.as_bytes().first() {
        Some(b'/' | b'@') => path.into(),
        _ => format!("{}/{path}", domain::home(domid)),
    }
}

/// What the limit on the length of a path applies to: `/local/domain/N/` does not count.
fn without_home(path: &str) -> &str {
    let rest = path
        .strip_prefix("/local/domain/")
        .and_then(|rest| rest.split_once('/'));
    match rest {
        Some((domid, rest)) if domid.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => path,
    }
}

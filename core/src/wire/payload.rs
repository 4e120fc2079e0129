//! What messages carry: builders and parsers, one of each for every shape.
//!
//! A parser borrows nothing from outside its own payload, accepts exactly what the specification says (a reply `OK` may
//! be followed by noise, see [`is_ok`]) and fails with [`Malformed`].

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{ErrorName, InvalidPath, StorePath, Token};

/// A path: the request of DIRECTORY, READ, GET_PERMS, MKDIR, RM; the reply to GET_DOMAIN_PATH.
#[must_use]
pub fn path(path: &StorePath) -> Vec<u8> {
    fields([path.as_str().as_bytes()])
}

/// Reads [`path`].
///
/// # Errors
/// [`Malformed`] unless it is one valid path with its NUL.
pub fn parse_path(payload: &[u8]) -> Result<StorePath, Malformed> {
    let [path] = parse_fields(payload)?;
    Ok(StorePath::from_bytes(path)?)
}

/// A path and a value without terminator: the request of WRITE.
#[must_use]
pub fn write(to: &StorePath, value: &[u8]) -> Vec<u8> {
    let mut payload = path(to);
    payload.extend_from_slice(value);
    payload
}

/// Reads [`write`](fn@write).
///
/// # Errors
/// [`Malformed`] if the path is not valid or not terminated.
pub fn parse_write(payload: &[u8]) -> Result<(StorePath, &[u8]), Malformed> {
    let (path, value) = split_nul(payload).ok_or(Malformed::Fields)?;
    Ok((StorePath::from_bytes(path)?, value))
}

/// A path and a token: the request of WATCH and UNWATCH, and a watch event.
#[must_use]
pub fn watch(path: &StorePath, token: &Token) -> Vec<u8> {
    fields([path.as_str().as_bytes(), token.as_bytes()])
}

/// What a watch event says: something happened at or below the path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WatchEvent {
    /// Where; relative if the watch is.
    pub path: StorePath,
    /// The token of the watch.
    pub token: Token,
}

/// Reads [`watch`].
///
/// # Errors
/// [`Malformed`] unless it is a valid path and a token, each with its NUL.
pub fn parse_watch(payload: &[u8]) -> Result<WatchEvent, Malformed> {
    let [path, token] = parse_fields(payload)?;
    let token = Token::try_from(token).map_err(|_| Malformed::Fields)?;
    Ok(WatchEvent {
        path: StorePath::from_bytes(path)?,
        token,
    })
}

/// Names of children, each with its NUL: the reply to DIRECTORY.
#[must_use]
pub fn directory<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    fields(names.into_iter().map(str::as_bytes))
}

/// Reads [`directory`]. The number of names is bounded by the length of the payload.
///
/// # Errors
/// [`Malformed`] unless it is a list of valid names, each with its NUL.
pub fn parse_directory(payload: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut names = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let (name, next) = split_nul(rest).ok_or(Malformed::Fields)?;
        names.push(parse_name(name)?);
        rest = next;
    }
    Ok(names)
}

/// A path and a byte offset into the list of its children: the request of DIRECTORY_PART.
#[must_use]
pub fn directory_part(path: &StorePath, offset: usize) -> Vec<u8> {
    fields([path.as_str().as_bytes(), offset.to_string().as_bytes()])
}

/// A part of a list of children: the reply to DIRECTORY_PART.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DirectoryPart {
    /// Changes with the list; parts of different generations do not fit together.
    pub generation: u64,
    /// The names in this part.
    pub names: Vec<String>,
    /// Where the next part starts; `None` if this is the last one.
    pub next_offset: Option<usize>,
}

/// Reads the reply to a DIRECTORY_PART that asked for `offset`.
///
/// # Errors
/// [`Malformed`] unless it is a generation, a list of valid names and, at most once and at the end, an empty name. A part
/// without any name that is not the last one is malformed, too: it would be asked for again for ever.
pub fn parse_directory_part(payload: &[u8], offset: usize) -> Result<DirectoryPart, Malformed> {
    let (generation, list) = split_nul(payload).ok_or(Malformed::Fields)?;
    let generation = parse_decimal(generation)?;
    if list == [0] {
        return Ok(DirectoryPart {
            generation,
            names: Vec::new(),
            next_offset: None,
        });
    }
    let (list, last) = match list.strip_suffix(&[0, 0]) {
        // The first of the two NULs ends the last name.
        Some(_) => (list.split_last().map_or(list, |(_, list)| list), true),
        None => (list, false),
    };
    let names = parse_directory(list)?;
    if names.is_empty() {
        return Err(Malformed::Fields);
    }
    let next_offset = (!last).then(|| offset.saturating_add(list.len()));
    Ok(DirectoryPart {
        generation,
        names,
        next_offset,
    })
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransactionEnd {
    /// Nothing of it happens.
    Abort,
    /// All of it happens, or none on a conflict.
    Commit,
}

/// The request of TRANSACTION_START, and every other one without arguments. Never an empty payload: `oxenstored` leaves
/// that unanswered until more bytes arrive.
#[must_use]
pub fn no_arguments() -> Vec<u8> {
    fields([b"".as_slice()])
}

/// The request of TRANSACTION_END.
#[must_use]
pub fn transaction_end(end: TransactionEnd) -> Vec<u8> {
    fields([match end {
        TransactionEnd::Abort => b"F".as_slice(),
        TransactionEnd::Commit => b"T",
    }])
}

/// A number in decimal: the reply to TRANSACTION_START, the request of GET_DOMAIN_PATH.
#[must_use]
pub fn number(number: u32) -> Vec<u8> {
    fields([number.to_string().as_bytes()])
}

/// Reads [`number`].
///
/// # Errors
/// [`Malformed`] unless it is a decimal number of 32 bits with its NUL.
pub fn parse_number(payload: &[u8]) -> Result<u32, Malformed> {
    let [number] = parse_fields(payload)?;
    parse_decimal(number)
}

/// The reply of an operation that has nothing else to say.
#[must_use]
pub fn ok() -> Vec<u8> {
    fields([b"OK".as_slice()])
}

/// Whether a reply is [`ok`].
///
/// Only what stands before the first NUL counts: FreeBSD answers a WATCH with 8 bytes, five of them noise
/// (`sys/dev/xen/xenstore/xenstore_dev.c`).
#[must_use]
pub fn is_ok(payload: &[u8]) -> bool {
    split_nul(payload).is_some_and(|(text, _)| text == b"OK")
}

/// The payload of an ERROR.
#[must_use]
pub fn error(name: &ErrorName) -> Vec<u8> {
    fields([name.as_str().as_bytes()])
}

/// Reads [`error`](fn@error).
///
/// # Errors
/// [`Malformed`] unless it is one word of letters and digits with its NUL.
pub fn parse_error(payload: &[u8]) -> Result<ErrorName, Malformed> {
    let [name] = parse_fields(payload)?;
    if name.is_empty() || !name.iter().all(u8::is_ascii_alphanumeric) {
        return Err(Malformed::Fields);
    }
    let name = core::str::from_utf8(name).map_err(|_| Malformed::Fields)?;
    Ok(ErrorName::from(name))
}

/// What a domain may do with a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Read and write.
    Both,
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Write.
    Write,
}

/// One entry of a node's permissions.
///
/// The first entry of a node names its owner, who may do everything, and what domains without an entry may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Permission {
    /// What is allowed.
    pub access: Access,
    /// To which domain.
    pub domid: u32,
}

impl Permission {
    fn to_text(self) -> String {
        let mut text = String::from(match self.access {
            Access::Both => "b",
            Access::None => "n",
            Access::Read => "r",
            Access::Write => "w",
        });
        text.push_str(&self.domid.to_string());
        text
    }

    /// Reads an entry as in `r5`.
    ///
    /// # Errors
    /// [`Malformed`] unless it is a letter of `bnrw` and a decimal number.
    pub fn from_bytes(text: &[u8]) -> Result<Self, Malformed> {
        let (letter, domid) = text.split_first().ok_or(Malformed::Fields)?;
        let access = match letter {
            b'b' => Access::Both,
            b'n' => Access::None,
            b'r' => Access::Read,
            b'w' => Access::Write,
            _ => return Err(Malformed::Fields),
        };
        Ok(Self {
            access,
            domid: parse_decimal(domid)?,
        })
    }
}

/// Permissions: the reply to GET_PERMS.
#[must_use]
pub fn perms(perms: &[Permission]) -> Vec<u8> {
    let texts: Vec<String> = perms.iter().map(|perm| perm.to_text()).collect();
    fields(texts.iter().map(String::as_bytes))
}

/// Reads [`perms`](fn@perms).
///
/// # Errors
/// [`Malformed`] unless it is a list of at least one permission, each with its NUL.
pub fn parse_perms(payload: &[u8]) -> Result<Vec<Permission>, Malformed> {
    let mut perms = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let (text, next) = split_nul(rest).ok_or(Malformed::Fields)?;
        perms.push(Permission::from_bytes(text)?);
        rest = next;
    }
    if perms.is_empty() {
        return Err(Malformed::Fields);
    }
    Ok(perms)
}

/// A path and permissions: the request of SET_PERMS.
#[must_use]
pub fn set_perms(of: &StorePath, entries: &[Permission]) -> Vec<u8> {
    let mut payload = path(of);
    payload.extend(perms(entries));
    payload
}

/// Reads [`set_perms`].
///
/// # Errors
/// [`Malformed`] unless it is a valid path and at least one permission, each with its NUL.
pub fn parse_set_perms(payload: &[u8]) -> Result<(StorePath, Vec<Permission>), Malformed> {
    let (path, perms) = parse_write(payload)?;
    Ok((path, parse_perms(perms)?))
}

/// Bytes that are not what their message's type says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// Too few or too many fields, one without its NUL, or one that is not what it should be.
    #[error("malformed payload")]
    Fields,
    /// A bad path.
    #[error("malformed payload: {0}")]
    Path(#[from] InvalidPath),
}

/// Each field with a NUL behind it.
pub fn fields<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut payload = Vec::new();
    for field in fields {
        payload.extend_from_slice(field);
        payload.push(0);
    }
    payload
}

/// Exactly `N` fields, each with a NUL behind it, and nothing else.
fn parse_fields<const N: usize>(payload: &[u8]) -> Result<[&[u8]; N], Malformed> {
    let mut fields = [b"".as_slice(); N];
    let mut rest = payload;
    for field in &mut fields {
        (*field, rest) = split_nul(rest).ok_or(Malformed::Fields)?;
    }
    if !rest.is_empty() {
        return Err(Malformed::Fields);
    }
    Ok(fields)
}

/// What stands before the first NUL, and what behind it.
fn split_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (field, rest) = bytes.split_at_checked(end)?;
    Some((field, rest.split_first()?.1))
}

/// One component of a path.
fn parse_name(name: &[u8]) -> Result<String, Malformed> {
    if name.contains(&b'/') {
        return Err(Malformed::Path(InvalidPath::EmptyComponent));
    }
    Ok(String::from(StorePath::from_bytes(name)?.as_str()))
}

fn parse_decimal<T: core::str::FromStr>(text: &[u8]) -> Result<T, Malformed> {
    if !text.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::Fields);
    }
    let text = core::str::from_utf8(text).map_err(|_| Malformed::Fields)?;
    text.parse().map_err(|_| Malformed::Fields)
}

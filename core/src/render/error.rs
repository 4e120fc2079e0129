//! Why a guest cannot be changed as the host wants it.

use alloc::string::String;

use thiserror::Error;

use crate::effect::{GuestPath, InvalidGuestPath};
use crate::network::{InterfaceName, InvalidHostname};

/// Why nothing can be done. Its text is for the host.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// The hostname of the request is not valid.
    #[error(transparent)]
    InvalidHostname(#[from] InvalidHostname),
    /// No network stack was found, or one that the agent only knows by name.
    #[error("no supported network configuration found: {os}{}", with(*stack))]
    UnsupportedNetwork {
        /// The operating system with its version.
        os: String,
        /// The stack that was found.
        stack: Option<&'static str>,
    },
    /// A file that has to be edited is not one that can be.
    #[error(transparent)]
    NotEditable(#[from] NotEditable),
    /// A file can be read, but an edit might do something else than it should.
    #[error("cannot edit {path}: {reason}")]
    CannotEdit {
        /// The file.
        path: GuestPath,
        /// Why it cannot be edited.
        reason: Unclear,
    },
    /// `/etc/hosts` is a symlink; the file behind it belongs to another program.
    #[error("{path} is a symlink: not changed")]
    SymlinkKept {
        /// The symlink.
        path: GuestPath,
    },
    /// A device is built on an interface that several ids of netplan mean.
    #[error("cannot edit the files of netplan: a device is built on \"{id}\"")]
    DeviceBuiltOn {
        /// The id.
        id: String,
    },
    /// The id of an interface cannot be written in YAML without escapes.
    #[error("cannot edit the files of netplan: {interface} has a strange id")]
    StrangeId {
        /// The interface.
        interface: InterfaceName,
    },
    /// What was generated is not understood.
    #[error("cannot write {path}: {reason}")]
    CannotWrite {
        /// The file.
        path: GuestPath,
        /// Why.
        reason: &'static str,
    },
    /// A file name that does not make a valid path.
    #[error("{directory}/{name}: {error}")]
    InvalidPath {
        /// Where the file would be.
        directory: GuestPath,
        /// The name of the file.
        name: String,
        /// What is wrong with it.
        error: InvalidGuestPath,
    },
}

/// Why the file at a path cannot be edited as text.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum NotEditable {
    /// A symlink leads to nothing.
    #[error("{0} is a dangling symlink")]
    DanglingSymlink(GuestPath),
    /// A symlink leads out of `/etc`.
    #[error("{0} is a symlink out of /etc/")]
    SymlinkOutOfEtc(GuestPath),
    /// A chain of symlinks is too long.
    #[error("{0}: too many symlinks")]
    TooManySymlinks(GuestPath),
    /// A directory, a device or a socket.
    #[error("{0} is not a regular file")]
    NotRegular(GuestPath),
    /// The file is larger than any configuration.
    #[error("{path} is too large: {size} bytes")]
    TooLarge {
        /// The file.
        path: GuestPath,
        /// Its size in bytes.
        size: u64,
    },
    /// It cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: GuestPath,
        /// What the system says.
        reason: String,
    },
}

/// Why a file cannot be edited.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Unclear {
    /// It is not a file that can be edited as text.
    #[error(transparent)]
    NotEditable(#[from] NotEditable),
    /// A shell may understand it in another way.
    #[error("line {line}: {what}")]
    Shell {
        /// The number of the line, from 1.
        line: usize,
        /// What was found there.
        what: &'static str,
    },
    /// Its YAML is not valid, or of a form that the agent does not support.
    #[error("{0}")]
    Yaml(&'static str),
    /// A list has elements that need quotes.
    #[error("{list} is no list of plain names")]
    NoPlainNames {
        /// The variable.
        list: &'static str,
    },
    /// The value of a list is taken from other variables.
    #[error("{list} refers to other variables")]
    RefersToVariables {
        /// The variable.
        list: &'static str,
    },
    /// The agent's file is in a directory that hides the right one.
    #[error("it hides the file of that name in {directory}")]
    HidesOwnFile {
        /// Where the agent's file should be.
        directory: GuestPath,
    },
    /// An id of netplan also matches an interface that the host does not describe.
    #[error("\"{id}\" is for {other}, too")]
    CoversOthers {
        /// The id.
        id: String,
        /// The other interface.
        other: String,
    },
    /// The part that the agent wrote has been edited.
    #[error("\"{id}\" is not as it was written")]
    WasEdited {
        /// The id.
        id: String,
    },
    /// A file for several interfaces is read before the agent's.
    #[error("it comes before {own} and is for {interface} and others")]
    ComesBefore {
        /// The name of the agent's file.
        own: String,
        /// One of the interfaces.
        interface: InterfaceName,
    },
}

impl Unclear {
    /// Returns the refusal to edit a file.
    pub(super) fn at(self, path: &GuestPath) -> Refusal {
        Refusal::CannotEdit {
            path: path.clone(),
            reason: self,
        }
    }
}

/// Joins a directory and a name that ought to make a path.
///
/// # Errors
/// [`Refusal::InvalidPath`]
pub(super) fn join(directory: &GuestPath, name: &str) -> Result<GuestPath, Refusal> {
    directory.join(name).map_err(|error| Refusal::InvalidPath {
        directory: directory.clone(),
        name: name.into(),
        error,
    })
}

fn with(stack: Option<&'static str>) -> String {
    stack
        .map(|stack| alloc::format!(" with {stack}"))
        .unwrap_or_default()
}

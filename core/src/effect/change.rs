//! Changes of the guest, one at a time.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::{FileMode, GuestPath};
use crate::secret::Secret;

/// One change of the guest. It is carried out whole or not at all, as far as the guest's kernel allows.
#[derive(Debug, Eq, PartialEq)]
pub enum Change {
    /// Creates a directory. One that exists is left as it is and is a success.
    MakeDirectory {
        /// The directory; its parent must exist.
        path: GuestPath,
        /// The mode of a new directory.
        mode: FileMode,
    },
    /// Removes an empty directory; one that is not empty or does not exist is left alone and is a success.
    RemoveDirectory {
        /// The directory.
        path: GuestPath,
    },
    /// Moves a file or symlink into the backup. One that does not exist is a success.
    RemoveFile {
        /// The file.
        path: GuestPath,
    },
    /// Puts a file back as it was when a step backed it up: content, mode, owner, label.
    RestoreFile {
        /// Where the file was.
        path: GuestPath,
        /// Its copy in the backup.
        backup: GuestPath,
    },
    /// Runs a program of the guest.
    Run(Program),
    /// Sets the hostname in the running kernel.
    SetHostname(String),
    /// Sets a user's password.
    SetPassword {
        /// The user's login name.
        user: String,
        /// The password in clear text, UTF-8 without CR, LF and NUL.
        password: Secret,
    },
    /// Creates a symbolic link. A link that has this target already is a success; anything else at `path` is backed up.
    Symlink {
        /// Where the link is.
        path: GuestPath,
        /// What it points to, as it shall be stored: absolute or relative.
        target: String,
    },
    /// Replaces or creates a file.
    WriteFile(WriteFile),
}

impl Change {
    /// The same step once more; `None` for one that holds a secret, or that can only succeed or fail for good.
    #[must_use]
    pub fn again(&self) -> Option<Self> {
        match self {
            Self::Run(Program {
                argv,
                environment,
                stdin: None,
                timeout,
                accept,
            }) => Some(Self::Run(Program {
                argv: argv.clone(),
                environment: environment.clone(),
                stdin: None,
                timeout: *timeout,
                accept: accept.clone(),
            })),
            Self::MakeDirectory { .. }
            | Self::RemoveDirectory { .. }
            | Self::RemoveFile { .. }
            | Self::RestoreFile { .. }
            | Self::Run(_)
            | Self::SetHostname(_)
            | Self::SetPassword { .. }
            | Self::Symlink { .. }
            | Self::WriteFile(_) => None,
        }
    }
}

/// The step in a few words for messages, without any secret.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDirectory { path, .. } => write!(f, "make directory {path}"),
            Self::RemoveDirectory { path } => write!(f, "remove directory {path}"),
            Self::RemoveFile { path } => write!(f, "remove {path}"),
            Self::RestoreFile { path, .. } => write!(f, "restore {path}"),
            Self::Run(program) => f.write_str(&program.command_line()),
            Self::SetHostname(name) => write!(f, "set hostname {name}"),
            Self::SetPassword { user, .. } => write!(f, "set password of {user}"),
            Self::Symlink { path, target } => write!(f, "link {path} to {target}"),
            Self::WriteFile(file) => write!(f, "write {}", file.path),
        }
    }
}

/// Replaces a file in one instant, or creates it.
///
/// Every directory above it must be safe: owned by root, and writable for nobody else unless it is sticky. A symlink in
/// the last component is replaced or refused, never followed. Equal content changes nothing and makes no backup.
#[derive(Debug, Eq, PartialEq)]
pub struct WriteFile {
    /// The file; its directory must exist.
    pub path: GuestPath,
    /// All of its bytes. They may be injected by the host, so they are treated as a secret.
    pub content: Secret,
    /// The mode of a new file.
    pub mode: FileMode,
    /// What becomes of the mode of a file that exists; its owner and label are kept in any case.
    pub existing: ExistingMode,
}

/// What becomes of the mode of a file that is replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExistingMode {
    /// It keeps its mode.
    Keep,
    /// It gets the mode of a new file, because a tool ignores the file otherwise.
    Replace,
}

/// A program of the guest with everything that it is given. It never goes through a shell.
#[derive(Debug, Eq, PartialEq)]
pub struct Program {
    /// The program, by absolute path or by a name that is looked up in the agent's fixed path, then its arguments.
    /// No secret: every local user can read them.
    pub argv: Vec<String>,
    /// Variables beside the agent's fixed, minimal environment.
    pub environment: Vec<(String, String)>,
    /// What it reads from its standard input; nothing if `None`.
    pub stdin: Option<Secret>,
    /// After this time the program and its children are killed.
    pub timeout: Duration,
    /// The exit codes that count as success.
    pub accept: Vec<i32>,
}

impl Program {
    /// A program without input that succeeds with exit code 0.
    pub fn new<A: Into<String>>(argv: impl IntoIterator<Item = A>, timeout: Duration) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            stdin: None,
            timeout,
            accept: alloc::vec![0],
        }
    }

    /// The command line for messages: the arguments, joined by blanks.
    #[must_use]
    pub fn command_line(&self) -> String {
        self.argv.join(" ")
    }
}

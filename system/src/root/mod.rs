//! The guest's file system, or a directory that stands for it.
//!
//! Every path of the guest is looked up here, component by component and relative to open directories, so that neither
//! `..` nor a symlink, absolute or swapped in meanwhile, leads out of a sandbox.

mod walk;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nova_agent_core::effect::GuestPath;
use rustix::fs::{Mode, OFlags, Stat};

pub(crate) use self::walk::{Access, Directory, LastSymlink, Located, file_type};
use crate::file_error::FileError;
use crate::sandbox::{EFFECTS_FILE, Record, STAND_INS};

/// The largest list of effects. Delete the file to continue.
const EFFECTS_LEN_MAX: u64 = 64 * 1024 * 1024;

/// Where the guest's file system is.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    base: PathBuf,
    sandbox: bool,
    /// The user who may own the directories above a file that is written, besides root.
    user: u32,
    group: u32,
}

impl Root {
    /// The file system of the machine that this process runs on.
    ///
    /// # Errors
    /// If the root directory cannot be opened.
    pub fn guest() -> io::Result<Self> {
        Self::open(PathBuf::from("/"), false)
    }

    /// A directory that stands for the guest's file system. Nothing outside of it is changed.
    ///
    /// # Errors
    /// If it is not a directory that can be opened.
    pub fn sandbox(directory: &Path) -> io::Result<Self> {
        Self::open(directory.canonicalize()?, true)
    }

    /// Whether this is a sandbox, where no program of the guest runs and the kernel's state is left alone.
    #[must_use]
    pub fn is_sandbox(&self) -> bool {
        self.sandbox
    }

    /// Where a path of the guest is for this process, with all symlinks resolved; the last component need not exist. For
    /// paths that a trusted user configured and no other user can change: symlinks may appear between this call and the use.
    ///
    /// # Errors
    /// If a directory on the way does not exist or cannot be opened.
    pub fn resolve(&self, path: &GuestPath) -> io::Result<PathBuf> {
        let place = self.place(path, LastSymlink::Follow, Access::Read)?;
        Ok(self.base.join(place.path().trim_start_matches('/')))
    }

    /// Appends one line to the list of what a sandbox did not do.
    pub(crate) fn record(&self, effect: &Record<'_>) -> Result<(), FileError> {
        let mut line = serde_json::to_vec(effect).map_err(|error| {
            FileError::io("describe an effect for", EFFECTS_FILE)(io::Error::from(error))
        })?;
        line.push(b'\n');
        let flags =
            OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(
            &self.directory,
            EFFECTS_FILE,
            flags,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(FileError::io("open", EFFECTS_FILE))?;
        let stat = rustix::fs::fstat(&file).map_err(FileError::io("look at", EFFECTS_FILE))?;
        if u64::try_from(stat.st_size).is_ok_and(|len| len >= EFFECTS_LEN_MAX) {
            return Err(FileError::refused(format!(
                "{EFFECTS_FILE} is larger than {EFFECTS_LEN_MAX} bytes"
            )));
        }
        // A single write, so that lines of several threads do not mix.
        File::from(file)
            .write_all(&line)
            .map_err(FileError::io("write", EFFECTS_FILE))
    }

    /// The executable that a sandbox has in place of the program `name`.
    pub(crate) fn stand_in(&self, name: &str) -> Option<PathBuf> {
        let usable =
            self.sandbox && !name.is_empty() && !matches!(name, "." | "..") && !name.contains('/');
        let path = self
            .base
            .join(STAND_INS)
            .join(OsStr::from_bytes(name.as_bytes()));
        (usable && path.is_file() && rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_ok())
            .then_some(path)
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Whether the owner of a directory is root, or the tester who owns the sandbox.
    pub(crate) fn trusts_owner(&self, stat: &Stat) -> bool {
        stat.st_uid == 0 || (self.sandbox && stat.st_uid == self.user)
    }

    /// Returns the mode bits of a directory that let others than its owner write into it.
    fn foreign_write_bits(&self, stat: &Stat) -> Mode {
        // A tester with a private group and umask 002 has a sandbox full of group-writable directories.
        let own_group = self.sandbox && self.user != 0 && stat.st_gid == self.group;
        if own_group {
            Mode::WOTH
        } else {
            Mode::WGRP | Mode::WOTH
        }
    }

    fn open(base: PathBuf, sandbox: bool) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&base, flags, Mode::empty())?;
        let user = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        Ok(Self {
            directory,
            base,
            sandbox,
            user,
            group,
        })
    }
}

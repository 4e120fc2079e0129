//! From the root directory to a path, one component after the other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nova_agent_core::effect::GuestPath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Root;
use crate::file_error::FileError;

/// How many symlinks a path may lead through (Linux `include/linux/namei.h`, `MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// What a path is looked up for, which decides whether the directories on the way are checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Access {
    /// Accepts any directory.
    Read,
    /// Requires that each directory and symlink belongs to root, and that no other user can replace what is in it.
    Write,
}

/// What to do with a symlink in the last component.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LastSymlink {
    /// Returns the place that it leads to.
    Follow,
    /// Returns the place of the symlink itself.
    Keep,
}

/// An open directory of the guest.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    /// Its path without symlinks.
    path: String,
    shared: bool,
}

impl Directory {
    /// The path of an entry, for messages.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    pub(crate) fn path(&self) -> &str {
        if self.path.is_empty() {
            "/"
        } else {
            &self.path
        }
    }

    /// Whether other users may create files in it.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    pub(crate) fn stat(&self, name: &str) -> Result<Stat, FileError> {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.entry_error("look at", name, errno))
    }

    pub(crate) fn read_link(&self, name: &str) -> Result<String, FileError> {
        let target = rustix::fs::readlinkat(&self.fd, name, Vec::new())
            .map_err(|errno| self.entry_error("read the symlink", name, errno))?;
        target
            .into_string()
            .map_err(|_| FileError::refused(format!("symlink {} is not UTF-8", self.path_of(name))))
    }

    /// Returns the error for a failed system call on an entry.
    pub(crate) fn entry_error(&self, action: &'static str, name: &str, errno: Errno) -> FileError {
        match errno {
            Errno::NOENT | Errno::NOTDIR => FileError::Missing {
                path: self.path_of(name),
            },
            errno => FileError::io(action, self.path_of(name))(errno),
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A place for a file: an open directory, and a name in it that may or may not exist.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) directory: Directory,
    pub(crate) name: String,
}

impl Located {
    /// The path without symlinks on the way, for messages.
    pub(crate) fn path(&self) -> String {
        self.directory.path_of(&self.name)
    }

    pub(crate) fn stat(&self) -> Result<Stat, FileError> {
        self.directory.stat(&self.name)
    }
}

impl Root {
    /// Opens the directory that holds `path`.
    pub(crate) fn place(
        &self,
        path: &GuestPath,
        last: LastSymlink,
        access: Access,
    ) -> Result<Located, FileError> {
        let mut walk = Walk::new(self, path, access)?;
        loop {
            let Some(name) = walk.pending.pop() else {
                return Err(FileError::refused(format!("{path} is a directory")));
            };
            if !walk.pending.is_empty() || name == ".." {
                walk.enter(name)?;
                continue;
            }
            let directory = walk.directory()?;
            match directory.read_link(&name) {
                Ok(target) if last == LastSymlink::Follow => {
                    walk.follow(&directory, &name, &target)?
                }
                Ok(_) | Err(_) => return Ok(Located { directory, name }),
            }
        }
    }

    /// Opens a directory. A symlink in the last component is followed.
    pub(crate) fn directory(
        &self,
        path: &GuestPath,
        access: Access,
    ) -> Result<Directory, FileError> {
        let mut walk = Walk::new(self, path, access)?;
        while let Some(name) = walk.pending.pop() {
            walk.enter(name)?;
        }
        walk.directory()
    }
}

/// A walk that has come to the last of `entered`.
struct Walk<'a> {
    root: &'a Root,
    access: Access,
    root_shared: bool,
    /// Below the root, each of them checked.
    entered: Vec<Entered>,
    /// The next component is the last one.
    pending: Vec<String>,
    links: usize,
}

struct Entered {
    name: String,
    fd: OwnedFd,
    shared: bool,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Root, path: &GuestPath, access: Access) -> Result<Self, FileError> {
        let mut walk = Self {
            root,
            access,
            root_shared: false,
            entered: Vec::new(),
            pending: Vec::new(),
            links: 0,
        };
        walk.root_shared = walk.check(root.directory.as_fd(), "/")?;
        walk.push(path.as_str());
        Ok(walk)
    }

    fn enter(&mut self, name: String) -> Result<(), FileError> {
        if name == ".." {
            // The parent of the root is the root.
            self.entered.pop();
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(self.fd(), &name, flags, Mode::empty()) {
            Ok(fd) => {
                let shared = self.check(fd.as_fd(), &format!("{}/{name}", self.path()))?;
                self.entered.push(Entered { name, fd, shared });
                Ok(())
            }
            // The systems disagree about the error for a symlink here.
            Err(Errno::LOOP | Errno::NOTDIR | Errno::MLINK) => {
                let directory = self.directory()?;
                let Ok(target) = directory.read_link(&name) else {
                    return Err(FileError::Missing {
                        path: format!("directory {}", directory.path_of(&name)),
                    });
                };
                self.follow(&directory, &name, &target)
            }
            Err(Errno::NOENT) => Err(FileError::Missing {
                path: format!("directory {}/{name}", self.path()),
            }),
            Err(errno) => Err(FileError::io("open", format!("{}/{name}", self.path()))(
                errno,
            )),
        }
    }

    fn follow(&mut self, directory: &Directory, name: &str, target: &str) -> Result<(), FileError> {
        self.links = self.links.saturating_add(1);
        if self.links > LINKS_MAX {
            return Err(FileError::refused(format!(
                "too many symlinks on the way to {}",
                directory.path_of(name)
            )));
        }
        if self.access == Access::Write && !self.root.trusts_owner(&directory.stat(name)?) {
            return Err(FileError::refused(format!(
                "symlink {} is not owned by root",
                directory.path_of(name)
            )));
        }
        if target.starts_with('/') {
            self.entered.clear();
        }
        self.push(target);
        Ok(())
    }

    fn push(&mut self, path: &str) {
        self.pending.extend(
            path.rsplit('/')
                .filter(|name| !matches!(*name, "" | "."))
                .map(String::from),
        );
    }

    fn directory(&self) -> Result<Directory, FileError> {
        let path = self.path();
        let fd = self
            .fd()
            .try_clone_to_owned()
            .map_err(FileError::io("open", &path))?;
        let shared = self
            .entered
            .last()
            .map_or(self.root_shared, |entered| entered.shared);
        Ok(Directory { fd, path, shared })
    }

    /// Refuses a directory in which another user could replace our file. Returns whether other users may at least create
    /// files.
    fn check(&self, fd: BorrowedFd<'_>, path: &str) -> Result<bool, FileError> {
        if self.access == Access::Read {
            return Ok(false);
        }
        let stat = rustix::fs::fstat(fd).map_err(FileError::io("look at", path))?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        if !self.root.trusts_owner(&stat) {
            return Err(FileError::refused(format!(
                "directory {path} is not owned by root"
            )));
        }
        let shared = mode.intersects(self.root.foreign_write_bits(&stat));
        if shared && !mode.contains(Mode::SVTX) {
            return Err(FileError::refused(format!(
                "directory {path} is writable for others than root"
            )));
        }
        Ok(shared)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.entered
            .last()
            .map_or_else(|| self.root.directory.as_fd(), |entered| entered.fd.as_fd())
    }

    fn path(&self) -> String {
        self.entered
            .iter()
            .flat_map(|entered| ["/", &entered.name])
            .collect()
    }
}

/// What an entry is, without following a symlink.
pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

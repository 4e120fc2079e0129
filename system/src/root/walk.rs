//! From the root directory to a path, one component after the other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nova_agent_core::effect::GuestPath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Root;
use crate::trouble::Trouble;

/// How many symlinks a path may lead through (Linux `include/linux/namei.h`, `MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// Whether the directories on the way are checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trust {
    /// Any directory will do: for reading.
    Any,
    /// Each directory and symlink belongs to root, and nobody else may put something in its place: for writing.
    Required,
}

/// Whether a symlink in the last component is followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Follow {
    No,
    Yes,
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

    pub(crate) fn stat(&self, name: &str) -> Result<Stat, Trouble> {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.trouble("look at", name, errno))
    }

    pub(crate) fn read_link(&self, name: &str) -> Result<String, Trouble> {
        let target = rustix::fs::readlinkat(&self.fd, name, Vec::new())
            .map_err(|errno| self.trouble("read the symlink", name, errno))?;
        target
            .into_string()
            .map_err(|_| Trouble::refused(format!("symlink {} is not UTF-8", self.path_of(name))))
    }

    /// What a failed system call on an entry means.
    pub(crate) fn trouble(&self, action: &'static str, name: &str, errno: Errno) -> Trouble {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Trouble::Missing {
                path: self.path_of(name),
            },
            errno => Trouble::io(action, self.path_of(name))(errno),
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

    pub(crate) fn stat(&self) -> Result<Stat, Trouble> {
        self.directory.stat(&self.name)
    }
}

impl Root {
    /// Opens the directory that holds `path`.
    pub(crate) fn place(
        &self,
        path: &GuestPath,
        follow: Follow,
        trust: Trust,
    ) -> Result<Located, Trouble> {
        let mut walk = Walk::new(self, path, trust)?;
        loop {
            let Some(name) = walk.pending.pop() else {
                return Err(Trouble::refused(format!("{path} is a directory")));
            };
            if !walk.pending.is_empty() || name == ".." {
                walk.enter(name)?;
                continue;
            }
            let directory = walk.directory()?;
            match directory.read_link(&name) {
                Ok(target) if follow == Follow::Yes => walk.follow(&directory, &name, &target)?,
                Ok(_) | Err(_) => return Ok(Located { directory, name }),
            }
        }
    }

    /// Opens a directory. A symlink in the last component is followed.
    pub(crate) fn directory(&self, path: &GuestPath, trust: Trust) -> Result<Directory, Trouble> {
        let mut walk = Walk::new(self, path, trust)?;
        while let Some(name) = walk.pending.pop() {
            walk.enter(name)?;
        }
        walk.directory()
    }
}

/// A walk that has come to the last of `entered`.
struct Walk<'a> {
    root: &'a Root,
    trust: Trust,
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
    fn new(root: &'a Root, path: &GuestPath, trust: Trust) -> Result<Self, Trouble> {
        let mut walk = Self {
            root,
            trust,
            root_shared: false,
            entered: Vec::new(),
            pending: Vec::new(),
            links: 0,
        };
        walk.root_shared = walk.check(root.directory.as_fd(), "/")?;
        walk.push(path.as_str());
        Ok(walk)
    }

    fn enter(&mut self, name: String) -> Result<(), Trouble> {
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
                    return Err(Trouble::Missing {
                        path: format!("directory {}", directory.path_of(&name)),
                    });
                };
                self.follow(&directory, &name, &target)
            }
            Err(Errno::NOENT) => Err(Trouble::Missing {
                path: format!("directory {}/{name}", self.path()),
            }),
            Err(errno) => Err(Trouble::io("open", format!("{}/{name}", self.path()))(
                errno,
            )),
        }
    }

    fn follow(&mut self, directory: &Directory, name: &str, target: &str) -> Result<(), Trouble> {
        self.links = self.links.saturating_add(1);
        if self.links > LINKS_MAX {
            return Err(Trouble::refused(format!(
                "too many symlinks on the way to {}",
                directory.path_of(name)
            )));
        }
        if self.trust == Trust::Required && !self.root.trusts_owner(&directory.stat(name)?) {
            return Err(Trouble::refused(format!(
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

    fn directory(&self) -> Result<Directory, Trouble> {
        let path = self.path();
        let fd = self
            .fd()
            .try_clone_to_owned()
            .map_err(Trouble::io("open", &path))?;
        let shared = self
            .entered
            .last()
            .map_or(self.root_shared, |entered| entered.shared);
        Ok(Directory { fd, path, shared })
    }

    /// Refuses a directory in which somebody else could put another file in the place of ours; tells whether others may
    /// at least create files.
    fn check(&self, fd: BorrowedFd<'_>, path: &str) -> Result<bool, Trouble> {
        if self.trust == Trust::Any {
            return Ok(false);
        }
        let stat = rustix::fs::fstat(fd).map_err(Trouble::io("look at", path))?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        if !self.root.trusts_owner(&stat) {
            return Err(Trouble::refused(format!(
                "directory {path} is not owned by root"
            )));
        }
        let shared = mode.intersects(self.root.foreign_write_bits(&stat));
        if shared && !mode.contains(Mode::SVTX) {
            return Err(Trouble::refused(format!(
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

//! The guest as the renderers see it: a snapshot that notes what is not in it yet.
//!
//! A renderer asks for what it needs, where it needs it. What has not been probed looks missing and is noted; the result
//! of such a run is thrown away, and the run is repeated when the questions are answered. So no renderer has a list of
//! probes that must be kept in step with what it reads.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

use super::error::NotEditable;
use super::text::decode;
use crate::effect::{
    DirectoryEntry, EntryKind, Expectation, FileState, GuestPath, InterfaceState, Kernel, Probe,
    Snapshot,
};
use crate::network::{Interface, NetworkConfig};

/// The most files of one directory that are looked into. A server has a handful, systemd brings two dozen.
pub(super) const FILES_MAX: usize = 256;

/// The most symlinks followed from one path.
const SYMLINKS_MAX: usize = 4;

/// Only what is below this directory is written through a symlink.
const ETC: &str = "/etc/";

static MISSING: FileState = FileState::Missing;

/// A snapshot and the questions that it does not answer.
#[derive(Debug)]
pub(super) struct Guest<'a> {
    snapshot: &'a Snapshot,
    unanswered: RefCell<BTreeSet<Probe>>,
}

impl<'a> Guest<'a> {
    pub(super) const fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            unanswered: RefCell::new(BTreeSet::new()),
        }
    }

    /// What was asked for in vain so far. If there is anything, no other result counts.
    pub(super) fn unanswered(&self) -> Vec<Probe> {
        self.unanswered.borrow().iter().cloned().collect()
    }

    /// What is at a path, without following a symlink.
    pub(super) fn file(&self, path: &GuestPath) -> &'a FileState {
        let found = self.snapshot.files.get(path);
        found.unwrap_or_else(|| {
            self.note(Probe::File(path.clone()));
            &MISSING
        })
    }

    /// Whether something is at a path.
    pub(super) fn exists(&self, path: &GuestPath) -> bool {
        *self.file(path) != FileState::Missing
    }

    /// Returns whether something is at any of the paths, and asks about all of them.
    pub(super) fn exists_any(&self, paths: &[GuestPath]) -> bool {
        paths.iter().filter(|path| self.exists(path)).count() > 0
    }

    /// Returns whether something is at each of the paths, and asks about all of them.
    pub(super) fn exists_all(&self, paths: &[GuestPath]) -> bool {
        paths.iter().filter(|path| self.exists(path)).count() == paths.len()
    }

    /// Returns the content of a regular file, decoded as Latin-1: one character per byte.
    pub(super) fn text(&self, path: &GuestPath) -> Option<String> {
        match self.file(path) {
            FileState::Regular { content, .. } => Some(decode(content)),
            FileState::Directory
            | FileState::Missing
            | FileState::Other
            | FileState::Symlink { .. }
            | FileState::TooLarge { .. }
            | FileState::Unreadable { .. } => None,
        }
    }

    /// What a symlink points to; `None` for anything else.
    pub(super) fn link_target(&self, path: &GuestPath) -> Option<&'a str> {
        match self.file(path) {
            FileState::Symlink { target } => Some(target),
            FileState::Directory
            | FileState::Missing
            | FileState::Other
            | FileState::Regular { .. }
            | FileState::TooLarge { .. }
            | FileState::Unreadable { .. } => None,
        }
    }

    /// The file to edit for a path: the path itself, or below `/etc` what a symlink leads to.
    ///
    /// # Errors
    /// Refuses if there is something that cannot be edited.
    pub(super) fn editable(
        &self,
        path: &GuestPath,
    ) -> Result<(GuestPath, Option<String>), NotEditable> {
        let mut at = path.clone();
        for _ in 0..=SYMLINKS_MAX {
            match self.file(&at) {
                FileState::Missing if at == *path => return Ok((at, None)),
                FileState::Missing => return Err(NotEditable::DanglingSymlink(path.clone())),
                FileState::Regular { content, .. } => return Ok((at, Some(decode(content)))),
                FileState::Symlink { target } => {
                    at = resolve(&at, target)
                        .filter(|target| target.as_str().starts_with(ETC))
                        .ok_or_else(|| NotEditable::SymlinkOutOfEtc(path.clone()))?;
                }
                FileState::Directory | FileState::Other => {
                    return Err(NotEditable::NotRegular(at));
                }
                FileState::TooLarge { size } => {
                    let size = *size;
                    return Err(NotEditable::TooLarge { path: at, size });
                }
                FileState::Unreadable { reason } => {
                    let reason = reason.clone();
                    return Err(NotEditable::Unreadable { path: at, reason });
                }
            }
        }
        Err(NotEditable::TooManySymlinks(path.clone()))
    }

    /// What a directory holds; nothing if it does not exist.
    pub(super) fn entries(&self, directory: &GuestPath) -> &'a [DirectoryEntry] {
        match self.snapshot.directories.get(directory) {
            Some(entries) => entries,
            None => {
                self.note(Probe::Directory(directory.clone()));
                &[]
            }
        }
    }

    /// The names in a directory, sorted.
    pub(super) fn names(&self, directory: &GuestPath) -> Vec<&'a str> {
        let mut names: Vec<&str> = self
            .entries(directory)
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        names.sort_unstable();
        names
    }

    /// Returns the names of the files in a directory that are wanted, sorted, and no more than [`FILES_MAX`].
    ///
    /// Symlinks are among them: nothing tells yet where they lead.
    pub(super) fn list(
        &self,
        directory: &GuestPath,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<&'a str> {
        let mut names: Vec<&str> = self
            .entries(directory)
            .iter()
            .filter(|entry| entry.kind != EntryKind::Directory)
            .map(|entry| entry.name.as_str())
            .filter(|name| wanted(name))
            .collect();
        names.sort_unstable();
        names.truncate(FILES_MAX);
        names
    }

    /// Where a program is.
    pub(super) fn program(&self, name: &str) -> Option<&'a GuestPath> {
        match self.snapshot.programs.get(name) {
            Some(path) => path.as_ref(),
            None => {
                self.note(Probe::Program(name.to_string()));
                None
            }
        }
    }

    /// The running kernel; `None` only if that was not asked yet.
    pub(super) fn kernel(&self) -> Option<&'a Kernel> {
        if self.snapshot.kernel.is_none() {
            self.note(Probe::Kernel);
        }
        self.snapshot.kernel.as_ref()
    }

    /// The interfaces.
    pub(super) fn interfaces(&self) -> &'a [InterfaceState] {
        match &self.snapshot.interfaces {
            Some(interfaces) => interfaces,
            None => {
                self.note(Probe::Interfaces);
                &[]
            }
        }
    }

    /// The state of one interface.
    pub(super) fn interface(&self, name: &str) -> Option<&'a InterfaceState> {
        self.interfaces()
            .iter()
            .find(|interface| interface.name == name)
    }

    /// Returns whether the guest has a physical interface that a configuration does not name.
    pub(super) fn has_others(&self, config: &NetworkConfig) -> bool {
        self.interfaces()
            .iter()
            .any(|other| other.physical && config.interface(&other.name).is_none())
    }

    /// Returns whether an interface has the MAC address that the host gave it, as far as the kernel tells. An address
    /// that was changed by hand is not the one that a network stack looks for.
    pub(super) fn address_unchanged(&self, interface: &Interface) -> bool {
        self.interface(interface.name.as_str())
            .and_then(|state| state.mac)
            .is_none_or(|mac| mac == interface.mac)
    }

    /// Whether the kernel shows anything else than what is expected.
    pub(super) fn unmet(&self, expectation: &Expectation) -> bool {
        for probe in Expectation::probes()
            .into_iter()
            .filter(|probe| !self.snapshot.answers(probe))
        {
            self.note(probe);
        }
        expectation.unmet(self.snapshot).is_some()
    }

    fn note(&self, probe: Probe) {
        self.unanswered.borrow_mut().insert(probe);
    }
}

/// Where a symlink at `path` leads, by the words alone; `None` if it leads above the root.
pub(super) fn resolve(path: &GuestPath, target: &str) -> Option<GuestPath> {
    let start = if target.starts_with('/') {
        GuestPath::ROOT
    } else {
        path.parent()?
    };
    let mut parts: Vec<&str> = start
        .as_str()
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    GuestPath::try_from(format!("/{}", parts.join("/"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(files: &[(&str, FileState)]) -> Snapshot {
        let files = files
            .iter()
            .map(|(path, state)| (GuestPath::try_from(*path).unwrap(), state.clone()))
            .collect();
        Snapshot {
            files,
            ..Snapshot::default()
        }
    }

    fn symlink(target: &str) -> FileState {
        FileState::Symlink {
            target: target.into(),
        }
    }

    #[test]
    fn what_is_not_answered_is_noted_once() {
        let snapshot = Snapshot::default();
        let guest = Guest::new(&snapshot);
        let path = GuestPath::constant("/etc/hosts");
        assert!(!guest.exists(&path));
        assert_eq!(guest.text(&path), None);
        assert_eq!(
            guest.names(&GuestPath::constant("/etc")),
            Vec::<&str>::new()
        );
        assert_eq!(
            guest.unanswered(),
            [
                Probe::Directory(GuestPath::constant("/etc")),
                Probe::File(path)
            ]
        );
    }

    #[test]
    fn symlinks_are_followed_inside_etc_only() {
        let regular = FileState::Regular {
            content: b"x".to_vec(),
            mode: crate::effect::FileMode::PUBLIC,
        };
        let snapshot = snapshot(&[
            ("/etc/a", symlink("sub/../b")),
            ("/etc/b", regular),
            ("/etc/out", symlink("../run/x")),
            ("/etc/gone", symlink("nothing")),
            ("/etc/nothing", FileState::Missing),
            ("/etc/loop", symlink("loop")),
        ]);
        let guest = Guest::new(&snapshot);
        let editable = |path: &'static str| guest.editable(&GuestPath::constant(path));
        assert_eq!(
            editable("/etc/a"),
            Ok((GuestPath::constant("/etc/b"), Some("x".into())))
        );
        assert_eq!(
            editable("/etc/nothing"),
            Ok((GuestPath::constant("/etc/nothing"), None))
        );
        let at = GuestPath::constant;
        for (path, refusal) in [
            ("/etc/out", NotEditable::SymlinkOutOfEtc(at("/etc/out"))),
            ("/etc/gone", NotEditable::DanglingSymlink(at("/etc/gone"))),
            ("/etc/loop", NotEditable::TooManySymlinks(at("/etc/loop"))),
        ] {
            assert_eq!(editable(path), Err(refusal));
        }
        assert!(guest.unanswered().is_empty());
    }
}

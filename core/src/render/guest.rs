//! The guest as the renderers see it: a snapshot that records what is missing in it.
//!
//! A renderer asks for what it needs, where it needs it. What has not been probed looks missing and
//! is recorded; the result of such a run is discarded, and the run is repeated when the probes are
//! answered. So no renderer has a list of probes that must be kept in step with what it reads.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

use super::error::NotEditable;
use super::text::decode;
use crate::effect::{
    DirectoryEntry, EntryKind, FileState, GuestPath, InterfaceState, Kernel, Probe, Snapshot,
};
use crate::network::{Interface, NetworkConfig};
use crate::plan::Expectation;

/// The most files of one directory that are read. A server has a handful, systemd ships two dozen.
pub(super) const FILES_MAX: usize = 256;

/// The most symlinks followed from one path.
const SYMLINKS_MAX: usize = 4;

/// A symlink is followed for writing only if its target is below this directory.
const ETC: &str = "/etc/";

static MISSING: FileState = FileState::Missing;

/// A snapshot and the probes that it does not answer.
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

    /// Returns the probes that were needed but not answered. If there are any, every other result
    /// is discarded.
    pub(super) fn unanswered(&self) -> Vec<Probe> {
        self.unanswered.borrow().iter().cloned().collect()
    }

    /// Returns what is at a path, without following a symlink.
    pub(super) fn file(&self, path: &GuestPath) -> &'a FileState {
        let found = self.snapshot.files.get(path);
        found.unwrap_or_else(|| {
            self.note(Probe::File(path.clone()));
            &MISSING
        })
    }

    /// Returns whether anything is at a path.
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

    /// Returns the target of a symlink; `None` for anything else.
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

    /// Returns the file to edit for a path and its text: the path itself, or the target of a
    /// symlink below `/etc`.
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

    /// Returns the entries of a directory; none if it does not exist.
    pub(super) fn entries(&self, directory: &GuestPath) -> &'a [DirectoryEntry] {
        match self.snapshot.directories.get(directory) {
            Some(entries) => entries,
            None => {
                self.note(Probe::Directory(directory.clone()));
                &[]
            }
        }
    }

    /// Returns the names in a directory, sorted.
    pub(super) fn names(&self, directory: &GuestPath) -> Vec<&'a str> {
        let mut names: Vec<&str> = self
            .entries(directory)
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        names.sort_unstable();
        names
    }

    /// Returns the sorted names of the files in a directory that `wanted` accepts, at most
    /// [`FILES_MAX`].
    ///
    /// Symlinks count as files, because their targets are not known yet.
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

    /// Returns the path of a program.
    pub(super) fn program(&self, name: &str) -> Option<&'a GuestPath> {
        match self.snapshot.programs.get(name) {
            Some(path) => path.as_ref(),
            None => {
                self.note(Probe::Program(name.to_string()));
                None
            }
        }
    }

    /// Returns the running kernel; `None` only if it has not been probed yet.
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

    /// Returns the state of one interface.
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

    /// Returns whether an interface has the MAC address that the host gave it, as far as the kernel
    /// shows. An address that was changed by hand would not match in the configuration of a network
    /// stack.
    pub(super) fn address_unchanged(&self, interface: &Interface) -> bool {
        self.interface(interface.name.as_str())
            .and_then(|state| state.mac)
            .is_none_or(|mac| mac == interface.mac)
    }

    /// Returns whether the kernel's state differs from the expected one.
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

/// Resolves a symlink at `path` lexically; `None` if it leads above the root.
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

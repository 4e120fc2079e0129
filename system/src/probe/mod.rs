//! Answers the core's probes of the guest, without changing anything.

mod addresses;
mod await_interfaces;
#[cfg(target_os = "freebsd")]
mod freebsd;
mod routes;
mod sysfs;

use std::sync::Arc;
use std::time::Instant;

use nova_agent_core::effect::{
    DirectoryEntry, EntryKind, FileState, GuestPath, InterfaceState, Kernel, Probe, Snapshot,
};
use rustix::fs::{Dir, FileType};

use self::await_interfaces::AwaitInterfaces;
pub(crate) use self::await_interfaces::IgnoredVifs;
use crate::file_error::FileError;
use crate::files::{self, Present, first_line};
use crate::hostname::Hostname;
use crate::pending::{Pending, Started};
use crate::programs;
use crate::root::{Access, Directory, LastSymlink, Root, file_type};

/// The most entries of a directory that are listed.
const ENTRIES_MAX: usize = 4096;

/// Starts to answer probes, once the interfaces are ready if the probes ask for them.
pub(crate) fn start(
    root: &Root,
    hostname: &Arc<Hostname>,
    ignored: &Arc<IgnoredVifs>,
    probes: Vec<Probe>,
) -> Started {
    let pending = AwaitInterfaces::new(probes, Arc::clone(hostname), Arc::clone(ignored));
    Box::new(pending).advance(root, Instant::now())
}

/// Answers at once, without waiting for interfaces.
pub(crate) fn answer(root: &Root, hostname: &Hostname, probes: Vec<Probe>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for probe in probes {
        match probe {
            Probe::Directory(path) => {
                let entries = entries(root, &path);
                snapshot.directories.insert(path, entries);
            }
            Probe::File(path) => {
                let state = file(root, &path);
                snapshot.files.insert(path, state);
            }
            Probe::Kernel => snapshot.kernel = Some(kernel(root, hostname)),
            Probe::Interfaces => snapshot.interfaces = Some(interfaces(root)),
            Probe::Routes => snapshot.routes = Some(routes::routes(root)),
            Probe::Program(name) => {
                let path = programs::find(root, &name);
                snapshot.programs.insert(name, path);
            }
        }
    }
    snapshot
}

fn file(root: &Root, path: &GuestPath) -> FileState {
    if *path == GuestPath::ROOT {
        return FileState::Directory;
    }
    let present = match root.place(path, LastSymlink::Keep, Access::Read) {
        Ok(place) => files::look(&place.directory, &place.name),
        Err(error) => Err(error),
    };
    match present {
        Ok(Present::Missing) | Err(FileError::Missing { .. }) => FileState::Missing,
        Ok(Present::Other(FileType::Directory)) => FileState::Directory,
        Ok(Present::Other(_)) => FileState::Other,
        Ok(Present::Regular(file, stat)) => match files::read_bounded(file) {
            Ok(Some(content)) => FileState::Regular {
                content,
                mode: files::mode_of(&stat),
            },
            Ok(None) => FileState::TooLarge {
                size: u64::try_from(stat.st_size).unwrap_or_default(),
            },
            Err(error) => FileState::Unreadable {
                reason: error.to_string(),
            },
        },
        Ok(Present::Symlink(target)) => FileState::Symlink { target },
        Err(error @ (FileError::Io { .. } | FileError::Refused(_))) => FileState::Unreadable {
            reason: error.to_string(),
        },
    }
}

fn entries(root: &Root, path: &GuestPath) -> Vec<DirectoryEntry> {
    let Ok(directory) = root.directory(path, Access::Read) else {
        return Vec::new();
    };
    let mut entries: Vec<DirectoryEntry> = names(&directory)
        .into_iter()
        .filter_map(|name| {
            Some(DirectoryEntry {
                kind: entry_kind(&directory, &name)?,
                name,
            })
        })
        .collect();
    entries.sort_unstable();
    entries
}

fn entry_kind(directory: &Directory, name: &str) -> Option<EntryKind> {
    let stat = directory.stat(name).ok()?;
    let kind = file_type(&stat);
    Some(if kind.is_dir() {
        EntryKind::Directory
    } else if kind.is_file() {
        EntryKind::File
    } else if kind.is_symlink() {
        EntryKind::Symlink
    } else {
        EntryKind::Other
    })
}

/// Returns the names in a directory that are UTF-8, in no order; empty if it cannot be listed.
fn names(directory: &Directory) -> Vec<String> {
    let Ok(entries) = Dir::read_from(directory) else {
        return Vec::new();
    };
    let names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str().ok().map(String::from))
        .filter(|name| !matches!(name.as_str(), "." | ".."))
        .take(ENTRIES_MAX)
        .collect();
    if names.len() == ENTRIES_MAX {
        tracing::warn!(
            directory = directory.path(),
            "only the first {ENTRIES_MAX} entries are listed"
        );
    }
    names
}

/// Returns what uname(2) returns. A sandbox may name another kernel where Linux shows its own, and is FreeBSD if that system's own
/// tool is there.
fn kernel(root: &Root, hostname: &Hostname) -> Kernel {
    const SYSTEM: GuestPath = GuestPath::constant("/proc/sys/kernel/ostype");
    const RELEASE: GuestPath = GuestPath::constant("/proc/sys/kernel/osrelease");
    const FREEBSD: GuestPath = GuestPath::constant("/bin/freebsd-version");

    let uname = rustix::system::uname();
    let mut system = uname.sysname().to_string_lossy().into_owned();
    let mut release = uname.release().to_string_lossy().into_owned();
    if root.is_sandbox() {
        if file(root, &FREEBSD) != FileState::Missing {
            system = String::from("FreeBSD");
        }
        system = first_line(root, &SYSTEM).unwrap_or(system);
        release = first_line(root, &RELEASE).unwrap_or(release);
    }
    Kernel {
        system,
        release,
        hostname: hostname.current(root),
    }
}

fn interfaces(root: &Root) -> Vec<InterfaceState> {
    #[cfg(target_os = "freebsd")]
    let mut interfaces = if root.is_sandbox() {
        sysfs::interfaces(root)
    } else {
        freebsd::interfaces()
    };
    #[cfg(not(target_os = "freebsd"))]
    let mut interfaces = sysfs::interfaces(root);
    if !root.is_sandbox() {
        addresses::add(root, &mut interfaces);
    }
    interfaces
}

//! Guests in memory that answer probes, and what may be written into them. The fuzz targets use it, too.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod lines;
pub(crate) mod systems;

use std::collections::BTreeMap;

use nova_agent_core::effect::{
    Change, DirectoryEntry, EntryKind, FileMode, FileState, GuestPath, InterfaceState, Kernel,
    Probe, RouteState, Snapshot,
};
use nova_agent_core::plan::Plan;
use nova_agent_core::render::{HostData, Prepared, reset_network};

/// No guest needs more rounds of questions.
const ROUNDS_MAX: usize = 12;

/// A guest that answers probes.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) files: BTreeMap<GuestPath, File>,
    pub(crate) hostname: String,
    pub(crate) interfaces: Vec<InterfaceState>,
    pub(crate) kernel: String,
    pub(crate) routes: Vec<RouteState>,
    pub(crate) programs: BTreeMap<String, GuestPath>,
}

impl Guest {
    /// Prepares a reset of the network.
    pub(crate) fn prepare(&self, data: &HostData) -> Prepared {
        self.ask(&|snapshot| reset_network(data, snapshot))
    }

    /// Asks until nothing is missing, as a driver does.
    pub(crate) fn ask(&self, prepare: &dyn Fn(&Snapshot) -> Prepared) -> Prepared {
        let mut snapshot = Snapshot::default();
        for _ in 0..ROUNDS_MAX {
            match prepare(&snapshot) {
                Prepared::Missing(probes) => {
                    for probe in probes {
                        assert!(!snapshot.answers(&probe), "{probe:?} is asked twice");
                        snapshot.merge(self.answer(probe));
                    }
                }
                done => return done,
            }
        }
        prepare(&snapshot)
    }

    /// The answer to one question.
    pub(crate) fn answer(&self, probe: Probe) -> Snapshot {
        let mut snapshot = Snapshot::default();
        match probe {
            Probe::Directory(path) => {
                let below = format!("{path}/");
                let names: BTreeMap<&str, EntryKind> = self
                    .files
                    .iter()
                    .filter_map(|(file, state)| {
                        let rest = file.as_str().strip_prefix(&below)?;
                        Some(match (rest.split_once('/'), state) {
                            (Some((directory, _)), _) => (directory, EntryKind::Directory),
                            (None, File::Regular(_)) => (rest, EntryKind::File),
                            (None, File::Symlink(_)) => (rest, EntryKind::Symlink),
                        })
                    })
                    .collect();
                let entries = names.into_iter().map(|(name, kind)| DirectoryEntry {
                    name: name.into(),
                    kind,
                });
                snapshot.directories.insert(path, entries.collect());
            }
            Probe::File(path) => {
                let below = format!("{path}/");
                let state = match self.files.get(&path) {
                    Some(File::Regular(content)) => FileState::Regular {
                        content: content.clone(),
                        mode: mode(&path),
                    },
                    Some(File::Symlink(target)) => FileState::Symlink {
                        target: target.clone(),
                    },
                    None if self
                        .files
                        .keys()
                        .any(|file| file.as_str().starts_with(&below)) =>
                    {
                        FileState::Directory
                    }
                    None => FileState::Missing,
                };
                snapshot.files.insert(path, state);
            }
            Probe::Kernel => {
                let (system, hostname) = (self.kernel.clone(), self.hostname.clone());
                snapshot.kernel = Some(Kernel {
                    system,
                    release: "5.10.0".into(),
                    hostname,
                });
            }
            Probe::Routes => snapshot.routes = Some(self.routes.clone()),
            Probe::Interfaces => snapshot.interfaces = Some(self.interfaces.clone()),
            Probe::Program(name) => {
                let path = self.programs.get(&name).cloned();
                snapshot.programs.insert(name, path);
            }
        }
        snapshot
    }
}

/// These directories hold what is for root alone.
fn mode(path: &GuestPath) -> FileMode {
    let private = ["/etc/NetworkManager/system-connections/", "/etc/netplan/"];
    if private
        .iter()
        .any(|directory| path.as_str().starts_with(directory))
    {
        FileMode::PRIVATE
    } else {
        FileMode::PUBLIC
    }
}

/// A file of a tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum File {
    Regular(Vec<u8>),
    Symlink(String),
}

impl std::fmt::Display for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Regular(content) => f.write_str(&String::from_utf8_lossy(content)),
            Self::Symlink(target) => writeln!(f, "-> {target}"),
        }
    }
}

/// Makes the changes of a plan in a tree; programs and the kernel are not part of it.
pub(crate) fn apply(plan: &Plan, files: &mut BTreeMap<GuestPath, File>) {
    for step in plan.changes() {
        match step {
            Change::RemoveFile { path } => {
                assert!(files.remove(path).is_some(), "{path} does not exist")
            }
            Change::WriteFile(write) => {
                files.insert(
                    write.path.clone(),
                    File::Regular(write.content.expose().to_vec()),
                );
            }
            Change::Symlink { path, target } => {
                files.insert(path.clone(), File::Symlink(target.clone()));
            }
            Change::Run(_) | Change::SetHostname(_) | Change::MakeDirectory { .. } => {}
            Change::RemoveDirectory { .. }
            | Change::RestoreFile { .. }
            | Change::SetPassword { .. } => {
                panic!("no renderer plans {step:?}")
            }
        }
    }
}

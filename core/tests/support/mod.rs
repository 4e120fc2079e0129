//! Guests that answer probes from a tree of files, and the host's side of a case.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nova_agent_core::effect::{
    DirectoryEntry, EntryKind, FileMode, FileState, GuestPath, InterfaceState, Kernel, Probe, RouteState, Snapshot,
    Step,
};
use nova_agent_core::network::{Hostname, MacAddr};
use nova_agent_core::plan::Plan;
use nova_agent_core::render::{HostData, Prepared, reset_network};
use serde_json::Value;

/// No guest needs more rounds of questions.
pub(crate) const ROUNDS_MAX: usize = 12;

/// What the host wrote into Xenstore.
pub(crate) struct Host {
    pub(crate) data: HostData,
}

impl Host {
    pub(crate) fn read(case: &Path) -> Self {
        let networking = match fs::read_dir(case.join("input/networking")) {
            Ok(entries) => entries
                .map(|entry| entry.unwrap())
                .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
                .collect(),
            Err(_) => Vec::new(),
        };
        let json = guest_json(case);
        let vifs = json["vifs"].as_array().into_iter().flatten();
        let vifs = (0..).zip(vifs.map(|mac| mac.as_str().unwrap().to_string())).collect();
        Self { data: HostData { hostname: fs::read(case.join("input/hostname")).ok(), networking, vifs } }
    }

    pub(crate) fn hostname(&self) -> Option<String> {
        let name = String::from_utf8(self.data.hostname.clone()?).unwrap().trim().to_string();
        Hostname::try_from(name.as_str()).is_ok().then_some(name)
    }
}

/// A guest that answers probes.
pub(crate) struct Guest {
    pub(crate) files: BTreeMap<GuestPath, File>,
    pub(crate) hostname: String,
    pub(crate) interfaces: Vec<InterfaceState>,
    pub(crate) kernel: String,
    pub(crate) routes: Vec<RouteState>,
    pub(crate) programs: BTreeMap<String, GuestPath>,
}

impl Guest {
    pub(crate) fn read(case: &Path, tree: &str) -> Self {
        let json = guest_json(case);
        let text = |value: &Value| value.as_str().map(ToString::to_string);
        let interfaces = json["interfaces"].as_array().expect("interfaces in guest.json").iter().map(|interface| {
            let addresses = interface["addresses"].as_array().into_iter().flatten().map(|address| {
                let (address, prefix_len) = address.as_str().unwrap().split_once('/').unwrap();
                (address.parse().unwrap(), prefix_len.parse().unwrap())
            });
            InterfaceState {
                name: text(&interface["name"]).expect("name of an interface"),
                mac: interface["mac"].as_str().map(|mac| MacAddr::try_from(mac).unwrap()),
                physical: interface["physical"].as_bool().unwrap_or_else(|| interface["mac"].is_string()),
                vif: interface["vif"].as_u64().map(|vif| u32::try_from(vif).unwrap()),
                master: text(&interface["master"]),
                driver: text(&interface["driver"]),
                up: interface["up"].as_bool().unwrap_or(true),
                addresses: addresses.collect(),
            }
        });
        let programs = json["programs"].as_array().into_iter().flatten().map(|path| {
            let path = GuestPath::try_from(path.as_str().unwrap()).unwrap();
            (path.name().to_string(), path)
        });
        Self {
            files: read_tree(&case.join(tree)),
            hostname: text(&json["hostname"]).expect("hostname in guest.json"),
            interfaces: interfaces.collect(),
            routes: Vec::new(),
            kernel: text(&json["kernel"]).unwrap_or_else(|| "Linux".into()),
            programs: programs.collect(),
        }
    }

    /// The guest when the plan has been carried out.
    pub(crate) fn afterwards(case: &Path, host: &Host) -> Self {
        let mut guest = Self::read(case, "expected");
        if let Some(name) = host.hostname() {
            guest.hostname = name;
        }
        // What the programs did is unknown, as it is on a system that does not tell addresses.
        guest.interfaces.iter_mut().for_each(|interface| interface.addresses.clear());
        guest
    }

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

    fn answer(&self, probe: Probe) -> Snapshot {
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
                let entries = names.into_iter().map(|(name, kind)| DirectoryEntry { name: name.into(), kind });
                snapshot.directories.insert(path, entries.collect());
            }
            Probe::File(path) => {
                let below = format!("{path}/");
                let state = match self.files.get(&path) {
                    Some(File::Regular(content)) => FileState::Regular { content: content.clone(), mode: mode(&path) },
                    Some(File::Symlink(target)) => FileState::Symlink { target: target.clone() },
                    None if self.files.keys().any(|file| file.as_str().starts_with(&below)) => FileState::Directory,
                    None => FileState::Missing,
                };
                snapshot.files.insert(path, state);
            }
            Probe::Kernel => {
                let (system, hostname) = (self.kernel.clone(), self.hostname.clone());
                snapshot.kernel = Some(Kernel { system, release: "5.10.0".into(), hostname });
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

/// A repository does not keep modes, and these directories hold what is for root alone.
fn mode(path: &GuestPath) -> FileMode {
    let private = ["/etc/NetworkManager/system-connections/", "/etc/netplan/"];
    if private.iter().any(|directory| path.as_str().starts_with(directory)) {
        FileMode::PRIVATE
    } else {
        FileMode::PUBLIC
    }
}

fn guest_json(case: &Path) -> Value {
    let path = case.join("input/guest.json");
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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

pub(crate) fn read_tree(root: &Path) -> BTreeMap<GuestPath, File> {
    let mut files = BTreeMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let guest_path = format!("/{}", path.strip_prefix(root).unwrap().to_str().unwrap());
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            let file = if kind.is_dir() {
                pending.push(path);
                continue;
            } else if kind.is_symlink() {
                File::Symlink(fs::read_link(&path).unwrap().to_str().unwrap().into())
            } else {
                File::Regular(fs::read(&path).unwrap())
            };
            files.insert(GuestPath::try_from(guest_path).unwrap(), file);
        }
    }
    files
}

pub(crate) fn write_tree(root: &Path, files: &BTreeMap<GuestPath, File>) {
    for (path, file) in files {
        let path = root.join(path.as_str().trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match file {
            File::Regular(content) => fs::write(&path, content).unwrap(),
            File::Symlink(target) => symlink(target, &path).unwrap(),
        }
    }
}

/// Makes the changes of a plan in a tree; programs and the kernel are not part of it.
pub(crate) fn apply(plan: &Plan, files: &mut BTreeMap<GuestPath, File>) {
    for step in plan.changes() {
        match step {
            Step::RemoveFile { path } => assert!(files.remove(path).is_some(), "{path} does not exist"),
            Step::WriteFile(write) => {
                files.insert(write.path.clone(), File::Regular(write.content.expose().to_vec()));
            }
            Step::Symlink { path, target } => {
                files.insert(path.clone(), File::Symlink(target.clone()));
            }
            Step::Run(_) | Step::SetHostname(_) | Step::MakeDirectory { .. } => {}
            Step::RemoveDirectory { .. } | Step::RestoreFile { .. } | Step::SetPassword { .. } => {
                panic!("no renderer plans {step:?}")
            }
        }
    }
}

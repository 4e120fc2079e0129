//! A guest in memory: files, programs that succeed, a password.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use nova_agent_core::effect::{
    Change, DirectoryEntry, Done, Effect, EntryKind, ExistingMode, Failure, FileMode, FileState,
    GuestPath, InterfaceState, Kernel, Outcome, Probe, Snapshot, WriteFile,
};
use nova_agent_core::secret::Secret;

/// A guest that carries effects out on itself.
#[derive(Debug)]
pub struct Guest {
    files: BTreeMap<GuestPath, File>,
    /// What changes of files have replaced, by where it is kept.
    backups: BTreeMap<GuestPath, File>,
    hostname: String,
    passwords: Vec<Secret>,
    /// The programs that were run, each as one line.
    runs: Vec<String>,
    /// How long a program takes.
    program_takes: Duration,
    /// What the kernel shows of the first interface, whatever programs do; unknown if empty.
    kernel_shows: Vec<(IpAddr, u8)>,
    /// What the next random bytes are made of.
    entropy: u8,
}

/// What is at a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum File {
    /// A directory.
    Directory,
    /// A file with its content.
    Regular(Vec<u8>, FileMode),
    /// A link with its target.
    Symlink(String),
}

impl Guest {
    /// A Debian guest with the two interfaces of [`Server::two_networks`](crate::host::Server::two_networks).
    #[must_use]
    pub fn debian() -> Self {
        let mut guest = Self {
            files: BTreeMap::new(),
            backups: BTreeMap::new(),
            hostname: "before".into(),
            passwords: Vec::new(),
            runs: Vec::new(),
            program_takes: Duration::ZERO,
            kernel_shows: Vec::new(),
            entropy: 0,
        };
        for (path, content) in [
            ("/etc/debian_version", "12.5\n"),
            ("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"),
            (
                "/etc/network/interfaces",
                "auto lo\niface lo inet loopback\n",
            ),
            ("/etc/hosts", "127.0.0.1\tlocalhost\n"),
            ("/etc/hostname", "before\n"),
            ("/sbin/ifup", ""),
            ("/sbin/ifdown", ""),
        ] {
            guest.put(path, File::Regular(content.into(), FileMode::PUBLIC));
        }
        guest.put("/root", File::Directory);
        guest
    }

    /// Sets how long every program takes from now on.
    pub const fn set_program_takes(&mut self, time: Duration) {
        self.program_takes = time;
    }

    /// Sets the addresses that the first interface has from now on, whatever programs do.
    pub fn set_kernel_shows(&mut self, addresses: &[(IpAddr, u8)]) {
        self.kernel_shows = addresses.to_vec();
    }

    /// The content of a file, if there is one.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match self.files.get(&guest_path(path))? {
            File::Regular(content, _) => Some(content),
            File::Directory | File::Symlink(_) => None,
        }
    }

    /// All files.
    #[must_use]
    pub const fn files(&self) -> &BTreeMap<GuestPath, File> {
        &self.files
    }

    /// The hostname.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Every password that was set, in order.
    #[must_use]
    pub fn passwords(&self) -> Vec<&[u8]> {
        self.passwords.iter().map(Secret::expose).collect()
    }

    /// The programs that were run, each as one line.
    #[must_use]
    pub fn runs(&self) -> &[String] {
        &self.runs
    }

    /// Carries an effect out; returns how long that takes, and what comes of it.
    pub(super) fn perform(&mut self, effect: Effect) -> (Duration, Outcome) {
        match effect {
            Effect::Entropy { len } => {
                self.entropy = self.entropy.wrapping_add(1);
                let bytes = (1..=len).map(|nth| {
                    self.entropy
                        .wrapping_mul(31)
                        .wrapping_add(nth.to_le_bytes()[0])
                });
                (
                    Duration::ZERO,
                    Outcome::Entropy(Secret::new(bytes.collect())),
                )
            }
            Effect::Probe(probes) => {
                let mut snapshot = Snapshot::default();
                for probe in probes {
                    self.answer(probe, &mut snapshot);
                }
                (Duration::ZERO, Outcome::Probed(snapshot))
            }
            Effect::Change(step) => {
                let takes = if matches!(step, Change::Run(_)) {
                    self.program_takes
                } else {
                    Duration::ZERO
                };
                (takes, self.step(step))
            }
        }
    }

    fn step(&mut self, step: Change) -> Outcome {
        let undo = match step {
            Change::MakeDirectory { path, .. }
                if self.files.contains_key(&path) || !self.directory(&path).is_empty() =>
            {
                None
            }
            Change::MakeDirectory { path, .. } => {
                self.files.insert(path.clone(), File::Directory);
                Some(Change::RemoveDirectory { path })
            }
            Change::RemoveDirectory { path } => {
                if self.directory(&path).is_empty() {
                    self.files.remove(&path);
                }
                None
            }
            Change::RemoveFile { path } => self.replace(path, None),
            Change::RestoreFile { path, backup } => {
                let Some(file) = self.backups.get(&backup) else {
                    return Outcome::Failed(Failure::Io("there is no such backup".into()));
                };
                self.files.insert(path, file.clone());
                None
            }
            Change::Run(program) => {
                self.runs.push(program.command_line());
                None
            }
            Change::SetHostname(name) => Some(Change::SetHostname(std::mem::replace(
                &mut self.hostname,
                name,
            ))),
            Change::SetPassword { password, .. } => {
                self.passwords.push(password);
                None
            }
            Change::Symlink { path, target } => self.replace(path, Some(File::Symlink(target))),
            Change::WriteFile(WriteFile {
                path,
                content,
                mode,
                existing,
            }) => {
                let mode = match self.files.get(&path) {
                    Some(File::Regular(_, kept)) if existing == ExistingMode::Keep => *kept,
                    Some(_) | None => mode,
                };
                self.replace(path, Some(File::Regular(content.expose().into(), mode)))
            }
        };
        Outcome::Done(Done { undo })
    }

    /// Puts a file in place of another, or of nothing; returns what brings that one back.
    fn replace(&mut self, path: GuestPath, file: Option<File>) -> Option<Change> {
        if self.files.get(&path) == file.as_ref() {
            return None;
        }
        let old = match file {
            Some(file) => self.files.insert(path.clone(), file),
            None => self.files.remove(&path),
        };
        let Some(old) = old else {
            return Some(Change::RemoveFile { path });
        };
        let backup = guest_path(&format!(
            "/var/lib/nova-agent/backup/{}{path}",
            self.backups.len()
        ));
        self.backups.insert(backup.clone(), old);
        Some(Change::RestoreFile { path, backup })
    }

    fn answer(&self, probe: Probe, snapshot: &mut Snapshot) {
        match probe {
            Probe::Directory(path) => {
                let entries = self.directory(&path);
                snapshot.directories.insert(path, entries);
            }
            Probe::File(path) => {
                let state = match self.files.get(&path) {
                    Some(File::Directory) => FileState::Directory,
                    Some(File::Regular(content, mode)) => FileState::Regular {
                        content: content.clone(),
                        mode: *mode,
                    },
                    Some(File::Symlink(target)) => FileState::Symlink {
                        target: target.clone(),
                    },
                    None if self.directory(&path).is_empty() => FileState::Missing,
                    None => FileState::Directory,
                };
                snapshot.files.insert(path, state);
            }
            Probe::Kernel => {
                let hostname = self.hostname.clone();
                snapshot.kernel = Some(Kernel {
                    system: "Linux".into(),
                    release: "6.1.0".into(),
                    hostname,
                });
            }
            // What the kernel knows cannot be told here.
            Probe::Routes => snapshot.routes = Some(Vec::new()),
            Probe::Interfaces => snapshot.interfaces = Some(interfaces(&self.kernel_shows)),
            Probe::Program(name) => {
                let path = guest_path(&format!("/sbin/{name}"));
                let found = self.files.contains_key(&path).then_some(path);
                snapshot.programs.insert(name, found);
            }
        }
    }

    fn directory(&self, path: &GuestPath) -> Vec<DirectoryEntry> {
        let below = format!("{}/", path.as_str().trim_end_matches('/'));
        let mut entries = BTreeMap::new();
        for (file, state) in &self.files {
            let Some(rest) = file.as_str().strip_prefix(&below) else {
                continue;
            };
            let (name, kind) = match (rest.split_once('/'), state) {
                (Some((directory, _)), _) => (directory, EntryKind::Directory),
                (None, File::Directory) => (rest, EntryKind::Directory),
                (None, File::Regular(..)) => (rest, EntryKind::File),
                (None, File::Symlink(_)) => (rest, EntryKind::Symlink),
            };
            entries.insert(name, kind);
        }
        entries
            .into_iter()
            .map(|(name, kind)| DirectoryEntry {
                name: name.into(),
                kind,
            })
            .collect()
    }

    fn put(&mut self, path: &str, file: File) {
        self.files.insert(guest_path(path), file);
    }
}

fn interfaces(addresses_of_first: &[(IpAddr, u8)]) -> Vec<InterfaceState> {
    let interface = |(vif, mac): (u32, &str)| InterfaceState {
        name: format!("eth{vif}"),
        mac: mac.try_into().ok(),
        physical: true,
        vif: Some(vif),
        master: None,
        driver: Some("vif".into()),
        up: true,
        addresses: if vif == 0 {
            addresses_of_first.to_vec()
        } else {
            Vec::new()
        },
    };
    [(0, "bc:76:4e:20:75:72"), (1, "bc:76:4e:20:5e:fb")]
        .map(interface)
        .into()
}

fn guest_path(path: &str) -> GuestPath {
    GuestPath::try_from(path).expect("a path of a guest")
}

//! A sandbox with what tests do to it.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nova_agent_core::effect::{
    Change, Done, Effect, ExistingMode, Failure, FileMode, GuestPath, Outcome, Probe, Program,
    Snapshot, WriteFile,
};
use nova_agent_core::secret::Secret;
use nova_agent_system::runtime::{Root, System};
use nova_agent_system::sandbox::{EFFECTS_FILE, STAND_INS};

pub(crate) struct Guest {
    directory: tempfile::TempDir,
    pub(crate) system: System,
}

impl Guest {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let system = System::new(Root::sandbox(directory.path()).unwrap());
        Self { directory, system }
    }

    pub(crate) fn host(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn directory(&self, path: &str) {
        fs::create_dir_all(self.host(path)).unwrap();
    }

    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.host(path).parent().unwrap()).unwrap();
        fs::write(self.host(path), content).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        fs::create_dir_all(self.host(path).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, self.host(path)).unwrap();
    }

    pub(crate) fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.host(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// An executable that is run in place of the program. Written by another process: a descriptor open for writing in
    /// this one may be inherited by a child that another test is just starting, and keeps the file from being run.
    pub(crate) fn stand_in(&self, name: &str, script: &str) {
        self.directory(STAND_INS);
        let mut shell = Command::new("sh")
            .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
            .arg(self.host(STAND_INS).join(name))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        shell
            .stdin
            .take()
            .unwrap()
            .write_all(format!("#!/bin/sh\n{script}\n").as_bytes())
            .unwrap();
        assert!(shell.wait().unwrap().success());
    }

    pub(crate) fn step(&self, step: Change) -> Result<Option<Change>, Failure> {
        match self.system.perform(Effect::Change(step)) {
            Outcome::Done(Done { undo }) => Ok(undo),
            Outcome::Failed(failure) => Err(failure),
            other => panic!("not the outcome of a step: {other:?}"),
        }
    }

    pub(crate) fn write(&self, path: &str, content: &str) -> Result<Option<Change>, Failure> {
        self.step(write(path, content, 0o644, ExistingMode::Keep))
    }

    pub(crate) fn probe(&self, probes: Vec<Probe>) -> Snapshot {
        match self.system.perform(Effect::Probe(probes)) {
            Outcome::Probed(snapshot) => snapshot,
            other => panic!("not the outcome of a probe: {other:?}"),
        }
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.host(path)).unwrap()
    }

    pub(crate) fn mode(&self, path: &str) -> u32 {
        self.host(path).symlink_metadata().unwrap().mode() & 0o7777
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        names(&self.host(path))
    }

    /// The lines of the list of effects, as JSON.
    pub(crate) fn effects(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.host(EFFECTS_FILE)).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

pub(crate) fn path(path: &str) -> GuestPath {
    GuestPath::try_from(path).unwrap()
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::from(String::from(text))
}

pub(crate) fn write(path: &str, content: &str, mode: u16, existing: ExistingMode) -> Change {
    let path = GuestPath::try_from(path).unwrap();
    Change::WriteFile(WriteFile {
        path,
        content: secret(content),
        mode: FileMode::new(mode),
        existing,
    })
}

pub(crate) fn program(argv: &[&str], timeout: Duration) -> Program {
    Program::new(argv.iter().copied(), timeout)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

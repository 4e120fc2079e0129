//! A guest's file system for the agent to change.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::fixture::Tree;

/// Users that have nothing to do with the agent, in all the forms that the file may hold.
const SHADOW: &str = "\
# kept as it is
daemon:*:19000:0:99999:7:::
root:*:19000:0:99999:7:::
alice:$6$abcdefgh$0123456789:19500:0:99999:7::20000:
broken line
nobody:!:19000::::::";

/// A small guest below a temporary directory, which goes when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    /// A guest with what every one has.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("guest")
            .tempdir_in("/tmp")
            .expect("a temporary directory");
        let sandbox = Self { dir };
        sandbox.write("/etc/shadow", SHADOW, 0o600);
        sandbox.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644);
        sandbox.write("/etc/hostname", "before\n", 0o644);
        sandbox.directory("/root", 0o700);
        sandbox
    }

    /// A guest with just these files, where changes need not wait for a disk.
    #[must_use]
    pub fn of(tree: &Tree) -> Self {
        let mut builder = tempfile::Builder::new();
        builder.prefix("guest");
        let dir = builder
            .tempdir_in("/dev/shm")
            .or_else(|_| builder.tempdir_in("/tmp"));
        let dir = dir.expect("a temporary directory");
        tree.write(dir.path());
        Self { dir }
    }

    /// Makes it a Debian guest whose network interfaces have these addresses, with `ifupdown` to configure them.
    pub fn install_debian(&self, macs: &[&str]) {
        self.write("/etc/debian_version", "12.5\n", 0o644);
        self.write(
            "/etc/os-release",
            "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n",
            0o644,
        );
        self.write(
            "/etc/network/interfaces",
            "auto lo\niface lo inet loopback\n",
            0o644,
        );
        self.write("/etc/hosts", "127.0.0.1\tlocalhost\n", 0o644);
        for program in ["/sbin/ifup", "/sbin/ifdown", "/sbin/ifquery", "/sbin/ip"] {
            self.write(program, "", 0o755);
        }
        for (nth, mac) in macs.iter().enumerate() {
            let interface = |file: &str| format!("/sys/class/net/eth{nth}/{file}");
            self.write(
                &interface("address"),
                format!("{}\n", mac.to_lowercase()),
                0o444,
            );
            self.write(&interface("type"), "1\n", 0o444);
            self.write(&interface("flags"), "0x1003\n", 0o444);
            self.write(
                &interface("device/nodename"),
                format!("device/vif/{nth}\n"),
                0o444,
            );
        }
    }

    /// Has a program wait until [`Sandbox::release`], but not longer than `seconds`.
    pub fn hold(&self, program: &str, seconds: u32) {
        let ticks = seconds * 100;
        self.stand_in(
            program,
            &format!(
                "echo \"$0 $*\" >>held; n=0; while [ ! -e released ] && [ $n -lt {ticks} ]; do sleep 0.01; n=$((n+1)); done"
            ),
        );
    }

    /// Whether a program waits that is to be held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.exists("/held")
    }

    /// Lets every program go on that is held.
    pub fn release(&self) {
        self.write("/released", "", 0o644);
    }

    /// Where a path of the guest is.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    /// The directory that stands for the guest's root.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file with its directories.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a file has a parent")).unwrap();
        fs::write(&path, content).unwrap();
        set_mode(&path, mode);
    }

    /// Creates a directory with those above it.
    pub fn directory(&self, path: &str, mode: u32) {
        let path = self.path(path);
        fs::create_dir_all(&path).unwrap();
        set_mode(&path, mode);
    }

    /// Has a script run in place of a program. It starts in the root of the sandbox.
    pub fn stand_in(&self, program: &str, script: &str) {
        self.write(
            &format!("/stand-ins/{program}"),
            format!("#!/bin/sh\n{script}\n"),
            0o755,
        );
    }

    /// The content of a file.
    #[must_use]
    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The permission bits of what is at a path.
    #[must_use]
    pub fn mode(&self, path: &str) -> u32 {
        let metadata =
            fs::symlink_metadata(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        metadata.permissions().mode() & 0o7777
    }

    /// Whether there is something at a path.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    /// What the agent did not do because this is a sandbox: a JSON object a line.
    #[must_use]
    pub fn effects(&self) -> String {
        fs::read_to_string(self.path("/effects.jsonl")).unwrap_or_default()
    }

    /// All files below a directory.
    #[must_use]
    pub fn files(&self, path: &str) -> Vec<PathBuf> {
        let (mut files, mut directories) = (Vec::new(), vec![self.path(path)]);
        while let Some(directory) = directories.pop() {
            let Ok(entries) = fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries.map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    directories.push(entry.path())
                } else {
                    files.push(entry.path())
                }
            }
        }
        files.sort();
        files
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

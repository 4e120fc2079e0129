//! A file that is `/dev/xen/xenbus`, see `tests/xenstored/device.c`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::child::bound_to_thread;

/// A running device, which goes when this is dropped.
#[derive(Debug)]
pub struct Device {
    child: Child,
    dir: TempDir,
}

impl Device {
    /// Puts a device in front of a guest's socket, which need not be there yet.
    #[must_use]
    pub fn start(socket: &Path) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("device")
            .tempdir_in("/tmp")
            .unwrap();
        let file = dir.path().join("xenbus");
        File::create(&file).unwrap();
        let mut command =
            bound_to_thread(Path::new(env!("CARGO_MANIFEST_DIR")).join("xenstored/device"));
        command
            .arg(socket)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command.stderr(File::create(dir.path().join("log")).unwrap());
        let mut child = command.spawn().expect("sh can be run");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("standard output is a pipe"))
            .read_line(&mut ready)
            .unwrap();
        let device = Self { child, dir };
        assert_eq!(ready, "ready\n", "{}", device.complaints());
        device
    }

    /// The file, for a program that is run by [`Device::door`].
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("xenbus")
    }

    /// The command that runs another one where the file is the device.
    #[must_use]
    pub fn door(&self) -> Vec<String> {
        [
            "nsenter",
            "--mount",
            "--target",
            &self.child.id().to_string(),
            "--",
        ]
        .map(String::from)
        .into()
    }

    /// Has the next write fail.
    pub fn fail_next_write(&self) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id is positive");
        kill_process(pid, Signal::USR1).expect("the device can be signalled");
    }

    /// What the agent did that it should not do with a device.
    #[must_use]
    pub fn complaints(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

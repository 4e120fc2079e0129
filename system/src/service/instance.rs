//! One agent a guest: two would answer the same requests.

use std::fs::File;
use std::io::{Read, Seek, Write};

use nova_agent_core::effect::GuestPath;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::file_error::FileError;
use crate::files;
use crate::root::{Access, Root};

const DIRECTORY: GuestPath = GuestPath::constant("/run");

/// Where there is no `/run`, which came with systemd.
const OLD_DIRECTORY: GuestPath = GuestPath::constant("/var/run");

const NAME: &str = "nova-agent.lock";

/// The right to be the guest's only agent, until dropped or the process ends in any way.
#[derive(Debug)]
pub(crate) struct InstanceLock {
    _file: File,
}

/// Why this process must not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another agent runs.
    #[error("another nova-agent runs already: process {holder} holds {path}")]
    Held {
        /// Its process id, as far as it is known.
        holder: String,
        /// The lock file.
        path: String,
    },
    /// The lock file cannot be opened or locked.
    #[error("{0}")]
    Unavailable(String),
}

impl InstanceLock {
    /// Takes `/run/nova-agent.lock`, in a sandbox the one below it. Does not wait.
    ///
    /// # Errors
    /// [`LockError::Held`] if another agent has it, [`LockError::Unavailable`] if the system refuses.
    pub(crate) fn acquire(root: &Root) -> Result<Self, LockError> {
        Self::try_acquire(root).map_err(|error| LockError::Unavailable(error.to_string()))?
    }

    fn try_acquire(root: &Root) -> Result<Result<Self, LockError>, FileError> {
        let directory = match root.directory(&DIRECTORY, Access::Write) {
            Err(FileError::Missing { .. })
                if root.directory(&OLD_DIRECTORY, Access::Read).is_ok() =>
            {
                root.directory(&OLD_DIRECTORY, Access::Write)?
            }
            Err(FileError::Missing { .. }) => files::make_all(root, &DIRECTORY, |_| false)?,
            found => found?,
        };
        let path = directory.path_of(NAME);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let file = rustix::fs::openat(&directory, NAME, flags, mode)
            .map_err(FileError::io("open", &path))?;
        let mut file = File::from(file);
        // Never unlinked: a process that already opened it would then lock an invisible file.
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Ok(Err(LockError::Held {
                    holder: holder(&mut file),
                    path,
                }));
            }
            Err(errno) => return Err(FileError::io("lock", &path)(errno)),
        }
        write_pid(&mut file).map_err(FileError::io("write", &path))?;
        Ok(Ok(Self { _file: file }))
    }
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

fn holder(file: &mut File) -> String {
    const LEN_MAX: u64 = 16;

    let mut text = String::new();
    let is_pid =
        file.take(LEN_MAX).read_to_string(&mut text).is_ok() && text.trim().parse::<u32>().is_ok();
    if is_pid {
        text.trim().into()
    } else {
        String::from("unknown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_agent_learns_who_the_first_is() {
        let sandbox = tempfile::tempdir().unwrap();
        let root = Root::sandbox(sandbox.path()).unwrap();
        let lock = InstanceLock::acquire(&root).unwrap();
        let error = InstanceLock::acquire(&root).unwrap_err().to_string();
        let pid = std::process::id();
        assert_eq!(
            error,
            format!("another nova-agent runs already: process {pid} holds /run/nova-agent.lock")
        );
        drop(lock);
        InstanceLock::acquire(&root).unwrap();
    }

    #[test]
    fn a_lock_file_of_any_length_is_respected() {
        let sandbox = tempfile::tempdir().unwrap();
        let root = Root::sandbox(sandbox.path()).unwrap();
        let _lock = InstanceLock::acquire(&root).unwrap();
        let directory = if sandbox.path().join("run").exists() {
            "run"
        } else {
            "var/run"
        };
        let path = sandbox.path().join(directory).join("nova-agent.lock");
        for (content, holder) in [
            ("1234\n", "1234"),
            (&"7".repeat(16), "unknown"),
            (&"7".repeat(1 << 20), "unknown"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = InstanceLock::acquire(&root).unwrap_err().to_string();
            assert!(error.contains(holder), "{error}");
        }
    }

    #[test]
    fn systems_without_run_have_the_lock_in_var_run() {
        let sandbox = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(sandbox.path().join("var/run")).unwrap();
        let root = Root::sandbox(sandbox.path()).unwrap();
        let _lock = InstanceLock::acquire(&root).unwrap();
        assert!(sandbox.path().join("var/run/nova-agent.lock").is_file());
    }
}

//! The locks that `passwd(1)`, `chpasswd(8)` and their relatives take before they change `/etc/shadow`.
//!
//! There are two, and programs exist that respect only one of them: `lckpwdf(3)`, which is a POSIX record lock on
//! `/etc/.pwd.lock` (glibc; shadow-utils, pam_unix), and `/etc/shadow.lock`, a hard link to a file that holds the process id
//! (shadow-utils `lib/commonio.c`, `do_lock_file`).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, TryLockError};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::file_error::FileError;
use crate::files::Temporary;
use crate::root::Directory;

const RECORD_LOCK: &str = ".pwd.lock";
const LINK_LOCK: &str = "shadow.lock";

/// Both locks, until dropped.
#[derive(Debug)]
pub(super) struct ShadowLock<'a> {
    etc: &'a Directory,
    /// Closing it gives the record lock back.
    _record: OwnedFd,
    /// Record locks belong to the process, so they do not keep its threads apart.
    _thread: MutexGuard<'static, ()>,
}

/// The process that holds one of the locks.
#[derive(Debug)]
pub(super) struct Holder(String);

impl<'a> ShadowLock<'a> {
    /// Tries once: neither lock can be waited for with a timeout.
    pub(super) fn acquire(etc: &'a Directory) -> Result<Result<Self, Holder>, FileError> {
        static THREADS: Mutex<()> = Mutex::new(());

        let thread = match THREADS.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(Err(Holder(String::from("this one")))),
        };
        let Some(record) = record_lock(etc)? else {
            return Ok(Err(Holder(format!(
                "another process ({})",
                etc.path_of(RECORD_LOCK)
            ))));
        };
        match link_lock(etc)? {
            Some(holder) => Ok(Err(Holder(format!(
                "process {holder} ({})",
                etc.path_of(LINK_LOCK)
            )))),
            None => Ok(Ok(Self {
                etc,
                _record: record,
                _thread: thread,
            })),
        }
    }
}

impl From<Holder> for FileError {
    fn from(Holder(holder): Holder) -> Self {
        Self::refused(format!("the password file is locked by {holder}"))
    }
}

impl Drop for ShadowLock<'_> {
    fn drop(&mut self) {
        if let Err(error) = rustix::fs::unlinkat(self.etc, LINK_LOCK, AtFlags::empty()) {
            tracing::warn!(%error, path = self.etc.path_of(LINK_LOCK), "failed to remove the lock of the shadow file");
        }
    }
}

/// Takes the lock of lckpwdf(3); returns `None` if another process holds it.
fn record_lock(etc: &Directory) -> Result<Option<OwnedFd>, FileError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(etc, RECORD_LOCK, flags, Mode::RUSR | Mode::WUSR)
        .map_err(FileError::io("open", etc.path_of(RECORD_LOCK)))?;
    match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::AGAIN | Errno::ACCESS | Errno::INTR) => Ok(None),
        Err(errno) => Err(FileError::io("lock", etc.path_of(RECORD_LOCK))(errno)),
    }
}

/// Tries once. Returns who holds the lock; a lock whose holder is gone is removed.
fn link_lock(etc: &Directory) -> Result<Option<String>, FileError> {
    // Nothing depends on the name of this file; if this run is killed, the next one removes it.
    let (own, mut file) = Temporary::file(etc, LINK_LOCK)?;
    let own = own.name();
    // The NUL belongs to the format.
    file.write_all(format!("{}\0", std::process::id()).as_bytes())
        .map_err(FileError::io("write", etc.path_of(own)))?;
    let link = || rustix::fs::linkat(etc, own, etc, LINK_LOCK, AtFlags::empty());
    match link() {
        Ok(()) => return Ok(None),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(FileError::io("create", etc.path_of(LINK_LOCK))(errno)),
    }
    let Some((holder, text)) = holder(etc)? else {
        return Ok(Some(String::from("unknown")));
    };
    let is_gone = holder == rustix::process::getpid()
        || rustix::process::test_kill_process(holder) == Err(Errno::SRCH);
    if !is_gone {
        return Ok(Some(text));
    }
    // No other process replaces it meanwhile: it would have to hold the record lock.
    rustix::fs::unlinkat(etc, LINK_LOCK, AtFlags::empty())
        .map_err(FileError::io("remove", etc.path_of(LINK_LOCK)))?;
    match link() {
        Ok(()) => Ok(None),
        Err(Errno::EXIST) => Ok(Some(String::from("unknown"))),
        Err(errno) => Err(FileError::io("create", etc.path_of(LINK_LOCK))(errno)),
    }
}

/// The process in the lock file; `None` if it vanished or holds no process id.
fn holder(etc: &Directory) -> Result<Option<(Pid, String)>, FileError> {
    const LEN_MAX: u64 = 32;

    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(etc, LINK_LOCK, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(FileError::io("open", etc.path_of(LINK_LOCK))(errno)),
    };
    let mut text = Vec::new();
    file.take(LEN_MAX)
        .read_to_end(&mut text)
        .map_err(FileError::io("read", etc.path_of(LINK_LOCK)))?;
    let text = String::from_utf8_lossy(&text);
    let text = text.trim_end_matches(['\0', '\n']);
    let pid = text
        .parse::<i32>()
        .ok()
        .filter(|pid| *pid > 0)
        .and_then(Pid::from_raw);
    Ok(pid.map(|pid| (pid, text.into())))
}

/// Tests that take the lock, one after the other: it keeps the threads of a process apart.
#[cfg(test)]
pub(super) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());

    TURN.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use nova_agent_core::effect::GuestPath;

    use super::*;
    use crate::root::{Access, Root};

    fn etc(sandbox: &tempfile::TempDir) -> Directory {
        std::fs::create_dir(sandbox.path().join("etc")).unwrap();
        let root = Root::sandbox(sandbox.path()).unwrap();
        root.directory(&GuestPath::constant("/etc"), Access::Read)
            .unwrap()
    }

    #[test]
    fn a_lock_of_a_living_process_is_respected() {
        let _turn = turn();
        let sandbox = tempfile::tempdir().unwrap();
        let etc = etc(&sandbox);
        let mut holder = Command::new("sleep").arg("60").spawn().unwrap();
        std::fs::write(
            sandbox.path().join("etc/shadow.lock"),
            format!("{}\0", holder.id()),
        )
        .unwrap();
        let refused = FileError::from(ShadowLock::acquire(&etc).unwrap().unwrap_err());
        assert!(
            refused.to_string().contains(&holder.id().to_string()),
            "{refused}"
        );
        holder.kill().unwrap();
        holder.wait().unwrap();

        // The same lock once its holder is dead.
        let lock = ShadowLock::acquire(&etc).unwrap().unwrap();
        let text = std::fs::read(sandbox.path().join("etc/shadow.lock")).unwrap();
        assert_eq!(text, format!("{}\0", std::process::id()).into_bytes());
        drop(lock);
        assert!(!sandbox.path().join("etc/shadow.lock").exists());
    }

    #[test]
    fn a_lock_file_of_any_length_is_somebodys() {
        let _turn = turn();
        let sandbox = tempfile::tempdir().unwrap();
        let etc = etc(&sandbox);
        // A number of 32 digits is no process; of a longer one no more is read.
        for len in [31, 32, 33, 1 << 20] {
            std::fs::write(sandbox.path().join("etc/shadow.lock"), "1".repeat(len)).unwrap();
            let refused = FileError::from(ShadowLock::acquire(&etc).unwrap().unwrap_err());
            assert!(
                refused.to_string().contains("process unknown"),
                "{len}: {refused}"
            );
            assert!(sandbox.path().join("etc/shadow.lock").exists());
        }
    }

    #[test]
    fn a_record_lock_of_another_process_is_respected() {
        let _turn = turn();
        let sandbox = tempfile::tempdir().unwrap();
        let etc = etc(&sandbox);
        let path = sandbox.path().join("etc/.pwd.lock");
        // perl packs a struct flock only with system-dependent templates; python has lockf, which is fcntl's lock.
        let script = "import fcntl,sys\nf=open(sys.argv[1],'w')\nfcntl.lockf(f,fcntl.LOCK_EX)\nprint('locked',flush=True)\nsys.stdin.read()";
        let mut holder = Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed for this test");
        let mut line = [0; 7];
        holder
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut line)
            .unwrap();
        let refused = FileError::from(ShadowLock::acquire(&etc).unwrap().unwrap_err());
        assert!(refused.to_string().contains(".pwd.lock"), "{refused}");
        drop(holder.stdin.take());
        holder.wait().unwrap();
        assert!(ShadowLock::acquire(&etc).unwrap().is_ok());
    }
}

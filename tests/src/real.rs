//! Real Xenstore daemons with unprivileged guests, without a hypervisor; see `tests/xenstored/README.md`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::child::bound_to_thread;
use crate::client::Client;

/// How long a daemon or a guest may take to start: the first start on a machine fetches packages.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a guest may take to be restored, or to take its domain along when it ends.
const GUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Between two looks at something that reports nothing.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Which daemon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Daemon {
    /// `xenstored`, written in C.
    C,
    /// `oxenstored`, the one of `XenServer` and XCP-ng.
    Oxen,
}

/// A daemon in a directory of its own. It ends, and its directory goes, when this is dropped.
#[derive(Debug)]
pub struct RealStore {
    process: Process,
    daemon: Daemon,
    dir: TempDir,
}

impl RealStore {
    /// Starts a daemon and waits until it can be connected to.
    ///
    /// # Errors
    /// [`StartError`] says what is missing or what the daemon printed.
    pub fn start(daemon: Daemon) -> Result<Self, StartError> {
        // Not below $TMPDIR, which may be too long for a socket.
        let dir = tempfile::Builder::new().prefix("xs").tempdir_in("/tmp")?;
        let process = start_daemon(daemon, dir.path())?;
        Ok(Self {
            process,
            daemon,
            dir,
        })
    }

    /// Kills the daemon and starts it again in the same directory. No guest survives that, and no node need to.
    ///
    /// # Errors
    /// See [`Self::start`].
    pub fn restart(&mut self) -> Result<(), StartError> {
        self.process.kill();
        self.process = start_daemon(self.daemon, self.dir.path())?;
        Ok(())
    }

    /// Creates a domain, with the tree that xapi builds for it.
    ///
    /// # Errors
    /// [`StartError`] says what the guest's process printed.
    pub fn guest(&self, domid: u32, options: GuestOptions) -> Result<RealGuest, StartError> {
        RealGuest::start(self.dir.path(), domid, options)
    }

    /// The socket whose clients are dom0.
    #[must_use]
    pub fn dom0_socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// The number of the daemon's process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.child.id()
    }
}

fn start_daemon(daemon: Daemon, dir: &Path) -> Result<Process, StartError> {
    let mut command = script("start");
    command.arg(dir).arg("--daemon").arg(match daemon {
        Daemon::C => "c",
        Daemon::Oxen => "o",
    });
    command.stdout(Stdio::null());
    let mut process = Process::start(command, dir.join("daemon.log"))?;
    let socket = dir.join("socket");
    // oxenstored listens before it is ready for guests, but answers only then.
    process.wait_until(START_TIMEOUT, || {
        Client::connect(&socket).is_ok_and(|mut dom0| dom0.list("/").is_ok())
    })?;
    Ok(process)
}

/// What stands between a guest's socket and its ring.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct GuestOptions {
    /// The device.
    pub device: Device,
    /// The kernel, as far as its device behaves differently.
    pub kernel: Kernel,
}

/// A guest's way to its ring.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Device {
    /// `/dev/xen/xenbus`, for any number of clients.
    #[default]
    Linux,
    /// The bare ring, for one client at a time.
    Plain,
}

/// A Linux kernel, as far as its device behaves differently.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Kernel {
    /// Replies carry the kernel's own numbers, and an open transaction hangs a suspend.
    V4_12,
    /// An open transaction hangs a suspend.
    V4_16,
    /// Nothing of that.
    #[default]
    V6_1,
}

/// A running domain. It is destroyed when this is dropped.
#[derive(Debug)]
pub struct RealGuest {
    process: Process,
    lines: mpsc::Receiver<String>,
    socket: PathBuf,
}

impl RealGuest {
    fn start(dir: &Path, domid: u32, options: GuestOptions) -> Result<Self, StartError> {
        let mut command = script("guest");
        command.arg(dir).arg(domid.to_string());
        command.arg("--device").arg(match options.device {
            Device::Linux => "linux",
            Device::Plain => "plain",
        });
        command.arg("--kernel").arg(match options.kernel {
            Kernel::V4_12 => "4.12",
            Kernel::V4_16 => "4.16",
            Kernel::V6_1 => "6.1",
        });
        command.stdout(Stdio::piped());
        let mut process = Process::start(command, dir.join(format!("guest.{domid}.log")))?;
        let stdout = process
            .child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("the guest has no output"))?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for line in lines {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let guest = Self {
            process,
            lines,
            socket: dir.join(format!("guest.{domid}")),
        };
        guest.wait_for_line(START_TIMEOUT)?;
        Ok(guest)
    }

    /// The socket that stands for the guest's device.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Saves the domain and restores it under the next number; returns once it runs again.
    ///
    /// # Errors
    /// [`StartError`] if the restore was given up, as on kernels that an open transaction hangs.
    pub fn restore(&self) -> Result<(), StartError> {
        self.process.signal(Signal::USR1);
        self.wait_for_line(GUEST_TIMEOUT)
    }

    /// Waits for "ready" or "restored": the guest prints nothing else.
    fn wait_for_line(&self, timeout: Duration) -> Result<(), StartError> {
        self.lines
            .recv_timeout(timeout)
            .map(drop)
            .map_err(|_| self.process.failure())
    }
}

impl Drop for RealGuest {
    fn drop(&mut self) {
        self.process.signal(Signal::TERM);
        self.process.wait_for_end(GUEST_TIMEOUT);
    }
}

/// Why a real daemon or guest does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It ended, or did not get ready in time; what it printed.
    #[error("{command} does not run: {output}")]
    Failed {
        /// The program with its arguments.
        command: String,
        /// Everything it printed.
        output: String,
    },
    /// A file or a process could not be created.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where the daemons and tools are unpacked, after `setup` or the first [`RealStore::start`].
#[must_use]
pub fn cache() -> PathBuf {
    match env::var_os("NOVA_XENSTORED_CACHE") {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/xenstored"),
    }
}

/// A program of the unpacked packages, as in `bin("test-xenstore")`, with the libraries it needs.
///
/// # Errors
/// [`StartError`] if the packages cannot be fetched, or have no such program.
pub fn tool(name: &str) -> Result<Command, StartError> {
    let setup = script("setup").output()?;
    let root = cache().join("root/usr");
    let candidates = ["bin", "sbin", "lib/xen-4.17/bin"].map(|dir| root.join(dir).join(name));
    let Some(program) = candidates.into_iter().find(|path| path.exists()) else {
        let output = String::from_utf8_lossy(&setup.stderr).into_owned();
        return Err(StartError::Failed {
            command: name.into(),
            output: format!("not in the packages. {output}"),
        });
    };
    let mut libraries = OsString::new();
    for entry in fs::read_dir(root.join("lib"))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with("-linux-gnu") {
            libraries = path.into();
        }
    }
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", libraries);
    Ok(command)
}

fn script(name: &str) -> Command {
    bound_to_thread(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("xenstored")
            .join(name),
    )
}

/// A child process, killed when dropped.
#[derive(Debug)]
struct Process {
    child: Child,
    command: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose errors go to `log`.
    fn start(mut command: Command, log: PathBuf) -> Result<Self, StartError> {
        command.stdin(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn()?;
        Ok(Self {
            child,
            command: format!("{command:?}"),
            log,
        })
    }

    fn wait_until(
        &mut self,
        timeout: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> Result<(), StartError> {
        let deadline = Instant::now() + timeout;
        while !condition() {
            if self.wait_for_end(POLL_INTERVAL) || Instant::now() > deadline {
                return Err(self.failure());
            }
        }
        Ok(())
    }

    /// Whether the process ended in time.
    fn wait_for_end(&mut self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn signal(&self, signal: Signal) {
        // A child that has not been waited for keeps its number, so this hits nobody else.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// A daemon keeps nothing, and oxenstored may sleep for 20 seconds before it heeds anything gentler.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn failure(&self) -> StartError {
        let output = fs::read_to_string(&self.log).unwrap_or_default();
        StartError::Failed {
            command: self.command.clone(),
            output,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

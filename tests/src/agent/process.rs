//! The agent's process.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};

use super::Sandbox;
use crate::child::bound_to_thread;

/// How long anything may take that the agent does by itself. It takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at a process, which tells nobody of its end.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// A running agent, killed when dropped.
#[derive(Debug)]
pub struct AgentProcess {
    child: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

impl AgentProcess {
    /// Starts an agent with the last of `argv`, the others being what it is run by. Its log, which is captured, has the
    /// level that is asked for; `arguments` come last.
    #[must_use]
    pub fn start(
        argv: &[impl AsRef<OsStr>],
        xenstore: &str,
        sandbox: Option<&Sandbox>,
        log_level: &str,
        arguments: &[impl AsRef<OsStr>],
    ) -> Self {
        let (program, rest) = argv.split_first().expect("a program");
        let mut command = bound_to_thread(program);
        command.args(rest).args(["--xenstore", xenstore]);
        command.args(
            sandbox
                .into_iter()
                .flat_map(|sandbox| [OsStr::new("--sandbox"), sandbox.root().as_os_str()]),
        );
        command.args(["--log-level", log_level]).args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()));
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let log = Arc::new(Log::default());
        let reader = thread::spawn({
            let log = Arc::clone(&log);
            move || log.fill(stderr)
        });
        Self {
            child,
            log,
            reader: Some(reader),
        }
    }

    /// The number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line of the log contains `text`, and returns the first one that does.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.log
            .wait_for(text)
            .unwrap_or_else(|| panic!("no line with {text:?} in the agent's log:\n{}", self.log()))
    }

    /// Waits until the requests that were there at the start are answered.
    pub fn wait_until_ready(&self) {
        self.wait_for_line(" ready");
    }

    /// What has been logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().lines.concat()
    }

    /// Gives every socket of the agent as small a buffer as the kernel has, so that a store that does not read soon keeps
    /// it from writing.
    pub fn shrink_send_buffers(&self) {
        let pidfd = pidfd_open(self.pid(), PidfdFlags::empty()).unwrap();
        let mut sockets = 0;
        for entry in
            fs::read_dir(format!("/proc/{}/fd", self.id())).expect("Linux is needed for this test")
        {
            let entry = entry.unwrap();
            if fs::read_link(entry.path())
                .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
            {
                let number = entry.file_name().to_string_lossy().parse().unwrap();
                let socket = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).unwrap();
                set_socket_send_buffer_size(socket, 0).unwrap();
                sockets += 1;
            }
        }
        assert!(sockets > 0, "the agent has no socket");
    }

    /// How much of the processor all of its threads have used, in the kernel's ticks.
    #[must_use]
    pub fn processor_time(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))
            .expect("Linux is needed for this test");
        // Behind the name, which may hold anything: `utime` and `stime` are the 14th and 15th field of all (proc(5)).
        let (_, behind) = stat.rsplit_once(')').unwrap();
        behind
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum()
    }

    /// Stops the process for some time, but none of its children.
    pub fn pause(&self, time: Duration) {
        kill_process(self.pid(), Signal::STOP).expect("the agent can be signalled");
        thread::sleep(time);
        kill_process(self.pid(), Signal::CONT).expect("the agent can be signalled");
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        // A child that has not been waited for keeps its number, so this hits nobody else.
        kill_process(self.pid(), Signal::TERM).expect("the agent can be signalled");
    }

    /// Has it crash, and waits for the end.
    pub fn crash(&mut self, signal: Signal) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // Once is not enough for SIGSEGV: Rust's handler looks for a stack overflow, and only gives the signal its effect back.
        while self.is_running() && Instant::now() < deadline {
            kill_process(self.pid(), signal).expect("the agent can be signalled");
            thread::sleep(POLL_INTERVAL);
        }
        self.wait()
    }

    /// Whether these bytes are anywhere in the memory that it can write and has not swapped.
    #[must_use]
    pub fn remembers(&self, bytes: &[u8]) -> bool {
        let maps = fs::read_to_string(format!("/proc/{}/smaps", self.id()))
            .expect("Linux is needed for this test");
        let memory = fs::File::open(format!("/proc/{}/mem", self.id()))
            .expect("root is needed for this test");
        let mut part = None;
        maps.lines().any(|line| {
            // proc(5): `from-to rights offset device inode name`, then lines of `Name: value`.
            let mut fields = line.split_ascii_whitespace();
            let (first, second) = (
                fields.next().unwrap_or_default(),
                fields.next().unwrap_or_default(),
            );
            match first.split_once('-') {
                Some((from, to)) if second.starts_with("rw") => {
                    let [from, to] =
                        [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
                    part = Some(from..to);
                    false
                }
                Some(_) => {
                    part = None;
                    false
                }
                // Most of the stacks was never touched.
                None => {
                    first == "Rss:"
                        && second != "0"
                        && part.take().is_some_and(|part| holds(&memory, part, bytes))
                }
            }
        })
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the end and for the last line of the log.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the agent can be waited for") {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "the agent does not end; its log:\n{}",
                self.log()
            );
            thread::sleep(POLL_INTERVAL);
        };
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        status
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id is positive")
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
    }
}

/// Whether bytes are in a part of a process's memory.
fn holds(memory: &fs::File, range: Range<u64>, bytes: &[u8]) -> bool {
    const CHUNK: usize = 1 << 20;
    const PAGE: usize = 4096;

    let Some(first) = bytes.first() else {
        return true;
    };
    let mut chunk = vec![0; CHUNK + bytes.len()];
    range.step_by(CHUNK).any(|at| {
        // A part that cannot be read is one that was never touched, or belongs to a device.
        let len = memory.read_at(&mut chunk, at).unwrap_or(0);
        (0..len).step_by(PAGE).any(|start| {
            let page = &chunk[start..len.min(start + PAGE + bytes.len())];
            // Most pages are empty, and this is fast in a test that is not optimized.
            page.contains(first) && page.windows(bytes.len()).any(|window| window == bytes)
        })
    })
}

#[derive(Debug, Default)]
struct Log {
    written: Mutex<Written>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    lines: Vec<String>,
    is_complete: bool,
}

impl Log {
    fn fill(&self, source: ChildStderr) {
        let mut source = BufReader::new(source);
        loop {
            let mut line = Vec::new();
            let is_complete = !source.read_until(b'\n', &mut line).is_ok_and(|len| len > 0);
            let mut written = self.lock();
            written
                .lines
                .push(String::from_utf8_lossy(&line).into_owned());
            written.is_complete = is_complete;
            self.grown.notify_all();
            if is_complete {
                return;
            }
        }
    }

    fn wait_for(&self, text: &str) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut written = self.lock();
        let mut seen = 0;
        loop {
            if let Some(line) = written
                .lines
                .iter()
                .skip(seen)
                .find(|line| line.contains(text))
            {
                return Some(line.clone());
            }
            seen = written.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if written.is_complete || left.is_zero() {
                return None;
            }
            written = self
                .grown
                .wait_timeout(written, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

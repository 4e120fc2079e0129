//! The agent's process.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_getfd,
    pidfd_open, waitid,
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
    /// What it has logged: a file, in which a line is as soon as the agent has written it.
    log: File,
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
        let log = tempfile::tempfile().expect("there is room for a log");
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
            .stderr(log.try_clone().expect("a descriptor can be copied"));
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()));
        Self { child, log }
    }

    /// The number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line of the log contains `text`, and returns the first one that does.
    pub fn wait_for_line(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Before the look at the log, which is complete at the end.
            let is_last = self.has_ended() || Instant::now() >= deadline;
            let log = self.log();
            let mut lines = log.split_inclusive('\n');
            if let Some(line) = lines.find(|line| line.contains(text) && line.ends_with('\n')) {
                return line.into();
            }
            assert!(!is_last, "no line with {text:?} in the agent's log:\n{log}");
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until the requests that were there at the start are answered.
    pub fn wait_until_ready(&self) {
        self.wait_for_line(" ready");
    }

    /// What has been logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        // Not by the position that the agent writes at, which is the same.
        let (mut log, mut len) = (Vec::new(), 0);
        loop {
            log.resize(len + 4096, 0);
            match self.log.read_at(&mut log[len..], len as u64).unwrap() {
                0 => break,
                more => len += more,
            }
        }
        String::from_utf8_lossy(&log[..len]).into_owned()
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
        let memory =
            File::open(format!("/proc/{}/mem", self.id())).expect("root is needed for this test");
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

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the agent can be waited for") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the agent does not end; its log:\n{}",
                self.log()
            );
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Whether it has ended, without burying it.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // There is nothing to wait for if it is buried.
        waitid(WaitId::Pid(self.pid()), options).map_or(true, |status| status.is_some())
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
fn holds(memory: &File, range: Range<u64>, bytes: &[u8]) -> bool {
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

//! A running program: fed, listened to, and killed with all that it started when its time is over.
//!
//! [`Child::advance`] never waits, so that an event loop can drive it; [`Child::wait`] does, for everybody else.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nova_agent_core::effect::{Done, Failure, Outcome};
use nova_agent_core::secret::Secret;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::tail::Tail;

/// Between asking a program to end and killing it. With [`BURY`], below what the core grants for killing.
const GRACE: Duration = Duration::from_secs(2);

/// How long a killed program may take to be gone: one that waits for a dead disk never is.
const BURY: Duration = Duration::from_secs(1);

/// No program of the agent runs longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// A program of the guest that runs in a process group of its own.
///
/// Call [`Child::advance`] whenever one of [`Child::sources`] is ready or [`Child::deadline`] has passed, until it returns
/// the outcome. Dropped before, it is killed with its group.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    group: Pid,
    exit: OwnedFd,
    input: Option<Input>,
    output: Option<File>,
    tail: Tail,
    phase: Phase,
    deadline: Instant,
    /// There may be more to read, although no source will say so again.
    has_more: bool,
    accept: Vec<i32>,
    /// Must not be seen in what the program printed.
    conceal: Option<Secret>,
    is_over: bool,
}

/// What to wait for: each in level- or edge-triggered mode.
#[derive(Debug)]
pub struct Sources<'a> {
    /// Readable when the program has ended.
    pub exit: BorrowedFd<'a>,
    /// Readable when the program has printed something; `None` when nobody can print any more.
    pub output: Option<BorrowedFd<'a>>,
    /// Writable when the program can take more input; `None` when it has all.
    pub input: Option<BorrowedFd<'a>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Running,
    /// Asked to end.
    Terminating,
    /// Killed, and should be gone any moment.
    Killed,
}

#[derive(Debug)]
struct Input {
    pipe: process::ChildStdin,
    bytes: Secret,
    written: usize,
}

impl Child {
    pub(crate) fn spawn(
        mut command: Command,
        stdin: Option<Secret>,
        timeout: Duration,
        accept: Vec<i32>,
    ) -> io::Result<Self> {
        let (output, printed) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        set_nonblocking(&output)?;
        command
            .process_group(0)
            .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::from(printed.try_clone()?))
            .stderr(Stdio::from(printed));
        let mut process = command.spawn()?;
        // The command holds our copies of the ends that the program prints to.
        drop(command);

        match Self::watch(&mut process, stdin) {
            Ok((group, exit, input)) => Ok(Self {
                process,
                group,
                exit,
                input,
                output: Some(File::from(output)),
                tail: Tail::default(),
                phase: Phase::Running,
                deadline: after(Instant::now(), timeout.min(TIMEOUT_MAX)),
                has_more: false,
                accept,
                conceal: None,
                is_over: false,
            }),
            Err(error) => {
                // Nothing but this process is known of it.
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// Drops the program's output if these bytes are in it.
    pub(crate) fn conceal(&mut self, secret: Secret) {
        self.conceal = Some(secret);
    }

    /// What to wait for. The set shrinks as the program closes its ends.
    #[must_use]
    pub fn sources(&self) -> Sources<'_> {
        Sources {
            exit: self.exit.as_fd(),
            output: self.output.as_ref().map(AsFd::as_fd),
            input: self.input.as_ref().map(|input| input.pipe.as_fd()),
        }
    }

    /// When to call [`Child::advance`] even if no source is ready.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        if self.has_more { Instant::now() } else { self.deadline }
    }

    /// Does what can be done without waiting. Returns the outcome once the program is over; it is inert afterwards.
    pub fn advance(&mut self, now: Instant) -> Option<Outcome> {
        if self.is_over {
            return None;
        }
        self.feed();
        self.listen();
        if self.has_ended() {
            return Some(self.finish());
        }
        if now < self.deadline {
            return None;
        }
        match self.phase {
            Phase::Running => {
                self.signal(Signal::TERM);
                self.phase = Phase::Terminating;
                self.deadline = after(now, GRACE);
                None
            }
            Phase::Terminating => {
                self.signal(Signal::KILL);
                self.phase = Phase::Killed;
                self.deadline = after(now, BURY);
                None
            }
            Phase::Killed => {
                self.is_over = true;
                Some(Outcome::Failed(Failure::TimedOut { output: self.take_output() }))
            }
        }
    }

    /// Waits until the program is over, at most a few seconds longer than its timeout.
    #[must_use]
    pub fn wait(mut self) -> Outcome {
        loop {
            if let Some(outcome) = self.advance(Instant::now()) {
                return outcome;
            }
            if let Err(error) = self.pause() {
                // Not expected of poll(2). Dropping kills the program.
                return Outcome::Failed(Failure::Io(format!("wait for a program: {error}")));
            }
        }
    }

    /// Waits until [`Child::advance`] has something to do.
    fn pause(&self) -> io::Result<()> {
        let Sources { exit, output, input } = self.sources();
        let mut fds = vec![PollFd::from_borrowed_fd(exit, PollFlags::IN)];
        fds.extend(output.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        fds.extend(input.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)));
        // A millisecond more, as kernels round down.
        let left = self.deadline().saturating_duration_since(Instant::now()).saturating_add(Duration::from_millis(1));
        let timeout = Timespec::try_from(left).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn watch(process: &mut process::Child, stdin: Option<Secret>) -> io::Result<(Pid, OwnedFd, Option<Input>)> {
        let group = i32::try_from(process.id()).ok().and_then(Pid::from_raw).ok_or(ErrorKind::InvalidData)?;
        let exit = watch_exit(group)?;
        let input = match (process.stdin.take(), stdin) {
            (Some(pipe), Some(bytes)) => {
                set_nonblocking(&pipe)?;
                Some(Input { pipe, bytes, written: 0 })
            }
            (_, _) => None,
        };
        Ok((group, exit, input))
    }

    fn feed(&mut self) {
        while let Some(input) = &mut self.input {
            let rest = input.bytes.expose().get(input.written..).unwrap_or_default();
            match if rest.is_empty() { Ok(0) } else { input.pipe.write(rest) } {
                Ok(0) => self.input = None,
                Ok(len) => input.written = input.written.saturating_add(len),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // It does not read to the end, which is its own decision.
                Err(_) => self.input = None,
            }
        }
    }

    fn listen(&mut self) {
        /// Reads in a row, so that a program that prints without end does not keep its own timeout from being seen.
        const READS: usize = 64;

        let mut buffer = [0; 8192];
        self.has_more = false;
        for _ in 0..READS {
            let Some(output) = &mut self.output else { return };
            match output.read(&mut buffer) {
                Ok(0) => self.output = None,
                Ok(len) => self.tail.push(buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.output = None,
            }
        }
        self.has_more = self.output.is_some();
    }

    /// Whether the program is a zombie. It is left one, so that the number of its group cannot be anybody else's yet.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(rustix::process::waitid(WaitId::Pid(self.group), options), Ok(None))
    }

    fn finish(&mut self) -> Outcome {
        self.is_over = true;
        // What it printed before its end is in the pipe by now. What a daemon that it started prints later is not waited
        // for, and a daemon is left alone.
        self.listen();
        if self.phase != Phase::Running {
            self.signal(Signal::KILL);
        }
        let status = self.process.wait();
        let output = self.take_output();
        match status {
            Ok(_) if self.phase != Phase::Running => Outcome::Failed(Failure::TimedOut { output }),
            Ok(status) => self.judge(status, output),
            Err(error) => Outcome::Failed(Failure::Io(format!("wait for a program: {error}"))),
        }
    }

    fn judge(&self, status: ExitStatus, output: String) -> Outcome {
        match (status.code(), status.signal()) {
            (Some(code), _) if self.accept.contains(&code) => Outcome::Done(Done::default()),
            (Some(code), _) => Outcome::Failed(Failure::Exit { code, output }),
            (None, Some(signal)) => Outcome::Failed(Failure::Signal { signal, output }),
            (None, None) => Outcome::Failed(Failure::Io(format!("ended by {status}"))),
        }
    }

    fn take_output(&mut self) -> String {
        let text = core::mem::take(&mut self.tail).into_text();
        let shows = |secret: &Secret| {
            let secret = String::from_utf8_lossy(secret.expose());
            !secret.is_empty() && text.contains(secret.as_ref())
        };
        if self.conceal.as_ref().is_some_and(shows) { String::new() } else { text }
    }

    fn signal(&self, signal: Signal) {
        // It fails when all of the group are gone, which is what was wanted.
        let _ = rustix::process::kill_process_group(self.group, signal);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Reaped by `finish`: the number of the group may be anybody's.
        if matches!(self.process.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        self.signal(Signal::KILL);
        let pid = self.group;
        // It cannot be waited for here: a process that hangs in the kernel does not even die of this.
        let reaper = std::thread::Builder::new().name(String::from("reaper")).spawn(move || {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        });
        if let Err(error) = reaper {
            tracing::warn!(%error, "a killed program stays a zombie");
        }
    }
}

/// A descriptor that becomes readable when the process ends, which is not reaped by that.
fn watch_exit(pid: Pid) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    if let Ok(fd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        return Ok(fd);
    }
    // Linux before 5.3 and other systems: a thread that does nothing but wait closes the other end of a pipe.
    let (exit, alive) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    std::thread::Builder::new().name(String::from("exit-watch")).spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(rustix::process::waitid(WaitId::Pid(pid), options), Err(rustix::io::Errno::INTR)) {}
        drop(alive);
    })?;
    Ok(exit)
}

fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(())
}

fn after(now: Instant, timeout: Duration) -> Instant {
    now.checked_add(timeout).unwrap_or(now)
}

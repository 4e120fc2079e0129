//! A running program: its input, its output, and its end; after its timeout it is killed with all that it started.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nova_agent_core::effect::{Done, Failure, Outcome};
use nova_agent_core::secret::Secret;
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::exit::{self, ExitWatch};
use super::tail::Tail;
use crate::pending::{Interest, Pending, PendingEffect, Source, Started};
use crate::root::Root;

/// Between asking a program to end and killing it. With [`REAP_TIMEOUT`], below what the core grants for killing.
const GRACE: Duration = Duration::from_secs(2);

/// How long to wait for a killed program to exit: one that waits for a dead disk never does.
const REAP_TIMEOUT: Duration = Duration::from_secs(1);

/// No program of the agent runs longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// A program of the guest that runs in a process group of its own.
///
/// Dropped before its end, it is killed with its group.
#[derive(Debug)]
pub(super) struct Child {
    /// For the log.
    name: String,
    started: Instant,
    process: process::Child,
    group: Pid,
    exit: ExitWatch,
    input: Option<Input>,
    output: Option<File>,
    tail: Tail,
    phase: Phase,
    deadline: Instant,
    /// Since when there may be more to read, although no source will become ready again.
    has_more: Option<Instant>,
    accept: Vec<i32>,
    /// Must not be seen in what the program printed.
    conceal: Option<Secret>,
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
    /// Starts a program. What it prints is not shown if it contains `conceal`.
    pub(super) fn spawn(
        mut command: Command,
        stdin: Option<Secret>,
        conceal: Option<Secret>,
        timeout: Duration,
        accept: Vec<i32>,
    ) -> io::Result<Self> {
        exit::unignore_sigchld();
        reap();
        let (output, printed) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        set_nonblocking(&output)?;
        command
            .process_group(0)
            .stdin(if stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::from(printed.try_clone()?))
            .stderr(Stdio::from(printed));
        let name = command.get_program().to_string_lossy().into_owned();
        let mut process = command.spawn()?;
        // The command holds our copies of the ends that the program prints to.
        drop(command);

        let now = Instant::now();
        match Self::watch(&mut process, stdin) {
            Ok((group, exit, input)) => Ok(Self {
                name,
                started: now,
                process,
                group,
                exit,
                input,
                output: Some(File::from(output)),
                tail: Tail::default(),
                phase: Phase::Running,
                deadline: after(now, timeout.min(TIMEOUT_MAX)),
                // It may have ended before anybody watched.
                has_more: Some(now),
                accept,
                conceal,
            }),
            Err(error) => {
                if let Some(group) = group_of(&process) {
                    kill_and_reap_later(group);
                }
                Err(error)
            }
        }
    }

    /// Does what can be done without waiting. Returns the outcome once the program is over, and must not be called again
    /// then.
    fn proceed(&mut self, now: Instant) -> Option<Outcome> {
        self.exit.rearm();
        self.feed();
        self.listen(now);
        if self.has_ended() {
            return Some(self.finish(now));
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
                self.deadline = after(now, REAP_TIMEOUT);
                None
            }
            Phase::Killed => {
                tracing::debug!("ran {}: killed, and not gone yet", self.name);
                Some(Outcome::Failed(Failure::TimedOut {
                    output: self.take_output(),
                }))
            }
        }
    }

    fn watch(
        process: &mut process::Child,
        stdin: Option<Secret>,
    ) -> io::Result<(Pid, ExitWatch, Option<Input>)> {
        let group = group_of(process).ok_or(ErrorKind::InvalidData)?;
        let exit = ExitWatch::new(group)?;
        let input = match (process.stdin.take(), stdin) {
            (Some(pipe), Some(bytes)) => {
                set_nonblocking(&pipe)?;
                Some(Input {
                    pipe,
                    bytes,
                    written: 0,
                })
            }
            (_, _) => None,
        };
        Ok((group, exit, input))
    }

    fn feed(&mut self) {
        while let Some(input) = &mut self.input {
            let rest = input
                .bytes
                .expose()
                .get(input.written..)
                .unwrap_or_default();
            match if rest.is_empty() {
                Ok(0)
            } else {
                input.pipe.write(rest)
            } {
                Ok(0) => self.input = None,
                Ok(len) => input.written = input.written.saturating_add(len),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // It does not read to the end, which is its own decision.
                Err(_) => self.input = None,
            }
        }
    }

    fn listen(&mut self, now: Instant) {
        /// Reads in a row, so that a program that prints without end does not keep its own timeout from being seen.
        const READS: usize = 64;

        let mut buffer = [0; 8192];
        self.has_more = None;
        for _ in 0..READS {
            let Some(output) = &mut self.output else {
                return;
            };
            match output.read(&mut buffer) {
                Ok(0) => self.output = None,
                Ok(len) => self.tail.push(buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.output = None,
            }
        }
        self.has_more = self.output.is_some().then_some(now);
    }

    /// Whether the program is a zombie. It is left one, so that the number of its group cannot be anybody else's yet.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(
            rustix::process::waitid(WaitId::Pid(self.group), options),
            Ok(None)
        )
    }

    fn finish(&mut self, now: Instant) -> Outcome {
        // What it printed before its end is in the pipe by now. What a daemon that it started prints later is not waited
        // for, and a daemon is left alone.
        self.listen(now);
        if self.phase != Phase::Running {
            self.signal(Signal::KILL);
        }
        let status = self.process.wait();
        if let Ok(status) = &status {
            let (name, took) = (&self.name, now.saturating_duration_since(self.started));
            tracing::debug!("ran {name}: {status} after {} ms", took.as_millis());
        }
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
        let tail = core::mem::take(&mut self.tail);
        // The cut may have gone through the secret.
        let is_cut = tail.is_cut();
        let text = tail.into_text();
        let shows = |secret: &Secret| {
            let secret = String::from_utf8_lossy(secret.expose());
            !secret.is_empty() && (is_cut || text.contains(secret.as_ref()))
        };
        if self.conceal.as_ref().is_some_and(shows) {
            String::new()
        } else {
            text
        }
    }

    fn signal(&self, signal: Signal) {
        // It fails when all of the group are gone, which is what was wanted.
        let _ = rustix::process::kill_process_group(self.group, signal);
    }
}

impl Pending for Child {
    /// The set shrinks as the program closes its ends.
    fn sources(&self) -> Vec<Source<'_>> {
        let mut sources = vec![Source {
            fd: self.exit.as_fd(),
            interest: Interest::Read,
        }];
        sources.extend(self.output.as_ref().map(|output| Source {
            fd: output.as_fd(),
            interest: Interest::Read,
        }));
        sources.extend(self.input.as_ref().map(|input| Source {
            fd: input.pipe.as_fd(),
            interest: Interest::Write,
        }));
        sources
    }

    fn deadline(&self) -> Instant {
        self.has_more.unwrap_or(self.deadline)
    }

    fn advance(mut self: Box<Self>, _: &Root, now: Instant) -> Started {
        match self.proceed(now) {
            Some(outcome) => Started::Finished(outcome),
            None => Started::Running(PendingEffect::new(self)),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Reaped by `finish`: the number of the group may be anybody's.
        if matches!(self.process.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        kill_and_reap_later(self.group);
    }
}

/// The group of a child that leads one.
fn group_of(process: &process::Child) -> Option<Pid> {
    i32::try_from(process.id()).ok().and_then(Pid::from_raw)
}

/// Kills a group whose leader is a child that was not reaped.
fn kill_and_reap_later(group: Pid) {
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
    // Waiting here could block for ever: a process that hangs in the kernel does not even die of SIGKILL.
    KILLED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(group);
    reap();
}

/// Programs that were killed and not reaped.
static KILLED: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Reaps killed children that have exited. The rest are retried with the next program.
fn reap() {
    let options = rustix::process::WaitOptions::NOHANG;
    KILLED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|pid| matches!(rustix::process::waitpid(Some(*pid), options), Ok(None)));
}

fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(())
}

fn after(now: Instant, timeout: Duration) -> Instant {
    now.checked_add(timeout).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_program_runs_longer_than_an_hour() {
        for (asked, granted) in [
            (TIMEOUT_MAX, TIMEOUT_MAX),
            (Duration::MAX, TIMEOUT_MAX),
            (GRACE, GRACE),
        ] {
            let before = Instant::now();
            let child = Child::spawn(Command::new("true"), None, None, asked, Vec::new()).unwrap();
            assert!(
                child.deadline >= before + granted && child.deadline <= Instant::now() + granted
            );
        }
    }
}

//! The thread that carries out effects that may block, one after the other.

use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use nova_agent_core::effect::{Effect, EffectId, Outcome};
use nova_agent_system::runtime::{Started, System};

pub(crate) struct Worker {
    pub(crate) system: Arc<System>,
    tasks: Sender<(EffectId, Task)>,
    outcomes: Receiver<(EffectId, Outcome)>,
    /// Holds one byte per outcome.
    wake_reader: PipeReader,
}

/// What the thread must do.
pub(crate) enum Task {
    /// Wait for an effect that was started.
    Finish(Started),
    Perform(Effect),
}

impl Worker {
    pub(crate) fn start(system: Arc<System>) -> io::Result<Self> {
        let (tasks, queue) = mpsc::channel::<(EffectId, Task)>();
        let (finished, outcomes) = mpsc::channel();
        let (wake_reader, mut wake_writer) = io::pipe()?;
        let own = Arc::clone(&system);
        thread::Builder::new()
            .name("effects".into())
            .spawn(move || {
                for (id, task) in queue {
                    let outcome = match task {
                        Task::Finish(started) => own.finish(started),
                        Task::Perform(effect) => own.perform(effect),
                    };
                    // If the machine's thread has ended, no one waits for the outcome.
                    if finished.send((id, outcome)).is_err() || wake_writer.write_all(&[0]).is_err()
                    {
                        return;
                    }
                }
            })?;
        Ok(Self {
            system,
            tasks,
            outcomes,
            wake_reader,
        })
    }

    pub(crate) fn perform(&self, id: EffectId, task: Task) -> io::Result<()> {
        self.tasks.send((id, task)).map_err(|_| ended())
    }

    /// Returns the next outcome. Waits for it if the worker is not readable.
    pub(crate) fn take(&mut self) -> io::Result<(EffectId, Outcome)> {
        self.wake_reader.read_exact(&mut [0]).map_err(|_| ended())?;
        self.outcomes.recv().map_err(|_| ended())
    }
}

/// Readable when an effect is finished.
impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake_reader.as_fd()
    }
}

fn ended() -> io::Error {
    io::Error::other("the worker thread has ended")
}

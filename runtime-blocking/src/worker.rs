//! The thread that carries out what may take its time, one effect after the other.

use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use nova_agent_core::effect::{Effect, EffectId, Outcome};
use nova_agent_system::System;

pub(crate) struct Worker {
    system: Arc<System>,
    work: Sender<(EffectId, Effect)>,
    outcomes: Receiver<(EffectId, Outcome)>,
    /// Holds a byte for every outcome.
    bell: PipeReader,
}

impl Worker {
    pub(crate) fn start(system: Arc<System>) -> io::Result<Self> {
        let (work, queue) = mpsc::channel::<(EffectId, Effect)>();
        let (finished, outcomes) = mpsc::channel();
        let (bell, mut rope) = io::pipe()?;
        let own = Arc::clone(&system);
        thread::Builder::new().name("effects".into()).spawn(move || {
            for (id, effect) in queue {
                // The machine's thread may have left: then nobody needs to know.
                if finished.send((id, own.perform(effect))).is_err() || rope.write_all(&[0]).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { system, work, outcomes, bell })
    }

    /// On the caller's thread, which waits.
    pub(crate) fn perform_here(&self, effect: Effect) -> Outcome {
        self.system.perform(effect)
    }

    pub(crate) fn perform(&self, id: EffectId, effect: Effect) -> io::Result<()> {
        self.work.send((id, effect)).map_err(|_| ended())
    }

    /// The next outcome. Waits for it if the worker is not readable.
    pub(crate) fn take(&mut self) -> io::Result<(EffectId, Outcome)> {
        self.bell.read_exact(&mut [0]).map_err(|_| ended())?;
        self.outcomes.recv().map_err(|_| ended())
    }
}

/// Readable when an effect is finished.
impl AsFd for Worker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

fn ended() -> io::Error {
    io::Error::other("the worker thread has ended")
}

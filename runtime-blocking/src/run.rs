//! The loop: meet the driver's demands, wait, and pass to the driver what has happened.

use std::io;
use std::iter::repeat;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use nova_agent_system::runtime::{Demand, Driver, Launch, Signals, Started};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::worker::{Task, Worker};

/// Serves the host's requests until SIGTERM or SIGINT, and until everything that was begun is finished.
///
/// # Errors
/// If the system refuses a thread, or cannot wait.
pub fn run(launch: Launch, mut signals: Signals) -> io::Result<()> {
    let (mut driver, system) = launch.split();
    let mut worker = Worker::start(Arc::new(system))?;
    loop {
        let ControlFlow::Continue(deadline) = drain(&mut driver, &worker)? else {
            return Ok(());
        };
        for happened in wait(&driver, &worker, &signals, deadline)? {
            match happened {
                Happened::Completed => {
                    let (id, outcome) = worker.take()?;
                    driver.complete(id, outcome);
                }
                Happened::Signal => {
                    signals.take();
                    driver.terminate();
                }
                Happened::StoreWritable => driver.flush(),
                Happened::StoreReadable => {
                    // poll(2) returns at once if there is more.
                    let _ = driver.receive();
                }
            }
            // If this is `Break`, the next turn sees it again.
            let _ = drain(&mut driver, &worker)?;
        }
        driver.fire_timers();
    }
}

/// Meets the driver's demands until that is to wait or to exit.
fn drain(driver: &mut Driver<()>, worker: &Worker) -> io::Result<ControlFlow<(), Option<Instant>>> {
    loop {
        match driver.next_demand(|_| Ok(())) {
            Demand::Exit => return Ok(ControlFlow::Break(())),
            Demand::Perform(id, effect) if effect.waits_its_turn() => {
                worker.perform(id, Task::Perform(effect))?
            }
            Demand::Perform(id, effect) => match worker.system.start(effect) {
                Started::Finished(outcome) => driver.complete(id, outcome),
                started @ Started::Running(_) => worker.perform(id, Task::Finish(started))?,
            },
            Demand::Wait(deadline) => return Ok(ControlFlow::Continue(deadline)),
        }
    }
}

enum Happened {
    Completed,
    Signal,
    StoreReadable,
    StoreWritable,
}

/// Waits until something happens, or until the deadline.
fn wait(
    driver: &Driver<()>,
    worker: &Worker,
    signals: &Signals,
    deadline: Option<Instant>,
) -> io::Result<impl Iterator<Item = Happened> + use<>> {
    let mut fds = Vec::with_capacity(3);
    fds.push(PollFd::from_borrowed_fd(worker.as_fd(), PollFlags::IN));
    fds.push(PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN));
    if let Some((store, ())) = driver.store() {
        let write = if driver.wants_write() {
            PollFlags::OUT
        } else {
            PollFlags::empty()
        };
        fds.push(PollFd::from_borrowed_fd(store, PollFlags::IN | write));
    }
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    // A time that the system cannot express is beyond all deadlines.
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut ready = fds
        .iter()
        .map(PollFd::revents)
        .chain(repeat(PollFlags::empty()));
    let mut next = || ready.next().unwrap_or_else(PollFlags::empty);
    let (completed, signal, store) = (next(), next(), next());
    let happened = [
        (!completed.is_empty()).then_some(Happened::Completed),
        (!signal.is_empty()).then_some(Happened::Signal),
        store
            .contains(PollFlags::OUT)
            .then_some(Happened::StoreWritable),
        // The end and an error are found by reading.
        (!store.difference(PollFlags::OUT).is_empty()).then_some(Happened::StoreReadable),
    ];
    Ok(happened.into_iter().flatten())
}

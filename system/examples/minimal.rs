//! A whole runtime: one thread, poll(2), and effects that are carried out while everything else waits.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;

use nova_agent_system::cli;
use nova_agent_system::runtime::{Demand, Driver, Launch, Signals, System};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

fn main() -> ExitCode {
    cli::launch(run)
}

/// Serves the host's requests until SIGTERM or SIGINT.
fn run(launch: Launch, mut signals: Signals) -> io::Result<()> {
    let (mut driver, system) = launch.split();
    while let ControlFlow::Continue(deadline) = meet_demands(&mut driver, &system) {
        let [is_signalled, is_readable, is_writable] = wait(&driver, &signals, deadline)?;
        if is_signalled && signals.take() {
            driver.terminate();
            let _ = meet_demands(&mut driver, &system);
        }
        if is_writable {
            driver.flush();
            let _ = meet_demands(&mut driver, &system);
        }
        if is_readable {
            // One read per turn is enough: poll(2) returns at once if there is more.
            let _ = driver.receive();
            let _ = meet_demands(&mut driver, &system);
        }
        driver.fire_timers();
    }
    Ok(())
}

/// Carries effects out until there is nothing to do but wait. Breaks when the agent has finished.
fn meet_demands(driver: &mut Driver<()>, system: &System) -> ControlFlow<(), Option<Instant>> {
    loop {
        match driver.next_demand(|_| Ok(())) {
            Demand::Exit => return ControlFlow::Break(()),
            Demand::Perform(id, effect) => driver.complete(id, system.perform(effect)),
            Demand::Wait(deadline) => return ControlFlow::Continue(deadline),
        }
    }
}

/// Waits for a signal, for the store to become readable or writable, or for the deadline.
fn wait(
    driver: &Driver<()>,
    signals: &Signals,
    deadline: Option<Instant>,
) -> io::Result<[bool; 3]> {
    let mut fds = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
    if let Some((store, ())) = driver.store() {
        let mut interest = PollFlags::IN;
        interest.set(PollFlags::OUT, driver.wants_write());
        fds.push(PollFd::from_borrowed_fd(store, interest));
    }
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let signal = fds.first().map_or(PollFlags::empty(), PollFd::revents);
    let store = fds.get(1).map_or(PollFlags::empty(), PollFd::revents);
    Ok([
        !signal.is_empty(),
        // An error or the end of the connection is found by reading.
        !store.difference(PollFlags::OUT).is_empty(),
        store.contains(PollFlags::OUT),
    ])
}

//! The loop: meet the driver's demands, wait, and pass to the driver what has happened.

use std::future::{Future, poll_fn};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::{Async, Timer};
use nova_agent_core::effect::{EffectId, Outcome};
use nova_agent_system::runtime::{Demand, Driver, Launch, More, Signals, System};

use crate::effect::perform;

/// The most reads from the store per turn.
const READS_MAX: usize = 64;

/// Serves the host's requests until SIGTERM or SIGINT, and until everything that was begun is finished.
///
/// # Errors
/// If the system cannot wait for the signals.
pub async fn run(launch: Launch, signals: Signals) -> io::Result<()> {
    let signals = Async::new_nonblocking(signals)?;
    // If waiting fails, no signal could end the agent: it ends at once.
    run_until(launch, async { _ = signals.readable().await }).await;
    Ok(())
}

/// Serves the host's requests until `leave` is ready, and until everything that was begun is finished.
///
/// Dropped before, it leaves at once: a program of the guest that runs is killed, and its request stays in the store for
/// the next agent. A file that is being written is finished, and until then no other agent can start.
pub async fn run_until(launch: Launch, leave: impl Future<Output = ()>) {
    let mut agent = Agent::new(launch);
    let mut leave = pin!(leave);
    let mut is_leaving = false;
    while let ControlFlow::Continue(deadline) = agent.drain() {
        let happened = poll_fn(|context| {
            let mut happened = agent.poll_effects(context);
            if !is_leaving && leave.as_mut().poll(context).is_ready() {
                is_leaving = true;
                happened.push(Happened::Leave);
            }
            happened.extend(agent.poll_store(context));
            if happened.is_empty() && agent.poll_deadline(deadline, context).is_pending() {
                return Poll::Pending;
            }
            Poll::Ready(happened)
        })
        .await;
        for happened in happened {
            agent.tell(happened);
        }
        agent.driver.fire_timers();
    }
}

struct Agent {
    driver: Driver<Async<OwnedFd>>,
    system: Arc<System>,
    /// The effects that run, in the order in which they were demanded.
    effects: Vec<Performing>,
    timer: Timer,
    /// The time to which the timer is set.
    alarm: Option<Instant>,
}

struct Performing {
    id: EffectId,
    /// An effect that the core has given up may still be running: the next one must not overtake it.
    waits_its_turn: bool,
    outcome: Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

enum Happened {
    Completed(EffectId, Outcome),
    Leave,
    StoreReadable,
    StoreWritable,
}

impl Agent {
    fn new(launch: Launch) -> Self {
        let (driver, system) = launch.split();
        Self {
            driver,
            system: Arc::new(system),
            effects: Vec::new(),
            timer: Timer::never(),
            alarm: None,
        }
    }

    /// Meets the driver's demands until that is to wait or to exit.
    fn drain(&mut self) -> ControlFlow<(), Option<Instant>> {
        loop {
            match self.driver.next_demand(attach) {
                Demand::Exit => return ControlFlow::Break(()),
                Demand::Perform(id, effect) => {
                    let waits_its_turn = effect.waits_its_turn();
                    let outcome = Box::pin(perform(Arc::clone(&self.system), effect));
                    self.effects.push(Performing {
                        id,
                        waits_its_turn,
                        outcome,
                    });
                }
                Demand::Wait(deadline) => return ControlFlow::Continue(deadline),
            }
        }
    }

    fn tell(&mut self, happened: Happened) {
        match happened {
            Happened::Completed(id, outcome) => self.driver.complete(id, outcome),
            Happened::Leave => self.driver.terminate(),
            Happened::StoreReadable => return self.receive(),
            Happened::StoreWritable => self.driver.flush(),
        }
        // If this is `Break`, the next turn sees it again.
        let _ = self.drain();
    }

    /// Reads until nothing is left, because waiting takes more system calls than reading.
    fn receive(&mut self) {
        for _ in 0..READS_MAX {
            let more = self.driver.receive();
            let _ = self.drain();
            if more == More::Nothing {
                return;
            }
        }
    }

    /// Polls at most one effect of each kind at a time, because each occupies a thread.
    fn poll_effects(&mut self, context: &mut Context<'_>) -> Vec<Happened> {
        let mut happened = Vec::new();
        let (mut is_busy, mut is_gathering) = (false, false);
        self.effects.retain_mut(
            |Performing {
                 id,
                 waits_its_turn,
                 outcome,
             }| {
                let is_busy = if *waits_its_turn {
                    &mut is_busy
                } else {
                    &mut is_gathering
                };
                if *is_busy {
                    return true;
                }
                match outcome.as_mut().poll(context) {
                    Poll::Ready(outcome) => {
                        happened.push(Happened::Completed(*id, outcome));
                        false
                    }
                    Poll::Pending => {
                        *is_busy = true;
                        true
                    }
                }
            },
        );
        happened
    }

    fn poll_store(&self, context: &mut Context<'_>) -> Vec<Happened> {
        let Some((_, store)) = self.driver.store() else {
            return Vec::new();
        };
        let mut happened = Vec::new();
        // An error is found by reading or writing.
        if self.driver.wants_write() && store.poll_writable(context).is_ready() {
            happened.push(Happened::StoreWritable);
        }
        if store.poll_readable(context).is_ready() {
            happened.push(Happened::StoreReadable);
        }
        happened
    }

    fn poll_deadline(&mut self, deadline: Option<Instant>, context: &mut Context<'_>) -> Poll<()> {
        if self.alarm != deadline {
            self.alarm = deadline;
            match deadline {
                Some(deadline) => self.timer.set_at(deadline),
                None => self.timer = Timer::never(),
            }
        }
        Pin::new(&mut self.timer)
            .poll(context)
            .map(|_| self.alarm = None)
    }
}

/// Duplicates the descriptor: the driver closes its own right after it drops this one.
fn attach(store: BorrowedFd<'_>) -> io::Result<Async<OwnedFd>> {
    Async::new_nonblocking(store.try_clone_to_owned()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_executor_can_run_it() {
        fn assert_send<F: Future + Send>(_: impl Fn(Launch, Signals) -> F) {}

        assert_send(run);
    }
}

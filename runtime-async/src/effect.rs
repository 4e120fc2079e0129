//! Carries an effect out without blocking the executor.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::{Async, Timer};
use blocking::unblock;
use nova_agent_core::effect::{Effect, Outcome};
use nova_agent_system::runtime::{Interest, PendingEffect, Started, System};

/// Carries an effect out. Dropping the future kills the program that runs.
///
/// Calls `unblock` for what waits for the disk, and not async-std's `spawn_blocking`, which uses the same threads but would
/// start async-std's executor in a program that has another one.
pub(crate) async fn perform(system: Arc<System>, effect: Effect) -> Outcome {
    let own = Arc::clone(&system);
    let mut started = unblock(move || own.start(effect)).await;
    loop {
        match started {
            Started::Finished(outcome) => return outcome,
            Started::Running(pending) => {
                if let Err(error) = wait(&pending).await {
                    return pending.abandon(&error);
                }
                let own = Arc::clone(&system);
                started = unblock(move || own.advance(pending, Instant::now())).await;
            }
        }
    }
}

/// Waits until a source of the effect is ready or its deadline has passed.
async fn wait(pending: &PendingEffect) -> io::Result<()> {
    let mut sources = Vec::new();
    for source in pending.sources() {
        // Duplicates, because the effect closes its own descriptors at any time.
        sources.push((
            Async::new_nonblocking(source.fd.try_clone_to_owned()?)?,
            source.interest,
        ));
    }
    let mut timer = Timer::at(pending.deadline());
    poll_fn(|context| {
        for (source, interest) in &sources {
            if let Poll::Ready(ready) = poll_source(source, *interest, context) {
                return Poll::Ready(ready);
            }
        }
        Pin::new(&mut timer).poll(context).map(|_| Ok(()))
    })
    .await
}

fn poll_source(
    source: &Async<OwnedFd>,
    interest: Interest,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    match interest {
        Interest::Read => source.poll_readable(context),
        Interest::Write => source.poll_writable(context),
    }
}

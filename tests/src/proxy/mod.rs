//! A way between an agent and its store on which things go wrong: bytes come one by one, nothing comes for a while, or the
//! connection breaks in the middle of a message.
//!
//! The bytes are the real ones of both sides. Messages of both directions are counted from 0, over all connections, in
//! the order in which they arrive here.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test"
)]

mod lane;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nova_agent_core::wire::Message;
pub use nova_agent_sim::world::Sender;
use tempfile::TempDir;

/// How long anything may take that is waited for here.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running proxy; its connections break when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    dir: TempDir,
}

/// What happens to one message, after half of its bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The connection breaks.
    Cut,
    /// Nothing goes on in either direction, and nothing is read, for so long.
    Pause(Duration),
    /// The same, until [`Proxy::resume`].
    Stall,
}

impl Proxy {
    /// Starts a proxy in front of a store's socket, which need not be there yet.
    #[must_use]
    pub fn start(store: &Path) -> Self {
        // Not below $TMPDIR, which may be too long for a socket.
        let dir = tempfile::Builder::new()
            .prefix("proxy")
            .tempdir_in("/tmp")
            .unwrap();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        let shared = Arc::new(Shared::default());
        thread::spawn({
            let (shared, store) = (Arc::clone(&shared), PathBuf::from(store));
            move || accept(&listener, &store, &shared)
        });
        Self { shared, dir }
    }

    /// The socket that stands for the store's.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Has every byte come alone from now on, in both directions.
    pub fn dribble(&self) {
        self.shared.lock().dribbles = true;
    }

    /// Has the agent's bytes stay in its socket from now on, although the store gets and answers them: sooner or later the
    /// agent cannot write any more. Until [`Proxy::resume`].
    pub fn hold_back(&self) {
        self.shared.lock().holds_back = true;
    }

    /// Has something happen to the message that is the `nth` from now.
    pub fn set_fault(&self, nth: usize, fault: Fault) {
        let mut state = self.shared.lock();
        let number = state.count + nth;
        state.faults.insert(number, fault);
    }

    /// Forgets the faults that have not happened. Returns whether there were any.
    pub fn clear_faults(&self) -> bool {
        !std::mem::take(&mut self.shared.lock().faults).is_empty()
    }

    /// From now on nothing goes on in either direction, and nothing is read.
    pub fn stall(&self) {
        self.shared.lock().is_stalled = true;
    }

    /// Waits for a [`Fault::Stall`] to happen.
    pub fn wait_for_stall(&self) {
        self.shared.wait_for("a stall", |state| state.is_stalled);
    }

    /// Ends a stall, and lets the agent's bytes go that were held back.
    pub fn resume(&self) {
        self.shared.lock().holds_back = false;
        self.shared.end_stall();
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// How many messages have arrived, from both sides.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.lock().count
    }

    /// How many connections there have been.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// Keeps every message from now on.
    pub fn record(&self) {
        self.shared.lock().record = Some(Vec::new());
    }

    /// Waits until this many messages are kept, but not for longer than `timeout`. Returns the messages that are kept.
    #[must_use]
    pub fn recorded(&self, count: usize, timeout: Duration) -> Vec<(Sender, Message)> {
        let recorded = |state: &State| state.record.as_ref().map_or(0, Vec::len);
        let state = self
            .shared
            .wait_until(timeout, |state| recorded(state) >= count);
        state.record.clone().unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        self.shared.cut();
        // Wakes up whoever waits for connections.
        let _ = UnixStream::connect(self.socket());
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    dribbles: bool,
    holds_back: bool,
    is_stalled: bool,
    is_over: bool,
    /// By the number of the message.
    faults: BTreeMap<usize, Fault>,
    count: usize,
    connections: usize,
    record: Option<Vec<(Sender, Message)>>,
    /// Both ends of every connection that is not known to be over.
    open: Vec<[UnixStream; 2]>,
}

impl Shared {
    /// Counts and keeps messages. Returns what is to happen to each of them.
    fn arrived(&self, sender: Sender, messages: &[Message]) -> Vec<Option<Fault>> {
        let mut state = self.lock();
        let first = state.count;
        state.count += messages.len();
        let fates = (first..state.count)
            .map(|number| state.faults.remove(&number))
            .collect();
        if let Some(record) = &mut state.record {
            record.extend(messages.iter().map(|message| (sender, message.clone())));
        }
        drop(state);
        self.changed.notify_all();
        fates
    }

    /// Waits for the end of a stall. Returns whether every byte is to go alone.
    fn pass(&self) -> bool {
        let mut state = self.lock();
        while state.is_stalled && !state.is_over {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.dribbles
    }

    fn begin_stall(&self) {
        self.lock().is_stalled = true;
        self.changed.notify_all();
    }

    fn end_stall(&self) {
        self.lock().is_stalled = false;
        self.changed.notify_all();
    }

    fn cut(&self) {
        for stream in std::mem::take(&mut self.lock().open).iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn wait_for(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let state = self.wait_until(PATIENCE, &condition);
        assert!(
            condition(&state),
            "in vain: {what}; {} messages have passed",
            state.count
        );
    }

    fn wait_until(
        &self,
        timeout: Duration,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || condition(&state) {
                return state;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes connections until the proxy is dropped. A store that is not there is one that closes them.
fn accept(listener: &UnixListener, store: &Path, shared: &Arc<Shared>) {
    loop {
        let agent = match listener.accept() {
            Ok((agent, _)) => agent,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => panic!("the proxy cannot go on: {error}"),
        };
        if shared.lock().is_over {
            return;
        }
        let Ok(store) = UnixStream::connect(store) else {
            continue;
        };
        let mut state = shared.lock();
        state.connections += 1;
        state
            .open
            .push([agent.try_clone().unwrap(), store.try_clone().unwrap()]);
        drop(state);
        for sender in [Sender::Agent, Sender::Store] {
            let (agent, store, shared) = (
                agent.try_clone().unwrap(),
                store.try_clone().unwrap(),
                Arc::clone(shared),
            );
            thread::spawn(move || match sender {
                Sender::Agent => lane::carry(sender, &agent, &store, &shared),
                Sender::Store => lane::carry(sender, &store, &agent, &shared),
            });
        }
    }
}

#[cfg(test)]
mod tests;

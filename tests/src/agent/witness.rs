//! Somebody in dom0 who reads every response along with the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nova_agent_core::wire::ErrorName;

use crate::client::{Client, Error};

/// The node above all domains, so that a domain may change its number.
const DOMAINS: &str = "/local/domain";

/// What stands between the number of a domain and the id of a request.
const RESPONSES: &str = "/data/guest/";

/// Between two looks at whether to end, and two tries to reach a store that has gone away.
const PAUSE: Duration = Duration::from_millis(20);

/// Reads along until it is told to finish. A restart of the store only makes it connect again.
#[derive(Debug)]
pub struct Witness {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What was seen of a response.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// How often the node was written or removed.
    pub events: usize,
    /// Its contents, each once.
    pub contents: Vec<Vec<u8>>,
    /// Whether it was there when it was looked at last.
    pub exists: bool,
}

impl Seen {
    /// How often the node was written: it is removed once at most, and its id is not used again. What has an event was
    /// written: the C daemon keeps no event twice for a client, so that a witness who is late may get one for the writing
    /// and the removal.
    #[must_use]
    pub const fn writes(&self) -> usize {
        if self.exists || self.events == 1 {
            self.events
        } else {
            self.events.saturating_sub(1)
        }
    }
}

impl Witness {
    /// Starts to read what any agent in the store at `socket` answers.
    #[must_use]
    pub fn start(socket: &Path) -> Self {
        let client = watch(socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        let shared = Arc::new(Shared::default());
        let thread = thread::spawn({
            let (shared, socket) = (Arc::clone(&shared), PathBuf::from(socket));
            move || shared.read_along(client, &socket)
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Waits for the response to a request.
    ///
    /// # Errors
    /// If there is none in time.
    pub fn wait_for(&self, id: &str, timeout: Duration) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + timeout;
        let mut seen = self.shared.lock();
        loop {
            if let Some(content) = seen.get(id).and_then(|seen| seen.contents.first()) {
                return Ok(content.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("no response to {id} after {timeout:?}"));
            }
            seen = self
                .shared
                .more
                .wait_timeout(seen, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// How many requests have got a response so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.lock().len()
    }

    /// Everything that has happened until now, by request ids.
    #[must_use]
    pub fn finish(mut self) -> BTreeMap<String, Seen> {
        self.end();
        self.shared.lock().clone()
    }

    fn end(&mut self) {
        self.shared.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the witness failed");
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.end();
    }
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<BTreeMap<String, Seen>>,
    more: Condvar,
    end: AtomicBool,
}

impl Shared {
    fn read_along(&self, mut client: Client, socket: &Path) {
        loop {
            let is_last = self.end.load(Ordering::Relaxed);
            match self.read_some(&mut client, is_last) {
                _ if is_last => return,
                Ok(()) | Err(Error::TimedOut) => {}
                Err(Error::Closed | Error::Io(_)) => {
                    thread::sleep(PAUSE);
                    if let Ok(again) = watch(socket) {
                        client = again;
                    }
                }
                Err(error) => panic!("the witness cannot go on: {error}"),
            }
        }
    }

    fn read_some(&self, client: &mut Client, is_last: bool) -> Result<(), Error> {
        let mut events = Vec::new();
        if !is_last {
            events.push(client.event(PAUSE)?);
        }
        events.append(&mut client.events_so_far()?);
        for event in events {
            let path = event.path.to_string();
            let below = path
                .strip_prefix(DOMAINS)
                .and_then(|below| below.strip_prefix('/'));
            let Some((_, id)) = below.and_then(|below| below.split_once(RESPONSES)) else {
                continue;
            };
            let content = match client.read(&path) {
                Ok(content) => Some(content),
                Err(Error::Store(ErrorName::Enoent)) => None,
                Err(error) => return Err(error),
            };
            let mut all = self.lock();
            let seen = all.entry(id.into()).or_default();
            seen.events += 1;
            seen.exists = content.is_some();
            if let Some(content) = content.filter(|content| !seen.contents.contains(content)) {
                seen.contents.push(content);
            }
            self.more.notify_all();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that has seen the first event of its watch, so that everything after this is seen.
fn watch(socket: &Path) -> Result<Client, Error> {
    let mut client = Client::connect(socket)?;
    client.watch(DOMAINS, "witness")?;
    client.events_so_far()?;
    Ok(client)
}

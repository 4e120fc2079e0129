//! Who ends an agent at a system call, or has the call fail; see `tests/xenstored/saboteur.c`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::mem;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tempfile::TempDir;

use crate::real::cache;

/// How long the supervisor may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at whether it has come.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// System calls that matter, as a sum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Calls(u8);

impl Calls {
    /// None.
    pub const NONE: Self = Self(0);
    /// Those that can change files of the sandbox.
    pub const CHANGES: Self = Self(1);
    /// Those, and messages to the store: everything that anybody else can see of an agent.
    pub const VISIBLE: Self = Self(1 | 2);
    /// Those that change files or look at them.
    pub const FILES: Self = Self(1 | 4);
}

/// What happens instead of a system call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Instead {
    /// The agent dies.
    Kill,
    /// The call fails.
    Fail(Errno),
}

/// What a saboteur has to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// The system calls that are counted.
    pub calls: Calls,
    /// Which of them is not carried out, from 1; 0 for none.
    pub nth: usize,
    /// What happens instead.
    pub instead: Instead,
}

impl Order {
    /// Only counts.
    #[must_use]
    pub const fn count(calls: Calls) -> Self {
        Self {
            calls,
            nth: 0,
            instead: Instead::Kill,
        }
    }

    /// Kills the agent before the nth change that anybody can see.
    #[must_use]
    pub const fn kill(nth: usize) -> Self {
        Self {
            calls: Calls::VISIBLE,
            nth,
            instead: Instead::Kill,
        }
    }
}

/// Watches over the system calls of one agent, until that ends.
#[derive(Debug)]
pub struct Saboteur {
    _dir: TempDir,
    listener: UnixListener,
    orders: Option<UnixStream>,
    shared: Arc<Shared>,
}

impl Saboteur {
    /// One that nobody has met yet, and what the agent that has the sandbox at `root` is run by to meet it. `with_looks`
    /// if orders are about looking at files too, which makes an agent slower.
    #[must_use]
    pub(super) fn new(root: &Path, with_looks: bool) -> (Self, Vec<OsString>) {
        // Not below $TMPDIR, which may be too long for a socket.
        let dir = tempfile::Builder::new()
            .prefix("saboteur")
            .tempdir_in("/tmp")
            .unwrap();
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        // Whoever starts a real daemon has built it.
        let launcher = vec![
            cache().join("saboteur").into(),
            if with_looks { "calls" } else { "changes" }.into(),
            socket.into(),
            root.into(),
        ];
        (
            Self {
                _dir: dir,
                listener,
                orders: None,
                shared: Arc::default(),
            },
            launcher,
        )
    }

    /// Waits for the agent to be started, gives the first order, and lets it go on.
    pub(super) fn meet(&mut self, order: Order) {
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            assert!(
                Instant::now() < deadline,
                "the agent is not run by the saboteur"
            );
            thread::sleep(POLL_INTERVAL);
        };
        stream.set_nonblocking(false).unwrap();
        let (shared, lines) = (
            Arc::clone(&self.shared),
            BufReader::new(stream.try_clone().unwrap()),
        );
        thread::spawn(move || {
            lines
                .lines()
                .map_while(Result::ok)
                .for_each(|line| shared.take(&line));
            shared.change(|seen| seen.is_over = true);
        });
        self.orders = Some(stream);
        assert!(
            self.order(order, "-"),
            "the agent has ended before it was started"
        );
    }

    /// Gives another order, which holds from the first message on that contains the id of a request. Returns whether the
    /// agent still runs.
    pub fn order(
        &mut self,
        Order {
            calls: Calls(calls),
            nth,
            instead,
        }: Order,
        id: &str,
    ) -> bool {
        let action = match instead {
            Instead::Kill => 0,
            Instead::Fail(errno) => errno.raw_os_error(),
        };
        self.shared.change(|seen| seen.is_obeyed = false);
        let mut orders = self.orders.as_ref().expect("it has met the agent");
        if writeln!(orders, "{calls} {nth} {action} {id}").is_err() {
            return false;
        }
        self.shared
            .wait_until(|seen| seen.is_obeyed || seen.is_over)
            .is_obeyed
    }

    /// Ends the order, and returns what came of it: everything, however late this process heard of it.
    ///
    /// # Panics
    /// If the agent has ended.
    pub fn end_order(&mut self) -> Obeyed {
        assert!(
            self.order(Order::count(Calls::NONE), "-"),
            "the agent has ended"
        );
        mem::take(&mut self.shared.lock().before)
    }

    /// The call that was not carried out, if this process has heard of it yet.
    #[must_use]
    pub fn hit(&self) -> Option<String> {
        self.shared.lock().obeyed.hit.clone()
    }
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// What came of an order.
#[derive(Debug, Default)]
pub struct Obeyed {
    /// The calls that were counted, in words.
    pub calls: Vec<String>,
    /// The one of them that was not carried out.
    pub hit: Option<String>,
}

#[derive(Debug, Default)]
struct Seen {
    obeyed: Obeyed,
    /// What came of the order before.
    before: Obeyed,
    is_obeyed: bool,
    is_over: bool,
}

impl Shared {
    fn take(&self, line: &str) {
        let (kind, call) = line.split_once(' ').unwrap_or((line, ""));
        self.change(|seen| match kind {
            "ok" => {
                seen.before = mem::take(&mut seen.obeyed);
                seen.is_obeyed = true;
            }
            "hit" => {
                seen.obeyed.calls.push(call.into());
                seen.obeyed.hit = Some(call.into());
            }
            _ => seen.obeyed.calls.push(call.into()),
        });
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait_until(&self, condition: impl Fn(&Seen) -> bool) -> MutexGuard<'_, Seen> {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, |seen| !condition(seen));
        let (seen, result) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!result.timed_out(), "the saboteur does not answer");
        seen
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

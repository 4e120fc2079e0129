//! The core of nova-agent: the agent inside a Xen server that carries out what the server's host asks for.
//!
//! The host writes a request to Xenstore at `data/host/<id>`; the agent carries it out, answers at `data/guest/<id>` and
//! removes the request. Everything that is to be decided about it is decided here, by a pure state machine: no I/O, no
//! clock, no randomness, no environment. A run is a function of its inputs. What touches the world is an [`Effect`]
//! that a *driver*, the caller of [`Machine`], carries out; the driver also owns the connection to Xenstore and the clock.
//! (`nova-agent-system` has a type `Driver`, which is such a driver without the waiting and the effects.)
//!
//! ```text
//!            bytes, time, outcomes                      the driver's part
//!  driver ───────────────────────► Machine      wait for what comes first: bytes, a deadline,
//!         ◄─────────────────────── Output       the outcome of an effect, a signal
//! ```
//!
//! [`Machine`] is where to start reading: its documentation has the contract. From the bottom up: [`wire`] is bytes and
//! messages; [`store`] is one connection to Xenstore; [`agent`] is the life of requests, and drives the commands, which
//! are pure functions from facts to a [`plan`]; [`network`] and [`render`] know what a guest's network looks like in
//! files; [`crypto`] is the exchange of passwords; [`effect`] is the vocabulary that all of them share with the driver.
//!
//! # A driver
//!
//! This is a whole one, over a Unix socket and without threads. It is correct, but it answers nothing while it carries
//! out an effect: a real driver performs effects elsewhere (a thread, a child process that it polls) and reports their
//! outcomes when they come, in any order, each exactly once.
//!
//! ```
//! use std::io::{ErrorKind, Read, Write};
//! use std::os::unix::net::UnixStream;
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use std::time::Duration;
//!
//! use nova_agent_core::Config;
//! use nova_agent_core::effect::{Effect, Failure, Outcome, Snapshot};
//! use nova_agent_core::secret::Secret;
//! use nova_agent_core::{Instant, Machine, Output};
//!
//! /// Carries effects out. This guest has nothing to probe and can change nothing.
//! fn perform(effect: Effect) -> Outcome {
//!     match effect {
//!         Effect::Entropy { len } => {
//!             let mut bytes = vec![0; len];
//!             match std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)) {
//!                 Ok(()) => Outcome::Entropy(Secret::new(bytes)),
//!                 Err(error) => Outcome::Failed(Failure::Io(error.to_string())),
//!             }
//!         }
//!         Effect::Probe(_) => Outcome::Probed(Snapshot::default()),
//!         Effect::Change(step) => Outcome::Failed(Failure::Unsupported(step.to_string())),
//!     }
//! }
//!
//! /// Runs the agent until `leave` is set and everything in hand is finished.
//! fn run(path: &std::path::Path, leave: &AtomicBool) {
//!     let origin = std::time::Instant::now();
//!     let now = || Instant::from_origin(origin.elapsed());
//!     let mut machine = Machine::new(Config::default());
//!     let mut store: Option<UnixStream> = None;
//!     let mut buffer = [0; 4096];
//!     loop {
//!         // Drain: nothing may be left queued when the driver waits.
//!         let deadline = loop {
//!             match machine.poll_output() {
//!                 Output::Connect => match UnixStream::connect(path) {
//!                     Ok(stream) => {
//!                         store = Some(stream);
//!                         machine.handle_connected(now());
//!                     }
//!                     Err(error) => machine.handle_closed(now(), &error.to_string()),
//!                 },
//!                 Output::Disconnect => store = None,
//!                 Output::Exit => return,
//!                 Output::Perform(id, effect) => {
//!                     let outcome = perform(effect);
//!                     machine.handle_completed(now(), id, outcome).expect("the machine gave out this id");
//!                 }
//!                 Output::Report(report) => eprintln!("{report}"),
//!                 Output::Transmit(message) => {
//!                     if let Some(Err(error)) = store.as_mut().map(|stream| stream.write_all(&message)) {
//!                         store = None;
//!                         machine.handle_closed(now(), &error.to_string());
//!                     }
//!                 }
//!                 Output::Wait(deadline) => break deadline,
//!             }
//!         };
//!
//!         // Wait for the first of bytes, the deadline and the wish to leave. (A real driver is woken by a signal.)
//!         let look = Duration::from_millis(10);
//!         let wait = deadline.map_or(look, |at| at.since(now()).clamp(Duration::from_millis(1), look));
//!         match store.as_mut() {
//!             Some(stream) => {
//!                 stream.set_read_timeout(Some(wait)).expect("a timeout that is not zero");
//!                 match stream.read(&mut buffer) {
//!                     Ok(0) => {
//!                         store = None;
//!                         machine.handle_closed(now(), "end of file");
//!                     }
//!                     Ok(len) => machine.handle_bytes(now(), &buffer[..len]).expect("there is a connection"),
//!                     Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
//!                     Err(error) => {
//!                         store = None;
//!                         machine.handle_closed(now(), &error.to_string());
//!                     }
//!                 }
//!             }
//!             None => std::thread::sleep(wait),
//!         }
//!         machine.handle_timeout(now());
//!         if leave.load(Ordering::Relaxed) {
//!             machine.handle_terminate(now());
//!         }
//!     }
//! }
//! # // There is no store here: the driver tries to connect until it is told to leave.
//! # static LEAVE: AtomicBool = AtomicBool::new(false);
//! # let driver = std::thread::spawn(|| run(std::path::Path::new("/nonexistent/socket"), &LEAVE));
//! # LEAVE.store(true, Ordering::Relaxed);
//! # driver.join().unwrap();
//! ```
//!
//! # What a driver must know of the device
//!
//! - One `write` carries one message: `/dev/xen/xenbus` throws away what follows the first. [`Output::Transmit`] is one
//!   message; never join or split two.
//! - The device never polls as writable, and its writes are not subject to `O_NONBLOCK`: write at once.
//! - Poll for input and read without blocking. On `/proc/xen/xenbus` of kernels 3.14 to about 4.9, a blocked `read` blocks
//!   every `write` on the same descriptor.
//! - A `write` that fails ends the connection: [`Machine::handle_closed`]. That is also how the device refuses a watch.
//! - After a suspend and resume the kernel registers the watches again and each of them fires: nothing is to be done.
//!
//! # What a driver must know of time
//!
//! [`Instant`] counts from an origin of the driver's choice on a monotonic clock. Waking up too early or too late does no
//! harm; time that goes backwards is ignored.
//!
//! [`Effect`]: effect::Effect
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod address;
pub mod agent;
mod base64;
mod command;
mod config;
pub mod crypto;
pub mod effect;
mod json;
mod machine;
pub mod network;
pub mod plan;
pub mod render;
pub mod response;
pub mod secret;
mod severity;
pub mod store;
mod time;
pub mod wire;

pub use self::config::{CommandPolicy, Config};
pub use self::machine::{Machine, Output, RETRY_MAX, RETRY_MIN};
pub use self::severity::Severity;
pub use self::time::Instant;

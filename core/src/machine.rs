//! The agent over a byte stream.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::agent::{self, Agent, Misuse, Report};
use crate::config::Config;
use crate::effect::{Effect, EffectId, Outcome};
use crate::store::{Client, ProtocolError};
use crate::time::Instant;

/// The shortest pause before the next try to reach the store. A daemon that is restarted is back in less than a second.
pub const RETRY_MIN: Duration = Duration::from_millis(100);

/// The longest pause before the next try to reach the store.
pub const RETRY_MAX: Duration = Duration::from_secs(30);

/// The whole agent as a state machine between a byte stream and the guest.
///
/// # Contract
///
/// Inputs are the `handle_*` functions, each with the current time. **After every input, call [`Machine::poll_output`]
/// until it returns [`Output::Wait`] or [`Output::Exit`]**, and do what each output says, in order. Then wait: for bytes,
/// for the end of the connection, for an effect, for a signal, or for the time that `Wait` names, whichever comes first.
///
/// `Wait` is returned only when nothing is queued; polling again without an input returns the same `Wait`. `Exit` is final:
/// inputs after it are ignored, and it is returned for ever. The first output of a new machine is [`Output::Connect`].
///
/// The crate's documentation has a complete driver.
pub struct Machine {
    agent: Agent,
    link: Link,
    /// The latest time so far.
    now: Instant,
    /// The pause before the next try, if the last one failed.
    retry: Duration,
    /// Why there was no connection when that was last reported, until the store has answered.
    reported: Option<String>,
    outputs: VecDeque<Output>,
}

/// What the driver does next.
///
/// The enum is closed on purpose: a new output does not compile until every driver handles it.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "an output that is dropped is lost to the host"]
pub enum Output {
    /// Open the way to the store, then call [`Machine::handle_connected`], or [`Machine::handle_closed`] if that fails.
    Connect,
    /// Close the connection; its bytes cannot be trusted any more. Do not call [`Machine::handle_closed`] for it.
    Disconnect,
    /// Leave. Everything in hand is finished.
    Exit,
    /// Carry out the effect, then call [`Machine::handle_completed`] with the same id, exactly once.
    Perform(EffectId, Effect),
    /// Write it to the log, and tell the service manager if it concerns it.
    Report(Report),
    /// Write this one message to the connection, in a single `write`. Never wait for the connection to become writable
    /// before: the Xenstore device of Linux never says so.
    Transmit(Vec<u8>),
    /// Nothing is queued: wait until this time, or without end, or for the next input.
    Wait(Option<Instant>),
}

enum Link {
    /// There is no connection until this time.
    Closed {
        until: Instant,
    },
    /// The driver is opening it.
    Connecting,
    /// The agent has left; there will be none any more.
    Gone,
    Open(Box<Client>),
}

impl Machine {
    /// A machine that is about to connect.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            agent: Agent::new(config),
            link: Link::Connecting,
            now: Instant::default(),
            retry: RETRY_MIN,
            reported: None,
            outputs: VecDeque::from([Output::Connect]),
        }
    }

    /// The connection is open, and nothing has been read from it or written to it.
    pub fn handle_connected(&mut self, now: Instant) {
        let now = self.advance_clock(now);
        match self.link {
            Link::Closed { .. } | Link::Connecting => {}
            Link::Gone => return,
            Link::Open(_) => self.agent.handle_disconnected(now),
        }
        self.link = Link::Open(Box::default());
        self.agent.handle_connected(now);
        self.drain(now);
    }

    /// Bytes came from the connection, split in any way.
    ///
    /// # Errors
    /// [`Misuse::NotConnected`] if there is no connection; nothing changes then.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Misuse> {
        let now = self.advance_clock(now);
        match &mut self.link {
            Link::Open(client) => {
                let result = client.handle_bytes(now, bytes);
                self.after_client(now, result);
                Ok(())
            }
            // An input after the exit.
            Link::Gone => Ok(()),
            Link::Closed { .. } | Link::Connecting => Err(Misuse::NotConnected),
        }
    }

    /// The connection has come to its end, or could not be opened; `reason` is for the log.
    pub fn handle_closed(&mut self, now: Instant, reason: &str) {
        let now = self.advance_clock(now);
        if matches!(self.link, Link::Connecting | Link::Open(_)) {
            self.close(now, reason.to_string());
            self.drain(now);
        }
    }

    /// What became of an effect.
    ///
    /// # Errors
    /// [`Misuse::UnknownEffect`] if the id was never given out; nothing changes then.
    pub fn handle_completed(
        &mut self,
        now: Instant,
        id: EffectId,
        outcome: Outcome,
    ) -> Result<(), Misuse> {
        let now = self.advance_clock(now);
        self.agent.handle_completed(now, id, outcome)?;
        self.drain(now);
        Ok(())
    }

    /// The time that [`Output::Wait`] named has come. Calling it earlier, or later, does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance_clock(now);
        self.agent.handle_timeout(now);
        match &mut self.link {
            Link::Closed { until } if *until <= now => {
                self.link = Link::Connecting;
                self.outputs.push_back(Output::Connect);
                self.drain(now);
            }
            Link::Open(client) => {
                let result = client.handle_timeout(now);
                self.after_client(now, result);
            }
            Link::Closed { .. } | Link::Connecting | Link::Gone => self.drain(now),
        }
    }

    /// The agent is to leave, as soon as the command in hand is finished and answered.
    pub fn handle_terminate(&mut self, now: Instant) {
        let now = self.advance_clock(now);
        self.agent.handle_terminate(now);
        self.drain(now);
    }

    /// What to do next; see the contract of the type.
    pub fn poll_output(&mut self) -> Output {
        match self.outputs.pop_front() {
            Some(output) => output,
            None if matches!(self.link, Link::Gone) => Output::Exit,
            None => Output::Wait(self.deadline()),
        }
    }

    /// Time that goes backwards is ignored.
    fn advance_clock(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn deadline(&self) -> Option<Instant> {
        let link = match &self.link {
            Link::Closed { until } => Some(*until),
            Link::Connecting | Link::Gone => None,
            Link::Open(client) => client.deadline(),
        };
        [link, self.agent.deadline()].into_iter().flatten().min()
    }

    fn after_client(&mut self, now: Instant, result: Result<(), ProtocolError>) {
        // What came before the error is good.
        self.drain(now);
        if let Err(error) = result
            && matches!(self.link, Link::Open(_))
        {
            self.outputs.push_back(Output::Disconnect);
            self.close(now, error.to_string());
            self.drain(now);
        }
    }

    fn close(&mut self, now: Instant, reason: String) {
        let retry = self.retry;
        self.retry = retry.saturating_mul(2).min(RETRY_MAX);
        self.link = Link::Closed {
            until: now.after(retry),
        };
        self.outputs
            .retain(|output| !matches!(output, Output::Transmit(_)));
        // A guest that is not on Xen would fill its log.
        if self.reported.as_ref() != Some(&reason) {
            self.reported = Some(reason.clone());
            self.outputs
                .push_back(Output::Report(Report::Disconnected { reason, retry }));
        }
        self.agent.handle_disconnected(now);
    }

    /// Carries what one layer has for the other back and forth until neither has anything.
    fn drain(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.agent.poll() {
                match output {
                    agent::Output::Exit => self.link = Link::Gone,
                    agent::Output::Perform(id, effect) => {
                        self.outputs.push_back(Output::Perform(id, effect))
                    }
                    agent::Output::Report(report) => self.outputs.push_back(Output::Report(report)),
                    agent::Output::Store(id, operation) => {
                        if let Link::Open(client) = &mut self.link {
                            client.submit(now, id, operation);
                        }
                    }
                }
            } else if let Link::Open(client) = &mut self.link {
                if let Some(message) = client.poll_transmit() {
                    self.outputs.push_back(Output::Transmit(message));
                } else if let Some(event) = client.poll_event() {
                    self.reported = None;
                    // There is a connection, so the agent takes every event.
                    let _taken = self.agent.handle_event(now, event);
                    // A connection that ends before would end again and again, ten times a second.
                    if self.agent.has_listed() {
                        self.retry = RETRY_MIN;
                    }
                } else {
                    return;
                }
            } else {
                return;
            }
        }
    }
}

/// Prints nothing of what the machine holds: passwords and keys may be among it.
impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

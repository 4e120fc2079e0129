//! Whether what the agent does is right.

use nova_agent_core::agent::RESPONSE_TIMEOUT;
use nova_agent_core::response::MESSAGE_MAX;
use serde_json::Value;
use std::time::Duration;

use super::effects::PlanInHand;
use super::requests::{Command, Meaning};
use super::{Checked, Invariant, Simulation, ensure, versions};
use crate::host::{HostKey, Rejection, judge};

/// When faults have ended, everything is answered after this time: the longest pause between two listings (300 s), then
/// the longest pause before an answer is tried again (60 s), and the plans of all requests.
const PATIENCE: Duration = Duration::from_secs(900);

/// What a response has beside its message.
const FRAME_MAX: usize = 40;

/// How long an exchange waits for its password.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(300);

impl Simulation {
    /// A response was written.
    pub(super) fn judge_response(&mut self, id: &str, content: &[u8]) -> Checked {
        let text = String::from_utf8_lossy(content).into_owned();
        ensure(self.secrets.are_absent(&text), Invariant::NoSecret, || {
            format!("in the response to {id}")
        })?;
        self.tell(|| format!("RESPONSE to {id}: {text}"));
        let Some(request) = self.hosts.find(id) else {
            return ensure(false, Invariant::RightResponse, || {
                format!("nobody has asked {id}")
            });
        };
        let is_printable = content.iter().all(|byte| (b' '..=b'~').contains(byte));
        ensure(
            is_printable && content.len() <= MESSAGE_MAX + FRAME_MAX,
            Invariant::Bearable,
            || format!("{} bytes: {text}", content.len()),
        )?;
        let name = if request.command == Command::KeyInit {
            "keyinit"
        } else if request.command == Command::ResetNetwork {
            "resetnetwork"
        } else {
            "other"
        };
        self.judge_content(id, content, name)
    }

    /// Whether Nova can read a response to a command, and whether that is right.
    fn judge_content(&mut self, id: &str, content: &[u8], name: &str) -> Checked {
        let text = String::from_utf8_lossy(content).into_owned();
        let Some(request) = self.hosts.find(id) else {
            return Ok(());
        };
        if let Err(error @ Rejection::Unreadable { .. }) = judge(name, content) {
            return ensure(false, Invariant::Bearable, || format!("{error}: {text}"));
        }
        let value: Value = serde_json::from_slice(content).unwrap_or_default();
        let field = |name: &str| {
            value
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (code, message) = (field("returncode"), field("message"));

        if let Some(first) = request.responses.first() {
            return ensure(first == content, Invariant::OneResponse, || {
                format!(
                    "to {id}: {} and then {text}",
                    String::from_utf8_lossy(first)
                )
            });
        }
        let injects = self.world.config.commands.inject_files;
        ensure(
            request.fits(&code, &message, injects),
            Invariant::RightResponse,
            || format!("to {id}, which is {}: {text}", request.command.name()),
        )?;
        self.judge_truth(id, &code, &message)?;
        if let Some(request) = self.hosts.find_mut(id) {
            request.responses.push(content.into());
        }
        Ok(())
    }

    /// Whether a response says what is.
    fn judge_truth(&mut self, id: &str, code: &str, message: &str) -> Checked {
        let Some(request) = self.hosts.find(id) else {
            return Ok(());
        };
        let succeeded = code == "0";
        match &request.meaning {
            Meaning::File { path, content } if succeeded => {
                let is_there = self
                    .applied
                    .contains(&(path.clone(), content.clone().into_bytes()));
                ensure(is_there, Invariant::RightResponse, || {
                    format!("{id}: {path} was never written")
                })?;
            }
            Meaning::Password { password, exchange } => {
                let is_set = self.world.guest.passwords().contains(&password.as_bytes());
                ensure(is_set || !succeeded, Invariant::RightResponse, || {
                    format!("{id}: no such password was set")
                })?;
                let is_forgotten =
                    message.starts_with("Invalid") || message.starts_with("Password without");
                let known = self.hosts.exchange(*exchange).filter(|_| is_forgotten);
                if let Some(exchange) = known {
                    // Keys are gone with the agent, after their time, and when others need the room.
                    let is_excused = exchange.life != self.life
                        || self.world.now.since(exchange.asked) >= EXCHANGE_TIMEOUT
                        || self.hosts.exchanges_after(exchange) >= 7;
                    ensure(is_excused, Invariant::RightResponse, || {
                        format!("{id}: the keys are known: {message}")
                    })?;
                }
            }
            Meaning::Keys { private } if code == "D0" => {
                let Ok(exchange) = HostKey::from_number(*private).agree(message) else {
                    return ensure(false, Invariant::RightResponse, || {
                        format!("{id}: no key: {message}")
                    });
                };
                let asked = request.posted;
                self.secrets.add(exchange.secret());
                self.hosts
                    .add_exchange(exchange.secret().into(), self.life, asked);
            }
            Meaning::Fixed | Meaning::File { .. } | Meaning::Keys { .. } => {}
            Meaning::Hostname { name } => {
                // A later change may have come before a response that had to wait.
                let is_named = self
                    .applied
                    .contains(&("/etc/hostname".into(), format!("{name}\n").into_bytes()));
                ensure(is_named || !succeeded, Invariant::RightResponse, || {
                    format!("{id}: it has another name")
                })?;
            }
            Meaning::Never => {
                return ensure(false, Invariant::RightResponse, || {
                    format!("{id} cannot be answered")
                });
            }
        }
        let Some(plan) = self.plan.take_if(|plan| plan.request == id) else {
            return Ok(());
        };
        if plan.is_honest && (message.contains("previous state restored")) {
            let now = self.world.guest.files();
            let differs = now
                .keys()
                .chain(plan.files.keys())
                .find(|path| now.get(*path) != plan.files.get(*path));
            ensure(differs.is_none(), Invariant::WholeFiles, || {
                format!("{id}: {differs:?} was not restored")
            })?;
        }
        Ok(())
    }

    /// A command begins to change the guest.
    pub(super) fn plan_begins(&mut self, id: &str) -> Checked {
        if let Some(request) = self.hosts.find(id) {
            ensure(request.responses.is_empty(), Invariant::NotTwice, || {
                format!(
                    "{id}, which is {}, begins although it is answered",
                    request.command.name()
                )
            })?;
        }
        let files = self.world.guest.files().clone();
        let is_honest = self.works.is_empty();
        self.plan = Some(PlanInHand {
            request: id.into(),
            files,
            is_honest,
        });
        Ok(())
    }

    /// A file has changed.
    pub(super) fn look_at_file(&self, path: &str) -> Checked {
        let Some(content) = self.world.guest.file(path) else {
            return Ok(());
        };
        let is_version = match self.injected.get(path) {
            Some(versions) => versions.contains(content),
            None => versions::are_known(path, content),
        };
        ensure(is_version, Invariant::WholeFiles, || {
            format!(
                "{path} holds no version: {}",
                String::from_utf8_lossy(content)
            )
        })
    }

    /// Without faults, everything is answered after a while, and then the agent sleeps.
    pub(super) fn come_to_rest(&mut self) -> Checked {
        self.calm_down()?;
        let end = self.world.now.after(PATIENCE);
        while self.turn(Some(end))? {
            self.bound_events()?;
        }
        self.world.now = end;
        for request in self.hosts.all() {
            let is_done = request.is_gone
                || !request.responses.is_empty()
                || matches!(request.meaning, Meaning::Never);
            ensure(is_done, Invariant::Progress, || {
                format!(
                    "{}, which is {}, was not answered",
                    request.id,
                    request.command.name()
                )
            })?;
        }
        let end = end.after(RESPONSE_TIMEOUT + Duration::from_secs(1));
        while self.turn(Some(end))? {
            self.bound_events()?;
        }
        self.world.now = end;
        self.look_at_mailbox()?;
        ensure(self.is_ready, Invariant::Progress, || {
            "it is not ready".into()
        })?;
        let waits = self
            .works
            .iter()
            .filter(|work| work.is_awaited(self.world.now))
            .count();
        ensure(waits == 0, Invariant::Progress, || {
            format!("{waits} effects are at work")
        })?;
        self.look_at_sleep()?;

        self.stopping = Some(self.world.now);
        self.tell(|| "the agent is told to leave".into());
        let life = self.life;
        self.world.machine.handle_terminate(self.world.now);
        self.drain()?;
        ensure(
            !self.is_alive() && self.life == life,
            Invariant::Leaves,
            || "it has nothing to do, and stays".into(),
        )
    }

    /// The world after the faults is finite.
    fn bound_events(&self) -> Checked {
        ensure(self.events < 20_000, Invariant::Progress, || {
            "it never comes to rest".into()
        })
    }

    fn look_at_mailbox(&mut self) -> Checked {
        self.hear()?;
        let requests = self.world.requests();
        let left = requests.iter().find(|id| {
            let never =
                |request: &super::requests::Request| matches!(request.meaning, Meaning::Never);
            !self.hosts.find(id).is_some_and(never)
        });
        ensure(left.is_none(), Invariant::Progress, || {
            format!("request {left:?} is still there")
        })?;
        let responses = self.world.responses();
        let left = responses.iter().find(|id| !self.kept.contains(*id));
        ensure(left.is_none(), Invariant::Progress, || {
            format!("response {left:?} is still there")
        })
    }

    /// An agent with nothing to do wakes up for the listing and for the watchdog.
    fn look_at_sleep(&self) -> Checked {
        let config = &self.world.config;
        let longest = config.rescan.into_iter().chain(config.alive).min();
        let until = longest.map(|longest| self.world.now.after(longest));
        let sleeps = match (self.world.deadline, until) {
            (None, None) => true,
            (Some(deadline), Some(until)) => deadline > self.world.now && deadline <= until,
            (Some(_), None) | (None, Some(_)) => false,
        };
        ensure(sleeps, Invariant::Progress, || {
            format!(
                "idle at {:?}, it wakes up at {:?}",
                self.world.now, self.world.deadline
            )
        })
    }
}

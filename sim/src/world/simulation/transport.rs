//! What becomes of messages between the agent and the store.

use nova_agent_core::agent::REQUESTS;
use nova_agent_core::wire::{Decoder, ErrorName, Message, Op, PAYLOAD_MAX, ReqId, TxId, payload};

use super::super::the_message;
use super::{Checked, Invariant, Simulation, Site, ensure};

/// The errors of [`Site::Refusal`], in its order.
const ERRORS: [ErrorName; 8] = [
    ErrorName::Eagain,
    ErrorName::Eio,
    ErrorName::Eacces,
    ErrorName::Enospc,
    ErrorName::Equota,
    ErrorName::E2Big,
    ErrorName::Enomem,
    ErrorName::Ebusy,
];

/// Bytes on their way to the agent.
#[derive(Debug)]
pub(super) struct Arrival {
    bytes: Vec<u8>,
    /// Whether they are a watch event, as a whole.
    is_event: bool,
    /// Whether a reply ends with them.
    ends_reply: bool,
}

impl Arrival {
    pub(super) const fn is_reply(&self) -> bool {
        !self.is_event
    }
}

impl Simulation {
    /// The agent writes a message to the connection.
    pub(super) fn send(&mut self, message: Vec<u8>) -> Checked {
        ensure(self.world.connection.is_some(), Invariant::Contract, || {
            "a message without a connection".into()
        })?;
        ensure(!self.awaits_reply, Invariant::Bounded, || {
            "two operations on the wire".into()
        })?;
        ensure(message.len() <= PAYLOAD_MAX, Invariant::Bounded, || {
            format!(
                "a message of {} bytes is too long for the device",
                message.len()
            )
        })?;
        self.awaits_reply = true;
        self.world.outbox.push_back(message);
        Ok(())
    }

    /// The store takes a message and answers it.
    pub(super) fn serve(&mut self) -> Checked {
        let (Some(connection), Some(bytes)) =
            (self.world.connection, self.world.outbox.pop_front())
        else {
            return Ok(());
        };
        let message = the_message(&bytes);
        let path = operand(&message);
        self.look_at_operation(&message, &path)?;
        let refused = self
            .pick(Site::Refusal)
            .checked_sub(1)
            .and_then(|nth| ERRORS.get(nth));
        // No daemon says of a short list that it is too long, and what is done about long ones is drastic.
        let is_list = matches!(message.op(), Some(Op::Directory | Op::DirectoryPart));
        let refused = refused.filter(|error| !is_list || **error != ErrorName::E2Big);
        if let Some(error) = refused {
            self.tell(|| format!("the store refuses {:?} {path}: {error}", message.op()));
            if message.op() == Some(Op::Rm)
                && let Some(id) = path.strip_prefix("data/guest/")
            {
                self.kept.insert(id.into());
            }
            let reply = Message::new(Op::Error, message.req_id, TxId::NONE, payload::error(error));
            self.arrive(reply);
            return Ok(());
        }
        self.tell(|| format!("the store serves {:?} {path}", message.op()));
        self.world.store.handle_bytes(connection, &bytes);
        self.hear()?;
        self.collect();
        Ok(())
    }

    /// The responses that have just been written.
    pub(super) fn hear(&mut self) -> Checked {
        for (id, content) in self.world.dom0.hear(&mut self.world.store) {
            self.judge_response(&id, &content)?;
        }
        Ok(())
    }

    /// Takes what the store has for the agent.
    pub(super) fn collect(&mut self) {
        while let Some(connection) = self.world.connection
            && let Some(message) = self.world.store.poll_message(connection)
        {
            self.arrive(message);
        }
    }

    /// A message begins its way to the agent.
    pub(super) fn arrive(&mut self, mut message: Message) {
        let is_event = message.op() == Some(Op::WatchEvent);
        match (self.numbers, is_event) {
            (1, false) => message.req_id = ReqId(0),
            (2, _) => {
                let nth = u32::try_from(self.events % 0x1_0000).unwrap_or_default();
                message.req_id = ReqId(0xdead_0000 | nth);
                if is_event {
                    message.tx_id = TxId(0xbeef);
                }
            }
            _ => {}
        }
        let Ok(bytes) = message.encode_within(nova_agent_core::wire::SOCKET_REPLY_MAX) else {
            return;
        };
        let arrival = Arrival {
            bytes,
            is_event,
            ends_reply: !is_event,
        };
        if !is_event {
            if self.pick(Site::Reply) == 1 {
                self.tell(|| "the reply is lost".into());
            } else {
                self.arriving.push_back(arrival);
            }
            return;
        }
        match self.pick(Site::Watch) {
            1 => {
                let at = self.world.now.after(self.time());
                self.tell(|| "the event is delayed".into());
                self.delayed.push((at, arrival.bytes));
            }
            2 => {
                self.tell(|| "the event comes twice".into());
                self.arriving.push_back(Arrival {
                    bytes: arrival.bytes.clone(),
                    ..arrival
                });
                self.arriving.push_back(arrival);
            }
            3 if self.arriving.back().is_some_and(|last| last.is_event) => {
                self.tell(|| "two events are swapped".into());
                let last = self.arriving.pop_back();
                self.arriving.push_back(arrival);
                self.arriving.extend(last);
            }
            // Only the listing finds what it told of.
            4 if self.world.config.rescan.is_some() => self.tell(|| "the event is lost".into()),
            _ => self.arriving.push_back(arrival),
        }
    }

    /// An event that was delayed goes on.
    pub(super) fn release(&mut self) {
        let now = self.world.now;
        if let Some(nth) = self.delayed.iter().position(|(at, _)| *at <= now) {
            let (_, bytes) = self.delayed.remove(nth);
            self.arriving.push_back(Arrival {
                bytes,
                is_event: true,
                ends_reply: false,
            });
        }
    }

    /// The agent receives something.
    pub(super) fn receive(&mut self) -> Checked {
        let Some(mut arrival) = self.arriving.pop_front() else {
            return Ok(());
        };
        match self.pick(Site::Bytes) {
            1 if arrival.bytes.len() > 1 => {
                let at = 1 + self.choose(Site::Split, arrival.bytes.len() - 1);
                self.tell(|| format!("a message arrives up to byte {at}"));
                let rest = arrival.bytes.split_off(at);
                self.arriving.push_front(Arrival {
                    bytes: rest,
                    ..arrival
                });
                self.deliver(&Arrival {
                    ends_reply: false,
                    ..arrival
                })
            }
            2 => {
                for next in std::mem::take(&mut self.arriving) {
                    arrival.bytes.extend(next.bytes);
                    arrival.ends_reply |= next.ends_reply;
                }
                self.deliver(&arrival)
            }
            3 => {
                let (ends_reply, last) = (arrival.ends_reply, arrival.bytes.len() - 1);
                for (nth, byte) in arrival.bytes.into_iter().enumerate() {
                    // An agent that was killed meanwhile receives nothing more.
                    if self.world.connection.is_none() {
                        break;
                    }
                    let piece = Arrival {
                        bytes: vec![byte],
                        is_event: false,
                        ends_reply: ends_reply && nth == last,
                    };
                    self.deliver(&piece)?;
                }
                Ok(())
            }
            _ => self.deliver(&arrival),
        }
    }

    fn deliver(&mut self, arrival: &Arrival) -> Checked {
        self.tell(|| {
            let what = Decoder::new(PAYLOAD_MAX)
                .decode(&mut arrival.bytes.as_slice())
                .ok()
                .flatten();
            match what
                .as_ref()
                .map(|message| (message.op(), payload::parse_watch(&message.payload)))
            {
                Some((Some(Op::WatchEvent), Ok(event))) => {
                    format!("the agent receives the event {}", event.path)
                }
                Some((op, _)) => format!("the agent receives the reply {op:?}"),
                None => format!("the agent receives {} bytes", arrival.bytes.len()),
            }
        });
        if arrival.ends_reply {
            self.awaits_reply = false;
        }
        let taken = self.input(|machine, now| machine.handle_bytes(now, &arrival.bytes))?;
        ensure(taken.is_ok(), Invariant::Contract, || {
            format!("bytes of an open connection: {taken:?}")
        })
    }

    /// The connection breaks.
    pub(super) fn break_connection(&mut self, reason: &str) -> Checked {
        if self.world.connection.is_none() {
            return Ok(());
        }
        self.hang_up()?;
        self.input(|machine, now| machine.handle_closed(now, reason))
    }

    /// The connection is no more. What the agent has sent may still be on its way.
    pub(super) fn hang_up(&mut self) -> Checked {
        while !self.world.outbox.is_empty() && self.pick(Site::Unsent) == 1 {
            self.tell(|| "the store takes a last message".into());
            self.serve()?;
        }
        self.world.hang_up();
        self.awaits_reply = false;
        self.arriving.clear();
        self.delayed.clear();
        Ok(())
    }

    /// Whether the agent may ask the store for this.
    fn look_at_operation(&self, message: &Message, path: &str) -> Checked {
        if message.op() != Some(Op::Rm) {
            return Ok(());
        }
        if let Some(id) = path.strip_prefix("data/host/") {
            let is_answered = self
                .hosts
                .find(id)
                .is_some_and(|request| !request.responses.is_empty());
            return ensure(is_answered, Invariant::AnsweredFirst, || {
                format!("request {id} is removed without a response")
            });
        }
        ensure(
            path != REQUESTS.as_str() && path != "data",
            Invariant::AnsweredFirst,
            || format!("{path} is removed with all that is below it"),
        )
    }
}

/// The path of a request to the store.
fn operand(message: &Message) -> String {
    let path = message
        .payload
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(path).into_owned()
}

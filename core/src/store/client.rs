//! Operations and events as bytes.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::listing::{Listing, NAMES_MAX, Progress};
use super::{Event, Operation, OperationId, Reply};
use crate::time::Instant;
use crate::wire::payload::{self, Malformed};
use crate::wire::{
    DEVICE_PAYLOAD_MAX, DecodeError, Decoder, ErrorName, Message, Op, ReqId, SOCKET_REPLY_MAX, TxId,
};

/// How long the store may take for an answer. A daemon that has died gives no other sign to a guest.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// The client side of one connection, from its opening to its end.
///
/// One request is on the wire at a time, and the next message that is not a watch event is its reply, whatever number it
/// carries: kernels 4.11 to 4.15 do not echo the request's number. Watch events are known by their type alone, because
/// Linux leaves garbage in the rest of their header.
pub struct Client {
    decoder: Decoder,
    /// Operations that wait for the wire to become free.
    queue: VecDeque<(OperationId, Operation)>,
    in_flight: Option<InFlight>,
    last_req_id: u32,
    transmit: Option<Vec<u8>>,
    events: VecDeque<Event>,
}

/// The request on the wire.
struct InFlight {
    operation: OperationId,
    what: Operation,
    /// The type of the request, and so of its reply.
    op: Op,
    /// The parts of a long list so far, and the offset that was asked for.
    listing: Option<(Listing, usize)>,
    deadline: Instant,
}

impl Client {
    /// A client of a connection that has just been opened.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            // Over a socket oxenstored sends lists of any length; over a device no reply exceeds 4096 bytes.
            decoder: Decoder::new(SOCKET_REPLY_MAX),
            queue: VecDeque::new(),
            in_flight: None,
            last_req_id: 0,
            transmit: None,
            events: VecDeque::new(),
        }
    }

    /// Adds an operation. Operations are carried out in the order in which they are submitted.
    pub fn submit(&mut self, now: Instant, id: OperationId, operation: Operation) {
        self.queue.push_back((id, operation));
        self.send_next(now);
    }

    /// Takes bytes from the connection, split in any way.
    ///
    /// # Errors
    /// [`ProtocolError`] if the stream cannot be trusted any more: the connection has to be closed, and what was submitted
    /// has an unknown end.
    pub fn handle_bytes(&mut self, now: Instant, mut bytes: &[u8]) -> Result<(), ProtocolError> {
        while let Some(message) = self.decoder.decode(&mut bytes)? {
            match message.op() {
                Some(Op::WatchEvent) => {
                    let payload::WatchEvent { path, token } =
                        payload::parse_watch(&message.payload)?;
                    self.events.push_back(Event::Fired { path, token });
                }
                _ => self.handle_reply(now, message)?,
            }
        }
        Ok(())
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`ProtocolError::NoReply`] if the store owes a reply for too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        match self.deadline() {
            Some(deadline) if deadline <= now => Err(ProtocolError::NoReply),
            _ => Ok(()),
        }
    }

    /// The next message to be written, in a single write.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.take()
    }

    /// The next thing that came from the store.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Client::handle_timeout`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.in_flight.as_ref().map(|in_flight| in_flight.deadline)
    }

    fn handle_reply(&mut self, now: Instant, message: Message) -> Result<(), ProtocolError> {
        // A reply that came twice must not pass for the answer to a request that has not left yet.
        let asked = self.in_flight.take_if(|_| self.transmit.is_none());
        let Some(asked) = asked else {
            return Err(ProtocolError::Unasked { kind: message.kind });
        };
        let InFlight {
            operation,
            what,
            op,
            listing,
            ..
        } = asked;
        let result = match message.op() {
            Some(Op::Error) => Err(payload::parse_error(&message.payload)?),
            Some(replied) if replied == op => Ok(message.payload),
            _ => {
                return Err(ProtocolError::WrongReply {
                    kind: message.kind,
                    expected: op,
                });
            }
        };
        match answer(&what, result, listing)? {
            Answer::Complete(result) => self.events.push_back(Event::Answered(operation, result)),
            Answer::NextPart(listing, offset) => {
                let request = InFlight {
                    operation,
                    what,
                    op: Op::DirectoryPart,
                    listing: Some((listing, offset)),
                    deadline: now.after(REPLY_TIMEOUT),
                };
                self.send(request);
            }
        }
        self.send_next(now);
        Ok(())
    }

    /// Puts the next operation on the wire, if the wire is free.
    fn send_next(&mut self, now: Instant) {
        while self.in_flight.is_none()
            && let Some((operation, what)) = self.queue.pop_front()
        {
            self.send(InFlight {
                operation,
                op: match &what {
                    Operation::List(_) => Op::Directory,
                    Operation::Read(_) => Op::Read,
                    Operation::Remove(_) => Op::Rm,
                    Operation::Watch { .. } => Op::Watch,
                    Operation::Write { .. } => Op::Write,
                },
                what,
                listing: None,
                deadline: now.after(REPLY_TIMEOUT),
            });
        }
    }

    /// Puts a request on the wire. One that does not fit the device, the narrowest of all ways to the store, is answered
    /// at once.
    fn send(&mut self, request: InFlight) {
        let payload = match (&request.what, &request.listing) {
            (Operation::List(path), Some((_, offset))) => payload::directory_part(path, *offset),
            (Operation::List(path) | Operation::Read(path) | Operation::Remove(path), _) => {
                payload::path(path)
            }
            (Operation::Watch { path, token }, _) => payload::watch(path, token),
            (Operation::Write { path, value }, _) => payload::write(path, value),
        };
        self.last_req_id = self.last_req_id.wrapping_add(1);
        let message = Message::new(request.op, ReqId(self.last_req_id), TxId::NONE, payload);
        match message.encode_within(DEVICE_PAYLOAD_MAX) {
            Ok(bytes) => {
                self.transmit = Some(bytes);
                self.in_flight = Some(request);
            }
            Err(_) => {
                let event = Event::Answered(request.operation, Err(ErrorName::E2Big));
                self.events.push_back(event);
            }
        }
    }
}

/// What a reply means for its operation.
enum Answer {
    /// It is answered.
    Complete(Result<Reply, ErrorName>),
    /// The list goes on at this offset.
    NextPart(Listing, usize),
}

fn answer(
    what: &Operation,
    result: Result<Vec<u8>, ErrorName>,
    listing: Option<(Listing, usize)>,
) -> Result<Answer, ProtocolError> {
    let result = match (what, result, listing) {
        // Too long for one reply: the C daemon gives it in parts.
        (Operation::List(_), Err(ErrorName::E2Big), None) => {
            return Ok(Answer::NextPart(Listing::default(), 0));
        }
        // No parts here, so the list stays too long.
        (Operation::List(_), Err(ErrorName::Enosys | ErrorName::Einval), Some(_)) => {
            Err(ErrorName::E2Big)
        }
        (Operation::List(_), Ok(part), Some((mut listing, offset))) => {
            match listing.handle_part(payload::parse_directory_part(&part, offset)?) {
                Progress::Complete(names) => Ok(Reply::Names(names)),
                Progress::GivenUp => Err(ErrorName::E2Big),
                Progress::Part(offset) => return Ok(Answer::NextPart(listing, offset)),
            }
        }
        (_, Err(error), _) => Err(error),
        // Over a socket, where one reply may hold any number of them.
        (Operation::List(_), Ok(names), None) => match payload::parse_directory(&names)? {
            names if names.len() > NAMES_MAX => Err(ErrorName::E2Big),
            names => Ok(Reply::Names(names)),
        },
        (Operation::Read(_), Ok(value), _) => Ok(Reply::Value(value)),
        (Operation::Remove(_) | Operation::Watch { .. } | Operation::Write { .. }, Ok(ok), _) => {
            if !payload::is_ok(&ok) {
                return Err(ProtocolError::Malformed(Malformed::Fields));
            }
            Ok(Reply::Done)
        }
    };
    Ok(Answer::Complete(result))
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

/// Prints no bytes of messages: a request with a file may be among them.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Why the byte stream of a connection cannot be trusted any more. The connection has to be closed and opened again.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProtocolError {
    /// A header announces too long a payload.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The payload of a reply or event is not what its type says.
    #[error("malformed reply: {0}")]
    Malformed(#[from] Malformed),
    /// The store owes a reply for longer than [`REPLY_TIMEOUT`].
    #[error("no reply from the store within {} s", REPLY_TIMEOUT.as_secs())]
    NoReply,
    /// A reply came although nothing was asked.
    #[error("reply of type {kind} although nothing was asked")]
    Unasked {
        /// The type of the reply.
        kind: u32,
    },
    /// The reply is to another kind of request than the one that was sent.
    #[error("reply of type {kind} to a request of type {expected:?}")]
    WrongReply {
        /// The type of the reply.
        kind: u32,
        /// The type of the request.
        expected: Op,
    },
}

#[cfg(test)]
mod tests;

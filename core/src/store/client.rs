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
        let Some(InFlight {
            operation,
            what,
            op,
            listing,
            ..
        }) = asked
        else {
            return Err(ProtocolError::Unasked { kind: message.kind });
        };
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
        let result = match (&what, result, listing) {
            // Too long for one reply: the C daemon gives it in parts.
            (Operation::List(_), Err(ErrorName::E2Big), None) => {
                self.send_part(now, operation, what, Listing::default(), 0);
                return Ok(());
            }
            // No parts here, so the list stays too long.
            (Operation::List(_), Err(ErrorName::Enosys | ErrorName::Einval), Some(_)) => {
                Err(ErrorName::E2Big)
            }
            (Operation::List(_), Ok(part), Some((mut listing, offset))) => {
                match listing.handle_part(payload::parse_directory_part(&part, offset)?) {
                    Progress::Complete(names) => Ok(Reply::Names(names)),
                    Progress::GivenUp => Err(ErrorName::E2Big),
                    Progress::Part(offset) => {
                        self.send_part(now, operation, what, listing, offset);
                        return Ok(());
                    }
                }
            }
            (_, Err(error), _) => Err(error),
            // Over a socket, where one reply may hold any number of them.
            (Operation::List(_), Ok(names), None) => match payload::parse_directory(&names)? {
                names if names.len() > NAMES_MAX => Err(ErrorName::E2Big),
                names => Ok(Reply::Names(names)),
            },
            (Operation::Read(_), Ok(value), _) => Ok(Reply::Value(value)),
            (
                Operation::Remove(_) | Operation::Watch { .. } | Operation::Write { .. },
                Ok(ok),
                _,
            ) => {
                if !payload::is_ok(&ok) {
                    return Err(ProtocolError::Malformed(Malformed::Fields));
                }
                Ok(Reply::Done)
            }
        };
        self.events.push_back(Event::Answered(operation, result));
        self.send_next(now);
        Ok(())
    }

    /// Puts the next operation on the wire, if the wire is free. One that no daemon could take is answered at once.
    fn send_next(&mut self, now: Instant) {
        while self.in_flight.is_none()
            && let Some((operation, what)) = self.queue.pop_front()
        {
            let (op, payload) = match &what {
                Operation::List(path) => (Op::Directory, payload::path(path)),
                Operation::Read(path) => (Op::Read, payload::path(path)),
                Operation::Remove(path) => (Op::Rm, payload::path(path)),
                Operation::Watch { path, token } => (Op::Watch, payload::watch(path, token)),
                Operation::Write { path, value } => (Op::Write, payload::write(path, value)),
            };
            if !self.send(now, op, payload, operation, what, None) {
                self.events
                    .push_back(Event::Answered(operation, Err(ErrorName::E2Big)));
            }
        }
    }

    fn send_part(
        &mut self,
        now: Instant,
        operation: OperationId,
        what: Operation,
        listing: Listing,
        offset: usize,
    ) {
        let Operation::List(path) = &what else { return };
        let payload = payload::directory_part(path, offset);
        if !self.send(
            now,
            Op::DirectoryPart,
            payload,
            operation,
            what,
            Some((listing, offset)),
        ) {
            self.events
                .push_back(Event::Answered(operation, Err(ErrorName::E2Big)));
        }
    }

    /// Whether the message fits the device, which is the narrowest of all ways to the store.
    fn send(
        &mut self,
        now: Instant,
        op: Op,
        payload: Vec<u8>,
        operation: OperationId,
        what: Operation,
        listing: Option<(Listing, usize)>,
    ) -> bool {
        self.last_req_id = self.last_req_id.wrapping_add(1);
        let message = Message::new(op, ReqId(self.last_req_id), TxId::NONE, payload);
        let Ok(bytes) = message.encode_within(DEVICE_PAYLOAD_MAX) else {
            return false;
        };
        self.transmit = Some(bytes);
        self.in_flight = Some(InFlight {
            operation,
            what,
            op,
            listing,
            deadline: now.after(REPLY_TIMEOUT),
        });
        true
    }
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

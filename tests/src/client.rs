//! A blocking client of Xenstore over a Unix socket, for tests and for the simulated host.
//!
//! It is the opposite of the agent's client: one thread, one request at a time, an error for everything unusual. Over a
//! daemon's own socket it is dom0, over a guest's socket it is that guest.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nova_agent_core::wire::{
    DecodeError, Decoder, ErrorName, InvalidPath, InvalidToken, Malformed, Message, Op, Oversize,
    Permission, ReqId, SOCKET_REPLY_MAX, StorePath, Token, TransactionEnd, TxId, WatchEvent,
    payload,
};

/// How long a reply may take. Daemons answer within milliseconds; a loaded machine takes longer.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// How many bytes are read at once.
const READ_SIZE: usize = 8192;

/// How often a listing in parts starts again because the list changed under it.
const LISTING_TRIES: usize = 10;

/// One connection to a store.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    decoder: Decoder,
    /// Received, but not yet decoded.
    received: VecDeque<u8>,
    events: VecDeque<WatchEvent>,
    req_id: u32,
    tx_id: TxId,
}

impl Client {
    /// Connects to the socket of a daemon or of a guest.
    ///
    /// # Errors
    /// [`Error::Io`] if nothing listens there.
    pub fn connect(socket: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::new(UnixStream::connect(socket)?))
    }

    /// A client of whatever is on the other end of `stream`.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            decoder: Decoder::new(SOCKET_REPLY_MAX),
            received: VecDeque::new(),
            events: VecDeque::new(),
            req_id: 0,
            tx_id: TxId::NONE,
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// Every variant of [`Error`] but `TimedOut` before [`REPLY_TIMEOUT`]; so have all methods below.
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, Error> {
        self.call(Op::Read, payload::path(&StorePath::try_from(path)?))
    }

    /// Reads a value that is text.
    ///
    /// # Errors
    /// As [`Self::read`], and [`Error::NotText`].
    pub fn read_text(&mut self, path: &str) -> Result<String, Error> {
        let value = self.read(path)?;
        String::from_utf8(value).map_err(|_| Error::NotText)
    }

    /// Writes a value; creates the node and its parents if necessary.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn write(&mut self, path: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.call_for_ok(
            Op::Write,
            payload::write(&StorePath::try_from(path)?, value.as_ref()),
        )
    }

    /// Creates a node with an empty value, unless it exists.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn mkdir(&mut self, path: &str) -> Result<(), Error> {
        self.call_for_ok(Op::Mkdir, payload::path(&StorePath::try_from(path)?))
    }

    /// Removes a node and everything below it.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn rm(&mut self, path: &str) -> Result<(), Error> {
        self.call_for_ok(Op::Rm, payload::path(&StorePath::try_from(path)?))
    }

    /// Lists the children of a node with one DIRECTORY, in the daemon's order.
    ///
    /// # Errors
    /// See [`Self::read`]; `E2BIG` if the list does not fit one reply.
    pub fn list(&mut self, path: &str) -> Result<Vec<String>, Error> {
        let reply = self.call(Op::Directory, payload::path(&StorePath::try_from(path)?))?;
        Ok(payload::parse_directory(&reply)?)
    }

    /// Lists the children of a node with as many DIRECTORY_PART as it takes. Only the C daemon knows that.
    ///
    /// # Errors
    /// See [`Self::read`]; [`Error::Unsteady`] if the list changes all the time.
    pub fn list_in_parts(&mut self, path: &str) -> Result<Vec<String>, Error> {
        let path = StorePath::try_from(path)?;
        'again: for _ in 0..LISTING_TRIES {
            let (mut names, mut offset, mut generation) = (Vec::new(), 0, None);
            loop {
                let reply = self.call(Op::DirectoryPart, payload::directory_part(&path, offset))?;
                let part = payload::parse_directory_part(&reply, offset)?;
                if *generation.get_or_insert(part.generation) != part.generation {
                    continue 'again;
                }
                names.extend(part.names);
                match part.next_offset {
                    Some(next) => offset = next,
                    None => return Ok(names),
                }
            }
        }
        Err(Error::Unsteady)
    }

    /// Reads the permissions of a node.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn perms(&mut self, path: &str) -> Result<Vec<Permission>, Error> {
        let reply = self.call(Op::GetPerms, payload::path(&StorePath::try_from(path)?))?;
        Ok(payload::parse_perms(&reply)?)
    }

    /// Sets the permissions of a node; the first entry names its owner.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn set_perms(&mut self, path: &str, perms: &[Permission]) -> Result<(), Error> {
        self.call_for_ok(
            Op::SetPerms,
            payload::set_perms(&StorePath::try_from(path)?, perms),
        )
    }

    /// Registers a watch, whose first event follows at once.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn watch(&mut self, path: &str, token: &str) -> Result<(), Error> {
        self.call_for_ok(
            Op::Watch,
            payload::watch(&StorePath::try_from(path)?, &Token::try_from(token)?),
        )
    }

    /// Removes a watch.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn unwatch(&mut self, path: &str, token: &str) -> Result<(), Error> {
        self.call_for_ok(
            Op::Unwatch,
            payload::watch(&StorePath::try_from(path)?, &Token::try_from(token)?),
        )
    }

    /// Waits for the next event of any watch.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if none comes; otherwise see [`Self::read`].
    pub fn event(&mut self, timeout: Duration) -> Result<WatchEvent, Error> {
        let deadline = Instant::now() + timeout;
        while self.events.is_empty() {
            let message = self.receive(deadline)?;
            if message.op() != Some(Op::WatchEvent) {
                return Err(Error::Unexpected { kind: message.kind });
            }
            self.queue_event(&message)?;
        }
        self.events.pop_front().ok_or(Error::TimedOut)
    }

    /// Every event that came before the answer to a request sent now: all that earlier requests of this client caused,
    /// and on one daemon those of other clients that were answered before.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn events_so_far(&mut self) -> Result<Vec<WatchEvent>, Error> {
        // Any request that every daemon answers to everybody.
        self.call(Op::GetDomainPath, payload::number(0))?;
        Ok(self.events.drain(..).collect())
    }

    /// Opens a transaction; what is called on it happens inside.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn transaction(&mut self) -> Result<Transaction<'_>, Error> {
        let reply = self.call(Op::TransactionStart, payload::no_arguments())?;
        self.tx_id = TxId(payload::parse_number(&reply)?);
        Ok(Transaction { client: self })
    }

    /// Sends any request, well-formed or not, and returns the payload of its reply.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn call(&mut self, op: Op, payload: Vec<u8>) -> Result<Vec<u8>, Error> {
        let reply = self.exchange(op.raw(), self.tx_id, payload)?;
        if reply.op() == Some(Op::Error) {
            return Err(Error::Store(payload::parse_error(&reply.payload)?));
        }
        Ok(reply.payload)
    }

    /// Sends a message of any type in any transaction and returns its reply, an ERROR included.
    ///
    /// # Errors
    /// See [`Self::read`], without [`Error::Store`].
    pub fn exchange(&mut self, kind: u32, tx_id: TxId, payload: Vec<u8>) -> Result<Message, Error> {
        self.req_id = self.req_id.wrapping_add(1);
        let request = Message {
            kind,
            req_id: ReqId(self.req_id),
            tx_id,
            payload,
        };
        self.send_bytes(&request.encode()?)?;
        let deadline = Instant::now() + REPLY_TIMEOUT;
        loop {
            let reply = self.receive(deadline)?;
            if reply.op() == Some(Op::WatchEvent) {
                self.queue_event(&reply)?;
            } else if reply.req_id == request.req_id
                && (reply.kind == kind || reply.op() == Some(Op::Error))
            {
                return Ok(reply);
            } else {
                return Err(Error::Unexpected { kind: reply.kind });
            }
        }
    }

    /// Sends bytes as they are, whole messages or not.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Closed`] by the other side.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).map_err(Error::from)
    }

    /// Waits for the next message of any type, behind those that are queued as events.
    ///
    /// # Errors
    /// See [`Self::read`], without [`Error::Store`].
    pub fn receive(&mut self, deadline: Instant) -> Result<Message, Error> {
        loop {
            let (front, _) = self.received.as_slices();
            let mut rest = front;
            let message = self.decoder.decode(&mut rest);
            let used = front.len() - rest.len();
            self.received.drain(..used);
            if let Some(message) = message? {
                return Ok(message);
            }
            if self.received.is_empty() {
                self.read_more(deadline)?;
            }
        }
    }

    fn read_more(&mut self, deadline: Instant) -> Result<(), Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        // A timeout of zero would mean none.
        self.stream
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut buffer = [0; READ_SIZE];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(Error::Closed),
            Ok(len) => {
                self.received.extend(buffer.iter().take(len));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn queue_event(&mut self, message: &Message) -> Result<(), Error> {
        self.events
            .push_back(payload::parse_watch(&message.payload)?);
        Ok(())
    }

    fn call_for_ok(&mut self, op: Op, payload: Vec<u8>) -> Result<(), Error> {
        let reply = self.call(op, payload)?;
        if !payload::is_ok(&reply) {
            return Err(Error::Malformed(Malformed::Fields));
        }
        Ok(())
    }
}

/// An open transaction of a client, aborted when dropped. Every method of the client happens inside.
#[derive(Debug)]
pub struct Transaction<'a> {
    client: &'a mut Client,
}

impl Transaction<'_> {
    /// Makes everything happen at once.
    ///
    /// # Errors
    /// See [`Client::read`]; `EAGAIN` if somebody else was in between, and nothing has happened.
    pub fn commit(self) -> Result<(), Error> {
        self.end(TransactionEnd::Commit)
    }

    /// Makes nothing happen.
    ///
    /// # Errors
    /// See [`Client::read`].
    pub fn abort(self) -> Result<(), Error> {
        self.end(TransactionEnd::Abort)
    }

    fn end(mut self, end: TransactionEnd) -> Result<(), Error> {
        let result = self.call_for_ok(Op::TransactionEnd, payload::transaction_end(end));
        self.client.tx_id = TxId::NONE;
        result
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.client.tx_id != TxId::NONE {
            // If this fails, so will whatever comes next, and that will say so.
            let _ = self.call_for_ok(
                Op::TransactionEnd,
                payload::transaction_end(TransactionEnd::Abort),
            );
            self.client.tx_id = TxId::NONE;
        }
    }
}

impl Deref for Transaction<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.client
    }
}

/// Why something failed at a store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The other side closed the connection.
    #[error("connection closed")]
    Closed,
    /// The other side sent what is no message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The socket failed.
    #[error(transparent)]
    Io(io::Error),
    /// A reply is not what its type says.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A value that should be text is not UTF-8.
    #[error("value is not text")]
    NotText,
    /// The request is too long for the wire.
    #[error(transparent)]
    Oversize(#[from] Oversize),
    /// The caller's path is none.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// The store refused.
    #[error("{0}")]
    Store(ErrorName),
    /// Nothing came in time.
    #[error("timed out")]
    TimedOut,
    /// The caller's token is none.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// A reply to something else, or to nothing.
    #[error("unexpected message of type {kind}")]
    Unexpected {
        /// The type of the message.
        kind: u32,
    },
    /// The list of children changed too often while it was read in parts.
    #[error("directory changes all the time")]
    Unsteady,
}

impl Error {
    /// The store's name for the failure, if the store refused.
    #[must_use]
    pub const fn name(&self) -> Option<&ErrorName> {
        if let Self::Store(name) = self {
            Some(name)
        } else {
            None
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;

        if matches!(
            error.kind(),
            Kind::BrokenPipe | Kind::ConnectionReset | Kind::UnexpectedEof
        ) {
            Self::Closed
        } else if matches!(error.kind(), Kind::WouldBlock | Kind::TimedOut) {
            Self::TimedOut
        } else {
            Self::Io(error)
        }
    }
}

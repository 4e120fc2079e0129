//! One message, and its header.

use alloc::vec::Vec;
use core::fmt;

use super::{HEADER_LEN, Op, PAYLOAD_MAX, ReqId, TxId};

/// The fixed part of a message.
///
/// The type is kept as its number, because a store has to answer types that it does not know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// The number of the type; see [`Op::from_raw`].
    pub kind: u32,
    /// The request's number. Uninitialised in the watch events of Linux' device.
    pub req_id: ReqId,
    /// The transaction. Uninitialised in the watch events of Linux' device.
    pub tx_id: TxId,
    /// How many bytes of payload follow.
    pub len: u32,
}

impl Header {
    /// Reads a header. Any bytes are one; the length is the reader's to judge.
    ///
    /// Xenstore uses the guest's own byte order, and Xen runs on little-endian machines only.
    #[must_use]
    pub fn from_bytes(bytes: [u8; HEADER_LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            kind: u32::from_le_bytes([a, b, c, d]),
            req_id: ReqId(u32::from_le_bytes([e, f, g, h])),
            tx_id: TxId(u32::from_le_bytes([i, j, k, l])),
            len: u32::from_le_bytes([m, n, o, p]),
        }
    }

    /// The four integers, as bytes of the wire.
    pub fn to_bytes(self) -> impl Iterator<Item = u8> {
        [self.kind, self.req_id.0, self.tx_id.0, self.len]
            .into_iter()
            .flat_map(u32::to_le_bytes)
    }
}

/// A whole message: a request, a reply or a watch event.
#[derive(Clone, Eq, PartialEq)]
pub struct Message {
    /// The number of the type; see [`Message::op`].
    pub kind: u32,
    /// The request's number.
    pub req_id: ReqId,
    /// The transaction.
    pub tx_id: TxId,
    /// What the type says it is; see [`super::payload`].
    pub payload: Vec<u8>,
}

impl Message {
    /// A message of a known type.
    #[must_use]
    pub fn new(op: Op, req_id: ReqId, tx_id: TxId, payload: Vec<u8>) -> Self {
        Self {
            kind: op.raw(),
            req_id,
            tx_id,
            payload,
        }
    }

    /// The type; `None` if it is not known.
    #[must_use]
    pub const fn op(&self) -> Option<Op> {
        Op::from_raw(self.kind)
    }

    /// The bytes of the wire.
    ///
    /// # Errors
    /// [`Oversize`] if the payload is longer than [`PAYLOAD_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, Oversize> {
        self.encode_within(PAYLOAD_MAX)
    }

    /// The bytes of the wire, for a peer with another limit on the payload.
    ///
    /// # Errors
    /// [`Oversize`] if the payload is longer than `payload_max`, or than the header can say.
    pub fn encode_within(&self, payload_max: usize) -> Result<Vec<u8>, Oversize> {
        let len = self.payload.len();
        let oversize = Oversize {
            len,
            max: payload_max,
        };
        if len > payload_max {
            return Err(oversize);
        }
        let header = Header {
            kind: self.kind,
            req_id: self.req_id,
            tx_id: self.tx_id,
            len: u32::try_from(len).map_err(|_| oversize)?,
        };
        let mut bytes = Vec::with_capacity(HEADER_LEN.saturating_add(len));
        bytes.extend(header.to_bytes());
        bytes.extend_from_slice(&self.payload);
        Ok(bytes)
    }
}

/// Prints no payload: it may carry what was injected into the guest.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Message");
        match self.op() {
            Some(op) => f.field("op", &op),
            None => f.field("kind", &self.kind),
        };
        f.field("req_id", &self.req_id.0)
            .field("tx_id", &self.tx_id.0)
            .field("payload_len", &self.payload.len())
            .finish()
    }
}

/// A message that is too long to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("payload of {len} bytes, more than the {max} allowed")]
pub struct Oversize {
    /// The length of the payload.
    pub len: usize,
    /// The longest payload allowed.
    pub max: usize,
}

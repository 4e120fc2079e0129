//! From bytes, however they are split, to messages.

use alloc::vec::Vec;
use core::mem;

use super::{HEADER_LEN, Header, Message};

/// Cuts a byte stream into messages.
///
/// It keeps at most one incomplete message. Once the stream cannot be trusted any more, nothing brings it back: the
/// decoder repeats its error, and the connection has to be opened anew with a new decoder.
#[derive(Debug)]
pub struct Decoder {
    payload_max: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Dead(DecodeError),
    Header(Vec<u8>),
    Payload {
        header: Header,
        missing: usize,
        payload: Vec<u8>,
    },
}

impl Decoder {
    /// A decoder at the start of a stream whose peer sends at most `payload_max` bytes of payload.
    ///
    /// That is [`super::PAYLOAD_MAX`] for a guest and for a store, and [`super::SOCKET_REPLY_MAX`] for a client of a
    /// daemon's socket.
    #[must_use]
    pub const fn new(payload_max: usize) -> Self {
        Self {
            payload_max,
            state: State::Header(Vec::new()),
        }
    }

    /// Takes bytes from the front of `input` up to the end of the next message.
    ///
    /// `None` means that `input` is used up: come back with more bytes. Call until then.
    ///
    /// # Errors
    /// [`DecodeError::Oversize`], now and ever after, for a header that announces too long a payload. No byte behind
    /// that header is taken, and nothing was allocated for it.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Message>, DecodeError> {
        loop {
            match &mut self.state {
                State::Dead(error) => return Err(*error),
                State::Header(bytes) => {
                    bytes.extend_from_slice(take(input, HEADER_LEN.saturating_sub(bytes.len())));
                    let Ok(bytes) = <[u8; HEADER_LEN]>::try_from(bytes.as_slice()) else {
                        return Ok(None);
                    };
                    self.state = self.expect_payload(Header::from_bytes(bytes));
                }
                State::Payload {
                    header,
                    missing,
                    payload,
                } => {
                    let piece = take(input, *missing);
                    payload.extend_from_slice(piece);
                    *missing = missing.saturating_sub(piece.len());
                    if *missing > 0 {
                        return Ok(None);
                    }
                    let Header {
                        kind,
                        req_id,
                        tx_id,
                        len: _,
                    } = *header;
                    let message = Message {
                        kind,
                        req_id,
                        tx_id,
                        payload: mem::take(payload),
                    };
                    self.state = State::Header(Vec::new());
                    return Ok(Some(message));
                }
            }
        }
    }

    /// Whether the stream may end here without cutting a message in two.
    #[must_use]
    pub const fn is_between_messages(&self) -> bool {
        matches!(&self.state, State::Header(bytes) if bytes.is_empty())
    }

    fn expect_payload(&self, header: Header) -> State {
        match usize::try_from(header.len) {
            Ok(len) if len <= self.payload_max => State::Payload {
                header,
                missing: len,
                payload: Vec::with_capacity(len),
            },
            _ => State::Dead(DecodeError::Oversize {
                kind: header.kind,
                len: header.len,
                max: self.payload_max,
            }),
        }
    }
}

/// Splits up to `len` bytes off the front of `input`.
fn take<'a>(input: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (front, rest) = input.split_at_checked(len).unwrap_or((*input, &[]));
    *input = rest;
    front
}

/// Why a byte stream cannot be trusted any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// A header announces more payload than the peer may send: the stream is out of step, or the peer is hostile.
    #[error("message of type {kind} announces {len} bytes of payload, more than the {max} allowed")]
    Oversize {
        /// The type in the header.
        kind: u32,
        /// The length in the header.
        len: u32,
        /// The longest payload allowed.
        max: usize,
    },
}

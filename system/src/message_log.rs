//! Every message to and from the store, at level `trace`: operation, path and length, never a value. Values may be
//! passwords, keys and files.

use nova_agent_core::wire::{Decoder, Message, Op, PAYLOAD_MAX};
use tracing::{Level, field};
use zeroize::Zeroizing;

/// Logs the messages of one connection.
#[derive(Debug)]
pub(crate) struct MessageLog {
    received: Decoder,
}

impl MessageLog {
    pub(crate) fn new() -> Self {
        Self {
            received: Decoder::new(PAYLOAD_MAX),
        }
    }

    /// Logs a whole message that is about to be sent.
    pub(crate) fn sent(&self, mut bytes: &[u8]) {
        if tracing::enabled!(Level::TRACE) {
            log_all(&mut Decoder::new(PAYLOAD_MAX), &mut bytes, "to");
        }
    }

    /// Logs the messages that end in these bytes of the stream.
    pub(crate) fn received(&mut self, mut bytes: &[u8]) {
        if tracing::enabled!(Level::TRACE) {
            log_all(&mut self.received, &mut bytes, "from");
        }
    }
}

fn log_all(decoder: &mut Decoder, bytes: &mut &[u8], direction: &str) {
    while let Ok(Some(message)) = decoder.decode(bytes) {
        let op = message.op().map(field::debug);
        let request = message.req_id.0;
        let path = path(&message, direction == "to");
        let len = message.payload.len();
        tracing::trace!(request, op, path, len, "message {direction} Xenstore");
        drop(Zeroizing::new(message.payload));
    }
}

/// Returns the part of the payload that is no value: the path of a request or a watch event, the name of an error.
fn path(message: &Message, is_sent: bool) -> &str {
    match message.op() {
        Some(Op::WatchEvent | Op::Error) => {}
        Some(_) if is_sent => {}
        Some(_) | None => return "",
    }
    let path = message.payload.split(|byte| *byte == 0).next();
    str::from_utf8(path.unwrap_or_default()).unwrap_or("(not UTF-8)")
}

#[cfg(test)]
mod tests {
    use nova_agent_core::wire::{ReqId, TxId};

    use super::*;

    #[test]
    fn values_are_never_shown() {
        for (op, is_sent, payload, shown) in [
            (Op::Write, true, "data/guest/1\0secret", "data/guest/1"),
            (Op::Read, true, "data/host/1\0", "data/host/1"),
            (Op::Read, false, "secret", ""),
            (Op::Directory, false, "a\0b\0", ""),
            (Op::WatchEvent, false, "data/host/1\0token\0", "data/host/1"),
            (Op::Error, false, "ENOENT\0", "ENOENT"),
        ] {
            let message = Message::new(op, ReqId(1), TxId(0), payload.into());
            assert_eq!(path(&message, is_sent), shown, "{op:?}");
        }
    }
}

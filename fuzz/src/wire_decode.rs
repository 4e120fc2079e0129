//! Any bytes, split in any way, into the decoder and the parsers of payloads.

use nova_agent_core::wire::{
    DecodeError, Decoder, HEADER_LEN, Header, Message, PAYLOAD_MAX, SOCKET_REPLY_MAX, payload,
};

use crate::bytes::Bytes;

/// How many lengths of pieces an input names.
const PIECES: usize = 4;

/// The first four bytes are the lengths of pieces, used again and again; the rest is the stream.
///
/// The same messages come out whatever the split, encoding them gives the bytes back, an error comes where the stream has
/// one and stays, and each parser of a payload accepts what its builder made of what it read.
pub fn wire_decode(input: &[u8]) {
    let mut input = Bytes::new(input);
    let pieces = input.take(PIECES);
    let stream = input.rest();
    for payload_max in [PAYLOAD_MAX, SOCKET_REPLY_MAX] {
        let expected = cut(stream, payload_max);
        decode(stream.chunks(stream.len().max(1)), payload_max, &expected);
        decode(
            Pieces {
                stream,
                pieces,
                nth: 0,
            },
            payload_max,
            &expected,
        );
        decode(stream.chunks(1), payload_max, &expected);
    }
    let (messages, _) = cut(stream, PAYLOAD_MAX);
    messages.iter().for_each(|message| parse(&message.payload));
    parse(stream);
}

/// What follows the last whole message.
#[derive(Clone, Debug, Eq, PartialEq)]
enum End {
    /// Nothing.
    Between,
    /// Part of one.
    Inside,
    /// A header that announces too much.
    Dead(DecodeError),
}

/// The messages of a stream, found in the simplest way.
fn cut(mut stream: &[u8], payload_max: usize) -> (Vec<Message>, End) {
    let mut messages = Vec::new();
    loop {
        let Some((header, rest)) = stream.split_first_chunk::<HEADER_LEN>() else {
            return (
                messages,
                if stream.is_empty() {
                    End::Between
                } else {
                    End::Inside
                },
            );
        };
        let Header {
            kind,
            req_id,
            tx_id,
            len,
        } = Header::from_bytes(*header);
        assert_eq!(
            Header {
                kind,
                req_id,
                tx_id,
                len
            }
            .to_bytes()
            .collect::<Vec<u8>>(),
            header
        );
        if len as usize > payload_max {
            return (
                messages,
                End::Dead(DecodeError::Oversize {
                    kind,
                    len,
                    max: payload_max,
                }),
            );
        }
        let Some((payload, rest)) = rest.split_at_checked(len as usize) else {
            return (messages, End::Inside);
        };
        let message = Message {
            kind,
            req_id,
            tx_id,
            payload: payload.to_vec(),
        };
        assert_eq!(
            message.encode_within(payload_max).unwrap(),
            stream[..HEADER_LEN + payload.len()]
        );
        messages.push(message);
        stream = rest;
    }
}

fn decode<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    payload_max: usize,
    (messages, end): &(Vec<Message>, End),
) {
    let mut decoder = Decoder::new(payload_max);
    let mut expected = messages.iter();
    let mut dead = None;
    for mut piece in pieces {
        loop {
            let before = piece.len();
            match decoder.decode(&mut piece) {
                Ok(Some(message)) => {
                    assert!(dead.is_none(), "a message behind an error");
                    assert_eq!(Some(&message), expected.next());
                }
                Ok(None) => {
                    assert!(dead.is_none(), "an error that went away");
                    assert!(piece.is_empty(), "{} bytes were left", piece.len());
                    break;
                }
                Err(error) => {
                    assert!(
                        dead.is_none() || piece.len() == before,
                        "bytes were taken behind an error"
                    );
                    assert_eq!(*dead.get_or_insert(error), error, "another error");
                    assert!(!decoder.is_between_messages());
                    break;
                }
            }
        }
    }
    assert_eq!(expected.next(), None, "messages are missing");
    let found = match dead {
        Some(error) => End::Dead(error),
        None if decoder.is_between_messages() => End::Between,
        None => End::Inside,
    };
    assert_eq!(&found, end);
}

/// The stream in pieces of the lengths that the input names, which may be empty.
struct Pieces<'a> {
    stream: &'a [u8],
    pieces: &'a [u8],
    nth: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        if self.stream.is_empty() {
            return None;
        }
        let len = self.pieces.get(self.nth % PIECES).copied().unwrap_or(1);
        self.nth += 1;
        // Lengths of zero alone would go on for ever.
        let len = if self.nth.is_multiple_of(PIECES) {
            len.max(1)
        } else {
            len
        };
        let (piece, rest) = self
            .stream
            .split_at(usize::from(len).min(self.stream.len()));
        self.stream = rest;
        Some(piece)
    }
}

/// What a parser reads is read again in the same way from what its builder makes of it.
fn parse(bytes: &[u8]) {
    if let Ok(path) = payload::parse_path(bytes) {
        assert_eq!(payload::path(&path), bytes);
    }
    if let Ok((path, value)) = payload::parse_write(bytes) {
        assert_eq!(payload::write(&path, value), bytes);
    }
    if let Ok(event) = payload::parse_watch(bytes) {
        assert_eq!(payload::watch(&event.path, &event.token), bytes);
    }
    if let Ok(names) = payload::parse_directory(bytes) {
        assert_eq!(payload::directory(names.iter().map(String::as_str)), bytes);
    }
    if let Ok(number) = payload::parse_number(bytes) {
        assert_eq!(payload::parse_number(&payload::number(number)), Ok(number));
    }
    if let Ok(error) = payload::parse_error(bytes) {
        assert_eq!(payload::error(&error), bytes);
    }
    if let Ok(perms) = payload::parse_perms(bytes) {
        assert_eq!(payload::parse_perms(&payload::perms(&perms)), Ok(perms));
    }
    if let Ok((path, perms)) = payload::parse_set_perms(bytes) {
        assert_eq!(
            payload::parse_set_perms(&payload::set_perms(&path, &perms)),
            Ok((path, perms))
        );
    }
    if let Ok(part) = payload::parse_directory_part(bytes, usize::MAX) {
        let len: usize = part.names.iter().map(|name| name.len() + 1).sum();
        assert!(len < bytes.len());
        if let Some(next) = payload::parse_directory_part(bytes, 0).unwrap().next_offset {
            assert_eq!(next, len, "the next part begins elsewhere");
        }
    }
    assert_eq!(payload::is_ok(bytes), bytes.starts_with(b"OK\0"));
}

//! Literal bytes both ways, and every way to cut them.

use alloc::vec::Vec;
use std::string::ToString as _;

use super::*;

const ID: &str = "8b3e2a60-6f1c-4d52-9d6e-2f0f5b1c7a11";
const REQUEST: &str = r#"{"name": "version", "value": "agent"}"#;
const RESPONSE: &str = r#"{"returncode": "0", "message": "3.0.0"}"#;

/// An exchange captured from the C daemon of Xen 4.17: a watch is set, a request arrives, is read, answered and removed.
/// Payloads that repeat what stands elsewhere are written as their parts.
fn captured_exchange() -> Vec<(Message, Vec<u8>)> {
    let host = StorePath::constant("data/host");
    let guest = StorePath::constant("data/guest");
    let request = host.join(ID).unwrap();
    let token = Token::try_from("req").unwrap();
    let message = |op, req_id, payload| Message::new(op, ReqId(req_id), TxId::NONE, payload);
    let bytes = |header: &str, payload: &[&[u8]]| [unhex(header), payload.concat()].concat();
    let request_path: &[u8] = b"data/host/8b3e2a60-6f1c-4d52-9d6e-2f0f5b1c7a11\0";

    [
        (
            message(Op::Watch, 1, payload::watch(&host, &token)),
            bytes("04000000 01000000 00000000 0e000000", &[b"data/host\0req\0"]),
        ),
        (message(Op::Watch, 1, payload::ok()), bytes("04000000 01000000 00000000 03000000", &[b"OK\0"])),
        (
            message(Op::WatchEvent, 0, payload::watch(&host, &token)),
            bytes("0f000000 00000000 00000000 0e000000", &[b"data/host\0req\0"]),
        ),
        (
            message(Op::WatchEvent, 0, payload::watch(&request, &token)),
            bytes("0f000000 00000000 00000000 33000000", &[request_path, b"req\0"]),
        ),
        (message(Op::Read, 2, payload::path(&request)), bytes("02000000 02000000 00000000 2f000000", &[request_path])),
        (
            message(Op::Read, 2, REQUEST.into()),
            bytes(
                "02000000 02000000 00000000 25000000
                 7b226e61 6d65223a 20227665 7273696f 6e222c20 2276616c 7565223a 20226167 656e7422 7d",
                &[],
            ),
        ),
        (
            message(Op::Write, 3, payload::write(&guest.join(ID).unwrap(), RESPONSE.as_bytes())),
            bytes(
                "0b000000 03000000 00000000 57000000
                 64617461 2f677565 73742f38 62336532 6136302d 36663163 2d346435 322d3964 36652d32 66306635 62316337
                 61313100 7b227265 7475726e 636f6465 223a2022 30222c20 226d6573 73616765 223a2022 332e302e 30227d",
                &[],
            ),
        ),
        (message(Op::Write, 3, payload::ok()), bytes("0b000000 03000000 00000000 03000000", &[b"OK\0"])),
        (message(Op::Rm, 4, payload::path(&request)), bytes("0d000000 04000000 00000000 2f000000", &[request_path])),
        (message(Op::Rm, 4, payload::ok()), bytes("0d000000 04000000 00000000 03000000", &[b"OK\0"])),
        (
            message(Op::Error, 5, payload::error(&ErrorName::Enoent)),
            bytes("10000000 05000000 00000000 07000000", &[b"ENOENT\0"]),
        ),
    ]
    .into()
}

#[test]
fn messages_encode_to_the_captured_bytes() {
    for (message, bytes) in captured_exchange() {
        assert_eq!(message.encode().unwrap(), bytes, "{message:?}");
    }
}

#[test]
fn a_stream_cut_anywhere_gives_the_same_messages() {
    let (messages, bytes): (Vec<_>, Vec<_>) = captured_exchange().into_iter().unzip();
    let stream = bytes.concat();
    for cut in 0..=stream.len() {
        let (mut front, mut back) = stream.split_at(cut);
        let mut decoder = Decoder::new(PAYLOAD_MAX);
        let mut decoded = drain(&mut decoder, &mut front);
        decoded.extend(drain(&mut decoder, &mut back));
        assert_eq!(decoded, messages, "cut at {cut}");
        assert!(decoder.is_between_messages());
    }
}

#[test]
fn a_stream_in_single_bytes_gives_the_same_messages() {
    let (messages, bytes): (Vec<_>, Vec<_>) = captured_exchange().into_iter().unzip();
    let mut decoder = Decoder::new(PAYLOAD_MAX);
    let stream = bytes.concat();
    let decoded: Vec<_> = stream
        .chunks(1)
        .flat_map(|mut byte| drain(&mut decoder, &mut byte))
        .collect();
    assert_eq!(decoded, messages);
}

#[test]
fn an_unknown_type_is_a_message_without_an_operation() {
    let bytes = unhex("14000000 efbeadde 01000000 01000000 00");
    let decoded = drain(&mut Decoder::new(PAYLOAD_MAX), &mut bytes.as_slice());
    assert_eq!(
        decoded,
        [Message {
            kind: 20,
            req_id: ReqId(0xdead_beef),
            tx_id: TxId(1),
            payload: [0].into()
        }]
    );
    assert_eq!(decoded[0].op(), None);
    assert_eq!(decoded[0].encode().unwrap(), bytes);
}

#[test]
fn an_oversize_header_kills_the_decoder() {
    let good = Message::new(Op::Read, ReqId(1), TxId::NONE, payload::ok())
        .encode()
        .unwrap();
    for len in ["01100000", "ffffffff"] {
        let bytes = unhex(&["02000000 07000000 00000000", len].concat());
        let mut decoder = Decoder::new(PAYLOAD_MAX);
        let error = decoder.decode(&mut bytes.as_slice()).unwrap_err();
        let DecodeError::Oversize {
            kind: 2,
            max: PAYLOAD_MAX,
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!(decoder.decode(&mut good.as_slice()), Err(error));
        assert!(!decoder.is_between_messages());
    }
    assert_eq!(
        Decoder::new(16)
            .decode(&mut unhex("02000000 07000000 00000000 11000000").as_slice())
            .unwrap_err()
            .to_string(),
        "message of type 2 announces 17 bytes of payload, more than the 16 allowed"
    );
}

#[test]
fn messages_before_an_oversize_header_are_still_delivered() {
    let good = Message::new(Op::Read, ReqId(1), TxId::NONE, payload::ok());
    let stream = [
        good.encode().unwrap(),
        unhex("02000000 00000000 00000000 00100100"),
    ]
    .concat();
    let mut input = stream.as_slice();
    let mut decoder = Decoder::new(PAYLOAD_MAX);
    assert_eq!(decoder.decode(&mut input), Ok(Some(good)));
    assert!(decoder.decode(&mut input).is_err());
}

#[test]
fn a_payload_of_the_limit_passes_and_one_byte_more_does_not() {
    let mut message = Message::new(Op::Write, ReqId(1), TxId::NONE, [b'x'; PAYLOAD_MAX].into());
    let bytes = message.encode().unwrap();
    assert_eq!(
        drain(&mut Decoder::new(PAYLOAD_MAX), &mut bytes.as_slice()),
        [message.clone()]
    );
    message.payload.push(b'x');
    assert_eq!(
        message.encode(),
        Err(Oversize {
            len: 4097,
            max: 4096
        })
    );
    let bytes = message.encode_within(SOCKET_REPLY_MAX).unwrap();
    assert_eq!(
        drain(&mut Decoder::new(SOCKET_REPLY_MAX), &mut bytes.as_slice()),
        [message]
    );
}

#[test]
fn an_empty_payload_completes_with_its_header() {
    let bytes = unhex("02000000 07000000 00000000 00000000");
    let message = Message::new(Op::Read, ReqId(7), TxId::NONE, Vec::new());
    assert_eq!(
        drain(&mut Decoder::new(PAYLOAD_MAX), &mut bytes.as_slice()),
        [message]
    );
}

#[test]
fn debug_prints_no_payload() {
    let message = Message::new(
        Op::Write,
        ReqId(1),
        TxId::NONE,
        b"data/guest/x\0secret".into(),
    );
    assert_eq!(
        std::format!("{message:?}"),
        "Message { op: Write, req_id: 1, tx_id: 0, payload_len: 19 }"
    );
}

#[test]
fn payloads_parse_to_what_they_were_built_from() {
    let path = StorePath::constant("data/guest/x");
    let token = Token::try_from("a token").unwrap();
    let perms = [
        Permission {
            access: Access::None,
            domid: 0,
        },
        Permission {
            access: Access::Read,
            domid: 5,
        },
    ];
    assert_eq!(payload::parse_path(&payload::path(&path)), Ok(path.clone()));
    assert_eq!(
        payload::parse_write(&payload::write(&path, b"a\0b")),
        Ok((path.clone(), b"a\0b".as_slice()))
    );
    assert_eq!(
        payload::parse_write(&payload::write(&path, b"")),
        Ok((path.clone(), b"".as_slice()))
    );
    let event = WatchEvent {
        path: path.clone(),
        token: token.clone(),
    };
    assert_eq!(
        payload::parse_watch(&payload::watch(&path, &token)),
        Ok(event)
    );
    assert_eq!(
        payload::parse_directory(&payload::directory(["a", "b-1"])),
        Ok(["a".into(), "b-1".into()].into())
    );
    assert_eq!(payload::parse_directory(b""), Ok(Vec::new()));
    assert_eq!(
        payload::parse_number(&payload::number(u32::MAX)),
        Ok(u32::MAX)
    );
    assert_eq!(payload::perms(&perms), b"n0\0r5\0");
    assert_eq!(
        payload::parse_set_perms(&payload::set_perms(&path, &perms)),
        Ok((path.clone(), perms.into()))
    );
    assert_eq!(
        payload::directory_part(&path, 4000),
        b"data/guest/x\x004000\0"
    );
    assert_eq!(payload::transaction_end(TransactionEnd::Commit), b"T\0");
    assert_eq!(payload::transaction_end(TransactionEnd::Abort), b"F\0");
    assert_eq!(payload::no_arguments(), b"\0");
    for name in ["ENOENT", "EQUOTA", "E2BIG", "ESOMETHING"] {
        assert_eq!(
            payload::parse_error(&payload::error(&ErrorName::from(name)))
                .unwrap()
                .as_str(),
            name
        );
    }
}

#[test]
fn malformed_payloads_are_refused() {
    assert_eq!(payload::parse_path(b"data"), Err(Malformed::Fields));
    assert_eq!(payload::parse_path(b"data\0x"), Err(Malformed::Fields));
    assert_eq!(
        payload::parse_path(b"a b\0"),
        Err(Malformed::Path(InvalidPath::Byte))
    );
    assert_eq!(payload::parse_write(b"data"), Err(Malformed::Fields));
    assert_eq!(payload::parse_watch(b"data\0token"), Err(Malformed::Fields));
    assert_eq!(
        payload::parse_watch(b"data\0token\0more\0"),
        Err(Malformed::Fields)
    );
    assert_eq!(payload::parse_directory(b"a\0b"), Err(Malformed::Fields));
    assert!(payload::parse_directory(b"a\0\0").is_err());
    assert!(payload::parse_directory(b"a/b\0").is_err());
    for number in [
        b"+1\0".as_slice(),
        b"\0",
        b"1",
        b"4294967296\0",
        b"1\x002\0",
    ] {
        assert_eq!(payload::parse_number(number), Err(Malformed::Fields));
    }
    for perms in [b"".as_slice(), b"n\0", b"x0\0", b"n0", b"n-1\0", b"\0"] {
        assert_eq!(payload::parse_perms(perms), Err(Malformed::Fields));
    }
    for error in [
        b"".as_slice(),
        b"\0",
        b"ENOENT",
        b"E NOENT\0",
        b"ENOENT\0\0",
    ] {
        assert_eq!(payload::parse_error(error), Err(Malformed::Fields));
    }
}

#[test]
fn the_noise_behind_freebsds_ok_is_not_read() {
    assert!(payload::is_ok(b"OK\0"));
    assert!(payload::is_ok(b"OK\0\xde\xad\xbe\xef\x01"));
    assert!(!payload::is_ok(b"OK"));
    assert!(!payload::is_ok(b"OKAY\0"));
    assert!(!payload::is_ok(b""));
}

#[test]
fn parts_of_a_directory_say_where_the_next_one_starts() {
    let part = |payload: &[u8]| payload::parse_directory_part(payload, 100);
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    assert_eq!(
        part(b"12\0a\0bc\0"),
        Ok(DirectoryPart {
            generation: 12,
            names: names(&["a", "bc"]),
            next_offset: Some(105)
        })
    );
    assert_eq!(
        part(b"12\0a\0bc\0\0"),
        Ok(DirectoryPart {
            generation: 12,
            names: names(&["a", "bc"]),
            next_offset: None
        })
    );
    assert_eq!(
        part(b"12\0\0"),
        Ok(DirectoryPart {
            generation: 12,
            names: Vec::new(),
            next_offset: None
        })
    );
    for malformed in [
        b"".as_slice(),
        b"12",
        b"12\0",
        b"x\0a\0",
        b"12\0a",
        b"12\0\0\0",
        b"12\0a\0\0\0",
        b"12\0\0a\0",
    ] {
        assert!(part(malformed).is_err(), "{malformed:?}");
    }
}

fn drain(decoder: &mut Decoder, input: &mut &[u8]) -> Vec<Message> {
    let messages = core::iter::from_fn(|| decoder.decode(input).unwrap()).collect();
    assert!(input.is_empty());
    messages
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

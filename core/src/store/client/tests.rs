use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::wire::{StorePath, Token};

const NOW: Instant = Instant::from_origin(Duration::from_secs(1000));

fn path(text: &str) -> StorePath {
    StorePath::try_from(text).unwrap()
}

fn id(n: u64) -> OperationId {
    OperationId(n)
}

/// The next request on the wire.
fn sent(client: &mut Client) -> Message {
    let bytes = client.poll_transmit().expect("nothing to transmit");
    let mut bytes = bytes.as_slice();
    let message = Decoder::new(DEVICE_PAYLOAD_MAX)
        .decode(&mut bytes)
        .unwrap()
        .unwrap();
    assert!(bytes.is_empty(), "more than one message in a transmit");
    message
}

fn reply(op: Op, req_id: u32, payload: &[u8]) -> Vec<u8> {
    Message::new(op, ReqId(req_id), TxId::NONE, payload.into())
        .encode_within(SOCKET_REPLY_MAX)
        .unwrap()
}

/// Feeds a reply and returns the one event that it causes.
fn answer(client: &mut Client, bytes: &[u8]) -> Event {
    client.handle_bytes(NOW, bytes).unwrap();
    let event = client.poll_event().expect("no event");
    assert_eq!(client.poll_event(), None);
    event
}

#[test]
fn one_request_is_on_the_wire_at_a_time_and_order_is_kept() {
    let mut client = Client::new();
    client.submit(NOW, id(1), Operation::Read(path("data/host/a")));
    client.submit(NOW, id(2), Operation::Remove(path("data/host/a")));
    let first = sent(&mut client);
    assert_eq!(
        (first.op(), first.payload.as_slice()),
        (Some(Op::Read), b"data/host/a\0".as_slice())
    );
    assert_eq!(client.poll_transmit(), None);
    let event = answer(&mut client, &reply(Op::Read, first.req_id.0, b"value"));
    assert_eq!(
        event,
        Event::Answered(id(1), Ok(Reply::Value(b"value".into())))
    );
    let second = sent(&mut client);
    assert_eq!(second.op(), Some(Op::Rm));
    assert_ne!(first.req_id, second.req_id);
}

#[test]
fn a_mangled_request_id_does_not_matter() {
    let mut client = Client::new();
    client.submit(NOW, id(1), Operation::Read(path("a")));
    sent(&mut client);
    let event = answer(&mut client, &reply(Op::Read, 0xdead_beef, b""));
    assert_eq!(event, Event::Answered(id(1), Ok(Reply::Value(Vec::new()))));
}

#[test]
fn a_reply_that_comes_twice_is_not_the_answer_to_the_next_request() {
    let mut client = Client::new();
    client.submit(
        NOW,
        id(1),
        Operation::Write {
            path: path("data/guest/a"),
            value: b"1".into(),
        },
    );
    client.submit(
        NOW,
        id(2),
        Operation::Write {
            path: path("data/guest/b"),
            value: b"2".into(),
        },
    );
    sent(&mut client);
    let twice = reply(Op::Write, 1, b"OK\0").repeat(2);
    assert!(matches!(
        client.handle_bytes(NOW, &twice),
        Err(ProtocolError::Unasked { .. })
    ));
    assert_eq!(
        client.poll_event(),
        Some(Event::Answered(id(1), Ok(Reply::Done)))
    );
    assert_eq!(client.poll_event(), None);
}

#[test]
fn an_event_with_garbage_in_its_header_is_not_a_reply() {
    let mut client = Client::new();
    client.submit(
        NOW,
        id(1),
        Operation::Watch {
            path: path("data/host"),
            token: Token::try_from("t").unwrap(),
        },
    );
    let request = sent(&mut client);
    // The first event of a watch may come before its reply, with the number of the request in its header.
    let event = Message::new(
        Op::WatchEvent,
        request.req_id,
        TxId(0x8183_fe70),
        b"data/host\0t\0".into(),
    );
    let fired = Event::Fired {
        path: path("data/host"),
        token: Token::try_from("t").unwrap(),
    };
    assert_eq!(answer(&mut client, &event.encode().unwrap()), fired);
    let event = answer(
        &mut client,
        &reply(Op::Watch, request.req_id.0, b"OK\0\xff\x12\x34\x56\x78"),
    );
    assert_eq!(event, Event::Answered(id(1), Ok(Reply::Done)));
}

#[test]
fn an_error_reply_is_an_ordinary_answer() {
    let mut client = Client::new();
    client.submit(NOW, id(1), Operation::Read(path("a")));
    sent(&mut client);
    let event = answer(&mut client, &reply(Op::Error, 1, b"ENOENT\0"));
    assert_eq!(event, Event::Answered(id(1), Err(ErrorName::Enoent)));
}

#[test]
fn a_list_that_is_too_long_is_read_in_parts() {
    let mut client = Client::new();
    client.submit(NOW, id(1), Operation::List(path("data/host")));
    sent(&mut client);
    client
        .handle_bytes(NOW, &reply(Op::Error, 1, b"E2BIG\0"))
        .unwrap();
    let part = sent(&mut client);
    assert_eq!(
        (part.op(), part.payload.as_slice()),
        (Some(Op::DirectoryPart), b"data/host\x000\0".as_slice())
    );
    client
        .handle_bytes(NOW, &reply(Op::DirectoryPart, 2, b"7\0aa\0bb\0"))
        .unwrap();
    assert_eq!(sent(&mut client).payload, b"data/host\x006\0");
    let event = answer(&mut client, &reply(Op::DirectoryPart, 3, b"7\0c\0\0"));
    let names = vec!["aa".into(), "bb".into(), "c".into()];
    assert_eq!(event, Event::Answered(id(1), Ok(Reply::Names(names))));
}

#[test]
fn a_store_without_parts_leaves_the_list_too_long() {
    let mut client = Client::new();
    client.submit(NOW, id(1), Operation::List(path("data/host")));
    sent(&mut client);
    client
        .handle_bytes(NOW, &reply(Op::Error, 1, b"E2BIG\0"))
        .unwrap();
    sent(&mut client);
    let event = answer(&mut client, &reply(Op::Error, 2, b"ENOSYS\0"));
    assert_eq!(event, Event::Answered(id(1), Err(ErrorName::E2Big)));
}

#[test]
fn a_value_that_does_not_fit_the_device_is_refused_without_being_sent() {
    let mut client = Client::new();
    let value = vec![b'x'; DEVICE_PAYLOAD_MAX];
    client.submit(
        NOW,
        id(1),
        Operation::Write {
            path: path("a"),
            value,
        },
    );
    client.submit(NOW, id(2), Operation::Read(path("a")));
    assert_eq!(
        client.poll_event(),
        Some(Event::Answered(id(1), Err(ErrorName::E2Big)))
    );
    assert_eq!(sent(&mut client).op(), Some(Op::Read));
}

#[test]
fn a_reply_to_something_else_ends_the_connection() {
    let mut client = Client::new();
    assert_eq!(
        client.handle_bytes(NOW, &reply(Op::Read, 1, b"")),
        Err(ProtocolError::Unasked {
            kind: Op::Read.raw()
        })
    );
    let mut client = Client::new();
    client.submit(NOW, id(1), Operation::Read(path("a")));
    sent(&mut client);
    let expected = ProtocolError::WrongReply {
        kind: Op::Write.raw(),
        expected: Op::Read,
    };
    assert_eq!(
        client.handle_bytes(NOW, &reply(Op::Write, 1, b"OK\0")),
        Err(expected)
    );
}

#[test]
fn malformed_replies_end_the_connection_and_are_named() {
    for (operation, op, payload) in [
        (Operation::Remove(path("a")), Op::Rm, b"NO\0".as_slice()),
        (
            Operation::List(path("a")),
            Op::Directory,
            b"name without end",
        ),
        (Operation::Read(path("a")), Op::Error, b""),
        (
            Operation::Read(path("a")),
            Op::WatchEvent,
            b"only one field\0",
        ),
    ] {
        let mut client = Client::new();
        client.submit(NOW, id(1), operation);
        sent(&mut client);
        let error = client
            .handle_bytes(NOW, &reply(op, 1, payload))
            .unwrap_err();
        assert!(matches!(error, ProtocolError::Malformed(_)), "{error:?}");
        assert!(
            error.to_string().starts_with("malformed reply: "),
            "{error}"
        );
    }
}

#[test]
fn a_store_that_owes_a_reply_is_given_up() {
    let mut client = Client::new();
    assert_eq!(client.deadline(), None);
    client.submit(NOW, id(1), Operation::Read(path("a")));
    let deadline = client.deadline().unwrap();
    assert_eq!(deadline, NOW.after(REPLY_TIMEOUT));
    assert_eq!(client.handle_timeout(NOW), Ok(()));
    assert_eq!(client.handle_timeout(deadline), Err(ProtocolError::NoReply));
}

#[test]
fn any_split_of_the_stream_means_the_same() {
    let stream: Vec<u8> = [
        Message::new(
            Op::WatchEvent,
            ReqId(5),
            TxId(9),
            b"data/host/x\0t\0".into(),
        )
        .encode()
        .unwrap(),
        reply(Op::Read, 1, b"value"),
        Message::new(Op::WatchEvent, ReqId(0), TxId(0), b"data/host\0t\0".into())
            .encode()
            .unwrap(),
    ]
    .concat();
    let run = |cut: usize| {
        let mut client = Client::new();
        client.submit(NOW, id(1), Operation::Read(path("a")));
        sent(&mut client);
        client.handle_bytes(NOW, &stream[..cut]).unwrap();
        client.handle_bytes(NOW, &stream[cut..]).unwrap();
        core::iter::from_fn(|| client.poll_event()).collect::<Vec<Event>>()
    };
    let whole = run(0);
    assert_eq!(whole.len(), 3);
    for cut in 1..stream.len() {
        assert_eq!(run(cut), whole, "cut at {cut}");
    }
}

#[test]
fn a_socket_may_list_as_many_names_as_the_bound_and_no_more() {
    for (count, is_whole) in [
        (10_000, true),
        (10_001, false),
        (SOCKET_REPLY_MAX / 2, false),
    ] {
        let mut client = Client::new();
        client.submit(NOW, id(1), Operation::List(path("data/host")));
        sent(&mut client);
        let event = answer(&mut client, &reply(Op::Directory, 1, &b"a\0".repeat(count)));
        match event {
            Event::Answered(_, Ok(Reply::Names(names))) => {
                assert!(is_whole && names.len() == count)
            }
            event @ (Event::Answered(..) | Event::Fired { .. }) => {
                assert_eq!(
                    (event, is_whole),
                    (Event::Answered(id(1), Err(ErrorName::E2Big)), false)
                )
            }
        }
    }
}

//! The client of one connection against a store that answers what it likes.

use std::collections::VecDeque;
use std::time::Duration;

use nova_agent_core::Instant;
use nova_agent_core::store::{
    Client, Event, Operation, OperationId, ProtocolError, REPLY_TIMEOUT, Reply,
};
use nova_agent_core::wire::{
    DEVICE_PAYLOAD_MAX, Decoder, ErrorName, HEADER_LEN, Message, Op, ReqId, SOCKET_REPLY_MAX,
    StorePath, Token, TxId, payload,
};

use crate::bytes::Bytes;

const PATHS: [&str; 4] = [
    "data/host",
    "data/guest/a",
    "/local/domain/0/name",
    "@releaseDomain",
];

const ERRORS: [&str; 8] = [
    "ENOENT",
    "EAGAIN",
    "E2BIG",
    "ENOSYS",
    "EINVAL",
    "EQUOTA",
    "EACCES",
    "EWHATEVER",
];

/// A list of what happens: operations are submitted, the store answers rightly, wrongly, in pieces or with any bytes, time
/// passes.
///
/// Operations go out and are answered in their order, each once and none before it was sent; one request is on the wire;
/// watch events come out as they came in. When the store behaves again, or owes an answer for too long, nothing stays
/// open.
pub fn store_client(input: &[u8]) {
    let mut input = Bytes::new(input);
    let mut world = World::default();
    while let Some(choice) = input.next() {
        if world.is_over {
            return;
        }
        match choice % 16 {
            0..=4 => {
                let operation = operation(choice % 16, &mut input);
                world.submit(operation);
            }
            5..=7 => world.answer(input.chunk().to_vec(), &mut input),
            8 => {
                let names = input.chunk();
                world.answer(directory(names), &mut input);
            }
            9 => {
                let part = part(&mut input);
                world.answer(part, &mut input);
            }
            10 => world.reply(
                Op::Error,
                payload::error(&ErrorName::from(input.pick(&ERRORS))),
                &mut input,
            ),
            11 => world.reply(Op::Error, input.chunk().to_vec(), &mut input),
            12 => {
                let path = StorePath::try_from(input.pick(&PATHS)).unwrap();
                let token = Token::try_from([b't', input.byte() | 1].as_slice()).unwrap();
                world.fired.push_back((path.clone(), token.clone()));
                world.reply(Op::WatchEvent, payload::watch(&path, &token), &mut input);
            }
            13 => {
                let op = Op::from_raw(u32::from(input.byte() % 32)).unwrap_or(Op::Error);
                let payload = input.chunk().to_vec();
                let event = payload::parse_watch(&payload)
                    .ok()
                    .filter(|_| op == Op::WatchEvent);
                world
                    .fired
                    .extend(event.map(|event| (event.path, event.token)));
                world.reply(op, payload, &mut input);
            }
            14 => {
                world.is_raw = true;
                let bytes = input.chunk();
                world.receive(bytes);
            }
            _ => world.pass(Duration::from_millis(u64::from(input.word()))),
        }
    }
    world.finish();
}

fn operation(choice: u8, input: &mut Bytes<'_>) -> Operation {
    let path = StorePath::try_from(input.pick(&PATHS)).unwrap();
    match choice {
        0 => Operation::List(path),
        1 => Operation::Read(path),
        2 => Operation::Remove(path),
        3 => Operation::Watch {
            path,
            token: Token::try_from(b"token".as_slice()).unwrap(),
        },
        // Around the limits of the device, and over them.
        _ => Operation::Write {
            path,
            value: vec![b'v'; usize::from(input.byte()) * 20],
        },
    }
}

/// Names of children of one letter each.
fn directory(names: &[u8]) -> Vec<u8> {
    names
        .iter()
        .flat_map(|name| [b'a' + name % 26, 0])
        .collect()
}

/// A part of a list.
fn part(input: &mut Bytes<'_>) -> Vec<u8> {
    let (generation, is_last) = (input.below(4), input.below(2) == 0);
    let mut part = format!("{generation}\0").into_bytes();
    part.extend(directory(input.chunk()));
    if is_last {
        part.push(0);
    }
    part
}

/// A client, and what is known of it from outside.
#[derive(Default)]
struct World {
    client: Client,
    now: Instant,
    submitted: u64,
    /// Operations without an answer, the oldest first.
    open: VecDeque<(OperationId, Operation)>,
    /// The request on the wire: its type and number, and since when it is there.
    on_wire: Option<(Op, ReqId, Instant)>,
    /// Watch events that the client has to tell.
    fired: VecDeque<(StorePath, Token)>,
    /// The messages that the client has received.
    received: Option<Decoder>,
    /// Whether bytes came that may be anything.
    is_raw: bool,
    is_over: bool,
}

impl World {
    fn submit(&mut self, operation: Operation) {
        self.submitted += 1;
        let id = OperationId::new(self.submitted);
        self.open.push_back((id, operation.clone()));
        self.client.submit(self.now, id, operation);
        self.drain();
    }

    /// An answer of the right type to the request on the wire, if there is one.
    fn answer(&mut self, payload: Vec<u8>, input: &mut Bytes<'_>) {
        if let Some((op, ..)) = self.on_wire {
            let is_done =
                matches!(op, Op::Watch | Op::Write | Op::Rm) && payload.len().is_multiple_of(2);
            self.reply(op, if is_done { payload::ok() } else { payload }, input);
        }
    }

    /// A message in two pieces.
    fn reply(&mut self, op: Op, payload: Vec<u8>, input: &mut Bytes<'_>) {
        let req_id = self.on_wire.map_or(ReqId(7), |(_, req_id, _)| req_id);
        let bytes = Message::new(op, req_id, TxId::NONE, payload)
            .encode()
            .unwrap();
        let (first, second) = bytes.split_at(input.below(256).min(bytes.len()));
        self.receive(first);
        self.receive(second);
    }

    fn receive(&mut self, mut bytes: &[u8]) {
        if self.is_over {
            return;
        }
        let result = self.client.handle_bytes(self.now, bytes);
        let decoder = self
            .received
            .get_or_insert_with(|| Decoder::new(SOCKET_REPLY_MAX));
        let mut replies = 0;
        while let Ok(Some(message)) = decoder.decode(&mut bytes) {
            replies += usize::from(message.op() != Some(Op::WatchEvent));
        }
        if result.is_ok() {
            let asked = usize::from(self.on_wire.is_some());
            assert!(replies <= asked, "{replies} answers to {asked} requests");
        }
        if replies > 0 {
            self.on_wire = None;
        }
        match result {
            Ok(()) => self.drain(),
            Err(_) => self.is_over = true,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        let is_due = self
            .on_wire
            .is_some_and(|(.., since)| since.after(REPLY_TIMEOUT) <= self.now);
        let expected = if is_due {
            Err(ProtocolError::NoReply)
        } else {
            Ok(())
        };
        assert_eq!(self.client.handle_timeout(self.now), expected);
        self.is_over |= is_due;
    }

    fn drain(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Answered(id, result) => {
                    let (expected, operation) =
                        self.open.pop_front().expect("an answer to no operation");
                    assert_eq!(id, expected, "answered out of order");
                    check_answer(&operation, &result);
                }
                // Behind bytes that may be anything, nobody knows what the next ones mean.
                Event::Fired { .. } if self.is_raw => {}
                Event::Fired { path, token } => {
                    assert_eq!(self.fired.pop_front(), Some((path, token)))
                }
            }
        }
        if let Some(bytes) = self.client.poll_transmit() {
            assert!(self.on_wire.is_none(), "a second request on the wire");
            assert!(
                bytes.len() <= HEADER_LEN + DEVICE_PAYLOAD_MAX,
                "{} bytes for the device",
                bytes.len()
            );
            let mut rest = bytes.as_slice();
            let message = Decoder::new(DEVICE_PAYLOAD_MAX)
                .decode(&mut rest)
                .unwrap()
                .expect("one whole message");
            assert!(rest.is_empty(), "more than one message");
            let (_, operation) = self.open.front().expect("a request for no operation");
            check_request(operation, &message);
            self.on_wire = Some((message.op().unwrap(), message.req_id, self.now));
            assert!(self.client.poll_transmit().is_none() && self.client.poll_event().is_none());
        }
        assert!(
            self.open.is_empty() || self.on_wire.is_some(),
            "an operation that nobody works on"
        );
        assert_eq!(
            self.client.deadline(),
            self.on_wire.map(|(.., since)| since.after(REPLY_TIMEOUT))
        );
    }

    /// The store answers everything that is open. If it stopped within a message, time ends the connection.
    fn finish(mut self) {
        let is_whole = self
            .received
            .as_ref()
            .is_none_or(Decoder::is_between_messages);
        while is_whole && !self.open.is_empty() && !self.is_over {
            let (op, ..) = self.on_wire.expect("an operation that nobody works on");
            let open = self.open.len();
            let payload = match op {
                Op::DirectoryPart => b"1\0\0".to_vec(),
                Op::Directory | Op::Read => Vec::new(),
                _ => payload::ok(),
            };
            self.reply(op, payload, &mut Bytes::new(&[]));
            // A list of which parts of another generation are there begins again, once.
            assert!(self.is_over || self.open.len() < open || op == Op::DirectoryPart);
        }
        if !self.is_over && !self.open.is_empty() {
            self.pass(REPLY_TIMEOUT);
            assert!(self.is_over, "operations that are never answered");
        }
    }
}

fn check_request(operation: &Operation, message: &Message) {
    let op = message.op();
    match operation {
        Operation::List(path) => match op {
            Some(Op::DirectoryPart) => assert!(message.payload.starts_with(&payload::path(path))),
            _ => assert_eq!(
                (op, &message.payload),
                (Some(Op::Directory), &payload::path(path))
            ),
        },
        Operation::Read(path) => assert_eq!(
            (op, &message.payload),
            (Some(Op::Read), &payload::path(path))
        ),
        Operation::Remove(path) => {
            assert_eq!((op, &message.payload), (Some(Op::Rm), &payload::path(path)))
        }
        Operation::Watch { path, token } => {
            assert_eq!(
                (op, &message.payload),
                (Some(Op::Watch), &payload::watch(path, token))
            );
        }
        Operation::Write { path, value } => {
            assert_eq!(
                (op, &message.payload),
                (Some(Op::Write), &payload::write(path, value))
            );
        }
    }
}

fn check_answer(operation: &Operation, result: &Result<Reply, ErrorName>) {
    let fits = match (operation, result) {
        (_, Err(_)) => true,
        (Operation::List(_), Ok(reply)) => matches!(reply, Reply::Names(_)),
        (Operation::Read(_), Ok(reply)) => matches!(reply, Reply::Value(_)),
        (Operation::Remove(_) | Operation::Watch { .. } | Operation::Write { .. }, Ok(reply)) => {
            *reply == Reply::Done
        }
    };
    assert!(fits, "{operation} was answered {result:?}");
}

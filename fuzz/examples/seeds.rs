//! Writes the seeds below `corpus/`: `cargo run --example seeds`.
//!
//! They come from the exchanges of `tests/transcripts` and from the lists below. An input
//! that a fuzzer found and that is worth keeping does not belong here, but below `regressions/`.

use std::fs;
use std::path::Path;

use nova_agent_core::wire::{Message, Op, ReqId, TxId};

fn main() {
    wire();
    for (name, actions) in STORE_CLIENT {
        write("store_client", name, actions);
    }
    for (name, config, actions) in machine() {
        write("machine", name, &[&[config], actions.as_slice()].concat());
    }
    for (name, switches, others, digest, public_key, noise, password) in DECRYPT {
        let chunk = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap()], bytes].concat();
        let (host, guest) = (chunk(b"of the host's 16+ bytes"), chunk(&[0xa5; 64]));
        let (public_key, noise) = (chunk(public_key.as_bytes()), chunk(noise.as_bytes()));
        let input = [
            &[switches, others],
            &*host,
            &*guest,
            &[digest],
            &*public_key,
            &*noise,
            password.as_bytes(),
        ];
        write("decrypt", name, &input.concat());
    }
    for (name, text) in REQUEST {
        write("request", name, text.as_bytes());
    }
}

fn write(target: &str, name: &str, input: &[u8]) {
    let directory = root().join("fuzz/corpus").join(target);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), input).unwrap();
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

// wire_decode: both directions of each exchange.

fn wire() {
    for daemon in ["c", "oxen"] {
        let text = fs::read_to_string(
            root()
                .join("tests/transcripts")
                .join(daemon)
                .with_extension("txt"),
        )
        .unwrap();
        for exchange in text.split("# ").filter(|exchange| !exchange.is_empty()) {
            let (title, lines) = exchange.split_once('\n').unwrap();
            for side in ["agent", "store"] {
                let prefix = format!("{side}: ");
                let mut stream: Vec<u8> = vec![16, 3, 0, 200];
                for (nth, line) in
                    (1..).zip(lines.lines().filter_map(|line| line.strip_prefix(&prefix)))
                {
                    stream.extend(message(line, side == "agent", nth));
                }
                // The daemons differ in what comes first, and in what an agent sends only if that matters to it.
                if stream.len() > 4 && (daemon == "c" || side == "store") {
                    write(
                        "wire_decode",
                        &format!("{daemon}-{side}-{}", title.replace([' ', '\'', ','], "-")),
                        &stream,
                    );
                }
            }
        }
    }
    write(
        "wire_decode",
        "header-with-too-long-a-payload",
        b"\x01\x02\x03\x04\x02\0\0\0\x01\0\0\0\0\0\0\0\x01\x10\0\0x",
    );
    write("wire_decode", "directory-in-parts", b"\x10\x10\x10\x10\x16\0\0\0\x01\0\0\0\0\0\0\0\x07\0\0\x0042\0a\0b\0\x16\0\0\0\x02\0\0\0\0\0\0\0\x06\0\0\x0042\0c\0\0");
    write(
        "wire_decode",
        "permissions",
        b"\x01\x01\x01\x01\x0e\0\0\0\x01\0\0\0\0\0\0\0\x0b\0\0\0data\0n5\0r0\0",
    );
}

fn message(line: &str, is_request: bool, number: u32) -> Vec<u8> {
    let (kind, text) = line.split_once(' ').unwrap_or((line, ""));
    let op = match kind {
        "DIRECTORY" => Op::Directory,
        "READ" => Op::Read,
        "WATCH" => Op::Watch,
        "UNWATCH" => Op::Unwatch,
        "WRITE" => Op::Write,
        "RM" => Op::Rm,
        "WATCH_EVENT" => Op::WatchEvent,
        "ERROR" => Op::Error,
        _ => panic!("{line}"),
    };
    let payload = match (op, is_request) {
        (Op::Read, false) => text.into(),
        (Op::Write, true) => text.replacen(' ', "\0", 1),
        _ if text.is_empty() => String::new(),
        _ => text.replace(' ', "\0") + "\0",
    };
    let number = if op == Op::WatchEvent { 0 } else { number };
    Message::new(op, ReqId(number), TxId::NONE, payload.into_bytes())
        .encode()
        .unwrap()
}

// store_client: numbers of actions and their arguments, as `store_client.rs` reads them.

const STORE_CLIENT: [(&str, &[u8]); 10] = [
    ("a-watch-and-its-event", b"\x03\x00\x05\x00\xff\x0c\x00t\xff\x0c\x01t\x07"),
    ("two-reads-and-a-missing-node", b"\x01\x00\x01\x01\x05\x05value\xff\x0a\x00\x03"),
    ("a-write-and-a-removal", b"\x04\x01\x05\x02\x01\x05\x00\xff\x05\x00\x10"),
    ("a-list", b"\x00\x00\x08\x03abc\x08"),
    ("a-list-in-parts", b"\x00\x00\x0a\x02\xff\x09\x01\x01\x02ab\xff\x09\x01\x00\x01c\xff"),
    (
        "a-list-in-parts-that-changes",
        b"\x00\x00\x0a\x02\xff\x09\x01\x01\x02ab\xff\x09\x02\x01\x01c\xff\x09\x02\x00\x02ab\xff",
    ),
    ("a-store-without-parts", b"\x00\x00\x0a\x02\xff\x0a\x03\xff"),
    ("a-value-that-no-device-takes", b"\x04\x00\xff\x01\x00\x05\x00\xff"),
    ("no-answer", b"\x01\x00\x0f\xff\xff"),
    (
        "bytes-of-an-answer-and-more",
        b"\x01\x00\x01\x00\x0e\x22\x02\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0x\x02\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0y",
    ),
];

// machine: as `machine.rs` reads them.

const CONNECT: u8 = 30;
const POST: u8 = 0;
const POST_ANY: u8 = 3;
const WITHDRAW: u8 = 4;
const SERVE: u8 = 5;
const REFUSE: u8 = 10;
const LIE: u8 = 11;
const DELIVER: u8 = 12;
const DELIVER_SOME: u8 = 16;
const SEND: u8 = 17;
const FIRE: u8 = 18;
const COMPLETE: u8 = 19;
const FAIL: u8 = 23;
const COMPLETE_AGAIN: u8 = 24;
const MISUSE: u8 = 25;
const MILLISECONDS: u8 = 26;
const SECONDS: u8 = 27;
const GO_BACK: u8 = 28;
const CLOSE: u8 = 29;
const TERMINATE: u8 = 31;

fn machine() -> Vec<(&'static str, u8, Vec<u8>)> {
    // Answers and outcomes, in turn.
    let work = |rounds: usize| [SERVE, DELIVER, COMPLETE, 0].repeat(rounds);
    let post = |number: u8| vec![POST, number];
    let start = [&[CONNECT][..], &work(4)].concat();
    let seed = |parts: &[&[u8]]| parts.concat();
    vec![
        ("a-version", 0, seed(&[&start, &post(0), &work(8)])),
        (
            "all-requests-before-the-start",
            0,
            seed(&[
                &(0..16).flat_map(post).collect::<Vec<u8>>(),
                &start,
                &work(99),
            ]),
        ),
        ("a-network-reset", 0, seed(&[&start, &post(11), &work(40)])),
        (
            "a-network-reset-at-the-start",
            8,
            seed(&[&start, &work(40)]),
        ),
        (
            "a-network-reset-that-fails",
            0,
            seed(&[
                &start,
                &post(11),
                &work(16),
                &[FAIL, 0, 9, 4],
                b"disk",
                &work(40),
            ]),
        ),
        ("a-hostname", 0, seed(&[&start, &post(10), &work(30)])),
        (
            "a-file-while-another-waits",
            0,
            seed(&[&start, &post(7), &post(8), &post(0), &work(40)]),
        ),
        (
            "a-key-exchange-and-a-bad-password",
            0,
            seed(&[&start, &post(3), &work(8), &post(5), &work(8)]),
        ),
        (
            "a-request-taken-back",
            0,
            seed(&[
                &start,
                &post(7),
                &post(8),
                &work(2),
                &[WITHDRAW, 1],
                &work(20),
            ]),
        ),
        (
            "an-end-of-the-connection-in-a-plan",
            0,
            seed(&[
                &start,
                &post(8),
                &work(3),
                &[CLOSE, SECONDS, 1],
                &start,
                &work(20),
            ]),
        ),
        (
            "a-quota",
            0,
            seed(&[
                &start,
                &post(0),
                &[SERVE, DELIVER, REFUSE, 4, DELIVER],
                &work(9),
                &[SECONDS, 130],
                &work(9),
            ]),
        ),
        (
            "a-lie",
            0,
            seed(&[
                &start,
                &post(0),
                &[LIE, 0x40, 3],
                b"OK\0",
                &[DELIVER],
                &work(9),
            ]),
        ),
        (
            "any-bytes",
            0,
            seed(&[
                &start,
                &[SEND, 16],
                &[0xff; 16],
                &[DELIVER_SOME, 3, DELIVER],
                &work(3),
                &[SECONDS, 1],
                &start,
            ]),
        ),
        (
            "an-event-for-nothing",
            0,
            seed(&[
                &start,
                &[FIRE, 4],
                b"none",
                &work(9),
                &[FIRE, 9],
                b"data/host",
                &work(9),
            ]),
        ),
        (
            "an-empty-request",
            0,
            seed(&[&start, &post(15), &work(4), &[SECONDS, 11], &work(9)]),
        ),
        (
            "any-request",
            0,
            seed(&[&start, &[POST_ANY, 17], br#"{"name": "ready"}"#, &work(9)]),
        ),
        (
            "outcomes-twice-and-unknown",
            0,
            seed(&[
                &start,
                &post(3),
                &work(5),
                &[COMPLETE_AGAIN, 0, MISUSE, 0, MISUSE, 1],
                &work(5),
            ]),
        ),
        (
            "an-effect-that-hangs",
            0,
            seed(&[
                &start,
                &post(7),
                &[SERVE, DELIVER, SECONDS, 40, SECONDS, 40],
                &work(20),
            ]),
        ),
        (
            "time-that-goes-back",
            0,
            seed(&[
                &start,
                &[GO_BACK, 0, 8],
                &post(0),
                &[SERVE, GO_BACK, 0, 16, SECONDS, 29],
                &work(9),
            ]),
        ),
        (
            "no-answer",
            16,
            seed(&[
                &start,
                &post(0),
                &[SECONDS, 40, SECONDS, 1],
                &start,
                &work(9),
            ]),
        ),
        (
            "a-stop-in-a-plan",
            0,
            seed(&[&start, &post(8), &work(3), &[TERMINATE, 0], &work(20)]),
        ),
        (
            "a-stop-without-a-connection",
            0,
            seed(&[&[CLOSE, MILLISECONDS, 200, 0, TERMINATE, 0]]),
        ),
    ]
}

// decrypt: switches, other exchanges, digest, a public key, noise, the password.

const DECRYPT: [(&str, u8, u8, u8, &str, &str, &str); 10] = [
    (
        "md5",
        0,
        0,
        0,
        "77807892074740603229543760744278",
        "hWP5OP7ypes7fweTnznY6A==",
        "Tr0ub4dor&3",
    ),
    (
        "sha1",
        0,
        0,
        1,
        "2",
        "Lt8vpgimVwLg9lpiM4hQOw==",
        "Tr0ub4dor&3",
    ),
    (
        "sha256",
        0,
        0,
        2,
        "162259276829213363391578010288125",
        "alzJvStQjAAr/DE/lzHMCw==",
        "Tr0ub4dor&3",
    ),
    ("among-others", 1, 6, 2, "1", "", "p\u{e4}ssword \u{1f511}"),
    (
        "pushed-out-by-others",
        0,
        9,
        0,
        "162259276829213363391578010288126",
        "====",
        "secret",
    ),
    ("not-terminated", 2, 0, 2, " 12 ", "YWJj\n", "no newline"),
    ("empty", 0, 0, 0, "", "", ""),
    ("padding-only", 2, 0, 1, "0x10", "%", ""),
    ("a-line-break-inside", 0, 0, 0, "-5", "YWJj", "root\ntoor"),
    (
        "a-tab-and-a-whole-block",
        0,
        1,
        0,
        "000000000000000000000000000000000000005",
        "a",
        "0123456789\tabcd",
    ),
];

const REQUEST: [(&str, &str); 17] = [
    ("version", r#"{"name": "version", "value": "agent"}"#),
    ("features-in-another-case", r#"{"name": "FEATURES"}"#),
    (
        "unknown-command",
        "{\"name\": \"no\n\\\"such\\\" caf\u{e9}\", \"value\": [1, null]}",
    ),
    ("broken-json", "{\"name\": \"version\", \"value\": "),
    ("deep-json", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["),
    (
        "number-for-a-key",
        r#"{"name": "keyinit", "value": 118651915984640172265778366366426}"#,
    ),
    ("degenerate-key", r#"{"name": "keyinit", "value": "1"}"#),
    (
        "password-without-exchange",
        r#"{"name": "password", "value": "hWP5OP7ypes7fweTnznY6A=="}"#,
    ),
    (
        "file",
        r#"{"name": "injectfile", "value": "L2V0Yy9tb3RkLGhlbGxv"}"#,
    ),
    (
        "file-in-two-texts",
        r#"{"name": "file_inject", "value": {"b64_path": "L2E=", "b64_file": "Yg=="}}"#,
    ),
    (
        "file-with-a-bad-path",
        r#"{"name": "injectfile", "value": "Li4vZXRjL21vdGQsaGVsbG8="}"#,
    ),
    ("hostname", r#"{"name": "sethostname", "value": "web-02"}"#),
    (
        "network",
        "-- hostname\nweb-01\n-- networking 00163E000001\n{\"label\": \"public\", \"mac\": \"00:16:3E:00:00:01\", \
         \"ips\": [{\"ip\": \"203.0.113.10\", \"netmask\": \"24\"}], \"gateway\": \"203.0.113.1\"}\n-- vif 0\n00:16:3e:00:00:01\n\
         -- request\n{\"name\": \"resetnetwork\", \"value\": \"\"}\n-- request\n{\"name\": \"resetnetwork\"}\n",
    ),
    (
        "network-without-data",
        r#"{"name": "resetnetwork", "value": ""}"#,
    ),
    (
        "secret-file",
        "-- injectfile /root/.ssh/authorized_keys\nssh-ed25519 AAAA\n-- file_inject /etc/a,b\nx\n",
    ),
    (
        "secret-file-that-fails",
        "-- fail\nno space \"left\"\n on device\\\n-- injectfile /etc/motd\nhello\n",
    ),
    (
        "secret-passwords",
        "-- password\nTr0ub4dor&3\n-- password 1\nsecond\n-- fail\nbusy\n-- password 22\n\u{e4}\n",
    ),
];

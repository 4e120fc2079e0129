//! Small requests and values that are meant to cost much: numbers, depth, keys, lists.

use std::fs;
use std::time::{Duration, Instant};

use nova_agent_tests::agent::Rig;
use nova_agent_tests::host::Server;
use serde_json::{Value, json};

use super::{EMBEDDED, VERSION, on_with};

/// Any of them is answered within this time, on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// What all of them together may make the agent grow by, in KiB: a few times the largest value.
const GROWTH_MAX: u64 = 4096;

/// As long as a host can make a value.
const LEN: usize = 4000;

#[test]
fn a_bomb_is_answered_and_takes_neither_time_nor_memory() {
    on_with(&EMBEDDED[..1], |rig| {
        rig.sandbox()
            .install_debian(&["BC:76:4E:20:75:72", "BC:76:4E:20:5E:FB"]);
        rig.host().provision(&Server::two_networks()).unwrap();
        rig.start_agent();
        // What it needs anyway.
        assert_eq!(ask(rig, &command("resetnetwork", "\"\"")), "0");
        ask(rig, &command("keyinit", "5"));
        ask(rig, &command("file_inject", "{}"));
        let before = peak(rig);

        for value in bombs() {
            for name in [
                "keyinit",
                "password",
                "injectfile",
                "file_inject",
                "sethostname",
                "version",
            ] {
                ask(rig, &command(name, &value));
            }
            ask(rig, &format!("{{\"name\": {value}}}"));
            ask(rig, &value);
            // As one interface of two, as a part of one, and as a hostname.
            let part =
                |field: &str| format!("{{\"mac\": \"BC:76:4E:20:5E:FB\", \"{field}\": {value}}}");
            for (node, text) in [
                ("networking/BC764E205EFB", value.clone()),
                ("networking/BC764E205EFB", part("ips")),
                ("networking/BC764E205EFB", part("routes")),
                ("networking/BC764E205EFB", part("label")),
                ("hostname", value.clone()),
            ] {
                // Cut, it would be another bomb.
                assert!(
                    text.len() <= LEN,
                    "{node} has no room for {} bytes",
                    text.len()
                );
                let path = rig.host().path(&format!("vm-data/{node}"));
                rig.host().client().write(&path, &text).unwrap();
                assert_ne!(ask(rig, &command("resetnetwork", "\"\"")), "404");
            }
        }
        let grown = peak(rig) - before;
        assert!(grown <= GROWTH_MAX, "the agent has grown by {grown} KiB");
        assert_eq!(ask(rig, VERSION), "0");
    });
}

/// JSON, or nearly.
fn bombs() -> Vec<String> {
    let nested = |open: &str, close: &str| {
        let depth = (LEN - 200) / (open.len() + close.len());
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    };
    let many = |item: &str| {
        format!(
            "[{}{item}]",
            format!("{item},").repeat((LEN - 200) / (item.len() + 1))
        )
    };
    let keys: Value = (0..300)
        .map(|nth| (format!("k{nth}"), json!(nth)))
        .collect();
    vec![
        "1e999999999".into(),
        "-1e-999999999".into(),
        "1E+99999999999999999999999999".into(),
        "9".repeat(LEN - 200),
        format!("0.{}", "9".repeat(LEN - 200)),
        format!("1{}e-{}", "0".repeat(1000), "9".repeat(1000)),
        nested("[", "]"),
        nested("{\"a\":", "}"),
        nested("[[[{\"ips\":", "}]]]"),
        "[".repeat(LEN - 200),
        many("1e999999999"),
        many("{}"),
        many("\"10.0.0.1\""),
        many("{\"ip\": \"10.0.0.1\", \"netmask\": 1e999999999}"),
        keys.to_string(),
        format!("{{{}\"a\": 1}}", "\"a\": {\"a\": 0}, ".repeat(200)),
        json!("\u{1}".repeat(600)).to_string(),
        json!("x".repeat(LEN - 200)).to_string(),
        json!(json!(json!("\\".repeat(400)).to_string()).to_string()).to_string(),
        // What serde_json's numbers are inside of it.
        json!({"$serde_json::private::Number": "1e999999999"}).to_string(),
        json!({"$serde_json::private::Number": "1\n2"}).to_string(),
        json!({"$serde_json::private::RawValue": "[[[["}).to_string(),
    ]
}

fn command(name: &str, value: &str) -> String {
    format!("{{\"name\": \"{name}\", \"value\": {value}}}")
}

/// The code of the answer.
#[track_caller]
fn ask(rig: &mut Rig, request: &str) -> String {
    let begin = Instant::now();
    let answer = rig.ask(&request[..request.len().min(LEN)]);
    assert!(
        begin.elapsed() < SOON,
        "{:?} for {request}",
        begin.elapsed()
    );
    assert!(
        answer.code == "0" || !answer.message.is_empty(),
        "{answer:?} for {request}"
    );
    answer.code
}

/// The most memory that it ever had, in KiB.
fn peak(rig: &mut Rig) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", rig.agent().id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

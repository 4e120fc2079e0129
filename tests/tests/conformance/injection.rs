//! Every text of every request, replaced by what has a meaning somewhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nova_agent_tests::agent::Rig;
use nova_agent_tests::fixture::Tree;
use serde_json::{Value, json};

use super::{EMBEDDED, VERSION, on_with};

/// In everything that is sent, so that it can be found again. It may be a hostname.
const MARK: &str = "zqxj";

/// `M` is the mark, `V` what was there.
const PAYLOADS: [&str; 12] = [
    "M",
    "V\nM",
    "V\r\nM",
    "V\0M",
    "V\"M'\\M",
    "V$(M)`M`;M|M&M#M",
    "M]\n[M]\nM=M: M",
    "V\u{2028}M\u{85}M\u{1b}[2JM",
    "../../M",
    "-M",
    "M,M",
    "%sM%n{M}",
];

#[test]
fn a_text_of_a_request_reaches_nothing_but_what_it_names() {
    on_with(&EMBEDDED[..1], |rig| {
        rig.sandbox().install_debian(&[]);
        rig.sandbox().directory("/in", 0o755);
        rig.start_agent();
        let before = outside(rig);
        let mut nth = 0;
        for template in templates() {
            for pointer in texts(&template) {
                for payload in PAYLOADS {
                    let mut request = template.clone();
                    let text = request.pointer_mut(&pointer).unwrap();
                    let filled = payload
                        .replace('V', text.as_str().unwrap())
                        .replace('M', MARK);
                    *text = json!(filled);
                    nth += 1;
                    let answer = ask(rig, nth, &request);
                    assert!(!answer.is_empty());
                }
            }
        }
        // What stands behind the base64 of a file: its path.
        for payload in PAYLOADS {
            let path = payload.replace('V', "/in/file").replace('M', MARK);
            let both = STANDARD.encode(format!("{path},content"));
            nth += 1;
            ask(rig, nth, &json!({"name": "injectfile", "value": both}));
            let file =
                json!({"b64_path": STANDARD.encode(&path), "b64_file": STANDARD.encode("content")});
            nth += 1;
            ask(rig, nth, &json!({"name": "file_inject", "value": file}));
        }
        assert_eq!(rig.ask(VERSION).code, "0");

        let after = outside(rig);
        assert!(after == before, "{}", after.differences(&before));
        assert!(!rig.sandbox().files("/in").is_empty());
        for file in rig.sandbox().files("/in") {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            assert!(
                name.starts_with("file") && !name.contains(char::is_control),
                "{name:?}"
            );
        }
        for line in rig.sandbox().effects().lines() {
            let effect: Value = serde_json::from_str(line).unwrap();
            let is_harmless = |text: &str| {
                text.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
            };
            match effect["effect"].as_str() {
                Some("set_hostname") => {
                    assert!(is_harmless(effect["hostname"].as_str().unwrap()), "{line}")
                }
                _ => assert!(!line.contains(MARK), "{line}"),
            }
        }
        for line in String::from_utf8(rig.sandbox().read("/etc/hostname"))
            .unwrap()
            .lines()
        {
            assert!(
                line.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)),
                "{line:?}"
            );
        }
        // A line a request at most in the log, whatever was in it.
        let log = rig.agent().log();
        assert!(log.lines().count() > nth, "every request is logged");
        for line in log.lines() {
            assert!(
                line.starts_with("20") && line.chars().all(|c| !c.is_control()),
                "{line:?}"
            );
        }
    });
}

/// One of each command that takes an argument, two that this agent does not have, and one with every type of JSON.
fn templates() -> Vec<Value> {
    let file =
        json!({"b64_path": STANDARD.encode("/in/file"), "b64_file": STANDARD.encode("content")});
    vec![
        json!({"name": "version", "value": "agent"}),
        json!({"name": "keyinit", "value": "93055292000370020129851"}),
        json!({"name": "password", "value": "AAAAAAAAAAAAAAAAAAAAAA=="}),
        json!({"name": "injectfile", "value": STANDARD.encode("/in/file,content")}),
        json!({"name": "file_inject", "value": file}),
        json!({"name": "sethostname", "value": "web-1"}),
        json!({"name": "resetnetwork", "value": ""}),
        json!({"name": "kmsactivate", "value": {"activation_key": "key", "profile": "p", "domains": ["d"]}}),
        json!({"name": "agentupdate", "value": "http://192.0.2.1/agent.tar,0123456789abcdef0123456789abcdef"}),
    ]
}

/// The places of all texts in a value.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(_) => vec![String::new()],
        Value::Array(values) => {
            let below = values.iter().enumerate();
            below
                .flat_map(|(at, value)| {
                    texts(value)
                        .into_iter()
                        .map(move |text| format!("/{at}{text}"))
                })
                .collect()
        }
        Value::Object(fields) => {
            let below = fields.iter();
            below
                .flat_map(|(key, value)| {
                    texts(value)
                        .into_iter()
                        .map(move |text| format!("/{key}{text}"))
                })
                .collect()
        }
        Value::Bool(_) | Value::Null | Value::Number(_) => Vec::new(),
    }
}

fn ask(rig: &mut Rig, nth: usize, request: &Value) -> String {
    let id = format!("{MARK}-{nth}");
    rig.post_as(&id, request.to_string());
    rig.answer_to(&id).code
}

/// The guest's files but for those that are asked for.
fn outside(rig: &Rig) -> Tree {
    let mut tree = Tree::read_without(rig.sandbox().root(), &["in", "var", "effects.jsonl"]);
    for name in ["etc/hostname", "etc/hosts"] {
        tree.0.remove(name);
    }
    tree
}

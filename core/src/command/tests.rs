use alloc::string::{String, ToString};
use alloc::vec;

use serde_json::json;

use super::*;
use crate::config::CommandPolicy;
use crate::crypto::compat::PublicKey;
use crate::effect::{Change, ExistingMode, FileMode, GuestPath, WriteFile};
use crate::plan::Action;
use crate::plan::PlanFailure;
use crate::response::ReturnCode;

struct Bench {
    policy: CommandPolicy,
    exchanges: Exchanges,
    facts: Facts,
}

impl Bench {
    fn new() -> Self {
        Self {
            policy: CommandPolicy::default(),
            exchanges: Exchanges::new(),
            facts: Facts::default(),
        }
    }

    fn advance(&mut self, name: &str, value: Value) -> Progress {
        let command = find(name, &self.policy).expect("no such command");
        let mut context = Context {
            now: Instant::default(),
            policy: &self.policy,
            exchanges: &mut self.exchanges,
        };
        (command.advance)(&Argument::new(value), &mut self.facts, &mut context)
    }

    fn reply(&mut self, name: &str, value: Value) -> (String, String) {
        match self.advance(name, value) {
            Progress::Reply(Response { code, message }) => (code.to_string(), message),
            Progress::Ask(_) => panic!("{name} asks"),
            Progress::Run(_) => panic!("{name} wants to change the guest"),
        }
    }

    fn plan(&mut self, name: &str, value: Value) -> Vec<Change> {
        match self.advance(name, value) {
            Progress::Run(work) => work
                .plan
                .steps
                .into_iter()
                .filter_map(|planned| match planned.action {
                    Action::Change(step) => Some(step),
                    Action::Await(_) | Action::Nothing => None,
                })
                .collect(),
            Progress::Reply(response) => panic!("{name} replies {response:?}"),
            Progress::Ask(_) => panic!("{name} asks"),
        }
    }
}

fn base64(text: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn the_version_is_digits_and_dots_above_the_predecessors() {
    let (code, message) = Bench::new().reply("version", json!("agent"));
    assert_eq!((code.as_str(), message.as_str()), ("0", "3.0.0"));
    assert!(
        message
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    );
}

#[test]
fn the_argument_of_version_does_not_matter() {
    for value in [json!(null), json!("updater"), json!({"a": [1]})] {
        assert_eq!(Bench::new().reply("version", value).1, "3.0.0");
    }
}

#[test]
fn features_are_exactly_the_commands_that_are_enabled() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.reply("features", json!("")).1,
        "version,features,ready,keyinit,password,injectfile,file_inject,sethostname,resetnetwork"
    );
    bench.policy.inject_files = false;
    let (_, without) = bench.reply("features", json!(""));
    assert!(!without.contains("inject"));
    assert!(find("injectfile", &bench.policy).is_none());
    assert!(find("file_inject", &bench.policy).is_none());
}

#[test]
fn the_case_of_a_name_does_not_matter_and_unknown_names_are_unknown() {
    let policy = CommandPolicy::default();
    assert_eq!(
        find("KeyInit", &policy).map(|command| command.name),
        Some("keyinit")
    );
    for unknown in ["", "__init__", "versio", "version "] {
        assert!(find(unknown, &policy).is_none(), "{unknown:?}");
    }
}

#[test]
fn a_key_exchange_asks_for_fresh_random_bytes_and_opens_an_exchange() {
    let mut bench = Bench::new();
    let host = json!("118651915984640172265778366366426");
    let Progress::Ask(questions) = bench.advance("keyinit", host.clone()) else {
        panic!("no question")
    };
    bench.facts.entropy = Some(Secret::new(vec![7; questions.entropy.unwrap()]));
    let (code, message) = bench.reply("keyinit", host);
    assert_eq!(code, "D0");
    assert!(PublicKey::try_from(message.as_str()).is_ok());
    assert_eq!(bench.exchanges.len(), 1);
    assert!(bench.facts.entropy.is_none(), "random bytes are used once");
}

#[test]
fn a_public_key_may_be_a_number_of_any_length_or_a_string_with_blanks() {
    for value in [
        "118651915984640172265778366366426",
        "\" 118651915984640172265778366366426\\n\"",
    ] {
        let value: Value = serde_json::from_str(value).unwrap();
        assert!(matches!(
            Bench::new().advance("keyinit", value),
            Progress::Ask(_)
        ));
    }
}

#[test]
fn a_public_key_that_gives_no_secret_is_refused() {
    for value in [
        json!("0"),
        json!("1"),
        json!("162259276829213363391578010288126"),
        json!("162259276829213363391578010288127"),
        json!("999999999999999999999999999999999999"),
        json!("-5"),
        json!("abc"),
        json!(""),
        json!(1.5),
        json!(true),
        json!(null),
        json!([5]),
        json!("9".repeat(4000)),
    ] {
        let mut bench = Bench::new();
        assert_eq!(
            bench.reply("keyinit", value.clone()),
            ("500".into(), "Invalid public key".into()),
            "{value}"
        );
        assert!(bench.exchanges.is_empty());
    }
}

#[test]
fn a_password_needs_an_exchange() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.reply("password", json!("hWP5OP7ypes7fweTnznY6A==")).1,
        "Password without key exchange"
    );
    assert_eq!(
        bench.reply("password", json!("%%%")).1,
        "Couldn't decode base64 data"
    );
    assert_eq!(
        bench.reply("password", json!(null)).1,
        "Couldn't decode base64 data"
    );
}

#[test]
fn a_file_is_injected_with_its_directories() {
    let argument = json!(base64(b"/root/.ssh/authorized_keys,key with, comma\n"));
    let steps = Bench::new().plan("injectfile", argument);
    assert_eq!(
        steps,
        [
            Change::MakeDirectory {
                path: GuestPath::constant("/root"),
                mode: FileMode::PUBLIC_DIRECTORY
            },
            Change::MakeDirectory {
                path: GuestPath::constant("/root/.ssh"),
                mode: FileMode::PRIVATE_DIRECTORY
            },
            Change::WriteFile(WriteFile {
                path: GuestPath::constant("/root/.ssh/authorized_keys"),
                content: Secret::new(b"key with, comma\n".into()),
                mode: FileMode::PRIVATE,
                existing: ExistingMode::Keep,
            }),
        ]
    );
}

#[test]
fn both_ways_to_inject_a_file_give_the_same_plan() {
    let one = Bench::new().plan("injectfile", json!(base64(b"/etc/motd,hello \xff\0")));
    let two = Bench::new().plan(
        "file_inject",
        json!({"b64_path": base64(b"/etc/motd"), "b64_file": base64(b"hello \xff\0")}),
    );
    assert_eq!(one, two);
}

#[test]
fn a_file_that_cannot_be_injected_is_refused_with_the_reason() {
    for (path, why) in [
        ("etc/motd", "Invalid file path: path is not absolute"),
        ("/etc/../motd", "Invalid file path: path is not normalized"),
        ("/etc/", "Invalid file path: path is not normalized"),
        ("/", "Invalid file path: path is a directory"),
        (
            "/etc/\0",
            "Invalid file path: path holds a control character",
        ),
    ] {
        let reply = Bench::new().reply(
            "injectfile",
            json!(base64(alloc::format!("{path},x").as_bytes())),
        );
        assert_eq!(reply, ("500".into(), why.into()));
    }
    let mut bench = Bench::new();
    assert_eq!(
        bench.reply("injectfile", json!("!")).1,
        "Error doing base64 decoding of data"
    );
    assert_eq!(
        bench.reply("injectfile", json!(5)).1,
        "Error doing base64 decoding of data"
    );
    assert_eq!(
        bench.reply("injectfile", json!(base64(b"/etc/motd"))).1,
        "No comma between path and content"
    );
    assert_eq!(
        bench.reply("file_inject", json!("x")).1,
        "The argument is not an object"
    );
    assert_eq!(
        bench.reply("file_inject", json!({"b64_path": "Lw=="})).1,
        "'b64_file' is missing or not a string"
    );
    assert_eq!(
        bench
            .reply("file_inject", json!({"b64_path": "!", "b64_file": ""}))
            .1,
        "Error doing base64 decoding of 'b64_path'"
    );
}

#[test]
fn resetting_the_network_reads_what_the_host_says_first() {
    let mut bench = Bench::new();
    let Progress::Ask(questions) = bench.advance("resetnetwork", json!("")) else {
        panic!("no question")
    };
    assert_eq!(questions.lists.len(), 2);
    assert_eq!(questions.values, [StorePath::constant("vm-data/hostname")]);
    for path in questions.lists {
        bench
            .facts
            .lists
            .insert(path, vec!["0".into(), "bad name".into()]);
    }
    bench
        .facts
        .values
        .insert(StorePath::constant("vm-data/hostname"), None);
    let Progress::Ask(questions) = bench.advance("resetnetwork", json!("")) else {
        panic!("no question")
    };
    assert_eq!(
        questions.values,
        [
            StorePath::constant("vm-data/networking/0"),
            StorePath::constant("device/vif/0/mac")
        ]
    );
}

#[test]
fn a_failed_network_reset_is_never_the_code_that_nova_takes_for_success() {
    let failure = PlanFailure {
        step: "ifup eth0".into(),
        failure: crate::effect::Failure::NotFound,
        roll_back: crate::plan::RollBack::Done,
    };
    let work = reset_network();
    assert_eq!(work.name, "resetnetwork");
    let response = reset_network::FAILURE.response(&failure);
    assert_eq!(response.code, ReturnCode::Failed);
    assert_eq!(
        response.message,
        "network not changed: ifup eth0: program not found; previous state restored"
    );
}

#[test]
fn an_argument_is_wiped() {
    let mut value = json!({"b64_file": "c2VjcmV0", "more": ["c2VjcmV0"]});
    wipe(&mut value);
    assert!(!value.to_string().contains("c2VjcmV0"));
}

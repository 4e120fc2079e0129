//! The machine in a world of its own: every cut of its bytes, every break of its connection, hours in a moment.
#![deny(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test"
)]

use std::sync::OnceLock;
use std::time::Duration;

use nova_agent_core::Config;
use nova_agent_core::agent::{RESPONSE_TIMEOUT, RESPONSES_MAX, Report};
use nova_agent_core::secret::Secret;
use nova_agent_sim::world::{Counted, Fault, World};
use nova_agent_sim::xenstored::Flavour;
use nova_agent_tests::host::{HostKey, KeyDigest, Server, encrypt, judge};
use nova_agent_tests::transcript;
use serde_json::{Value, json};

const FLAVOURS: [Flavour; 2] = [Flavour::C, Flavour::Oxen];

const VERSION: &str = r#"{"name": "version", "value": "agent"}"#;
const RESET_NETWORK: &str = r#"{"name": "resetnetwork", "value": ""}"#;

/// What `version` is answered.
const THE_VERSION: &str = concat!(
    r#"{"returncode": "0", "message": ""#,
    env!("CARGO_PKG_VERSION"),
    r#""}"#
);
const SUCCESS: &str = r#"{"returncode": "0", "message": ""}"#;

const PASSWORD: &str = "Tr0ub4dor&3";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// How often the agent looks for requests that no event told it of.
const RESCAN: Duration = Duration::from_secs(300);

/// How long the agent waits for a reply before it takes the store for dead.
const REPLY_TIMEOUT: Duration = nova_agent_core::store::REPLY_TIMEOUT;

#[test]
fn a_whole_boot_in_novas_order() {
    for flavour in FLAVOURS {
        let mut world = started(flavour);
        let server = Server::two_networks();
        world.provision(&server);
        assert_eq!(world.ask("1", VERSION).unwrap(), THE_VERSION);
        let features = judge(
            "features",
            world.ask("2", command("features", "")).unwrap().as_bytes(),
        )
        .unwrap()
        .message;
        assert!(
            features.split(',').any(|feature| feature == "file_inject"),
            "{features}"
        );
        assert_eq!(
            world
                .ask(
                    "3",
                    file_inject("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA owner\n")
                )
                .unwrap(),
            SUCCESS
        );
        let ciphertext = exchange(&mut world, "4");
        assert_eq!(
            world.ask("5", command("password", &ciphertext)).unwrap(),
            SUCCESS
        );
        assert_eq!(world.ask("6", RESET_NETWORK).unwrap(), SUCCESS);

        let guest = world.guest();
        assert_eq!(guest.passwords(), [PASSWORD.as_bytes()]);
        assert_eq!(
            guest.file("/root/.ssh/authorized_keys"),
            Some(b"ssh-ed25519 AAAA owner\n".as_slice())
        );
        assert_eq!(guest.hostname(), "web-1");
        let interfaces =
            String::from_utf8_lossy(guest.file("/etc/network/interfaces").unwrap()).into_owned();
        assert!(
            interfaces.contains("203.0.113.72") && interfaces.contains("10.176.195.183"),
            "{interfaces}"
        );
        assert!(
            guest.runs().iter().any(|run| run == "ifup eth0"),
            "{:?}",
            guest.runs()
        );
        assert_eq!(world.requests(), Vec::<String>::new());
        for id in ["1", "2", "3", "4", "5", "6"] {
            assert_eq!(
                world.written(id).len(),
                1,
                "the response to {id} was written once"
            );
        }
    }
}

#[test]
fn a_network_that_does_not_come_up_is_a_failure_though_every_program_succeeded() {
    let mut world = started(Flavour::C);
    world.provision(&Server::two_networks());
    let old = "198.51.100.7".parse().unwrap();
    world.guest().set_kernel_shows(&[(old, 24)]);
    world.post("1", RESET_NETWORK);
    world.run_for(9 * SECOND);
    assert_eq!(world.response("1"), None, "the guest is given time");
    assert_eq!(world.ask("2", VERSION).unwrap(), THE_VERSION);
    assert!(world.run_until(2 * SECOND, |world| world.response("1").is_some()));
    let response = world.response("1").unwrap();
    let text = "network not changed: wait for the network: timed out: eth0 has no address";
    assert!(
        response.starts_with(&format!(r#"{{"returncode": "1", "message": "{text}"#)),
        "{response}"
    );
    assert_eq!(world.written("1").len(), 1);
    let runs = world.guest().runs();
    let last = runs
        .iter()
        .rposition(|run| run == "ip addr flush dev eth0 scope global")
        .unwrap();
    assert!(
        runs[last..].iter().any(|run| run == "ifup eth0"),
        "the old network is brought up again: {runs:?}"
    );
}

#[test]
fn no_cut_of_the_stream_makes_a_difference() {
    for flavour in FLAVOURS {
        let whole = story(flavour, &[]);
        let len = whole.counted.bytes;
        assert!(len > 1000, "{len} bytes are no story");
        for at in 1..len {
            let cut = story(flavour, &[Fault::Cut(at)]);
            assert_eq!(cut, whole, "cut at byte {at} of {len}");
        }
        assert_eq!(story(flavour, &[Fault::Trickle]), whole, "byte by byte");
    }
}

#[test]
fn no_break_of_the_connection_loses_or_repeats_anything() {
    for flavour in FLAVOURS {
        let whole = story(flavour, &[]);
        for faults in places(whole.counted.messages, Fault::Disconnect) {
            assert_same_end(&story(flavour, &faults), &whole, &faults);
        }
    }
}

#[test]
fn a_crash_at_any_message_loses_no_request_and_answers_none_twice() {
    for flavour in FLAVOURS {
        let whole = story(flavour, &[]);
        for faults in places(whole.counted.messages, Fault::Crash) {
            let crashed = story(flavour, &faults);
            for (written, expected) in crashed.written.iter().zip(&whole.written) {
                assert_eq!(
                    written.len(),
                    1,
                    "{faults:?}: responses to one request: {written:?}"
                );
                // The keys of an exchange are gone with the agent, and fresh ones are others.
                let response = String::from_utf8_lossy(&written[0]);
                let is_about_keys =
                    response.contains("D0") || response == refused("Password without key exchange");
                assert!(
                    written[0] == expected[0] || is_about_keys,
                    "{faults:?}: {response}"
                );
            }
            assert!(
                crashed.passwords.len() <= 1,
                "{faults:?}: the password was set twice"
            );
            assert_eq!(crashed.files, whole.files, "{faults:?}");
        }
    }
}

#[test]
fn no_message_that_is_lost_loses_or_repeats_anything() {
    for flavour in FLAVOURS {
        let whole = story(flavour, &[]);
        let received = whole.counted.received;
        for number in 0..received {
            let faults = [Fault::Lose(number)];
            assert_same_end(&story(flavour, &faults), &whole, &faults);
        }
    }
}

#[test]
fn a_request_whose_event_is_lost_is_found_by_the_rescan() {
    for flavour in FLAVOURS {
        let mut world = started(flavour);
        let received = world.counted().received;
        world.set_faults([Fault::Lose(received)]);
        world.post("1", VERSION);
        assert!(
            !world.run_until(RESCAN - MINUTE, |world| world.response("1").is_some()),
            "it was no event"
        );
        assert!(world.run_until(MINUTE, |world| world.response("1").is_some()));
        assert_eq!(world.response("1").unwrap(), THE_VERSION);
    }
}

#[test]
fn a_store_that_falls_silent_is_opened_anew() {
    for flavour in FLAVOURS {
        let mut world = started(flavour);
        // The event comes, the reply to the read does not.
        let received = world.counted().received;
        world.set_faults([Fault::Lose(received + 1)]);
        world.post("1", VERSION);
        let start = world.now();
        assert!(world.run_until(HOUR, |world| world.response("1").is_some()));
        let took = world.now().since(start);
        assert!(
            (REPLY_TIMEOUT..REPLY_TIMEOUT + SECOND).contains(&took),
            "after {took:?}"
        );
        let count = |wanted: fn(&Report) -> bool| {
            world
                .reports()
                .iter()
                .filter(|(_, report)| wanted(report))
                .count()
        };
        assert_eq!(
            count(|report| matches!(report, Report::Disconnected { .. })),
            1
        );
        assert_eq!(count(|report| matches!(report, Report::Connected)), 2);
    }
}

#[test]
fn responses_are_removed_two_minutes_after_they_were_written() {
    for flavour in FLAVOURS {
        let mut world = started(flavour);
        for hour in 0..5 {
            // One by one, and many at once.
            for nth in 0..10 {
                let id = format!("{hour}-{nth}");
                assert_eq!(world.ask(&id, VERSION).unwrap(), THE_VERSION);
                let written = world.now();
                world.run_for(RESPONSE_TIMEOUT - SECOND);
                assert!(world.response(&id).is_some(), "removed too early");
                assert!(
                    world.run_until(SECOND * 2, |world| world.response(&id).is_none()),
                    "still there"
                );
                assert!(world.now().since(written) >= RESPONSE_TIMEOUT - SECOND);
                world.run_for(MINUTE * 3);
            }
            for nth in 0..100 {
                world.post(&format!("{hour}-many-{nth}"), VERSION);
            }
            world.run_for(SECOND);
            assert_eq!(world.requests().len(), 0);
            assert!(
                world.responses().len() <= RESPONSES_MAX,
                "{:?}",
                world.responses()
            );
            for nth in 0..100 {
                assert_eq!(
                    world.written(&format!("{hour}-many-{nth}")),
                    [THE_VERSION.as_bytes()]
                );
            }
            world.run_for(RESPONSE_TIMEOUT);
            assert_eq!(world.responses(), Vec::<String>::new());
        }
        assert!(world.now().since_origin() > HOUR * 4);
    }
}

#[test]
fn a_day_without_requests_costs_a_listing_every_five_minutes() {
    for flavour in FLAVOURS {
        let mut world = started(flavour);
        world.ask("1", VERSION).unwrap();
        world.run_for(HOUR);
        let before = world.counted();
        world.run_for(HOUR * 24);
        let wake_ups = world.counted().wake_ups - before.wake_ups;
        let messages = world.counted().messages - before.messages;
        assert_eq!(wake_ups, 24 * 12);
        assert_eq!(messages, wake_ups * 2, "a request and its reply each time");
    }
}

#[test]
fn without_the_rescan_an_idle_agent_has_nothing_to_wake_up_for() {
    for flavour in FLAVOURS {
        let mut world = World::new(
            flavour,
            Config {
                rescan: None,
                ..Config::default()
            },
        );
        world.run_for(SECOND);
        assert_eq!(world.deadline(), None);
        world.ask("1", VERSION).unwrap();
        exchange(&mut world, "2");
        // The responses are removed, and the key exchange expires.
        world.run_for(HOUR);
        assert_eq!((world.deadline(), world.responses()), (None, Vec::new()));
        assert_eq!(
            world
                .ask("3", command("password", "AAAAAAAAAAAAAAAAAAAAAA=="))
                .unwrap(),
            refused("Password without key exchange")
        );
    }
}

#[test]
fn a_version_is_told_at_once_while_a_program_runs() {
    for flavour in FLAVOURS {
        let mut world = started(flavour);
        world.provision(&Server::two_networks());
        world.guest().set_program_takes(SECOND * 3);
        world.post("slow", RESET_NETWORK);
        world.run_for(SECOND);
        let before = world.now();
        for id in ["1", "2", "3"] {
            assert_eq!(world.ask(id, VERSION).unwrap(), THE_VERSION);
            world.run_for(SECOND / 10);
        }
        // The host looks for a response every half second; it was there when it looked first.
        assert!(world.now().since(before) < SECOND * 2);
        let versions: Vec<&Report> = world
            .reports()
            .iter()
            .map(|(_, report)| report)
            .filter(
                |report| matches!(report, Report::Answered { command, .. } if command == "version"),
            )
            .collect();
        assert_eq!(versions.len(), 3);
        let is_at_once =
            |report: &&Report| matches!(report, Report::Answered { took, .. } if took.is_zero());
        assert!(versions.iter().all(is_at_once), "{versions:?}");
        assert!(world.response("slow").is_none());
        assert!(world.run_until(MINUTE, |world| world.response("slow").is_some()));
        assert_eq!(world.response("slow").unwrap(), SUCCESS);
    }
}

#[test]
fn a_request_taken_back_while_its_program_runs_gets_no_response() {
    for flavour in FLAVOURS {
        let mut world = started(flavour);
        world.provision(&Server::two_networks());
        world.guest().set_program_takes(SECOND * 2);
        world.post("slow", RESET_NETWORK);
        world.run_for(SECOND);
        world.delete("slow");
        world.run_for(MINUTE);
        assert_eq!(world.written("slow").len(), 0);
        assert!(
            world
                .reports()
                .iter()
                .any(|(_, report)| matches!(report, Report::Withdrawn { .. }))
        );
    }
}

#[test]
fn an_agent_that_is_told_to_leave_finishes_what_it_has_in_hand() {
    for flavour in FLAVOURS {
        let mut world = started(flavour);
        world.provision(&Server::two_networks());
        world.guest().set_program_takes(SECOND * 2);
        world.post("slow", RESET_NETWORK);
        world.post("waiting", RESET_NETWORK);
        world.run_for(SECOND);
        world.terminate();
        assert!(!world.has_exited());
        world.run_for(MINUTE);
        assert!(world.has_exited());
        assert_eq!(world.response("slow").unwrap(), SUCCESS);
        assert_eq!(world.requests(), ["waiting"]);
    }
}

#[test]
fn a_store_that_is_away_for_hours_is_found_within_half_a_minute() {
    for flavour in FLAVOURS {
        let mut world = started(flavour);
        let before = world.counted().connects;
        world.disconnect(false);
        world.post("1", VERSION);
        world.run_for(HOUR * 3);
        let tries = world.counted().connects - before;
        assert!((360..380).contains(&tries), "{tries} tries in three hours");
        assert!(
            world.reports().len() < 20,
            "the log of three hours: {:?}",
            world.reports()
        );
        world.disconnect(true);
        assert!(world.run_until(SECOND * 30, |world| world.response("1").is_some()));
        assert_eq!(world.response("1").unwrap(), THE_VERSION);
    }
}

/// `NOVA_BLESS=1` writes what is expected of this and of every runtime; read it before you commit it.
#[test]
fn the_machine_gives_the_transcript_that_every_runtime_has_to_give() {
    for flavour in FLAVOURS {
        let played = transcript::play(&mut World::new(flavour, Config::default()));
        let path = transcript::path(flavour);
        if std::env::var_os("NOVA_BLESS").is_some() {
            std::fs::write(&path, &played).unwrap();
        }
        let expected = std::fs::read_to_string(path).unwrap();
        if let Some(difference) = transcript::difference(&expected, &played) {
            panic!("{flavour:?}, {difference}");
        }
    }
}

/// Every place for one fault, and many pairs of places for two.
fn places(messages: usize, fault: fn(usize) -> Fault) -> impl Iterator<Item = Vec<Fault>> {
    let pairs = (0..messages).step_by(5).flat_map(move |first| {
        // The story is a little longer after the first one.
        (first + 1..messages + 8)
            .step_by(4)
            .map(move |second| vec![fault(first), fault(second)])
    });
    (0..messages).map(move |at| vec![fault(at)]).chain(pairs)
}

/// What a run of the story comes to.
#[derive(Debug, PartialEq)]
struct Story {
    /// All that was written as a response to each request.
    written: Vec<Vec<Vec<u8>>>,
    passwords: Vec<Vec<u8>>,
    files: Vec<String>,
    reports: Vec<String>,
    counted: Counted,
}

/// A password change and a few questions, some of them asked while others are answered, with a fault somewhere.
fn story(flavour: Flavour, faults: &[Fault]) -> Story {
    const IDS: [&str; 5] = ["version", "keyinit", "password", "file", "unknown"];

    // A lost event is found again before the key exchange expires.
    let mut world = World::new(
        flavour,
        Config {
            rescan: Some(MINUTE),
            ..Config::default()
        },
    );
    world.set_faults(faults.iter().copied());
    world.post("version", VERSION);
    world.post("keyinit", command("keyinit", &host_key().public()));
    // Long enough for whatever the fault costs.
    assert!(
        world.run_until(HOUR, |world| world.response("keyinit").is_some()),
        "{faults:?}: no key"
    );
    let agent = world.response("keyinit").unwrap();
    world.post("password", command("password", &ciphertext_for(&agent)));
    world.post("file", file_inject("/etc/motd", "hi"));
    world.post("unknown", command("\"no such\" \u{e9}", ""));
    assert!(
        world.run_until(HOUR, |world| world.requests().is_empty()),
        "{faults:?}: requests are left"
    );
    let guest = world.guest();
    let passwords = guest.passwords().into_iter().map(Vec::from).collect();
    let files = guest
        .files()
        .iter()
        .map(|(path, file)| format!("{path} {file:?}"))
        .collect();
    Story {
        written: IDS.map(|id| world.written(id).to_vec()).into(),
        passwords,
        files,
        reports: world
            .reports()
            .iter()
            .map(|(at, report)| format!("{at:?} {report}"))
            .collect(),
        counted: world.counted(),
    }
}

/// With faults things take longer, and a response whose write was not confirmed is written once more; nothing else.
#[track_caller]
fn assert_same_end(story: &Story, whole: &Story, faults: &[Fault]) {
    for (written, expected) in story.written.iter().zip(&whole.written) {
        assert!(
            (1..=1 + faults.len()).contains(&written.len()),
            "{faults:?}: responses to one request: {written:?}"
        );
        assert!(
            written.iter().all(|response| *response == expected[0]),
            "{faults:?}: different responses: {written:?}"
        );
    }
    assert_eq!(story.passwords, whole.passwords, "{faults:?}");
    assert_eq!(story.files, whole.files, "{faults:?}");
}

/// A world whose agent is ready.
fn started(flavour: Flavour) -> World {
    let mut world = World::new(flavour, Config::default());
    world.run_for(SECOND);
    assert!(
        world
            .reports()
            .iter()
            .any(|(_, report)| *report == Report::Ready)
    );
    world
}

fn host_key() -> HostKey {
    HostKey::from_number(93_055_292_000_370_020_129_851)
}

/// Exchanges keys; returns the password, encrypted.
fn exchange(world: &mut World, id: &str) -> String {
    let response = world
        .ask(id, command("keyinit", &host_key().public()))
        .unwrap();
    ciphertext_for(&response)
}

/// The password under the secret with the agent's key, which is the same in every world: openssl is run once.
fn ciphertext_for(response: &str) -> String {
    static KNOWN: OnceLock<(String, String)> = OnceLock::new();

    let encrypted = || {
        let agent = judge("keyinit", response.as_bytes()).unwrap().message;
        let password = Secret::from(String::from(PASSWORD));
        encrypt(
            &host_key().agree(&agent).unwrap(),
            &password,
            KeyDigest::Md5,
        )
        .unwrap()
    };
    let (known, ciphertext) = KNOWN.get_or_init(|| (response.into(), encrypted()));
    if known == response {
        ciphertext.clone()
    } else {
        encrypted()
    }
}

fn command(name: &str, value: &str) -> String {
    json!({"name": name, "value": value}).to_string()
}

fn file_inject(path: &str, content: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    let file: Value =
        json!({"b64_path": STANDARD.encode(path), "b64_file": STANDARD.encode(content)});
    json!({"name": "file_inject", "value": file}).to_string()
}

fn refused(message: &str) -> String {
    format!(r#"{{"returncode": "500", "message": "{message}"}}"#)
}

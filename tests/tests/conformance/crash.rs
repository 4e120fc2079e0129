//! An agent that ends at any moment, killed or told to leave, loses no request and answers none twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nova_agent_tests::agent::{AgentProcess, Answer, DOMID, Rig};
use nova_agent_tests::client::Client;
use serde_json::json;

use super::{EVERYWHERE, REAL, on_then};

/// How often the agent ends: half of the times at a random moment from its start, half of them at one in the flow of
/// requests, which comes when it has answered some, however long that takes.
const ENDS: usize = 50;

/// The fewest requests that it answers before it ends in their flow.
const ANSWERS_MIN: usize = 2;

/// How many requests may wait: a host's are few, and one listing has to have room for all on every store.
const WAITING_MAX: usize = 20;

/// Replays a run: the agent ends after the same times, and gets the same requests.
const SEED: &str = "NOVA_TEST_SEED";

#[test]
fn killed_at_any_moment_it_loses_no_request_and_answers_none_twice() {
    ended_under_load(|agent| agent.kill());
}

#[test]
fn told_to_leave_at_any_moment_it_loses_no_request_and_answers_none_twice() {
    ended_under_load(|agent| {
        agent.terminate();
        let status = agent.wait();
        // Before it has said how it wants to be told, the signal ends it.
        let is_early = !agent.log().contains("nova-agent starts");
        assert!(
            status.code() == Some(0) || is_early,
            "{status}; its log:\n{}",
            agent.log()
        );
    });
}

#[expect(clippy::print_stdout, reason = "shown when the test fails")]
fn ended_under_load(end: impl Fn(&mut AgentProcess) + Sync) {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed
            .parse()
            .unwrap_or_else(|_| panic!("{SEED} is not a number")),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .subsec_nanos()
            .into(),
    };
    println!("{SEED}={seed} repeats this run");
    let posted = Mutex::new(BTreeMap::new());
    let under_load = |rig: &mut Rig| {
        let requests = end_under_load(rig, seed, &end);
        posted.lock().unwrap().extend(requests);
    };
    on_then(&REAL, under_load, |seen| {
        let posted = posted.lock().unwrap();
        for (id, seen) in &seen {
            let request = posted
                .get(id)
                .unwrap_or_else(|| panic!("nobody asked for a response to {id}"));
            // One that made room for others at once may not have been read, but it was counted.
            assert!(
                seen.contents.len() <= 1,
                "{request:?} has several answers: {seen:?}"
            );
            assert_eq!(
                seen.writes(),
                1,
                "{request:?} was answered more than once: {seen:?}"
            );
        }
        let store = seen
            .keys()
            .next()
            .and_then(|id| id.split('-').next())
            .unwrap_or_default();
        let mut answered = 0;
        for (id, request) in posted.iter().filter(|(id, _)| id.starts_with(store)) {
            assert!(
                request.deleted || seen.contains_key(id),
                "{request:?} was lost"
            );
            answered += usize::from(!request.deleted);
        }
        println!("{store}: {answered} requests answered");
    });
}

/// What the host posted.
#[derive(Clone, Debug)]
struct Posted {
    #[expect(dead_code, reason = "shown when the test fails")]
    content: String,
    /// Whether the host took it back.
    deleted: bool,
    /// The file that it injects.
    file: Option<String>,
}

fn end_under_load(
    rig: &mut Rig,
    seed: u64,
    end_agent: impl Fn(&mut AgentProcess),
) -> BTreeMap<String, Posted> {
    let (socket, prefix) = (rig.dom0_socket(), format!("{:?}", rig.kind()));
    let end = AtomicBool::new(false);
    let mut random = Random::new(seed);
    rig.set_log_level("info");
    let posted = thread::scope(|scope| {
        // Dropped at the end and by a failure: the scope waits for the host.
        let ending = SetWhenDropped(&end);
        let host = scope.spawn(|| load(&socket, &prefix, seed, &end));
        for nth in 0..ENDS {
            let answers = ANSWERS_MIN + usize::try_from(random.below(4)).unwrap();
            let enough = rig.witness().count() + answers;
            rig.launch_agent();
            if nth % 2 == 1 {
                rig.wait_until("requests are answered", |rig| {
                    assert!(!host.is_finished(), "the host has failed");
                    rig.witness().count() >= enough
                });
            }
            thread::sleep(Duration::from_micros(random.below(120_000)));
            end_agent(rig.agent());
        }
        drop(ending);
        host.join().expect("the host's thread failed")
    });
    rig.start_agent();
    rig.wait_until("no request is left", |rig| rig.list("data/host").is_empty());
    for request in posted.values().filter(|request| !request.deleted) {
        if let Some(file) = &request.file {
            assert_eq!(rig.sandbox().read(file), file.as_bytes(), "{request:?}");
        }
    }
    posted
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A host that posts requests of every kind, and takes some of them back.
fn load(socket: &Path, prefix: &str, seed: u64, end: &AtomicBool) -> BTreeMap<String, Posted> {
    let mut client = Client::connect(PathBuf::from(socket)).unwrap();
    let mut random = Random::new(!seed);
    let mut posted = BTreeMap::new();
    let home = format!("/local/domain/{DOMID}/data/host");
    let mut waiting: BTreeSet<String> = BTreeSet::new();
    for nth in 0_u64.. {
        if end.load(Ordering::Relaxed) {
            break;
        }
        if waiting.len() >= WAITING_MAX {
            match client.list(&home) {
                Ok(names) => waiting = names.into_iter().collect(),
                Err(error) => assert_eq!(error.to_string(), "ENOENT"),
            }
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let id = format!("{prefix}-{nth}");
        let file = format!("/srv/{prefix}/{nth}");
        let content = match random.below(8) {
            0 => json!({"name": "version", "value": "agent"}).to_string(),
            1 => json!({"name": "features", "value": ""}).to_string(),
            2 => {
                json!({"name": "keyinit", "value": "118651915984640172265778366366426"}).to_string()
            }
            3 => json!({"name": "password", "value": "hWP5OP7ypes7fweTnznY6A=="}).to_string(),
            4 | 5 => {
                let argument = STANDARD.encode(format!("{file},{file}"));
                json!({"name": "injectfile", "value": argument}).to_string()
            }
            6 => json!({"name": format!("unknown {nth}")}).to_string(),
            _ => "{".into(),
        };
        let file = content.contains("injectfile").then_some(file);
        let path = format!("{home}/{id}");
        client.write(&path, &content).unwrap();
        let deleted = random.below(8) == 0;
        if deleted {
            thread::sleep(Duration::from_micros(random.below(2000)));
            let _ = client.rm(&path);
        } else {
            waiting.insert(id.clone());
        }
        posted.insert(
            id,
            Posted {
                content,
                deleted,
                file,
            },
        );
        thread::sleep(Duration::from_micros(random.below(4000)));
    }
    posted
}

/// Marsaglia's xorshift: repeatable, and good enough to pick moments.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn a_request_that_was_answered_before_the_crash_is_only_removed() {
    on_then(
        &EVERYWHERE,
        |rig| {
            // What a crash leaves between the response and the removal of its request.
            let response = rig.host().path("data/guest/half-done");
            rig.host()
                .client()
                .write(&response, r#"{"returncode": "0", "message": "before"}"#)
                .unwrap();
            rig.post_as(
                "half-done",
                json!({"name": "injectfile", "value": "L3NydixhZ2Fpbg=="}).to_string(),
            );
            rig.start_agent();
            rig.host().version().unwrap();
            rig.wait_until("no request is left", |rig| rig.list("data/host").is_empty());
            assert_eq!(rig.answer_to("half-done"), Answer::new("0", "before"));
            assert!(!rig.sandbox().exists("/srv"), "the command was run");
        },
        |seen| assert_eq!(seen["half-done"].writes(), 1),
    );
}

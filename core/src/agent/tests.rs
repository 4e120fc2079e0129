//! The life of requests, event by event. The same rules are tested against real stores elsewhere.

mod connections;
mod refusals;
mod storm;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::job::report_notices;
use super::mailbox::token;
use super::*;
use crate::effect::{Change, Done, Effect, Snapshot};
use crate::response::MESSAGE_MAX;
use crate::secret::Secret;
use crate::severity::Severity;
use crate::store::{Operation, OperationId, Reply};
use crate::wire::ErrorName;

/// An agent, its clock, and what it wants that has not been looked at yet.
struct Bench {
    agent: Agent,
    now: Instant,
    operations: VecDeque<(OperationId, Operation)>,
    effects: VecDeque<(EffectId, Effect)>,
    reports: Vec<Report>,
    exited: bool,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self {
            agent: Agent::new(config),
            now: Instant::from_origin(Duration::from_secs(1000)),
            operations: VecDeque::new(),
            effects: VecDeque::new(),
            reports: Vec::new(),
            exited: false,
        }
    }

    /// An agent that is connected and has found these requests and responses.
    fn started(requests: &[&str], responses: &[&str]) -> Self {
        let mut bench = Self::new(Config::default());
        bench.connect(requests, responses);
        bench
    }

    fn connect(&mut self, requests: &[&str], responses: &[&str]) {
        self.agent.handle_connected(self.now);
        self.collect();
        self.expect(
            &Operation::Watch {
                path: REQUESTS,
                token: token(),
            },
            Ok(Reply::Done),
        );
        self.expect(&Operation::List(RESPONSES), Ok(names(responses)));
        self.expect(&Operation::List(REQUESTS), Ok(names(requests)));
    }

    fn collect(&mut self) {
        while let Some(output) = self.agent.poll() {
            match output {
                Output::Exit => self.exited = true,
                Output::Perform(id, effect) => self.effects.push_back((id, effect)),
                Output::Report(report) => self.reports.push(report),
                Output::Store(id, operation) => self.operations.push_back((id, operation)),
            }
        }
    }

    /// The next operation is this one; it is answered.
    fn expect(&mut self, operation: &Operation, result: Result<Reply, ErrorName>) {
        let (id, next) = self.operations.pop_front().expect("no operation");
        assert_eq!(&next, operation);
        self.agent
            .handle_event(self.now, Event::Answered(id, result))
            .unwrap();
        self.collect();
    }

    fn expect_read(&mut self, id: &str, result: Result<&str, ErrorName>) {
        let result = result.map(|value| Reply::Value(value.into()));
        self.expect(&Operation::Read(request(id)), result);
    }

    /// The next operation writes this response; it is answered.
    fn expect_response(
        &mut self,
        id: &str,
        code: &str,
        message: &str,
        result: Result<Reply, ErrorName>,
    ) {
        let value = format!(r#"{{"returncode": "{code}", "message": "{message}"}}"#).into_bytes();
        self.expect(
            &Operation::Write {
                path: response(id),
                value,
            },
            result,
        );
    }

    fn expect_removal(&mut self, id: &str) {
        self.expect(&Operation::Remove(request(id)), Ok(Reply::Done));
    }

    fn expect_nothing(&self) {
        assert_eq!(self.operations, []);
        assert!(self.effects.is_empty(), "{:?}", self.effects);
    }

    fn fire(&mut self, path: &str) {
        let path = StorePath::try_from(path).unwrap();
        self.agent
            .handle_event(
                self.now,
                Event::Fired {
                    path,
                    token: token(),
                },
            )
            .unwrap();
        self.collect();
    }

    /// A request appears and is read.
    fn post(&mut self, id: &str, content: &str) {
        self.fire(&format!("data/host/{id}"));
        self.expect_read(id, Ok(content));
    }

    fn complete(&mut self, outcome: Outcome) {
        let (id, _) = self.effects.pop_front().expect("no effect");
        self.agent.handle_completed(self.now, id, outcome).unwrap();
        self.collect();
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.agent.handle_timeout(self.now);
        self.collect();
    }

    fn answered(&self) -> Vec<(String, String)> {
        self.reports
            .iter()
            .filter_map(|report| match report {
                Report::Answered { request, code, .. } => {
                    Some((request.to_string(), code.to_string()))
                }
                Report::Alive
                | Report::Connected
                | Report::Disconnected { .. }
                | Report::Notice { .. }
                | Report::Ready
                | Report::Started { .. }
                | Report::StoreRefused { .. }
                | Report::Stopping
                | Report::Withdrawn { .. } => None,
            })
            .collect()
    }
}

fn request(id: &str) -> StorePath {
    REQUESTS.join(id).unwrap()
}

fn response(id: &str) -> StorePath {
    RESPONSES.join(id).unwrap()
}

fn names(names: &[&str]) -> Reply {
    Reply::Names(names.iter().map(|name| String::from(*name)).collect())
}

fn done() -> Outcome {
    Outcome::Done(Done::default())
}

const VERSION: &str = r#"{"name": "version", "value": "agent"}"#;
/// `/a,x` in base64: a change of two steps at most.
const INJECT: &str = r#"{"name": "injectfile", "value": "L2EseA=="}"#;

#[test]
fn a_response_is_written_before_its_request_is_removed() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", VERSION);
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
    bench.expect_removal("1");
    bench.expect_nothing();
    assert_eq!(bench.answered(), [("1".into(), "0".into())]);
}

#[test]
fn the_event_of_the_own_removal_ends_in_one_read() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", VERSION);
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
    bench.fire("data/host/1");
    bench.expect_removal("1");
    bench.expect_read("1", Err(ErrorName::Enoent));
    bench.expect_nothing();
}

#[test]
fn an_id_may_be_used_again() {
    let mut bench = Bench::started(&[], &[]);
    for _ in 0..3 {
        bench.post("1", VERSION);
        bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
        bench.expect_removal("1");
    }
    bench.expect_nothing();
    assert_eq!(bench.answered().len(), 3);
}

#[test]
fn requests_that_waited_at_the_start_are_answered_before_the_agent_is_ready() {
    let mut bench = Bench::started(&["a", "b"], &[]);
    assert!(!bench.reports.contains(&Report::Ready));
    bench.expect_read("a", Ok(VERSION));
    bench.expect_read("b", Ok(INJECT));
    bench.expect_response("a", "0", "3.0.0", Ok(Reply::Done));
    bench.expect_removal("a");
    assert!(!bench.reports.contains(&Report::Ready));
    bench.complete(done());
    bench.expect_response("b", "0", "", Ok(Reply::Done));
    bench.expect_removal("b");
    assert_eq!(
        bench
            .reports
            .iter()
            .filter(|report| **report == Report::Ready)
            .count(),
        1
    );
}

#[test]
fn an_agent_without_requests_is_ready_at_once() {
    assert!(Bench::started(&[], &[]).reports.contains(&Report::Ready));
}

#[test]
fn a_request_that_an_earlier_run_answered_is_only_removed() {
    let mut bench = Bench::started(&["1"], &["1"]);
    bench.expect_removal("1");
    bench.expect_nothing();
    assert_eq!(bench.answered(), []);
}

#[test]
fn an_event_before_the_first_listing_does_not_run_an_answered_request_again() {
    let mut bench = Bench::new(Config::default());
    bench.agent.handle_connected(bench.now);
    bench.collect();
    bench.fire("data/host/old");
    bench.fire("data/host/new");
    bench.expect(
        &Operation::Watch {
            path: REQUESTS,
            token: token(),
        },
        Ok(Reply::Done),
    );
    bench.expect(&Operation::List(RESPONSES), Ok(names(&["old"])));
    // The new one came after the listing, as far as the store is concerned.
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["old"])));
    bench.expect_removal("old");
    bench.expect_read("new", Ok(VERSION));
    bench.expect_read("old", Err(ErrorName::Enoent));
    bench.expect_response("new", "0", "3.0.0", Ok(Reply::Done));
    bench.expect_removal("new");
    bench.expect_nothing();
}

#[test]
fn a_change_waits_for_its_turn_and_is_read_again_then() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", INJECT);
    bench.post("2", INJECT);
    bench.post("3", INJECT);
    assert_eq!(bench.effects.len(), 1);
    bench.complete(done());
    bench.expect_response("1", "0", "", Ok(Reply::Done));
    bench.expect_read("2", Ok(INJECT));
    bench.expect_removal("1");
    bench.complete(done());
    bench.expect_response("2", "0", "", Ok(Reply::Done));
    // The host took this one back while it waited.
    bench.expect_read("3", Err(ErrorName::Enoent));
    bench.expect_removal("2");
    bench.expect_nothing();
}

#[test]
fn a_query_is_answered_while_a_change_is_at_work() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("change", INJECT);
    bench.post("query", VERSION);
    bench.expect_response("query", "0", "3.0.0", Ok(Reply::Done));
    bench.expect_removal("query");
    assert_eq!(bench.effects.len(), 1);
}

#[test]
fn a_late_answer_is_written_only_if_the_host_still_waits() {
    for (node, written) in [(Ok("still there"), true), (Err(ErrorName::Enoent), false)] {
        let mut bench = Bench::started(&[], &[]);
        bench.post("1", INJECT);
        bench.now = bench.now.after(Duration::from_secs(2));
        bench.complete(done());
        bench.expect_read("1", node);
        if written {
            bench.expect_response("1", "0", "", Ok(Reply::Done));
            bench.expect_removal("1");
        } else {
            let withdrawn = Report::Withdrawn {
                request: RequestId::from_node("1").unwrap(),
            };
            assert!(bench.reports.contains(&withdrawn));
        }
        bench.expect_nothing();
    }
}

#[test]
fn a_request_that_vanished_is_dropped_without_noise() {
    let mut bench = Bench::started(&[], &[]);
    let before = bench.reports.len();
    bench.fire("data/host/1");
    bench.expect_read("1", Err(ErrorName::Enoent));
    bench.expect_nothing();
    assert_eq!(bench.reports.len(), before);
}

#[test]
fn every_bad_request_gets_an_answer() {
    for (content, code, message) in [
        (
            r#"{"name": "reboot"}"#,
            "404",
            "No such agent command 'reboot'",
        ),
        (
            r#"{"name": "a\"b\\c\u00e9"}"#,
            "404",
            "No such agent command 'a'b/c?'",
        ),
        (r#"{"value": 1}"#, "500", "Request is missing 'name' key"),
        (
            r#"{"name": ["version"]}"#,
            "500",
            "Request is malformed: 'name' is not a string",
        ),
        ("[]", "500", "Request is malformed: not an object"),
        ("7", "500", "Request is malformed: not an object"),
    ] {
        let mut bench = Bench::started(&[], &[]);
        bench.post("1", content);
        bench.expect_response("1", code, message, Ok(Reply::Done));
        bench.expect_removal("1");
    }
}

#[test]
fn no_more_of_an_unknown_command_is_repeated_than_helps() {
    for len in [64, 65, 60_000] {
        let mut bench = Bench::started(&[], &[]);
        bench.post("1", &format!(r#"{{"name": "{}"}}"#, "x".repeat(len)));
        let message = format!("No such agent command '{}'", "x".repeat(64));
        bench.expect_response("1", "404", &message, Ok(Reply::Done));
        bench.expect_removal("1");
        assert!(
            bench
                .reports
                .iter()
                .all(|report| report.to_string().len() < 250),
            "{:?}",
            bench.reports
        );
    }
}

/// A driver that answers other questions than were asked.
#[test]
fn a_guest_whose_answers_never_suffice_is_given_up() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", r#"{"name": "sethostname", "value": "web"}"#);
    let mut rounds = 0;
    while !bench.effects.is_empty() {
        rounds += 1;
        bench.complete(Outcome::Probed(Snapshot::default()));
    }
    assert_eq!(rounds, 16);
    bench.expect_response(
        "1",
        "1",
        "The guest did not answer what had to be known",
        Ok(Reply::Done),
    );
    bench.expect_removal("1");
    bench.expect_nothing();
}

#[test]
fn of_many_warnings_the_first_are_logged() {
    for (count, lines) in [(64, 64), (65, 65), (60_000, 65)] {
        let mut bench = Bench::started(&[], &[]);
        bench.post("1", r#"{"name": "sethostname", "value": "web"}"#);
        let id = RequestId::from_node("1").unwrap();
        let notices = (0..count).map(|_| (Severity::Warning, "x".repeat(5000)));
        report_notices(&id, notices.collect(), &mut bench.agent.session);
        bench.collect();
        let notices: Vec<&Report> = bench
            .reports
            .iter()
            .filter(|it| matches!(it, Report::Notice { .. }))
            .collect();
        assert_eq!(notices.len(), lines);
        assert!(
            notices
                .iter()
                .all(|notice| notice.to_string().len() < MESSAGE_MAX + 20)
        );
        if count > 64 {
            assert!(
                notices[64]
                    .to_string()
                    .ends_with(&format!("{} more warnings", count - 64))
            );
        }
    }
}

/// A host that writes an empty value and takes it back, again and again.
#[test]
fn a_request_has_one_timer_and_takes_it_along() {
    let mut bench = Bench::started(&[], &[]);
    for _ in 0..100 {
        for id in ["1", "2"] {
            bench.post(id, "");
            bench.post(id, "");
        }
        assert_eq!(bench.agent.session.timers(), 2);
        bench.fire("data/host/1");
        bench.expect_read("1", Err(ErrorName::Enoent));
        assert_eq!(bench.agent.session.timers(), 1);
        bench.fire("data/host/2");
        bench.expect_read("2", Err(ErrorName::Enoent));
        assert_eq!(bench.agent.session.timers(), 0);
        bench.pass(Duration::from_millis(1));
    }
}

#[test]
fn an_empty_request_is_given_time() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", "");
    bench.expect_nothing();
    bench.post("1", VERSION);
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
    bench.expect_removal("1");

    bench.post("2", "");
    bench.pass(Duration::from_secs(10));
    bench.expect_read("2", Ok(""));
    bench.expect_response(
        "2",
        "500",
        "Request is malformed: it is empty",
        Ok(Reply::Done),
    );
    bench.expect_removal("2");
}

#[test]
fn an_event_above_the_requests_lists_them() {
    for path in ["data/host", "data", "vm-data"] {
        let mut bench = Bench::started(&[], &[]);
        bench.fire(path);
        // A second event meanwhile causes one more listing, not two.
        bench.fire(path);
        bench.fire(path);
        bench.expect(&Operation::List(REQUESTS), Err(ErrorName::Enoent));
        bench.expect(&Operation::List(REQUESTS), Ok(names(&[])));
        bench.expect_nothing();
    }
}

#[test]
fn requests_are_listed_now_and_then_although_nothing_fires() {
    let mut bench = Bench::started(&[], &[]);
    assert_eq!(
        bench.agent.deadline(),
        Some(bench.now.after(Duration::from_secs(300)))
    );
    bench.pass(Duration::from_secs(300));
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["1"])));
    bench.expect_read("1", Ok(VERSION));

    let mut bench = Bench::new(Config {
        rescan: None,
        ..Config::default()
    });
    bench.connect(&[], &[]);
    assert_eq!(bench.agent.deadline(), None);
}

#[test]
fn an_effect_that_ended_during_a_pause_has_a_moment_to_say_so() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", INJECT);
    // The guest sleeps, and nobody looks at the time.
    bench.pass(Duration::from_secs(100));
    bench.expect_nothing_but_effects();
    bench.complete(done());
    bench.expect_read("1", Ok(INJECT));
    bench.expect_response("1", "0", "", Ok(Reply::Done));
}

#[test]
fn only_one_pause_is_forgiven() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", INJECT);
    bench.pass(Duration::from_secs(100));
    assert_eq!(
        bench.agent.deadline(),
        Some(bench.now.after(Duration::from_secs(5)))
    );
    bench.pass(Duration::from_secs(100));
    bench.expect_read("1", Ok(INJECT));
    bench.expect_response(
        "1",
        "500",
        "File injection failed: write /a: timed out",
        Ok(Reply::Done),
    );
}

#[test]
fn an_effect_that_never_ends_is_given_up_and_its_late_outcome_ignored() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", INJECT);
    let (id, effect) = bench.effects.pop_front().unwrap();
    assert!(matches!(effect, Effect::Change(Change::WriteFile(_))));
    bench.pass(effect.timeout());
    bench.expect_read("1", Ok(INJECT));
    bench.expect_response(
        "1",
        "500",
        "File injection failed: write /a: timed out",
        Ok(Reply::Done),
    );
    bench.expect_removal("1");
    bench.agent.handle_completed(bench.now, id, done()).unwrap();
    bench.collect();
    bench.expect_nothing();
}

#[test]
fn an_outcome_for_an_effect_that_was_never_given_out_is_misuse() {
    let mut bench = Bench::started(&[], &[]);
    for id in [0, 1, u64::MAX] {
        let id = EffectId(id);
        assert_eq!(
            bench.agent.handle_completed(bench.now, id, done()),
            Err(Misuse::UnknownEffect(id))
        );
    }
    let fired = Event::Fired {
        path: REQUESTS,
        token: token(),
    };
    assert_eq!(
        Agent::new(Config::default()).handle_event(bench.now, fired),
        Err(Misuse::NotConnected)
    );
}

#[test]
fn a_key_exchange_gets_its_random_bytes_and_its_answer() {
    let mut bench = Bench::started(&[], &[]);
    bench.post(
        "1",
        r#"{"name": "keyinit", "value": "118651915984640172265778366366426"}"#,
    );
    bench.expect_nothing_but_effects();
    bench.complete(Outcome::Entropy(Secret::new(vec![1; 64])));
    let (_, operation) = bench.operations.front().unwrap();
    let Operation::Write { value, .. } = operation else {
        panic!("{operation:?}")
    };
    assert!(value.starts_with(br#"{"returncode": "D0", "message": ""#));
}

#[test]
fn the_network_is_configured_at_start_if_the_command_line_says_so() {
    let mut bench = Bench::new(Config {
        reset_network_at_start: true,
        ..Config::default()
    });
    bench.agent.handle_connected(bench.now);
    bench.collect();
    let asked: Vec<Operation> = bench
        .operations
        .iter()
        .map(|(_, operation)| operation.clone())
        .collect();
    assert!(
        asked.contains(&Operation::List(StorePath::constant("vm-data/networking"))),
        "{asked:?}"
    );
    while let Some((_, operation)) = bench.operations.front().cloned() {
        bench.expect(&operation, Err(ErrorName::Enoent));
    }
    assert!(
        !bench.reports.contains(&Report::Ready),
        "not before the network is configured"
    );
    while !bench.effects.is_empty() {
        bench.complete(Outcome::Probed(Snapshot::default()));
        if bench.reports.contains(&Report::Ready) {
            break;
        }
    }
    assert_eq!(bench.answered().len(), 1);
    bench.expect_nothing();
}

#[test]
fn an_empty_request_whose_event_was_lost_is_carried_out_after_all() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", "");
    bench.pass(Duration::from_secs(10));
    bench.expect_read("1", Ok(VERSION));
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
    bench.expect_removal("1");
    bench.expect_nothing();
}

#[test]
fn the_reset_at_start_asks_once() {
    let mut bench = Bench::new(Config {
        reset_network_at_start: true,
        ..Config::default()
    });
    bench.agent.handle_connected(bench.now);
    bench.collect();
    let networking = Operation::List(StorePath::constant("vm-data/networking"));
    assert_eq!(
        bench
            .operations
            .iter()
            .filter(|(_, operation)| *operation == networking)
            .count(),
        1
    );
}

impl Bench {
    fn expect_nothing_but_effects(&self) {
        assert_eq!(self.operations, []);
    }
}

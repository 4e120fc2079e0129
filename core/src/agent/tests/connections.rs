//! The end of a connection, and of the agent.

use super::*;

#[test]
fn a_store_that_cannot_be_reached_does_not_keep_the_guest_from_booting() {
    let mut bench = Bench::new(Config::default());
    bench.agent.handle_disconnected(bench.now);
    bench.pass(Duration::from_secs(9));
    bench.agent.handle_disconnected(bench.now);
    bench.collect();
    assert!(!bench.reports.contains(&Report::Ready));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.reports, [Report::Ready]);
    assert_eq!(bench.agent.deadline(), None);
    bench.connect(&["1"], &[]);
    bench.expect_read("1", Ok(VERSION));
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
fn an_answer_that_was_on_its_way_when_the_connection_ended_is_not_lost() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", INJECT);
    bench.complete(done());
    bench.operations.clear();
    bench.agent.handle_disconnected(bench.now);
    bench.collect();
    bench.agent.handle_connected(bench.now);
    bench.collect();
    bench.expect(
        &Operation::Watch {
            path: REQUESTS,
            token: token(),
        },
        Ok(Reply::Done),
    );
    bench.expect_read("1", Ok(INJECT));
    bench.expect(&Operation::List(RESPONSES), Ok(names(&[])));
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["1"])));
    bench.expect_response("1", "0", "", Ok(Reply::Done));
    bench.expect_removal("1");
    bench.expect_nothing();
}

#[test]
fn a_command_at_work_survives_the_end_of_the_connection() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", INJECT);
    bench.agent.handle_disconnected(bench.now);
    bench.complete(done());
    bench.expect_nothing();
    bench.agent.handle_connected(bench.now);
    bench.collect();
    bench.expect(
        &Operation::Watch {
            path: REQUESTS,
            token: token(),
        },
        Ok(Reply::Done),
    );
    bench.expect_read("1", Ok(INJECT));
    bench.expect(&Operation::List(RESPONSES), Ok(names(&[])));
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["1"])));
    bench.expect_response("1", "0", "", Ok(Reply::Done));
}

#[test]
fn terminating_finishes_what_is_in_hand_and_leaves_the_rest_in_the_store() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", INJECT);
    bench.post("2", INJECT);
    bench.agent.handle_terminate(bench.now);
    bench.collect();
    assert!(!bench.exited);
    bench.complete(done());
    bench.expect_response("1", "0", "", Ok(Reply::Done));
    assert!(!bench.exited);
    bench.fire("data/host/3");
    bench.expect_removal("1");
    assert!(bench.exited);
    bench.expect_nothing();
}

#[test]
fn terminating_an_idle_agent_leaves_at_once() {
    let mut bench = Bench::started(&[], &[]);
    bench.agent.handle_terminate(bench.now);
    bench.collect();
    assert!(bench.exited);
    assert_eq!(bench.agent.deadline(), None);
}

#[test]
fn terminating_does_not_wait_for_ever() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", INJECT);
    bench.agent.handle_terminate(bench.now);
    bench.pass(STOP_TIMEOUT);
    assert!(bench.exited);
}

#[test]
fn nothing_follows_the_exit() {
    let mut bench = Bench::new(Config {
        alive: Some(Duration::from_secs(1)),
        ..Config::default()
    });
    bench.connect(&[], &[]);
    bench.post("1", r#"{"name": "injectfile", "value": "L2EvYi9jLHg="}"#);
    bench.agent.handle_terminate(bench.now);
    bench.pass(STOP_TIMEOUT);
    assert!(bench.exited);
    bench.effects.clear();
    bench.operations.clear();
    bench.reports.clear();
    bench.pass(Duration::from_secs(1000));
    bench.fire("data/host/2");
    let last = bench.agent.session.last_effect();
    bench
        .agent
        .handle_completed(bench.now, last, done())
        .unwrap();
    bench.agent.handle_disconnected(bench.now);
    bench.agent.handle_connected(bench.now);
    bench.collect();
    bench.expect_nothing();
    assert_eq!(bench.reports, []);
}

#[test]
fn a_command_in_hand_is_answered_over_a_connection_that_comes_back_while_the_agent_stops() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", INJECT);
    bench.agent.handle_disconnected(bench.now);
    bench.agent.handle_terminate(bench.now);
    bench.collect();
    bench.connect(&["1", "2"], &[]);
    bench.complete(done());
    bench.expect_response("1", "0", "", Ok(Reply::Done));
    bench.expect_removal("1");
    assert!(bench.exited);
    bench.expect_nothing();
}

#[test]
fn a_request_that_cannot_be_removed_is_not_carried_out_over_another_connection_either() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", INJECT);
    bench.complete(done());
    bench.expect_response("1", "0", "", Ok(Reply::Done));
    bench.expect(&Operation::Remove(request("1")), Err(ErrorName::Eacces));
    bench.agent.handle_disconnected(bench.now);
    // Somebody else removed the response.
    bench.connect(&["1"], &[]);
    bench.expect_removal("1");
    bench.expect_nothing();
}

#[test]
fn an_answered_request_that_went_with_its_connection_is_forgotten() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", VERSION);
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
    bench.operations.clear();
    bench.agent.handle_disconnected(bench.now);
    bench.connect(&[], &["1"]);
    bench.expect_nothing();
    assert!(bench.agent.requests.is_empty());
}

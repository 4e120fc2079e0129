//! Full stores, refused operations and lists that are too long.

use super::*;
use crate::agent::mailbox::UNLISTED;
use crate::agent::retention::RESPONSES_STUCK;

#[test]
fn a_response_is_removed_after_two_minutes() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", VERSION);
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
    bench.expect_removal("1");
    assert_eq!(
        bench.agent.deadline(),
        Some(bench.now.after(RESPONSE_TIMEOUT))
    );
    bench.pass(RESPONSE_TIMEOUT);
    bench.expect(&Operation::Remove(response("1")), Ok(Reply::Done));
    bench.expect_nothing();
}

#[test]
fn no_more_than_thirty_responses_are_kept() {
    let mut bench = Bench::started(&[], &[]);
    for n in 0..RESPONSES_MAX + 2 {
        let id = n.to_string();
        bench.post(&id, VERSION);
        bench.expect_response(&id, "0", "3.0.0", Ok(Reply::Done));
        bench.expect_removal(&id);
        if n >= RESPONSES_MAX {
            let oldest = (n - RESPONSES_MAX).to_string();
            bench.expect(&Operation::Remove(response(&oldest)), Ok(Reply::Done));
        }
        bench.expect_nothing();
    }
}

#[test]
fn when_many_are_answered_at_once_there_is_never_no_room() {
    let many: Vec<String> = (0..200).map(|n| format!("{n:03}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut bench = Bench::started(&many, &[]);
    let mut kept: Vec<StorePath> = Vec::new();
    while let Some((_, operation)) = bench.operations.front().cloned() {
        let result = match &operation {
            Operation::Read(_) => Reply::Value(VERSION.into()),
            Operation::Write { path, .. } => {
                kept.push(path.clone());
                Reply::Done
            }
            Operation::List(_) | Operation::Remove(_) | Operation::Watch { .. } => Reply::Done,
        };
        if let Operation::Remove(path) = &operation {
            kept.retain(|response| response != path);
        }
        assert!(kept.len() <= 50, "the C daemon refuses the 55th");
        bench.expect(&operation, Ok(result));
    }
    assert_eq!(
        (bench.answered().len(), kept.len()),
        (many.len(), RESPONSES_MAX)
    );
}

#[test]
fn what_an_earlier_run_left_is_cleaned_up() {
    let old: Vec<String> = (0..35).map(|n| format!("old-{n:02}")).collect();
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let mut bench = Bench::started(&["old-00"], &old);
    bench.expect_removal("old-00");
    // Not the one whose request may still be there.
    for name in old[1..5].iter().chain(&old[..1]) {
        bench.expect(&Operation::Remove(response(name)), Ok(Reply::Done));
    }
    bench.expect_nothing();
    bench.pass(RESPONSE_TIMEOUT);
    for name in &old[5..] {
        bench.expect(&Operation::Remove(response(name)), Ok(Reply::Done));
    }
    bench.expect_nothing();
}

#[test]
fn a_full_store_is_swept_and_the_answer_is_written_after_all() {
    for error in [ErrorName::Enospc, ErrorName::E2Big, ErrorName::Equota] {
        let mut bench = Bench::started(&[], &["mine"]);
        bench.pass(Duration::from_secs(6));
        bench.post("1", VERSION);
        bench.expect_response("1", "0", "3.0.0", Err(error));
        bench.expect(&Operation::List(RESPONSES), Ok(names(&["mine", "foreign"])));
        bench.expect(&Operation::Remove(response("mine")), Ok(Reply::Done));
        bench.expect(&Operation::Remove(response("foreign")), Ok(Reply::Done));
        bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
        bench.expect_removal("1");
        bench.expect_nothing();
    }
}

#[test]
fn however_many_answers_find_no_room_a_response_is_removed_once() {
    let ids: Vec<String> = (0..100).map(|n| format!("new{n:03}")).collect();
    let old: Vec<String> = (0..1000).map(|n| format!("old{n:04}")).collect();
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let mut bench = Bench::started(&[], &[]);
    for id in &ids {
        bench.fire(&format!("data/host/{id}"));
    }
    let mut removed = BTreeMap::<String, usize>::new();
    let mut refuse = ids.len();
    let mut most = 0;
    while let Some((_, operation)) = bench.operations.front().cloned() {
        most = most.max(bench.operations.len());
        match &operation {
            Operation::Read(_) => bench.expect(&operation, Ok(Reply::Value(VERSION.into()))),
            Operation::Write { .. } if refuse > 0 => {
                refuse -= 1;
                bench.expect(&operation, Err(ErrorName::Equota));
            }
            Operation::Write { .. } => bench.expect(&operation, Ok(Reply::Done)),
            Operation::List(_) => bench.expect(&operation, Ok(names(&old))),
            Operation::Remove(path) => {
                *removed.entry(path.as_str().into()).or_default() += 1;
                bench.expect(&operation, Ok(Reply::Done));
            }
            Operation::Watch { .. } => panic!("{operation:?}"),
        }
    }
    assert_eq!(bench.answered().len(), ids.len());
    assert!(most < old.len() + 3 * ids.len(), "{most} operations wait");
    // The list is the same for every answer, so what is gone already may be removed once more, but not in the same breath.
    let twice = removed
        .iter()
        .filter(|(path, times)| path.contains("old") && **times > 1)
        .count();
    assert_eq!(twice, 0, "of {}", removed.len());
}

#[test]
fn an_answer_that_the_store_refuses_is_kept_and_tried_again() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", VERSION);
    bench.expect_response("1", "0", "3.0.0", Err(ErrorName::Eacces));
    bench.expect_nothing();
    bench.pass(Duration::from_secs(1));
    bench.expect_read("1", Ok(VERSION));
    bench.expect_response("1", "0", "3.0.0", Err(ErrorName::Eacces));
    bench.pass(Duration::from_secs(60));
    bench.expect_read("1", Ok(VERSION));
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
    bench.expect_removal("1");
    bench.expect_nothing();
}

#[test]
fn a_request_that_may_not_be_read_does_not_stop_the_others() {
    let mut bench = Bench::started(&["secret", "1"], &[]);
    bench.expect_read("1", Ok(VERSION));
    bench.expect_read("secret", Err(ErrorName::Eacces));
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
    bench.expect_removal("1");
    bench.expect_nothing();
    assert!(bench.reports.contains(&Report::Ready));
}

#[test]
fn a_request_that_cannot_be_removed_is_not_carried_out_again() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", VERSION);
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
    bench.expect(&Operation::Remove(request("1")), Err(ErrorName::Eacces));
    bench.fire("data/host/1");
    bench.expect_nothing();
    bench.fire("data/host");
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["1"])));
    bench.expect_removal("1");
    bench.expect_nothing();
}

#[test]
fn requests_that_cannot_be_listed_are_removed_when_nobody_can_wait_for_them_any_more() {
    let mut bench = Bench::new(Config::default());
    bench.agent.handle_connected(bench.now);
    bench.collect();
    bench.expect(
        &Operation::Watch {
            path: REQUESTS,
            token: token(),
        },
        Ok(Reply::Done),
    );
    bench.expect(&Operation::List(RESPONSES), Ok(names(&[])));
    bench.expect(&Operation::List(REQUESTS), Err(ErrorName::E2Big));
    // New ones are still answered.
    bench.post("1", VERSION);
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
    bench.expect_removal("1");
    bench.pass(Duration::from_secs(300));
    bench.expect(&Operation::Remove(response("1")), Ok(Reply::Done));
    bench.expect(&Operation::List(REQUESTS), Err(ErrorName::E2Big));
    bench.expect_nothing();
    bench.pass(Duration::from_secs(300));
    bench.expect(&Operation::List(REQUESTS), Err(ErrorName::E2Big));
    bench.expect(&Operation::Remove(REQUESTS), Ok(Reply::Done));
    bench.expect_nothing();
}

#[test]
fn a_flood_of_requests_is_taken_in_parts() {
    let many: Vec<String> = (0..REQUESTS_MAX + 10).map(|n| format!("{n:04}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut bench = Bench::started(&many, &[]);
    let mut answered = 0;
    let mut listed = 0;
    while let Some((_, operation)) = bench.operations.front().cloned() {
        match &operation {
            Operation::Read(_) => bench.expect(&operation, Ok(Reply::Value(VERSION.into()))),
            Operation::Write { .. } => {
                answered += 1;
                bench.expect(&operation, Ok(Reply::Done));
            }
            Operation::Remove(_) => bench.expect(&operation, Ok(Reply::Done)),
            Operation::List(_) => {
                listed += 1;
                bench.expect(&operation, Ok(names(&many[REQUESTS_MAX..])));
            }
            Operation::Watch { .. } => panic!("{operation:?}"),
        }
    }
    assert_eq!((answered, listed), (many.len(), 1));
}

#[test]
fn a_failure_that_is_too_long_for_the_store_stays_a_failure() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", r#"{"name": "resetnetwork", "value": ""}"#);
    for _ in 0..3 {
        let (_, operation) = bench.operations.front().cloned().unwrap();
        bench.expect(&operation, Err(ErrorName::Enoent));
    }
    bench.complete(Outcome::Failed(Failure::Io("x".repeat(500))));
    let (_, operation) = bench.operations.front().cloned().unwrap();
    bench.expect(&operation, Err(ErrorName::Enospc));
    bench.expect(&Operation::List(RESPONSES), Ok(names(&[])));
    bench.expect(&operation, Err(ErrorName::Enospc));
    // Code 500 would be success of this command.
    bench.expect_response("1", "1", "Response too large", Ok(Reply::Done));
}

#[test]
fn a_listing_that_failed_is_tried_again() {
    let mut bench = Bench::new(Config {
        rescan: None,
        ..Config::default()
    });
    bench.agent.handle_connected(bench.now);
    bench.collect();
    bench.expect(
        &Operation::Watch {
            path: REQUESTS,
            token: token(),
        },
        Ok(Reply::Done),
    );
    bench.expect(&Operation::List(RESPONSES), Ok(names(&[])));
    bench.expect(&Operation::List(REQUESTS), Err(ErrorName::Enomem));
    bench.expect_nothing();
    bench.pass(Duration::from_secs(60));
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["1"])));
    bench.expect_read("1", Ok(VERSION));
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
}

#[test]
fn a_watch_that_stays_refused_is_logged_once() {
    let mut bench = Bench::new(Config::default());
    bench.agent.handle_connected(bench.now);
    bench.collect();
    bench.expect(
        &Operation::Watch {
            path: REQUESTS,
            token: token(),
        },
        Err(ErrorName::Equota),
    );
    bench.expect(&Operation::List(RESPONSES), Ok(names(&[])));
    bench.expect(&Operation::List(REQUESTS), Ok(names(&[])));
    for _ in 0..5 {
        bench.pass(Duration::from_secs(5));
        bench.expect(
            &Operation::Watch {
                path: REQUESTS,
                token: token(),
            },
            Err(ErrorName::Equota),
        );
        bench.expect(&Operation::List(REQUESTS), Ok(names(&[])));
    }
    let refusals = bench
        .reports
        .iter()
        .filter(|report| matches!(report, Report::StoreRefused { .. }));
    assert_eq!(refusals.count(), 1);
}

#[test]
fn without_the_list_of_responses_each_request_is_looked_at_before_it_is_run() {
    let mut bench = Bench::new(Config::default());
    bench.agent.handle_connected(bench.now);
    bench.collect();
    bench.expect(
        &Operation::Watch {
            path: REQUESTS,
            token: token(),
        },
        Ok(Reply::Done),
    );
    bench.expect(&Operation::List(RESPONSES), Err(ErrorName::Eio));
    bench.expect(
        &Operation::List(REQUESTS),
        Ok(names(&["answered", "new", "other", "unknown"])),
    );
    bench.expect(
        &Operation::Read(response("answered")),
        Ok(Reply::Value(b"{}".into())),
    );
    bench.expect(&Operation::Read(response("new")), Err(ErrorName::Enoent));
    bench.expect(&Operation::Read(response("other")), Err(ErrorName::Eagain));
    bench.expect(
        &Operation::Read(response("unknown")),
        Err(ErrorName::Eagain),
    );
    bench.expect_removal("answered");
    bench.expect_read("new", Ok(VERSION));
    bench.expect_response("new", "0", "3.0.0", Ok(Reply::Done));
    bench.expect_removal("new");
    bench.expect_nothing();
    // The next listing tells.
    bench.fire("data/host");
    bench.expect(
        &Operation::List(RESPONSES),
        Ok(names(&["answered", "new", "other"])),
    );
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["other", "unknown"])));
    bench.expect_removal("other");
    bench.expect_read("unknown", Ok(VERSION));
    bench.expect_response("unknown", "0", "3.0.0", Ok(Reply::Done));
}

#[test]
fn the_response_to_a_request_that_cannot_be_removed_stays() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", VERSION);
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
    bench.expect(&Operation::Remove(request("1")), Err(ErrorName::Eio));
    // Without it, another agent would carry the request out once more.
    bench.pass(RESPONSE_TIMEOUT);
    bench.expect_nothing();
    assert!(
        bench
            .agent
            .deadline()
            .is_some_and(|deadline| deadline > bench.now)
    );
    bench.fire("data/host");
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["1"])));
    bench.expect_removal("1");
    bench.pass(RESPONSE_TIMEOUT);
    bench.expect(&Operation::Remove(response("1")), Ok(Reply::Done));
}

#[test]
fn of_too_many_responses_the_one_stays_whose_request_is_still_there() {
    let old: Vec<String> = (0..=RESPONSES_MAX).map(|n| format!("old-{n:02}")).collect();
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let mut bench = Bench::new(Config::default());
    bench.agent.handle_connected(bench.now);
    bench.collect();
    bench.expect(
        &Operation::Watch {
            path: REQUESTS,
            token: token(),
        },
        Ok(Reply::Done),
    );
    bench.expect(&Operation::List(RESPONSES), Ok(names(&[])));
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["1"])));
    bench.expect_read("1", Ok(INJECT));
    bench.agent.handle_disconnected(bench.now);
    bench.complete(done());
    bench.agent.handle_connected(bench.now);
    bench.collect();
    // Its answer is on its way when the others are found, which count as younger.
    bench.expect(
        &Operation::Watch {
            path: REQUESTS,
            token: token(),
        },
        Ok(Reply::Done),
    );
    bench.expect(
        &Operation::Read(request("1")),
        Ok(Reply::Value(INJECT.into())),
    );
    bench.expect(&Operation::List(RESPONSES), Ok(names(&old)));
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["1"])));
    bench.expect_response("1", "0", "", Ok(Reply::Done));
    bench.expect(&Operation::Remove(response("old-00")), Ok(Reply::Done));
    bench.expect_removal("1");
    // Now it is one of them, and the youngest.
    bench.expect(&Operation::Remove(response("old-01")), Ok(Reply::Done));
    bench.expect_nothing();
}

#[test]
fn a_network_that_cannot_be_read_for_once_changes_nothing() {
    for error in [ErrorName::Eio, ErrorName::Eagain, ErrorName::Eacces] {
        let mut bench = Bench::started(&[], &[]);
        bench.post("1", r#"{"name": "resetnetwork", "value": ""}"#);
        bench.expect(
            &Operation::List(path("vm-data/networking")),
            Ok(names(&["BC764E207572"])),
        );
        bench.expect(&Operation::List(path("device/vif")), Err(ErrorName::Eacces));
        bench.expect(
            &Operation::Read(path("vm-data/hostname")),
            Err(ErrorName::Enoent),
        );
        bench.expect(
            &Operation::Read(path("vm-data/networking/BC764E207572")),
            Err(error.clone()),
        );
        let message = format!("Xenstore refused to read vm-data/networking/BC764E207572: {error}");
        bench.expect_response("1", "1", &message, Ok(Reply::Done));
        assert!(bench.effects.is_empty());
    }
}

fn path(text: &str) -> StorePath {
    StorePath::try_from(text).unwrap()
}

#[test]
fn a_response_that_cannot_be_removed_for_once_is_removed_later() {
    let mut bench = Bench::started(&[], &[]);
    bench.post("1", VERSION);
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
    bench.expect_removal("1");
    for result in [Err(ErrorName::Eio), Ok(Reply::Done)] {
        bench.pass(RESPONSE_TIMEOUT);
        bench.expect(&Operation::Remove(response("1")), result);
        bench.expect_nothing();
    }
}

#[test]
fn requests_that_cannot_be_removed_leave_room_for_other_responses() {
    let stuck: Vec<String> = (0..RESPONSES_STUCK + 2)
        .map(|n| format!("stuck{n:02}"))
        .collect();
    let others: Vec<String> = (0..RESPONSES_MAX).map(|n| format!("other{n:02}")).collect();
    let mut bench = Bench::started(&[], &[]);
    let mut removed = Vec::new();
    for id in stuck.iter().chain(&others) {
        bench.post(id, VERSION);
        while let Some((_, Operation::Remove(path))) = bench.operations.front() {
            let path = path.clone();
            removed.push(path.name().to_string());
            bench.expect(&Operation::Remove(path), Ok(Reply::Done));
        }
        bench.expect_response(id, "0", "3.0.0", Ok(Reply::Done));
        let result = if stuck.contains(id) {
            Err(ErrorName::Eacces)
        } else {
            Ok(Reply::Done)
        };
        bench.expect(&Operation::Remove(request(id)), result);
    }
    bench.expect_nothing();
    // The two oldest of too many, and none of the others.
    assert_eq!(removed, stuck[..2]);
}

#[test]
fn when_responses_are_too_many_to_be_listed_no_answered_request_runs_again() {
    let too_many = || Err(ErrorName::E2Big);
    let mut bench = Bench::new(Config::default());
    bench.agent.handle_connected(bench.now);
    bench.collect();
    bench.expect(
        &Operation::Watch {
            path: REQUESTS,
            token: token(),
        },
        Ok(Reply::Done),
    );
    bench.expect(&Operation::List(RESPONSES), too_many());
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["answered"])));
    bench.expect(
        &Operation::Read(response("answered")),
        Ok(Reply::Value(b"{}".into())),
    );
    bench.expect_removal("answered");
    bench.expect_nothing();
    bench.pass(UNLISTED);
    bench.expect(&Operation::List(RESPONSES), too_many());
    bench.expect(&Operation::List(REQUESTS), Err(ErrorName::Enoent));
    bench.expect_nothing();
    // All of them go when there is neither a request nor a response that somebody may wait for.
    bench.pass(UNLISTED);
    bench.expect(&Operation::Remove(response("answered")), Ok(Reply::Done));
    bench.expect(&Operation::List(RESPONSES), too_many());
    bench.expect(&Operation::List(REQUESTS), Err(ErrorName::Enoent));
    bench.expect(&Operation::Remove(RESPONSES), Ok(Reply::Done));
    bench.post("1", VERSION);
    bench.expect_response("1", "0", "3.0.0", Ok(Reply::Done));
}

#[test]
fn an_event_between_two_listings_runs_no_answered_request_again() {
    let mut bench = Bench::new(Config::default());
    bench.agent.handle_connected(bench.now);
    bench.collect();
    bench.expect(
        &Operation::Watch {
            path: REQUESTS,
            token: token(),
        },
        Ok(Reply::Done),
    );
    bench.expect(&Operation::List(RESPONSES), Err(ErrorName::Eio));
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["1"])));
    bench.expect(&Operation::Read(response("1")), Err(ErrorName::Eio));
    bench.pass(UNLISTED);
    bench.expect(&Operation::List(RESPONSES), Ok(names(&["1"])));
    bench.fire("data/host/1");
    bench.expect(&Operation::List(REQUESTS), Ok(names(&["1"])));
    bench.expect(
        &Operation::Read(response("1")),
        Ok(Reply::Value(b"{}".into())),
    );
    bench.expect_removal("1");
}

//! Many requests at once, and requests that go as they came.

use std::thread;
use std::time::Duration;

use nova_agent_tests::agent::{Answer, Rig};
use serde_json::json;

use super::{EVERYWHERE, VERSION, on_then};

/// How many requests come at once.
const MANY: usize = 200;

#[test]
fn two_hundred_requests_at_once_are_all_answered_once() {
    on_then(
        &EVERYWHERE,
        |rig| {
            rig.start_agent();
            for nth in 0..MANY {
                rig.post_as(&format!("at-once-{nth:03}"), request(nth));
            }
            rig.wait_until("every request is answered", |rig| {
                rig.list("data/host").is_empty()
            });
            for nth in (0..MANY).filter(|nth| nth % 4 == 1) {
                assert_eq!(rig.sandbox().read(&format!("/srv/{nth}")), b"content");
            }
            assert_eq!(
                rig.agent().log().matches("connected to Xenstore").count(),
                1
            );
        },
        |seen| {
            // Few of them are there for long, so that not all were read; but each was written, and once.
            assert_eq!(seen.len(), MANY);
            assert!(
                seen.values()
                    .all(|seen| seen.writes() == 1 && seen.contents.len() <= 1),
                "{seen:?}"
            );
        },
    );
}

#[test]
fn a_host_may_delete_a_request_at_any_moment() {
    on_then(
        &EVERYWHERE,
        |rig| {
            rig.start_agent();
            for nth in 0..120 {
                let id = format!("deleted-{nth}");
                rig.post_as(&id, request(nth));
                // From before the agent has read it until after it has removed it itself.
                thread::sleep(Duration::from_micros(u64::try_from(nth).unwrap() * 20));
                delete(rig, &id);
            }
            rig.post_as("kept", VERSION);
            assert_eq!(
                rig.answer_to("kept"),
                Answer::new("0", env!("CARGO_PKG_VERSION"))
            );
            rig.wait_until("no request is left", |rig| rig.list("data/host").is_empty());
            assert_eq!(
                rig.agent().log().matches("connected to Xenstore").count(),
                1
            );
        },
        |seen| {
            assert!(
                seen.values()
                    .all(|seen| seen.writes() == 1 && seen.contents.len() <= 1),
                "{seen:?}"
            )
        },
    );
}

/// Some request that takes next to no time, and may be repeated.
fn request(nth: usize) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    match nth % 4 {
        0 => VERSION.into(),
        1 => json!({"name": "injectfile", "value": STANDARD.encode(format!("/srv/{nth},content"))})
            .to_string(),
        2 => json!({"name": "features", "value": ""}).to_string(),
        _ => "{".into(),
    }
}

fn delete(rig: &mut Rig, id: &str) {
    let path = rig.host().path(&format!("data/host/{id}"));
    if let Err(error) = rig.host().client().rm(&path) {
        assert_eq!(error.to_string(), "ENOENT");
    }
}

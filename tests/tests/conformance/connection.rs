//! A way to the store on which bytes come one by one, or late, or not at all. A proxy is in between.

use std::thread;
use std::time::{Duration, Instant};

use nova_agent_tests::agent::{Answer, Rig};
use nova_agent_tests::host::Server;
use nova_agent_tests::proxy::Fault;
use serde_json::json;

use super::{EVERYWHERE, Place, VERSION, every_command, on_then, on_with};

/// One place for each kind of socket: what matters here is between the agent and the proxy.
const PLACES: [Place; 3] = [EVERYWHERE[0], EVERYWHERE[2], EVERYWHERE[7]];

/// More messages than there are between a connection's first byte and an answer's last.
const MESSAGES_MAX: usize = 24;

/// How long a store falls silent that is not to be given up.
const PAUSE: Duration = Duration::from_millis(300);

/// How long an agent with nothing in hand may take to leave.
const AT_ONCE: Duration = Duration::from_secs(20);

#[test]
fn every_command_works_byte_by_byte() {
    on_with(&EVERYWHERE, |rig| {
        rig.sandbox()
            .install_debian(&["BC:76:4E:20:75:72", "BC:76:4E:20:5E:FB"]);
        rig.host().provision(&Server::two_networks()).unwrap();
        rig.insert_proxy();
        rig.proxy().dribble();
        rig.post_as("early", VERSION);
        rig.start_agent();
        assert_eq!(
            rig.answer_to("early"),
            Answer::new("0", env!("CARGO_PKG_VERSION"))
        );
        every_command(rig);
        rig.wait_until("every request is removed", |rig| {
            rig.list("data/host").is_empty()
        });
        assert_eq!(rig.proxy().connections(), 1);
    });
}

#[test]
fn a_cut_within_any_message_leads_to_another_connection_and_one_answer() {
    on_then(
        &PLACES,
        |rig| {
            rig.insert_proxy();
            rig.start_agent();
            let mut has_happened = 0;
            for nth in 0..MESSAGES_MAX {
                // From the start of a connection to the removal of the request.
                rig.proxy().set_fault(nth, Fault::Cut);
                rig.proxy().cut();
                let (id, path) = (format!("cut-{nth}"), format!("/etc/{nth}"));
                rig.post_as(&id, inject(&path));
                assert_eq!(rig.answer_to(&id), Answer::new("0", ""));
                rig.wait_until("the request is removed", |rig| {
                    rig.list("data/host").is_empty()
                });
                assert_eq!(rig.sandbox().read(&path), b"content");
                has_happened += usize::from(!rig.proxy().clear_faults());
            }
            assert!(
                (12..MESSAGES_MAX).contains(&has_happened),
                "{has_happened} cuts"
            );
        },
        |seen| {
            for (id, seen) in seen {
                assert_eq!(seen.contents.len(), 1, "{id}: {seen:?}");
                // One whose write was not confirmed may have been written once more.
                assert!((1..=2).contains(&seen.writes()), "{id}: {seen:?}");
            }
        },
    );
}

#[test]
fn a_store_that_stalls_within_any_message_loses_no_request() {
    on_then(
        &PLACES,
        |rig| {
            rig.insert_proxy();
            rig.start_agent();
            let mut has_happened = 0;
            for nth in 0..MESSAGES_MAX {
                rig.proxy().set_fault(nth, Fault::Pause(PAUSE));
                rig.proxy().cut();
                let id = format!("stalled-{nth}");
                rig.post_as(&id, VERSION);
                assert_eq!(
                    rig.answer_to(&id),
                    Answer::new("0", env!("CARGO_PKG_VERSION"))
                );
                rig.wait_until("the request is removed", |rig| {
                    rig.list("data/host").is_empty()
                });
                has_happened += usize::from(!rig.proxy().clear_faults());
            }
            assert!(
                (12..MESSAGES_MAX).contains(&has_happened),
                "{has_happened} stalls"
            );
            assert_eq!(
                rig.proxy().connections(),
                MESSAGES_MAX + 1,
                "the agent lost its patience"
            );
        },
        |seen| assert!(seen.values().all(|seen| seen.writes() == 1), "{seen:?}"),
    );
}

#[test]
fn a_store_that_stalls_does_not_keep_the_agent_from_leaving() {
    on_then(
        &PLACES,
        |rig| {
            rig.insert_proxy();
            // Idle, while the request is read, and while a connection begins.
            for (nth, (fault, cuts)) in [
                (None, false),
                (Some(2), false),
                (Some(0), true),
                (Some(1), true),
                (Some(4), true),
            ]
            .into_iter()
            .enumerate()
            {
                rig.start_agent();
                rest(rig);
                match fault {
                    Some(number) => rig.proxy().set_fault(number, Fault::Stall),
                    None => rig.proxy().stall(),
                }
                if cuts {
                    rig.proxy().cut();
                }
                let id = format!("left-{nth}");
                rig.post_as(&id, VERSION);
                rig.proxy().wait_for_stall();
                let start = Instant::now();
                rig.agent().terminate();
                assert_eq!(rig.agent().wait().code(), Some(0));
                assert!(
                    start.elapsed() < AT_ONCE,
                    "{fault:?}: it took {:?}",
                    start.elapsed()
                );
                assert_eq!(rig.list("data/host"), [id], "what is not answered stays");
                rig.proxy().resume();
            }
            rig.start_agent();
        },
        |seen| {
            assert!(
                seen.len() == 5 && seen.values().all(|seen| seen.writes() == 1),
                "{seen:?}"
            )
        },
    );
}

#[test]
fn a_store_that_does_not_read_is_waited_for() {
    on_then(
        &PLACES,
        |rig| {
            stuff_the_way(rig);
            rig.proxy().resume();
            for nth in 0..20 {
                assert_eq!(rig.answer_to(&format!("stuck-{nth}")).code, "0");
            }
            rig.host().version().unwrap();
            assert_eq!(rig.proxy().connections(), 1);
        },
        |seen| assert!(seen.values().all(|seen| seen.writes() == 1), "{seen:?}"),
    );
}

#[test]
fn an_agent_that_cannot_write_can_be_told_to_leave() {
    on_then(
        &PLACES,
        |rig| {
            stuff_the_way(rig);
            rig.agent().terminate();
            rig.agent().wait_for_line(" stopping");
            rig.proxy().resume();
            assert_eq!(rig.agent().wait().code(), Some(0));
            rig.start_agent();
            rig.wait_until("every request is removed", |rig| {
                rig.list("data/host").is_empty()
            });
        },
        |seen| {
            assert!(
                seen.len() == 20 && seen.values().all(|seen| seen.writes() == 1),
                "{seen:?}"
            )
        },
    );
}

/// Posts twenty requests of which the agent can answer only some, because its messages stay in its socket.
fn stuff_the_way(rig: &mut Rig) {
    rig.insert_proxy();
    rig.start_agent().shrink_send_buffers();
    rig.proxy().hold_back();
    for nth in 0..20 {
        rig.post_as(&format!("stuck-{nth}"), VERSION);
    }
    let mut before = (rig.proxy().count(), rig.agent().processor_time());
    rig.wait_until("the agent rests", |rig| {
        thread::sleep(Duration::from_millis(300));
        let now = (rig.proxy().count(), rig.agent().processor_time());
        std::mem::replace(&mut before, now) == now
    });
    assert!(
        rig.list("data/host").len() > 10,
        "the agent can still write"
    );
}

/// Waits until the agent has nothing in hand, and nothing is on its way.
pub(super) fn rest(rig: &mut Rig) {
    rig.wait_until("every request is removed", |rig| {
        rig.list("data/host").is_empty()
    });
    let mut before = rig.proxy().count();
    rig.wait_until("no message is on its way", |rig| {
        thread::sleep(Duration::from_millis(300));
        let now = rig.proxy().count();
        std::mem::replace(&mut before, now) == now
    });
}

/// A request to inject a file.
fn inject(path: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    json!({"name": "injectfile", "value": STANDARD.encode(format!("{path},content"))}).to_string()
}

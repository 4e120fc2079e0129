//! The kernel's device, which is no socket: it is never writable, and takes one message with each write.

use std::thread;
use std::time::{Duration, Instant};

use nova_agent_tests::agent::{Answer, Rig};
use nova_agent_tests::host::Server;

use super::connection::rest;
use super::{DEVICES, REAL, VERSION, every_command, on_then};

#[test]
fn every_command_works_on_a_device() {
    on_a_device(|rig| {
        rig.sandbox()
            .install_debian(&["BC:76:4E:20:75:72", "BC:76:4E:20:5E:FB"]);
        rig.host().provision(&Server::two_networks()).unwrap();
        rig.post_as("early", VERSION);
        rig.start_agent();
        assert_eq!(
            rig.answer_to("early"),
            Answer::new("0", env!("CARGO_PKG_VERSION"))
        );
        every_command(rig);
        for nth in 0..100 {
            rig.post_as(&format!("at-once-{nth}"), VERSION);
        }
        rig.wait_until("every request is answered", |rig| {
            rig.list("data/host").is_empty()
        });
        assert_eq!(
            rig.agent().log().matches("connected to Xenstore").count(),
            1
        );
        rig.agent().terminate();
        assert_eq!(rig.agent().wait().code(), Some(0));
    });
}

#[test]
fn a_domain_that_is_restored_goes_on_with_its_device() {
    on_a_device(|rig| {
        rig.start_agent();
        rig.host().version().unwrap();
        rig.restore();
        every_command(rig);
        assert_eq!(
            rig.agent().log().matches("connected to Xenstore").count(),
            1
        );
    });
}

#[test]
fn a_device_that_refuses_a_message_is_opened_anew() {
    on_a_device(|rig| {
        rig.start_agent();
        for nth in 0..5 {
            rig.device().fail_next_write();
            rig.post_as(&format!("refused-{nth}"), VERSION);
            assert_eq!(
                rig.answer_to(&format!("refused-{nth}")),
                Answer::new("0", env!("CARGO_PKG_VERSION"))
            );
            rig.wait_until("every request is removed", |rig| {
                rig.list("data/host").is_empty()
            });
        }
        let log = rig.agent().log();
        assert_eq!(log.matches("write: Invalid argument").count(), 5, "{log}");
        assert_eq!(log.matches("connected to Xenstore").count(), 6, "{log}");
    });
}

#[test]
fn a_device_that_falls_silent_keeps_nobody_from_stopping_the_agent() {
    on_then(
        &REAL,
        |rig| {
            rig.insert_proxy();
            rig.insert_device();
            rig.start_agent();
            rig.host().version().unwrap();
            rest(rig);
            rig.proxy().stall();
            rig.post_as("unread", VERSION);
            // Time enough for a loop to show.
            thread::sleep(Duration::from_secs(1));
            let before = rig.agent().processor_time();
            thread::sleep(Duration::from_millis(500));
            assert!(
                rig.agent().processor_time() - before <= 1,
                "it does not wait, it looks"
            );
            let start = Instant::now();
            rig.agent().terminate();
            assert_eq!(rig.agent().wait().code(), Some(0));
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it took {:?}",
                start.elapsed()
            );
            assert_eq!(rig.list("data/host"), ["unread"]);
            rig.proxy().resume();
            rig.start_agent();
            assert_eq!(rig.answer_to("unread").code, "0");
            assert_eq!(rig.device().complaints(), "");
        },
        |seen| assert_eq!(seen["unread"].writes(), 1),
    );
}

/// Runs a test with a fresh rig on both daemons, whose domain has a device that watches what is done with it.
fn on_a_device(test: impl Fn(&mut Rig) + Sync) {
    on_then(
        &DEVICES,
        |rig| {
            test(rig);
            assert_eq!(rig.device().complaints(), "");
        },
        |seen| {
            for (id, seen) in seen {
                // Written, and removed by the agent or with the domain that was saved.
                assert!(
                    seen.contents.len() <= 1 && seen.events <= 2,
                    "{id}: {seen:?}"
                );
            }
        },
    );
}

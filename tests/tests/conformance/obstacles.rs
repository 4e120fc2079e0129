//! What a store may put in the agent's way.

use std::time::Duration;

use nova_agent_core::agent::RESPONSES_MAX;
use nova_agent_core::wire::{Access, Permission};
use nova_agent_tests::agent::{Answer, DOMID, Rig};
use nova_agent_tests::xenstored::Flavour;

use super::{DOMAINS, VERSION, everywhere, on, on_then, on_with};

/// More names of this length than one listing holds.
const TOO_MANY: usize = 200;

fn id(nth: usize) -> String {
    format!("0f5c1d2e-0000-4000-8000-{nth:012}")
}

#[test]
fn requests_that_do_not_fit_one_listing_keep_nobody_waiting() {
    let too_many = |rig: &mut Rig| {
        for nth in 0..TOO_MANY {
            rig.post_as(&id(nth), VERSION);
        }
        rig.start_agent();
        // Not with the host's own watch: the C daemon does not listen to a guest any more (20 requests at most) when
        // somebody who watches it does not read his events.
        rig.post_as("another", VERSION);
        assert_eq!(rig.answer_to("another").code, "0");
        match rig.kind().flavour() {
            // This daemon lists in parts.
            Flavour::C => rig.wait_until("every request is answered", |rig| {
                rig.list("data/host").is_empty()
            }),
            // On this one nobody can know of the others, but every event names one.
            Flavour::Oxen => {
                rig.post_as(&id(0), VERSION);
                assert_eq!(rig.answer_to(&id(0)).code, "0");
            }
        }
    };
    on_then(&DOMAINS, too_many, |seen| {
        // Nobody can read more than thirty of so many at once, but each of them was written, and once.
        for (id, seen) in &seen {
            assert_eq!(seen.writes(), 1, "{id}: {seen:?}");
        }
        assert!(
            [2, TOO_MANY + 1].contains(&seen.len()),
            "{} responses",
            seen.len()
        );
    });
}

#[test]
fn responses_that_do_not_fit_one_listing_are_removed() {
    on_with(&DOMAINS, |rig| {
        for nth in 0..TOO_MANY {
            let path = rig.host().path(&format!("data/guest/{}", id(nth)));
            rig.host()
                .client()
                .write(&path, r#"{"returncode": "0", "message": "old"}"#)
                .unwrap();
        }
        rig.start_agent();
        rig.host().version().unwrap();
        rig.wait_until("old responses are removed", |rig| {
            rig.list("data/guest").len() <= RESPONSES_MAX + 1
        });
        rig.host().version().unwrap();
    });
}

#[test]
fn a_response_that_the_store_refuses_is_offered_again() {
    on(&DOMAINS, |rig| {
        rig.host().version().unwrap();
        forbid(rig, "data/guest");
        rig.post_as("refused", VERSION);
        rig.agent()
            .wait_for_line("Xenstore refused: write data/guest/refused: EACCES");
        allow(rig, "data/guest");
        assert_eq!(
            rig.answer_to("refused"),
            Answer::new("0", env!("CARGO_PKG_VERSION"))
        );
        rig.wait_until("the request is removed", |rig| {
            rig.list("data/host").is_empty()
        });
    });
}

#[test]
fn a_request_that_cannot_be_read_is_in_nobodys_way() {
    on_with(&DOMAINS, |rig| {
        rig.post_as("hidden", VERSION);
        forbid(rig, "data/host/hidden");
        rig.start_agent();
        for _ in 0..10 {
            rig.host().version().unwrap();
        }
        // A second is time enough for a loop to show.
        std::thread::sleep(Duration::from_secs(1));
        let log = rig.agent().log();
        let refusals = log.lines().filter(|line| line.contains("refused")).count();
        assert!(
            (1..=3).contains(&refusals),
            "{refusals} refusals in the log:\n{log}"
        );
    });
}

#[test]
fn requests_that_vanish_with_everything_around_them_are_forgotten() {
    everywhere(|rig| {
        for round in 0..5 {
            for nth in 0..5 {
                rig.post_as(&format!("{round}-{nth}"), VERSION);
            }
            let path = rig.host().path("data/host");
            rig.host().client().rm(&path).unwrap();
            rig.host().version().unwrap();
        }
        let path = rig.host().path("data/guest");
        rig.host().client().rm(&path).unwrap();
        rig.host().version().unwrap();
        rig.wait_until("no request is left", |rig| rig.list("data/host").is_empty());
    });
}

fn forbid(rig: &mut Rig, node: &str) {
    set_owner(rig, node, 0);
}

fn allow(rig: &mut Rig, node: &str) {
    set_owner(rig, node, DOMID);
}

/// Nobody but a node's owner, and dom0, may look at it or write into it.
fn set_owner(rig: &mut Rig, node: &str, domid: u32) {
    let path = rig.host().path(node);
    rig.host()
        .client()
        .set_perms(
            &path,
            &[Permission {
                access: Access::None,
                domid,
            }],
        )
        .unwrap();
}

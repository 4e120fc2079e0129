//! Hosts never delete a response. Somebody has to.

use nova_agent_core::agent::RESPONSES_MAX;

use super::{DOMAINS, on, on_with};

/// Far beyond what fits: with responses that stay, the C daemon refuses the 55th and `oxenstored` the 988th.
const REQUESTS: usize = 3000;

#[test]
fn three_thousand_responses_in_a_row_find_room() {
    on(&DOMAINS, |rig| {
        for nth in 1..=REQUESTS {
            let version = rig
                .host()
                .version()
                .unwrap_or_else(|error| panic!("request {nth}: {error}"));
            assert_eq!(version, env!("CARGO_PKG_VERSION"));
        }
        let responses = rig.list("data/guest").len();
        assert!(
            (1..=RESPONSES_MAX + 1).contains(&responses),
            "{responses} responses are left"
        );
        assert!(rig.list("data/host").len() <= 1, "requests are left");
    });
}

#[test]
fn responses_of_earlier_agents_make_room_for_new_ones() {
    on_with(&DOMAINS, |rig| {
        // As many as an agent leaves behind that never deletes any.
        for nth in 0..54 {
            let path = rig
                .host()
                .path(&format!("data/guest/0f5c1d2e-0000-4000-8000-{nth:012}"));
            rig.host()
                .client()
                .write(&path, r#"{"returncode": "0", "message": "old"}"#)
                .unwrap();
        }
        rig.start_agent();
        for _ in 0..10 {
            rig.host().version().unwrap();
        }
        rig.wait_until("old responses are removed", |rig| {
            rig.list("data/guest").len() <= RESPONSES_MAX + 1
        });
    });
}

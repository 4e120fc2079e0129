//! A whole session, message by message: the same as that of the machine alone.

use std::thread;
use std::time::Duration;

use nova_agent_core::wire::Message;
use nova_agent_tests::agent::Rig;
use nova_agent_tests::proxy::Sender;
use nova_agent_tests::transcript::{self, Stage};

use super::{EMBEDDED, Place};

/// How long an agent may take for a step before its transcript is taken for what it is.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer that took longer than a second is looked for before it is given. On a machine that is busy with other tests
/// that may happen in one session, but not in all of them.
const SESSIONS: usize = 8;

#[test]
fn a_session_is_that_of_the_machine_alone() {
    thread::scope(|scope| {
        for place in EMBEDDED {
            thread::Builder::new()
                .name(format!("{place:?}"))
                .spawn_scoped(scope, move || sessions(place))
                .unwrap();
        }
    });
}

fn sessions(place: Place) {
    let expected = std::fs::read_to_string(transcript::path(place.store.flavour())).unwrap();
    let mut difference = None;
    for _ in 0..SESSIONS {
        difference = transcript::difference(&expected, &session(place, &expected));
        if difference.is_none() {
            return;
        }
    }
    panic!("{}", difference.unwrap_or_default());
}

fn session(place: Place, expected: &str) -> String {
    let mut rig = place.rig();
    rig.sandbox()
        .install_debian(&["BC:76:4E:20:75:72", "BC:76:4E:20:5E:FB"]);
    rig.insert_proxy();
    rig.proxy().record();
    let mut session = Session {
        rig,
        counts: transcript::counts(expected),
    };
    let played = transcript::play(&mut session);
    session.rig.finish();
    played
}

struct Session {
    rig: Rig,
    /// How many messages are expected up to the end of each step. When they have come, nothing is under way: if more came
    /// than these, or others, the transcript shows it.
    counts: Vec<usize>,
}

impl Stage for Session {
    fn start(&mut self) {
        self.rig.start_agent();
    }

    fn write(&mut self, node: &str, content: &str) {
        let path = self.rig.host().path(node);
        self.rig.host().client().write(&path, content).unwrap();
    }

    fn remove(&mut self, node: &str) {
        let path = self.rig.host().path(node);
        self.rig.host().client().rm(&path).unwrap();
    }

    fn read(&mut self, node: &str) -> String {
        let path = self.rig.host().path(node);
        self.rig.host().client().read_text(&path).unwrap()
    }

    fn hold_ifup(&mut self) {
        self.rig.sandbox().hold("ifup", 20);
    }

    fn release_ifup(&mut self) {
        self.rig
            .wait_until("ifup starts", |rig| rig.sandbox().is_held());
        thread::sleep(Duration::from_millis(1100));
        self.rig.sandbox().release();
    }

    fn restore(&mut self) {
        self.rig.restore();
    }

    fn terminate(&mut self) {
        self.rig.agent().terminate();
        assert_eq!(self.rig.agent().wait().code(), Some(0));
    }

    fn settle(&mut self, steps: usize) -> Vec<(Sender, Message)> {
        let count = self.counts.get(steps - 1).copied().unwrap_or_default();
        self.rig.proxy().recorded(count, PATIENCE)
    }
}

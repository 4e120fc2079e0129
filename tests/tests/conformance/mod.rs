//! What every runtime has to do, as its host sees it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test"
)]

mod collection;
mod commands;
mod connection;
mod crash;
mod files;
mod idle;
mod life;
mod load;
mod network;
mod obstacles;
mod password;
mod plan;
mod programs;
mod replies;
mod secrets;
mod transcript;

use std::collections::BTreeMap;
use std::thread;

use nova_agent_core::secret::Secret;
use nova_agent_tests::agent::{Rig, Seen};
use nova_agent_tests::stores::StoreKind;

use crate::RUNTIME;

/// The request that every host begins with.
const VERSION: &str = r#"{"name": "version", "value": "agent"}"#;

/// A store, and where in it the agent is.
#[derive(Clone, Copy, Debug)]
struct Place {
    store: StoreKind,
    /// Whether the agent is in dom0 and not in an unprivileged domain.
    is_dom0: bool,
}

/// Every store there is, with the agent as an unprivileged domain. Permissions, quotas and restores exist only there.
const DOMAINS: [Place; 4] = [
    Place::domain(StoreKind::EmbeddedC),
    Place::domain(StoreKind::EmbeddedOxen),
    Place::domain(StoreKind::RealC),
    Place::domain(StoreKind::RealOxen),
];

/// And with the agent as dom0, where it shares the daemon's own socket with the host.
const EVERYWHERE: [Place; 8] = {
    let [a, b, c, d] = DOMAINS;
    [a, b, c, d, Place::dom0(a.store), Place::dom0(b.store), Place::dom0(c.store), Place::dom0(d.store)]
};

/// The stores that run in the test's own process.
const EMBEDDED: [Place; 2] = [Place::domain(StoreKind::EmbeddedC), Place::domain(StoreKind::EmbeddedOxen)];

/// The daemons.
const REAL: [Place; 2] = [Place::domain(StoreKind::RealC), Place::domain(StoreKind::RealOxen)];

impl Place {
    const fn domain(store: StoreKind) -> Self {
        Self { store, is_dom0: false }
    }

    const fn dom0(store: StoreKind) -> Self {
        Self { store, is_dom0: true }
    }

    /// A rig without an agent.
    fn rig(self) -> Rig {
        if self.is_dom0 { Rig::in_dom0(RUNTIME, self.store) } else { Rig::new(RUNTIME, self.store) }
    }
}

/// Runs a test in every place, with a fresh rig whose agent is started.
fn everywhere(test: impl Fn(&mut Rig) + Sync) {
    on(&EVERYWHERE, test);
}

/// As [`everywhere`], in some places: in all of them at the same time, as tests mostly wait. The thread that fails has
/// the name of its place.
fn on(places: &[Place], test: impl Fn(&mut Rig) + Sync) {
    on_with(places, |rig| {
        rig.start_agent();
        test(rig);
    });
}

/// As [`on`], without an agent in the beginning.
fn on_with(places: &[Place], test: impl Fn(&mut Rig) + Sync) {
    on_then(places, test, |_| ());
}

/// As [`on_with`]; `judge` gets what was seen of the responses in the end.
fn on_then(places: &[Place], test: impl Fn(&mut Rig) + Sync, judge: impl Fn(BTreeMap<String, Seen>) + Sync) {
    let test = &test;
    let judge = &judge;
    thread::scope(|scope| {
        for place in places {
            let one = move || {
                let mut rig = place.rig();
                test(&mut rig);
                judge(rig.finish());
            };
            thread::Builder::new().name(format!("{place:?}")).spawn_scoped(scope, one).unwrap();
        }
    });
}

fn secret(text: &str) -> Secret {
    Secret::from(String::from(text))
}

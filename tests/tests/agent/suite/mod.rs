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
mod crash;
mod files;
mod idle;
mod life;
mod network;
mod obstacles;
mod password;
mod plan;
mod replies;
mod secrets;

use std::collections::BTreeMap;
use std::thread;

use nova_agent_core::secret::Secret;
use nova_agent_tests::agent::{Rig, Seen};
use nova_agent_tests::stores::StoreKind;

use crate::RUNTIME;

/// The request that every host begins with.
const VERSION: &str = r#"{"name": "version", "value": "agent"}"#;

/// Runs a test with a fresh rig on every store at the same time: they mostly wait.
fn on_every_store(test: impl Fn(&mut Rig) + Sync) {
    on(&StoreKind::ALL, test);
}

/// Runs a test with a fresh rig on some stores at the same time. The thread that fails has the name of its store.
fn on(kinds: &[StoreKind], test: impl Fn(&mut Rig) + Sync) {
    on_with(kinds, |rig| {
        rig.start_agent();
        test(rig);
    });
}

/// As [`on`], without an agent in the beginning.
fn on_with(kinds: &[StoreKind], test: impl Fn(&mut Rig) + Sync) {
    on_then(kinds, test, |_| ());
}

/// As [`on_with`]; `judge` gets what was seen of the responses in the end.
fn on_then(kinds: &[StoreKind], test: impl Fn(&mut Rig) + Sync, judge: impl Fn(BTreeMap<String, Seen>) + Sync) {
    let test = &test;
    let judge = &judge;
    thread::scope(|scope| {
        for kind in kinds {
            let one = move || {
                let mut rig = Rig::new(RUNTIME, *kind);
                test(&mut rig);
                judge(rig.finish());
            };
            thread::Builder::new().name(format!("{kind:?}")).spawn_scoped(scope, one).unwrap();
        }
    });
}

fn secret(text: &str) -> Secret {
    Secret::from(String::from(text))
}

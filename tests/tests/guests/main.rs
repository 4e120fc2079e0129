//! Whole guests, before a reset of the network and after it; `nova_agent_tests::fixture` says what they consist of.
//!
//! `NOVA_BLESS=1 cargo test -p nova-agent-tests --test guests every_guest` rewrites `after/` and `effects`; look at the
//! difference before you commit it.
#![deny(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

mod bounds;
mod hostile;
mod invalid;
mod report;
mod roll_back;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nova_agent_core::effect::{Change, ExistingMode};
use nova_agent_core::plan::Plan;
use nova_agent_core::render::{Configuration, Prepared};
use nova_agent_tests::fixture::{Entry, Fixture, Guest, Tree};
use serde_json::Value;

use self::report::report;

#[test]
fn every_guest_becomes_what_its_files_say() {
    on_every_guest(|fixture| {
        let guest = fixture.guest();
        let before = guest.tree();
        let prepared = guest.prepare(&fixture.host());
        let effects = report(&prepared);
        if let Prepared::Ready(Configuration { plan, .. }) = prepared {
            let expected = Promise::of(&plan, &before);
            guest
                .carry_out(plan)
                .map_err(|failure| failure.to_string())?;
            expected.check(&guest.tree())?;
        }
        let after = guest.tree();
        if std::env::var_os("NOVA_BLESS").is_some() {
            bless(fixture, &before, &after, &effects);
        }
        compare(fixture, &before, &after, &effects)
    });
}

#[test]
fn a_second_reset_changes_nothing() {
    on_every_guest(|fixture| {
        let guest = afterwards(fixture)?;
        nothing_is_left_to_do(&guest, fixture)
    });
}

#[test]
fn the_order_of_the_hosts_data_does_not_matter() {
    on_every_guest(|fixture| {
        let guest = fixture.guest();
        let mut data = fixture.host();
        let first = guest.prepare(&data);
        data.networking.reverse();
        data.vifs.reverse();
        let second = guest.prepare(&data);
        if first == second {
            Ok(())
        } else {
            Err(format!(
                "{}--- in another order\n{}",
                report(&first),
                report(&second)
            ))
        }
    });
}

/// Name servers come from a set, in another order with every write.
#[test]
fn another_order_of_name_servers_changes_nothing() {
    on_every_guest(|fixture| {
        let guest = afterwards(fixture)?;
        let mut data = fixture.host();
        for (_, value) in &mut data.networking {
            let Ok(mut json) = serde_json::from_slice::<Value>(value) else {
                continue;
            };
            if let Some(Value::Array(dns)) = json.get_mut("dns") {
                dns.reverse();
            }
            *value = json.to_string().into_bytes();
        }
        match guest.prepare(&data) {
            Prepared::Ready(Configuration { plan, .. }) if !plan.steps.is_empty() => {
                Err(format!("{:#?}", plan.steps))
            }
            _ => Ok(()),
        }
    });
}

#[test]
fn there_are_guests_of_twenty_systems() {
    let fixtures = Fixture::all();
    let systems: BTreeSet<&str> = fixtures.iter().map(Fixture::system).collect();
    assert!(systems.len() >= 20, "{}: {systems:?}", systems.len());
}

/// Runs a test for every guest, on all cores; all failures are told together.
fn on_every_guest(test: impl Fn(&Fixture) -> Result<(), String> + Sync) {
    let fixtures = Fixture::all();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(fixture) = fixtures.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(text) = test(fixture) {
                        failures
                            .lock()
                            .unwrap()
                            .push(format!("=== {fixture}\n{text}"));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {} guests\n{}",
        failures.len(),
        fixtures.len(),
        failures.join("\n")
    );
}

/// The guest when the reset is done, and the agent still runs.
fn afterwards(fixture: &Fixture) -> Result<Guest, String> {
    let guest = fixture.guest();
    if let Prepared::Ready(Configuration { plan, .. }) = guest.prepare(&fixture.host()) {
        guest
            .carry_out(plan)
            .map_err(|failure| failure.to_string())?;
    }
    Ok(guest)
}

fn nothing_is_left_to_do(guest: &Guest, fixture: &Fixture) -> Result<(), String> {
    match guest.prepare(&fixture.host()) {
        prepared @ Prepared::Ready(_) if report(&prepared).contains("\nstep: ") => {
            Err(report(&prepared))
        }
        _ => Ok(()),
    }
}

fn bless(fixture: &Fixture, before: &Tree, after: &Tree, effects: &str) {
    let directory = fixture.after();
    if directory.exists() {
        fs::remove_dir_all(&directory).unwrap();
    }
    let changed = after.changed_since(before);
    if !changed.0.is_empty() {
        fs::create_dir(&directory).unwrap();
        changed.write(&directory);
    }
    fs::write(fixture.effects(), effects).unwrap();
}

fn compare(fixture: &Fixture, before: &Tree, after: &Tree, effects: &str) -> Result<(), String> {
    const HINT: &str = "NOVA_BLESS=1 rewrites what is expected";

    let expected = Tree::read(&fixture.after()).with_usual_modes();
    let changed = after.changed_since(before).with_usual_modes();
    let mut differences = changed.differences(&expected);
    let expected = fs::read_to_string(fixture.effects()).unwrap_or_default();
    if expected != effects {
        differences.push_str(&format!(
            "effects\n--- expected\n{expected}--- found\n{effects}"
        ));
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(format!("{differences}{HINT}"))
    }
}

/// What a plan promises beside content: which files go, which modes the others get.
struct Promise {
    removed: BTreeSet<String>,
    modes: Vec<(String, u32)>,
    before: Tree,
}

impl Promise {
    fn of(plan: &Plan, before: &Tree) -> Self {
        let (mut removed, mut modes) = (BTreeSet::new(), Vec::new());
        for step in plan.changes() {
            match step {
                Change::RemoveFile { path } => drop(removed.insert(path.as_str()[1..].into())),
                Change::WriteFile(write) => {
                    let path = &write.path.as_str()[1..];
                    let mode = match (before.0.get(path), write.existing) {
                        (Some(Entry::File { mode, .. }), ExistingMode::Keep) => *mode,
                        _ => write.mode.bits().into(),
                    };
                    modes.push((path.into(), mode));
                }
                _ => {}
            }
        }
        Self {
            removed,
            modes,
            before: before.clone(),
        }
    }

    fn check(&self, after: &Tree) -> Result<(), String> {
        let removed: BTreeSet<String> = after
            .removed_since(&self.before)
            .into_iter()
            .map(Into::into)
            .collect();
        if removed != self.removed {
            return Err(format!("removed {removed:?} instead of {:?}", self.removed));
        }
        for (path, wanted) in &self.modes {
            match after.0.get(path) {
                Some(Entry::File { mode, .. }) if mode == wanted => {}
                found => return Err(format!("{path} with mode {wanted:o} is {found:?}")),
            }
        }
        Ok(())
    }
}

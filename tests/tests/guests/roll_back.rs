//! Every step of every plan fails once, and the guest is what it was before.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nova_agent_core::effect::{Change, Program};
use nova_agent_core::plan::{Action, OnFailure, Plan, RollBack, Step};
use nova_agent_core::render::{Configuration, Prepared};
use nova_agent_tests::fixture::{Fixture, Guest};

use crate::on_every_guest;

#[test]
fn whichever_step_fails_the_guest_is_what_it_was() {
    let (failed, fixtures) = (AtomicUsize::new(0), AtomicUsize::new(0));
    on_every_guest(|fixture| {
        let Some(plan) = plan(&fixture.guest(), fixture) else {
            return Ok(());
        };
        fixtures.fetch_add(1, Ordering::Relaxed);
        for nth in 0..plan.steps.len() {
            for when in [When::Instead, When::Afterwards] {
                fail(fixture, nth, when).map_err(|text| format!("step {nth}, {when:?}: {text}"))?;
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    });
    let (failed, fixtures) = (failed.into_inner(), fixtures.into_inner());
    let summary =
        format!("roll-back: {failed} failures in the plans of {fixtures} guests, all undone\n");
    // Not by print!, which the test harness swallows; the file is for `make test`, which shows it again at its end.
    std::io::stderr().write_all(summary.as_bytes()).unwrap();
    fs::write(
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("roll-back.txt"),
        summary,
    )
    .unwrap();
}

/// When a step fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum When {
    /// It is not carried out.
    Instead,
    /// It is carried out; what follows it fails, or the program of the step itself after it did its work.
    Afterwards,
}

fn fail(fixture: &Fixture, nth: usize, when: When) -> Result<(), String> {
    let guest = fixture.guest();
    let (before, hostname) = (guest.tree(), guest.hostname());
    let mut plan = plan(&guest, fixture).expect("the same plan as for another copy");
    let may_fail = when == When::Instead && plan.steps[nth].on_failure == OnFailure::GoOn;
    // A place for an undo cannot fail.
    let cannot_fail = when == When::Instead && plan.steps[nth].action == Action::Nothing;
    match when {
        _ if cannot_fail => {}
        When::Instead => plan.steps[nth].action = Action::Change(failing()),
        When::Afterwards => plan.steps.insert(nth + 1, Step::new(failing())),
    }
    match guest.carry_out(plan) {
        Ok(()) if may_fail || cannot_fail => Ok(()),
        Ok(()) => Err("the plan succeeds".into()),
        Err(failure) if may_fail || cannot_fail => Err(format!("the plan ends: {failure}")),
        Err(failure) if matches!(failure.roll_back, RollBack::Failed { .. }) => {
            Err(failure.to_string())
        }
        Err(_) if guest.hostname() != hostname => {
            Err(format!("the hostname is {}", guest.hostname()))
        }
        Err(_) => match guest.tree().differences(&before) {
            differences if differences.is_empty() => Ok(()),
            differences => Err(differences),
        },
    }
}

fn plan(guest: &Guest, fixture: &Fixture) -> Option<Plan> {
    match guest.prepare(&fixture.host()) {
        Prepared::Ready(Configuration { plan, .. }) => Some(plan),
        Prepared::Missing(_) | Prepared::Refused(_) => None,
    }
}

/// A program that no guest has.
fn failing() -> Change {
    Change::Run(Program::new(
        ["/nonexistent/program"],
        Duration::from_secs(1),
    ))
}

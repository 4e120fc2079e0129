//! What each network stack may ask of a guest, and how long its programs may take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use nova_agent_core::effect::{
    Change, DirectoryEntry, EntryKind, FileMode, FileState, Probe, Snapshot,
};
use nova_agent_core::plan::{OnFailure, Plan, Undo};
use nova_agent_core::render::{Configuration, Prepared, reset_network};

use super::on_every_guest;

/// No stack looks into more of the files of one directory.
const FILES_MAX: usize = 256;

/// Kinds of files that some stack takes for its own.
const KINDS: [(&str, &str); 9] = [
    ("", ""),
    ("", ".cfg"),
    ("", ".conf"),
    ("", ".network"),
    ("", ".nmconnection"),
    ("", ".yaml"),
    ("ifcfg-", ""),
    ("ifroute-", ""),
    ("route-", ""),
];

/// Every directory that is listed has hundreds of files of every kind. One guest of each stack will do.
#[test]
fn no_stack_looks_into_more_files_than_the_bound() {
    let most: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let seen: Mutex<BTreeSet<String>> = Mutex::default();
    on_every_guest(|fixture| {
        let stack = fixture.stack().unwrap_or_default();
        if !seen.lock().unwrap().insert(stack.clone()) {
            return Ok(());
        }
        let guest = fixture.guest();
        let data = fixture.host();
        let mut asked: BTreeMap<String, usize> = BTreeMap::new();
        let mut snapshot = Snapshot::default();
        let mut rounds = 0;
        while let Prepared::Missing(probes) = reset_network(&data, &snapshot) {
            rounds += 1;
            if probes.len() > 8 * FILES_MAX {
                return Err(format!("{} questions at once", probes.len()));
            }
            if rounds > 16 {
                return Err(format!("there is no end to {probes:?}"));
            }
            let (added, others): (Vec<Probe>, Vec<Probe>) = probes.into_iter().partition(is_added);
            for probe in added {
                let Probe::File(path) = probe else { continue };
                *asked.entry(path.parent().unwrap().to_string()).or_default() += 1;
                let content = b"# nothing\n".to_vec();
                snapshot.files.insert(
                    path,
                    FileState::Regular {
                        content,
                        mode: FileMode::PUBLIC,
                    },
                );
            }
            let mut answers = guest.ask(others);
            for entries in answers.directories.values_mut() {
                let names = KINDS.iter().flat_map(|(front, end)| {
                    (0..FILES_MAX + 10).map(move |nth| format!("{front}added{nth:03}{end}"))
                });
                entries.extend(names.map(|name| DirectoryEntry {
                    name,
                    kind: EntryKind::File,
                }));
            }
            snapshot.merge(answers);
        }
        let all = asked.values().copied().max().unwrap_or_default();
        let mut most = most.lock().unwrap();
        let so_far = most.entry(stack).or_default();
        *so_far = all.max(*so_far);
        if all <= FILES_MAX {
            Ok(())
        } else {
            Err(format!("{asked:?}"))
        }
    });
    let most = most.into_inner().unwrap();
    let at_the_bound: Vec<&String> = most
        .iter()
        .filter(|(_, asked)| **asked == FILES_MAX)
        .map(|(stack, _)| stack)
        .collect();
    assert!(
        at_the_bound.len() >= 6,
        "of {most:?} only these come to the bound: {at_the_bound:?}"
    );
}

fn is_added(probe: &Probe) -> bool {
    matches!(probe, Probe::File(path) if path.name().contains("added"))
}

/// A program that hangs may take its time and three seconds for being killed. Whatever the stack, one that hangs leaves
/// time for the way back within the host's patience of 60 s.
#[test]
fn every_stacks_programs_have_a_time_that_fits_the_budget() {
    on_every_guest(|fixture| {
        let Prepared::Ready(Configuration { plan, .. }) = fixture.guest().prepare(&fixture.host())
        else {
            return Ok(());
        };
        let Some(budget) = plan.budget else {
            return Err("no budget".into());
        };
        if budget.apply + budget.roll_back + Duration::from_secs(10) > Duration::from_secs(60) {
            return Err(format!("{budget:?}"));
        }
        for step in steps(&plan) {
            let Change::Run(program) = step else { continue };
            if program.timeout.is_zero() || program.timeout > budget.apply {
                return Err(format!(
                    "{} within {:?}",
                    program.command_line(),
                    program.timeout
                ));
            }
        }
        Ok(())
    });
}

/// All steps that may be carried out, those for a second try and for the way back included.
fn steps(plan: &Plan) -> impl Iterator<Item = &Change> {
    plan.steps.iter().flat_map(|step| {
        let again = if let OnFailure::Retry(again) = &step.on_failure {
            again.as_slice()
        } else {
            &[]
        };
        let undo = if let Undo::Steps(undo) = &step.undo {
            undo.as_slice()
        } else {
            &[]
        };
        step.step().into_iter().chain(again).chain(undo)
    })
}

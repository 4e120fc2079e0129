//! The inputs of the repository through the targets, without libFuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use nova_agent_fuzz::{TARGETS, Target};

#[test]
fn every_seed_passes() {
    replay("corpus");
}

#[test]
fn every_regression_passes() {
    replay("regressions");
}

#[test]
fn every_target_has_seeds_a_dictionary_and_a_binary() {
    let expected: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).into()).collect();
    assert_eq!(stems("fuzz_targets"), expected);
    assert_eq!(stems("dictionaries"), expected);
    for (target, _) in TARGETS {
        assert!(!inputs("corpus", target).is_empty(), "{target}");
    }
    assert!(stems("regressions").is_subset(&expected));
}

/// Every input of a directory; says how many there were.
fn replay(directory: &str) {
    each_target(|(name, target)| {
        let inputs = inputs(directory, name);
        inputs
            .iter()
            .for_each(|path| run(target, &fs::read(path).unwrap(), path));
        println!("{directory}/{name}: {} inputs", inputs.len());
    });
}

fn each_target(check: impl Fn(Target) + Sync) {
    let check = &check;
    std::thread::scope(|scope| {
        let threads = TARGETS.map(|target| scope.spawn(move || check(target)));
        let failed = threads
            .into_iter()
            .filter_map(|thread| thread.join().err())
            .count();
        assert!(failed == 0, "{failed} targets failed");
    });
}

fn run(target: fn(&[u8]), input: &[u8], path: &Path) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        println!("at {}", path.display());
        std::panic::resume_unwind(panic);
    }
}

fn inputs(directory: &str, target: &str) -> Vec<PathBuf> {
    let directory = match (directory, target) {
        // The guests of the repository are its seeds.
        ("corpus", "network_render") => root().join("../tests/guests"),
        _ => root().join(directory).join(target),
    };
    let Ok(entries) = fs::read_dir(&directory) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn stems(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(directory)).unwrap();
    entries
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_string()
        })
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

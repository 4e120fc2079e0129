//! Golden trees: what the renderers make of a guest, compared with files.
//!
//! `tests/golden/TARGET/CASE/` of the repository holds
//!
//! - `input/guest.json`: what probes of the guest answer beside its files,
//! - `input/hostname` and `input/networking/KEY`: the host's values,
//! - `before/`: the guest's files; `expected/`: the same after the plan,
//! - `report.txt`: what the plan does, and what is said to the host and the log.
//!
//! `NOVA_BLESS=1 cargo test --test golden every_case` rewrites `expected/` and `report.txt`; look at the difference before you
//! commit it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use nova_agent_core::effect::{FileMode, GuestPath, Step};
use nova_agent_core::plan::{Action, OnFailure, Undo};
use nova_agent_core::render::{Configuration, Prepared};
use serde_json::Value;

use self::support::{File, Guest, Host, ROUNDS_MAX, apply, read_tree, write_tree};

#[test]
fn every_case_renders_as_its_files_say() {
    let cases = cases();
    assert!(!cases.is_empty(), "the golden trees are missing");
    let failed: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(failed.is_empty(), "{}\nNOVA_BLESS=1 rewrites what is expected", failed.join("\n"));
}

#[test]
fn a_second_run_changes_nothing() {
    for case in cases() {
        let host = Host::read(&case);
        let Prepared::Ready(configuration) = Guest::afterwards(&case, &host).prepare(&host.data) else { continue };
        assert_eq!(configuration.plan.steps, [], "{}", case.display());
    }
}

#[test]
fn the_order_of_the_hosts_data_does_not_matter() {
    for case in cases() {
        let guest = Guest::read(&case, "before");
        let mut data = Host::read(&case).data;
        let first = guest.prepare(&data);
        data.networking.reverse();
        data.vifs.reverse();
        assert_eq!(guest.prepare(&data), first, "{}", case.display());
    }
}

/// Name servers come from a set, in another order with every write.
#[test]
fn another_order_of_name_servers_changes_nothing() {
    for case in cases() {
        let mut host = Host::read(&case);
        let guest = Guest::afterwards(&case, &host);
        for (_, value) in &mut host.data.networking {
            let Ok(mut json) = serde_json::from_slice::<Value>(value) else { continue };
            if let Some(Value::Array(dns)) = json.get_mut("dns") {
                dns.reverse();
            }
            *value = json.to_string().into_bytes();
        }
        let Prepared::Ready(configuration) = guest.prepare(&host.data) else { continue };
        assert_eq!(configuration.plan.steps, [], "{}", case.display());
    }
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let list = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    };
    let mut cases: Vec<PathBuf> = list(&root).iter().flat_map(|target| list(target)).collect();
    cases.sort();
    cases
}

/// Renders a case and compares, or rewrites what is expected.
fn check(case: &Path) -> Result<(), String> {
    let guest = Guest::read(case, "before");
    let mut files = guest.files.clone();
    let report = match guest.prepare(&Host::read(case).data) {
        Prepared::Ready(configuration) => {
            apply(&configuration.plan, &mut files);
            report(&configuration)
        }
        Prepared::Refused(text) => format!("refused: {text}\n"),
        Prepared::Missing(probes) => panic!("{}: still asks after {ROUNDS_MAX} rounds: {probes:?}", case.display()),
    };
    if std::env::var_os("NOVA_BLESS").is_some() {
        let expected = case.join("expected");
        if expected.exists() {
            fs::remove_dir_all(&expected).unwrap();
        }
        write_tree(&expected, &files);
        fs::write(case.join("report.txt"), &report).unwrap();
        return Ok(());
    }
    let mut differences = String::new();
    let expected = read_tree(&case.join("expected"));
    let paths: std::collections::BTreeSet<&GuestPath> = expected.keys().chain(files.keys()).collect();
    for path in paths {
        if expected.get(path) != files.get(path) {
            let show = |file: Option<&File>| file.map_or_else(|| "(none)\n".into(), File::to_string);
            let (want, got) = (show(expected.get(path)), show(files.get(path)));
            writeln!(differences, "{path}\n--- expected\n{want}--- rendered\n{got}").unwrap();
        }
    }
    let want = fs::read_to_string(case.join("report.txt")).unwrap_or_default();
    if want != report {
        writeln!(differences, "report.txt\n--- expected\n{want}--- rendered\n{report}").unwrap();
    }
    if differences.is_empty() { Ok(()) } else { Err(format!("=== {}\n{differences}", case.display())) }
}

/// The parts of a configuration that are no files, one a line.
fn report(configuration: &Configuration) -> String {
    let Configuration { plan, errors, warnings, target, because, .. } = configuration;
    let mut report = format!("target: {target}: {because}\n");
    for step in &plan.steps {
        write!(report, "step: {}", describe_action(&step.action)).unwrap();
        match &step.on_failure {
            OnFailure::RollBack => {}
            OnFailure::GoOn => report.push_str(", or go on"),
            OnFailure::Retry(first) => {
                let first: Vec<String> = first.iter().map(describe).collect();
                write!(report, ", or again after {}", first.join(", ")).unwrap();
            }
        }
        if let Undo::Steps(steps) = &step.undo {
            let steps: Vec<String> = steps.iter().map(describe).collect();
            let steps = if steps.is_empty() { "nothing".into() } else { steps.join(", ") };
            write!(report, "; undone by {steps}").unwrap();
        }
        report.push('\n');
    }
    for error in errors {
        writeln!(report, "error: {error}").unwrap();
    }
    for warning in warnings {
        writeln!(report, "warning: {warning}").unwrap();
    }
    report
}

fn describe_action(action: &Action) -> String {
    match action {
        Action::Await(condition) => format!("wait for the network within {} ms", condition.patience.as_millis()),
        Action::Nothing => "nothing".into(),
        Action::Step(step) => describe(step),
    }
}

fn describe(step: &Step) -> String {
    match step {
        Step::Run(program) => format!("`{}` within {} ms", program.command_line(), program.timeout.as_millis()),
        Step::WriteFile(write) if write.mode == FileMode::PUBLIC => format!("write {}", write.path),
        Step::WriteFile(write) => format!("write {} with mode {}", write.path, write.mode),
        Step::Symlink { path, target } => format!("link {path} to {target}"),
        Step::MakeDirectory { path, .. } => format!("make directory {path}"),
        Step::RemoveFile { path } => format!("remove {path}"),
        Step::SetHostname(name) => format!("set hostname {name}"),
        other => format!("{other:?}"),
    }
}

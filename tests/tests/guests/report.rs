//! What a reset does, in words: the section `plan` of a guest.

use std::fmt::Write as _;

use nova_agent_core::effect::{Change, FileMode};
use nova_agent_core::plan::{Action, OnFailure, Undo};
use nova_agent_core::render::{Configuration, Prepared};

pub(crate) fn report(prepared: &Prepared) -> String {
    match prepared {
        Prepared::Ready(configuration) => of_configuration(configuration),
        Prepared::Refused(text) => format!("refused: {text}\n"),
        Prepared::Missing(probes) => panic!("questions are no answer: {probes:?}"),
    }
}

/// One line for everything.
fn of_configuration(configuration: &Configuration) -> String {
    let Configuration {
        plan,
        errors,
        warnings,
        target,
        because,
        ..
    } = configuration;
    let mut report = format!("target: {target}: {because}\n");
    for step in &plan.steps {
        write!(report, "step: {}", describe_action(&step.action)).unwrap();
        match &step.on_failure {
            OnFailure::RollBack => {}
            OnFailure::GoOn => report.push_str(", or go on"),
            OnFailure::Retry(first) => write!(report, ", or again after {}", list(first)).unwrap(),
        }
        match &step.undo {
            Undo::Steps(steps) if steps.is_empty() => report.push_str("; undone by nothing"),
            Undo::Steps(steps) => write!(report, "; undone by {}", list(steps)).unwrap(),
            Undo::FromOutcome => {}
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

fn list(steps: &[Change]) -> String {
    steps
        .iter()
        .map(describe)
        .collect::<Vec<String>>()
        .join(", ")
}

fn describe_action(action: &Action) -> String {
    match action {
        Action::Await(condition) => format!(
            "wait for the network within {} ms",
            condition.patience.as_millis()
        ),
        Action::Nothing => "nothing".into(),
        Action::Change(step) => describe(step),
    }
}

fn describe(step: &Change) -> String {
    match step {
        Change::Run(program) => format!(
            "`{}` within {} ms",
            program.command_line(),
            program.timeout.as_millis()
        ),
        Change::WriteFile(write) if write.mode != FileMode::PUBLIC => {
            format!("{step} with mode {}", write.mode)
        }
        _ => step.to_string(),
    }
}

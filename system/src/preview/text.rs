//! A plan in a form that people read, and that `patch` understands as far as it is about files.

use core::fmt::Write;
use core::time::Duration;
use std::borrow::Cow;

use nova_agent_core::effect::{ExistingMode, FileMode, FileState, Snapshot, Step, WriteFile};
use nova_agent_core::plan::{Action, Await, PlanStep};
use nova_agent_core::render::Configuration;
use similar::TextDiff;

/// After this time a difference may be shown larger than it is.
const DIFF_MAX: Duration = Duration::from_secs(2);

/// Files first, as a unified diff and what is no text, then what would be run, then what would be told.
pub(super) fn describe(configuration: &Configuration, snapshot: &Snapshot) -> String {
    let Configuration { plan, errors, warnings, target, because, .. } = configuration;
    let (mut diffs, mut others, mut programs) = (String::new(), String::new(), String::new());
    for PlanStep { action, .. } in &plan.steps {
        let step = match action {
            Action::Await(Await { patience, .. }) => {
                let _ = writeln!(programs, "wait for the network, {} s at most", patience.as_secs());
                continue;
            }
            Action::Nothing => continue,
            Action::Step(step) => step,
        };
        // A String takes everything.
        let _ = match step {
            Step::WriteFile(write) => diff(&mut diffs, write, snapshot),
            Step::Run(_) => writeln!(programs, "run {step}"),
            Step::SetHostname(_) => {
                let now = snapshot.kernel.as_ref().map_or("unknown", |kernel| &kernel.hostname);
                writeln!(programs, "{step}, which is {now} now")
            }
            Step::MakeDirectory { .. }
            | Step::RemoveDirectory { .. }
            | Step::RemoveFile { .. }
            | Step::RestoreFile { .. }
            | Step::SetPassword { .. }
            | Step::Symlink { .. } => writeln!(others, "{step}"),
        };
    }
    let nothing = if plan.steps.is_empty() { "nothing would change\n" } else { "" };
    let mut text = format!("{target}, because {because}\n{nothing}{diffs}{others}{programs}");
    for error in errors {
        let _ = writeln!(text, "error: {error}");
    }
    for warning in warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

fn diff(text: &mut String, write: &WriteFile, snapshot: &Snapshot) -> core::fmt::Result {
    let WriteFile { path, content, mode, existing } = write;
    let (old, old_mode) = match snapshot.files.get(path) {
        Some(FileState::Regular { content, mode }) => (String::from_utf8_lossy(content), Some(*mode)),
        Some(
            FileState::Directory
            | FileState::Missing
            | FileState::Other
            | FileState::Symlink { .. }
            | FileState::TooLarge { .. }
            | FileState::Unreadable { .. },
        )
        | None => (Cow::Borrowed(""), None),
    };
    let new = String::from_utf8_lossy(content.expose());
    let before = if old_mode.is_some() { format!("a{path}") } else { String::from("/dev/null") };
    let diff = TextDiff::configure().timeout(DIFF_MAX).diff_lines(old.as_ref(), new.as_ref());
    write!(text, "{}", diff.unified_diff().header(&before, &format!("b{path}")))?;
    let mode_is_told = match old_mode {
        Some(old) => *existing == ExistingMode::Replace && *mode != old,
        None => *mode != FileMode::PUBLIC,
    };
    if mode_is_told { writeln!(text, "mode {mode} of {path}") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use nova_agent_core::effect::GuestPath;
    use nova_agent_core::secret::Secret;

    use super::*;

    const PATH: GuestPath = GuestPath::constant("/etc/x");

    fn shown(old: Option<(&str, FileMode)>, new: &str, mode: FileMode, existing: ExistingMode) -> String {
        let old =
            old.map_or(FileState::Missing, |(content, mode)| FileState::Regular { content: content.into(), mode });
        let snapshot = Snapshot { files: [(PATH, old)].into(), ..Snapshot::default() };
        let content = Secret::new(new.into());
        let mut text = String::new();
        diff(&mut text, &WriteFile { path: PATH, content, mode, existing }, &snapshot).unwrap();
        text
    }

    #[test]
    fn a_new_file_has_nothing_before_it() {
        let text = shown(None, "a\n", FileMode::PRIVATE, ExistingMode::Keep);
        assert_eq!(text, "--- /dev/null\n+++ b/etc/x\n@@ -0,0 +1 @@\n+a\nmode 0600 of /etc/x\n");
    }

    #[test]
    fn a_change_has_its_surroundings() {
        let text = shown(Some(("a\nb\n", FileMode::PUBLIC)), "a\nc", FileMode::PUBLIC, ExistingMode::Keep);
        let expected = "--- a/etc/x\n+++ b/etc/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n\\ No newline at end of file\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_mode_may_be_all_that_changes() {
        let with = |existing| shown(Some(("a\n", FileMode::PUBLIC)), "a\n", FileMode::PRIVATE, existing);
        assert_eq!(with(ExistingMode::Replace), "mode 0600 of /etc/x\n");
        assert_eq!(with(ExistingMode::Keep), "");
    }
}

//! A plan in a form that people read, and that `patch` understands as far as it is about files.

use core::fmt::Write;
use std::borrow::Cow;

use nova_agent_core::effect::{Change, ExistingMode, FileMode, FileState, Snapshot, WriteFile};
use nova_agent_core::plan::{Action, Await, Step};
use nova_agent_core::render::Configuration;

use super::unified::unified;

/// Parts of the names of settings whose values are secret, in keyfiles, netplan, netctl and interfaces(5).
const SECRETS: [&str; 6] = ["key", "pass", "pin=", "psk", "secret", "token"];

/// Writes the files first, as unified diffs or by name if they are not text, then the programs, then the messages.
pub(super) fn describe(configuration: &Configuration, snapshot: &Snapshot) -> String {
    let Configuration {
        plan,
        errors,
        warnings,
        target,
        because,
        ..
    } = configuration;
    let (mut diffs, mut others, mut programs) = (String::new(), String::new(), String::new());
    for Step { action, .. } in &plan.steps {
        let step = match action {
            Action::Await(Await { patience, .. }) => {
                let _ = writeln!(
                    programs,
                    "wait for the network, {} s at most",
                    patience.as_secs()
                );
                continue;
            }
            Action::Nothing => continue,
            Action::Change(step) => step,
        };
        // A String takes everything.
        let _ = match step {
            Change::WriteFile(write) => diff(&mut diffs, write, snapshot),
            Change::Run(_) => writeln!(programs, "run {step}"),
            Change::SetHostname(_) => {
                let now = snapshot
                    .kernel
                    .as_ref()
                    .map_or("unknown", |kernel| &kernel.hostname);
                writeln!(programs, "{step}, which is {now} now")
            }
            Change::MakeDirectory { .. }
            | Change::RemoveDirectory { .. }
            | Change::RemoveFile { .. }
            | Change::RestoreFile { .. }
            | Change::SetPassword { .. }
            | Change::Symlink { .. } => writeln!(others, "{step}"),
        };
    }
    let nothing = if plan.steps.is_empty() {
        "nothing would change\n"
    } else {
        ""
    };
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
    let WriteFile {
        path,
        content,
        mode,
        existing,
    } = write;
    let (old, old_mode) = match snapshot.files.get(path) {
        Some(FileState::Regular { content, mode }) => {
            (String::from_utf8_lossy(content), Some(*mode))
        }
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
    let before = if old_mode.is_some() {
        format!("a{path}")
    } else {
        String::from("/dev/null")
    };
    let hunks = unified(&old, &new);
    if !hunks.is_empty() {
        writeln!(text, "--- {before}\n+++ b{path}")?;
    }
    hunks
        .split_inclusive('\n')
        .for_each(|line| text.push_str(&without_secret(line)));
    let mode_is_told = match old_mode {
        Some(old) => *existing == ExistingMode::Replace && *mode != old,
        None => *mode != FileMode::PUBLIC,
    };
    if mode_is_told {
        writeln!(text, "mode {mode} of {path}")
    } else {
        Ok(())
    }
}

/// A file's text without the values of secret settings.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    text.split_inclusive('\n').map(without_secret).collect()
}

/// A line without the value of a secret setting. A password for another interface may be next to a changed line.
fn without_secret(line: &str) -> Cow<'_, str> {
    const SEPARATORS: [char; 4] = ['=', ':', ' ', '\t'];

    let lower = line.to_ascii_lowercase();
    let value = SECRETS.iter().filter_map(|word| {
        let rest = line.get(lower.find(word)?..)?;
        let (_, value) = rest.trim_end().split_once(SEPARATORS)?;
        let value = value.trim_start_matches(SEPARATORS);
        (!value.is_empty()).then_some(value)
    });
    // The longest one holds the others.
    let shown = value
        .max_by_key(|value| value.len())
        .and_then(|value| line.trim_end().strip_suffix(value));
    shown.map_or(Cow::Borrowed(line), |shown| {
        Cow::Owned(format!("{shown}[not shown]\n"))
    })
}

#[cfg(test)]
mod tests {
    use nova_agent_core::effect::GuestPath;
    use nova_agent_core::secret::Secret;

    use super::*;

    const PATH: GuestPath = GuestPath::constant("/etc/x");

    fn shown(
        old: Option<(&str, FileMode)>,
        new: &str,
        mode: FileMode,
        existing: ExistingMode,
    ) -> String {
        let old = old.map_or(FileState::Missing, |(content, mode)| FileState::Regular {
            content: content.into(),
            mode,
        });
        let snapshot = Snapshot {
            files: [(PATH, old)].into(),
            ..Snapshot::default()
        };
        let content = Secret::new(new.into());
        let mut text = String::new();
        diff(
            &mut text,
            &WriteFile {
                path: PATH,
                content,
                mode,
                existing,
            },
            &snapshot,
        )
        .unwrap();
        text
    }

    #[test]
    fn a_new_file_has_nothing_before_it() {
        let text = shown(None, "a\n", FileMode::PRIVATE, ExistingMode::Keep);
        assert_eq!(
            text,
            "--- /dev/null\n+++ b/etc/x\n@@ -0,0 +1 @@\n+a\nmode 0600 of /etc/x\n"
        );
    }

    #[test]
    fn a_change_has_its_surroundings() {
        let text = shown(
            Some(("a\nb\n", FileMode::PUBLIC)),
            "a\nc",
            FileMode::PUBLIC,
            ExistingMode::Keep,
        );
        let expected =
            "--- a/etc/x\n+++ b/etc/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n\\ No newline at end of file\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn passwords_are_not_shown() {
        let old = "wifis:\n  w:\n    access-points: {\"a\": {password: \"one\"}}\n    x: 1\nethernets: {}\n";
        let new = "wifis:\n  w:\n    access-points: {\"a\": {password: \"one\"}}\n    x: 1\n[802-1x]\npassword=two\n";
        let text = shown(
            Some((old, FileMode::PRIVATE)),
            new,
            FileMode::PRIVATE,
            ExistingMode::Keep,
        );
        assert!(
            text.contains("+[802-1x]\n+password=[not shown]\n"),
            "{text}"
        );
        assert!(
            text.contains("\n     access-points: {\"a\": {password: [not shown]\n     x: 1\n"),
            "{text}"
        );
        for (line, without) in [
            ("    wpa-psk  0123abc\n", "    wpa-psk  [not shown]\n"),
            ("Key='three'", "Key=[not shown]\n"),
            ("+wep-key0=a key=b\n", "+wep-key0=[not shown]\n"),
        ] {
            assert_eq!(without_secret(line), without);
        }
        for line in [
            "password:\n",
            "address1=192.0.2.1/24\n",
            "\\ No newline at end of file\n",
        ] {
            assert_eq!(without_secret(line), line);
        }
    }

    #[test]
    fn a_mode_may_be_all_that_changes() {
        let with = |existing| {
            shown(
                Some(("a\n", FileMode::PUBLIC)),
                "a\n",
                FileMode::PRIVATE,
                existing,
            )
        };
        assert_eq!(with(ExistingMode::Replace), "mode 0600 of /etc/x\n");
        assert_eq!(with(ExistingMode::Keep), "");
    }
}

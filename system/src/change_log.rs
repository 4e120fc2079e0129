//! What happens to the guest's files, at level `debug`: never what is in them.

use nova_agent_core::effect::{Change, ExistingMode, Outcome, WriteFile};
use tracing::Level;

use crate::pending::Started;

/// A change of the guest's files that is about to be made.
pub(crate) struct FileChange {
    /// What is done, with the path and, where they are known, mode and size.
    text: String,
    /// Whether a change that cannot be undone was none.
    has_undo: bool,
}

impl FileChange {
    /// Describes a change of files; `None` for other changes, and if nothing is logged at this level.
    pub(crate) fn of(change: &Change) -> Option<Self> {
        if !tracing::enabled!(Level::DEBUG) {
            return None;
        }
        let text = match change {
            Change::MakeDirectory { path, mode } => format!("make directory {path}, mode {mode}"),
            Change::RemoveDirectory { path } => format!("remove directory {path}"),
            Change::RemoveFile { path } => format!("remove file {path}"),
            Change::RestoreFile { path, backup } => format!("restore file {path} from {backup}"),
            Change::Symlink { path, target } => format!("symlink {path} to {target}"),
            Change::WriteFile(file) => describe(file),
            Change::Run(_) | Change::SetHostname(_) | Change::SetPassword { .. } => return None,
        };
        let has_undo = !matches!(
            change,
            Change::RemoveDirectory { .. } | Change::RestoreFile { .. }
        );
        Some(Self { text, has_undo })
    }

    /// Logs what came of it.
    pub(crate) fn log(&self, started: &Started) {
        let text = &self.text;
        match started {
            Started::Finished(Outcome::Done(done)) => {
                let is_unchanged = self.has_undo && done.undo.is_none();
                let what = if is_unchanged { "unchanged" } else { "changed" };
                tracing::debug!("{text}: {what}");
            }
            Started::Finished(Outcome::Failed(failure)) => tracing::debug!("{text}: {failure}"),
            Started::Finished(_) | Started::Running(_) => {}
        }
    }
}

fn describe(file: &WriteFile) -> String {
    let size = file.content.len();
    let mode = match file.existing {
        ExistingMode::Keep => "that of the existing file, else ",
        ExistingMode::Replace => "",
    };
    format!(
        "write file {}, mode {mode}{}, {size} bytes",
        file.path, file.mode
    )
}

//! The files as they shall be, and the steps that make them so.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::guest::Guest;
use super::text::{decode, encode};
use crate::effect::{ExistingMode, FileMode, FileState, GuestPath, Step, WriteFile};
use crate::plan::{OnFailure, PlanStep};
use crate::secret::Secret;

/// What happens when a file cannot be changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Importance {
    /// The plan is rolled back.
    Essential,
    /// The plan goes on.
    Minor,
}

/// A set of changes of files. Several editors may change one file, each sees what the ones before it did.
#[derive(Debug)]
pub(super) struct Files<'g, 'a> {
    guest: &'g Guest<'a>,
    wanted: BTreeMap<GuestPath, Wanted>,
}

#[derive(Debug)]
struct Wanted {
    /// All bytes; `None` for a file that shall not exist.
    content: Option<Vec<u8>>,
    importance: Importance,
}

impl<'g, 'a> Files<'g, 'a> {
    pub(super) const fn new(guest: &'g Guest<'a>) -> Self {
        Self { guest, wanted: BTreeMap::new() }
    }

    /// The text of a file with the changes so far; `None` if there is no such file.
    ///
    /// # Errors
    /// The text for the host, if something is there that cannot be edited.
    pub(super) fn text(&self, path: &GuestPath) -> Result<Option<String>, String> {
        let (path, text) = self.guest.editable(path)?;
        Ok(match self.wanted.get(&path) {
            Some(wanted) => wanted.content.as_deref().map(decode),
            None => text,
        })
    }

    /// Sets the text of a file, following a symlink inside `/etc`.
    ///
    /// # Errors
    /// The text for the host, if something is there that cannot be edited.
    pub(super) fn write(&mut self, path: &GuestPath, text: &str, importance: Importance) -> Result<(), String> {
        let (path, _) = self.guest.editable(path)?;
        self.wanted.insert(path, Wanted { content: Some(encode(text)), importance });
        Ok(())
    }

    /// Moves a file or symlink away.
    pub(super) fn remove(&mut self, path: &GuestPath) {
        self.wanted.insert(path.clone(), Wanted { content: None, importance: Importance::Essential });
    }

    /// The steps for what is different in the guest.
    pub(super) fn steps(&self, importance: Importance) -> Vec<PlanStep> {
        let on_failure = || match importance {
            Importance::Essential => OnFailure::RollBack,
            Importance::Minor => OnFailure::GoOn,
        };
        self.wanted
            .iter()
            .filter(|(_, wanted)| wanted.importance == importance)
            .filter_map(|(path, wanted)| self.step(path, wanted))
            .map(|step| PlanStep { on_failure: on_failure(), ..PlanStep::new(step) })
            .collect()
    }

    fn step(&self, path: &GuestPath, wanted: &Wanted) -> Option<Step> {
        match (self.guest.file(path), &wanted.content) {
            (FileState::Missing, None) => None,
            (FileState::Regular { content, .. }, Some(new)) if content == new => None,
            (_, None) => Some(Step::RemoveFile { path: path.clone() }),
            (_, Some(new)) => Some(Step::WriteFile(WriteFile {
                path: path.clone(),
                content: Secret::new(new.clone()),
                mode: FileMode::PUBLIC,
                existing: ExistingMode::Keep,
            })),
        }
    }
}

//! What the parts of a renderer share: what the host wants, the guest, and the changes so far.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::error::Refusal;
use super::files::{Files, Importance};
use super::guest::Guest;
use super::os::Os;
use crate::effect::GuestPath;
use crate::network::NetworkConfig;
use crate::plan::Step;

/// One preparation: what it is made of, and what has come of it so far.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// What the host wants.
    pub(super) config: &'a NetworkConfig,
    /// The operating system of the guest.
    pub(super) os: &'a Os,
    /// The guest. Looking at it asks about it.
    pub(super) guest: &'a Guest<'a>,
    files: Files<'a>,
    warnings: Vec<String>,
}

impl<'a> Context<'a> {
    pub(super) const fn new(config: &'a NetworkConfig, os: &'a Os, guest: &'a Guest<'a>) -> Self {
        Self {
            config,
            os,
            guest,
            files: Files::new(guest),
            warnings: Vec::new(),
        }
    }

    /// Writes a file, following a symlink inside `/etc`. The plan is rolled back if that fails.
    ///
    /// # Errors
    /// Refuses if something is there that cannot be edited.
    pub(super) fn write(&mut self, path: &GuestPath, text: &str) -> Result<(), Refusal> {
        self.write_with(path, text, Importance::Essential)
    }

    /// Writes a file, following a symlink inside `/etc`, and says what happens if that fails.
    ///
    /// # Errors
    /// Refuses if something is there that cannot be edited.
    pub(super) fn write_with(
        &mut self,
        path: &GuestPath,
        text: &str,
        importance: Importance,
    ) -> Result<(), Refusal> {
        self.files.write(path, text, importance)
    }

    /// Writes a file before all others of the same importance are changed.
    ///
    /// # Errors
    /// Refuses if something is there that cannot be edited.
    pub(super) fn write_first(
        &mut self,
        path: &GuestPath,
        text: &str,
        importance: Importance,
    ) -> Result<(), Refusal> {
        self.files.write_first(path, text, importance)
    }

    /// Writes a file that only root may read, and makes an existing one private.
    ///
    /// # Errors
    /// Refuses if something is there that cannot be edited.
    pub(super) fn write_private(&mut self, path: &GuestPath, text: &str) -> Result<(), Refusal> {
        self.files.write_private(path, text)
    }

    /// Makes a symlink, in place of whatever is there.
    pub(super) fn link(&mut self, path: &GuestPath, target: &str) {
        self.files.link(path, target);
    }

    /// Removes a file or symlink.
    pub(super) fn remove(&mut self, path: &GuestPath) {
        self.files.remove(path);
    }

    /// Adds a warning to the log.
    pub(super) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// Turns a refusal into a warning, where the rest of the work goes on without it.
    pub(super) fn tolerate(&mut self, result: Result<(), Refusal>) {
        self.warnings
            .extend(result.err().map(|refusal| refusal.to_string()));
    }

    /// Returns the text of a file with the changes so far; `None` if there is no such file.
    ///
    /// # Errors
    /// Refuses if something is there that cannot be edited.
    pub(super) fn text(&self, path: &GuestPath) -> Result<Option<String>, Refusal> {
        self.files.text(path)
    }

    /// Returns the steps that change the files of one importance.
    pub(super) fn file_steps(&self, importance: Importance) -> Vec<Step> {
        self.files.steps(importance)
    }

    /// Returns the warnings, in the order in which they came.
    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }
}

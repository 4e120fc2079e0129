//! Files that are read after `/etc/rc.conf` and override it.

use alloc::vec::Vec;

use super::assignments::Assignments;
use super::context::Context;
use super::error::Refusal;
use super::files::Importance;
use crate::effect::{FileState, GuestPath};

const LOCAL: GuestPath = GuestPath::constant("/etc/rc.conf.local");

/// A file for each service.
const DIRECTORY: GuestPath = GuestPath::constant("/etc/rc.conf.d");

/// The files that set one of the variables in question.
#[derive(Debug)]
pub(super) struct Overrides {
    files: Vec<(GuestPath, Assignments)>,
}

impl Overrides {
    /// # Errors
    /// Refuses if a file must be edited and cannot be.
    pub(super) fn load(managed: &dyn Fn(&str) -> bool, cx: &Context<'_>) -> Result<Self, Refusal> {
        let guest = cx.guest;
        let names = guest.list(&DIRECTORY, |_| true);
        let paths = names
            .into_iter()
            .filter_map(|name| DIRECTORY.join(name).ok())
            .filter(|path| {
                !matches!(
                    guest.file(path),
                    FileState::Other | FileState::Symlink { .. }
                )
            });
        let mut found = Vec::new();
        for path in core::iter::once(LOCAL).chain(paths) {
            let Some(text) = cx.text(&path)? else {
                continue;
            };
            // Everything else in these files is left alone.
            if words(&text).any(managed) {
                found.push((path.clone(), Assignments::for_editing(&path, &text)?));
            }
        }
        Ok(Self { files: found })
    }

    /// Returns the files in the order in which they are read.
    pub(super) fn files(&self) -> impl DoubleEndedIterator<Item = &Assignments> {
        self.files.iter().map(|(_, file)| file)
    }

    /// Removes variables from the files.
    pub(super) fn remove(
        &mut self,
        unwanted: &dyn Fn(&str) -> bool,
        importance: Importance,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        for (path, file) in &mut self.files {
            if file.remove_all(unwanted).is_some() {
                cx.write_with(path, &file.text(), importance)?;
            }
        }
        Ok(())
    }
}

/// Returns every word that could be the name of a variable.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables_are_found_in_any_text() {
        let found: Vec<&str> = words("if x; then ifconfig_xn0=\"a\"").collect();
        assert_eq!(found, ["if", "x", "then", "ifconfig_xn0", "a"]);
    }
}

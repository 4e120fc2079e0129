//! The wanted content of files, and the steps that write it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::error::Refusal;
use super::guest::Guest;
use super::text::{decode, encode};
use crate::effect::{Change, ExistingMode, FileMode, FileState, GuestPath, WriteFile};
use crate::plan::{OnFailure, Step};
use crate::secret::Secret;

/// What happens when a file cannot be changed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Importance {
    /// The plan goes on.
    Minor,
    /// The plan is rolled back.
    Essential,
}

impl From<Importance> for OnFailure {
    fn from(importance: Importance) -> Self {
        match importance {
            Importance::Essential => Self::RollBack,
            Importance::Minor => Self::GoOn,
        }
    }
}

/// A set of changes of files. Several editors may change one file; each sees the changes of those
/// before it.
#[derive(Debug)]
pub(super) struct Files<'a> {
    guest: &'a Guest<'a>,
    wanted: BTreeMap<GuestPath, Wanted>,
}

#[derive(Debug)]
struct Wanted {
    content: Content,
    importance: Importance,
    /// Whether it changes before all other files.
    first: bool,
}

/// The wanted content of a path.
#[derive(Debug)]
enum Content {
    Nothing,
    /// A regular file with these bytes.
    File {
        bytes: Vec<u8>,
        access: Access,
    },
    /// A symlink to this target.
    Link(String),
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Access {
    /// Everyone; an existing file keeps its mode.
    Public,
    /// Only its owner, whatever the mode was before: the stack would ignore the file otherwise.
    Private,
}

impl<'a> Files<'a> {
    pub(super) const fn new(guest: &'a Guest<'a>) -> Self {
        Self {
            guest,
            wanted: BTreeMap::new(),
        }
    }

    /// The text of a file with the changes so far; `None` if there is no such file.
    ///
    /// # Errors
    /// Refuses if something is there that cannot be edited.
    pub(super) fn text(&self, path: &GuestPath) -> Result<Option<String>, Refusal> {
        let (path, text) = self.guest.editable(path)?;
        Ok(match self.wanted.get(&path).map(|wanted| &wanted.content) {
            Some(Content::File { bytes, .. }) => Some(decode(bytes)),
            Some(Content::Link(_) | Content::Nothing) => None,
            None => text,
        })
    }

    /// Sets the text of a file, following a symlink inside `/etc`.
    ///
    /// # Errors
    /// Refuses if something is there that cannot be edited.
    pub(super) fn write(
        &mut self,
        path: &GuestPath,
        text: &str,
        importance: Importance,
    ) -> Result<(), Refusal> {
        let (path, _) = self.guest.editable(path)?;
        self.set(
            path,
            Content::File {
                bytes: encode(text),
                access: Access::Public,
            },
            importance,
        );
        Ok(())
    }

    /// As [`write`](Self::write), and changes the file before all others of the same importance.
    ///
    /// # Errors
    /// Refuses if something is there that cannot be edited.
    pub(super) fn write_first(
        &mut self,
        path: &GuestPath,
        text: &str,
        importance: Importance,
    ) -> Result<(), Refusal> {
        let (path, _) = self.guest.editable(path)?;
        let content = Content::File {
            bytes: encode(text),
            access: Access::Public,
        };
        self.set(path.clone(), content, importance);
        if let Some(wanted) = self.wanted.get_mut(&path) {
            wanted.first = true;
        }
        Ok(())
    }

    /// Sets the text of a file that only root may read, and makes it so if it was not.
    ///
    /// # Errors
    /// Refuses if something is there that cannot be edited.
    pub(super) fn write_private(&mut self, path: &GuestPath, text: &str) -> Result<(), Refusal> {
        let (path, _) = self.guest.editable(path)?;
        self.set(
            path,
            Content::File {
                bytes: encode(text),
                access: Access::Private,
            },
            Importance::Essential,
        );
        Ok(())
    }

    /// Makes a symlink, in place of whatever is there.
    pub(super) fn link(&mut self, path: &GuestPath, target: &str) {
        self.set(
            path.clone(),
            Content::Link(target.to_string()),
            Importance::Essential,
        );
    }

    /// Removes a file or symlink.
    pub(super) fn remove(&mut self, path: &GuestPath) {
        self.set(path.clone(), Content::Nothing, Importance::Essential);
    }

    fn set(&mut self, path: GuestPath, content: Content, importance: Importance) {
        let before = self.wanted.get(&path);
        // A file that one editor needs must not become optional through another.
        let importance = before.map_or(importance, |before| before.importance.max(importance));
        let first = before.is_some_and(|before| before.first);
        self.wanted.insert(
            path,
            Wanted {
                content,
                importance,
                first,
            },
        );
    }

    /// Returns the steps for the files that differ from those of the guest.
    pub(super) fn steps(&self, importance: Importance) -> Vec<Step> {
        let mut steps: Vec<(&GuestPath, Change)> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| wanted.importance == importance)
            .filter_map(|(path, wanted)| Some((path, self.step(path, wanted)?)))
            .collect();
        // The sort is stable: the others stay in the order of their paths.
        steps.sort_by_key(|(path, _)| !self.is_first(path));
        let written = steps
            .iter()
            .filter(|(_, change)| !matches!(change, Change::RemoveFile { .. }));
        let directories: BTreeSet<GuestPath> = written
            .flat_map(|(path, _)| self.missing_parents(path))
            .collect();
        directories
            .into_iter()
            .map(|path| Change::MakeDirectory {
                path,
                mode: FileMode::PUBLIC_DIRECTORY,
            })
            .chain(steps.into_iter().map(|(_, change)| change))
            .map(|change| Step {
                on_failure: importance.into(),
                ..Step::new(change)
            })
            .collect()
    }

    fn is_first(&self, path: &GuestPath) -> bool {
        self.wanted.get(path).is_some_and(|wanted| wanted.first)
    }

    /// Returns the missing parent directories of a file.
    fn missing_parents(&self, path: &GuestPath) -> Vec<GuestPath> {
        let parents = core::iter::successors(path.parent(), GuestPath::parent);
        parents
            .take_while(|parent| *parent != GuestPath::ROOT && !self.guest.exists(parent))
            .collect()
    }

    fn step(&self, path: &GuestPath, wanted: &Wanted) -> Option<Change> {
        match (self.guest.file(path), &wanted.content) {
            (FileState::Missing, Content::Nothing) => None,
            (FileState::Regular { content, mode }, Content::File { bytes, access })
                if content == bytes
                    && (*access == Access::Public || *mode == FileMode::PRIVATE) =>
            {
                None
            }
            (FileState::Symlink { target }, Content::Link(new)) if target == new => None,
            (_, Content::Nothing) => Some(Change::RemoveFile { path: path.clone() }),
            (_, Content::Link(target)) => Some(Change::Symlink {
                path: path.clone(),
                target: target.clone(),
            }),
            (_, Content::File { bytes, access }) => Some(Change::WriteFile(WriteFile {
                path: path.clone(),
                content: Secret::new(bytes.clone()),
                mode: if *access == Access::Private {
                    FileMode::PRIVATE
                } else {
                    FileMode::PUBLIC
                },
                existing: if *access == Access::Private {
                    ExistingMode::Replace
                } else {
                    ExistingMode::Keep
                },
            })),
        }
    }
}

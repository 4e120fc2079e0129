//! Copies of what is replaced or removed, outside of every directory that a network stack reads.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use nova_agent_core::effect::{FileMode, GuestPath};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::replace::{self, Attributes, Present};
use crate::file_error::FileError;
use crate::root::{Access, Directory, Located, Root, file_type};
use crate::utc::Utc;

/// The backup directory: one subdirectory per second, holding the files under their full paths.
pub(crate) const BACKUPS: GuestPath = GuestPath::constant("/var/lib/nova-agent/backup");

/// How many directories are kept.
const KEPT: usize = 20;

/// Younger directories are kept in any case, so that the plan that is being carried out can be rolled back.
const KEPT_SECONDS: u64 = 600;

/// However young they are, there are no more. A plan that can still be rolled back has made fewer: one a second.
const KEPT_MAX: usize = 256;

/// The largest file that is replaced or removed, as it has to be copied first.
const FILE_MAX: u64 = 64 * 1024 * 1024;

/// Makes backups, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Backups {
    making: Mutex<()>,
}

impl Backups {
    /// Copies what is at `place`, which is the guest's `path`; returns where the copy is.
    pub(crate) fn keep(
        &self,
        root: &Root,
        path: &GuestPath,
        place: &Located,
        present: &mut Present,
    ) -> Result<GuestPath, FileError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let (copy, directory) = reserve(root, path)?;
        match present {
            Present::Regular(file, stat) => {
                let attributes = Attributes::of(file, stat);
                replace::replace(&directory, path.name(), &attributes, |copy| {
                    copy_bounded(file, copy)
                })?;
            }
            Present::Symlink(target) => {
                replace::replace_with_symlink(&directory, path.name(), target)?
            }
            Present::Missing => return Err(FileError::Missing { path: place.path() }),
            Present::Other(_) => {
                return Err(FileError::refused(format!(
                    "{} is not a file",
                    place.path()
                )));
            }
        }
        Ok(copy)
    }
}

/// Copies the rest of a file, unless it is larger than what is ever backed up.
pub(crate) fn copy_bounded(from: &mut impl Read, to: &mut impl io::Write) -> io::Result<()> {
    let copied = io::copy(&mut from.take(FILE_MAX.saturating_add(1)), to)?;
    if copied > FILE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {FILE_MAX} bytes"),
        ));
    }
    Ok(())
}

/// Creates the missing directories on the way to `path` and opens the last one.
pub(crate) fn make_all(
    root: &Root,
    path: &GuestPath,
    is_private: impl Fn(&GuestPath) -> bool,
) -> Result<Directory, FileError> {
    let mut missing = Vec::new();
    let mut at = path.clone();
    let mut directory = loop {
        match root.directory(&at, Access::Write) {
            Ok(directory) => break directory,
            Err(FileError::Missing { path }) => match at.parent() {
                Some(parent) => missing.push(core::mem::replace(&mut at, parent)),
                None => return Err(FileError::Missing { path }),
            },
            Err(error) => return Err(error),
        }
    };
    while let Some(at) = missing.pop() {
        let mode = if is_private(&at) {
            FileMode::PRIVATE_DIRECTORY
        } else {
            FileMode::PUBLIC_DIRECTORY
        };
        match rustix::fs::mkdirat(&directory, at.name(), replace::raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(directory.entry_error("create", at.name(), errno)),
        }
        directory = root.directory(&at, Access::Write)?;
    }
    Ok(directory)
}

/// Finds a place for a copy of `path` where no other copy is.
fn reserve(root: &Root, path: &GuestPath) -> Result<(GuestPath, Directory), FileError> {
    /// Copies of one path within a second.
    const COPIES_MAX: usize = 100;

    let now = Utc::now();
    let time = now.compact();
    for nth in 0..COPIES_MAX {
        let name = if nth == 0 {
            time.clone()
        } else {
            format!("{time}-{nth}")
        };
        let copy = BACKUPS
            .join(&name)
            .and_then(|directory| directory.join(path.as_str().trim_start_matches('/')))
            .map_err(|error| FileError::refused(format!("backup of {path}: {error}")))?;
        let Some(parent) = copy.parent() else {
            continue;
        };
        let is_new = nth == 0
            && root
                .directory(&BACKUPS, Access::Write)
                .and_then(|all| all.stat(&name))
                .is_err();
        let directory = make_all(root, &parent, is_in_backups)?;
        if is_new {
            remove_old(root, now, &name);
        }
        if let Err(FileError::Missing { .. }) = directory.stat(path.name()) {
            return Ok((copy, directory));
        }
    }
    Err(FileError::refused(format!(
        "more than {COPIES_MAX} changes of {path} in a second"
    )))
}

fn is_in_backups(path: &GuestPath) -> bool {
    path.as_str().starts_with("/var/lib/nova-agent")
}

/// Removes the oldest directories. Best effort: what stays is tried again next time.
fn remove_old(root: &Root, now: Utc, own: &str) {
    /// More than a second a plan makes, should removing ever have failed for a while.
    const LISTED_MAX: usize = 4096;

    let Ok(all) = root.directory(&BACKUPS, Access::Write) else {
        return;
    };
    let Ok(entries) = Dir::read_from(&all) else {
        return;
    };
    let mut names: Vec<String> = entries
        .take(LISTED_MAX)
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str().ok().map(String::from))
        .filter(|name| is_time(name) && name != own)
        .collect();
    names.sort_unstable();
    let recent = now.before(KEPT_SECONDS).compact();
    let surplus = names.len().saturating_sub(KEPT - 1);
    let too_many = names.len().saturating_sub(KEPT_MAX);
    for (nth, name) in names.into_iter().take(surplus).enumerate() {
        if nth >= too_many && name >= recent {
            continue;
        }
        if let Err(error) = remove_tree(&all, &name) {
            tracing::warn!(error = %error, "failed to remove an old backup");
        }
    }
}

/// Whether a name starts like [`Utc::compact`].
fn is_time(name: &str) -> bool {
    const SHAPE: &str = "00000000T000000Z";

    name.len() >= SHAPE.len()
        && name
            .bytes()
            .zip(SHAPE.bytes())
            .all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                _ => byte == shape,
            })
}

/// Removes a directory with all that is in it. Its depth is bounded by the length of a path.
fn remove_tree(parent: &Directory, name: &str) -> Result<(), FileError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::openat(parent, name, flags, Mode::empty())
        .map_err(FileError::io("open", parent.path_of(name)))?;
    let mut stack = vec![(String::from(name), top)];
    while let Some((_, directory)) = stack.last() {
        let mut below = None;
        for entry in
            Dir::read_from(directory).map_err(FileError::io("list", parent.path_of(name)))?
        {
            let entry = entry.map_err(FileError::io("list", parent.path_of(name)))?;
            let entry_name = entry.file_name();
            if matches!(entry_name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(directory, entry_name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(FileError::io("look into", parent.path_of(name)))?;
            if file_type(&stat) == FileType::Directory {
                let fd = rustix::fs::openat(directory, entry_name, flags, Mode::empty())
                    .map_err(FileError::io("look into", parent.path_of(name)))?;
                below = Some((entry_name.to_string_lossy().into_owned(), fd));
                break;
            }
            rustix::fs::unlinkat(directory, entry_name, AtFlags::empty())
                .map_err(FileError::io("remove a file in", parent.path_of(name)))?;
        }
        if let Some(below) = below {
            stack.push(below);
            continue;
        }
        let Some((emptied, _)) = stack.pop() else {
            break;
        };
        let removed = match stack.last() {
            Some((_, above)) => rustix::fs::unlinkat(above, emptied, AtFlags::REMOVEDIR),
            None => rustix::fs::unlinkat(parent, emptied, AtFlags::REMOVEDIR),
        };
        removed.map_err(FileError::io("remove a directory in", parent.path_of(name)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_named_by_a_time_are_ever_removed() {
        assert!(is_time("20261122T192200Z"));
        assert!(is_time("20261122T192200Z-3"));
        for other in ["", "important", "20261122", "2026-11-22T19:22"] {
            assert!(!is_time(other), "{other}");
        }
    }
}

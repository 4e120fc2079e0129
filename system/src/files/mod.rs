//! Changes of files, each made completely or not at all.

mod backup;
mod label;
mod read;
mod replace;

use std::io::{Read, Write};

use nova_agent_core::effect::{Change, Done, ExistingMode, FileMode, GuestPath, WriteFile};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

pub(crate) use self::backup::{Backups, copy_bounded, make_all};
pub(crate) use self::read::{first_line, read_bounded, read_text};
pub(crate) use self::replace::{Attributes, Present, Temporary, look, mode_of, replace, sync};
use crate::file_error::FileError;
use crate::root::{Access, Directory, LastSymlink, Located, Root, file_type};

pub(crate) fn write_file(
    root: &Root,
    backups: &Backups,
    file: &WriteFile,
) -> Result<Done, FileError> {
    let WriteFile {
        path,
        content,
        mode,
        existing,
    } = file;
    let place = root.place(path, LastSymlink::Keep, Access::Write)?;
    let mut present = look(&place.directory, &place.name)?;
    let attributes = match &mut present {
        Present::Missing => Attributes::new(*mode),
        Present::Regular(old, stat) => {
            // The user who created a file in a shared directory could read the new content.
            if place.directory.is_shared() && !root.trusts_owner(stat) {
                return Err(FileError::refused(format!(
                    "{} belongs to another user in a shared directory",
                    place.path()
                )));
            }
            // What another user could link there may be any file of root's, and its mode, set-id bits included, would be that
            // of the new content.
            if place.directory.is_shared() && stat.st_nlink > 1 {
                return Err(FileError::refused(format!(
                    "{} has several names and is in a shared directory",
                    place.path()
                )));
            }
            let wanted = match existing {
                ExistingMode::Keep => mode_of(stat),
                ExistingMode::Replace => *mode,
            };
            if wanted == mode_of(stat)
                && holds(old, content.expose()).map_err(FileError::io("read", place.path()))?
            {
                return Ok(Done::default());
            }
            Attributes::of(old, stat).with_mode(wanted)
        }
        Present::Symlink(_) => {
            return Err(FileError::refused(format!("{} is a symlink", place.path())));
        }
        Present::Other(FileType::Directory) => {
            return Err(FileError::refused(format!(
                "{} is a directory",
                place.path()
            )));
        }
        Present::Other(_) => {
            return Err(FileError::refused(format!(
                "{} is not a regular file",
                place.path()
            )));
        }
    };
    let undo = back_up(root, backups, path, &place, &mut present)?;
    replace(&place.directory, &place.name, &attributes, |new| {
        new.write_all(content.expose())
    })?;
    Ok(Done {
        undo: Some(undo.unwrap_or_else(|| Change::RemoveFile { path: path.clone() })),
    })
}

pub(crate) fn remove_file(
    root: &Root,
    backups: &Backups,
    path: &GuestPath,
) -> Result<Done, FileError> {
    let place = match root.place(path, LastSymlink::Keep, Access::Write) {
        Ok(place) => place,
        Err(FileError::Missing { .. }) => return Ok(Done::default()),
        Err(error) => return Err(error),
    };
    let mut present = look(&place.directory, &place.name)?;
    let undo = back_up(root, backups, path, &place, &mut present)?;
    if undo.is_some() {
        rustix::fs::unlinkat(&place.directory, &place.name, AtFlags::empty())
            .map_err(FileError::io("remove", place.path()))?;
        sync(&place.directory);
    }
    Ok(Done { undo })
}

pub(crate) fn restore_file(
    root: &Root,
    path: &GuestPath,
    backup: &GuestPath,
) -> Result<Done, FileError> {
    let copy = root.place(backup, LastSymlink::Keep, Access::Write)?;
    let place = root.place(path, LastSymlink::Keep, Access::Write)?;
    if let Present::Other(_) = look(&place.directory, &place.name)? {
        return Err(FileError::refused(format!(
            "{} is not a file",
            place.path()
        )));
    }
    match look(&copy.directory, &copy.name)? {
        Present::Regular(mut file, stat) => {
            let attributes = Attributes::of(&file, &stat);
            replace(&place.directory, &place.name, &attributes, |new| {
                copy_bounded(&mut file, new)
            })?;
        }
        Present::Symlink(target) => {
            replace::replace_with_symlink(&place.directory, &place.name, &target)?
        }
        Present::Missing => return Err(FileError::Missing { path: copy.path() }),
        Present::Other(_) => {
            return Err(FileError::refused(format!("{} is not a file", copy.path())));
        }
    }
    Ok(Done::default())
}

pub(crate) fn symlink(
    root: &Root,
    backups: &Backups,
    path: &GuestPath,
    target: &str,
) -> Result<Done, FileError> {
    let place = root.place(path, LastSymlink::Keep, Access::Write)?;
    let mut present = look(&place.directory, &place.name)?;
    if let Present::Symlink(old) = &present
        && old == target
    {
        return Ok(Done::default());
    }
    let undo = back_up(root, backups, path, &place, &mut present)?;
    replace::replace_with_symlink(&place.directory, &place.name, target)?;
    Ok(Done {
        undo: Some(undo.unwrap_or_else(|| Change::RemoveFile { path: path.clone() })),
    })
}

pub(crate) fn make_directory(
    root: &Root,
    path: &GuestPath,
    mode: FileMode,
) -> Result<Done, FileError> {
    let Some(parent) = path.parent() else {
        return Ok(Done::default());
    };
    let directory = root.directory(&parent, Access::Write)?;
    // Created with its final mode minus group/other write: if this run ends before the mode is set, the next one finds a
    // directory that exists, and leaves it as it is.
    let closed = FileMode::new(mode.bits() & !0o022);
    match rustix::fs::mkdirat(&directory, path.name(), replace::raw_mode(closed)) {
        Ok(()) => {}
        // It may be a symlink to a directory.
        Err(Errno::EXIST) => {
            return match root.directory(path, Access::Write) {
                Ok(_) => Ok(Done::default()),
                Err(FileError::Missing { .. }) => {
                    Err(FileError::refused(format!("{path} is not a directory")))
                }
                Err(error) => Err(error),
            };
        }
        Err(errno) => return Err(directory.entry_error("create", path.name(), errno)),
    }
    let set_mode = |made: Directory| {
        rustix::fs::fchmod(&made, replace::raw_mode(mode))
            .map_err(FileError::io("set the mode of", path))
    };
    if let Err(error) = root.directory(path, Access::Write).and_then(set_mode) {
        // A change that failed has no undo.
        let _ = rustix::fs::unlinkat(&directory, path.name(), AtFlags::REMOVEDIR);
        return Err(error);
    }
    sync(&directory);
    Ok(Done {
        undo: Some(Change::RemoveDirectory { path: path.clone() }),
    })
}

pub(crate) fn remove_directory(root: &Root, path: &GuestPath) -> Result<Done, FileError> {
    let place = match root.place(path, LastSymlink::Keep, Access::Write) {
        Ok(place) => place,
        Err(FileError::Missing { .. }) => return Ok(Done::default()),
        Err(error) => return Err(error),
    };
    let stat = match place.stat() {
        Ok(stat) if file_type(&stat) == FileType::Directory => stat,
        Ok(_) => {
            return Err(FileError::refused(format!(
                "{} is not a directory",
                place.path()
            )));
        }
        Err(FileError::Missing { .. }) => return Ok(Done::default()),
        Err(error) => return Err(error),
    };
    match rustix::fs::unlinkat(&place.directory, &place.name, AtFlags::REMOVEDIR) {
        Ok(()) => {}
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => return Ok(Done::default()),
        Err(errno) => return Err(FileError::io("remove", place.path())(errno)),
    }
    sync(&place.directory);
    Ok(Done {
        undo: Some(Change::MakeDirectory {
            path: path.clone(),
            mode: mode_of(&stat),
        }),
    })
}

/// Backs up what is at a place, if there is something, and returns the change that restores it.
fn back_up(
    root: &Root,
    backups: &Backups,
    path: &GuestPath,
    place: &Located,
    present: &mut Present,
) -> Result<Option<Change>, FileError> {
    if let Present::Missing = present {
        return Ok(None);
    }
    let backup = backups.keep(root, path, place, present)?;
    Ok(Some(Change::RestoreFile {
        path: path.clone(),
        backup,
    }))
}

/// Whether a file has exactly this content. Rewinds it.
fn holds(file: &mut std::fs::File, content: &[u8]) -> std::io::Result<bool> {
    use std::io::Seek;

    if file.metadata()?.len() != u64::try_from(content.len()).unwrap_or(u64::MAX) {
        return Ok(false);
    }
    let mut held = zeroize::Zeroizing::new(Vec::with_capacity(content.len().saturating_add(1)));
    let limit = u64::try_from(content.len())
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    file.take(limit).read_to_end(&mut held)?;
    file.rewind()?;
    Ok(*held == content)
}

//! Reading files that are not larger than the core takes.

use std::fs::File;
use std::io::{self, Read};

use nova_agent_core::effect::{FILE_MAX, GuestPath};

use super::replace::{Present, look};
use crate::root::{Access, Directory, LastSymlink, Root};

/// Returns the first line of a small text file that is neither empty nor a comment.
pub(crate) fn first_line(root: &Root, path: &GuestPath) -> Option<String> {
    let place = root.place(path, LastSymlink::Follow, Access::Read).ok()?;
    let text = read_text(&place.directory, &place.name)?;
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next().map(String::from)
}

/// Returns the content of a text file in a directory, without blanks around it. Does not follow a symlink.
pub(crate) fn read_text(directory: &Directory, name: &str) -> Option<String> {
    let Present::Regular(file, _) = look(directory, name).ok()? else {
        return None;
    };
    let content = read_bounded(file).ok()??;
    Some(String::from_utf8_lossy(&content).trim().into())
}

/// Returns all of a file, or `None` if it is larger than [`FILE_MAX`].
pub(crate) fn read_bounded(file: File) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    // The length is counted, because files of the kernel report sizes that mean nothing.
    let limit = u64::try_from(FILE_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    file.take(limit).read_to_end(&mut content)?;
    Ok((content.len() <= FILE_MAX).then_some(content))
}

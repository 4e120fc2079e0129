//! `/etc/network/interfaces` and the files that it includes.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::stanzas::{Kind, Stanzas};
use crate::effect::GuestPath;
use crate::render::error::Refusal;
use crate::render::guest::{FILES_MAX, Guest, resolve};
use crate::render::text::matches;

/// The file that everything starts from.
pub(super) const MAIN: GuestPath = GuestPath::constant("/etc/network/interfaces");

/// The most levels of included files; each level takes two rounds of probes.
const DEPTH_MAX: usize = 4;

/// Characters that make a name a pattern.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// Which files `source-directory` includes.
#[derive(Clone, Copy, Debug)]
pub(super) enum SourceDirectory {
    /// Those that are not hidden.
    All,
    /// Those with a plain name, as run-parts does.
    Plain,
}

/// A file of the configuration.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: GuestPath,
    /// Nothing, if it does not exist.
    pub(super) text: String,
    /// Whether it is included by its name: then it must exist, or several implementations refuse
    /// all of it.
    pub(super) is_named: bool,
}

/// The files of a configuration, the main one first, and what could not be read.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) files: Vec<Source>,
    /// Texts for the log.
    pub(super) warnings: Vec<String>,
}

/// Reads the main file, which comes first, and what it includes.
///
/// # Errors
/// Refuses if the main file cannot be edited. An included file that cannot be read is a warning.
pub(super) fn load(
    guest: &Guest<'_>,
    source_directory: SourceDirectory,
) -> Result<Sources, Refusal> {
    let (path, text) = guest.editable(&MAIN)?;
    let mut seen = BTreeSet::from([path.clone()]);
    let main = Source {
        path,
        text: text.unwrap_or_default(),
        is_named: true,
    };
    let mut sources = Vec::from([main]);
    let mut warnings = Vec::new();
    // Files of one level are read together, so that the guest is asked once a level.
    let mut level = 0..1;
    for _ in 0..DEPTH_MAX {
        let mut included = Vec::new();
        for source in sources.get(level.clone()).unwrap_or_default() {
            included.extend(includes(source, guest, source_directory, &mut warnings));
        }
        for Included { path, is_named } in included {
            if sources.len() > FILES_MAX || !seen.insert(path.clone()) {
                continue;
            }
            match guest.editable(&path) {
                Ok((path, Some(text))) => sources.push(Source {
                    path,
                    text,
                    is_named,
                }),
                Ok((_, None)) => {}
                Err(error) => warnings.push(format!("not read: {error}")),
            }
        }
        level = level.end..sources.len();
    }
    for source in sources
        .get(level)
        .unwrap_or_default()
        .iter()
        .filter(|source| includes_any(source))
    {
        warnings.push(format!(
            "{}: what it includes is too deep and was not read",
            source.path
        ));
    }
    Ok(Sources {
        files: sources,
        warnings,
    })
}

fn includes_any(source: &Source) -> bool {
    let stanzas = Stanzas::parse(&source.text).list;
    stanzas
        .iter()
        .any(|stanza| matches!(stanza.kind, Kind::Source(_) | Kind::SourceDirectory(_)))
}

/// A file that is included, by its name or by a pattern.
struct Included {
    path: GuestPath,
    is_named: bool,
}

/// The files that one file includes.
fn includes(
    source: &Source,
    guest: &Guest<'_>,
    source_directory: SourceDirectory,
    warnings: &mut Vec<String>,
) -> Vec<Included> {
    let plain_name = |name: &str| {
        name.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let in_source_directory = |name: &str| match source_directory {
        SourceDirectory::All => !name.starts_with('.'),
        SourceDirectory::Plain => plain_name(name),
    };

    let mut files: Vec<Included> = Vec::new();
    let mut extend = |paths: Vec<GuestPath>, is_named| {
        files.extend(paths.into_iter().map(|path| Included { path, is_named }));
    };
    for stanza in Stanzas::parse(&source.text).list {
        match &stanza.kind {
            Kind::Source(patterns) => {
                for pattern in patterns {
                    match pattern_of(source, pattern) {
                        Some((directory, name)) => {
                            let is_named = !name.contains(WILDCARDS);
                            extend(
                                in_directory(guest, &directory, |entry| matches(&name, entry)),
                                is_named,
                            );
                        }
                        None => warnings.push(format!(
                            "{}: a source pattern is not understood",
                            source.path
                        )),
                    }
                }
            }
            Kind::SourceDirectory(directories) => {
                for directory in directories {
                    match resolve(&source.path, directory) {
                        Some(directory) => {
                            extend(in_directory(guest, &directory, in_source_directory), false)
                        }
                        None => warnings.push(format!(
                            "{}: a source directory is not understood",
                            source.path
                        )),
                    }
                }
            }
            Kind::Allow(_) | Kind::Iface(_) | Kind::Mapping(_) | Kind::Other => {}
        }
    }
    files
}

/// The directory and the pattern for names in it; `None` if a shell is needed to understand it.
fn pattern_of(source: &Source, pattern: &str) -> Option<(GuestPath, String)> {
    if pattern.contains(['$', '`', '~', '"', '\'', '\\', '{']) {
        return None;
    }
    let (directory, name) = pattern.rsplit_once('/').unwrap_or((".", pattern));
    if directory.contains(WILDCARDS) {
        return None;
    }
    let directory = if directory.is_empty() { "/" } else { directory };
    Some((resolve(&source.path, directory)?, name.into()))
}

fn in_directory(
    guest: &Guest<'_>,
    directory: &GuestPath,
    wanted: impl Fn(&str) -> bool,
) -> Vec<GuestPath> {
    guest
        .list(directory, wanted)
        .into_iter()
        .filter_map(|name| directory.join(name).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::effect::{DirectoryEntry, EntryKind, FileMode, FileState, Snapshot};

    fn load_all(files: &[(String, String)], entries: usize) -> (Vec<Source>, Vec<String>) {
        let mut snapshot = Snapshot::default();
        for (path, text) in files {
            let state = FileState::Regular {
                content: text.clone().into_bytes(),
                mode: FileMode::PUBLIC,
            };
            snapshot
                .files
                .insert(GuestPath::try_from(path.as_str()).unwrap(), state);
        }
        // A name is looked for as a pattern is.
        let named = files
            .iter()
            .filter_map(|(path, _)| path.strip_prefix("/etc/network/"));
        let named = named.map(|name| DirectoryEntry {
            name: name.into(),
            kind: EntryKind::File,
        });
        snapshot
            .directories
            .insert(GuestPath::constant("/etc/network"), named.collect());
        let directory = GuestPath::constant("/etc/network/interfaces.d");
        let names = (0..entries).map(|n| DirectoryEntry {
            name: format!("f{n:05}"),
            kind: EntryKind::File,
        });
        for entry in names.clone() {
            let state = FileState::Regular {
                content: Vec::new(),
                mode: FileMode::PUBLIC,
            };
            snapshot
                .files
                .insert(directory.join(&entry.name).unwrap(), state);
        }
        snapshot.directories.insert(directory, names.collect());
        let guest = Guest::new(&snapshot);
        let Sources { files, warnings } = load(&guest, SourceDirectory::Plain).unwrap();
        (files, warnings)
    }

    #[test]
    fn files_are_included_to_the_bound_and_no_further() {
        let chain = |len: usize| -> Vec<(String, String)> {
            let name = |n: usize| {
                if n == 0 {
                    MAIN.to_string()
                } else {
                    format!("/etc/network/{n}")
                }
            };
            (0..=len)
                .map(|n| {
                    (
                        name(n),
                        if n < len {
                            format!("source {}\n", name(n + 1))
                        } else {
                            String::new()
                        },
                    )
                })
                .collect()
        };
        let (sources, warnings) = load_all(&chain(DEPTH_MAX), 0);
        assert_eq!(
            (sources.len(), warnings.len()),
            (1 + DEPTH_MAX, 0),
            "{warnings:?}"
        );
        let (sources, warnings) = load_all(&chain(DEPTH_MAX + 1), 0);
        assert_eq!(
            (sources.len(), warnings.len()),
            (1 + DEPTH_MAX, 1),
            "{warnings:?}"
        );

        let main = [(MAIN.to_string(), "source-directory interfaces.d\n".into())];
        for (entries, read) in [
            (FILES_MAX, FILES_MAX),
            (FILES_MAX + 1, FILES_MAX),
            (4096, FILES_MAX),
        ] {
            assert_eq!(load_all(&main, entries).0.len(), 1 + read);
        }
    }
}

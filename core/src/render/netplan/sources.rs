//! The files that netplan reads.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::yaml::{self, Node, parse};
use crate::effect::GuestPath;
use crate::render::error::{Refusal, Unclear, join};
use crate::render::guest::Guest;
use crate::render::text::encode;

/// The directories, the one whose files win first. Older systems have `/lib` and `/usr/lib` apart.
static DIRECTORIES: [GuestPath; 4] = [
    GuestPath::constant("/run/netplan"),
    ETC,
    GuestPath::constant("/usr/lib/netplan"),
    GuestPath::constant("/lib/netplan"),
];

const ETC: GuestPath = GuestPath::constant("/etc/netplan");

/// The agent's own file. Most default files come before it, which matters only to readers.
pub(super) static OWN_PATH: GuestPath = GuestPath::constant("/etc/netplan/90-nova-agent.yaml");

/// A file that is in effect.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: GuestPath,
    /// Where its replacement goes: a file of a package is not changed, but overridden by one of the
    /// same name.
    pub(super) replacement: GuestPath,
    /// Whether another file would come into effect without it.
    pub(super) hides_another: bool,
    pub(super) text: String,
    pub(super) root: Option<Node>,
}

/// All files that are in effect, in the order in which netplan reads them.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) foreign: Vec<Source>,
    pub(super) own: Own,
}

/// What the agent wrote before; empty if it cannot be parsed, as it is replaced anyway.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) text: String,
    pub(super) root: Option<Node>,
}

/// Reads the files.
///
/// # Errors
/// Refuses if one of them is not understood.
pub(super) fn load(guest: &Guest<'_>) -> Result<Sources, Refusal> {
    let mut found: BTreeMap<&str, Vec<&'static GuestPath>> = BTreeMap::new();
    for directory in &DIRECTORIES {
        for name in guest.list(directory, |name| {
            name.ends_with(".yaml") && !name.starts_with('.')
        }) {
            found.entry(name).or_default().push(directory);
        }
    }
    let mut sources = Sources::default();
    for (name, directories) in found {
        let [directory, hidden @ ..] = directories.as_slice() else {
            continue;
        };
        let Ok(path) = directory.join(name) else {
            continue;
        };
        let (real, Some(text)) = guest
            .editable(&path)
            .map_err(|reason| Unclear::NotEditable(reason).at(&path))?
        else {
            continue;
        };
        let root = read(&text);
        if name == OWN_PATH.name() {
            if **directory != ETC {
                return Err(Unclear::HidesOwnFile { directory: ETC }.at(&path));
            }
            let root = root
                .ok()
                .flatten()
                .filter(|root| network(Some(root)).is_ok());
            sources.own = Own { text, root };
            continue;
        }
        let root = root.map_err(|reason| Unclear::Yaml(reason).at(&path))?;
        let packaged = !path.as_str().starts_with("/etc/") && !path.as_str().starts_with("/run/");
        let replacement = if packaged { join(&ETC, name)? } else { real };
        // On most systems the last two directories are one.
        sources.foreign.push(Source {
            path,
            replacement,
            hides_another: packaged || !hidden.is_empty(),
            text,
            root,
        });
    }
    Ok(sources)
}

fn read(text: &str) -> Result<Option<Node>, yaml::Unclear> {
    let bytes = encode(text);
    parse(core::str::from_utf8(&bytes).map_err(|_| "not in UTF-8")?)
}

/// The value of `network`, if there is any.
///
/// # Errors
/// Why the file is none of netplan's.
pub(super) fn network(root: Option<&Node>) -> Result<Option<&Node>, yaml::Unclear> {
    let Some(root) = root else { return Ok(None) };
    match root.entries() {
        [entry] if entry.key == "network" => Ok(Some(&entry.value)),
        [] if root.scalar().is_none_or(str::is_empty) => Ok(None),
        _ => Err("it has more in it than a network"),
    }
}

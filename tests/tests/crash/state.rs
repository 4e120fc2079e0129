//! All that a death could harm: the files of a guest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::command::PASSWORD;

/// What the agent keeps for itself; its backups are judged by [`State::bad_backups`].
const OWN: [&str; 4] = [
    "effects.jsonl",
    "etc/.pwd.lock",
    "run/nova-agent.lock",
    "var/lib/nova-agent",
];

const BACKUPS: &str = "var/lib/nova-agent/backup";

const SHADOW: &str = "etc/shadow";

/// What stands for a hash of the password, which is never the same twice, and the day on which it was set.
const NEW_HASH: &str = "(the new password)";

/// All that is below a directory, by the path from there.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct State(BTreeMap<String, Node>);

#[derive(Clone, Eq, PartialEq)]
struct Node {
    what: What,
    mode: u32,
    owner: (u32, u32),
}

#[derive(Clone, Eq, PartialEq)]
enum What {
    Directory,
    File(Vec<u8>),
    Symlink(Vec<u8>),
}

impl State {
    /// The guest's files without those of the agent.
    pub(crate) fn of_guest(root: &Path) -> Self {
        let mut state = Self::of(root);
        state.0.retain(|path, _| {
            !OWN.iter()
                .any(|own| path.strip_prefix(own).is_some_and(is_end_of_name))
        });
        if let Some(Node {
            what: What::File(shadow),
            ..
        }) = state.0.get_mut(SHADOW)
        {
            *shadow = with_marked_hash(shadow);
        }
        state
    }

    /// All files, with what the agent wrote down and made copies of.
    pub(crate) fn of(root: &Path) -> Self {
        let (mut nodes, mut pending) = (BTreeMap::new(), vec![root.to_path_buf()]);
        while let Some(directory) = pending.pop() {
            for path in fs::read_dir(&directory)
                .unwrap()
                .map(|entry| entry.unwrap().path())
            {
                let metadata = fs::symlink_metadata(&path).unwrap();
                let what = if metadata.is_dir() {
                    pending.push(path.clone());
                    What::Directory
                } else if metadata.is_symlink() {
                    What::Symlink(
                        fs::read_link(&path)
                            .unwrap()
                            .into_os_string()
                            .into_encoded_bytes(),
                    )
                } else {
                    What::File(fs::read(&path).unwrap())
                };
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .expect("names are UTF-8")
                    .to_owned();
                let owner = (metadata.uid(), metadata.gid());
                nodes.insert(
                    name,
                    Node {
                        what,
                        mode: metadata.mode() & 0o7777,
                        owner,
                    },
                );
            }
        }
        Self(nodes)
    }

    /// Without a file of the agent that changes with every start.
    pub(crate) fn without_lock(mut self) -> Self {
        self.0.remove("run/nova-agent.lock");
        self
    }

    /// What is neither as in `before` nor as in `after`. Temporary files may be there, if no more users can read them than
    /// the file that they are to become.
    pub(crate) fn mixtures(&self, before: &Self, after: &Self) -> Vec<String> {
        let mut mixtures = Vec::new();
        for path in self.paths_of(&[before, after]) {
            let (found, old, new) = (self.0.get(path), before.0.get(path), after.0.get(path));
            if found == old || found == new {
                continue;
            }
            if let Some(target) = target_of_temporary(path) {
                let final_modes =
                    [before, after].map(|state| state.0.get(&target).map_or(0, |node| node.mode));
                let mode = found.map_or(0, |node| node.mode);
                // It begins with a mode of its own.
                if mode & !(final_modes[0] | final_modes[1] | 0o600) == 0 {
                    continue;
                }
            }
            mixtures.push(format!(
                "{path}: {}, neither {} nor {}",
                show(found),
                show(old),
                show(new)
            ));
        }
        mixtures
    }

    /// What is different from `expected`: first what is changed or missing, then what is too much.
    pub(crate) fn differences(&self, expected: &Self) -> (Vec<String>, Vec<String>) {
        let (mut changed, mut surplus) = (Vec::new(), Vec::new());
        for path in self.paths_of(&[expected]) {
            match (self.0.get(path), expected.0.get(path)) {
                (found, expected) if found == expected => {}
                (Some(found), None) => surplus.push(format!("{path}: {found:?}")),
                (found, expected) => {
                    changed.push(format!("{path}: {}, not {}", show(found), show(expected)))
                }
            }
        }
        (changed, surplus)
    }

    /// What is wrong with the copies of replaced files: somebody else could read them, or they are no copies.
    pub(crate) fn bad_backups(&self, before: &Self, after: &Self) -> Vec<String> {
        let mut bad = Vec::new();
        for (path, node) in &self.0 {
            let Some(below) = path.strip_prefix(BACKUPS) else {
                continue;
            };
            if node.what == What::Directory {
                if (node.mode, node.owner) != (0o700, (0, 0)) {
                    bad.push(format!("{path}: {node:?}"));
                }
                continue;
            }
            // /TIME/path
            let Some((_, original)) = below.trim_start_matches('/').split_once('/') else {
                bad.push(format!("{path}: {node:?}"));
                continue;
            };
            let is_copy = [before, after]
                .iter()
                .any(|state| state.0.get(original) == Some(node));
            if !is_copy && target_of_temporary(original).is_none() {
                bad.push(format!("{path}: {node:?} is no copy"));
            }
        }
        bad
    }

    fn paths_of<'a>(&'a self, others: &[&'a Self]) -> BTreeSet<&'a String> {
        self.0
            .keys()
            .chain(others.iter().flat_map(|other| other.0.keys()))
            .collect()
    }
}

/// The file that a temporary one is to become: `.NAME.nova-...`, or a lock of the shadow file.
fn target_of_temporary(path: &str) -> Option<String> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let target = match name.strip_prefix("shadow.") {
        Some(_) => "shadow",
        None => name.strip_prefix('.')?.split_once(".nova-")?.0,
    };
    Some(
        format!("{directory}/{target}")
            .trim_start_matches('/')
            .into(),
    )
}

fn is_end_of_name(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// Replaces root's hash by a mark if it is one of the password, and the day if it is today's.
fn with_marked_hash(shadow: &[u8]) -> Vec<u8> {
    let mut lines: Vec<String> = String::from_utf8(shadow.to_vec())
        .unwrap()
        .split('\n')
        .map(String::from)
        .collect();
    for line in &mut lines {
        let mut fields: Vec<&str> = line.split(':').collect();
        if fields.len() < 3 || fields[0] != "root" || !is_hash_of_password(fields[1]) {
            continue;
        }
        let today = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
            / 86_400;
        if fields[2] == today.to_string() || fields[2] == (today - 1).to_string() {
            fields[1] = NEW_HASH;
            fields[2] = "today";
        }
        let marked = fields.join(":");
        *line = marked;
    }
    lines.join("\n").into_bytes()
}

/// As openssl sees it.
fn is_hash_of_password(hash: &str) -> bool {
    static KNOWN: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());

    let Some((salt, _)) = hash
        .strip_prefix("$6$")
        .and_then(|rest| rest.rsplit_once('$'))
    else {
        return false;
    };
    let is_known = KNOWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(hash)
        .copied();
    is_known.unwrap_or_else(|| {
        let output = Command::new("openssl")
            .args(["passwd", "-6", "-salt", salt, PASSWORD])
            .output();
        let is_hash = output
            .expect("openssl is needed for this test")
            .stdout
            .trim_ascii_end()
            == hash.as_bytes();
        KNOWN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(hash.into(), is_hash);
        is_hash
    })
}

fn show(node: Option<&Node>) -> String {
    node.map_or_else(|| "missing".into(), |node| format!("{node:?}"))
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;

        let Self {
            what,
            mode,
            owner: (user, group),
        } = self;
        match what {
            What::Directory => f.write_str("directory")?,
            What::File(content) => {
                let shown = content.get(..SHOWN).unwrap_or(content);
                write!(
                    f,
                    "file of {} bytes \"{}\"",
                    content.len(),
                    shown.escape_ascii()
                )?;
            }
            What::Symlink(target) => write!(f, "symlink to \"{}\"", target.escape_ascii())?,
        }
        write!(f, ", mode {mode:o}, owner {user}:{group}")
    }
}

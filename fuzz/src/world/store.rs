//! A store in memory, as far as an agent can tell.

use std::collections::{BTreeMap, BTreeSet};

use nova_agent_core::wire::{ErrorName, Message, Op, StorePath, payload};

/// Values by node; a node that is only above others has none.
pub(super) struct Store {
    nodes: BTreeMap<String, Vec<u8>>,
}

impl Store {
    pub(super) fn new(nodes: &[(&str, &[u8])]) -> Self {
        Self {
            nodes: nodes
                .iter()
                .map(|(path, value)| ((*path).into(), (*value).into()))
                .collect(),
        }
    }

    pub(super) fn value(&self, path: &str) -> Option<&[u8]> {
        self.nodes.get(path).map(Vec::as_slice)
    }

    pub(super) fn insert(&mut self, path: &str, value: &[u8]) {
        self.nodes.insert(path.into(), value.into());
    }

    pub(super) fn remove(&mut self, path: &str) -> bool {
        let below = format!("{path}/");
        let before = self.nodes.len();
        self.nodes
            .retain(|node, _| node != path && !node.starts_with(&below));
        self.nodes.len() != before
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// The names below a node, each once.
    pub(super) fn children(&self, path: &str) -> BTreeSet<String> {
        let below = format!("{path}/");
        let names = self
            .nodes
            .keys()
            .filter_map(|node| node.strip_prefix(&below)?.split('/').next());
        names.map(String::from).collect()
    }

    /// The type and payload of the answer to a request, and the node that changed.
    pub(super) fn serve(&mut self, request: &Message) -> (Op, Vec<u8>, Option<StorePath>) {
        let op = request.op().expect("a known type");
        let absent = (Op::Error, payload::error(&ErrorName::Enoent), None);
        match op {
            Op::Directory => {
                let path = payload::parse_path(&request.payload).expect("a path");
                let names = self.children(path.as_str());
                if names.is_empty() && !self.contains(path.as_str()) {
                    return absent;
                }
                (
                    op,
                    payload::directory(names.iter().map(String::as_str)),
                    None,
                )
            }
            Op::DirectoryPart => (op, b"1\0\0".to_vec(), None),
            Op::Read => {
                let path = payload::parse_path(&request.payload).expect("a path");
                self.nodes
                    .get(path.as_str())
                    .map_or(absent, |value| (op, value.clone(), None))
            }
            Op::Write => {
                let (path, value) =
                    payload::parse_write(&request.payload).expect("a path and a value");
                self.insert(path.as_str(), value);
                (op, payload::ok(), Some(path))
            }
            Op::Rm => {
                let path = payload::parse_path(&request.payload).expect("a path");
                let changed = self.remove(path.as_str()).then_some(path);
                (op, payload::ok(), changed)
            }
            Op::Watch => {
                let event = payload::parse_watch(&request.payload).expect("a path and a token");
                (op, payload::ok(), Some(event.path))
            }
            _ => panic!("an agent has no use for {op:?}"),
        }
    }
}

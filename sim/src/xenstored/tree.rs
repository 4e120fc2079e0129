//! The nodes, and who owns how many. Copying a tree is cheap: unchanged nodes are shared.

use std::collections::BTreeMap;
use std::sync::Arc;

use nova_agent_core::wire::{Access, Permission};

use super::flavour::{RECORD_HEADER, RECORD_PERM};

/// One node with everything below it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Vec<u8>,
    /// Never empty: the first entry names the owner.
    perms: Vec<Permission>,
    children: BTreeMap<String, Child>,
    /// The length of all names of children with their NULs.
    names_len: usize,
    /// Changes with the value, the permissions and the list of children.
    pub(super) generation: u64,
}

#[derive(Clone, Debug)]
struct Child {
    /// Later children have larger numbers.
    order: u64,
    node: Arc<Node>,
}

impl Node {
    fn new(perms: Vec<Permission>, generation: u64) -> Self {
        Self {
            value: Vec::new(),
            perms,
            children: BTreeMap::new(),
            names_len: 0,
            generation,
        }
    }

    pub(super) fn perms(&self) -> &[Permission] {
        &self.perms
    }

    pub(super) fn owner(&self) -> u32 {
        self.perms.first().map_or(0, |perm| perm.domid)
    }

    /// Names of children, in alphabetical order.
    pub(super) fn sorted_names(&self) -> Vec<&str> {
        self.children.keys().map(String::as_str).collect()
    }

    /// Names of children, the oldest first.
    pub(super) fn names_by_age(&self) -> Vec<&str> {
        let mut names: Vec<_> = self
            .children
            .iter()
            .map(|(name, child)| (child.order, name.as_str()))
            .collect();
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// The length of the node's record in C's database with `extra` bytes more.
    pub(super) fn record_len(&self, extra: usize) -> usize {
        RECORD_HEADER + RECORD_PERM * self.perms.len() + self.value.len() + self.names_len + extra
    }

    /// What stands in `path` below this node, the node itself excluded.
    fn collect(&self, path: &str, paths: &mut Vec<(String, u32)>) {
        for (name, child) in &self.children {
            let path = join(path, name);
            child.node.collect(&path, paths);
            paths.push((path, child.node.owner()));
        }
    }
}

/// All nodes of a store.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: Arc<Node>,
    /// How many nodes each domain owns.
    owned: BTreeMap<u32, usize>,
    last_generation: u64,
}

impl Tree {
    pub(super) fn new() -> Self {
        let perms = vec![Permission {
            access: Access::None,
            domid: 0,
        }];
        Self {
            root: Arc::new(Node::new(perms, 0)),
            owned: BTreeMap::from([(0, 1)]),
            last_generation: 0,
        }
    }

    /// Creates a missing node below an existing parent, with the permissions of that parent and `owner`.
    pub(super) fn create(&mut self, path: &str, owner: u32) {
        let Some((parent, name)) = split(path) else {
            return;
        };
        let generation = self.next_generation();
        let Some(parent) = self.get_mut(parent) else {
            return;
        };
        let mut perms = parent.perms.clone();
        if let Some(first) = perms.first_mut() {
            first.domid = owner;
        }
        let node = Arc::new(Node::new(perms, generation));
        parent.children.insert(
            name.into(),
            Child {
                order: generation,
                node,
            },
        );
        parent.names_len += name.len() + 1;
        parent.generation = generation;
        *self.owned.entry(owner).or_default() += 1;
    }

    /// Removes a node with everything below it. Returns the paths that were below it.
    pub(super) fn remove(&mut self, path: &str) -> Vec<String> {
        let Some((parent, name)) = split(path) else {
            return Vec::new();
        };
        let generation = self.next_generation();
        let Some(parent) = self.get_mut(parent) else {
            return Vec::new();
        };
        let Some(child) = parent.children.remove(name) else {
            return Vec::new();
        };
        parent.names_len -= name.len() + 1;
        parent.generation = generation;
        let mut gone = Vec::new();
        child.node.collect(path, &mut gone);
        self.disown(child.node.owner());
        for (_, owner) in &gone {
            self.disown(*owner);
        }
        gone.into_iter().map(|(path, _)| path).collect()
    }

    /// Writes the value of an existing node.
    pub(super) fn set_value(&mut self, path: &str, value: &[u8]) {
        let generation = self.next_generation();
        let Some(node) = self.get_mut(path) else {
            return;
        };
        node.value = value.into();
        node.generation = generation;
    }

    /// Sets the permissions of an existing node.
    pub(super) fn set_perms(&mut self, path: &str, perms: Vec<Permission>) {
        let generation = self.next_generation();
        let Some(node) = self.get_mut(path) else {
            return;
        };
        let before = node.owner();
        node.perms = perms;
        node.generation = generation;
        let after = node.owner();
        self.disown(before);
        *self.owned.entry(after).or_default() += 1;
    }

    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        components(path).try_fold(&*self.root, |node, name| {
            Some(&*node.children.get(name)?.node)
        })
    }

    /// The deepest node on the way to `path` that exists.
    pub(super) fn nearest(&self, path: &str) -> &Node {
        let mut node = &*self.root;
        for name in components(path) {
            let Some(child) = node.children.get(name) else {
                break;
            };
            node = &child.node;
        }
        node
    }

    /// How many nodes a domain owns.
    pub(super) fn owned_by(&self, domid: u32) -> usize {
        self.owned.get(&domid).copied().unwrap_or_default()
    }

    /// Changes with every change.
    pub(super) fn generation(&self) -> u64 {
        self.last_generation
    }

    fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        let mut node = Arc::make_mut(&mut self.root);
        for name in components(path) {
            node = Arc::make_mut(&mut node.children.get_mut(name)?.node);
        }
        Some(node)
    }

    fn next_generation(&mut self) -> u64 {
        self.last_generation += 1;
        self.last_generation
    }

    fn disown(&mut self, domid: u32) {
        if let Some(count) = self.owned.get_mut(&domid) {
            *count -= 1;
        }
    }
}

/// The parent and the name of an absolute path; `None` for the root.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    match path.rsplit_once('/')? {
        ("", "") => None,
        ("", name) => Some(("/", name)),
        split => Some(split),
    }
}

/// The path of a child.
pub(super) fn join(path: &str, name: &str) -> String {
    if path == "/" {
        format!("/{name}")
    } else {
        format!("{path}/{name}")
    }
}

/// Whether `path` is `ancestor` or below it.
pub(super) fn is_at_or_below(path: &str, ancestor: &str) -> bool {
    ancestor == "/"
        || path
            .strip_prefix(ancestor)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

//! Operations on nodes: permissions, quotas, and what they change.

use nova_agent_core::wire::{Access, ErrorName, PAYLOAD_MAX, Permission, payload};

use super::flavour::{Flavour, NODES_MAX, RECORD_HEADER, RECORD_PERM};
use super::tree::{Node, Tree, split};

/// An operation on one node. Paths are absolute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum NodeOp {
    Directory(String),
    DirectoryPart(String, usize),
    GetPerms(String),
    Mkdir(String),
    Read(String),
    Rm(String),
    SetPerms(String, Vec<Permission>),
    Write(String, Vec<u8>),
}

impl NodeOp {
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Directory(path)
            | Self::DirectoryPart(path, _)
            | Self::GetPerms(path)
            | Self::Mkdir(path)
            | Self::Read(path)
            | Self::Rm(path)
            | Self::SetPerms(path, _)
            | Self::Write(path, _) => path,
        }
    }

    /// Whether the operation may change something.
    pub(super) fn modifies(&self) -> bool {
        match self {
            Self::Mkdir(_) | Self::Rm(_) | Self::SetPerms(..) | Self::Write(..) => true,
            Self::Directory(_) | Self::DirectoryPart(..) | Self::GetPerms(_) | Self::Read(_) => {
                false
            }
        }
    }
}

/// On whose behalf an operation is carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Caller {
    pub(super) domid: u32,
    /// Whether replies are limited to what a ring takes: oxenstored does not limit them on its socket.
    pub(super) limited_replies: bool,
}

impl Caller {
    pub(super) fn is_guest(self) -> bool {
        self.domid != 0
    }

    fn is_owner(self, node: &Node) -> bool {
        !self.is_guest() || node.owner() == self.domid
    }

    pub(super) fn may_read(self, perms: &[Permission]) -> bool {
        self.access(perms).0
    }

    fn may_write(self, perms: &[Permission]) -> bool {
        self.access(perms).1
    }

    /// Whether it may read, and whether it may write.
    fn access(self, perms: &[Permission]) -> (bool, bool) {
        let Some((first, others)) = perms.split_first() else {
            return (false, false);
        };
        if !self.is_guest() || first.domid == self.domid {
            return (true, true);
        }
        match others
            .iter()
            .find(|perm| perm.domid == self.domid)
            .unwrap_or(first)
            .access
        {
            Access::Both => (true, true),
            Access::None => (false, false),
            Access::Read => (true, false),
            Access::Write => (false, true),
        }
    }
}

/// Something that fires watches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Change {
    pub(super) path: String,
    /// The permissions that decide who hears of it.
    pub(super) perms: Vec<Permission>,
    /// What was below a removed node; `None` if the node is still there.
    pub(super) removed: Option<Vec<String>>,
}

/// Carries one operation out, or changes nothing. What it changed is added to `changes`.
pub(super) fn carry_out(
    op: &NodeOp,
    caller: Caller,
    flavour: Flavour,
    tree: &mut Tree,
    changes: &mut Vec<Change>,
) -> Result<Vec<u8>, ErrorName> {
    let mut operation = Operation {
        caller,
        flavour,
        tree,
        changes,
    };
    match op {
        NodeOp::Directory(path) => operation.directory(path),
        NodeOp::DirectoryPart(path, offset) => operation.directory_part(path, *offset),
        NodeOp::GetPerms(path) => Ok(payload::perms(operation.readable(path)?.perms())),
        NodeOp::Mkdir(path) => operation.mkdir(path),
        NodeOp::Read(path) => Ok(operation.readable(path)?.value.clone()),
        NodeOp::Rm(path) => operation.rm(path),
        NodeOp::SetPerms(path, perms) => operation.set_perms(path, perms),
        NodeOp::Write(path, value) => operation.write(path, value),
    }
}

struct Operation<'a> {
    caller: Caller,
    flavour: Flavour,
    tree: &'a mut Tree,
    changes: &'a mut Vec<Change>,
}

impl Operation<'_> {
    fn write(&mut self, path: &str, value: &[u8]) -> Result<Vec<u8>, ErrorName> {
        if value.len() > self.flavour.value_max() {
            return Err(ErrorName::E2Big);
        }
        match self.tree.get(path) {
            Some(node) => {
                if !self.caller.may_write(node.perms()) {
                    return Err(ErrorName::Eacces);
                }
                self.check_record(node.record_len(value.len()) - node.value.len())?;
            }
            None => self.create(path, value.len())?,
        }
        self.tree.set_value(path, value);
        self.changed(path);
        Ok(payload::ok())
    }

    fn mkdir(&mut self, path: &str) -> Result<Vec<u8>, ErrorName> {
        match self.tree.get(path) {
            // It is refused although it would change nothing.
            Some(node) if !self.caller.may_write(node.perms()) => return Err(ErrorName::Eacces),
            Some(_) => {}
            None => {
                self.create(path, 0)?;
                self.changed(path);
            }
        }
        Ok(payload::ok())
    }

    fn rm(&mut self, path: &str) -> Result<Vec<u8>, ErrorName> {
        let Some((parent, _)) = split(path) else {
            return Err(ErrorName::Einval);
        };
        let Some(node) = self.tree.get(path) else {
            let nearest = self.tree.nearest(path);
            if self.flavour == Flavour::C && !self.caller.may_write(nearest.perms()) {
                return Err(ErrorName::Eacces);
            }
            return if self.tree.get(parent).is_some() {
                Ok(payload::ok())
            } else {
                Err(ErrorName::Enoent)
            };
        };
        if !self.caller.may_write(node.perms()) {
            return Err(ErrorName::Eacces);
        }
        let perms = node.perms().into();
        let removed = Some(self.tree.remove(path));
        self.changes.push(Change {
            path: path.into(),
            perms,
            removed,
        });
        Ok(payload::ok())
    }

    fn set_perms(&mut self, path: &str, perms: &[Permission]) -> Result<Vec<u8>, ErrorName> {
        let Some(node) = self.tree.get(path) else {
            return Err(self.missing(path, Caller::may_write));
        };
        if !self.caller.is_owner(node) {
            return Err(ErrorName::Eacces);
        }
        if self.caller.is_guest() {
            if perms
                .first()
                .is_none_or(|first| first.domid != node.owner())
            {
                return Err(match self.flavour {
                    Flavour::C => ErrorName::Eperm,
                    Flavour::Oxen => ErrorName::Eacces,
                });
            }
            if perms.len() > self.flavour.perms_max() {
                return Err(ErrorName::Enospc);
            }
        }
        self.tree.set_perms(path, perms.into());
        self.changed(path);
        Ok(payload::ok())
    }

    fn directory(&self, path: &str) -> Result<Vec<u8>, ErrorName> {
        let list = self.list(path)?;
        if list.len() > PAYLOAD_MAX && self.caller.limited_replies {
            return Err(ErrorName::E2Big);
        }
        Ok(list)
    }

    fn directory_part(&self, path: &str, offset: usize) -> Result<Vec<u8>, ErrorName> {
        let list = self.list(path)?;
        let mut reply = payload::fields([self.readable(path)?.generation.to_string().as_bytes()]);
        let rest = list.get(offset..).unwrap_or_default();
        for name in rest.split_inclusive(|byte| *byte == 0) {
            // One byte is left for the mark of the end.
            if reply.len() + name.len() >= PAYLOAD_MAX {
                return Ok(reply);
            }
            reply.extend_from_slice(name);
        }
        reply.push(0);
        Ok(reply)
    }

    fn list(&self, path: &str) -> Result<Vec<u8>, ErrorName> {
        let node = self.readable(path)?;
        Ok(payload::directory(match self.flavour {
            Flavour::C => node.names_by_age(),
            Flavour::Oxen => node.sorted_names(),
        }))
    }

    fn readable(&self, path: &str) -> Result<&Node, ErrorName> {
        match self.tree.get(path) {
            None => Err(self.missing(path, Caller::may_read)),
            Some(node) if self.caller.may_read(node.perms()) => Ok(node),
            Some(_) => Err(ErrorName::Eacces),
        }
    }

    /// C does not tell a guest what does not exist where it has nothing to look for.
    fn missing(&self, path: &str, allowed: fn(Caller, &[Permission]) -> bool) -> ErrorName {
        if self.flavour == Flavour::C && !allowed(self.caller, self.tree.nearest(path).perms()) {
            return ErrorName::Eacces;
        }
        ErrorName::Enoent
    }

    /// Creates a node and its parents, or nothing.
    fn create(&mut self, path: &str, value_len: usize) -> Result<(), ErrorName> {
        let nearest = self.tree.nearest(path);
        if !self.caller.may_write(nearest.perms()) {
            return Err(ErrorName::Eacces);
        }
        // What dom0 creates belongs to the owner of its parent; so does what a guest creates, in oxenstored only.
        let own = self.caller.is_guest() && self.flavour == Flavour::C;
        let owner = if own {
            self.caller.domid
        } else {
            nearest.owner()
        };
        let mut missing = vec![path];
        while let Some((parent, _)) = missing.last().and_then(|path| split(path)) {
            if self.tree.get(parent).is_some() {
                break;
            }
            missing.push(parent);
        }
        if self.caller.is_guest() && self.tree.owned_by(owner) + missing.len() > NODES_MAX {
            return Err(self.flavour.quota_error());
        }
        let topmost = missing
            .last()
            .and_then(|path| split(path))
            .map_or(0, |(_, name)| name.len() + 1);
        self.check_record(nearest.record_len(topmost))?;
        self.check_record(RECORD_HEADER + RECORD_PERM * nearest.perms().len() + value_len)?;
        for path in missing.into_iter().rev() {
            self.tree.create(path, owner);
        }
        Ok(())
    }

    fn check_record(&self, len: usize) -> Result<(), ErrorName> {
        if self.caller.is_guest() && len > self.flavour.record_max() {
            return Err(ErrorName::Enospc);
        }
        Ok(())
    }

    fn changed(&mut self, path: &str) {
        let perms = self
            .tree
            .get(path)
            .map(Node::perms)
            .unwrap_or_default()
            .into();
        self.changes.push(Change {
            path: path.into(),
            perms,
            removed: None,
        });
    }
}

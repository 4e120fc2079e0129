//! Transactions: what one has seen and done, and whether it still holds at its end.

use std::collections::BTreeMap;

use nova_agent_core::wire::ErrorName;

use super::flavour::Flavour;
use super::node_ops::{Caller, Change, NodeOp, carry_out};
use super::tree::{Tree, split};

/// How many nodes (C) or requests (oxenstored) a guest may put into one transaction.
const LENGTH_MAX: usize = 1024;

/// An open transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    /// The store as the transaction sees it.
    tree: Tree,
    /// The generation of every node when it was first used, `None` if it did not exist. C compares these.
    seen: BTreeMap<String, Option<u64>>,
    /// What succeeded, with its replies. oxenstored repeats it and compares those.
    done: Vec<(NodeOp, Vec<u8>)>,
}

impl Transaction {
    pub(super) fn new(tree: &Tree) -> Self {
        Self {
            tree: tree.clone(),
            seen: BTreeMap::new(),
            done: Vec::new(),
        }
    }

    pub(super) fn carry_out(
        &mut self,
        op: NodeOp,
        caller: Caller,
        flavour: Flavour,
    ) -> Result<Vec<u8>, ErrorName> {
        let length = match flavour {
            Flavour::C => self.seen.len(),
            Flavour::Oxen => self.done.len(),
        };
        if caller.is_guest() && length >= LENGTH_MAX {
            return Err(flavour.quota_error());
        }
        self.see(&op);
        // Nobody hears of it before the commit.
        let reply = carry_out(&op, caller, flavour, &mut self.tree, &mut Vec::new())?;
        self.done.push((op, reply.clone()));
        Ok(reply)
    }

    /// Does to `tree` what the transaction did, or nothing and `EAGAIN`.
    pub(super) fn commit(
        self,
        caller: Caller,
        flavour: Flavour,
        tree: &mut Tree,
        changes: &mut Vec<Change>,
    ) -> Result<(), ErrorName> {
        let modifies = self.done.iter().any(|(op, _)| op.modifies());
        match flavour {
            Flavour::C => {
                let unchanged = |(path, generation): (&String, &Option<u64>)| {
                    generation_of(tree, path) == *generation
                };
                if !self.seen.iter().all(unchanged) {
                    return Err(ErrorName::Eagain);
                }
            }
            Flavour::Oxen if !modifies => return Ok(()),
            Flavour::Oxen => {}
        }

        let (mut result, mut changed) = (tree.clone(), Vec::new());
        for (op, reply) in &self.done {
            let again = carry_out(op, caller, flavour, &mut result, &mut changed);
            // The reply to DIRECTORY_PART holds a generation, which a write of the transaction itself may have changed.
            let same = again.as_ref() == Ok(reply) || matches!(op, NodeOp::DirectoryPart(..));
            if !same {
                return Err(ErrorName::Eagain);
            }
        }
        *tree = result;
        if flavour == Flavour::C {
            // One event for each path, however often it was touched.
            let mut kept: Vec<Change> = Vec::new();
            for change in changed {
                if !kept.iter().any(|other| other.path == change.path) {
                    kept.push(change);
                }
            }
            changed = kept;
        }
        changes.append(&mut changed);
        Ok(())
    }

    /// Remembers the node, and what else the C daemon reads for the operation: on the way to a missing node every parent
    /// up to one that exists, and the parent of a node to be removed.
    fn see(&mut self, op: &NodeOp) {
        let mut path = op.path();
        let mut parents = usize::from(matches!(op, NodeOp::Rm(_)));
        loop {
            let generation = generation_of(&self.tree, path);
            self.seen.entry(path.into()).or_insert(generation);
            if generation.is_some() {
                if parents == 0 {
                    return;
                }
                parents -= 1;
            }
            let Some((parent, _)) = split(path) else {
                return;
            };
            path = parent;
        }
    }
}

fn generation_of(tree: &Tree, path: &str) -> Option<u64> {
    tree.get(path).map(|node| node.generation)
}

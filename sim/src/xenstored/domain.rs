//! The tree that xapi builds for a domain.

use nova_agent_core::wire::{Access, ErrorName, Permission};

use super::Flavour;
use super::node_ops::{Caller, Change, NodeOp, carry_out};
use super::tree::{Tree, join};

const OWNED_BY_GUEST: [&str; 12] = [
    "attr",
    "control",
    "data",
    "device",
    "drivers",
    "error",
    "feature",
    "hvmloader",
    "messages",
    "rrd",
    "vm-data",
    "xenserver/attr",
];

const READ_ONLY: [&str; 2] = ["cpu", "memory"];

/// Who builds it: nothing of a guest's limits applies.
const TOOLSTACK: Caller = Caller {
    domid: 0,
    limited_replies: false,
};

pub(super) fn home(domid: u32) -> String {
    format!("/local/domain/{domid}")
}

/// Builds the tree of domain `domid` anew.
///
/// `first_domid` names the virtual machine, which keeps its name whatever the number of its domain.
pub(super) fn build(
    tree: &mut Tree,
    flavour: Flavour,
    domid: u32,
    first_domid: u32,
) -> Vec<Change> {
    let mut changes = Vec::new();
    // Different for every domain, and the same in every run of a simulated world.
    let identity = format!(
        "{:08x}-0000-4000-8000-{domid:012}",
        tree.generation() % 0x1_0000_0000
    );
    let mut toolstack = |op: NodeOp| -> Result<Vec<u8>, ErrorName> {
        carry_out(&op, TOOLSTACK, flavour, tree, &mut changes)
    };
    let home = home(domid);
    let read_only = vec![perm(Access::None, 0), perm(Access::Read, domid)];

    // dom0 may do all of this, and no name or value here is too long.
    let _ = toolstack(NodeOp::Rm(home.clone()));
    let _ = toolstack(NodeOp::Mkdir(home.clone()));
    let _ = toolstack(NodeOp::SetPerms(home.clone(), read_only.clone()));
    for name in OWNED_BY_GUEST {
        let path = join(&home, name);
        let _ = toolstack(NodeOp::Mkdir(path.clone()));
        let _ = toolstack(NodeOp::SetPerms(path, vec![perm(Access::None, domid)]));
    }
    for name in READ_ONLY {
        let path = join(&home, name);
        let _ = toolstack(NodeOp::Mkdir(path.clone()));
        let _ = toolstack(NodeOp::SetPerms(path, read_only.clone()));
    }
    for (name, value) in [
        ("unique-domain-id", identity),
        ("name", format!("guest-{first_domid}")),
        (
            "vm",
            format!("/vm/00000000-0000-4000-8000-{first_domid:012}"),
        ),
        ("domid", domid.to_string()),
        ("memory/target", "1048576".into()),
    ] {
        let _ = toolstack(NodeOp::Write(join(&home, name), value.into_bytes()));
    }
    changes
}

/// Copies a node with all below it, as xapi writes `vm-data` of a restored domain from the VM's record.
pub(super) fn copy(tree: &mut Tree, flavour: Flavour, from: &str, to: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut pending = vec![(String::from(from), String::from(to))];
    while let Some((from, to)) = pending.pop() {
        let Some(node) = tree.get(&from) else {
            continue;
        };
        for name in node.sorted_names() {
            pending.push((join(&from, name), join(&to, name)));
        }
        let op = if node.value.is_empty() {
            NodeOp::Mkdir(to)
        } else {
            NodeOp::Write(to, node.value.clone())
        };
        let _ = carry_out(&op, TOOLSTACK, flavour, tree, &mut changes);
    }
    changes
}

pub(super) fn destroy(tree: &mut Tree, flavour: Flavour, domid: u32) -> Vec<Change> {
    let mut changes = Vec::new();
    let _ = carry_out(
        &NodeOp::Rm(home(domid)),
        TOOLSTACK,
        flavour,
        tree,
        &mut changes,
    );
    changes
}

const fn perm(access: Access, domid: u32) -> Permission {
    Permission { access, domid }
}

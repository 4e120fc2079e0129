//! All or nothing, and conflicts.

use nova_agent_core::wire::{Op, TxId, payload};
use nova_agent_tests::client::Client;

use super::{World, home, on_every_store, outcome, refused, shown};

on_every_store! {
    a_commit_makes_everything_visible_at_once,
    an_abort_leaves_no_trace,
    a_transaction_sees_its_own_changes,
    events_come_with_the_commit,
    a_failed_write_does_not_poison_the_commit,
    a_changed_node_that_was_read_is_a_conflict,
    a_changed_list_that_was_read_is_a_conflict,
    a_node_that_was_found_absent_and_then_created,
    a_conflict_in_a_transaction_that_only_read,
    blind_writes_to_the_same_node,
    different_children_of_one_parent,
    changes_elsewhere_are_no_conflict,
    unknown_transactions_are_refused,
    a_transaction_inside_a_transaction_is_refused,
    a_transaction_ends_with_t_or_f,
}

fn a_commit_makes_everything_visible_at_once(world: &mut World) {
    let World { guest, dom0, .. } = world;
    guest.write("data/old", "x").unwrap();
    let mut transaction = guest.transaction().unwrap();
    transaction.write("data/a/b", "1").unwrap();
    transaction.mkdir("data/c").unwrap();
    transaction.rm("data/old").unwrap();
    refused(dom0.read(&home("data/a/b")), "ENOENT");
    assert_eq!(dom0.read(&home("data/old")).unwrap(), b"x");
    transaction.commit().unwrap();
    assert_eq!(dom0.read(&home("data/a/b")).unwrap(), b"1");
    let mut children = dom0.list(&home("data")).unwrap();
    children.sort();
    assert_eq!(children, ["a", "c"]);
}

fn an_abort_leaves_no_trace(world: &mut World) {
    let mut transaction = world.guest.transaction().unwrap();
    transaction.write("data/a", "1").unwrap();
    transaction.abort().unwrap();
    refused(world.guest.read("data/a"), "ENOENT");
}

fn a_transaction_sees_its_own_changes(world: &mut World) {
    let mut transaction = world.guest.transaction().unwrap();
    transaction.write("data/a", "1").unwrap();
    transaction.write("data/a", "2").unwrap();
    assert_eq!(transaction.read("data/a").unwrap(), b"2");
    assert_eq!(transaction.list("data").unwrap(), ["a"]);
    transaction.rm("data/a").unwrap();
    refused(transaction.read("data/a"), "ENOENT");
    transaction.write("data/a", "3").unwrap();
    transaction.commit().unwrap();
    assert_eq!(world.guest.read("data/a").unwrap(), b"3");
}

fn events_come_with_the_commit(world: &mut World) {
    let World { guest, .. } = world;
    guest.watch("data", "t").unwrap();
    guest.events_so_far().unwrap();
    let mut transaction = guest.transaction().unwrap();
    transaction.write("data/a", "1").unwrap();
    transaction.write("data/a", "2").unwrap();
    transaction.write("data/b", "1").unwrap();
    assert_eq!(transaction.events_so_far().unwrap(), []);
    transaction.commit().unwrap();
    let mut events = shown(guest.events_so_far().unwrap());
    events.sort();
    let (once, twice): (&[&str], &[&str]) = (
        &["data/a t", "data/b t"],
        &["data/a t", "data/a t", "data/b t"],
    );
    assert_eq!(events, world.differs(once, twice));
}

fn a_failed_write_does_not_poison_the_commit(world: &mut World) {
    let mut transaction = world.guest.transaction().unwrap();
    transaction.write("data/a", "1").unwrap();
    refused(transaction.write("name", "evil"), "EACCES");
    transaction.commit().unwrap();
    assert_eq!(world.guest.read("data/a").unwrap(), b"1");
}

fn a_changed_node_that_was_read_is_a_conflict(world: &mut World) {
    world.guest.write("data/a", "1").unwrap();
    let result = meanwhile(
        world,
        |transaction| drop(transaction.read("data/a").unwrap()),
        |dom0| dom0.write(&home("data/a"), "2").unwrap(),
        |transaction| transaction.write("data/b", "x").unwrap(),
    );
    assert_eq!(result, "EAGAIN");
    refused(world.guest.read("data/b"), "ENOENT");
}

fn a_changed_list_that_was_read_is_a_conflict(world: &mut World) {
    let result = meanwhile(
        world,
        |transaction| drop(transaction.list("data").unwrap()),
        |dom0| dom0.write(&home("data/new"), "").unwrap(),
        |transaction| transaction.write("attr/b", "x").unwrap(),
    );
    assert_eq!(result, "EAGAIN");
}

fn a_node_that_was_found_absent_and_then_created(world: &mut World) {
    let result = meanwhile(
        world,
        |transaction| refused(transaction.read("data/a"), "ENOENT"),
        |dom0| dom0.write(&home("data/a"), "").unwrap(),
        |transaction| transaction.write("attr/b", "x").unwrap(),
    );
    assert_eq!(result, world.differs("EAGAIN", "OK"));
}

fn a_conflict_in_a_transaction_that_only_read(world: &mut World) {
    world.guest.write("data/a", "1").unwrap();
    let result = meanwhile(
        world,
        |transaction| drop(transaction.read("data/a").unwrap()),
        |dom0| dom0.write(&home("data/a"), "2").unwrap(),
        |_| {},
    );
    assert_eq!(result, world.differs("EAGAIN", "OK"));
}

fn blind_writes_to_the_same_node(world: &mut World) {
    world.guest.write("data/a", "1").unwrap();
    let result = meanwhile(
        world,
        |transaction| transaction.write("data/a", "2").unwrap(),
        |dom0| dom0.write(&home("data/a"), "3").unwrap(),
        |_| {},
    );
    assert_eq!(result, world.differs("EAGAIN", "OK"));
    assert_eq!(
        world.guest.read("data/a").unwrap(),
        world.differs(b"3", b"2")
    );
}

fn different_children_of_one_parent(world: &mut World) {
    let result = meanwhile(
        world,
        |transaction| transaction.write("data/a", "").unwrap(),
        |dom0| dom0.write(&home("data/b"), "").unwrap(),
        |_| {},
    );
    assert_eq!(result, world.differs("EAGAIN", "OK"));
}

fn changes_elsewhere_are_no_conflict(world: &mut World) {
    world.guest.write("data/a", "1").unwrap();
    let result = meanwhile(
        world,
        |transaction| drop(transaction.read("data/a").unwrap()),
        |dom0| dom0.write("/test/x", "").unwrap(),
        |transaction| transaction.write("data/b", "x").unwrap(),
    );
    assert_eq!(result, "OK");
    assert_eq!(world.guest.read("data/b").unwrap(), b"x");
}

fn unknown_transactions_are_refused(world: &mut World) {
    let expected = world.differs("ENOENT", "EIO");
    assert_eq!(raw(&mut world.guest, Op::Read, 4711, b"domid\0"), expected);
    assert_eq!(
        raw(&mut world.guest, Op::TransactionEnd, 4711, b"T\0"),
        expected
    );
    assert_eq!(
        raw(&mut world.guest, Op::TransactionEnd, 0, b"T\0"),
        "ENOENT"
    );
    world.guest.transaction().unwrap().commit().unwrap();
    let id = start(&mut world.guest);
    assert_eq!(raw(&mut world.guest, Op::TransactionEnd, id, b"T\0"), "OK");
    assert_eq!(
        raw(&mut world.guest, Op::TransactionEnd, id, b"T\0"),
        expected
    );
}

fn a_transaction_inside_a_transaction_is_refused(world: &mut World) {
    let id = start(&mut world.guest);
    assert_eq!(
        raw(&mut world.guest, Op::TransactionStart, id, b"\0"),
        "EBUSY"
    );
}

fn a_transaction_ends_with_t_or_f(world: &mut World) {
    let id = start(&mut world.guest);
    for end in [b"X\0".as_slice(), b"\0"] {
        assert_eq!(raw(&mut world.guest, Op::TransactionEnd, id, end), "EINVAL");
    }
    // It is still open.
    assert_eq!(raw(&mut world.guest, Op::TransactionEnd, id, b"F\0"), "OK");
    let id = start(&mut world.guest);
    assert_eq!(
        raw(&mut world.guest, Op::TransactionEnd, id, b"T"),
        world.differs("EINVAL", "OK")
    );
}

/// Commits a transaction of the guest, in the middle of which dom0 does something.
fn meanwhile(
    world: &mut World,
    before: impl FnOnce(&mut Client),
    dom0: impl FnOnce(&mut Client),
    after: impl FnOnce(&mut Client),
) -> String {
    let mut transaction = world.guest.transaction().unwrap();
    before(&mut transaction);
    dom0(&mut world.dom0);
    after(&mut transaction);
    outcome(transaction.commit())
}

fn start(client: &mut Client) -> u32 {
    payload::parse_number(
        &client
            .call(Op::TransactionStart, payload::no_arguments())
            .unwrap(),
    )
    .unwrap()
}

fn raw(client: &mut Client, op: Op, tx_id: u32, payload: &[u8]) -> String {
    let reply = client
        .exchange(op.raw(), TxId(tx_id), payload.into())
        .unwrap();
    assert_eq!(reply.tx_id, TxId(tx_id));
    match reply.op() {
        Some(Op::Error) => payload::parse_error(&reply.payload).unwrap().to_string(),
        _ => "OK".into(),
    }
}

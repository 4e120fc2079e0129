//! Who may do what.

use nova_agent_core::wire::Op;

use super::{DOMID, World, home, on_every_store, perms, refused};

on_every_store! {
    a_guest_may_not_change_what_the_toolstack_owns,
    a_guest_may_do_everything_below_its_data,
    a_guest_sees_nothing_of_others,
    what_dom0_creates_belongs_to_the_owner_of_its_parent,
    new_nodes_inherit_the_permissions_of_their_parent,
    only_the_owner_sets_permissions,
    a_guest_cannot_give_a_node_away,
    an_unreadable_child_goes_with_its_parent_only,
    data_once_removed_cannot_be_created_again,
    operations_of_dom0_are_refused_to_a_guest,
}

fn a_guest_may_not_change_what_the_toolstack_owns(world: &mut World) {
    for path in ["name", "domid", "memory/target", "new", "cpu/new"] {
        refused(world.guest.write(path, "evil"), "EACCES");
        refused(world.guest.mkdir(path), "EACCES");
    }
    refused(world.guest.rm("name"), "EACCES");
    refused(world.guest.mkdir("/new"), "EACCES");
    let missing = world.guest.rm("missing");
    match world.differs(false, true) {
        true => missing.unwrap(),
        false => refused(missing, "EACCES"),
    }
    assert_eq!(world.guest.read("name").unwrap(), b"guest-7");
}

fn a_guest_may_do_everything_below_its_data(world: &mut World) {
    for path in [
        "data/x",
        "attr/x",
        "control/x",
        "vm-data/x",
        "xenserver/attr/x",
    ] {
        world.guest.write(path, "value").unwrap();
        world.guest.rm(path).unwrap();
    }
    world.dom0.write(&home("data/host/1"), "request").unwrap();
    world.guest.rm("data/host/1").unwrap();
}

fn a_guest_sees_nothing_of_others(world: &mut World) {
    world.dom0.write("/test/secret", "x").unwrap();
    refused(world.guest.read("/test/secret"), "EACCES");
    refused(world.guest.list("/test"), "EACCES");
    refused(
        world.guest.read("/test/missing"),
        world.differs("EACCES", "ENOENT"),
    );
    refused(world.guest.write("/test/secret", "evil"), "EACCES");
    refused(world.guest.write("/test/new", "evil"), "EACCES");
}

fn what_dom0_creates_belongs_to_the_owner_of_its_parent(world: &mut World) {
    world.dom0.write(&home("data/host/1"), "request").unwrap();
    assert_eq!(world.guest.perms("data/host").unwrap(), perms(&["n7"]));
    assert_eq!(world.guest.perms("data/host/1").unwrap(), perms(&["n7"]));
    world.dom0.write("/test/x", "").unwrap();
    assert_eq!(world.dom0.perms("/test/x").unwrap()[0].domid, 0);
}

fn new_nodes_inherit_the_permissions_of_their_parent(world: &mut World) {
    world.guest.write("data/a", "").unwrap();
    world
        .guest
        .set_perms("data/a", &perms(&["n7", "r3"]))
        .unwrap();
    world.guest.write("data/a/b", "").unwrap();
    assert_eq!(world.guest.perms("data/a/b").unwrap(), perms(&["n7", "r3"]));
    // Below a node of dom0 that the guest may write, the daemons do not agree on who owns what it creates.
    world.dom0.mkdir("/test/shared").unwrap();
    world
        .dom0
        .set_perms("/test/shared", &perms(&["n0", "b7"]))
        .unwrap();
    world.guest.write("/test/shared/mine", "").unwrap();
    assert_eq!(
        world.guest.perms("/test/shared/mine").unwrap(),
        perms(&[world.differs("n7", "n0"), "b7"])
    );
}

fn only_the_owner_sets_permissions(world: &mut World) {
    world
        .dom0
        .write(&home("vm-data/hostname"), "web-1")
        .unwrap();
    world
        .dom0
        .set_perms(&home("vm-data/hostname"), &perms(&["n0", "r7"]))
        .unwrap();
    assert_eq!(world.guest.read("vm-data/hostname").unwrap(), b"web-1");
    refused(world.guest.write("vm-data/hostname", "evil"), "EACCES");
    refused(
        world.guest.set_perms("vm-data/hostname", &perms(&["b7"])),
        "EACCES",
    );
    world
        .dom0
        .set_perms(&home("vm-data/hostname"), &perms(&["n0", "b7"]))
        .unwrap();
    world.guest.write("vm-data/hostname", "web-2").unwrap();
    refused(
        world
            .guest
            .set_perms("vm-data/hostname", &perms(&["n0", "b7"])),
        "EACCES",
    );
}

fn a_guest_cannot_give_a_node_away(world: &mut World) {
    world.guest.write("data/x", "").unwrap();
    refused(
        world.guest.set_perms("data/x", &perms(&["n3"])),
        world.differs("EPERM", "EACCES"),
    );
    assert_eq!(world.guest.perms("data/x").unwrap()[0].domid, DOMID);
    let many = perms(&["n7", "r1", "r2", "r3", "r4", "r5"]);
    world.guest.set_perms("data/x", &many[..5]).unwrap();
    let too_many = world.guest.set_perms("data/x", &many);
    match world.differs(false, true) {
        true => too_many.unwrap(),
        false => refused(too_many, "ENOSPC"),
    }
}

fn an_unreadable_child_goes_with_its_parent_only(world: &mut World) {
    world.dom0.write(&home("data/host/1"), "request").unwrap();
    world
        .dom0
        .set_perms(&home("data/host/1"), &perms(&["n0"]))
        .unwrap();
    refused(world.guest.read("data/host/1"), "EACCES");
    refused(world.guest.rm("data/host/1"), "EACCES");
    world.guest.rm("data/host").unwrap();
    refused(world.dom0.read(&home("data/host/1")), "ENOENT");
}

fn data_once_removed_cannot_be_created_again(world: &mut World) {
    world.guest.rm("data").unwrap();
    refused(world.guest.mkdir("data"), "EACCES");
    refused(world.guest.write("data/guest/1", "x"), "EACCES");
}

fn operations_of_dom0_are_refused_to_a_guest(world: &mut World) {
    for (op, payload) in [
        (Op::Introduce, b"9\x001\x001\0".as_slice()),
        (Op::Release, b"9\0"),
        (Op::IsDomainIntroduced, b"9\0"),
        (Op::Resume, b"9\0"),
        (Op::SetTarget, b"9\x003\0"),
    ] {
        refused(world.guest.call(op, payload.into()), "EACCES");
    }
}

//! Nodes, values and children.

use nova_agent_core::wire::{Op, payload};
use nova_agent_tests::xenstored::Flavour;

use super::{World, home, on_every_store, refused};

on_every_store! {
    a_new_store_is_not_empty,
    a_value_is_read_back_as_it_was_written,
    an_empty_value_is_a_value,
    writing_creates_missing_parents_with_empty_values,
    making_a_directory_keeps_the_value_of_one_that_exists,
    removing_takes_everything_below,
    removing_what_is_not_there_succeeds_below_an_existing_parent,
    children_are_listed_in_the_daemons_order,
    a_list_that_one_reply_cannot_hold_comes_in_parts_or_not_at_all,
    relative_paths_start_at_the_callers_home,
    the_tree_of_a_domain_is_what_xapi_builds,
    a_missing_node_is_not_found,
    the_home_of_a_domain_is_told_to_everybody,
}

fn a_new_store_is_not_empty(world: &mut World) {
    let mut children = world.dom0.list("/").unwrap();
    children.sort();
    let expected: &[&str] = match world.flavour {
        Flavour::C => &["local", "tool"],
        Flavour::Oxen => &["@introduceDomain", "@releaseDomain", "local", "tool"],
    };
    assert_eq!(children, expected);
    assert_eq!(world.dom0.list("/tool").unwrap(), ["xenstored"]);
}

fn a_value_is_read_back_as_it_was_written(world: &mut World) {
    let all_bytes: Vec<u8> = (0..=255).collect();
    for value in [
        b"text".as_slice(),
        b"trailing NUL\0",
        b"\0",
        b"\"\\\n\xff",
        &all_bytes,
    ] {
        world.guest.write("data/x", value).unwrap();
        assert_eq!(world.guest.read("data/x").unwrap(), value);
        assert_eq!(world.dom0.read(&home("data/x")).unwrap(), value);
        world.dom0.write("/test/x", value).unwrap();
        assert_eq!(world.dom0.read("/test/x").unwrap(), value);
    }
}

fn an_empty_value_is_a_value(world: &mut World) {
    world.guest.write("data/x", "full").unwrap();
    world.guest.write("data/x", "").unwrap();
    assert_eq!(world.guest.read("data/x").unwrap(), b"");
}

fn writing_creates_missing_parents_with_empty_values(world: &mut World) {
    world.guest.write("data/a/b/c", "value").unwrap();
    assert_eq!(world.guest.read("data/a/b").unwrap(), b"");
    assert_eq!(world.guest.list("data/a").unwrap(), ["b"]);
    assert_eq!(world.guest.list("data/a/b/c").unwrap(), [""; 0]);
    world.dom0.mkdir("/test/a/b").unwrap();
    assert_eq!(world.dom0.read("/test/a").unwrap(), b"");
}

fn making_a_directory_keeps_the_value_of_one_that_exists(world: &mut World) {
    world.guest.write("data/a", "value").unwrap();
    world.guest.mkdir("data/a").unwrap();
    assert_eq!(world.guest.read("data/a").unwrap(), b"value");
}

fn removing_takes_everything_below(world: &mut World) {
    world.guest.write("data/a/b/c", "value").unwrap();
    world.guest.rm("data/a").unwrap();
    for path in ["data/a", "data/a/b", "data/a/b/c"] {
        refused(world.guest.read(path), "ENOENT");
    }
    assert_eq!(world.guest.list("data").unwrap(), [""; 0]);
}

fn removing_what_is_not_there_succeeds_below_an_existing_parent(world: &mut World) {
    world.guest.rm("data/nothing").unwrap();
    world.dom0.rm(&home("data/nothing")).unwrap();
    refused(world.guest.rm("data/nothing/below"), "ENOENT");
    refused(world.dom0.rm(&home("data/nothing/below")), "ENOENT");
}

fn children_are_listed_in_the_daemons_order(world: &mut World) {
    for name in ["m", "z", "a"] {
        world.guest.write(&format!("data/{name}"), "").unwrap();
    }
    assert_eq!(
        world.guest.list("data").unwrap(),
        world.differs(["m", "z", "a"], ["a", "m", "z"])
    );
}

fn a_list_that_one_reply_cannot_hold_comes_in_parts_or_not_at_all(world: &mut World) {
    let names: Vec<String> = (0..400)
        .map(|n| format!("{n:08}-0000-4000-8000-000000000000"))
        .collect();
    for name in &names {
        world.dom0.write(&format!("/test/{name}"), "").unwrap();
    }
    let in_parts = world.dom0.list_in_parts("/test");
    let in_one = world.dom0.list("/test");
    match world.flavour {
        Flavour::C => {
            assert_eq!(in_parts.unwrap(), names);
            refused(in_one, "E2BIG");
            assert_eq!(
                world
                    .dom0
                    .list_in_parts("/test/00000000-0000-4000-8000-000000000000")
                    .unwrap(),
                [""; 0]
            );
            let past_the_end = world
                .dom0
                .call(Op::DirectoryPart, b"/test\0999999\0".into())
                .unwrap();
            let part = payload::parse_directory_part(&past_the_end, 999_999).unwrap();
            assert_eq!((part.names.len(), part.next_offset), (0, None));
        }
        Flavour::Oxen => {
            refused(in_parts, "ENOSYS");
            assert_eq!(in_one.unwrap(), names);
        }
    }
}

fn relative_paths_start_at_the_callers_home(world: &mut World) {
    world.guest.write("data/x", "guest").unwrap();
    assert_eq!(world.guest.read(&home("data/x")).unwrap(), b"guest");
    world.dom0.write("data/x", "dom0").unwrap();
    assert_eq!(world.dom0.read("/local/domain/0/data/x").unwrap(), b"dom0");
}

fn the_tree_of_a_domain_is_what_xapi_builds(world: &mut World) {
    let mut children = world.guest.list(home("").trim_end_matches('/')).unwrap();
    children.sort();
    let expected = [
        "attr",
        "control",
        "cpu",
        "data",
        "device",
        "domid",
        "drivers",
        "error",
        "feature",
        "hvmloader",
        "memory",
        "messages",
        "name",
        "rrd",
        "unique-domain-id",
        "vm",
        "vm-data",
        "xenserver",
    ];
    assert_eq!(children, expected);
    assert_eq!(world.guest.read("domid").unwrap(), b"7");
    assert_eq!(world.guest.read("name").unwrap(), b"guest-7");
    assert_eq!(world.guest.read("memory/target").unwrap(), b"1048576");
    assert_eq!(world.guest.read("unique-domain-id").unwrap().len(), 36);
}

fn a_missing_node_is_not_found(world: &mut World) {
    refused(world.guest.read("data/nothing"), "ENOENT");
    refused(world.guest.list("data/nothing"), "ENOENT");
    refused(world.guest.perms("data/nothing"), "ENOENT");
    refused(world.dom0.read("/nothing/at/all"), "ENOENT");
}

fn the_home_of_a_domain_is_told_to_everybody(world: &mut World) {
    for client in [&mut world.guest, &mut world.dom0] {
        assert_eq!(
            client.call(Op::GetDomainPath, b"3\0".into()).unwrap(),
            b"/local/domain/3\0"
        );
        assert_eq!(
            client.call(Op::GetDomainPath, b"garbage\0".into()).unwrap(),
            b"/local/domain/0\0"
        );
    }
}

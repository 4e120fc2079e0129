//! What fires, for whom, and in which order.

use std::time::{Duration, Instant};

use nova_agent_core::wire::{Op, payload};
use nova_agent_tests::client::{Client, Error, REPLY_TIMEOUT};
use nova_agent_tests::xenstored::Flavour;

use super::{World, home, on_every_store, perms, refused, shown};

on_every_store! {
    a_new_watch_fires_once,
    every_change_at_or_below_fires,
    a_change_that_is_none_does_not_fire,
    an_event_crosses_from_host_to_guest,
    a_relative_watch_has_relative_events,
    an_absolute_watch_has_absolute_events,
    removing_a_subtree_fires_once_above_and_inside,
    parents_that_are_created_on_the_way_fire_nothing_of_their_own,
    two_watches_on_one_node_fire_twice,
    a_watch_survives_its_node,
    what_cannot_be_read_is_watched_in_vain,
    domains_coming_and_going_are_seen_by_dom0,
    an_unwatched_path_is_silent,
    the_same_watch_twice_is_refused,
    an_own_write_and_its_event_have_an_order,
    watches_go_with_their_connection,
}

fn a_new_watch_fires_once(world: &mut World) {
    for client in [&mut world.guest, &mut world.dom0] {
        client.watch("data/host", "token").unwrap();
        assert_eq!(settled(client), ["data/host token"]);
    }
}

fn every_change_at_or_below_fires(world: &mut World) {
    let guest = &mut world.guest;
    guest.watch("data", "t").unwrap();
    settled(guest);
    for _ in 0..2 {
        guest.write("data/x", "same").unwrap();
        assert_eq!(settled(guest), ["data/x t"]);
    }
    guest.mkdir("data/y").unwrap();
    assert_eq!(settled(guest), ["data/y t"]);
    guest.set_perms("data/y", &perms(&["n7", "r3"])).unwrap();
    assert_eq!(settled(guest), ["data/y t"]);
    guest.rm("data/x").unwrap();
    assert_eq!(settled(guest), ["data/x t"]);
    guest.write("data", "itself").unwrap();
    assert_eq!(settled(guest), ["data t"]);
}

fn a_change_that_is_none_does_not_fire(world: &mut World) {
    let guest = &mut world.guest;
    guest.write("data/x", "").unwrap();
    guest.watch("data", "t").unwrap();
    guest.watch("data/ho", "sibling").unwrap();
    settled(guest);
    guest.mkdir("data/x").unwrap();
    guest.rm("data/nothing").unwrap();
    guest.read("data/x").unwrap();
    refused(guest.write("name", "evil"), "EACCES");
    assert_eq!(settled(guest), [""; 0]);
    guest.write("data/host", "").unwrap();
    assert_eq!(settled(guest), ["data/host t"]);
}

fn an_event_crosses_from_host_to_guest(world: &mut World) {
    world.guest.watch("data/host", "req").unwrap();
    settled(&mut world.guest);
    world
        .dom0
        .write(&home("data/host/8b3e"), "request")
        .unwrap();
    assert_eq!(next(&mut world.guest), "data/host/8b3e req");
    world.dom0.watch(&home("data/guest"), "answer").unwrap();
    settled(&mut world.dom0);
    world.guest.write("data/guest/8b3e", "response").unwrap();
    assert_eq!(
        next(&mut world.dom0),
        "/local/domain/7/data/guest/8b3e answer"
    );
}

fn a_relative_watch_has_relative_events(world: &mut World) {
    world.guest.watch("data", "t").unwrap();
    settled(&mut world.guest);
    world.guest.write(&home("data/x"), "").unwrap();
    assert_eq!(settled(&mut world.guest), ["data/x t"]);
}

fn an_absolute_watch_has_absolute_events(world: &mut World) {
    world.guest.watch(&home("data"), "t").unwrap();
    assert_eq!(settled(&mut world.guest), ["/local/domain/7/data t"]);
    world.guest.write("data/x", "").unwrap();
    assert_eq!(settled(&mut world.guest), ["/local/domain/7/data/x t"]);
    world.dom0.watch("/", "root").unwrap();
    assert_eq!(settled(&mut world.dom0), ["/ root"]);
    world.dom0.write("/test/x", "").unwrap();
    assert_eq!(settled(&mut world.dom0), ["/test/x root"]);
}

fn removing_a_subtree_fires_once_above_and_inside(world: &mut World) {
    let guest = &mut world.guest;
    guest.write("data/a/b/c", "").unwrap();
    guest.watch("data", "above").unwrap();
    guest.watch("data/a/b", "inside").unwrap();
    guest.watch("data/a/missing", "absent").unwrap();
    settled(guest);
    guest.rm("data/a").unwrap();
    let mut events = settled(guest);
    events.sort();
    let expected: &[&str] = match world.flavour {
        Flavour::C => &["data/a above", "data/a/b inside"],
        Flavour::Oxen => &["data/a above", "data/a/b inside", "data/a/missing absent"],
    };
    assert_eq!(events, expected);
}

fn parents_that_are_created_on_the_way_fire_nothing_of_their_own(world: &mut World) {
    world.guest.watch("data", "t").unwrap();
    settled(&mut world.guest);
    world.guest.write("data/a/b/c", "").unwrap();
    assert_eq!(settled(&mut world.guest), ["data/a/b/c t"]);
}

fn two_watches_on_one_node_fire_twice(world: &mut World) {
    let guest = &mut world.guest;
    guest.watch("data", "one").unwrap();
    guest.watch("data", "two").unwrap();
    guest.watch("data/x", "three").unwrap();
    settled(guest);
    guest.write("data/x", "").unwrap();
    let mut events = settled(guest);
    events.sort();
    assert_eq!(events, ["data/x one", "data/x three", "data/x two"]);
}

fn a_watch_survives_its_node(world: &mut World) {
    let guest = &mut world.guest;
    guest.watch("data/host", "t").unwrap();
    settled(guest);
    for _ in 0..2 {
        guest.write("data/host/1", "").unwrap();
        assert_eq!(settled(guest), ["data/host/1 t"]);
        guest.rm("data/host").unwrap();
        assert_eq!(settled(guest), ["data/host t"]);
    }
}

fn what_cannot_be_read_is_watched_in_vain(world: &mut World) {
    world.dom0.write("/test/secret", "").unwrap();
    for path in ["/test", "@releaseDomain", "@introduceDomain"] {
        world.guest.watch(path, "t").unwrap();
        assert_eq!(settled(&mut world.guest), [format!("{path} t")]);
    }
    world.dom0.write("/test/secret", "x").unwrap();
    world.store.guest_socket(8).unwrap();
    assert_eq!(settled(&mut world.guest), [""; 0]);
}

fn domains_coming_and_going_are_seen_by_dom0(world: &mut World) {
    world.dom0.watch("@introduceDomain", "in").unwrap();
    world.dom0.watch("@releaseDomain", "out").unwrap();
    settled(&mut world.dom0);
    world.store.guest_socket(8).unwrap();
    assert_eq!(next(&mut world.dom0), "@introduceDomain in");
    world.dom0.call(Op::Release, payload::number(8)).unwrap();
    assert_eq!(next(&mut world.dom0), "@releaseDomain out");
}

fn an_unwatched_path_is_silent(world: &mut World) {
    let guest = &mut world.guest;
    guest.watch("data", "t").unwrap();
    settled(guest);
    refused(guest.unwatch("data", "other"), "ENOENT");
    refused(guest.unwatch("attr", "t"), "ENOENT");
    guest.unwatch("data", "t").unwrap();
    refused(guest.unwatch("data", "t"), "ENOENT");
    guest.write("data/x", "").unwrap();
    assert_eq!(settled(guest), [""; 0]);
}

fn the_same_watch_twice_is_refused(world: &mut World) {
    world.guest.watch("data", "t").unwrap();
    refused(world.guest.watch("data", "t"), "EEXIST");
    // It is the same node.
    refused(world.guest.watch(&home("data"), "t"), "EEXIST");
    world.guest.watch("data", "u").unwrap();
    world
        .guest
        .call(Op::ResetWatches, payload::no_arguments())
        .unwrap();
    world.guest.watch("data", "t").unwrap();
}

fn an_own_write_and_its_event_have_an_order(world: &mut World) {
    world.guest.watch("data", "t").unwrap();
    settled(&mut world.guest);
    let write = [
        [Op::Write.raw(), 1, 0, 7].map(u32::to_le_bytes).concat(),
        b"data/x\0".into(),
    ]
    .concat();
    world.guest.send_bytes(&write).unwrap();
    let kinds = [(); 2].map(|()| {
        world
            .guest
            .receive(Instant::now() + REPLY_TIMEOUT)
            .unwrap()
            .op()
            .unwrap()
    });
    assert_eq!(
        kinds,
        world.differs([Op::WatchEvent, Op::Write], [Op::Write, Op::WatchEvent])
    );
}

fn watches_go_with_their_connection(world: &mut World) {
    let mut other = world.another_dom0();
    other.watch("/test", "t").unwrap();
    drop(other);
    let mut other = world.another_dom0();
    other.watch("/test", "t").unwrap();
    settled(&mut other);
    world.dom0.write("/test/x", "").unwrap();
    assert_eq!(next(&mut other), "/test/x t");
    let more = other.event(Duration::from_millis(50));
    assert!(matches!(more, Err(Error::TimedOut)), "{more:?}");
}

/// Everything that what this client did has led to.
fn settled(client: &mut Client) -> Vec<String> {
    shown(client.events_so_far().unwrap())
}

/// The next event of what somebody else did.
fn next(client: &mut Client) -> String {
    shown(vec![client.event(REPLY_TIMEOUT).unwrap()]).remove(0)
}

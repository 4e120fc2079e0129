//! What a guest may use up, and how it is told.

use nova_agent_core::wire::{Op, payload};
use nova_agent_tests::client::Client;

use super::{World, home, on_every_store, outcome, perms, refused};

/// An answer as short as they come.
const RESPONSE: &str = r#"{"returncode": "0", "message": ""}"#;

on_every_store! {
    a_value_has_a_largest_size,
    stale_responses_fill_the_store,
    removing_the_responses_frees_what_they_took,
    the_host_may_post_when_the_guest_has_used_up_everything,
    watches_are_limited,
    transactions_are_limited,
    dom0_is_not_limited,
}

fn a_value_has_a_largest_size(world: &mut World) {
    let max = world.differs(2015, 2048);
    let too_large = world.differs("ENOSPC", "E2BIG");
    world.guest.write("data/x", vec![b'x'; max]).unwrap();
    refused(world.guest.write("data/x", vec![b'x'; max + 1]), too_large);
    refused(
        world.guest.write("data/new", vec![b'x'; max + 1]),
        too_large,
    );
    refused(world.guest.read("data/new"), "ENOENT");
    // Every entry of permissions takes 8 bytes of the same record in C.
    world.guest.write("data/x", vec![b'x'; max - 8]).unwrap();
    world
        .guest
        .set_perms("data/x", &perms(&["n7", "r3"]))
        .unwrap();
    world.guest.write("data/x", vec![b'x'; max - 8]).unwrap();
    assert_eq!(
        outcome(world.guest.write("data/x", vec![b'x'; max - 7])),
        world.differs("ENOSPC", "OK")
    );
}

fn stale_responses_fill_the_store(world: &mut World) {
    let mut first_unlisted = None;
    let (nth, error) = fill(world, |nth, guest| {
        if first_unlisted.is_none() && outcome(guest.list("data/guest")) == "E2BIG" {
            first_unlisted = Some(nth);
        }
    });
    // In C the names no longer fit the record of their parent; in oxenstored the guest owns 1,000 nodes.
    assert_eq!(
        (nth, error.as_str()),
        world.differs((55, "ENOSPC"), (988, "EQUOTA"))
    );
    assert_eq!(first_unlisted, world.differs(None, Some(111)));
    // What is there can still be written, and other directories as well, unless no node is left at all.
    world
        .guest
        .write(&format!("data/guest/{}", id(1)), RESPONSE)
        .unwrap();
    assert_eq!(
        outcome(world.guest.write("data/other", "")),
        world.differs("OK", "EQUOTA")
    );
}

fn removing_the_responses_frees_what_they_took(world: &mut World) {
    fill(world, |_, _| {});
    world.guest.rm(&format!("data/guest/{}", id(1))).unwrap();
    world
        .guest
        .write(&format!("data/guest/{}", id(0)), RESPONSE)
        .unwrap();
    world.guest.rm("data/guest").unwrap();
    for nth in 1..=50 {
        world
            .guest
            .write(&format!("data/guest/{}", id(nth)), RESPONSE)
            .unwrap();
    }
}

fn the_host_may_post_when_the_guest_has_used_up_everything(world: &mut World) {
    fill(world, |_, _| {});
    world.dom0.write(&home("data/host/1"), "request").unwrap();
    assert_eq!(world.guest.read("data/host/1").unwrap(), b"request");
    world.guest.rm("data/host/1").unwrap();
}

fn watches_are_limited(world: &mut World) {
    let accepted = (0..200)
        .take_while(|n| outcome(world.guest.watch(&format!("data/{n}"), "t")) == "OK")
        .count();
    assert_eq!(accepted, world.differs(129, 101));
    refused(
        world.guest.watch("data/more", "t"),
        world.differs("E2BIG", "EQUOTA"),
    );
    world.guest.unwatch("data/0", "t").unwrap();
    world.guest.watch("data/more", "t").unwrap();
}

fn transactions_are_limited(world: &mut World) {
    let start =
        |guest: &mut Client| outcome(guest.call(Op::TransactionStart, payload::no_arguments()));
    let accepted = (0..20)
        .take_while(|_| start(&mut world.guest) == "OK")
        .count();
    assert_eq!(accepted, 11);
    assert_eq!(start(&mut world.guest), world.differs("ENOSPC", "EQUOTA"));
}

fn dom0_is_not_limited(world: &mut World) {
    for nth in 0..1100 {
        world.dom0.write(&format!("/test/{}", id(nth)), "").unwrap();
    }
    for nth in 0..200 {
        world.dom0.watch(&format!("/test/{nth}"), "t").unwrap();
    }
    let large = world.dom0.write("/test/x", vec![b'x'; 4000]);
    assert_eq!(outcome(large), world.differs("OK", "E2BIG"));
}

/// Writes responses until one is refused. Returns which one, and how.
fn fill(world: &mut World, mut after_each: impl FnMut(usize, &mut Client)) -> (usize, String) {
    for nth in 1..1200 {
        let result = outcome(
            world
                .guest
                .write(&format!("data/guest/{}", id(nth)), RESPONSE),
        );
        if result != "OK" {
            return (nth, result);
        }
        after_each(nth, &mut world.guest);
    }
    panic!("1,200 responses were accepted");
}

fn id(nth: usize) -> String {
    format!("{nth:08}-6f1c-4d52-9d6e-2f0f5b1c7a11")
}

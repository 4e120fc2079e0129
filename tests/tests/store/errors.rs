//! Requests that are refused before anybody asks who sent them.

use std::time::Instant;

use nova_agent_core::wire::{Op, PAYLOAD_MAX, TxId};
use nova_agent_tests::client::{Client, Error, REPLY_TIMEOUT};
use nova_agent_tests::xenstored::Flavour;

use super::{World, home, on_every_store, outcome, refused};

on_every_store! {
    bad_paths_are_invalid,
    special_names_are_nodes_of_oxenstored_only,
    paths_have_a_longest_length,
    malformed_payloads_are_invalid,
    unknown_operations_are_not_implemented,
    request_ids_are_echoed,
    an_oversize_request_ends_a_socket_connection,
    requests_may_arrive_in_any_pieces,
}

fn bad_paths_are_invalid(world: &mut World) {
    for path in ["", "a b", "data//x", "data/x/", "//", "d\u{e9}", "data/a.b"] {
        let payload = [path.as_bytes(), b"\0"].concat();
        for op in [
            Op::Read,
            Op::Directory,
            Op::GetPerms,
            Op::Mkdir,
            Op::Rm,
            Op::Write,
        ] {
            for client in [&mut world.guest, &mut world.dom0] {
                assert_eq!(
                    outcome(client.call(op, payload.clone())),
                    "EINVAL",
                    "{op:?} of {path:?}"
                );
            }
        }
    }
}

fn special_names_are_nodes_of_oxenstored_only(world: &mut World) {
    let refusal = world.differs("EINVAL", "ENOENT");
    for op in [Op::Read, Op::Directory, Op::GetPerms] {
        for client in [&mut world.guest, &mut world.dom0] {
            assert_eq!(outcome(client.call(op, b"@nothing\0".into())), refusal);
        }
    }
    assert_eq!(
        outcome(world.dom0.read("@releaseDomain")),
        world.differs("EINVAL", "OK")
    );
}

fn paths_have_a_longest_length(world: &mut World) {
    let max = world.differs(2048, 1024);
    let path = |prefix: &str, len: usize| {
        [prefix, &"x".repeat(len - prefix.len()), "\0"]
            .concat()
            .into_bytes()
    };
    // A name that long is no part of a guest's tree yet.
    assert_eq!(
        outcome(world.guest.call(Op::Read, path("data/", max))),
        "ENOENT"
    );
    assert_eq!(
        outcome(world.guest.call(Op::Read, path("data/", max + 1))),
        "EINVAL"
    );
    assert_eq!(outcome(world.dom0.call(Op::Read, path("/", max))), "ENOENT");
    assert_eq!(
        outcome(world.dom0.call(Op::Read, path("/", max + 1))),
        "EINVAL"
    );
    // The home does not count.
    let home = home("");
    assert_eq!(
        outcome(world.dom0.call(Op::Read, path(&home, max + home.len()))),
        "ENOENT"
    );
    assert_eq!(
        outcome(world.dom0.call(Op::Read, path(&home, max + home.len() + 1))),
        "EINVAL"
    );
}

fn malformed_payloads_are_invalid(world: &mut World) {
    for client in [&mut world.guest, &mut world.dom0] {
        let unterminated = outcome(client.call(Op::Read, b"data".into()));
        // C answers what its last system call left behind.
        let expected: &[&str] = match world.flavour {
            Flavour::C => &["EACCES", "EINVAL", "ENOENT", "ENOMEM"],
            Flavour::Oxen => &["EINVAL"],
        };
        assert!(expected.contains(&unterminated.as_str()), "{unterminated}");
        assert_eq!(outcome(client.call(Op::Write, b"data".into())), "EINVAL");
        assert_eq!(
            outcome(client.call(Op::SetPerms, b"data\0".into())),
            "EINVAL"
        );
        assert_eq!(
            outcome(client.call(Op::SetPerms, b"data\0x7\0".into())),
            "EINVAL"
        );
        assert_eq!(
            outcome(client.call(Op::Watch, b"data\0token\0depth\0".into())),
            "EINVAL"
        );
        assert_eq!(outcome(client.call(Op::Watch, b"data\0".into())), "EINVAL");
        assert_eq!(
            outcome(client.call(Op::Watch, b"a b\0token\0".into())),
            "EINVAL"
        );
        assert_eq!(
            outcome(client.call(Op::Unwatch, b"a b\0token\0".into())),
            "ENOENT"
        );
    }
}

fn unknown_operations_are_not_implemented(world: &mut World) {
    for kind in [15, 16, 20, 23, 24, 25, 26, 27, 99, 0xffff] {
        for client in [&mut world.guest, &mut world.dom0] {
            let reply = client.exchange(kind, TxId::NONE, b"data\0".into()).unwrap();
            assert_eq!(
                (reply.op(), reply.payload.as_slice()),
                (Some(Op::Error), b"ENOSYS\0".as_slice()),
                "{kind}"
            );
        }
    }
}

fn request_ids_are_echoed(world: &mut World) {
    // The client compares every id; these are the unusual ones.
    for req_id in [0, 0xdead_beef, u32::MAX] {
        world
            .guest
            .send_bytes(&request(req_id, b"domid\0"))
            .unwrap();
        let reply = world.guest.receive(Instant::now() + REPLY_TIMEOUT).unwrap();
        assert_eq!(
            (reply.req_id.0, reply.tx_id, reply.payload.as_slice()),
            (req_id, TxId::NONE, b"7".as_slice())
        );
    }
}

fn an_oversize_request_ends_a_socket_connection(world: &mut World) {
    let header = [
        Op::Read.raw(),
        1,
        0,
        u32::try_from(PAYLOAD_MAX).unwrap() + 1,
    ]
    .map(u32::to_le_bytes)
    .concat();
    let mut client = world.another_dom0();
    client
        .send_bytes(&[header, vec![b'x'; PAYLOAD_MAX + 1]].concat())
        .unwrap();
    let end = client.receive(Instant::now() + REPLY_TIMEOUT);
    // oxenstored reads it as something else and refuses that.
    match world.differs(true, false) {
        true => assert!(matches!(end, Err(Error::Closed)), "{end:?}"),
        false => assert!(end.is_err() || end.is_ok_and(|reply| reply.op() == Some(Op::Error))),
    }
    assert_eq!(world.dom0.read(&home("domid")).unwrap(), b"7");
}

fn requests_may_arrive_in_any_pieces(world: &mut World) {
    let messages: Vec<u8> = (1..=3).flat_map(|id| request(id, b"domid\0")).collect();
    for size in [1, 5, 16, 17, messages.len()] {
        for piece in messages.chunks(size) {
            world.guest.send_bytes(piece).unwrap();
        }
        let ids = [(); 3].map(|()| receive_id(&mut world.guest));
        assert_eq!(ids, [1, 2, 3]);
    }
    refused(world.guest.read("data/nothing"), "ENOENT");
}

fn request(req_id: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    [
        [Op::Read.raw(), req_id, 0, len]
            .map(u32::to_le_bytes)
            .concat(),
        payload.into(),
    ]
    .concat()
}

fn receive_id(client: &mut Client) -> u32 {
    client
        .receive(Instant::now() + REPLY_TIMEOUT)
        .unwrap()
        .req_id
        .0
}

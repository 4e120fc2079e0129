//! The store in memory, as simulated worlds use it.

use std::collections::BTreeMap;
use std::iter;

use nova_agent_core::wire::{
    Message, Op, PAYLOAD_MAX, ReqId, StorePath, Token, TransactionEnd, TxId, payload,
};

use super::{ConnId, Flavour, Peer, Store};

#[test]
fn a_world_of_host_and_guest_needs_no_sockets() {
    let mut world = World::new(Flavour::Oxen);
    world.watch(world.guest, "data/host");
    world.write(world.dom0, "/local/domain/5/data/host/1", "request");
    assert_eq!(world.events(world.guest), ["data/host", "data/host/1"]);
    assert_eq!(world.read(world.guest, "data/host/1"), "request");
}

#[test]
fn bytes_may_be_split_anywhere() {
    let mut world = World::new(Flavour::C);
    let path = StorePath::constant("domid");
    let request = Message::new(Op::Read, ReqId(9), TxId::NONE, payload::path(&path))
        .encode()
        .unwrap();
    for cut in 0..=request.len() {
        let (front, back) = request.split_at(cut);
        world.store.handle_bytes(world.guest, front);
        world.store.handle_bytes(world.guest, back);
        let reply = Message::new(Op::Read, ReqId(9), TxId::NONE, b"5".into());
        assert_eq!(world.store.poll_bytes(world.guest), reply.encode().ok());
        assert_eq!(world.store.poll_bytes(world.guest), None);
    }
}

#[test]
fn an_oversize_request_silences_a_guest_and_disconnects_a_socket() {
    let mut world = World::new(Flavour::C);
    let header = [
        Op::Read.raw(),
        1,
        0,
        u32::try_from(PAYLOAD_MAX).unwrap() + 1,
    ]
    .map(u32::to_le_bytes)
    .concat();
    world.store.handle_bytes(world.guest, &header);
    world.store.handle_bytes(world.dom0, &header);
    assert!(world.store.is_connected(world.guest));
    assert!(!world.store.is_connected(world.dom0));
    let request = Message::new(Op::Read, ReqId(1), TxId::NONE, b"domid\0".into())
        .encode()
        .unwrap();
    world.store.handle_bytes(world.guest, &request);
    assert_eq!(world.store.poll_message(world.guest), None);
}

#[test]
fn a_restored_domain_has_a_new_number_and_an_empty_mailbox() {
    let mut world = World::new(Flavour::Oxen);
    let guest = world.guest;
    for path in ["data/host", "vm-data", "/local/domain/5/data"] {
        world.watch(guest, path);
    }
    world.write(guest, "data/guest/1", "response");
    world.write(
        world.dom0,
        "/local/domain/5/vm-data/networking/AABBCCDDEEFF",
        "{}",
    );
    world.write(world.dom0, "/local/domain/5/vm-data/hostname", "web-1");
    let identity = world.read(guest, "unique-domain-id");
    let aborted = world
        .call(
            guest,
            Op::TransactionStart,
            TxId::NONE,
            payload::no_arguments(),
        )
        .unwrap();
    let committed = world
        .call(
            guest,
            Op::TransactionStart,
            TxId::NONE,
            payload::no_arguments(),
        )
        .unwrap();
    world.events(guest);

    world.store.restore_domain(5, 6);

    assert_eq!(
        world.events(guest),
        ["data/host", "vm-data", "/local/domain/5/data"]
    );
    assert_eq!(world.read(guest, "domid"), "6");
    assert_eq!(world.read(guest, "name"), "guest-5");
    assert_ne!(world.read(guest, "unique-domain-id"), identity);
    assert_eq!(world.read(guest, "vm-data/networking/AABBCCDDEEFF"), "{}");
    assert_eq!(world.read(guest, "vm-data/hostname"), "web-1");
    assert_eq!(
        world
            .call(guest, Op::Directory, TxId::NONE, b"data\0".into())
            .unwrap(),
        b""
    );
    assert_eq!(
        world.call(
            world.dom0,
            Op::Read,
            TxId::NONE,
            b"/local/domain/5/name\0".into()
        ),
        Err("ENOENT".into())
    );
    for (started, end, result) in [
        (aborted, TransactionEnd::Abort, Ok(b"OK\0".to_vec())),
        (committed, TransactionEnd::Commit, Err("EAGAIN".into())),
    ] {
        let tx_id = TxId(payload::parse_number(&started).unwrap());
        assert_eq!(
            world.call(
                guest,
                Op::TransactionEnd,
                tx_id,
                payload::transaction_end(end)
            ),
            result
        );
    }

    world.write(world.dom0, "/local/domain/6/data/host/2", "request");
    assert_eq!(world.events(guest), ["data/host/2"]);
}

#[test]
fn a_removed_domain_takes_its_connections_along() {
    let mut world = World::new(Flavour::C);
    world.watch(world.dom0, "@releaseDomain");
    world.events(world.dom0);
    world.store.remove_domain(5);
    assert!(!world.store.is_connected(world.guest));
    assert_eq!(world.events(world.dom0), ["@releaseDomain"]);
    assert_eq!(
        world.call(
            world.dom0,
            Op::Read,
            TxId::NONE,
            b"/local/domain/5/name\0".into()
        ),
        Err("ENOENT".into())
    );
}

#[test]
fn quotas_of_a_domain_count_all_its_connections() {
    let mut world = World::new(Flavour::Oxen);
    let other = world.store.connect(Peer::Guest(5));
    for n in 0..101 {
        world.watch(
            if n % 2 == 0 { world.guest } else { other },
            &format!("data/{n}"),
        );
    }
    let one_more = payload::watch(&StorePath::constant("data"), &Token::try_from("t").unwrap());
    assert_eq!(
        world.call(other, Op::Watch, TxId::NONE, one_more.clone()),
        Err("EQUOTA".into())
    );
    world.store.disconnect(world.guest);
    assert_eq!(
        world.call(other, Op::Watch, TxId::NONE, one_more),
        Ok(b"OK\0".into())
    );
}

#[test]
fn the_same_calls_lead_to_the_same_store() {
    let run = || {
        let mut world = World::new(Flavour::C);
        world.store.restore_domain(5, 6);
        world.read(world.guest, "unique-domain-id")
    };
    assert_eq!(run(), run());
}

struct World {
    store: Store,
    dom0: ConnId,
    guest: ConnId,
    /// Paths of events that were polled, but not yet asked for.
    events: BTreeMap<ConnId, Vec<String>>,
}

impl World {
    fn new(flavour: Flavour) -> Self {
        let mut store = Store::new(flavour);
        store.add_domain(5);
        let (dom0, guest) = (store.connect(Peer::Dom0), store.connect(Peer::Guest(5)));
        Self {
            store,
            dom0,
            guest,
            events: BTreeMap::new(),
        }
    }

    fn watch(&mut self, conn: ConnId, path: &str) {
        let payload = payload::watch(
            &StorePath::try_from(path).unwrap(),
            &Token::try_from("t").unwrap(),
        );
        self.call(conn, Op::Watch, TxId::NONE, payload).unwrap();
    }

    fn write(&mut self, conn: ConnId, path: &str, value: &str) {
        let payload = payload::write(&StorePath::try_from(path).unwrap(), value.as_bytes());
        self.call(conn, Op::Write, TxId::NONE, payload).unwrap();
    }

    fn read(&mut self, conn: ConnId, path: &str) -> String {
        let payload = payload::path(&StorePath::try_from(path).unwrap());
        String::from_utf8(self.call(conn, Op::Read, TxId::NONE, payload).unwrap()).unwrap()
    }

    /// The reply to one request; events stay queued.
    fn call(
        &mut self,
        conn: ConnId,
        op: Op,
        tx_id: TxId,
        payload: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        self.collect(conn);
        self.store
            .handle_message(conn, Message::new(op, ReqId(1), tx_id, payload));
        let replies = self.collect(conn);
        let [reply] = &replies[..] else {
            panic!("{replies:?}")
        };
        match reply.op() {
            Some(Op::Error) => Err(String::from_utf8_lossy(&reply.payload)
                .trim_end_matches('\0')
                .into()),
            _ => Ok(reply.payload.clone()),
        }
    }

    /// The paths of all queued events.
    fn events(&mut self, conn: ConnId) -> Vec<String> {
        self.collect(conn);
        self.events.remove(&conn).unwrap_or_default()
    }

    /// Takes what is queued: events are kept, the rest is returned.
    fn collect(&mut self, conn: ConnId) -> Vec<Message> {
        let mut others = Vec::new();
        for message in iter::from_fn(|| self.store.poll_message(conn)) {
            if message.op() == Some(Op::WatchEvent) {
                let event = payload::parse_watch(&message.payload).unwrap();
                self.events
                    .entry(conn)
                    .or_default()
                    .push(event.path.to_string());
            } else {
                others.push(message);
            }
        }
        others
    }
}

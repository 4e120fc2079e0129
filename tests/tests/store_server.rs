//! The embedded store behind its sockets, and the real guests' devices.
#![deny(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation fails the test"
)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use nova_agent_core::wire::{Op, TxId};
use nova_agent_tests::client::{Client, Error, REPLY_TIMEOUT};
use nova_agent_tests::real::{Daemon, Device, GuestOptions, Kernel, RealStore};
use nova_agent_tests::xenstored::{Flavour, Server};

#[test]
fn hundreds_of_clients_are_served_at_once() {
    const GUESTS: u32 = 300;

    let (server, dir) = start();
    let mut guests: Vec<Client> = Vec::new();
    for domid in 1..=GUESTS {
        let mut guest = Client::connect(server.add_guest(domid).unwrap()).unwrap();
        guest.watch("data/host", "t").unwrap();
        guest.event(REPLY_TIMEOUT).unwrap();
        guests.push(guest);
    }
    let mut dom0 = Client::connect(dir.path().join("socket")).unwrap();
    for domid in 1..=GUESTS {
        dom0.write(
            &format!("/local/domain/{domid}/data/host/r"),
            domid.to_string(),
        )
        .unwrap();
    }
    for (domid, guest) in (1..=GUESTS).zip(&mut guests) {
        assert_eq!(
            guest.event(REPLY_TIMEOUT).unwrap().path.as_str(),
            "data/host/r"
        );
        assert_eq!(guest.read_text("data/host/r").unwrap(), domid.to_string());
    }
}

#[test]
fn a_client_that_never_reads_holds_nobody_up() {
    let (_server, dir) = start();
    let mut lazy = Client::connect(dir.path().join("socket")).unwrap();
    let mut busy = Client::connect(dir.path().join("socket")).unwrap();
    lazy.watch("/test", "t").unwrap();
    for n in 0..20_000 {
        busy.write("/test/x", n.to_string()).unwrap();
    }
    // The first ones wait in the sockets, the others in the store.
    for _ in 0..20_001 {
        lazy.event(REPLY_TIMEOUT).unwrap();
    }
    assert_eq!(lazy.read("/test/x").unwrap(), b"19999");
}

#[test]
fn a_domain_is_restored_behind_its_socket() {
    let (server, dir) = start();
    let socket = server.add_guest(7).unwrap();
    let mut guest = Client::connect(&socket).unwrap();
    guest.watch("data/host", "t").unwrap();
    guest.event(REPLY_TIMEOUT).unwrap();
    server.restore_guest(7, 8).unwrap();
    assert_eq!(
        guest.event(REPLY_TIMEOUT).unwrap().path.as_str(),
        "data/host"
    );
    assert_eq!(guest.read("domid").unwrap(), b"8");
    assert_eq!(
        Client::connect(&socket).unwrap().read("domid").unwrap(),
        b"8"
    );
    let mut dom0 = Client::connect(dir.path().join("socket")).unwrap();
    dom0.write("/local/domain/8/data/host/1", "x").unwrap();
    assert_eq!(
        guest.event(REPLY_TIMEOUT).unwrap().path.as_str(),
        "data/host/1"
    );
}

#[test]
fn closed_connections_can_be_opened_again() {
    let (server, dir) = start();
    let socket = dir.path().join("socket");
    let mut client = Client::connect(&socket).unwrap();
    client.write("/test/x", "kept").unwrap();
    server.close_connections().unwrap();
    assert!(matches!(client.read("/test/x"), Err(Error::Closed)));
    assert_eq!(
        Client::connect(&socket).unwrap().read("/test/x").unwrap(),
        b"kept"
    );
    let mut guest = Client::connect(server.add_guest(7).unwrap()).unwrap();
    server.remove_guest(7).unwrap();
    assert!(matches!(guest.read("domid"), Err(Error::Closed)));
    assert!(!dir.path().join("guest.7").exists());
}

#[test]
fn the_program_serves_the_guests_it_is_told_of() {
    let dir = tempfile::Builder::new()
        .prefix("xs")
        .tempdir_in("/tmp")
        .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_nova-xenstored"))
        .arg(dir.path())
        .args(["--flavour", "o", "--guest", "7", "--guest", "9"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let replies = ["guest.7", "guest.9"].map(|name| {
        Client::connect(dir.path().join(name)).and_then(|mut guest| guest.read_text("domid"))
    });
    let mut dom0 = Client::connect(dir.path().join("socket")).unwrap();
    let is_oxen = dom0
        .exchange(Op::DirectoryPart.raw(), TxId::NONE, b"/\x000\0".into())
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(line, "ready\n");
    assert_eq!(replies.map(Result::unwrap), ["7", "9"]);
    assert_eq!(is_oxen.payload, b"ENOSYS\0");
}

#[test]
fn a_real_guest_on_the_device_is_restored() {
    for daemon in [Daemon::C, Daemon::Oxen] {
        let store = RealStore::start(daemon).unwrap();
        let guest = store.guest(7, GuestOptions::default()).unwrap();
        let mut client = Client::connect(guest.socket()).unwrap();
        client.watch("data/host", "t").unwrap();
        client.event(REPLY_TIMEOUT).unwrap();
        guest.restore().unwrap();
        assert_eq!(
            client.event(REPLY_TIMEOUT).unwrap().path.as_str(),
            "data/host"
        );
        assert_eq!(client.read("domid").unwrap(), b"8");
        drop(guest);
        let mut dom0 = Client::connect(store.dom0_socket()).unwrap();
        assert_eq!(
            dom0.read("/local/domain/8/name")
                .unwrap_err()
                .name()
                .unwrap()
                .as_str(),
            "ENOENT"
        );
    }
}

#[test]
fn a_real_guest_with_an_old_kernel_gets_foreign_request_ids() {
    let store = RealStore::start(Daemon::C).unwrap();
    let options = GuestOptions {
        device: Device::Linux,
        kernel: Kernel::V4_12,
    };
    let guest = store.guest(7, options).unwrap();
    let mut client = Client::connect(guest.socket()).unwrap();
    let request = [
        [Op::Read.raw(), 5000, 0, 6].map(u32::to_le_bytes).concat(),
        b"domid\0".into(),
    ]
    .concat();
    client.send_bytes(&request).unwrap();
    let reply = client.receive(Instant::now() + REPLY_TIMEOUT).unwrap();
    assert_eq!(reply.payload, b"7");
    assert_ne!(reply.req_id.0, 5000);
}

fn start() -> (Server, tempfile::TempDir) {
    let dir = tempfile::Builder::new()
        .prefix("xs")
        .tempdir_in("/tmp")
        .unwrap();
    let server = Server::start(dir.path(), Flavour::C).unwrap();
    (server, dir)
}

use super::*;
use crate::client::{Client, Error};
use crate::stores::{RunningStore, StoreKind};

fn proxied() -> (RunningStore, Proxy) {
    let store = StoreKind::EmbeddedC.start().unwrap();
    let proxy = Proxy::start(&store.dom0_socket());
    (store, proxy)
}

#[test]
fn bytes_pass_one_by_one_and_messages_are_kept() {
    let (_store, proxy) = proxied();
    proxy.dribble();
    proxy.record();
    let mut client = Client::connect(proxy.socket()).unwrap();
    client.write("/a", "value").unwrap();
    assert_eq!(client.read("/a").unwrap(), b"value");
    let senders: Vec<Sender> = proxy
        .recorded(4, PATIENCE)
        .into_iter()
        .map(|(sender, _)| sender)
        .collect();
    assert_eq!(
        senders,
        [Sender::Agent, Sender::Store, Sender::Agent, Sender::Store]
    );
    assert_eq!((proxy.count(), proxy.connections()), (4, 1));
}

#[test]
fn a_cut_breaks_the_connection_within_the_message() {
    let (_store, proxy) = proxied();
    let mut client = Client::connect(proxy.socket()).unwrap();
    // The first WRITE passes, the second one does not reach the store.
    proxy.set_fault(2, Fault::Cut);
    client.write("/a", "1").unwrap();
    assert!(matches!(
        client.write("/a", "2"),
        Err(Error::Closed | Error::Io(_))
    ));
    let mut client = Client::connect(proxy.socket()).unwrap();
    assert_eq!(client.read("/a").unwrap(), b"1");
    assert!(!proxy.clear_faults());
}

#[test]
fn a_stall_lasts_until_it_is_ended_and_loses_nothing() {
    let (_store, proxy) = proxied();
    proxy.set_fault(1, Fault::Stall);
    let client = thread::spawn({
        let socket = proxy.socket();
        move || Client::connect(socket).unwrap().write("/a", "1")
    });
    proxy.wait_for_stall();
    thread::sleep(Duration::from_millis(50));
    assert!(!client.is_finished());
    proxy.resume();
    client.join().unwrap().unwrap();
}

#[test]
fn bytes_that_are_held_back_fill_the_senders_buffer_although_they_are_answered() {
    let (_store, proxy) = proxied();
    let stream = UnixStream::connect(proxy.socket()).unwrap();
    // As little as the kernel grants.
    rustix::net::sockopt::set_socket_send_buffer_size(&stream, 0).unwrap();
    proxy.hold_back();
    let writer = thread::spawn(move || {
        let mut client = Client::new(stream);
        (0..100).for_each(|nth| client.write("/a", nth.to_string()).unwrap());
    });
    let is_stuck = || {
        let before = proxy.count();
        thread::sleep(Duration::from_millis(50));
        proxy.count() == before && before > 0
    };
    while !is_stuck() {
        assert!(!writer.is_finished());
    }
    proxy.resume();
    writer.join().unwrap();
    assert_eq!(proxy.count(), 200);
}

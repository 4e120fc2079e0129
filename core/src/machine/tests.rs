//! The connection. What goes over it is tested where it is decided.

use alloc::vec::Vec;

use super::*;
use crate::agent::READY_TIMEOUT;
use crate::store::REPLY_TIMEOUT;
use crate::wire::{DEVICE_PAYLOAD_MAX, Decoder, Message, Op};

const START: Instant = Instant::from_origin(Duration::from_secs(50));

/// Drains the machine; the last output is `Wait` or `Exit`.
fn drain(machine: &mut Machine) -> Vec<Output> {
    let mut outputs = Vec::new();
    loop {
        let output = machine.poll_output();
        let last = matches!(output, Output::Wait(_) | Output::Exit);
        outputs.push(output);
        if last {
            return outputs;
        }
        assert!(outputs.len() < 1000, "the machine never comes to rest");
    }
}

fn deadline(outputs: &[Output]) -> Instant {
    match outputs.last() {
        Some(Output::Wait(Some(at))) => *at,
        other => panic!("no deadline: {other:?}"),
    }
}

fn transmitted(outputs: &[Output]) -> Vec<Message> {
    let mut messages = Vec::new();
    for output in outputs {
        if let Output::Transmit(bytes) = output {
            let mut bytes = bytes.as_slice();
            messages.push(
                Decoder::new(DEVICE_PAYLOAD_MAX)
                    .decode(&mut bytes)
                    .unwrap()
                    .unwrap(),
            );
            assert!(bytes.is_empty());
        }
    }
    messages
}

fn reply_to(request: &Message, payload: &[u8]) -> Vec<u8> {
    Message {
        payload: payload.into(),
        ..request.clone()
    }
    .encode()
    .unwrap()
}

fn connected() -> (Machine, Message) {
    let mut machine = Machine::new(Config::default());
    assert_eq!(drain(&mut machine), [Output::Connect, Output::Wait(None)]);
    machine.handle_connected(START);
    let mut messages = transmitted(&drain(&mut machine));
    (machine, messages.remove(0))
}

#[test]
fn a_connection_begins_with_the_watch() {
    let (_, watch) = connected();
    assert_eq!(
        (watch.op(), watch.payload.as_slice()),
        (Some(Op::Watch), b"data/host\0nova-agent\0".as_slice())
    );
}

#[test]
fn polling_again_returns_the_same_wait() {
    let (mut machine, _) = connected();
    let Output::Wait(first) = machine.poll_output() else {
        panic!("not at rest")
    };
    assert_eq!(machine.poll_output(), Output::Wait(first));
}

#[test]
fn the_pause_between_tries_grows_to_its_limit_and_ends_with_success() {
    let mut machine = Machine::new(Config::default());
    // By then the agent no longer waits for the store to say that it is ready.
    machine.handle_closed(START, "no such file");
    let mut now = START.after(READY_TIMEOUT);
    machine.handle_timeout(now);
    let mut pauses = Vec::from([RETRY_MIN]);
    for _ in 0..12 {
        assert!(drain(&mut machine).contains(&Output::Connect));
        machine.handle_closed(now, "no such file");
        let next = deadline(&drain(&mut machine));
        pauses.push(next.since(now));
        // Too early: nothing happens.
        machine.handle_timeout(now);
        assert_eq!(drain(&mut machine), [Output::Wait(Some(next))]);
        now = next;
        machine.handle_timeout(now);
    }
    assert_eq!(pauses[..3], [RETRY_MIN, RETRY_MIN * 2, RETRY_MIN * 4]);
    assert_eq!(pauses.last(), Some(&RETRY_MAX));

    drain(&mut machine);
    machine.handle_connected(now);
    for reply in [b"OK\0".as_slice(), b"", b""] {
        let request = transmitted(&drain(&mut machine)).remove(0);
        machine
            .handle_bytes(now, &reply_to(&request, reply))
            .unwrap();
    }
    drain(&mut machine);
    machine.handle_closed(now, "end of file");
    assert_eq!(deadline(&drain(&mut machine)), now.after(RETRY_MIN));
}

#[test]
fn the_same_reason_is_reported_once_until_the_store_has_answered() {
    let reports = |outputs: &[Output]| {
        outputs
            .iter()
            .filter(|output| matches!(output, Output::Report(_)))
            .count()
    };
    let mut machine = Machine::new(Config::default());
    let mut now = START;
    for (reason, expected) in [
        ("no such file", 1),
        ("no such file", 0),
        ("permission denied", 1),
        ("no such file", 1),
    ] {
        drain(&mut machine);
        machine.handle_closed(now, reason);
        let outputs = drain(&mut machine);
        assert_eq!(reports(&outputs), expected, "{reason}");
        now = deadline(&outputs);
        machine.handle_timeout(now);
    }
    drain(&mut machine);
    machine.handle_connected(now);
    let watch = transmitted(&drain(&mut machine)).remove(0);
    machine
        .handle_bytes(now, &reply_to(&watch, b"OK\0"))
        .unwrap();
    assert!(drain(&mut machine).contains(&Output::Report(Report::Connected)));
    machine.handle_closed(now, "no such file");
    assert_eq!(reports(&drain(&mut machine)), 1);
}

#[test]
fn a_stream_that_cannot_be_trusted_is_closed_and_opened_again() {
    let (mut machine, _) = connected();
    machine.handle_bytes(START, &[0xff; 16]).unwrap();
    let outputs = drain(&mut machine);
    assert!(outputs.contains(&Output::Disconnect), "{outputs:?}");
    assert_eq!(machine.handle_bytes(START, b"x"), Err(Misuse::NotConnected));
    machine.handle_timeout(START.after(RETRY_MIN));
    assert!(drain(&mut machine).contains(&Output::Connect));
}

#[test]
fn a_store_that_does_not_answer_is_given_up() {
    let (mut machine, _) = connected();
    let at = START.after(REPLY_TIMEOUT);
    machine.handle_timeout(at);
    assert!(drain(&mut machine).contains(&Output::Disconnect));
}

#[test]
fn time_that_goes_backwards_does_not_shorten_the_time_for_an_answer() {
    let (mut machine, watch) = connected();
    machine
        .handle_bytes(Instant::default(), &reply_to(&watch, b"OK\0"))
        .unwrap();
    assert_eq!(transmitted(&drain(&mut machine)).len(), 1);
    machine.handle_timeout(START.after(Duration::from_secs(1)));
    assert_eq!(deadline(&drain(&mut machine)), START.after(REPLY_TIMEOUT));
}

#[test]
fn a_closed_connection_takes_what_was_not_written_with_it() {
    let mut machine = Machine::new(Config::default());
    machine.handle_connected(START);
    machine.handle_closed(START, "end of file");
    let outputs = drain(&mut machine);
    assert_eq!(transmitted(&outputs), []);
    // Told a second time: nothing new.
    machine.handle_closed(START, "end of file");
    assert!(matches!(
        drain(&mut machine).as_slice(),
        [Output::Wait(Some(_))]
    ));
}

#[test]
fn after_the_exit_nothing_happens_any_more() {
    let (mut machine, watch) = connected();
    machine.handle_terminate(START);
    assert_eq!(drain(&mut machine).last(), Some(&Output::Exit));
    let _refused = machine.handle_bytes(START, &reply_to(&watch, b"OK\0"));
    machine.handle_closed(START, "end of file");
    machine.handle_timeout(START.after(Duration::from_secs(1000)));
    machine.handle_connected(START.after(Duration::from_secs(1000)));
    machine.handle_terminate(START);
    assert_eq!(drain(&mut machine), [Output::Exit]);
}

#[test]
fn a_store_that_breaks_off_after_its_first_answer_is_tried_less_and_less_often() {
    let mut machine = Machine::new(Config::default());
    let mut now = START;
    let mut pauses = Vec::new();
    for _ in 0..4 {
        assert_eq!(drain(&mut machine).first(), Some(&Output::Connect));
        machine.handle_connected(now);
        let watch = transmitted(&drain(&mut machine)).remove(0);
        machine
            .handle_bytes(now, &reply_to(&watch, b"OK\0"))
            .unwrap();
        drain(&mut machine);
        machine.handle_bytes(now, &[0xff; 16]).unwrap();
        let next = deadline(&drain(&mut machine));
        pauses.push(next.since(now));
        now = next;
        machine.handle_timeout(now);
    }
    assert_eq!(
        pauses,
        [RETRY_MIN, RETRY_MIN * 2, RETRY_MIN * 4, RETRY_MIN * 8]
    );
}

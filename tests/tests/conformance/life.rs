//! Start and end, of the agent, of its store and of its domain.

use std::thread;
use std::time::{Duration, Instant};

use nova_agent_tests::agent::{Answer, Rig};
use nova_agent_tests::host::Server;
use nova_agent_tests::real::{Device, GuestOptions, Kernel};

use super::{
    DOMAINS, EMBEDDED, EVERYWHERE, REAL, VERSION, everywhere, on, on_then, on_with, secret,
};
use crate::RUNTIME;

/// Shorter than the time that an agent waits for what it has in hand, and long on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(20);

const RESET_NETWORK: &str = r#"{"name": "resetnetwork", "value": ""}"#;

#[test]
fn an_idle_agent_leaves_at_once_when_told_to() {
    everywhere(|rig| {
        rig.host().version().unwrap();
        let start = Instant::now();
        let agent = rig.agent();
        agent.terminate();
        assert_eq!(agent.wait().code(), Some(0));
        let took = start.elapsed();
        assert!(took < AT_ONCE, "it took {took:?}");
        assert!(agent.log().contains(" stopping"), "{}", agent.log());
    });
}

/// `signal-hook` publishes what a signal is to do only after the kernel knows its handler. A signal in between was lost,
/// and a service manager waited for an agent that went on serving.
#[test]
fn a_signal_in_the_instant_in_which_its_handler_is_installed_is_heard() {
    on_with(&EMBEDDED, |rig| {
        rig.signal_at_start();
        let agent = rig.launch_agent();
        assert_eq!(agent.wait().code(), Some(0), "{}", agent.log());
        assert!(agent.log().contains(" stopping"), "{}", agent.log());
    });
}

#[test]
fn what_is_in_hand_is_finished_and_answered_before_the_agent_leaves() {
    everywhere(|rig| {
        begin_slow_reset(rig, "slow");
        rig.post_as("behind", RESET_NETWORK);
        rig.host().version().unwrap();
        rig.agent().terminate();
        rig.agent().wait_for_line(" stopping");
        assert!(rig.agent().is_running());
        rig.sandbox().release();
        assert_eq!(rig.agent().wait().code(), Some(0));
        assert_eq!(rig.answer_to("slow"), Answer::new("0", ""));
        assert_eq!(
            rig.list("data/host"),
            ["behind"],
            "what waits, waits in the store"
        );

        rig.start_agent();
        assert_eq!(rig.answer_to("behind"), Answer::new("0", ""));
    });
}

#[test]
fn nobody_is_answered_who_does_not_wait_any_more() {
    on_then(
        &EVERYWHERE,
        |rig| {
            rig.start_agent();
            begin_slow_reset(rig, "given-up");
            let path = rig.host().path("data/host/given-up");
            rig.host().client().rm(&path).unwrap();
            // Only what took longer than a second is looked for again.
            thread::sleep(Duration::from_millis(1100));
            rig.sandbox().release();
            rig.agent().wait_for_line("given-up: withdrawn by the host");
            rig.host().version().unwrap();
        },
        |seen| assert!(!seen.contains_key("given-up")),
    );
}

#[test]
fn a_second_agent_names_the_first_and_leaves() {
    on(&[DOMAINS[0], DOMAINS[2]], |rig| {
        let first = rig.agent().id();
        let mut second = rig.second_agent();
        assert_eq!(second.wait().code(), Some(1));
        let log = second.log();
        assert!(
            log.contains(&format!(
                "another nova-agent runs already: process {first} holds"
            )),
            "{log}"
        );
        assert_eq!(
            rig.host().version().unwrap(),
            env!("CARGO_PKG_VERSION"),
            "the first one does not mind"
        );
        rig.agent().kill();
        rig.start_agent();
        rig.host().version().unwrap();
    });
}

#[test]
fn a_command_line_that_cannot_be_meant_is_refused() {
    on_then(
        &EMBEDDED[..1],
        |rig| {
            rig.add_argument("--no-such-flag");
            let mut agent = rig.second_agent();
            assert_eq!(agent.wait().code(), Some(2));
            assert!(agent.log().contains("--no-such-flag"), "{}", agent.log());
        },
        |_| (),
    );
}

#[test]
fn an_agent_waits_for_a_store_that_is_not_there_yet() {
    on_then(
        &EMBEDDED,
        |rig| {
            rig.replace_store(|rig| {
                rig.launch_agent().wait_for_line("no Xenstore");
            });
            rig.agent().wait_until_ready();
            rig.host().version().unwrap();
        },
        |_| (),
    );
}

#[test]
fn a_store_that_comes_back_with_its_nodes_finds_the_agent_again() {
    on(&EMBEDDED, |rig| {
        let exchange = rig.host().exchange_keys().unwrap();
        for _ in 0..3 {
            rig.close_connections();
            rig.host().version().unwrap();
        }
        rig.host()
            .send_password(exchange, &secret("across connections"))
            .unwrap();
        rig.wait_until("every request is removed", |rig| {
            rig.list("data/host").is_empty()
        });
    });
}

#[test]
fn a_store_that_comes_back_empty_finds_the_agent_again() {
    on(&EMBEDDED, |rig| {
        rig.host().version().unwrap();
        rig.replace_store(|rig| {
            rig.agent().wait_for_line("no Xenstore");
        });
        // Nothing but a watch tells the agent of these.
        for _ in 0..3 {
            rig.host().version().unwrap();
        }
    });
}

#[test]
fn a_real_daemon_that_is_started_again_finds_the_agent_again() {
    on(&EVERYWHERE[6..], |rig| {
        for _ in 0..2 {
            rig.host().version().unwrap();
            rig.restart_daemon();
            rig.host().version().unwrap();
        }
    });
}

#[test]
fn a_restart_of_the_store_while_a_command_runs_loses_no_answer() {
    on_then(
        &EMBEDDED,
        |rig| {
            rig.start_agent();
            begin_slow_reset(rig, "slow");
            rig.close_connections();
            rig.host().version().unwrap();
            rig.sandbox().release();
            assert_eq!(rig.answer_to("slow"), Answer::new("0", ""));
            rig.wait_until("every request is removed", |rig| {
                rig.list("data/host").is_empty()
            });
        },
        |seen| assert_eq!(seen["slow"].writes(), 1),
    );
}

#[test]
fn a_restored_domain_is_served_under_its_new_number() {
    on(&DOMAINS, |rig| {
        rig.host().version().unwrap();
        let exchange = rig.host().exchange_keys().unwrap();
        rig.restore();
        for _ in 0..3 {
            rig.host().version().unwrap();
        }
        rig.host()
            .send_password(exchange, &secret("carried along"))
            .unwrap();
        assert!(rig.agent().is_running());
        rig.wait_until("every request is removed", |rig| {
            rig.list("data/host").is_empty()
        });
    });
}

#[test]
fn a_domain_that_is_restored_while_a_command_runs_is_served_afterwards() {
    on_then(
        &DOMAINS,
        |rig| {
            rig.start_agent();
            begin_slow_reset(rig, "slow");
            rig.restore();
            thread::sleep(Duration::from_millis(1100));
            rig.sandbox().release();
            rig.agent().wait_for_line("slow: withdrawn by the host");
            rig.host().version().unwrap();
        },
        |seen| {
            assert!(
                !seen.contains_key("slow"),
                "the new domain knows nothing of the request"
            )
        },
    );
}

#[test]
fn every_kernel_and_device_will_do() {
    let (device, plain) = (Device::Linux, Device::Plain);
    let options = [
        GuestOptions {
            device,
            kernel: Kernel::V4_12,
        },
        GuestOptions {
            device,
            kernel: Kernel::V4_16,
        },
        GuestOptions {
            device,
            kernel: Kernel::V6_1,
        },
        GuestOptions {
            device: plain,
            kernel: Kernel::V6_1,
        },
    ];
    let both = |options: GuestOptions| REAL.map(|place| (place.store, options));
    thread::scope(|scope| {
        for (kind, options) in options.into_iter().flat_map(both) {
            let one = move || {
                let mut rig = Rig::with(RUNTIME, kind, options);
                rig.post_as("early", VERSION);
                rig.start_agent();
                assert_eq!(rig.answer_to("early").code, "0");
                for _ in 0..40 {
                    rig.host().version().unwrap();
                }
                rig.host().features().unwrap();
                rig.host().set_password(&secret("Tr0ub4dor&3")).unwrap();
                rig.host().inject_file("/etc/motd", b"hi").unwrap();
                rig.restore();
                rig.host().version().unwrap();
                rig.host().set_password(&secret("Tr0ub4dor&4")).unwrap();
                rig.finish();
            };
            thread::Builder::new()
                .name(format!("{kind:?} {options:?}"))
                .spawn_scoped(scope, one)
                .unwrap();
        }
    });
}

/// Posts a `resetnetwork` and returns when it waits for a program.
fn begin_slow_reset(rig: &mut Rig, id: &str) {
    rig.sandbox()
        .install_debian(&["BC:76:4E:20:75:72", "BC:76:4E:20:5E:FB"]);
    rig.sandbox().hold("ifup", 20);
    rig.host().provision(&Server::two_networks()).unwrap();
    rig.post_as(id, RESET_NETWORK);
    rig.wait_until("the program starts", |rig| rig.sandbox().is_held());
}

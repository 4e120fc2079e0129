//! An agent that nobody asks for anything does nothing.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nova_agent_core::agent::RESPONSE_TIMEOUT;

use super::{DEVICES, EVERYWHERE, on, secret};

/// Less than the time after which the first response is removed, which is something to do.
const WINDOW: Duration = Duration::from_secs(30);

#[test]
fn an_idle_agent_is_never_scheduled() {
    const { assert!(WINDOW.as_secs() * 2 < RESPONSE_TIMEOUT.as_secs()) }

    on(&[&EVERYWHERE[..], &DEVICES].concat(), |rig| {
        rig.host().version().unwrap();
        rig.host().set_password(&secret("Tr0ub4dor&3")).unwrap();
        rig.host().inject_file("/etc/motd", b"hi").unwrap();
        rig.wait_until("every request is removed", |rig| {
            rig.list("data/host").is_empty()
        });

        let id = rig.agent().id();
        // The last events are those of its own removals; a pool of threads may keep one for a while.
        let mut before = switches(id);
        rig.wait_until("the agent rests", |_| {
            thread::sleep(Duration::from_secs(1));
            let now = switches(id);
            std::mem::replace(&mut before, now) == now
        });
        thread::sleep(WINDOW);
        assert_eq!(
            switches(id),
            before,
            "of the agent's threads within {WINDOW:?}"
        );
        assert!(rig.agent().is_running());
        rig.host().version().unwrap();
        assert_ne!(switches(id), before, "what counts does not count");
    });
}

/// How often any thread of a process gave up or lost the processor.
fn switches(process: u32) -> u64 {
    let tasks = PathBuf::from(format!("/proc/{process}/task"));
    let mut sum = 0;
    for task in fs::read_dir(tasks).expect("Linux is needed for this test") {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let counts = status
            .lines()
            .filter_map(|line| line.split_once("_ctxt_switches:"));
        sum += counts
            .map(|(_, count)| count.trim().parse::<u64>().unwrap())
            .sum::<u64>();
    }
    sum
}

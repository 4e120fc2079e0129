//! Who may look into the agent's memory, and what is left there.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use nova_agent_tests::agent::{Rig, core_dumps_allowed};
use nova_agent_tests::host::{KeyDigest, encrypt};
use rustix::process::Signal;
use serde_json::json;

use super::{EMBEDDED, on_with, secret};

const PASSWORD: &str = "Passw0rd-that-begins:that-goes-on-for-a-while:and-that-ends-here";

const NOTHING: [&str; 0] = [];

/// Who frees memory may write over the beginning of it, and a cipher works on a part at a time.
const PARTS: [&str; 3] = [
    "Passw0rd-that-begins",
    "that-goes-on-for-a-while",
    "and-that-ends-here",
];

#[test]
fn a_crash_while_a_password_is_at_work_leaves_no_dump() {
    // Would this machine leave one?
    let directory = tempfile::tempdir().unwrap();
    let argv = core_dumps_allowed(directory.path());
    let control = Command::new(&argv[0])
        .args(&argv[1..])
        .args(["sh", "-c", "kill -ABRT $$"])
        .status()
        .unwrap();
    assert!(
        control.core_dumped(),
        "this machine makes no core dumps, see core(5): {control}"
    );

    for signal in [Signal::ABORT, Signal::SEGV] {
        on_with(&EMBEDDED[..1], |rig| {
            let directory = tempfile::tempdir().unwrap();
            rig.allow_core_dumps(directory.path());
            hold_a_password(rig);
            assert_eq!(remembered(rig), PARTS, "the password is not at work");
            let status = rig.agent().crash(signal);
            assert_eq!(status.signal(), Some(signal.as_raw()));
            assert!(!status.core_dumped(), "the agent's memory was dumped");
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        });
    }
}

#[test]
fn nobody_without_the_right_to_trace_may_look() {
    on_with(&EMBEDDED[..1], |rig| {
        // The same user, and no rights beside: of two such processes, one may look into the other.
        let without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
        rig.run_by(&without);
        rig.start_agent();
        let look = |pid: u32| {
            let mut command = Command::new(without[0]);
            command
                .args(&without[1..])
                .args(["head", "-c1", &format!("/proc/{pid}/environ")]);
            command.output().unwrap().status.success()
        };
        let mut control = Command::new(without[0])
            .args(&without[1..])
            .args(["sleep", "60"])
            .spawn()
            .unwrap();
        rig.wait_until("another process can be looked at", |_| look(control.id()));
        control.kill().unwrap();
        control.wait().unwrap();
        assert!(!look(rig.agent().id()), "the agent can be looked at");
    });
}

#[test]
fn a_password_that_is_set_is_forgotten() {
    on_with(&EMBEDDED[..1], |rig| {
        hold_a_password(rig);
        assert_eq!(remembered(rig), PARTS, "the password is not at work");
        rig.sandbox().release();
        assert_eq!(rig.answer_to("password").code, "0");
        assert_eq!(remembered(rig), NOTHING, "after chpasswd");
    });
    // By the agent itself, and one that is refused.
    on_with(&EMBEDDED[..1], |rig| {
        rig.start_agent();
        rig.host().set_password(&secret(PASSWORD)).unwrap();
        assert_eq!(remembered(rig), NOTHING, "after an edit of /etc/shadow");
        let refused = format!("{PASSWORD}\n{PASSWORD}");
        rig.host().set_password(&secret(&refused)).unwrap_err();
        assert_eq!(remembered(rig), NOTHING, "after it was refused");
    });
}

fn remembered(rig: &mut Rig) -> Vec<&'static str> {
    PARTS
        .into_iter()
        .filter(|part| rig.agent().remembers(part.as_bytes()))
        .collect()
}

/// Starts an agent that gives the password to a program that does not end.
fn hold_a_password(rig: &mut Rig) {
    let path = |name: &str| rig.sandbox().path(name).display().to_string();
    let (held, released) = (path("/held"), path("/released"));
    // It ends with the sandbox at the latest: an agent that crashes leaves it behind.
    let wait =
        format!(": >{held}; while [ -e {held} ] && [ ! -e {released} ]; do sleep 0.01; done");
    rig.sandbox().stand_in("chpasswd", &wait);
    rig.use_own_programs();
    rig.start_agent();
    let exchange = rig.host().exchange_keys().unwrap();
    let ciphertext = encrypt(&exchange, &secret(PASSWORD), KeyDigest::Md5).unwrap();
    rig.post_as(
        "password",
        json!({"name": "password", "value": ciphertext}).to_string(),
    );
    rig.wait_until("the program runs", |rig| rig.sandbox().is_held());
}

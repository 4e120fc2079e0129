//! Programs, on the machine itself and as stand-ins of a sandbox.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests may fail like tests"
)]

mod guest;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use guest::{Guest, program, secret};
use nova_agent_core::effect::{Change, Done, Effect, Failure, OUTPUT_MAX, Outcome, Program};
use nova_agent_system::runtime::{Interest, Root, Source, Started, System};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const LONG: Duration = Duration::from_secs(30);

fn machine() -> System {
    System::new(Root::guest().unwrap())
}

fn run(program: Program) -> Outcome {
    machine().perform(Effect::Change(Change::Run(program)))
}

fn shell(script: &str) -> Program {
    program(&["sh", "-c", script], LONG)
}

/// What a script printed, which is known only of one that fails.
fn printed(program: Program) -> String {
    match run(program) {
        Outcome::Failed(Failure::Exit { output, .. }) => output,
        other => panic!("it did not fail: {other:?}"),
    }
}

/// Waits until no process has this id, which must not take long.
fn assert_gone(pid: &str) {
    let started = Instant::now();
    let state = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .and_then(|rest| rest.trim().chars().next())
    };
    // Nobody has to have reaped it.
    while !matches!(state(), None | Some('Z')) {
        assert!(started.elapsed() < LONG, "process {pid} lives");
        std::thread::yield_now();
    }
}

#[test]
fn exit_codes_count_as_they_are_accepted() {
    assert_eq!(run(shell("true")), Outcome::Done(Done::default()));
    let two = || shell("echo out; echo err >&2; exit 2");
    assert_eq!(
        run(two()),
        Outcome::Failed(Failure::Exit {
            code: 2,
            output: "out\nerr\n".into()
        })
    );
    assert_eq!(
        run(Program {
            accept: vec![0, 2],
            ..two()
        }),
        Outcome::Done(Done::default())
    );
    assert_eq!(
        run(shell("kill -9 $$")),
        Outcome::Failed(Failure::Signal {
            signal: 9,
            output: String::new()
        })
    );
}

#[test]
fn a_program_that_does_not_exist_is_not_found() {
    for name in [
        "nova-agent-no-such-program",
        "/usr/bin/nova-agent-no-such-program",
        "./sh",
        "bin/sh",
        "/etc",
        "/etc/passwd",
    ] {
        assert_eq!(
            run(program(&[name], LONG)),
            Outcome::Failed(Failure::NotFound),
            "{name}"
        );
    }
    assert!(matches!(
        run(program(&[], LONG)),
        Outcome::Failed(Failure::Refused(_))
    ));
}

#[test]
fn the_environment_is_fixed_but_for_what_the_step_adds() {
    let printed = printed(Program {
        environment: vec![("EXTRA".into(), "a b".into())],
        ..program(&["sh", "-c", "env; pwd; exit 1"], LONG)
    });
    let mut lines: Vec<&str> = printed
        .lines()
        .filter(|line| !line.starts_with("PWD=") && !line.starts_with("_="))
        .collect();
    lines.sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines, ["/", "EXTRA=a b", "HOME=/root", "LC_ALL=C", path]);
}

#[test]
fn arguments_are_never_interpreted() {
    let output = printed(program(
        &[
            "sh",
            "-c",
            "printf '%s|' \"$@\"; exit 1",
            "sh",
            "$(id); *",
            "a b",
            "",
        ],
        LONG,
    ));
    assert_eq!(output, "$(id); *|a b||");
}

#[test]
fn input_of_any_size_arrives_and_an_unread_one_is_no_obstacle() {
    let large = "x".repeat(1024 * 1024);
    let count = Program {
        stdin: Some(secret(&large)),
        ..shell("wc -c; exit 1")
    };
    assert_eq!(printed(count).trim(), (1024 * 1024).to_string());
    let unread = Program {
        stdin: Some(secret(&large)),
        ..shell("exit 0")
    };
    assert_eq!(run(unread), Outcome::Done(Done::default()));
    // Both pipes full at once.
    let echo = Program {
        stdin: Some(secret(&large)),
        ..shell("cat; exit 1")
    };
    assert_eq!(printed(echo).len(), OUTPUT_MAX);
    assert_eq!(printed(shell("cat; echo end; exit 1")), "end\n");
}

#[test]
fn of_the_output_the_end_is_kept() {
    let output = printed(shell(
        "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 1",
    ));
    assert_eq!(output.len(), OUTPUT_MAX);
    assert!(output.ends_with("line 2998\nline 2999\n"));
}

#[test]
fn a_daemon_that_keeps_the_output_open_is_neither_waited_for_nor_killed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let started = Instant::now();
    let script = format!("sleep 60 & echo $! >{}; exit 0", file.display());
    assert_eq!(run(shell(&script)), Outcome::Done(Done::default()));
    assert!(started.elapsed() < LONG);
    let pid = fs::read_to_string(file).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    // It fails if the process is gone.
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn at_the_timeout_the_whole_group_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pids");
    // The grandchild holds the pipes and ignores what it is asked.
    let script = format!(
        "sh -c 'trap \"\" TERM; echo $$ >{0}; echo working; while :; do sleep 1; done' & wait",
        file.display()
    );
    let started = Instant::now();
    let outcome = run(program(&["sh", "-c", &script], Duration::from_millis(500)));
    assert_eq!(
        outcome,
        Outcome::Failed(Failure::TimedOut {
            output: "working\n".into()
        })
    );
    assert!(started.elapsed() < LONG);
    assert_gone(fs::read_to_string(file).unwrap().trim());
}

#[test]
fn a_program_that_ignores_the_request_to_end_is_killed() {
    let started = Instant::now();
    let outcome = run(program(
        &["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
        Duration::from_millis(100),
    ));
    assert!(
        matches!(outcome, Outcome::Failed(Failure::TimedOut { .. })),
        "{outcome:?}"
    );
    assert!(started.elapsed() < LONG);
}

#[test]
fn endless_output_does_not_outlast_the_timeout() {
    let outcome = run(program(&["yes"], Duration::from_millis(300)));
    let Outcome::Failed(Failure::TimedOut { output }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(output.len(), OUTPUT_MAX);
}

#[test]
fn a_program_is_killed_when_nobody_waits_for_it_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!(
        "echo $$ >{}.new && mv {0}.new {0}; sleep 60",
        file.display()
    );
    let started = machine().start(Effect::Change(Change::Run(shell(&script))));
    assert!(matches!(started, Started::Running(_)));
    while !file.exists() {
        std::thread::yield_now();
    }
    drop(started);
    assert_gone(fs::read_to_string(file).unwrap().trim());
}

#[test]
fn an_event_loop_can_drive_a_program() {
    let machine = machine();
    let mut started = machine.start(Effect::Change(Change::Run(Program {
        stdin: Some(secret("question")),
        ..shell("read line; echo $line; exit 3")
    })));
    let mut waits = 0;
    let outcome = loop {
        match started {
            Started::Finished(outcome) => break outcome,
            Started::Running(work) => {
                let mut fds = Vec::new();
                for Source { fd, interest } in work.sources() {
                    let flags = match interest {
                        Interest::Read => PollFlags::IN,
                        Interest::Write => PollFlags::OUT,
                    };
                    fds.push(PollFd::from_borrowed_fd(fd, flags));
                }
                assert!((1..=3).contains(&fds.len()), "{fds:?}");
                let left = work.deadline().saturating_duration_since(Instant::now());
                poll(&mut fds, Some(&Timespec::try_from(left).unwrap())).unwrap();
                waits += 1;
                started = machine.advance(work, Instant::now());
            }
        }
    };
    assert!(
        waits < 20,
        "{waits} waits: it is not waited for what happens"
    );
    assert_eq!(
        outcome,
        Outcome::Failed(Failure::Exit {
            code: 3,
            output: "question\n".into()
        })
    );
}

#[test]
fn in_a_sandbox_a_program_that_exists_counts_as_a_success() {
    let guest = Guest::new();
    guest.file("/usr/sbin/ifup", "");
    guest.link("/sbin/ip", "/bin/busybox");
    guest.directory("/usr/bin/netplan");
    assert_eq!(
        guest.step(Change::Run(program(&["ifup", "eth0"], LONG))),
        Ok(None)
    );
    assert_eq!(
        guest.step(Change::Run(program(&["/sbin/ip"], LONG))),
        Ok(None)
    );
    for missing in ["netplan", "sh", "/bin/sh"] {
        assert_eq!(
            guest.step(Change::Run(program(&[missing], LONG))),
            Err(Failure::NotFound),
            "{missing}"
        );
    }
    let effects = guest.effects();
    let carried_out: Vec<&str> = effects
        .iter()
        .map(|effect| effect["carried_out"].as_str().unwrap())
        .collect();
    assert_eq!(
        carried_out,
        ["assumed", "assumed", "not-found", "not-found", "not-found"]
    );
    let expected = serde_json::json!({
        "effect": "run", "argv": ["ifup", "eth0"], "environment": {}, "stdin": null, "timeout_ms": 30000,
        "carried_out": "assumed",
    });
    assert_eq!(effects[0], expected);
}

#[test]
fn a_stand_in_decides_what_a_program_of_the_sandbox_does() {
    let guest = Guest::new();
    guest.file("/sbin/ifup", "");
    guest.stand_in("ifup", "echo \"$1 $EXTRA $(cat)\"; pwd; exit 4");
    let step = || {
        Change::Run(Program {
            stdin: Some(secret("hunter2")),
            environment: vec![("EXTRA".into(), "variable".into())],
            ..program(&["/sbin/ifup", "eth0"], LONG)
        })
    };
    let Err(Failure::Exit { code: 4, output }) = guest.step(step()) else {
        panic!("not run")
    };
    let directory = guest.host("").canonicalize().unwrap();
    assert_eq!(
        output,
        format!("eth0 variable hunter2\n{}\n", directory.display())
    );
    assert_eq!(guest.effects()[0]["carried_out"], "stand-in");
    assert_eq!(guest.effects()[0]["stdin"], "[redacted]");
    assert!(!guest.read("/effects.jsonl").contains("hunter2"));

    guest.stand_in("ifup", "sleep 60");
    let slow = Change::Run(program(&["ifup"], Duration::from_millis(100)));
    assert!(matches!(guest.step(slow), Err(Failure::TimedOut { .. })));
}

#[test]
fn nothing_of_the_machine_runs_for_a_sandbox() {
    let guest = Guest::new();
    let mark = tempfile::tempdir().unwrap().path().join("mark");
    guest.link("/bin", "/usr/bin");
    guest.file("/usr/bin/touch", "");
    guest
        .step(Change::Run(program(
            &["touch", mark.to_str().unwrap()],
            LONG,
        )))
        .unwrap();
    assert!(!Path::new(&mark).exists());
    for name in ["../bin/sh", "..", "."] {
        assert_eq!(
            guest.step(Change::Run(program(&[name], LONG))),
            Err(Failure::NotFound)
        );
    }
}

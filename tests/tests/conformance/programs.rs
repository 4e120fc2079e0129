//! Programs of the guest that do what programs should not: hang, flood, close what they print to, leave daemons behind.
//! Whatever a runtime waits for meanwhile, it waits without spinning, answers questions, and leaves nothing running.

use std::fs;
use std::time::{Duration, Instant};

use nova_agent_tests::agent::{Answer, Rig, refusal};
use nova_agent_tests::host::Server;

use super::{EVERYWHERE, Place, VERSION, on_with};

const RESET_NETWORK: &str = r#"{"name": "resetnetwork", "value": ""}"#;

/// What matters here is between the agent and its programs.
const PLACES: [Place; 2] = [EVERYWHERE[2], EVERYWHERE[7]];

/// How long an answer to a question may take at the most, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_program_that_hangs_is_killed_with_its_children_and_the_answer_says_so() {
    on_debian(|rig| {
        // Neither it nor its child heeds SIGTERM. On the way back it does what it should.
        rig.sandbox().stand_in(
            "ifup",
            "[ -e pids ] && exit 0
             trap '' TERM
             sh -c 'trap \"\" TERM; sleep 1000 & echo $$ $! >>pids; wait' &
             echo $$ >>pids; wait; sleep 1000",
        );
        let answer = reset_while_asking(rig);
        assert_eq!(answer.code, "1");
        assert!(
            answer
                .message
                .contains("ifup eth1: timed out; previous state restored"),
            "{answer:?}"
        );
        let pids = String::from_utf8(rig.sandbox().read("/pids")).unwrap();
        let pids: Vec<&str> = pids.split_whitespace().collect();
        assert_eq!(pids.len(), 3, "{pids:?}");
        rig.wait_until("nothing is left running", |_| {
            pids.iter().all(|pid| is_gone(pid))
        });
    });
}

#[test]
fn a_program_that_floods_its_output_is_killed_in_time_and_takes_no_memory() {
    on_debian(|rig| {
        // What it is run for may fail; its time is two seconds, and two more until it is killed.
        rig.sandbox().stand_in(
            "ip",
            "trap '' TERM; echo $$ >>pids; yes 'a line of many'; yes 'and more'",
        );
        let before = resident(rig);
        let start = Instant::now();
        assert_eq!(reset_while_asking(rig), Answer::new("0", ""));
        assert!(
            start.elapsed() < Duration::from_secs(50),
            "it took {:?}",
            start.elapsed()
        );
        let after = resident(rig);
        assert!(
            after < before + 4096,
            "{before} KiB before, {after} KiB after"
        );
        let pids = String::from_utf8(rig.sandbox().read("/pids")).unwrap();
        assert!(pids.split_whitespace().count() >= 2, "{pids}");
        rig.wait_until("nothing is left running", |_| {
            pids.split_whitespace().all(is_gone)
        });
    });
}

#[test]
fn the_end_of_a_long_output_is_told() {
    on_debian(|rig| {
        rig.sandbox().stand_in(
            "ifup",
            "yes 'a line of many' | head -n 1000000; echo 'no carrier' >&2; exit 3",
        );
        let answer = reset_while_asking(rig);
        assert_eq!(answer.code, "1");
        assert!(answer.message.contains("exit code 3"), "{answer:?}");
        assert!(answer.message.contains("no carrier"), "{answer:?}");
    });
}

#[test]
fn a_silent_program_is_waited_for_without_spinning() {
    costs_nothing("sleep 1");
}

#[test]
fn a_program_that_closes_its_output_is_waited_for_without_spinning() {
    costs_nothing("exec >&- 2>&-; sleep 1");
}

/// Runs a program twice that sleeps for a second.
fn costs_nothing(script: &str) {
    on_debian(|rig| {
        rig.sandbox().stand_in("ifup", script);
        let before = rig.agent().processor_time();
        rig.post_as("reset", RESET_NETWORK);
        let start = Instant::now();
        assert_eq!(rig.answer_to("reset"), Answer::new("0", ""));
        assert!(
            start.elapsed() >= Duration::from_secs(2),
            "it was not waited for"
        );
        // A tick is a hundredth of a second; two of these agents that spin share two processors for two seconds.
        let took = rig.agent().processor_time() - before;
        assert!(took < 30, "{took} ticks");
    });
}

#[test]
fn a_daemon_that_keeps_the_output_open_is_neither_waited_for_nor_killed() {
    on_debian(|rig| {
        rig.sandbox()
            .stand_in("ifup", "sh -c 'sleep 60; echo late' & echo $! >>pids");
        let start = Instant::now();
        assert_eq!(reset_while_asking(rig), Answer::new("0", ""));
        assert!(
            start.elapsed() < Duration::from_secs(50),
            "it took {:?}",
            start.elapsed()
        );
        let pids = String::from_utf8(rig.sandbox().read("/pids")).unwrap();
        assert_eq!(pids.split_whitespace().count(), 2);
        assert!(!pids.split_whitespace().any(is_gone), "a daemon was killed");
        let before = rig.agent().processor_time();
        // It prints into a pipe that nobody reads any more.
        rig.wait_until("the daemons end", |_| pids.split_whitespace().all(is_gone));
        assert!(
            rig.agent().processor_time() - before < 50,
            "somebody listens in vain"
        );
    });
}

#[test]
fn a_hundred_programs_in_a_row_leave_nothing_open() {
    on_debian(|rig| {
        rig.sandbox().stand_in("ifup", "echo $1 >>ups");
        assert_eq!(reset_while_asking(rig), Answer::new("0", ""));
        let before = descriptors(rig);
        for nth in 0..20 {
            // Another name each time, or nothing would have to be done.
            let server = Server {
                hostname: format!("web-{nth}"),
                ..Server::two_networks()
            };
            rig.host().provision(&server).unwrap();
            rig.sandbox().write(
                "/etc/network/interfaces",
                "auto lo\niface lo inet loopback\n",
                0o644,
            );
            rig.host().reset_network().unwrap();
        }
        assert_eq!(
            rig.sandbox()
                .read("/ups")
                .iter()
                .filter(|byte| **byte == b'\n')
                .count(),
            42
        );
        assert_eq!(descriptors(rig), before);
    });
}

#[test]
fn a_program_gets_its_input_whether_it_reads_it_or_not() {
    on_with(&PLACES, |rig| {
        // Stands for a directory that is there before the programs are.
        rig.sandbox().stand_in("chpasswd", "");
        rig.use_own_programs();
        rig.start_agent();
        let given = rig.sandbox().path("/given").display().to_string();
        for (script, answer) in [
            (format!("cat >{given}"), Answer::new("0", "")),
            ("sleep 0.2".into(), Answer::new("0", "")),
            ("exec <&-; sleep 0.2".into(), Answer::new("0", "")),
            (
                "head -c 1 >/dev/null; exec <&-; echo 'no such user' >&2; exit 1".into(),
                Answer::new("500", "no such user"),
            ),
        ] {
            rig.sandbox().stand_in("chpasswd", &script);
            match rig.host().set_password(&super::secret("Tr0ub4dor&3")) {
                Ok(reply) => assert_eq!(Answer::new("0", &reply.message), answer, "{script}"),
                error => assert!(refusal(error).message.contains(&answer.message), "{script}"),
            }
        }
        assert_eq!(rig.sandbox().read("/given"), b"root:Tr0ub4dor&3\n");
    });
}

#[test]
fn a_kernel_that_cannot_watch_processes_will_do() {
    on_with(&PLACES, |rig| {
        install(rig);
        rig.use_old_kernel();
        let agent = rig.start_agent();
        let pidfds = |rig: &mut Rig| {
            let files = fs::read_dir(format!("/proc/{}/fd", rig.agent().id())).unwrap();
            let targets = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
            targets
                .filter(|target| target.to_string_lossy().contains("pidfd"))
                .count()
        };
        assert!(agent.is_running());
        // The first of two seconds, and two more until it is killed, for each interface.
        rig.sandbox().stand_in(
            "ip",
            "trap '' TERM; echo $$ >>pids; while :; do sleep 1; done",
        );
        rig.sandbox().stand_in("ifup", "sleep 1; echo $1 >>ups");
        let before = rig.agent().processor_time();
        rig.post_as("reset", RESET_NETWORK);
        rig.wait_until("a program runs", |rig| rig.sandbox().exists("/pids"));
        assert_eq!(rig.ask(VERSION).code, "0");
        assert_eq!(pidfds(rig), 0, "the kernel is too new");
        assert_eq!(rig.answer_to("reset"), Answer::new("0", ""));
        assert!(
            rig.agent().processor_time() - before < 50,
            "it does not wait, it looks"
        );
        assert_eq!(
            rig.sandbox()
                .read("/ups")
                .iter()
                .filter(|byte| **byte == b'\n')
                .count(),
            2
        );
        let pids = String::from_utf8(rig.sandbox().read("/pids")).unwrap();
        assert_eq!(pids.split_whitespace().count(), 2, "{pids}");
        rig.wait_until("nothing is left running", |_| {
            pids.split_whitespace().all(is_gone)
        });

        rig.host()
            .set_password(&super::secret("Tr0ub4dor&3"))
            .unwrap();
        rig.host().inject_file("/etc/motd", b"hi").unwrap();
        rig.agent().terminate();
        assert_eq!(rig.agent().wait().code(), Some(0));
    });
}

#[test]
fn an_agent_that_is_started_with_sigchld_ignored_waits_for_its_programs() {
    on_with(&PLACES, |rig| {
        install(rig);
        rig.ignore_children();
        rig.start_agent();
        rig.sandbox().stand_in("ifup", "echo $1 >>ups");
        rig.post_as("reset", RESET_NETWORK);
        assert_eq!(rig.answer_to("reset"), Answer::new("0", ""));
        assert_eq!(
            rig.sandbox()
                .read("/ups")
                .iter()
                .filter(|byte| **byte == b'\n')
                .count(),
            2
        );
    });
}

#[test]
fn a_program_that_ended_while_the_guest_was_paused_has_not_timed_out() {
    on_debian(|rig| {
        // The last program: another one would find that the time for all of them is over.
        rig.sandbox()
            .stand_in("ifup", "[ $1 = eth0 ] || exit 0; echo >last; sleep 1");
        rig.post_as("reset", RESET_NETWORK);
        rig.wait_until("the program starts", |rig| rig.sandbox().exists("/last"));
        // Longer than any program may take.
        rig.agent().pause(Duration::from_secs(35));
        assert_eq!(rig.answer_to("reset"), Answer::new("0", ""));
    });
}

/// Has a network reset, and asks for the version all the while. Returns the reset's answer.
fn reset_while_asking(rig: &mut Rig) -> Answer {
    rig.post_as("reset", RESET_NETWORK);
    loop {
        let start = Instant::now();
        assert_eq!(rig.ask(VERSION).code, "0");
        assert!(
            start.elapsed() < SOON,
            "a question took {:?}",
            start.elapsed()
        );
        if !rig.list("data/host").iter().any(|id| id == "reset") {
            return rig.answer_to("reset");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a process has ended; who inherited it need not have noticed.
fn is_gone(pid: &str) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit_once(") ")
            .is_some_and(|(_, behind)| behind.starts_with('Z')),
        Err(_) => true,
    }
}

/// How much memory the agent has ever had, in KiB.
fn resident(rig: &mut Rig) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", rig.agent().id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How many descriptors the agent has open.
fn descriptors(rig: &mut Rig) -> usize {
    fs::read_dir(format!("/proc/{}/fd", rig.agent().id()))
        .unwrap()
        .count()
}

fn on_debian(test: impl Fn(&mut Rig) + Sync) {
    on_with(&PLACES, |rig| {
        install(rig);
        rig.start_agent();
        test(rig);
    });
}

fn install(rig: &mut Rig) {
    rig.sandbox()
        .install_debian(&["BC:76:4E:20:75:72", "BC:76:4E:20:5E:FB"]);
    rig.host().provision(&Server::two_networks()).unwrap();
}

use alloc::string::ToString;
use alloc::vec;
use core::time::Duration;

use super::*;
use crate::effect::{Done, GuestPath, InterfaceState, Program, Snapshot};
use crate::plan::Budget;
use crate::plan::ExpectedInterface;
use crate::plan::time::UNDO_MIN;

fn run(argv: &str) -> Change {
    Change::Run(Program::new(argv.split(' '), Duration::from_secs(1)))
}

fn remove(path: &str) -> Change {
    Change::RemoveFile {
        path: GuestPath::try_from(path).unwrap(),
    }
}

fn done(undo: Option<Change>) -> Outcome {
    Outcome::Done(Done { undo })
}

fn failed() -> Outcome {
    Outcome::Failed(Failure::Io("no space left".into()))
}

/// Carries the plan out; `answer` gives the outcome of each step. Returns the steps in order and the end.
fn carry_out(
    plan: Plan,
    answer: impl Fn(&str, usize) -> Outcome,
) -> (Vec<String>, Result<(), String>) {
    let mut runner = Runner::new(plan, Instant::default());
    let mut seen: Vec<String> = Vec::new();
    loop {
        match runner.poll(Instant::default()) {
            Next::Perform(Effect::Change(step)) => {
                let text = step.to_string();
                let before = seen.iter().filter(|earlier| **earlier == text).count();
                runner.handle_outcome(answer(&text, before), Instant::default());
                seen.push(text);
            }
            next @ (Next::Perform(_) | Next::Wait(_)) => panic!("{next:?}"),
            Next::Finished(end) => return (seen, end.map_err(|failure| failure.to_string())),
        }
    }
}

fn network_plan() -> Plan {
    let step = |step, on_failure, undo: Vec<Change>| Step {
        action: Action::Change(step),
        on_failure,
        undo: Undo::Steps(undo),
    };
    Plan {
        steps: vec![
            step(run("ifdown eth0"), OnFailure::GoOn, vec![run("ifup eth0")]),
            Step::new(remove("/etc/interfaces")),
            step(
                run("ifup eth0"),
                OnFailure::Retry(vec![run("ifdown --force eth0")]),
                vec![run("ifdown --force eth0"), run("ip addr flush eth0")],
            ),
        ],
        ..Plan::default()
    }
}

#[test]
fn the_programs_of_a_plan_share_its_time_and_undoing_has_its_own() {
    let second = Duration::from_secs(1);
    let budget = Budget {
        apply: second * 10,
        roll_back: second * 12,
    };
    let plan = || Plan {
        budget: Some(budget),
        ..network_plan()
    };
    let timeout = |runner: &mut Runner, now| match runner.poll(now) {
        Next::Perform(Effect::Change(Change::Run(program))) => {
            Some((program.command_line(), program.timeout))
        }
        Next::Perform(_) | Next::Wait(_) => None,
        Next::Finished(_) => panic!("finished"),
    };
    let start = Instant::from_origin(second * 100);
    let mut plan = plan();
    let long = |step: &mut Change| {
        if let Change::Run(program) = step {
            program.timeout = second * 60;
        }
    };
    for planned in &mut plan.steps {
        if let Action::Change(step) = &mut planned.action {
            long(step);
        }
        if let Undo::Steps(steps) = &mut planned.undo {
            steps.iter_mut().for_each(long);
        }
    }
    let mut runner = Runner::new(plan, start);
    assert_eq!(
        timeout(&mut runner, start),
        Some(("ifdown eth0".into(), second * 10))
    );
    runner.handle_outcome(done(None), start.after(second * 4));
    assert_eq!(timeout(&mut runner, start.after(second * 4)), None);
    runner.handle_outcome(done(None), start.after(second * 4));
    assert_eq!(
        timeout(&mut runner, start.after(second * 4)),
        Some(("ifup eth0".into(), second * 6))
    );
    // The time is used up: there is no second try, and undoing begins.
    let late = start.after(second * 10);
    runner.handle_outcome(failed(), late);
    assert_eq!(
        timeout(&mut runner, late),
        Some(("ifdown --force eth0".into(), second * 4))
    );
    // What it did not use is for the two that are left.
    let later = late.after(second * 2);
    runner.handle_outcome(done(None), later);
    assert_eq!(
        timeout(&mut runner, later),
        Some(("ip addr flush eth0".into(), second * 5))
    );
    // Even undoing took too long: what is left of it still happens.
    let later = late.after(second * 13);
    runner.handle_outcome(failed(), later);
    assert_eq!(
        timeout(&mut runner, later),
        Some(("ifup eth0".into(), UNDO_MIN))
    );
}

#[test]
fn what_going_forward_has_left_is_for_the_way_back() {
    let second = Duration::from_secs(1);
    let program = |argv: &str| Change::Run(Program::new(argv.split(' '), second * 60));
    let undo = Undo::Steps(vec![program("ifdown eth0")]);
    let steps = vec![Step {
        undo,
        ..Step::new(program("ifup eth0"))
    }];
    let budget = Some(Budget {
        apply: second * 10,
        roll_back: second * 12,
    });
    let mut runner = Runner::new(
        Plan {
            steps,
            budget,
            restored: None,
        },
        Instant::default(),
    );
    assert!(matches!(runner.poll(Instant::default()), Next::Perform(_)));
    let early = Instant::from_origin(second * 2);
    runner.handle_outcome(failed(), early);
    let Next::Perform(Effect::Change(Change::Run(program))) = runner.poll(early) else {
        panic!("nothing is undone")
    };
    assert_eq!(
        (program.command_line(), program.timeout),
        ("ifdown eth0".into(), second * 20)
    );
}

#[test]
fn what_need_not_succeed_is_left_out_when_the_time_is_used_up() {
    let second = Duration::from_secs(1);
    let optional = Step {
        on_failure: OnFailure::GoOn,
        ..Step::new(run("hostnamectl"))
    };
    let steps = vec![
        Step::new(run("ifup eth0")),
        optional,
        Step::new(remove("/a")),
    ];
    let budget = Some(Budget {
        apply: second,
        roll_back: second,
    });
    let mut runner = Runner::new(
        Plan {
            steps,
            budget,
            restored: None,
        },
        Instant::default(),
    );
    assert!(matches!(runner.poll(Instant::default()), Next::Perform(_)));
    let late = Instant::from_origin(second * 2);
    runner.handle_outcome(done(None), late);
    assert_eq!(
        runner.poll(late),
        Next::Perform(Effect::Change(remove("/a")))
    );
    runner.handle_outcome(done(None), late);
    assert_eq!(runner.poll(late), Next::Finished(Ok(())));
}

#[test]
fn a_plan_whose_steps_succeed_is_carried_out_in_order() {
    let (seen, end) = carry_out(network_plan(), |_, _| done(None));
    assert_eq!(seen, ["ifdown eth0", "remove /etc/interfaces", "ifup eth0"]);
    assert_eq!(end, Ok(()));
}

#[test]
fn a_tolerated_failure_does_not_end_the_plan() {
    let (seen, end) = carry_out(network_plan(), |step, _| {
        if step == "ifdown eth0" {
            failed()
        } else {
            done(None)
        }
    });
    assert_eq!(seen.len(), 3);
    assert_eq!(end, Ok(()));
}

#[test]
fn a_second_try_may_succeed() {
    let (seen, end) = carry_out(network_plan(), |step, before| {
        if step == "ifup eth0" && before == 0 {
            failed()
        } else {
            done(None)
        }
    });
    assert_eq!(
        seen,
        [
            "ifdown eth0",
            "remove /etc/interfaces",
            "ifup eth0",
            "ifdown --force eth0",
            "ifup eth0"
        ]
    );
    assert_eq!(end, Ok(()));
}

#[test]
fn a_program_that_took_too_long_is_not_tried_again() {
    let (seen, end) = carry_out(network_plan(), |step, before| match (step, before) {
        ("ifup eth0", 0) => Outcome::Failed(Failure::TimedOut {
            output: String::new(),
        }),
        _ => done(None),
    });
    assert_eq!(
        seen,
        [
            "ifdown eth0",
            "remove /etc/interfaces",
            "ifup eth0",
            // from here on: rolling back
            "ifdown --force eth0",
            "ip addr flush eth0",
            "ifup eth0",
        ]
    );
    assert_eq!(
        end,
        Err("ifup eth0: timed out; previous state restored".into())
    );
}

#[test]
fn a_failure_undoes_everything_in_reverse_order() {
    let (seen, end) = carry_out(network_plan(), |step, before| match (step, before) {
        ("ifup eth0", 0 | 1) => failed(),
        ("remove /etc/interfaces", _) => done(Some(Change::RestoreFile {
            path: GuestPath::constant("/etc/interfaces"),
            backup: GuestPath::constant("/var/backup"),
        })),
        _ => done(None),
    });
    assert_eq!(
        seen,
        [
            "ifdown eth0",
            "remove /etc/interfaces",
            "ifup eth0",
            "ifdown --force eth0",
            "ifup eth0",
            // from here on: rolling back
            "ifdown --force eth0",
            "ip addr flush eth0",
            "restore /etc/interfaces",
            "ifup eth0",
        ]
    );
    assert_eq!(
        end,
        Err("ifup eth0: no space left; previous state restored".into())
    );
}

#[test]
fn a_roll_back_that_fails_is_carried_on_and_told() {
    let (seen, end) = carry_out(network_plan(), |step, _| {
        if step == "ifup eth0" {
            failed()
        } else {
            done(None)
        }
    });
    assert_eq!(seen.last().unwrap(), "ifup eth0");
    assert_eq!(
        end,
        Err("ifup eth0: no space left; restore failed too: ifup eth0: no space left".into())
    );
}

#[test]
fn a_first_step_that_fails_leaves_nothing_to_restore() {
    let plan = Plan {
        steps: vec![Step::new(remove("/a")), Step::new(remove("/b"))],
        ..Plan::default()
    };
    let (seen, end) = carry_out(plan, |_, _| failed());
    assert_eq!(seen, ["remove /a"]);
    assert_eq!(end, Err("remove /a: no space left".into()));
}

#[test]
fn an_outcome_of_another_kind_is_a_failure() {
    let plan = Plan {
        steps: vec![Step::new(remove("/a"))],
        ..Plan::default()
    };
    let (_, end) = carry_out(plan, |_, _| Outcome::Probed(Snapshot::default()));
    assert_eq!(
        end,
        Err("remove /a: not supported: the driver answered another question".into())
    );
}

fn awaited(addresses: &[&str]) -> Await {
    let interface = ExpectedInterface {
        name: "eth0".into(),
        addresses: addresses
            .iter()
            .map(|address| (address.parse().unwrap(), 24))
            .collect(),
        ..ExpectedInterface::default()
    };
    Await {
        expectation: Expectation {
            interfaces: vec![interface],
        },
        patience: Duration::from_secs(10),
    }
}

fn shown(address: &str) -> Outcome {
    let interface = InterfaceState {
        name: "eth0".into(),
        mac: None,
        physical: true,
        vif: None,
        master: None,
        driver: None,
        up: true,
        addresses: vec![(address.parse().unwrap(), 24)],
    };
    Outcome::Probed(Snapshot {
        interfaces: Some(vec![interface]),
        routes: Some(vec![]),
        ..Snapshot::default()
    })
}

/// Carries out a plan that writes a file and awaits an address; `kernel` tells the address that the kernel has at a time
/// and after so many steps. Returns the steps, the end and when it came.
fn wait_for(
    kernel: impl Fn(Duration, usize) -> &'static str,
) -> (Vec<String>, Result<(), String>, Duration) {
    let steps = vec![
        Step::new(run("ifup eth0")),
        Step::wait(awaited(&["192.0.2.2"])),
    ];
    let mut plan = Plan {
        steps,
        budget: None,
        restored: Some(awaited(&["192.0.2.1"])),
    };
    plan.steps[0].undo = Undo::Steps(vec![run("ifup old")]);
    let mut now = Instant::default();
    let mut runner = Runner::new(plan, now);
    let mut seen: Vec<String> = Vec::new();
    loop {
        match runner.poll(now) {
            Next::Perform(Effect::Probe(probes)) => {
                assert_eq!(probes, Expectation::probes());
                runner.handle_outcome(shown(kernel(now.since_origin(), seen.len())), now);
            }
            Next::Perform(Effect::Change(step)) => {
                seen.push(step.to_string());
                runner.handle_outcome(done(None), now);
            }
            Next::Perform(Effect::Entropy { .. }) => panic!("entropy"),
            Next::Wait(at) => {
                assert!(at > now);
                now = at;
            }
            Next::Finished(end) => {
                return (
                    seen,
                    end.map_err(|failure| failure.to_string()),
                    now.since_origin(),
                );
            }
        }
    }
}

#[test]
fn a_change_counts_when_the_kernel_shows_it() {
    let (steps, end, took) = wait_for(|_, _| "192.0.2.2");
    assert_eq!(
        (steps, end, took),
        (vec!["ifup eth0".to_string()], Ok(()), Duration::ZERO)
    );
    let late = |now: Duration, _| {
        if now < Duration::from_secs(3) {
            "192.0.2.1"
        } else {
            "192.0.2.2"
        }
    };
    let (_, end, took) = wait_for(late);
    assert_eq!((end, took), (Ok(()), Duration::from_secs(3)));
}

#[test]
fn what_the_kernel_never_shows_is_rolled_back_and_the_old_state_awaited() {
    let (steps, end, took) = wait_for(|_, _| "192.0.2.1");
    assert_eq!(steps, ["ifup eth0", "ifup old"]);
    let text = "wait for the network: timed out: eth0 has no address 192.0.2.2/24; previous state restored";
    assert_eq!(
        (end.unwrap_err().as_str(), took),
        (text, Duration::from_secs(10))
    );

    let (_, end, took) = wait_for(|_, _| "192.0.2.3");
    let text = "wait for the network: timed out: eth0 has no address 192.0.2.2/24; restore failed too: wait for the \
                network: timed out: eth0 has no address 192.0.2.1/24";
    assert_eq!(
        (end.unwrap_err().as_str(), took),
        (text, Duration::from_secs(20))
    );
}

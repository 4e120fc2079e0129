//! An agent that dies at any moment, or whose system calls fail, loses no request and answers none twice, and leaves every
//! file of the guest as it was or as it is to be.
//!
//! The agents' own binaries, as an unprivileged domain of the real daemons, change a guest in a sandbox. They are killed
//! in two ways: at a random moment, which may be between any two instructions; and before a system call that can change a
//! file or sends a message to the store, each of them once or a random one. Between two such calls nothing changes that
//! anybody but the agent could see, so that the latter covers every state in which a death can leave the guest and the
//! store; the former is there to check that claim.
//!
//! The system calls are caught by seccomp's user notification (`tests/xenstored/saboteur.c`). A library loaded before the
//! C library would miss them: the agent makes most of them itself, and a static binary loads none. ptrace would stop every
//! call of every thread twice, and cannot refuse one without rewriting registers. A FUSE file system sees what the kernel
//! makes of the calls instead of the calls, and no messages. A notification costs some microseconds, comes only for the
//! calls that a filter in the kernel picks, before they are carried out, and can be answered by an error as well: that is
//! how a full, broken or read-only file system is imitated, a call at a time.
//!
//! `make crash ROUNDS=200` is the same with more rounds, optimized agents, and all calls on each runtime and daemon.
//! `NOVA_TEST_SEED` chooses the same moments and calls again; which instruction a moment hits, and how threads interleave,
//! it cannot repeat. A failure names its round and the call, which is found again without a seed.
#![deny(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

mod bench;
mod command;
mod random;
mod state;
mod tally;

use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use nova_agent_tests::agent::Runtime;
use nova_agent_tests::stores::StoreKind;
use rustix::io::Errno;

use self::bench::{Bench, Blow, Story};
use self::command::Command;
use self::random::Random;
use self::tally::{Table, Tally};

/// How often an agent is killed at random in each command, on each runtime and daemon.
const ROUNDS: &str = "NOVA_CRASH_ROUNDS";
const ROUNDS_USUALLY: usize = 4;

/// Whether every runtime goes through all system calls on both daemons, instead of one on one.
const EVERYWHERE: &str = "NOVA_CRASH_EVERYWHERE";

/// The same moments and calls again.
const SEED: &str = "NOVA_TEST_SEED";

const DAEMONS: [StoreKind; 2] = [StoreKind::RealC, StoreKind::RealOxen];

/// What a file system says that is full, broken, or read-only since it is broken.
const TROUBLES: [Errno; 3] = [Errno::NOSPC, Errno::IO, Errno::ROFS];

#[test]
fn killed_at_random_it_loses_nothing_and_does_nothing_twice() {
    let rounds =
        std::env::var(ROUNDS).map_or(ROUNDS_USUALLY, |rounds| rounds.parse().expect(ROUNDS));
    let seed: u64 = match std::env::var(SEED) {
        Ok(seed) => seed.parse().expect(SEED),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .subsec_nanos()
            .into(),
    };
    let mut table = Table::new(
        "kills",
        format!("killed at random; {SEED}={seed} repeats it"),
    );
    for (nth, runtime) in (0..).zip(Runtime::ALL) {
        table.add_all(on(&DAEMONS, runtime, |bench, daemon| {
            let mut random = Random::new(
                seed.wrapping_add(nth << 32 | u64::from(daemon == StoreKind::RealOxen) << 40),
            );
            for command in Command::ALL {
                for nth in 0..rounds {
                    let story = Story::random(&mut random);
                    let blow = if nth % 2 == 0 {
                        Blow::moment(&mut random)
                    } else {
                        Blow::call(&mut random)
                    };
                    bench.kill(command, blow, story);
                }
            }
        }));
    }
    // A moment may come too late, or a request be answered sooner than before. Half of the rounds aim at a call instead,
    // and few of those miss.
    table.finish(|tallies| {
        let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
        4 * sum(|tally| tally.hits) > sum(|tally| tally.rounds)
    });
}

/// More calls than any command makes. A request that is never answered would seem to be hit for ever.
const CALLS_MAX: usize = 400;

#[test]
fn killed_before_each_change_it_loses_nothing_and_does_nothing_twice() {
    let mut table = Table::new(
        "kills",
        "killed before each change of a file and each message".into(),
    );
    for (runtime, daemons) in places() {
        table.add_all(on(daemons, runtime, |bench, _| {
            for command in Command::ALL {
                let mut nth = 1;
                while nth < CALLS_MAX && bench.kill(command, Blow::Call(nth), Story::Plain) {
                    nth += 1;
                }
            }
            // Once from its very start: before it has the guest to itself, before and after it watches, listing, and all
            // that it does for a request that it finds.
            let mut nth = 1;
            while nth < CALLS_MAX && bench.kill(Command::InjectNew, Blow::Call(nth), Story::AtStart)
            {
                nth += 1;
            }
        }));
    }
    table.finish(was_hit_each_time_but_the_last);
}

#[test]
fn with_any_system_call_refused_it_leaves_the_old_or_the_new() {
    let mut table = Table::new(
        "refused",
        "each system call on a file refused once: ENOSPC, EIO or EROFS".into(),
    );
    for (runtime, daemons) in places() {
        table.add_all(on(daemons, runtime, |bench, _| {
            for command in Command::ALL {
                let mut nth = 1;
                // Not every errno for every call, but each kind of call meets all of them.
                while bench.refuse(command, nth, TROUBLES[nth % TROUBLES.len()]) {
                    nth += 1;
                }
            }
        }));
    }
    table.finish(was_hit_each_time_but_the_last);
}

/// The last rounds of each command are those whose call never came.
fn was_hit_each_time_but_the_last(tallies: &[Tally]) -> bool {
    tallies
        .iter()
        .all(|tally| tally.hits > 10 && tally.hits + 2 >= tally.rounds)
}

/// Where to go through all system calls.
fn places() -> Vec<(Runtime, &'static [StoreKind])> {
    if std::env::var_os(EVERYWHERE).is_some() {
        Runtime::ALL.map(|runtime| (runtime, &DAEMONS[..])).into()
    } else {
        // Files are changed by the same code in all of them, in this one as it comes: on one thread.
        vec![(Runtime::MIO, &DAEMONS[..1])]
    }
}

/// Has a bench for each daemon, all at the same time, and returns what came of it.
fn on(
    daemons: &[StoreKind],
    runtime: Runtime,
    test: impl Fn(&mut Bench, StoreKind) + Sync,
) -> Vec<Tally> {
    let test = &test;
    thread::scope(|scope| {
        let threads: Vec<_> = daemons
            .iter()
            .map(|&daemon| {
                let one = move || {
                    let mut bench = Bench::new(runtime, daemon);
                    test(&mut bench, daemon);
                    bench.finish()
                };
                thread::Builder::new()
                    .name(format!("{runtime:?} {daemon:?}"))
                    .spawn_scoped(scope, one)
                    .unwrap()
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("see above"))
            .collect()
    })
}

//! Ten thousand hostile and unlucky worlds, and those in which something was found once. `docs/simulation.md` says how to
//! read a failure.
#![deny(unsafe_code)]
#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test"
)]

use std::fs;
use std::path::Path;

use nova_agent_core::secret::Secret;
use nova_agent_sim::host::{HostKey, encrypt};
use nova_agent_sim::world::simulation::{Choices, Failure, Lists, run, run_many, show};
use nova_agent_tests::host::{self, KeyDigest};

/// How many worlds there are in each run of the tests.
const WORLDS: u64 = 10_000;

#[test]
fn every_invariant_holds_in_ten_thousand_worlds_with_every_kind_of_fault() {
    let figures = run_many(0, WORLDS).unwrap_or_else(|failure| panic!("{}", show(&failure)));
    let table = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simulation.txt");
    fs::write(table, figures.to_string()).unwrap();
    assert_eq!(figures.missing(), Vec::<String>::new(), "never happened");
}

#[test]
fn a_seed_is_the_same_world_each_time_and_so_are_its_choices() {
    for seed in 0..20 {
        let [first, second] = [(); 2].map(|()| run(Choices::of_seed(seed), true));
        let recorded: Lists = first.lists.to_string().parse().unwrap();
        let replayed = run(Choices::of_lists(recorded), true);
        for other in [second, replayed] {
            assert_eq!(other.story, first.story, "seed {seed}");
            assert_eq!(
                (other.digests, other.events),
                (first.digests, first.events),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn passwords_are_encrypted_as_openssl_does_it() {
    for (password, modern, digest) in [
        ("Tr0ub4dor&3", false, KeyDigest::Md5),
        ("", true, KeyDigest::Sha256),
        ("fifteen bytes..", true, KeyDigest::Sha256),
    ] {
        let exchange = HostKey::from_number(12_345)
            .agree("93055292000370020129851")
            .unwrap();
        let expected =
            host::encrypt(&exchange, &Secret::from(String::from(password)), digest).unwrap();
        assert_eq!(encrypt(password, exchange.secret(), modern), expected);
    }
}

/// A file for each world in which something was found, with its choices.
#[test]
fn what_was_found_once_does_not_come_back() {
    let mut worlds = 0;
    for entry in fs::read_dir("worlds").unwrap() {
        let path = entry.unwrap().path();
        let lists: Lists = fs::read_to_string(&path).unwrap().parse().unwrap();
        let run = run(Choices::of_lists(lists), false);
        if let Some(violation) = run.violation {
            panic!(
                "{}: {}",
                path.display(),
                show(&Failure {
                    seed: 0,
                    lists: run.lists,
                    violation
                })
            );
        }
        worlds += 1;
    }
    assert!(worlds > 0, "there are none");
}

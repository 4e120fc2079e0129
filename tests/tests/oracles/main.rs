//! What is rendered, given to the network stacks it is for: they accept it, and make of it exactly what the host said.
//!
//! For each target, every golden case is tried, and random data of a host on plain guests. What a stack makes of random
//! data depends on nothing but `NOVA_ORACLE_SEED`; `NOVA_ORACLE_CASES` is how many there are for each target.
#![deny(unsafe_code)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

mod random;
#[path = "../../../core/tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use nova_agent_core::effect::InterfaceState;
use nova_agent_core::network::{MacAddr, validate};
use nova_agent_core::render::{HostData, Prepared};
use nova_agent_tests::oracle::{self, Expected, Report};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::support::{Guest, Host, write_tree};

/// What `tests/golden` and `tests/oracles` know as this stack.
struct Target {
    /// The directory below `tests/golden`.
    golden: &'static str,
    /// The target of `tests/oracles/check`.
    oracle: &'static str,
    depth: Depth,
    /// The golden cases whose guests get random data.
    guests: &'static [&'static str],
    /// What the names of the interfaces begin with.
    interfaces: &'static str,
}

/// How much a stack's own programs have to do with the answer.
#[derive(Clone, Copy, Debug)]
enum Depth {
    /// They ran.
    Applied,
    /// A shell read the files, their documented meaning was applied.
    Parsed,
}

const TARGETS: [Target; 7] = [
    Target {
        golden: "arch-rc",
        oracle: "arch-rc",
        depth: Depth::Parsed,
        guests: &["canonical", "one-interface-in-variables"],
        interfaces: "eth",
    },
    Target {
        golden: "freebsd",
        oracle: "freebsd",
        depth: Depth::Parsed,
        // Others keep routes of other interfaces, which random networks make possible.
        guests: &["canonical"],
        interfaces: "xn",
    },
    Target {
        golden: "gentoo",
        oracle: "gentoo",
        depth: Depth::Parsed,
        guests: &["canonical", "lists-of-an-older-system"],
        interfaces: "eth",
    },
    Target {
        golden: "gentoo-legacy",
        oracle: "gentoo-legacy",
        depth: Depth::Parsed,
        guests: &["canonical", "kept-lines"],
        interfaces: "eth",
    },
    Target { golden: "ifcfg", oracle: "ifcfg", depth: Depth::Parsed, guests: &["canonical"], interfaces: "eth" },
    Target {
        golden: "ifupdown",
        oracle: "ifupdown",
        depth: Depth::Applied,
        guests: &["canonical", "resolvconf"],
        interfaces: "eth",
    },
    Target {
        golden: "netcfg",
        oracle: "netcfg",
        depth: Depth::Parsed,
        guests: &["canonical", "from-the-service-network", "kept-lines"],
        interfaces: "eth",
    },
];

/// Golden cases that no oracle can judge, and why.
const UNCHECKED: [(&str, &str); 4] = [
    ("freebsd/a-file-that-cannot-be-edited", "nothing is rendered"),
    ("gentoo/a-file-that-cannot-be-edited", "nothing is rendered"),
    ("ifupdown/foreign-stanzas", "what it keeps needs a bridge and files of the server"),
    ("ifupdown/no-interface-described", "nothing is rendered"),
];

/// Golden cases whose guests list the name servers in another order already, which is no reason to change them.
const OTHER_ORDER: [&str; 2] = ["ifcfg/stale-files-and-kept-lines", "netcfg/kept-lines"];

/// Random cases for each target, unless `NOVA_ORACLE_CASES` says otherwise.
const CASES: usize = 200;

/// Where they come from, unless `NOVA_ORACLE_SEED` says otherwise.
const SEED: u64 = 0x6e6f_7661;

/// A check waits for the kernel now and then.
const WORKERS_PER_CORE: usize = 2;

/// How often a failing case is tried in a smaller form.
const SHRINKS_MAX: usize = 30;

/// How many cases in a row may be no valid data.
const REJECTED_MAX: u64 = 1000;

#[test]
fn every_stack_makes_of_the_files_what_the_host_said() {
    TARGETS.iter().for_each(assert_can_run);
    let (cases, seed) = (number("NOVA_ORACLE_CASES", CASES), number("NOVA_ORACLE_SEED", SEED));
    let golden: Vec<(usize, PathBuf)> = (0..).zip(&TARGETS).flat_map(|(nth, target)| golden(nth, target)).collect();
    let random = (0..cases).flat_map(|case| (0..TARGETS.len()).map(move |nth| Job::Random { nth, case }));
    let jobs: Vec<Job<'_>> = golden.iter().map(|(nth, case)| Job::Golden { nth: *nth, case }).chain(random).collect();

    let next = AtomicUsize::new(0);
    let tallies = Mutex::new(TARGETS.each_ref().map(|_| Tally::default()));
    thread::scope(|scope| {
        for _ in 0..WORKERS_PER_CORE * thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(job, seed, &tallies);
                }
            });
        }
    });

    let tallies = tallies.into_inner().unwrap();
    let mut table =
        format!("oracles, seed {seed}\n{:12}{:>9}{:>9}{:>9}  oracle\n", "target", "golden", "random", "failed");
    for (target, Tally { golden, random, failures }) in TARGETS.iter().zip(&tallies) {
        let depth = match target.depth {
            Depth::Applied => "applied by its own programs",
            Depth::Parsed => "parsed, meaning applied",
        };
        writeln!(table, "{:12}{golden:>9}{random:>9}{:>9}  {depth}", target.oracle, failures.len()).unwrap();
    }
    // Not by print!, which the test harness swallows.
    std::io::stderr().write_all(table.as_bytes()).unwrap();

    let failures: Vec<String> = tallies.into_iter().flat_map(|tally| tally.failures).collect();
    assert!(failures.is_empty(), "{} failed\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn a_wrong_address_and_an_impossible_one_are_refused() {
    for target in &TARGETS {
        let case = golden_root().join(target.golden).join("canonical");
        let data = Host::read(&case).data;
        let guest = Guest::read(&case, "before");
        let good = Rendered::new(&guest, &data).expect("the canonical case");
        assert_eq!(good.check(target), Ok(()));
        for other in ["203.0.113.99", "203.0.113.999"] {
            let bad = Rendered::new(&guest, &data).expect("the canonical case");
            for path in files(bad.tree.path()) {
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, text.replace("203.0.113.11", other)).unwrap();
            }
            match bad.check(target) {
                Err(Report::Different(_)) => {}
                result => panic!("{} with {other}: {result:?}", target.oracle),
            }
        }
    }
}

#[test]
fn every_case_that_is_an_exception_exists() {
    for case in UNCHECKED.iter().map(|(case, _)| *case).chain(OTHER_ORDER) {
        assert!(golden_root().join(case).is_dir(), "{case}");
    }
}

/// One configuration for one stack.
enum Job<'a> {
    Golden { nth: usize, case: &'a Path },
    Random { nth: usize, case: usize },
}

/// What passed for a target, and texts about what did not.
#[derive(Default)]
struct Tally {
    golden: usize,
    random: usize,
    failures: Vec<String>,
}

fn run(job: &Job<'_>, seed: u64, tallies: &Mutex<[Tally; TARGETS.len()]>) {
    let (nth, result) = match *job {
        Job::Golden { nth, case } => (nth, check_golden(&TARGETS[nth], case)),
        // One failure tells enough about a target.
        Job::Random { nth, .. } if !tallies.lock().unwrap()[nth].failures.is_empty() => return,
        Job::Random { nth, case } => (nth, check_random(&TARGETS[nth], seed, case)),
    };
    let tally = &mut tallies.lock().unwrap()[nth];
    match (job, result) {
        (_, Err(text)) => tally.failures.push(text),
        (Job::Golden { .. }, Ok(())) => tally.golden += 1,
        (Job::Random { .. }, Ok(())) => tally.random += 1,
    }
}

/// A guest's files after the change, and what shall come of them.
struct Rendered {
    tree: tempfile::TempDir,
    expected: Expected,
    changes: String,
}

impl Rendered {
    /// # Errors
    /// The text for the host.
    fn new(guest: &Guest, data: &HostData) -> Result<Self, String> {
        let validated = validate(&data.networking, &data.vifs, &guest.interfaces);
        let configuration = match guest.prepare(data) {
            Prepared::Ready(configuration) => configuration,
            Prepared::Refused(text) => return Err(text),
            Prepared::Missing(probes) => return Err(format!("still asks: {probes:?}")),
        };
        let tree = tempfile::tempdir().unwrap();
        write_tree(tree.path(), &guest.files);
        oracle::apply(&configuration.plan, tree.path()).unwrap();
        let mut expected = Expected::new(&validated.config).on(&guest.interfaces);
        if guest.programs.contains_key("resolvconf") {
            expected = expected.with_nameservers_in_any_order();
        }
        if guest.kernel == "FreeBSD" {
            expected = expected.with_host_aliases();
        }
        Ok(Self { tree, expected, changes: oracle::describe(&configuration.plan) })
    }

    fn check(&self, target: &Target) -> Result<(), Report> {
        oracle::check(target.oracle, self.tree.path(), &self.expected)
    }
}

/// A machine that cannot run a stack says so once, not for every case.
fn assert_can_run(target: &Target) {
    let case = golden_root().join(target.golden).join("canonical");
    let rendered = Rendered::new(&Guest::read(&case, "before"), &Host::read(&case).data).expect("the canonical case");
    if let Err(report @ Report::Unavailable(_)) = rendered.check(target) {
        panic!("{}: {report}", target.oracle);
    }
}

fn check_golden(target: &Target, case: &Path) -> Result<(), String> {
    let rendered = Rendered::new(&Guest::read(case, "before"), &Host::read(case).data);
    let result = rendered.and_then(|mut rendered| {
        if OTHER_ORDER.iter().any(|other| golden_root().join(other) == case) {
            rendered.expected = rendered.expected.with_nameservers_in_any_order();
        }
        rendered.check(target).map_err(|report| report.to_string())
    });
    result.map_err(|text| format!("=== {}\n{text}", case.display()))
}

fn check_random(target: &Target, seed: u64, case: usize) -> Result<(), String> {
    let guest = target.guests[case % target.guests.len()];
    let guest_case = golden_root().join(target.golden).join(guest);
    let mut guest = Guest::read(&guest_case, "before");
    guest.interfaces = (0..random::INTERFACES_MAX).map(|number| interface(target, number)).collect();

    let is_valid = |data: &HostData| {
        let validated = validate(&data.networking, &data.vifs, &guest.interfaces);
        validated.errors.is_empty() && random::is_possible(&validated.config)
    };
    let result = |data: &HostData| {
        let rendered = Rendered::new(&guest, data).map_err(|text| (text, String::new()))?;
        rendered.check(target).map_err(|report| (report.to_string(), rendered.changes))
    };
    let mut rejected = 0;
    let mut found = loop {
        let found = random_case(seed, case, rejected);
        if is_valid(&found.current()) {
            break found;
        }
        rejected += 1;
        assert!(rejected < REJECTED_MAX, "no valid data for case {case}");
    };
    let mut data = found.current();
    let Err(mut failure) = result(&data) else { return Ok(()) };

    let mut more = found.simplify();
    for _ in 0..SHRINKS_MAX {
        if !more {
            break;
        }
        let smaller = found.current();
        more = match is_valid(&smaller).then(|| result(&smaller)) {
            Some(Err(text)) => {
                (data, failure) = (smaller, text);
                found.simplify()
            }
            Some(Ok(())) | None => found.complicate(),
        };
    }
    let (text, changes) = failure;
    let mut values = String::new();
    for (_, value) in &data.networking {
        writeln!(values, "{}", String::from_utf8_lossy(value)).unwrap();
    }
    let guest = guest_case.display();
    Err(format!("=== {} random case {case} of seed {seed} on {guest}\n{values}{changes}{text}", target.oracle))
}

/// The case by its numbers alone, so that it can be found again without the others.
fn random_case(seed: u64, case: usize, rejected: u64) -> impl ValueTree<Value = HostData> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..16].copy_from_slice(&(case as u64).to_be_bytes());
    bytes[16..24].copy_from_slice(&rejected.to_be_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    random::host_data().new_tree(&mut runner).expect("a strategy that filters little")
}

fn interface(target: &Target, number: usize) -> InterfaceState {
    InterfaceState {
        name: format!("{}{number}", target.interfaces),
        mac: Some(MacAddr::try_from(random::mac(number).as_str()).unwrap()),
        physical: true,
        vif: Some(u32::try_from(number).unwrap()),
        master: None,
        driver: None,
        up: true,
        addresses: Vec::new(),
    }
}

/// The golden cases of a target that can be checked.
fn golden(nth: usize, target: &Target) -> Vec<(usize, PathBuf)> {
    let unchecked = |path: &Path| UNCHECKED.iter().any(|(case, _)| path == golden_root().join(case));
    let root = golden_root().join(target.golden);
    let entries = fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir() && !unchecked(path));
    cases.sort();
    cases.into_iter().map(|case| (nth, case)).collect()
}

fn golden_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The regular files below a directory.
fn files(root: &Path) -> Vec<PathBuf> {
    let files = support::read_tree(root).into_iter();
    let regular = files.filter(|(_, file)| matches!(file, support::File::Regular(_)));
    regular.map(|(path, _)| root.join(path.as_str().trim_start_matches('/'))).collect()
}

fn number<T: std::str::FromStr>(variable: &str, default: T) -> T {
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

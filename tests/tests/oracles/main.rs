//! What is rendered, given to the network stacks it is for: they accept it, and make of it exactly what the host said.
//!
//! For each stack, every guest of `tests/guests` that has it is tried, and random data of a host on plain guests. The data
//! are others in each run, which prints the seed that repeats it: `NOVA_ORACLE_SEED`. `NOVA_ORACLE_CASES` is how many there
//! are for each stack: few in `make test`, many in `make nightly`.
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
mod table;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

use nova_agent_core::network::validate;
use nova_agent_core::render::{self, Configuration, HostData, Prepared};
use nova_agent_tests::fixture::{Entry, Fixture, Guest};
use nova_agent_tests::oracle::{self, Expected, Report};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::table::{Line, show};

/// A network stack, and what judges its files.
struct Target {
    /// Its name, as the agent says it.
    stack: &'static str,
    oracle: Option<Oracle>,
}

struct Oracle {
    /// The target of `tests/oracles/check`.
    name: &'static str,
    depth: Depth,
    /// The guests that get random data. The first one has [`ADDRESS`].
    guests: &'static [&'static str],
}

/// How much a stack's own programs have to do with the answer.
#[derive(Clone, Copy, Debug)]
enum Depth {
    /// They ran.
    Applied,
    /// A shell read the files, their documented meaning was applied.
    Parsed,
}

/// In the order of their names.
static TARGETS: &[Target] = &[
    applied(
        "NetworkManager",
        "nm",
        &["rocky-9-nm", "rhel-10-nm+first-boot"],
    ),
    parsed(
        "NetworkManager with ifcfg files",
        "ifcfg-nm",
        &["rocky-8-nm-ifcfg"],
    ),
    applied("busybox ifupdown", "busybox", &["alpine-3.12-busybox"]),
    // Another one keeps a default route that another interface may need.
    parsed(
        "ifup scripts of SUSE",
        "suse",
        &["sles-11-scripts+no-routes-file"],
    ),
    applied(
        "ifupdown",
        "ifupdown",
        &["debian-12-ifupdown+canonical", "ubuntu-16.04-ifupdown"],
    ),
    applied("ifupdown-ng", "ifupdown-ng", &["alpine-3.20-ifupdown-ng"]),
    applied(
        "ifupdown2",
        "ifupdown2",
        &["debian-12-ifupdown2", "debian-12-ifupdown2+resolvconf"],
    ),
    parsed(
        "netcfg",
        "netcfg",
        &[
            "arch-netcfg",
            "arch-netcfg+from-the-service-network",
            "arch-netcfg+kept-lines",
        ],
    ),
    applied("netctl", "netctl", &["arch-netctl"]),
    parsed(
        "netifrc",
        "gentoo",
        &["gentoo-openrc", "gentoo-openrc+lists-of-an-older-system"],
    ),
    parsed(
        "netifrc of baselayout 1",
        "gentoo-legacy",
        &["gentoo-baselayout-1", "gentoo-baselayout-1+kept-lines"],
    ),
    applied(
        "netplan",
        "netplan",
        &[
            "ubuntu-22.04-netplan",
            "ubuntu-24.04-desktop-netplan",
            "debian-12-netplan",
        ],
    ),
    parsed("network-scripts", "ifcfg", &["centos-7-ifcfg"]),
    parsed(
        "rc.conf of Arch Linux",
        "arch-rc",
        &["arch-rc-conf", "arch-rc-conf+one-interface-in-variables"],
    ),
    // Others keep routes of other interfaces, which random networks make possible.
    parsed("rc.conf of FreeBSD", "freebsd", &["freebsd-14"]),
    applied(
        "systemd-networkd",
        "networkd",
        &["amazon-2023-networkd", "photon-3-networkd"],
    ),
    parsed("wicked", "suse", &["sles-15-wicked"]),
];

const fn applied(
    stack: &'static str,
    oracle: &'static str,
    guests: &'static [&'static str],
) -> Target {
    Target {
        stack,
        oracle: Some(Oracle {
            name: oracle,
            depth: Depth::Applied,
            guests,
        }),
    }
}

const fn parsed(
    stack: &'static str,
    oracle: &'static str,
    guests: &'static [&'static str],
) -> Target {
    Target {
        stack,
        oracle: Some(Oracle {
            name: oracle,
            depth: Depth::Parsed,
            guests,
        }),
    }
}

/// Guests that no oracle can judge, and why.
const UNCHECKED: [(&str, &str); 4] = [
    (
        "alpine-3.20-ifupdown-ng+resolv-conf-is-a-link",
        "the program behind the link is not there",
    ),
    (
        "debian-12-ifupdown+foreign-stanzas",
        "what it keeps needs a bridge and files of the server",
    ),
    (
        "gentoo-networkd",
        "it has VLANs, which not every kernel knows",
    ),
    (
        "ubuntu-22.04-netplan+devices-on-an-interface",
        "it has VLANs, which not every kernel knows",
    ),
];

/// Guests that list the name servers in another order already, which is no reason to change them.
const OTHER_ORDER: [&str; 5] = [
    "arch-netcfg+kept-lines",
    "centos-6-ifcfg",
    "photon-3-networkd",
    "ubuntu-18.04-netplan",
    "ubuntu-22.04-netplan+one-interface-refused",
];

/// An address that the first guest of each oracle gets, and that is to be found in its files.
const ADDRESS: &str = "203.0.113.11";

/// Random cases for each stack, unless `NOVA_ORACLE_CASES` says otherwise.
const CASES: usize = 24;

/// Stacks whose files are written as those of another one, which has all cases; these have every fourth.
const ALIKE: [&str; 2] = ["ifup scripts of SUSE", "ifupdown2"];

/// A check waits for the kernel now and then.
const WORKERS_PER_CORE: usize = 2;

/// How often a failing case is tried in a smaller form.
const SHRINKS_MAX: usize = 30;

/// How many cases in a row may be no valid data.
const REJECTED_MAX: u64 = 1000;

#[test]
fn every_stack_makes_of_the_files_what_the_host_said() {
    oracles().for_each(|(_, oracle)| assert_can_run(oracle));
    let cases = number("NOVA_ORACLE_CASES").unwrap_or(CASES);
    let seed = number("NOVA_ORACLE_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.subsec_nanos().into()
    });
    // Not by print!, which the test harness swallows: a run that never ends can be repeated, too.
    writeln!(io::stderr(), "NOVA_ORACLE_SEED={seed} repeats this run").unwrap();
    let fixtures: Vec<Vec<Fixture>> = TARGETS.iter().map(fixtures).collect();
    let known = oracles().flat_map(|(nth, oracle)| {
        let judged = fixtures[nth]
            .iter()
            .filter(|fixture| reason(fixture).is_none());
        judged.map(move |fixture| (nth, Job::Known { oracle, fixture }))
    });
    let random = (0..cases).flat_map(|case| {
        let tried = oracles()
            .filter(move |(nth, _)| case % 4 == 0 || !ALIKE.contains(&TARGETS[*nth].stack));
        tried.map(move |(nth, oracle)| (nth, Job::Random { oracle, case }))
    });
    let jobs: Vec<(usize, Job<'_>)> = known.chain(random).collect();

    let next = AtomicUsize::new(0);
    let tallies = Mutex::new(TARGETS.iter().map(|_| Tally::default()).collect::<Vec<_>>());
    thread::scope(|scope| {
        for _ in 0..WORKERS_PER_CORE * thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((nth, job)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(*nth, job, seed, &tallies);
                }
            });
        }
    });

    let tallies = tallies.into_inner().unwrap();
    let lines = TARGETS
        .iter()
        .zip(&fixtures)
        .zip(&tallies)
        .map(|((target, fixtures), tally)| Line {
            target,
            fixtures: fixtures.len(),
            random: tally.random,
            failed: tally.failures.len(),
        });
    let unjudged = fixtures
        .iter()
        .flatten()
        .filter_map(|fixture| Some((fixture.name(), reason(fixture)?)));
    show(seed, lines, unjudged);

    let failures: Vec<String> = tallies
        .into_iter()
        .flat_map(|tally| tally.failures)
        .collect();
    assert!(
        failures.is_empty(),
        "{} failed\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

/// All stacks at the same time: they mostly wait for what will not come.
#[test]
fn a_wrong_address_and_an_impossible_one_are_refused() {
    thread::scope(|scope| {
        for (_, oracle) in oracles() {
            scope.spawn(|| {
                assert_eq!(plain(oracle).check(oracle), Ok(()));
                for other in ["203.0.113.99", "203.0.113.999"] {
                    assert_refused(oracle, other);
                }
            });
        }
    });
}

#[test]
fn every_stack_has_a_line_in_the_table() {
    let known: Vec<&str> = TARGETS.iter().map(|target| target.stack).collect();
    let sorted: Vec<&str> = render::stacks().into_iter().collect();
    assert_eq!(known, sorted, "in the order of their names");
    for fixture in Fixture::all() {
        let stack = fixture.stack();
        let is_known = stack
            .as_deref()
            .is_none_or(|stack| stack == "hostname" || known.contains(&stack));
        assert!(is_known, "{fixture}: {stack:?}");
    }
}

/// Puts another address in the files of a plain guest.
fn assert_refused(oracle: &Oracle, other: &str) {
    let bad = plain(oracle);
    for path in files(&bad.guest) {
        let text = fs::read(&path).unwrap();
        let Ok(text) = String::from_utf8(text) else {
            continue;
        };
        fs::write(&path, text.replace(ADDRESS, other)).unwrap();
    }
    match bad.check(oracle) {
        // The agent, too, must not take it for success.
        Err(Report::Different(text)) => {
            assert!(!text.contains("the agent says: met"), "{text}")
        }
        result => panic!("{} with {other}: {result:?}", oracle.name),
    }
}

/// One configuration for one stack.
enum Job<'a> {
    Known {
        oracle: &'a Oracle,
        fixture: &'a Fixture,
    },
    Random {
        oracle: &'a Oracle,
        case: usize,
    },
}

/// What passed for a target, and texts about what did not.
#[derive(Default)]
struct Tally {
    random: usize,
    failures: Vec<String>,
}

fn run(nth: usize, job: &Job<'_>, seed: u64, tallies: &Mutex<Vec<Tally>>) {
    let result = match *job {
        Job::Known { oracle, fixture } => check_known(oracle, fixture),
        // One failure tells enough about a target.
        Job::Random { .. } if !tallies.lock().unwrap()[nth].failures.is_empty() => return,
        Job::Random { oracle, case } => check_random(oracle, seed, case),
    };
    let tally = &mut tallies.lock().unwrap()[nth];
    match (job, result) {
        (_, Err(text)) => tally.failures.push(text),
        (Job::Known { .. }, Ok(())) => {}
        (Job::Random { .. }, Ok(())) => tally.random += 1,
    }
}

/// A guest after the change, and what shall come of its files.
struct Rendered {
    guest: Guest,
    expected: Expected,
    changes: String,
}

impl Rendered {
    /// # Errors
    /// The text for the host.
    fn new(guest: Guest, data: &HostData) -> Result<Self, String> {
        let interfaces = guest.interfaces();
        let validated = validate(&data.networking, &data.vifs, &interfaces);
        let Configuration { plan, .. } = match guest.prepare(data) {
            Prepared::Ready(configuration) => configuration,
            Prepared::Refused(why) => return Err(why.to_string()),
            Prepared::Missing(probes) => return Err(format!("still asks: {probes:?}")),
        };
        let changes = oracle::describe(&plan);
        guest
            .carry_out(plan)
            .map_err(|failure| failure.to_string())?;
        let mut expected = Expected::new(&validated.config).on(&interfaces);
        // resolvconf has an order of its own, netplan lists those of IPv4 first.
        if guest.has_program("resolvconf") || guest.has_program("netplan") {
            expected = expected.with_nameservers_in_any_order();
        }
        // NetworkManager sorts them by interface and family.
        if guest.has_program("nmcli") {
            expected = expected
                .with_nameservers_in_any_order()
                .without_nameservers_out_of_reach(&validated.config);
        }
        if guest.has_program("freebsd-version") {
            expected = expected.with_host_aliases();
        }
        Ok(Self {
            guest,
            expected,
            changes,
        })
    }

    fn check(&self, oracle: &Oracle) -> Result<(), Report> {
        oracle::check(
            oracle.name,
            self.guest.path(),
            &self.expected,
            Path::new(env!("CARGO_BIN_EXE_nova-verify")),
        )
    }
}

/// A machine that cannot run a stack says so once, not for every case.
fn assert_can_run(oracle: &Oracle) {
    if let Err(report @ Report::Unavailable(_)) = plain(oracle).check(oracle) {
        panic!("{}: {report}", oracle.name);
    }
}

/// The first guest of an oracle.
fn plain(oracle: &Oracle) -> Rendered {
    let fixture = Fixture::named(oracle.guests[0]);
    Rendered::new(fixture.guest(), &fixture.host())
        .unwrap_or_else(|text| panic!("{fixture}: {text}"))
}

fn check_known(oracle: &Oracle, fixture: &Fixture) -> Result<(), String> {
    let result = Rendered::new(fixture.guest(), &fixture.host()).and_then(|mut rendered| {
        if OTHER_ORDER.contains(&fixture.name()) {
            rendered.expected = rendered.expected.with_nameservers_in_any_order();
        }
        rendered.check(oracle).map_err(|report| report.to_string())
    });
    result.map_err(|text| format!("=== {fixture}\n{text}"))
}

fn check_random(oracle: &Oracle, seed: u64, case: usize) -> Result<(), String> {
    let fixture = Fixture::named(oracle.guests[case % oracle.guests.len()]);
    let own = fixture.guest().interfaces().swap_remove(0).name;
    let prefix = own.trim_end_matches(|c: char| c.is_ascii_digit());
    let interfaces: Vec<(String, String)> = (0..random::INTERFACES_MAX)
        .map(|nth| (format!("{prefix}{nth}"), random::mac(nth)))
        .collect();
    let tree = fixture.tree().with_interfaces(
        interfaces
            .iter()
            .map(|(name, mac)| (name.as_str(), mac.as_str())),
    );
    let states = Guest::new(&tree).interfaces();

    let is_valid = |data: &HostData| {
        let validated = validate(&data.networking, &data.vifs, &states);
        validated.errors.is_empty() && random::is_possible(&validated.config)
    };
    let result = |data: &HostData| {
        let rendered =
            Rendered::new(Guest::new(&tree), data).map_err(|text| (text, String::new()))?;
        rendered
            .check(oracle)
            .map_err(|report| (report.to_string(), rendered.changes))
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
    let Err(mut failure) = result(&data) else {
        return Ok(());
    };

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
    Err(format!(
        "=== {} random case {case} of seed {seed} on {fixture}\n{values}{changes}{text}",
        oracle.name
    ))
}

/// The case by its numbers alone, so that it can be found again without the others.
fn random_case(seed: u64, case: usize, rejected: u64) -> impl ValueTree<Value = HostData> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..16].copy_from_slice(&(case as u64).to_be_bytes());
    bytes[16..24].copy_from_slice(&rejected.to_be_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    random::host_data()
        .new_tree(&mut runner)
        .expect("a strategy that filters little")
}

/// The targets that are judged, with their places in the table.
fn oracles() -> impl Iterator<Item = (usize, &'static Oracle)> {
    TARGETS
        .iter()
        .enumerate()
        .filter_map(|(nth, target)| Some((nth, target.oracle.as_ref()?)))
}

/// The guests that have this stack.
fn fixtures(target: &Target) -> Vec<Fixture> {
    Fixture::all()
        .into_iter()
        .filter(|fixture| fixture.stack().as_deref() == Some(target.stack))
        .collect()
}

/// Why a guest is not judged.
fn reason(fixture: &Fixture) -> Option<&'static str> {
    UNCHECKED
        .iter()
        .find(|(name, _)| *name == fixture.name())
        .map(|(_, reason)| *reason)
}

/// The regular files of a guest.
fn files(guest: &Guest) -> Vec<PathBuf> {
    let files = guest
        .tree()
        .0
        .into_iter()
        .filter(|(_, entry)| matches!(entry, Entry::File { .. }));
    files.map(|(path, _)| guest.join(&path)).collect()
}

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

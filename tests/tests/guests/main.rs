//! Whole guests, before a reset of the network and after it; `nova_agent_tests::fixture` says what they consist of.
//!
//! `NOVA_BLESS=1 cargo test -p nova-agent-tests --test guests every_guest` rewrites what stands behind `== after`; look at the
//! difference before you commit it.
#![deny(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

mod bounds;
mod hostile;
mod invalid;
mod report;
mod roll_back;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nova_agent_core::effect::{Change, ExistingMode};
use nova_agent_core::plan::Plan;
use nova_agent_core::render::{Configuration, Prepared};
use nova_agent_system::internal::read_host_file;
use nova_agent_tests::fixture::{Entry, Fixture, Guest, GuestText, Tree, pack, path_of};
use serde_json::Value;

use self::report::report;

#[test]
fn every_guest_becomes_what_its_files_say() {
    on_every_guest(|fixture| {
        let guest = fixture.guest();
        let before = guest.tree();
        let prepared = guest.prepare(&fixture.host());
        let effects = report(&prepared);
        if let Prepared::Ready(Configuration { plan, .. }) = prepared {
            let expected = Promise::of(&plan, &before);
            guest
                .carry_out(plan)
                .map_err(|failure| failure.to_string())?;
            expected.check(&guest.tree())?;
        }
        let after = guest.tree();
        if std::env::var_os("NOVA_BLESS").is_some() {
            fixture.bless(&effects, &after.changed_since(&before).with_usual_modes());
            return Ok(());
        }
        compare(fixture, &before, &after, &effects)
    });
}

#[test]
fn a_second_reset_changes_nothing() {
    on_every_guest(|fixture| {
        let guest = afterwards(fixture)?;
        nothing_is_left_to_do(&guest, fixture)
    });
}

#[test]
fn the_order_of_the_hosts_data_does_not_matter() {
    on_every_guest(|fixture| {
        let guest = fixture.guest();
        let mut data = fixture.host();
        let first = guest.prepare(&data);
        data.networking.reverse();
        data.vifs.reverse();
        let second = guest.prepare(&data);
        if first == second {
            Ok(())
        } else {
            Err(format!(
                "{}--- in another order\n{}",
                report(&first),
                report(&second)
            ))
        }
    });
}

/// Name servers come from a set, in another order with every write.
#[test]
fn another_order_of_name_servers_changes_nothing() {
    on_every_guest(|fixture| {
        let guest = afterwards(fixture)?;
        let mut data = fixture.host();
        for (_, value) in &mut data.networking {
            let Ok(mut json) = serde_json::from_slice::<Value>(value) else {
                continue;
            };
            if let Some(Value::Array(dns)) = json.get_mut("dns") {
                dns.reverse();
            }
            *value = json.to_string().into_bytes();
        }
        match guest.prepare(&data) {
            Prepared::Ready(Configuration { plan, .. }) if !plan.steps.is_empty() => {
                Err(format!("{:#?}", plan.steps))
            }
            _ => Ok(()),
        }
    });
}

#[test]
fn every_text_is_read_as_it_is_written() {
    on_every_guest(|fixture| {
        let text = fixture.text();
        let written = text.write();
        if GuestText::parse(&written).as_ref() != Ok(text) {
            return Err("what is written is read as something else".into());
        }
        if fs::read_to_string(path_of(fixture.name())).unwrap() != written {
            return Err("it is written in another way".into());
        }
        let directory = tempfile::tempdir().unwrap();
        fixture.unpack(directory.path()).unwrap();
        let unpacked = Tree::read(&directory.path().join("before"));
        let host = read_host_file(&directory.path().join("network.json"));
        if host.unwrap() != fixture.host() {
            return Err("the unpacked host says something else".into());
        }
        match unpacked.differences(&fixture.tree()) {
            differences if differences.is_empty() => Ok(()),
            differences => Err(differences),
        }
    });
}

#[test]
fn what_is_wrong_in_a_text_is_told_with_its_line() {
    for (text, expected) in [
        ("nothing", "line 1: \"nothing\" is outside of every section"),
        (
            "# a\n-- nonsense\n",
            "line 2: there is no section \"nonsense\" here",
        ),
        ("-- file etc/x\n", "line 1: \"etc/x\" is no absolute path"),
        (
            "-- file /etc/../x\n",
            "line 1: \"/etc/../x\" is no absolute path",
        ),
        (
            "-- file /x\n-- file /x/y\n",
            "line 2: /x/y is below /x, which is no directory",
        ),
        (
            "-- file /x/y\n-- file /x\n",
            "line 2: something is below /x, which is no directory",
        ),
        ("-- file /x\n-- file /x\n", "line 2: a second /x"),
        ("-- links\n\n/x\n", "line 3: a symlink is PATH -> TARGET"),
        ("-- vifs\nx y\n", "line 2: \"x\" is no number of a device"),
        (
            "-- interfaces\neth0 00:16:3e:00:00:01 tall\n",
            "line 2: \"tall\" says nothing of an interface",
        ),
        (
            "== after\n-- hostname\n",
            "line 2: there is no section \"hostname\" here",
        ),
        (
            "== after\n== after\n",
            "line 2: \"== after\" instead of one \"== after\"",
        ),
    ] {
        assert_eq!(
            GuestText::parse(text).unwrap_err().to_string(),
            expected,
            "{text}"
        );
    }
    let lost = GuestText::parse("base: nothing\n").unwrap();
    assert!(lost.resolve(&|_| None).is_err());
    assert!(lost.resolve(&|_| Some(lost.clone())).is_err(), "of itself");
}

/// What a user sends makes the same plan, and has no secret.
#[test]
fn a_packed_guest_has_the_same_plan() {
    on_every_guest(|fixture| {
        let guest = fixture.guest();
        let packed = pack(guest.path(), Some(fixture.host())).unwrap();
        let packed = GuestText::parse(&packed.write()).map_err(|error| error.to_string())?;
        let (tree, host) = packed.resolve(&|_| None).unwrap();
        if host.data() != fixture.host() {
            return Err("the host says something else".into());
        }
        let (expected, found) = (
            report(&guest.prepare(&fixture.host())),
            report(&Guest::new(&tree).prepare(&host.data())),
        );
        if expected == found {
            Ok(())
        } else {
            Err(format!("{expected}--- packed\n{found}{}", packed.write()))
        }
    });
}

#[test]
fn a_packed_guest_has_no_secret() {
    let mut tree = Fixture::named("debian-12-ifupdown").tree();
    let interfaces = b"auto wlan0\niface wlan0 inet dhcp\n    wpa-psk hunter2hunter2\n";
    let content = interfaces.to_vec();
    let mode = 0o600;
    tree.0.insert(
        "etc/network/interfaces".into(),
        Entry::File { content, mode },
    );
    let packed = pack(Guest::new(&tree).path(), None).unwrap().write();
    assert!(packed.contains("wpa-psk [not shown]"), "{packed}");
    assert!(!packed.contains("hunter2"), "{packed}");
    assert!(
        packed.contains("-- file /etc/network/interfaces 600"),
        "{packed}"
    );
}

/// Lines that begin like titles, bytes that are no text, odd paths and modes.
#[test]
fn whatever_a_file_is_it_can_be_written() {
    let mut text = GuestText::default();
    for (nth, content) in [
        &b"-- x\n\\-- y\n\\z\n== after"[..],
        b"\xff\0\r\n",
        b"\n",
        b"",
        b"a\r\n\n",
    ]
    .iter()
    .enumerate()
    {
        for (path, mode) in [
            ("a b 644", 0o644),
            ("x no-newline", 0o4755),
            ("y -> z", 0o7),
            ("q\"\nr", 0o600),
        ] {
            let content = content.to_vec();
            text.tree
                .0
                .insert(format!("{nth}/{path}"), Entry::File { content, mode });
        }
    }
    text.tree
        .0
        .insert("empty 1777".into(), Entry::Directory(0o1777));
    text.host.hostname = Some("-- \n".into());
    assert_eq!(
        GuestText::parse(&text.write()).as_ref(),
        Ok(&text),
        "{}",
        text.write()
    );
}

/// Runs a test for every guest, on all cores; all failures are told together.
fn on_every_guest(test: impl Fn(&Fixture) -> Result<(), String> + Sync) {
    let fixtures = Fixture::all();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(fixture) = fixtures.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(text) = test(fixture) {
                        failures
                            .lock()
                            .unwrap()
                            .push(format!("=== {fixture}\n{text}"));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {} guests\n{}",
        failures.len(),
        fixtures.len(),
        failures.join("\n")
    );
}

/// The guest when the reset is done, and the agent still runs.
fn afterwards(fixture: &Fixture) -> Result<Guest, String> {
    let guest = fixture.guest();
    if let Prepared::Ready(Configuration { plan, .. }) = guest.prepare(&fixture.host()) {
        guest
            .carry_out(plan)
            .map_err(|failure| failure.to_string())?;
    }
    Ok(guest)
}

fn nothing_is_left_to_do(guest: &Guest, fixture: &Fixture) -> Result<(), String> {
    match guest.prepare(&fixture.host()) {
        prepared @ Prepared::Ready(_) if report(&prepared).contains("\nstep: ") => {
            Err(report(&prepared))
        }
        _ => Ok(()),
    }
}

fn compare(fixture: &Fixture, before: &Tree, after: &Tree, effects: &str) -> Result<(), String> {
    const HINT: &str = "NOVA_BLESS=1 rewrites what is expected";

    let expected = fixture.after();
    let changed = after.changed_since(before).with_usual_modes();
    let mut differences = changed.differences(&expected);
    let expected = fixture.plan();
    if expected != effects {
        differences.push_str(&format!(
            "plan\n--- expected\n{expected}--- found\n{effects}"
        ));
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(format!("{differences}{HINT}"))
    }
}

/// What a plan promises beside content: which files go, which modes the others get.
struct Promise {
    removed: BTreeSet<String>,
    modes: Vec<(String, u32)>,
    before: Tree,
}

impl Promise {
    fn of(plan: &Plan, before: &Tree) -> Self {
        let (mut removed, mut modes) = (BTreeSet::new(), Vec::new());
        for step in plan.changes() {
            match step {
                Change::RemoveFile { path } => drop(removed.insert(path.as_str()[1..].into())),
                Change::WriteFile(write) => {
                    let path = &write.path.as_str()[1..];
                    let mode = match (before.0.get(path), write.existing) {
                        (Some(Entry::File { mode, .. }), ExistingMode::Keep) => *mode,
                        _ => write.mode.bits().into(),
                    };
                    modes.push((path.into(), mode));
                }
                _ => {}
            }
        }
        Self {
            removed,
            modes,
            before: before.clone(),
        }
    }

    fn check(&self, after: &Tree) -> Result<(), String> {
        let removed: BTreeSet<String> = after
            .removed_since(&self.before)
            .into_iter()
            .map(Into::into)
            .collect();
        if removed != self.removed {
            return Err(format!("removed {removed:?} instead of {:?}", self.removed));
        }
        for (path, wanted) in &self.modes {
            match after.0.get(path) {
                Some(Entry::File { mode, .. }) if mode == wanted => {}
                found => return Err(format!("{path} with mode {wanted:o} is {found:?}")),
            }
        }
        Ok(())
    }
}

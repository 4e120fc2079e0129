//! One interface of the host's data is invalid, on every guest with two: that interface is left exactly as it is, the other
//! one is configured, and the host is told.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nova_agent_core::effect::Change;
use nova_agent_core::render::{Configuration, HostData, Prepared};
use nova_agent_tests::fixture::{Entry, Fixture, Guest, Tree};
use serde_json::{Value, json};

use crate::on_every_guest;

/// What is changed in a valid value, and the text of the error.
const CASES: &str = include_str!("../../invalid.json");

/// The values of both interfaces: what a guest has to have so that it can be tested.
const FIRST: &str = "203.0.113.10";
const SECOND: &str = "10.180.3.7";
/// What the host changes of the second interface.
const MOVED: &str = "10.180.3.8";

/// What only the configuration of the first interface holds.
const OF_THE_FIRST: [&str; 6] = [
    FIRST,
    "203.0.113.11",
    "203.0.113.1",
    "2001:db8:0:1::10",
    "2001:db8:0:1::11",
    "fe80::def",
];

#[test]
fn an_invalid_interface_is_left_alone_and_its_neighbour_configured() {
    let cases: Vec<(Value, String)> = serde_json::from_str(CASES).unwrap();
    let (guests, stacks) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    on_every_guest(|fixture| {
        let Some([first, second]) = two_interfaces(&fixture.host()) else {
            return Ok(());
        };
        let guest = fixture.guest();
        let Prepared::Ready(Configuration { plan, errors, .. }) = guest.prepare(&fixture.host())
        else {
            return Ok(());
        };
        if !errors.is_empty() {
            return Ok(());
        }
        guest
            .carry_out(plan)
            .map_err(|failure| failure.to_string())?;
        guests.fetch_add(1, Ordering::Relaxed);
        stacks.lock().unwrap().extend(fixture.stack());
        cases.iter().try_for_each(|(change, text)| {
            check(&guest, fixture, [&first, &second], change, text)
                .map_err(|error| format!("{change}: {error}"))
        })
    });
    let (guests, stacks) = (guests.into_inner(), stacks.into_inner().unwrap());
    assert!(
        guests >= 20 && stacks.len() >= 15,
        "only {guests} guests of {stacks:?} have the two interfaces"
    );
    // Not by println!, which the test harness swallows.
    let cases = cases.len();
    writeln!(
        std::io::stderr(),
        "invalid data: {cases} cases on {guests} guests of {} stacks",
        stacks.len()
    )
    .unwrap();
}

/// The keys of both interfaces, if the host's data is what the cases are made for.
fn two_interfaces(data: &HostData) -> Option<[String; 2]> {
    let holds =
        |text: &str, value: &[u8]| String::from_utf8_lossy(value).contains(&format!("\"{text}\""));
    let key = |text| {
        Some(
            data.networking
                .iter()
                .find(|(_, value)| holds(text, value))?
                .0
                .clone(),
        )
    };
    (data.networking.len() == 2).then_some([key(FIRST)?, key(SECOND)?])
}

fn check(
    guest: &Guest,
    fixture: &Fixture,
    keys: [&str; 2],
    change: &Value,
    text: &str,
) -> Result<(), String> {
    let mut data = fixture.host();
    // What both interfaces have is an error of both, and nothing is left to be configured.
    let is_of_both = text.contains(" is on ");
    for (key, value) in &mut data.networking {
        let mut json: Value = serde_json::from_slice(value).unwrap();
        if key == keys[0] {
            let ips = json!([{ "ip": FIRST, "netmask": "255.255.255.0" }]);
            json = json!({ "label": "public", "mac": json["mac"], "ips": ips });
            json.as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone());
        } else if !is_of_both {
            json["ips"][0]["ip"] = json!(MOVED);
        }
        *value = json.to_string().into_bytes();
    }
    let Prepared::Ready(Configuration { plan, errors, .. }) = guest.prepare(&data) else {
        return Err("nothing is done at all".into());
    };
    if is_of_both {
        return if errors.len() == 2 && plan.steps.is_empty() {
            Ok(())
        } else {
            Err(format!("{errors:?}"))
        };
    }
    if !matches!(errors.as_slice(), [error] if error.ends_with(&format!(": {text}"))) {
        return Err(format!("the host is told {errors:?}"));
    }

    let before = guest.tree();
    let mut after = before.clone();
    for step in plan.changes() {
        match step {
            Change::RemoveFile { path } => {
                drop(after.0.remove(path.as_str().trim_start_matches('/')))
            }
            Change::WriteFile(write) => {
                let entry = Entry::File {
                    content: write.content.expose().to_vec(),
                    mode: 0,
                };
                after
                    .0
                    .insert(write.path.as_str().trim_start_matches('/').into(), entry);
            }
            _ => {}
        }
    }
    let is_of_first = |line: &str| OF_THE_FIRST.iter().any(|word| holds_word(line, word));
    let (was, is) = (lines(&before, is_of_first), lines(&after, is_of_first));
    assert!(
        !was.is_empty(),
        "{fixture}: the files do not show the first interface"
    );
    if was != is {
        let gone: Vec<_> = was.difference(&is).collect();
        let new: Vec<_> = is.difference(&was).collect();
        return Err(format!(
            "of the invalid interface, {gone:?} are gone and {new:?} are new"
        ));
    }
    if lines(&after, |line| holds_word(line, MOVED)).is_empty() {
        return Err("its neighbour is not configured".into());
    }
    Ok(())
}

/// The lines for which a test holds, of every file that configures interfaces, behind the name of the file.
fn lines(tree: &Tree, test: impl Fn(&str) -> bool) -> BTreeSet<(String, String)> {
    let mut lines = BTreeSet::new();
    for (path, entry) in tree.0.iter().filter(|(path, _)| *path != "etc/hosts") {
        let Entry::File { content, .. } = entry else {
            continue;
        };
        let text = String::from_utf8_lossy(content);
        lines.extend(
            text.lines()
                .filter(|line| test(line))
                .map(|line| (path.clone(), line.trim().to_string())),
        );
    }
    lines
}

/// Whether a word is in a line, and not as a part of a longer address.
fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':');
        !line[at + word.len()..].starts_with(belongs) && !line[..at].ends_with(belongs)
    })
}

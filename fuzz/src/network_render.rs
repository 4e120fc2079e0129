//! Any data of a host about the network of any guest, through every renderer.

use std::collections::BTreeSet;

use nova_agent_core::effect::{Change, GuestPath, RouteState};
use nova_agent_core::plan::{Action, Plan};
use nova_agent_core::render::{Configuration, HostData, Prepared};
use serde_json::Value;

use crate::scene::support::lines::{check_lines, check_shell};
use crate::scene::support::{self, File, Guest, systems};
use crate::scene::{self, Section};

/// The text of a guest (`tests/guests/NAME.guest`), or sections of text, of which any may be broken; see `scene`. Without a file in it, the data is for each of nine small guests of several systems.
///
/// Rendering twice gives the same. What is written is text, of which every line is an old one or made of harmless
/// characters; on the small guests, every line is one that the renderer is known to make. Names of networks change
/// nothing but comments. In the guest that comes of it, the next rendering changes no file.
pub fn network_render(input: &[u8]) {
    if let Some((guest, data)) = scene::whole(input) {
        render(guest, &data);
        return;
    }
    let sections = scene::sections(input);
    let data = host(&sections);
    if let Some(guest) = scene::guest(&sections) {
        render(guest, &data);
        return;
    }
    for guest in [
        systems::debian(),
        systems::centos(),
        systems::suse(),
        systems::arch(),
    ] {
        if let Some(configuration) = render(guest.clone(), &data) {
            check_lines(&guest, &configuration);
        }
    }
    for guest in systems::shells() {
        if let Some(configuration) = render(guest, &data) {
            check_shell(&configuration);
        }
    }
}

/// Bytes in front of all sections are the data of an interface that every small guest has.
fn host(sections: &[Section<'_>]) -> HostData {
    let mut data = scene::host(sections);
    let loose = sections[0].content;
    if !loose.is_empty() {
        data.networking
            .push(("00163e000001".into(), loose.to_vec()));
    }
    data
}

/// What is to be done, if the data leads to anything.
fn render(mut guest: Guest, data: &HostData) -> Option<Configuration> {
    let first = guest.prepare(data);
    assert!(
        first == guest.prepare(data),
        "the same twice gives something else"
    );
    let mut reversed = data.clone();
    reversed.networking.reverse();
    reversed.vifs.reverse();
    assert_same(
        &first,
        &guest.prepare(&reversed),
        "the order of the data means something",
    );
    let Prepared::Ready(configuration) = first else {
        return None;
    };
    check_texts(&configuration);
    check_characters(&guest, data, &configuration);
    check_labels(&guest, data, &configuration);

    make(&configuration.plan, &mut guest);
    match guest.prepare(data) {
        Prepared::Ready(second) => {
            let changes: Vec<String> = second.plan.changes().filter_map(change_of_file).collect();
            assert!(
                changes.is_empty(),
                "after {}, there is still to do for {}: {changes:#?}",
                configuration.target,
                second.target
            );
            assert_eq!(second.errors, configuration.errors);
        }
        Prepared::Missing(probes) => panic!("the second time, more is asked: {probes:?}"),
        Prepared::Refused(why) => panic!("the second time, it is refused: {why}"),
    }
    Some(configuration)
}

fn assert_same(first: &Prepared, second: &Prepared, why: &str) {
    match (first, second) {
        (Prepared::Ready(first), Prepared::Ready(second)) => {
            let files = |plan: &Plan| {
                plan.changes()
                    .filter_map(change_of_file)
                    .collect::<Vec<_>>()
            };
            assert_eq!(files(&first.plan), files(&second.plan), "{why}");
            assert!(
                first.plan == second.plan,
                "{why}: {:#?} and {:#?}",
                first.plan,
                second.plan
            );
        }
        _ => assert!(
            core::mem::discriminant(first) == core::mem::discriminant(second),
            "{why}: {first:?} and {second:?}"
        ),
    }
}

/// A change of a file with its content.
fn change_of_file(step: &Change) -> Option<String> {
    match step {
        Change::WriteFile(write) => Some(format!(
            "write {}:\n{}",
            write.path,
            String::from_utf8_lossy(write.content.expose())
        )),
        Change::RemoveFile { .. } | Change::Symlink { .. } => Some(step.to_string()),
        Change::MakeDirectory { .. }
        | Change::RemoveDirectory { .. }
        | Change::RestoreFile { .. }
        | Change::Run(_)
        | Change::SetHostname(_)
        | Change::SetPassword { .. } => None,
    }
}

/// Texts for the host and for the log are one line each.
fn check_texts(configuration: &Configuration) {
    for text in configuration.errors.iter().chain(&configuration.warnings) {
        assert!(!text.contains(['\n', '\r', '\0']), "{text:?}");
        assert!(text.len() < 16 * 1024, "{} bytes of text", text.len());
    }
}

/// A new line holds no character that only the host brought.
fn check_characters(guest: &Guest, data: &HostData, configuration: &Configuration) {
    let of_guest = |c: char| {
        let holds = |file: &File| match file {
            File::Regular(content) => content.iter().any(|byte| char::from(*byte) == c),
            File::Symlink(target) => target.contains(c),
        };
        guest.files.values().any(holds)
            || guest
                .interfaces
                .iter()
                .any(|interface| interface.name.contains(c))
    };
    for step in configuration.plan.changes() {
        let Change::WriteFile(write) = step else {
            continue;
        };
        let old = match guest.files.get(&write.path) {
            Some(File::Regular(old)) => old.as_slice(),
            _ => &[],
        };
        let old: BTreeSet<&[u8]> = old.split(|byte| *byte == b'\n').collect();
        for line in write
            .content
            .expose()
            .split(|byte| *byte == b'\n')
            .filter(|line| !old.contains(line))
        {
            for c in line.iter().copied().map(char::from) {
                let is_harmless =
                    c.is_ascii_alphanumeric() || "\t _.:/%=-@\"'()[]{}#,+!*~;$&|".contains(c);
                assert!(
                    is_harmless || of_guest(c),
                    "{c:?} of {data:?} is in {}",
                    String::from_utf8_lossy(line)
                );
            }
        }
    }
}

/// The same data with other names of the networks gives the same but for comments.
fn check_labels(guest: &Guest, data: &HostData, configuration: &Configuration) {
    let mut renamed = data.clone();
    for (_, value) in &mut renamed.networking {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(value) else {
            continue;
        };
        let Some(Value::String(label)) = fields.get_mut("label") else {
            continue;
        };
        // This one names the interface whose gateway counts.
        if !label.trim().eq_ignore_ascii_case("public") && !label.trim().is_empty() {
            *label = "X".into();
            *value = Value::Object(fields).to_string().into_bytes();
        }
    }
    if renamed == *data {
        return;
    }
    let Prepared::Ready(other) = guest.prepare(&renamed) else {
        panic!("the name of a network decides")
    };
    let (one, other) = (
        without_comments(&configuration.plan, guest),
        without_comments(&other.plan, guest),
    );
    assert_eq!(one, other, "a name is no comment");
}

/// The files of a guest after a plan, but for lines that are comments in every format.
fn without_comments(plan: &Plan, guest: &Guest) -> Vec<String> {
    let mut files = guest.files.clone();
    support::apply(plan, &mut files);
    let text = |(path, file): (&GuestPath, &File)| {
        let text = file.to_string();
        let lines = text
            .split('\n')
            .filter(|line| !line.trim_start().starts_with('#'));
        format!("{path}:\n{}", lines.collect::<Vec<_>>().join("\n"))
    };
    files.iter().map(text).collect()
}

/// Makes the guest what the plan makes of it, the kernel included.
fn make(plan: &Plan, guest: &mut Guest) {
    support::apply(plan, &mut guest.files);
    for step in &plan.steps {
        match &step.action {
            Action::Change(Change::SetHostname(name)) => guest.hostname.clone_from(name),
            Action::Await(condition) => {
                for expected in &condition.expectation.interfaces {
                    let shown = guest
                        .interfaces
                        .iter_mut()
                        .filter(|interface| interface.name == expected.name);
                    shown.for_each(|interface| interface.addresses.clone_from(&expected.addresses));
                    guest.routes.extend(expected.routes.iter().map(
                        |(destination, prefix_len, gateway)| RouteState {
                            interface: expected.name.clone(),
                            destination: *destination,
                            prefix_len: *prefix_len,
                            gateway: *gateway,
                        },
                    ));
                }
            }
            Action::Nothing | Action::Change(_) => {}
        }
    }
}

//! No text of the host becomes more than a word of what it stands for, in the files of every network stack.
//!
//! The places are not listed: they are found in the host's data, every value and every key of it, so that a new field is
//! covered as soon as a guest has it. Each is replaced by each of [`PAYLOADS`] in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use nova_agent_core::effect::{Change, Snapshot};
use nova_agent_core::render::{Configuration, HostData, Prepared, reset_network, set_hostname};
use nova_agent_tests::fixture::{Fixture, Guest, Tree};
use serde_json::{Value, json};

use crate::on_every_guest;

/// Stands on both sides of what has a meaning somewhere, so that whatever is made of it can be found. It is neither a number
/// nor an address, but a hostname and a label may be called so.
const MARK: &str = "zqxj";

/// `M` is the mark, `V` the value that was there.
const PAYLOADS: [&str; 24] = [
    "V\nM",
    "V\"M\"\nM",
    "M",
    "V M",
    "M\nM",
    "V\r\nM\rM",
    "V\0M",
    "V\u{2028}M\u{2029}M\u{85}M\u{b}M\u{c}M",
    "V\u{202e}M\u{1b}[2JM",
    "V'M' M",
    "V\\M\\\nM",
    "V$(M)${M}$M",
    "V`M`M",
    "V;M&&M|M&M>M<M",
    "V#M //M",
    "M]\n[M]\nM=M",
    "V: M\n- M: [M, {M}]",
    "V=M\nM=M",
    "V)M\nM()",
    "V*M?M~M!M%M",
    "../../../M",
    "@M",
    "-M",
    // As long as what Xenstore takes.
    "LONG",
];

/// How many of them are tried at every place, being the ones that would add a line.
const ALWAYS: usize = 2;

/// How many places it takes until each of the others has had its turn.
const TURNS: usize = 4;

/// Stand for what may have a harmless text of the host in it.
const LABEL: &str = "plainlabel";
const HOSTNAME: &str = "plainhost";

#[test]
fn a_text_of_the_host_is_a_word_or_nothing() {
    let begin = Instant::now();
    let (stacks, tried) = (Mutex::new(BTreeSet::new()), AtomicUsize::new(0));
    let chosen = richest_of_each_stack();
    on_every_guest(|fixture| {
        if !chosen.contains(fixture.name()) {
            return Ok(());
        }
        let data = plain(fixture.host());
        let nth_guest = chosen
            .iter()
            .position(|chosen| chosen == fixture.name())
            .unwrap_or_default();
        let mut guest = Known {
            guest: fixture.guest(),
            snapshot: Snapshot::default(),
        };
        let Prepared::Ready(expected) = guest.prepare(&data) else {
            return Err("nothing is done at all".into());
        };
        stacks.lock().unwrap().insert(expected.target);
        let judge = Judge::new(&expected, &guest.guest.tree());
        for (nth_place, place) in places(&data).into_iter().enumerate() {
            // The others take turns, so that each stack meets each of them, and each field on several stacks.
            let turn =
                |nth: usize| nth < ALWAYS || (nth + nth_place + nth_guest).is_multiple_of(TURNS);
            for (_, payload) in PAYLOADS
                .into_iter()
                .enumerate()
                .filter(|(nth, _)| turn(*nth))
            {
                tried.fetch_add(1, Ordering::Relaxed);
                let (hostile, text) = place.replaced(&data, payload);
                let judged = match guest.prepare(&hostile) {
                    Prepared::Ready(configuration) => judge.check(&configuration, &place),
                    Prepared::Refused(reason) => is_printable(&reason.to_string()),
                    Prepared::Missing(_) => unreachable!("answered"),
                };
                judged.map_err(|error| format!("{place:?} = {text:?}: {error}"))?;
            }
        }
        for payload in PAYLOADS {
            let name = filled(payload, "web-1");
            let judged = match guest.answered(|snapshot| set_hostname(&name, snapshot)) {
                Prepared::Ready(configuration) => judge.check(&configuration, &Place::Hostname),
                Prepared::Refused(reason) => is_printable(&reason.to_string()),
                Prepared::Missing(_) => unreachable!("answered"),
            };
            judged.map_err(|error| format!("sethostname {name:?}: {error}"))?;
        }
        Ok(())
    });
    let stacks = stacks.into_inner().unwrap();
    assert_eq!(stacks.len(), 17, "every stack with a renderer: {stacks:?}");
    let (tried, took) = (tried.into_inner(), begin.elapsed());
    writeln!(
        std::io::stderr(),
        "hostile texts: {tried} on {} stacks in {took:.1?}",
        stacks.len()
    )
    .unwrap();
}

/// For each stack the guest whose host says most.
fn richest_of_each_stack() -> BTreeSet<String> {
    let mut richest: BTreeMap<String, (usize, Fixture)> = BTreeMap::new();
    for fixture in Fixture::all() {
        // Where no stack can be configured, the hostname is set at least.
        let Some(stack) = fixture.stack().filter(|stack| stack != "hostname") else {
            continue;
        };
        let size = places(&fixture.host()).len();
        if richest.get(&stack).is_none_or(|(most, _)| *most < size) {
            richest.insert(stack, (size, fixture));
        }
    }
    richest
        .into_values()
        .map(|(_, fixture)| fixture.name().to_string())
        .collect()
}

/// With texts that can be found again where a label and the hostname may be.
fn plain(mut data: HostData) -> HostData {
    data.hostname = Some(HOSTNAME.into());
    for (_, value) in &mut data.networking {
        let Ok(mut json) = serde_json::from_slice::<Value>(value) else {
            continue;
        };
        if let Some(object) = json.as_object_mut() {
            object.insert("label".into(), json!(LABEL));
        }
        *value = json.to_string().into_bytes();
    }
    data
}

/// A guest that was asked before: it stays as it is, so what it has said holds.
struct Known {
    guest: Guest,
    snapshot: Snapshot,
}

impl Known {
    fn prepare(&mut self, data: &HostData) -> Prepared {
        self.answered(|snapshot| reset_network(data, snapshot))
    }

    fn answered(&mut self, prepare: impl Fn(&Snapshot) -> Prepared) -> Prepared {
        loop {
            match prepare(&self.snapshot) {
                Prepared::Missing(probes) => self.snapshot.merge(self.guest.ask(probes)),
                prepared @ (Prepared::Ready(_) | Prepared::Refused(_)) => return prepared,
            }
        }
    }
}

/// Where a text of the host stands.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Place {
    Hostname,
    /// The name of a node.
    Node(usize),
    /// The address of a device.
    Vif(usize),
    /// A value in a node's JSON.
    Value(usize, String),
    /// One more key in an object there.
    Key(usize, String),
}

/// All places of some data.
fn places(data: &HostData) -> Vec<Place> {
    let mut places = vec![Place::Hostname];
    places.extend((0..data.vifs.len()).map(Place::Vif));
    for (nth, (_, value)) in data.networking.iter().enumerate() {
        places.push(Place::Node(nth));
        let Ok(json) = serde_json::from_slice::<Value>(value) else {
            continue;
        };
        let mut pending = vec![(String::new(), &json)];
        while let Some((pointer, value)) = pending.pop() {
            // Whole lists and objects, too.
            places.push(Place::Value(nth, pointer.clone()));
            match value {
                Value::Array(values) => {
                    pending.extend(
                        values
                            .iter()
                            .enumerate()
                            .map(|(at, value)| (format!("{pointer}/{at}"), value)),
                    );
                }
                Value::Object(fields) => {
                    places.push(Place::Key(nth, pointer.clone()));
                    pending.extend(
                        fields
                            .iter()
                            .map(|(key, value)| (format!("{pointer}/{key}"), value)),
                    );
                }
                Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
            }
        }
    }
    places
}

impl Place {
    /// The data with a payload at this place, and what that is.
    fn replaced(&self, data: &HostData, payload: &str) -> (HostData, String) {
        let mut data = data.clone();
        let text;
        match self {
            Self::Hostname => {
                text = filled(payload, HOSTNAME);
                data.hostname = Some(text.clone().into_bytes());
            }
            Self::Node(nth) => {
                text = filled(payload, &data.networking[*nth].0);
                data.networking[*nth].0.clone_from(&text);
            }
            Self::Vif(nth) => {
                text = filled(payload, &data.vifs[*nth].1);
                data.vifs[*nth].1.clone_from(&text);
            }
            Self::Value(nth, pointer) | Self::Key(nth, pointer) => {
                let value = &mut data.networking[*nth].1;
                let mut json: Value = serde_json::from_slice(value).unwrap();
                let at = json.pointer_mut(pointer).unwrap();
                if let (Self::Key(..), Value::Object(fields)) = (self, &mut *at) {
                    text = filled(payload, "label");
                    fields.insert(text.clone(), json!(text));
                } else {
                    text = filled(payload, at.as_str().unwrap_or(&at.to_string()));
                    *at = json!(text);
                }
                *value = json.to_string().into_bytes();
            }
        }
        (data, text)
    }
}

fn in_hostname(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-.".contains(c)
}

fn in_label(c: char) -> bool {
    c.is_ascii_alphanumeric() || " ._:/@+-".contains(c)
}

fn filled(payload: &str, value: &str) -> String {
    if payload == "LONG" {
        return MARK.repeat(500);
    }
    payload.replace('V', value).replace('M', MARK)
}

/// Knows what a harmless text gives.
struct Judge {
    /// The lines with the plain label and those with the plain hostname, each behind what it is a line of, and with the text
    /// cut out.
    labels: BTreeSet<(String, String)>,
    hostnames: BTreeSet<(String, String)>,
    /// The lines of all files as they are.
    old: BTreeSet<String>,
}

impl Judge {
    fn new(expected: &Configuration, before: &Tree) -> Self {
        let old = format!("{before:?}").lines().map(String::from).collect();
        let shapes = |plain: &str, allowed| {
            let lines = |(what, text): (String, String)| {
                let lines: Vec<String> = text.split('\n').map(String::from).collect();
                lines.into_iter().map(move |line| (what.clone(), line))
            };
            let with_it = texts(expected)
                .into_iter()
                .flat_map(lines)
                .filter(|(_, line)| line.contains(plain));
            with_it
                .map(|(what, line)| (what, cut_out(&line, plain, allowed)))
                .collect()
        };
        Self {
            labels: shapes(LABEL, in_label),
            hostnames: shapes(HOSTNAME, in_hostname),
            old,
        }
    }

    /// Whether a line of something has the mark where a harmless text would be, and nothing else that is new.
    fn is_known(&self, place: &Place, what: &str, line: &str) -> bool {
        match place {
            Place::Hostname => self
                .hostnames
                .contains(&(what.into(), cut_out(line, MARK, in_hostname))),
            Place::Value(_, pointer) if pointer == "/label" => self
                .labels
                .contains(&(what.into(), cut_out(line, MARK, in_label))),
            // It is no text any more when it gets there.
            Place::Key(..) | Place::Node(_) | Place::Value(..) | Place::Vif(_) => false,
        }
    }

    fn check(&self, found: &Configuration, place: &Place) -> Result<(), String> {
        for (what, text) in texts(found) {
            for line in text.split('\n') {
                if !self.old.contains(line) && !line.chars().all(|c| matches!(c, '\t' | ' '..='~'))
                {
                    return Err(format!("{what} has the line {line:?}"));
                }
                if !line.contains(MARK) {
                    continue;
                }
                if !self.is_known(place, &what, line) {
                    return Err(format!("{what} has the line {line:?}"));
                }
            }
        }
        found
            .errors
            .iter()
            .chain(&found.warnings)
            .chain([&found.because])
            .try_for_each(|text| is_printable(text))
    }
}

/// All texts that leave the agent by a plan, and what each is.
fn texts(configuration: &Configuration) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for step in configuration.plan.changes() {
        match step {
            Change::WriteFile(write) => {
                let content = String::from_utf8_lossy(write.content.expose()).into_owned();
                texts.push((format!("file {}", write.path), content));
                texts.push(("path".into(), write.path.to_string()));
            }
            Change::Run(program) => {
                texts.extend(
                    program
                        .argv
                        .iter()
                        .map(|word| (format!("argument of {}", program.argv[0]), word.clone())),
                );
                texts.extend(
                    program
                        .environment
                        .iter()
                        .map(|(name, value)| (name.clone(), format!("{name}={value}"))),
                );
                let input = program
                    .stdin
                    .iter()
                    .map(|input| String::from_utf8_lossy(input.expose()).into_owned());
                texts.extend(input.map(|input| ("input".to_string(), input)));
            }
            Change::SetHostname(name) => texts.push(("hostname".into(), name.clone())),
            Change::Symlink { path, target } => {
                texts.push(("symlink".into(), target.clone()));
                texts.push(("path".into(), path.to_string()));
            }
            Change::MakeDirectory { path, .. }
            | Change::RemoveDirectory { path }
            | Change::RemoveFile { path } => {
                texts.push(("path".into(), path.to_string()));
            }
            Change::RestoreFile { .. } | Change::SetPassword { .. } => {
                panic!("no renderer plans {step:?}")
            }
        }
    }
    texts
}

/// The line without each run of allowed characters that has the text in it.
fn cut_out(line: &str, text: &str, allowed: fn(char) -> bool) -> String {
    let mut shape = String::new();
    let mut run = String::new();
    for c in line.chars().map(Some).chain([None]) {
        if let Some(c) = c.filter(|c| allowed(*c)) {
            run.push(c);
            continue;
        }
        shape.push_str(if run.contains(text) { "\u{2026}" } else { &run });
        run.clear();
        shape.extend(c);
    }
    shape
}

/// What is told to the host or to the log is one line without a character that has a meaning.
fn is_printable(text: &str) -> Result<(), String> {
    if text.chars().all(|c| (' '..='~').contains(&c)) {
        Ok(())
    } else {
        Err(format!("the host is told {text:?}"))
    }
}

//! One session of a host, as the messages between agent and store: what every runtime has to do to the letter.
//!
//! [`play`] plays the host on any [`Stage`]: the machine in a world of its own, or an agent's binary behind a proxy. What
//! differs from run to run, like keys, is replaced by a name. What the machine alone does is in the directory `transcripts`
//! of this crate, and a runtime passes when it does the same.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test"
)]

mod world;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nova_agent_core::secret::Secret;
use nova_agent_core::wire::Message;
use serde_json::json;

use crate::host::{HostKey, KeyDigest, Server, encrypt, judge};
use crate::proxy::Sender;
use crate::xenstored::Flavour;

/// The longest line; the contents of nodes may be longer.
const LINE_MAX: usize = 140;

/// What stands before the description of a step.
const HEADING: &str = "# ";

/// Where a session is played.
pub trait Stage {
    /// Starts the agent.
    fn start(&mut self);

    /// Writes a node of the agent's domain, as dom0.
    fn write(&mut self, node: &str, content: &str);

    /// Removes a node of the agent's domain, as dom0.
    fn remove(&mut self, node: &str);

    /// Reads a node of the agent's domain, as dom0.
    fn read(&mut self, node: &str) -> String;

    /// Has `ifup` take longer from now on than the second after which an agent looks whether it is still waited for.
    fn hold_ifup(&mut self);

    /// Lets time pass until it has ended, and no more of it is slow.
    fn release_ifup(&mut self);

    /// Saves the domain and restores it under another number.
    fn restore(&mut self);

    /// Tells the agent to leave. Nothing follows.
    fn terminate(&mut self);

    /// Returns all messages so far, once everything has happened that follows from the steps so far, which are `steps`.
    fn settle(&mut self, steps: usize) -> Vec<(Sender, Message)>;
}

/// Plays a session. Returns its transcript.
pub fn play(stage: &mut impl Stage) -> String {
    let mut session = Session {
        stage,
        steps: Vec::new(),
        names: BTreeMap::new(),
    };
    session.run();
    session.transcript()
}

/// Where the expected transcript is. Stores differ in the order of names, and of an answer and its events.
#[must_use]
pub fn path(flavour: Flavour) -> PathBuf {
    let name = match flavour {
        Flavour::C => "c.txt",
        Flavour::Oxen => "oxen.txt",
    };
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("transcripts")
        .join(name)
}

/// Where a transcript is not the expected one: the lines around the first difference.
#[must_use]
pub fn difference(expected: &str, played: &str) -> Option<String> {
    /// How many lines are shown before and after it.
    const CONTEXT: usize = 4;

    if expected == played {
        return None;
    }
    let (expected, played): (Vec<&str>, Vec<&str>) =
        (expected.lines().collect(), played.lines().collect());
    let first = expected
        .iter()
        .zip(&played)
        .take_while(|(expected, played)| expected == played)
        .count();
    let shown = |lines: &[&str]| {
        let lines = lines
            .get(first.saturating_sub(CONTEXT)..)
            .unwrap_or_default();
        lines.get(..2 * CONTEXT).unwrap_or(lines).join("\n")
    };
    Some(format!(
        "line {}, expected:\n{}\n\nplayed:\n{}",
        first + 1,
        shown(&expected),
        shown(&played)
    ))
}

/// How many messages there are in a transcript up to the end of each step.
#[must_use]
pub fn counts(transcript: &str) -> Vec<usize> {
    let mut counts: Vec<usize> = Vec::new();
    for line in transcript.lines() {
        let so_far = counts.last().copied().unwrap_or_default();
        match (line.starts_with(HEADING), counts.last_mut()) {
            (true, _) => counts.push(so_far),
            (false, Some(count)) => *count += 1,
            (false, None) => panic!("the first line of a transcript is a step"),
        }
    }
    counts
}

struct Session<'a, S> {
    stage: &'a mut S,
    steps: Vec<(&'static str, Vec<(Sender, Message)>)>,
    /// What stands for a text that is another one each time.
    names: BTreeMap<String, &'static str>,
}

impl<S: Stage> Session<'_, S> {
    fn run(&mut self) {
        self.names
            .insert(env!("CARGO_PKG_VERSION").into(), "[version]");
        let server = Server::two_networks();
        self.stage.write("vm-data/hostname", &server.hostname);
        for vif in &server.vifs {
            self.stage
                .write(&format!("vm-data/networking/{}", vif.node), &vif.network);
        }
        self.request("waiting", &command("version", "agent"));
        self.stage.start();
        self.end("the agent starts, and a request waits");

        for name in ["version", "features", "ready"] {
            self.ask(name, name, &command(name, ""));
        }
        self.ask(
            "an unknown command",
            "unknown",
            &command("no\n\"such\" caf\u{e9}", ""),
        );
        self.ask("a request that is no JSON", "malformed", "{\"name\":");
        self.ask("a request without content", "empty", "");
        self.ask("its content", "empty", &command("version", "agent"));
        self.ask(
            "a request with a name that is too long",
            &"x".repeat(129),
            &command("version", "agent"),
        );
        self.set_password();
        self.ask(
            "injectfile",
            "file",
            &command("injectfile", &STANDARD.encode("/etc/motd,hello, all\n")),
        );
        let file =
            json!({"b64_path": STANDARD.encode("/etc/issue"), "b64_file": STANDARD.encode("x")});
        self.ask(
            "file_inject",
            "other",
            &json!({"name": "file_inject", "value": file}).to_string(),
        );
        self.ask("sethostname", "hostname", &command("sethostname", "web-2"));

        self.stage.hold_ifup();
        self.ask(
            "resetnetwork, and ifup takes its time",
            "slow",
            &command("resetnetwork", ""),
        );
        self.ask(
            "version meanwhile",
            "meanwhile",
            &command("version", "agent"),
        );
        self.stage.remove("data/host/slow");
        self.end("the host gives up");
        self.stage.release_ifup();
        self.end("ifup has ended, and nobody waits for an answer");
        self.ask(
            "resetnetwork, and nothing is to be done",
            "again",
            &command("resetnetwork", ""),
        );

        self.stage.remove("data/host");
        self.end("the host removes all requests with the node above them");
        self.stage.restore();
        self.end("the domain is saved and restored");
        self.ask("version after it", "restored", &command("version", "agent"));
        self.stage.terminate();
        self.end("the agent leaves");
    }

    fn set_password(&mut self) {
        let key = HostKey::from_number(93_055_292_000_370_020_129_851);
        self.ask("keyinit", "keyinit", &command("keyinit", &key.public()));
        let response = self.stage.read("data/guest/keyinit");
        let public = judge("keyinit", response.as_bytes()).unwrap().message;
        let password = Secret::from(String::from("Tr0ub4dor&3"));
        let ciphertext = encrypt(&key.agree(&public).unwrap(), &password, KeyDigest::Md5).unwrap();
        self.names.insert(public, "[public key]");
        self.names.insert(ciphertext.clone(), "[password]");
        self.ask("password", "password", &command("password", &ciphertext));
    }

    fn ask(&mut self, step: &'static str, id: &str, content: &str) {
        self.request(id, content);
        self.end(step);
    }

    fn request(&mut self, id: &str, content: &str) {
        self.stage.write(&format!("data/host/{id}"), content);
    }

    fn end(&mut self, step: &'static str) {
        let messages = self.stage.settle(self.steps.len() + 1);
        let before = self.steps.iter().map(|(_, messages)| messages.len()).sum();
        self.steps
            .push((step, messages.get(before..).unwrap_or_default().to_vec()));
    }

    fn transcript(&self) -> String {
        let mut text = String::new();
        for (step, messages) in &self.steps {
            writeln!(text, "{HEADING}{step}").expect("a string takes everything");
            for (sender, message) in messages {
                let mut line = show(*sender, message);
                for (other, name) in &self.names {
                    line = line.replace(other, name);
                }
                if let Some((cut, _)) = line.char_indices().nth(LINE_MAX) {
                    line.truncate(cut);
                    line.push_str(" ...");
                }
                writeln!(text, "{line}").expect("a string takes everything");
            }
        }
        text
    }
}

fn command(name: &str, value: &str) -> String {
    json!({"name": name, "value": value}).to_string()
}

/// A message as a line, without its numbers, which some kernels replace.
fn show(sender: Sender, message: &Message) -> String {
    let sender = match sender {
        Sender::Agent => "agent",
        Sender::Store => "store",
    };
    let mut line = format!("{sender}: ");
    match message.op() {
        Some(op) => {
            // As in the specification: `WatchEvent` is `WATCH_EVENT`.
            for (nth, letter) in format!("{op:?}").chars().enumerate() {
                if letter.is_uppercase() && nth > 0 {
                    line.push('_');
                }
                line.push(letter.to_ascii_uppercase());
            }
        }
        None => write!(line, "{}", message.kind).expect("a string takes everything"),
    }
    for field in message
        .payload
        .split(|byte| *byte == 0)
        .filter(|field| !field.is_empty())
    {
        line.push(' ');
        for byte in field {
            match byte {
                b' '..=b'~' => line.push(char::from(*byte)),
                _ => write!(line, "\\x{byte:02x}").expect("a string takes everything"),
            }
        }
    }
    line
}

//! A user of the guest who is in the agent's way; see `tests/src/bin/nova-attacker.rs`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use super::Sandbox;
use crate::child::bound_to_thread;

/// A running attacker, killed when dropped.
#[derive(Debug)]
pub struct Attacker {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// What an attacker did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attack {
    /// How often each thing was done.
    pub done: Vec<(String, usize)>,
    /// The files in which it has read what it should not.
    pub read: Vec<String>,
}

impl Attacker {
    /// Who nobody is, by number.
    pub const USER: u32 = 65534;

    /// Starts the program in a sandbox, where it has set its first traps then. It looks for `mark`.
    #[must_use]
    pub fn start(program: &str, sandbox: &Sandbox, mark: &str) -> Self {
        let mut command = bound_to_thread(Path::new(program));
        command
            .arg(sandbox.root())
            .arg(mark)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the attacker can be run");
        let mut output = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let mut ready = String::new();
        output.read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "an attacker has to be started as root");
        Self { child, output }
    }

    /// Ends it.
    #[must_use]
    pub fn finish(mut self) -> Attack {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "the attacker failed");
        let mut attack = Attack::default();
        for (word, rest) in text.lines().filter_map(|line| line.split_once(' ')) {
            match rest.parse() {
                Ok(count) => attack.done.push((word.into(), count)),
                Err(_) => attack.read.push(rest.into()),
            }
        }
        attack
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

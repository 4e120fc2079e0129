//! What an agent did in a world, as two numbers: the proof that a change of the code changed nothing else.
//!
//! Nothing here depends on the name of a type or a field, so that renaming one changes no digest.

use nova_agent_core::Output;
use nova_agent_core::effect::{Change, Effect, ExistingMode, Probe, Program, WriteFile};
use nova_agent_core::wire::HEADER_LEN;

/// All outputs of the machine, in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Digests {
    /// Every byte of every output.
    pub outputs: u64,
    /// The same without words: reports by their severity, and messages to the store by operation and path. It stays what
    /// it is when texts for people change, unless their length moves what the store can hold.
    pub shape: u64,
}

impl Default for Digests {
    fn default() -> Self {
        /// The offset basis of FNV-1a.
        const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        Self {
            outputs: BASIS,
            shape: BASIS,
        }
    }
}

impl Digests {
    /// Adds an output.
    pub(super) fn add(&mut self, output: &Output) {
        match output {
            Output::Connect => self.both(b"connect"),
            Output::Disconnect => self.both(b"disconnect"),
            Output::Exit => self.both(b"exit"),
            Output::Perform(id, effect) => {
                self.both(format!("perform {id}").as_bytes());
                self.add_effect(effect);
            }
            Output::Report(report) => {
                self.both(format!("report {:?}", report.severity()).as_bytes());
                add(&mut self.outputs, report.to_string().as_bytes());
            }
            Output::Transmit(message) => {
                add(&mut self.outputs, message);
                let (header, payload) = message.split_at(HEADER_LEN.min(message.len()));
                // The operation, then the path.
                add(&mut self.shape, header.get(..4).unwrap_or_default());
                add(
                    &mut self.shape,
                    payload.split(|byte| *byte == 0).next().unwrap_or_default(),
                );
            }
            Output::Wait(deadline) => {
                self.both(
                    format!("wait {:?}", deadline.map(|time| time.since_origin())).as_bytes(),
                );
            }
        }
    }

    fn add_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Entropy { len } => self.both(format!("entropy {len}").as_bytes()),
            Effect::Probe(probes) => {
                for probe in probes {
                    let text = match probe {
                        Probe::Directory(path) => format!("directory {path}"),
                        Probe::File(path) => format!("file {path}"),
                        Probe::Interfaces => "interfaces".into(),
                        Probe::Kernel => "kernel".into(),
                        Probe::Program(name) => format!("program {name}"),
                        Probe::Routes => "routes".into(),
                    };
                    self.both(text.as_bytes());
                }
            }
            Effect::Change(step) => {
                self.both(step.to_string().as_bytes());
                match step {
                    Change::MakeDirectory { mode, .. } => self.both(format!("{mode}").as_bytes()),
                    Change::RestoreFile { backup, .. } => self.both(backup.as_str().as_bytes()),
                    Change::Run(Program {
                        environment,
                        stdin,
                        timeout,
                        accept,
                        argv: _,
                    }) => {
                        self.both(format!("{environment:?} {timeout:?} {accept:?}").as_bytes());
                        self.both(stdin.as_ref().map_or(b"", |stdin| stdin.expose()));
                    }
                    Change::SetPassword { password, .. } => self.both(password.expose()),
                    Change::WriteFile(WriteFile {
                        content,
                        mode,
                        existing,
                        path: _,
                    }) => {
                        self.both(content.expose());
                        let replaces = *existing == ExistingMode::Replace;
                        self.both(format!("{mode} {replaces}").as_bytes());
                    }
                    Change::RemoveDirectory { .. }
                    | Change::RemoveFile { .. }
                    | Change::SetHostname(_)
                    | Change::Symlink { .. } => {}
                }
            }
        }
    }

    fn both(&mut self, bytes: &[u8]) {
        add(&mut self.outputs, bytes);
        add(&mut self.shape, bytes);
    }
}

/// FNV-1a over the bytes and their number, so that two texts are not one.
fn add(digest: &mut u64, bytes: &[u8]) {
    for byte in bytes
        .iter()
        .copied()
        .chain((bytes.len() as u64).to_le_bytes())
    {
        *digest = (*digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

//! Carries effects out.

use nova_agent_core::effect::{Done, Effect, Failure, Outcome, Step};

use crate::files::{self, Backups};
use crate::hostname::Hostname;
use crate::probe::{self, GivenUp};
use crate::programs::{self, Child, Launched};
use crate::root::Root;
use crate::{entropy, password};

/// The guest, or the sandbox that stands for it, on which effects are carried out.
///
/// One value serves all threads of a process.
#[derive(Debug)]
pub struct System {
    root: Root,
    backups: Backups,
    hostname: Hostname,
    given_up: GivenUp,
}

/// An effect that was begun.
#[derive(Debug)]
#[must_use = "an outcome that is dropped is never reported to the core"]
pub enum Started {
    /// It is over.
    Finished(Outcome),
    /// It is a program that runs.
    Running(Box<Child>),
}

impl System {
    /// A system on this file system.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self { root, backups: Backups::default(), hostname: Hostname::default(), given_up: GivenUp::default() }
    }

    /// Carries an effect out, however long that takes; a little longer at most than [`Effect::timeout`] says.
    #[must_use]
    pub fn perform(&self, effect: Effect) -> Outcome {
        match self.start(effect) {
            Started::Finished(outcome) => outcome,
            Started::Running(child) => child.wait(),
        }
    }

    /// Carries an effect out, but does not wait for a program: for event loops, which drive the [`Child`] themselves.
    ///
    /// What is not a program is carried out at once. That takes as long as a disk takes, or some seconds where another
    /// process has locked the shadow file.
    pub fn start(&self, effect: Effect) -> Started {
        match effect {
            Effect::Entropy { len } => Started::Finished(entropy::get(len)),
            Effect::Probe(probes) => {
                Started::Finished(Outcome::Probed(probe::answer(&self.root, &self.hostname, &self.given_up, probes)))
            }
            Effect::Step(step) => self.step(step),
        }
    }

    /// Where the guest's file system is.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    fn step(&self, step: Step) -> Started {
        let (root, backups) = (&self.root, &self.backups);
        match step {
            Step::MakeDirectory { path, mode } => finished(files::make_directory(root, &path, mode)),
            Step::RemoveDirectory { path } => finished(files::remove_directory(root, &path)),
            Step::RemoveFile { path } => finished(files::remove_file(root, backups, &path)),
            Step::RestoreFile { path, backup } => finished(files::restore_file(root, &path, &backup)),
            Step::Run(program) => launched(programs::launch(root, program)),
            Step::SetHostname(name) => finished(self.hostname.set(root, name)),
            Step::SetPassword { user, password } => launched(password::set(root, &user, password)),
            Step::Symlink { path, target } => finished(files::symlink(root, backups, &path, &target)),
            Step::WriteFile(file) => finished(files::write_file(root, backups, &file)),
        }
    }
}

fn finished<E: Into<Failure>>(result: Result<Done, E>) -> Started {
    Started::Finished(match result {
        Ok(done) => Outcome::Done(done),
        Err(error) => Outcome::Failed(error.into()),
    })
}

fn launched(launched: Launched) -> Started {
    match launched {
        Launched::Running(child) => Started::Running(child),
        Launched::Finished(result) => finished(result.map(|()| Done::default())),
    }
}

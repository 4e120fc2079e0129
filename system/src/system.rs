//! Carries effects out.

use std::time::Instant;

use nova_agent_core::effect::{Change, Done, Effect, Failure, Outcome};

use crate::entropy::PendingEntropy;
use crate::files::{self, Backups};
use crate::hostname::Hostname;
use crate::probe::{self, IgnoredVifs, Settled, Settling};
use crate::root::Root;
use crate::service::InstanceLock;
use crate::work::{Kind, Started, Work};
use crate::{password, programs};

/// The guest, or the sandbox that stands for it, on which effects are carried out.
///
/// One value serves all threads of a process.
#[derive(Debug)]
pub struct System {
    root: Root,
    backups: Backups,
    hostname: Hostname,
    ignored: IgnoredVifs,
    /// Keeps a second agent from starting, as long as somebody may carry out an effect.
    _instance: Option<InstanceLock>,
}

impl System {
    /// A system on this file system.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self {
            root,
            backups: Backups::default(),
            hostname: Hostname::default(),
            ignored: IgnoredVifs::default(),
            _instance: None,
        }
    }

    pub(crate) fn with_instance(root: Root, instance: InstanceLock) -> Self {
        Self {
            _instance: Some(instance),
            ..Self::new(root)
        }
    }

    /// Carries an effect out, however long that takes; a little longer at most than [`Effect::timeout`] says.
    #[must_use]
    pub fn perform(&self, effect: Effect) -> Outcome {
        self.finish(self.start(effect))
    }

    /// Waits until an effect is over.
    #[must_use]
    pub fn finish(&self, mut started: Started) -> Outcome {
        loop {
            match started {
                Started::Finished(outcome) => return outcome,
                Started::Running(work) => {
                    if let Err(error) = work.wait() {
                        return work.abandon(&error);
                    }
                    started = self.advance(work, Instant::now());
                }
            }
        }
    }

    /// Begins an effect. Nothing is waited for but the disk.
    pub fn start(&self, effect: Effect) -> Started {
        match effect {
            Effect::Entropy { len } => PendingEntropy::start(len),
            Effect::Probe(probes) => self.probe(Settling::new(probes), Instant::now()),
            Effect::Change(step) => self.step(step),
        }
    }

    /// Goes on with an effect. Nothing is waited for but the disk.
    pub fn advance(&self, work: Work, now: Instant) -> Started {
        match work.0 {
            Kind::Entropy(pending) => pending.get(now),
            Kind::Password(pending) => pending.set(&self.root, now),
            Kind::Program(mut child) => match child.advance(now) {
                Some(outcome) => Started::Finished(outcome),
                None => Started::Running(Work(Kind::Program(child))),
            },
            Kind::Settling(settling) => self.probe(settling, now),
        }
    }

    /// Where the guest's file system is.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    fn probe(&self, settling: Settling, now: Instant) -> Started {
        match settling.look(&self.root, &self.ignored, now) {
            Settled::Yes(probes) => Started::Finished(Outcome::Probed(probe::answer(
                &self.root,
                &self.hostname,
                probes,
            ))),
            Settled::NotYet(settling) => Started::Running(Work(Kind::Settling(settling))),
        }
    }

    fn step(&self, step: Change) -> Started {
        let (root, backups) = (&self.root, &self.backups);
        match step {
            Change::MakeDirectory { path, mode } => {
                finished(files::make_directory(root, &path, mode))
            }
            Change::RemoveDirectory { path } => finished(files::remove_directory(root, &path)),
            Change::RemoveFile { path } => finished(files::remove_file(root, backups, &path)),
            Change::RestoreFile { path, backup } => {
                finished(files::restore_file(root, &path, &backup))
            }
            Change::Run(program) => programs::launch(root, program, None),
            Change::SetHostname(name) => finished(self.hostname.set(root, name)),
            Change::SetPassword { user, password } => password::set(root, user, password),
            Change::Symlink { path, target } => {
                finished(files::symlink(root, backups, &path, &target))
            }
            Change::WriteFile(file) => finished(files::write_file(root, backups, &file)),
        }
    }
}

fn finished<E: Into<Failure>>(result: Result<Done, E>) -> Started {
    Started::Finished(match result {
        Ok(done) => Outcome::Done(done),
        Err(error) => Outcome::Failed(error.into()),
    })
}

//! Carrying effects out.

use std::sync::Arc;
use std::time::Instant;

use nova_agent_core::effect::{Change, Done, Effect, Failure, Outcome};

use crate::change_log::FileChange;
use crate::files::{self, Backups};
use crate::hostname::Hostname;
use crate::pending::{PendingEffect, Started};
use crate::probe::{self, IgnoredVifs};
use crate::root::Root;
use crate::service::InstanceLock;
use crate::{entropy, password, programs};

/// The guest, or the sandbox that stands for it, on which effects are carried out.
///
/// One value serves all threads of a process.
#[derive(Debug)]
pub struct System {
    root: Root,
    backups: Backups,
    hostname: Arc<Hostname>,
    ignored: Arc<IgnoredVifs>,
    /// Keeps a second agent from starting as long as an effect may be carried out.
    _instance: Option<InstanceLock>,
}

impl System {
    /// A system on this file system.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self {
            root,
            backups: Backups::default(),
            hostname: Arc::default(),
            ignored: Arc::default(),
            _instance: None,
        }
    }

    pub(crate) fn with_instance(root: Root, instance: InstanceLock) -> Self {
        Self {
            _instance: Some(instance),
            ..Self::new(root)
        }
    }

    /// Carries an effect out and waits until it is finished, which takes at most a little longer than [`Effect::timeout`].
    #[must_use]
    pub fn perform(&self, effect: Effect) -> Outcome {
        self.finish(self.start(effect))
    }

    /// Waits until an effect is finished.
    #[must_use]
    pub fn finish(&self, mut started: Started) -> Outcome {
        loop {
            match started {
                Started::Finished(outcome) => return outcome,
                Started::Running(pending) => {
                    if let Err(error) = pending.wait() {
                        return pending.abandon(&error);
                    }
                    started = self.advance(pending, Instant::now());
                }
            }
        }
    }

    /// Starts an effect. Waits for nothing but the disk.
    pub fn start(&self, effect: Effect) -> Started {
        match effect {
            Effect::Entropy { len } => entropy::start(&self.root, len),
            Effect::Probe(probes) => {
                probe::start(&self.root, &self.hostname, &self.ignored, probes)
            }
            Effect::Change(change) => {
                let file_change = FileChange::of(&change);
                let started = self.change(change);
                if let Some(file_change) = file_change {
                    file_change.log(&started);
                }
                started
            }
        }
    }

    /// Goes on with an effect. Waits for nothing but the disk.
    pub fn advance(&self, pending: PendingEffect, now: Instant) -> Started {
        pending.advance(&self.root, now)
    }

    /// Returns the guest's file system.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    fn change(&self, change: Change) -> Started {
        let (root, backups) = (&self.root, &self.backups);
        match change {
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

//! What becomes of effects: they may take long, fail, do half of their work, hang, and outlive the agent.

use std::collections::BTreeMap;

use nova_agent_core::Instant;
use nova_agent_core::effect::{Change, Effect, EffectId, Failure, GuestPath, Outcome};

use super::super::File;
use super::{Checked, Invariant, Simulation, Site, TIMES, ensure};

/// An effect at work.
#[derive(Debug)]
pub(super) struct Work {
    id: EffectId,
    /// What is to be done, and when; `None` when it is done.
    ahead: Option<(Instant, Effect)>,
    /// When the agent is told of the outcome.
    told: Option<Instant>,
    outcome: Outcome,
    /// Whether it changes the guest.
    pub(super) is_step: bool,
    /// When the agent stops waiting for it.
    deadline: Instant,
}

impl Work {
    /// When something happens to it.
    pub(super) fn next(&self) -> Option<Instant> {
        self.ahead
            .as_ref()
            .map(|(at, _)| *at)
            .into_iter()
            .chain(self.told)
            .min()
    }

    /// Whether the agent waits for its outcome.
    pub(super) fn is_awaited(&self, now: Instant) -> bool {
        self.deadline > now
    }

    /// A guest that was paused does everything later.
    pub(super) fn put_off(&mut self, pause: std::time::Duration) {
        if let Some((at, _)) = &mut self.ahead {
            *at = at.after(pause);
        }
        self.told = self.told.map(|at| at.after(pause));
    }
}

/// A change that an agent began which is no more.
#[derive(Debug)]
pub(super) struct Orphan {
    pub(super) lands: Instant,
    step: Change,
}

/// A change of the guest that the agent carries out.
#[derive(Debug)]
pub(super) struct PlanInHand {
    pub(super) request: String,
    /// The files before.
    pub(super) files: BTreeMap<GuestPath, File>,
    /// Whether all its effects did what they said.
    pub(super) is_honest: bool,
}

/// What a driver may say of an effect that failed.
fn failures(nth: usize) -> Failure {
    match nth {
        0 => Failure::Io("No space left on device (os error 28)".into()),
        1 => Failure::Exit {
            code: 1,
            output: "it \"failed\"\n\\and\tsaid so: \u{fc}\n".repeat(40),
        },
        2 => Failure::NotFound,
        3 => Failure::Refused("/etc is writable for others".into()),
        4 => Failure::Signal {
            signal: 9,
            output: String::new(),
        },
        _ => Failure::TimedOut {
            output: "still waiting".into(),
        },
    }
}

impl Simulation {
    pub(super) fn perform(&mut self, id: EffectId, effect: Effect) -> Checked {
        let now = self.world.now;
        let is_step = matches!(effect, Effect::Change(_));
        self.tell(|| match &effect {
            Effect::Change(step) => format!("effect {id}: {step}"),
            Effect::Entropy { len } => format!("effect {id}: {len} random bytes"),
            Effect::Probe(probes) => format!("effect {id}: {} questions", probes.len()),
        });
        let others = self
            .works
            .iter()
            .filter(|work| work.is_step && work.told.is_some() && work.deadline > now);
        let others = others.count();
        ensure(!is_step || others == 0, Invariant::OneAtATime, || {
            "a step begins before the last one is over".into()
        })?;
        ensure(self.works.len() < 64, Invariant::Bounded, || {
            "64 effects are at work".into()
        })?;

        let deadline = self.told.after(effect.timeout());
        let late = deadline.after(TIMES[1]);
        let fate = self.pick(Site::Effect);
        let failed = Outcome::Failed(Failure::Unsupported("nothing happened".into()));
        let mut work = Work {
            id,
            ahead: Some((now, effect)),
            told: Some(now),
            outcome: failed,
            is_step,
            deadline,
        };
        if fate != 0 {
            self.tell(|| format!("effect {id}: {}", Site::Effect.kinds()[fate - 1]));
        }
        if let Some(plan) = &mut self.plan
            && is_step
            && fate > 2
        {
            plan.is_honest = false;
        }
        match fate {
            1 => {
                let at = now.after(self.time());
                work.ahead = work.ahead.map(|(_, effect)| (at, effect));
                work.told = Some(at);
            }
            2 => {
                work.ahead = None;
                work.outcome = Outcome::Failed(failures(self.choose(Site::Detail, 6)));
            }
            3 => {
                let failure = failures(self.choose(Site::Detail, 6));
                if let Some((_, Effect::Change(step))) = work.ahead.take() {
                    self.apply(step)?;
                }
                work.outcome = Outcome::Failed(failure);
            }
            4 => work.told = Some(late.after(self.time())),
            5 => {
                let at = late.after(self.time());
                work.ahead = work.ahead.map(|(_, effect)| (at, effect));
                work.told = Some(at);
            }
            6 => {
                work.ahead = None;
                work.told = None;
            }
            _ => {}
        }
        // The system carries out one after the other.
        if let (Some((at, _)), true) = (&mut work.ahead, is_step) {
            let earlier = self.works.iter().filter(|work| work.is_step);
            *at = earlier
                .filter_map(|work| work.ahead.as_ref().map(|(at, _)| *at))
                .max()
                .unwrap_or(*at)
                .max(*at);
            work.told = work.told.map(|told| told.max(*at));
        }
        self.works.push(work);
        Ok(())
    }

    /// The effect that is next changes the guest, or its outcome is told.
    pub(super) fn land(&mut self) -> Checked {
        let now = self.world.now;
        let nth = (0..self.works.len())
            .filter(|nth| self.works[*nth].next().is_some_and(|next| next <= now));
        let Some(nth) = nth.min_by_key(|nth| self.works[*nth].next()) else {
            return Ok(());
        };
        if self.works[nth].is_step
            && !self.works[nth].is_awaited(now)
            && let Some(plan) = &mut self.plan
        {
            plan.is_honest = false;
        }
        if let Some((at, effect)) = self.works[nth].ahead.take() {
            if at <= now {
                self.works[nth].outcome = match effect {
                    Effect::Change(step) => self.apply(step)?,
                    effect @ (Effect::Entropy { .. } | Effect::Probe(_)) => {
                        self.world.guest.perform(effect).1
                    }
                };
            } else {
                self.works[nth].ahead = Some((at, effect));
            }
        }
        if self.works[nth].told.is_some_and(|told| told <= now) && self.works[nth].ahead.is_none() {
            let Work { id, outcome, .. } = self.works.remove(nth);
            self.tell(|| format!("effect {id} is over"));
            let taken = self.input(|machine, now| machine.handle_completed(now, id, outcome))?;
            ensure(taken.is_ok(), Invariant::Contract, || {
                format!("the outcome of effect {id}: {taken:?}")
            })?;
        }
        Ok(())
    }

    pub(super) fn land_orphan(&mut self) -> Checked {
        let now = self.world.now;
        if let Some(nth) = self.orphans.iter().position(|orphan| orphan.lands <= now) {
            let Orphan { step, .. } = self.orphans.remove(nth);
            self.tell(|| format!("of an earlier agent: {step}"));
            if let Some(plan) = &mut self.plan {
                plan.is_honest = false;
            }
            self.apply(step)?;
        }
        Ok(())
    }

    /// What becomes of effects when the agent is no more: done, not done, or still under way.
    pub(super) fn orphan(&mut self) -> Checked {
        for work in std::mem::take(&mut self.works) {
            let Some((_, Effect::Change(step))) = work.ahead else {
                continue;
            };
            // A child may go on; the agent's own work ends with it.
            let has_child = matches!(step, Change::Run(_) | Change::SetPassword { .. });
            match self.pick(Site::Orphan) {
                0 => {}
                2 if has_child => {
                    let lands = self.world.now.after(self.time());
                    self.orphans.push(Orphan { lands, step });
                }
                _ => {
                    self.tell(|| format!("just done: {step}"));
                    self.apply(step)?;
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, step: Change) -> Result<Outcome, super::Violation> {
        let changed = match &step {
            Change::WriteFile(file) => {
                self.applied
                    .insert((file.path.to_string(), file.content.expose().to_vec()));
                Some(file.path.to_string())
            }
            Change::RemoveFile { path }
            | Change::RestoreFile { path, .. }
            | Change::Symlink { path, .. } => Some(path.to_string()),
            Change::MakeDirectory { .. }
            | Change::RemoveDirectory { .. }
            | Change::Run(_)
            | Change::SetHostname(_)
            | Change::SetPassword { .. } => None,
        };
        let (_, outcome) = self.world.guest.perform(Effect::Change(step));
        if let Some(path) = changed {
            self.look_at_file(&path)?;
        }
        Ok(outcome)
    }
}

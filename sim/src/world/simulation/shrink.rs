//! Taking away from a failing world whatever the failure does not need.

use super::choices::{Choices, Lists, SITES};
use super::{Invariant, run};

/// The most worlds that are tried.
const TRIES_MAX: usize = 3000;

/// The simplest choices found for which the same invariant does not hold.
#[must_use]
pub fn shrink(lists: Lists, invariant: Invariant) -> Lists {
    let mut shrinker = Shrinker {
        best: lists,
        invariant,
        tries: 0,
    };
    loop {
        let before = shrinker.best.clone();
        for site in 0..SITES {
            shrinker.attempt(|lists| lists.0[site].clear());
        }
        for site in 0..SITES {
            shrinker.blocks(site);
            shrinker.lower(site);
        }
        if shrinker.best == before || shrinker.tries >= TRIES_MAX {
            return shrinker.best;
        }
    }
}

struct Shrinker {
    best: Lists,
    invariant: Invariant,
    tries: usize,
}

impl Shrinker {
    /// Keeps a change if the same invariant still fails, and the world is simpler.
    fn attempt(&mut self, change: impl FnOnce(&mut Lists)) -> bool {
        let mut changed = self.best.clone();
        change(&mut changed);
        let changed = changed.trimmed();
        if changed == self.best || self.tries >= TRIES_MAX {
            return false;
        }
        self.tries += 1;
        let run = run(Choices::of_lists(changed), false);
        let fails = run
            .violation
            .is_some_and(|violation| violation.invariant == self.invariant);
        let is_simpler = fails && run.lists.weight() < self.best.weight();
        if is_simpler {
            self.best = run.lists;
        }
        is_simpler
    }

    /// Takes blocks out, or makes them zero: large ones first, from the end.
    fn blocks(&mut self, site: usize) {
        let mut size = self.best.0[site].len();
        while size > 0 {
            let mut end = self.best.0[site].len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let has_any = self.best.0[site]
                    .get(start..end)
                    .is_some_and(|block| block.iter().any(|choice| *choice != 0));
                let removed = self.attempt(|lists| drop(lists.0[site].drain(start..end)));
                if !removed && has_any {
                    self.attempt(|lists| lists.0[site][start..end].fill(0));
                }
                end = start.min(self.best.0[site].len());
            }
            size /= 2;
        }
    }

    /// Halves single choices, then takes one off.
    fn lower(&mut self, site: usize) {
        for nth in 0..self.best.0[site].len() {
            for lowered in [
                |choice: u16| choice / 2,
                |choice: u16| choice.saturating_sub(1),
            ] {
                while self.best.0[site]
                    .get(nth)
                    .is_some_and(|choice| *choice != 0)
                    && self.attempt(|lists| lists.0[site][nth] = lowered(lists.0[site][nth]))
                {
                }
            }
        }
    }
}

//! The one source of everything that a world does not owe to the agent: a list of choices for each kind of question.
//!
//! A choice is a small number, and 0 is always what happens when nothing is wrong. A seed fills the lists as the questions
//! come; a recorded list answers them again, and 0 when it has come to its end. So a list may be shortened, or its numbers
//! lowered, and what remains is still a world: one with fewer faults. Each kind of question has a list of its own, so that
//! one fault less does not give all others another meaning.

use std::fmt;

/// Makes [`Site`] and the table of what is known of each.
macro_rules! sites {
    ($($(#[$doc:meta])* $site:ident = $name:literal, $weight:expr, [$($kind:literal),*];)*) => {
        /// What is chosen.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Site {
            $($(#[$doc])* $site,)*
        }

        impl Site {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$site,)*];

            /// Its name in recorded choices.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$site => $name,)* }
            }

            /// What the choices 1, 2 and so on mean, if they are kinds of something.
            #[must_use]
            pub const fn kinds(self) -> &'static [&'static str] {
                match self { $(Self::$site => &[$($kind),*],)* }
            }

            const fn weight(self) -> Weight {
                match self { $(Self::$site => $weight,)* }
            }
        }
    };
}

/// How a seed chooses.
enum Weight {
    /// All choices alike.
    Even,
    /// Something else than 0 once in so many times; in some worlds more often, in some less, in some never.
    OneIn(usize),
}

use Weight::{Even, OneIn};

sites! {
    /// Which daemon the store behaves like.
    Flavour = "flavour", Even, ["oxenstored"];
    /// Whose connection the agent's is.
    Peer = "peer", OneIn(4), ["agent in dom0"];
    /// How often the agent lists the requests.
    Rescan = "rescan", OneIn(4), ["a rescan each minute", "no rescan"];
    /// What else the configuration says.
    Config = "config", OneIn(3), ["watchdog", "network reset at start", "no files from the host"];
    /// What a kernel makes of the numbers of messages.
    Numbers = "numbers", OneIn(3), ["requests without numbers", "foreign numbers"];
    /// What the store holds from before.
    Stale = "stale", OneIn(6), ["an old response", "sixty old responses"];
    /// How many requests there are.
    Requests = "requests", Even, [];
    /// What happens next, of all that could.
    Order = "order", OneIn(6), [];
    /// When the host writes its next request.
    Gap = "gap", Even, [];
    /// What it asks.
    Command = "command", Even, [];
    /// Details of what it asks.
    Detail = "detail", Even, [];
    /// What happens to the whole world.
    Event = "event", OneIn(60), [
        "agent killed", "agent told to leave", "connection broken", "store away for a while",
        "store restarted", "store restarted without its data", "saved and restored", "saved and restored, reply lost",
        "guest paused", "request withdrawn", "kernel shows another network", "host data changed", "event out of the blue"
    ];
    /// What happens between two outputs of the machine.
    Output = "output", OneIn(150), ["agent killed between two outputs"];
    /// What the clock says.
    Clock = "clock", OneIn(60), ["clock went back"];
    /// What the store makes of an operation.
    Refusal = "refusal", OneIn(25), ["EAGAIN", "EIO", "EACCES", "ENOSPC", "EQUOTA", "E2BIG", "ENOMEM", "EBUSY"];
    /// How bytes of the store arrive.
    Bytes = "bytes", OneIn(15), ["message split", "messages merged", "byte by byte"];
    /// Where a message is split.
    Split = "split", Even, [];
    /// What becomes of a reply.
    Reply = "reply", OneIn(80), ["reply lost"];
    /// What becomes of a watch event.
    Watch = "watch", OneIn(10), ["event delayed", "event doubled", "events swapped", "event lost"];
    /// What becomes of an effect.
    Effect = "effect", OneIn(6), [
        "effect slow", "effect failed", "effect half done", "effect done, outcome late", "effect hung, done late",
        "effect hung for ever"
    ];
    /// How long something takes.
    Time = "time", Even, [];
    /// What becomes of an effect at work when the agent is killed.
    Orphan = "orphan", OneIn(2), ["effect done at the kill", "effect done after the kill"];
    /// What becomes of messages that a killed or disconnected agent has sent.
    Unsent = "unsent", OneIn(2), ["message served after the end"];
}

/// How many sites there are.
pub const SITES: usize = Site::ALL.len();

/// Numbers that look random, from a seed: SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        // The high half times the bound: no value is visibly preferred.
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// The choices of one world.
#[derive(Clone, Debug)]
pub struct Choices {
    source: Source,
    /// What was chosen, by site.
    made: Lists,
}

#[derive(Clone, Debug)]
enum Source {
    Recorded(Box<Lists>),
    Seed {
        random: Random,
        moods: Box<[Mood; SITES]>,
    },
}

/// How inclined a world is to some site's faults, and to which of them.
#[derive(Clone, Copy, Debug, Default)]
struct Mood {
    /// Faults come once in so many times; never if 0.
    one_in: usize,
    /// A bit for each kind.
    kinds: u32,
}

impl Choices {
    /// Those of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut moods = [Mood::default(); SITES];
        for (mood, site) in moods.iter_mut().zip(Site::ALL) {
            if let OneIn(times) = site.weight() {
                mood.one_in = [0, times, times, times.div_ceil(4), times * 4][random.below(5)];
            }
            // Half of the kinds, or all of them.
            mood.kinds = if random.below(3) == 0 {
                u32::MAX
            } else {
                (random.next() >> 32) as u32
            };
        }
        Self {
            source: Source::Seed {
                random,
                moods: Box::new(moods),
            },
            made: Lists::default(),
        }
    }

    /// Those that were recorded.
    #[must_use]
    pub fn of_lists(lists: Lists) -> Self {
        Self {
            source: Source::Recorded(Box::new(lists)),
            made: Lists::default(),
        }
    }

    /// What was chosen so far.
    #[must_use]
    pub const fn made(&self) -> &Lists {
        &self.made
    }

    /// One of the site's kinds from 1 on, or 0.
    pub(super) fn pick(&mut self, site: Site) -> usize {
        self.choose(site, site.kinds().len() + 1)
    }

    /// A number below `bound`.
    pub(super) fn choose(&mut self, site: Site, bound: usize) -> usize {
        let index = site as usize;
        let position = self.made.0[index].len();
        let chosen = match &mut self.source {
            Source::Recorded(lists) => {
                let recorded = lists.0[index].get(position).copied().unwrap_or_default();
                usize::from(recorded).min(bound.saturating_sub(1))
            }
            Source::Seed { random, moods } => match (site.weight(), moods[index]) {
                (Even, _) => random.below(bound),
                (OneIn(_), Mood { one_in: 0, .. }) => 0,
                (OneIn(_), Mood { one_in, kinds }) if random.below(one_in) == 0 => {
                    let chosen = random.below(bound);
                    let has_kinds = !site.kinds().is_empty();
                    if has_kinds && kinds & (1 << (chosen % 32)) == 0 {
                        0
                    } else {
                        chosen
                    }
                }
                (OneIn(_), _) => 0,
            },
        };
        self.made.0[index].push(u16::try_from(chosen).unwrap_or(u16::MAX));
        chosen
    }
}

/// Choices by site. As text, a line for each site that has some: its name, then the numbers, `3x0` for three zeros.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lists(pub(super) [Vec<u16>; SITES]);

impl Default for Lists {
    fn default() -> Self {
        Self([const { Vec::new() }; SITES])
    }
}

impl Lists {
    /// Without the zeros at the ends, which are what an absent choice is anyway.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        for list in &mut self.0 {
            let len = list
                .iter()
                .rposition(|choice| *choice != 0)
                .map_or(0, |last| last + 1);
            list.truncate(len);
        }
        self
    }

    /// How much there is of it: less is simpler.
    #[must_use]
    pub fn weight(&self) -> (usize, usize) {
        let all = || self.0.iter().flatten();
        (
            all().filter(|choice| **choice != 0).count(),
            self.0.iter().map(Vec::len).sum(),
        )
    }
}

impl fmt::Display for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (site, list) in Site::ALL
            .iter()
            .zip(&self.0)
            .filter(|(_, list)| !list.is_empty())
        {
            write!(f, "{}:", site.name())?;
            for run in list.chunk_by(|one, other| one == other) {
                let Some(value) = run.first() else { continue };
                if run.len() == 1 {
                    write!(f, " {value}")?
                } else {
                    write!(f, " {}x{value}", run.len())?
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// A text that holds no choices.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a line of choices: {0}")]
pub struct InvalidChoices(String);

impl std::str::FromStr for Lists {
    type Err = InvalidChoices;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut lists = Self::default();
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let invalid = || InvalidChoices(line.into());
            let (name, rest) = line.split_once(':').ok_or_else(invalid)?;
            let site = Site::ALL
                .iter()
                .position(|site| site.name() == name)
                .ok_or_else(invalid)?;
            for word in rest.split_whitespace() {
                let (times, value) = word.split_once('x').unwrap_or(("1", word));
                let times: usize = times.parse().map_err(|_| invalid())?;
                let value: u16 = value.parse().map_err(|_| invalid())?;
                lists.0[site].extend(std::iter::repeat_n(value, times.min(100_000)));
            }
        }
        Ok(lists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_choices_are_made_again_and_are_zero_at_their_end() {
        let mut of_seed = Choices::of_seed(7);
        let first: Vec<usize> = (0..50).map(|_| of_seed.choose(Site::Gap, 9)).collect();
        let text = of_seed.made().to_string();
        let mut recorded = Choices::of_lists(text.parse().unwrap());
        assert_eq!(
            (0..50)
                .map(|_| recorded.choose(Site::Gap, 9))
                .collect::<Vec<_>>(),
            first
        );
        assert_eq!(recorded.made(), of_seed.made());
        assert_eq!(recorded.choose(Site::Gap, 9), 0);
        assert_eq!(recorded.pick(Site::Event), 0);
    }

    #[test]
    fn a_recorded_choice_that_is_too_large_is_the_largest() {
        let mut recorded = Choices::of_lists("gap: 70".parse().unwrap());
        assert_eq!(recorded.choose(Site::Gap, 9), 8);
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["gap", "no such site: 1", "gap: x", "gap: -1"] {
            assert!(text.parse::<Lists>().is_err(), "{text}");
        }
    }
}

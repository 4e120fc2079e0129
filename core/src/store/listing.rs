//! Long lists of children, part by part.

use alloc::string::String;
use alloc::vec::Vec;

use crate::wire::SOCKET_REPLY_MAX;
use crate::wire::payload::DirectoryPart;

/// How often a list may change under the scan before it is given up.
const RESTARTS_MAX: u8 = 10;

/// The most names that are collected. The daemons' quotas allow a guest about 1,000 nodes.
pub(super) const NAMES_MAX: usize = 10_000;

/// A scan with DIRECTORY_PART, which the C daemon offers for lists that do not fit one reply.
#[derive(Debug, Default)]
pub(super) struct Listing {
    names: Vec<String>,
    /// Bytes of the names, with a NUL for each.
    len: usize,
    generation: Option<u64>,
    restarts: u8,
}

/// What follows a part.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// The list is whole.
    Complete(Vec<String>),
    /// The list changes faster than it can be read, or is longer than any that a daemon keeps.
    GivenUp,
    /// Ask for the part at this offset.
    Part(usize),
}

impl Listing {
    /// Takes a part. A part of another generation means that the list changed: the scan starts again.
    pub(super) fn handle_part(&mut self, part: DirectoryPart) -> Progress {
        let DirectoryPart {
            generation,
            names,
            next_offset,
        } = part;
        if self.generation.is_some_and(|first| first != generation) {
            self.restarts = self.restarts.saturating_add(1);
            self.generation = None;
            self.names.clear();
            self.len = 0;
            return if self.restarts > RESTARTS_MAX {
                Progress::GivenUp
            } else {
                Progress::Part(0)
            };
        }
        self.generation = Some(generation);
        self.len = names.iter().fold(self.len, |len, name| {
            len.saturating_add(name.len()).saturating_add(1)
        });
        self.names.extend(names);
        match next_offset {
            // In parts a list has no more bytes than in one reply.
            _ if self.names.len() > NAMES_MAX || self.len > SOCKET_REPLY_MAX => Progress::GivenUp,
            Some(offset) => Progress::Part(offset),
            None => Progress::Complete(core::mem::take(&mut self.names)),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn part(generation: u64, names: &[&str], next_offset: Option<usize>) -> DirectoryPart {
        DirectoryPart {
            generation,
            names: names.iter().map(|name| String::from(*name)).collect(),
            next_offset,
        }
    }

    #[test]
    fn parts_are_put_together() {
        let mut listing = Listing::default();
        assert_eq!(
            listing.handle_part(part(1, &["a", "b"], Some(4))),
            Progress::Part(4)
        );
        let names = vec!["a".into(), "b".into(), "c".into()];
        assert_eq!(
            listing.handle_part(part(1, &["c"], None)),
            Progress::Complete(names)
        );
    }

    #[test]
    fn a_list_that_changed_is_read_again() {
        let mut listing = Listing::default();
        assert_eq!(
            listing.handle_part(part(1, &["a"], Some(2))),
            Progress::Part(2)
        );
        assert_eq!(
            listing.handle_part(part(2, &["b"], Some(4))),
            Progress::Part(0)
        );
        assert_eq!(
            listing.handle_part(part(2, &["x"], None)),
            Progress::Complete(vec!["x".into()])
        );
    }

    #[test]
    fn a_list_that_never_stands_still_is_given_up() {
        let mut listing = Listing::default();
        let mut generation = 0;
        let steps = (0..100).map(|_| {
            generation += 1;
            listing.handle_part(part(generation, &["a"], Some(2)))
        });
        assert!(
            steps
                .into_iter()
                .any(|progress| progress == Progress::GivenUp)
        );
    }

    #[test]
    fn a_list_of_the_most_names_or_bytes_is_whole_and_a_longer_one_is_given_up() {
        let many = ["a"; NAMES_MAX];
        assert!(
            matches!(Listing::default().handle_part(part(1, &many, None)), Progress::Complete(names) if names.len() == NAMES_MAX)
        );
        assert_eq!(
            Listing::default().handle_part(part(1, &["a"; NAMES_MAX + 1], None)),
            Progress::GivenUp
        );

        let half = "x".repeat(SOCKET_REPLY_MAX / 2 - 1);
        for (rest, whole) in [(&*half, true), (&*(half.clone() + "x"), false)] {
            let mut listing = Listing::default();
            assert_eq!(
                listing.handle_part(part(1, &[&half], Some(1))),
                Progress::Part(1)
            );
            assert_eq!(
                matches!(
                    listing.handle_part(part(1, &[rest], None)),
                    Progress::Complete(_)
                ),
                whole
            );
        }
    }

    #[test]
    fn a_list_without_end_is_given_up() {
        let mut listing = Listing::default();
        assert!(
            (1..)
                .map(|n| listing.handle_part(part(1, &["a"; 100], Some(n))))
                .take(101)
                .any(|p| p == Progress::GivenUp)
        );
    }
}

//! The end of what a program printed.

use core::fmt;

use nova_agent_core::effect::OUTPUT_MAX;

/// Keeps the last [`OUTPUT_MAX`] bytes of a stream.
#[derive(Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Moved only when there is twice as much as is kept, so that a byte is moved once at most.
        if self.bytes.len() > 2 * OUTPUT_MAX {
            self.trim();
        }
    }

    /// Whether there was more than is kept.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut || self.bytes.len() > OUTPUT_MAX
    }

    /// The bytes as text, in which each byte that is no UTF-8 is replaced, still of at most [`OUTPUT_MAX`] bytes.
    pub(crate) fn into_text(mut self) -> String {
        self.trim();
        let text = String::from_utf8_lossy(&self.bytes);
        let mut start = text.len().saturating_sub(OUTPUT_MAX);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text.get(start..).unwrap_or_default().into()
    }

    fn trim(&mut self) {
        self.is_cut = self.is_cut();
        let surplus = self.bytes.len().saturating_sub(OUTPUT_MAX);
        self.bytes.drain(..surplus);
    }
}

/// Prints nothing of it: it may be about a secret.
impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept() {
        let mut tail = Tail::default();
        for n in 0..10_000 {
            tail.push(format!("{n}\n").as_bytes());
        }
        let text = tail.into_text();
        assert_eq!(text.len(), OUTPUT_MAX);
        assert!(text.ends_with("9998\n9999\n"));
    }

    #[test]
    fn it_is_known_whether_something_is_missing() {
        let mut tail = Tail::default();
        tail.push(&[b'x'; OUTPUT_MAX]);
        assert!(!tail.is_cut());
        tail.push(b"x");
        assert!(tail.is_cut());
        tail.push(&[b'x'; 2 * OUTPUT_MAX]);
        assert!(tail.is_cut());
    }

    #[test]
    fn bytes_that_are_no_text_do_not_exceed_the_bound() {
        let mut tail = Tail::default();
        tail.push(&[0xff; 3 * OUTPUT_MAX]);
        let text = tail.into_text();
        assert!(text.len() <= OUTPUT_MAX && text.len() > OUTPUT_MAX - 4);
    }
}

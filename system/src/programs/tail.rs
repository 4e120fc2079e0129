//! The end of what a program printed.

use nova_agent_core::effect::OUTPUT_MAX;

/// Keeps the last [`OUTPUT_MAX`] bytes of a stream.
#[derive(Debug, Default)]
pub(crate) struct Tail(Vec<u8>);

impl Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        // Moved only when there is twice as much as is kept, so that a byte is moved once at most.
        if self.0.len() > 2 * OUTPUT_MAX {
            self.trim();
        }
    }

    /// The bytes as text, in which each byte that is no UTF-8 is replaced, still of at most [`OUTPUT_MAX`] bytes.
    pub(crate) fn into_text(mut self) -> String {
        self.trim();
        let text = String::from_utf8_lossy(&self.0);
        let mut start = text.len().saturating_sub(OUTPUT_MAX);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text.get(start..).unwrap_or_default().into()
    }

    fn trim(&mut self) {
        let surplus = self.0.len().saturating_sub(OUTPUT_MAX);
        self.0.drain(..surplus);
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
    fn bytes_that_are_no_text_do_not_exceed_the_bound() {
        let mut tail = Tail::default();
        tail.push(&[0xff; 3 * OUTPUT_MAX]);
        let text = tail.into_text();
        assert!(text.len() <= OUTPUT_MAX && text.len() > OUTPUT_MAX - 4);
    }
}

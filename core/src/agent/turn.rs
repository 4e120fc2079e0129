//! Whose turn it is to change the guest: one request at a time, in order.

use alloc::collections::VecDeque;

use super::RequestId;

/// The request that changes the guest, and those that wait for it.
#[derive(Debug, Default)]
pub(super) struct Turn {
    holder: Option<RequestId>,
    waiting: VecDeque<RequestId>,
}

impl Turn {
    /// Gives the turn to a request.
    pub(super) fn give(&mut self, id: &RequestId) {
        self.holder = Some(id.clone());
    }

    /// Ends the turn of a request, if it has it.
    pub(super) fn release(&mut self, id: &RequestId) {
        if self.holder.as_ref() == Some(id) {
            self.holder = None;
        }
    }

    /// Puts a request behind those that wait already.
    pub(super) fn wait(&mut self, id: &RequestId) {
        self.waiting.push_back(id.clone());
    }

    /// Gives a free turn to the first request that waits for it and still wants it.
    pub(super) fn pass(&mut self, wants: impl Fn(&RequestId) -> bool) -> Option<RequestId> {
        if self.holder.is_some() {
            return None;
        }
        while let Some(next) = self.waiting.pop_front() {
            if wants(&next) {
                self.holder = Some(next.clone());
                return Some(next);
            }
        }
        None
    }

    /// Forgets who waits, because a new connection finds them again. Who has the turn keeps it.
    pub(super) fn disconnect(&mut self) {
        self.waiting.clear();
    }

    /// Whether somebody else has the turn.
    pub(super) fn is_taken_from(&self, id: &RequestId) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder != id)
    }
}

#[cfg(test)]
impl Turn {
    pub(super) fn is_idle(&self) -> bool {
        self.holder.is_none() && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> RequestId {
        RequestId::from_node(name).unwrap()
    }

    #[test]
    fn the_turn_passes_in_order_to_those_that_still_want_it() {
        let mut turn = Turn::default();
        turn.give(&id("a"));
        for name in ["b", "c", "d"] {
            turn.wait(&id(name));
        }
        assert_eq!(turn.pass(|_| true), None, "a has it");
        assert!(turn.is_taken_from(&id("b")) && !turn.is_taken_from(&id("a")));
        turn.release(&id("b"));
        assert!(turn.is_taken_from(&id("b")), "only its holder ends it");
        turn.release(&id("a"));
        assert_eq!(turn.pass(|next| *next != id("b")), Some(id("c")));
        turn.release(&id("c"));
        turn.disconnect();
        assert_eq!(turn.pass(|_| true), None);
    }
}

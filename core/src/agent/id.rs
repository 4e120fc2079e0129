//! The name of a request.

use alloc::boxed::Box;
use core::fmt;

/// The longest request id that is taken; UUIDs have 36 bytes.
const ID_MAX: usize = 128;

/// The name of a request: of its node below `data/host` and of the response's below `data/guest`.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// A request that no host made: the reset of the network that the command line asks for. No node can have this name.
    pub(crate) fn start_up() -> Self {
        Self("(start-up)".into())
    }

    /// The name of a node, if it can be a request's: Nova uses UUIDs, but any legal name of up to 128 bytes will do.
    #[must_use]
    pub fn from_node(name: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'@');
        (!name.is_empty() && name.len() <= ID_MAX && name.bytes().all(legal))
            .then(|| Self(name.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_node_can_have_are_request_ids() {
        assert!(RequestId::from_node("8b3e2a60-6f1c-4d52-9d6e-2f0f5b1c7a11").is_some());
        assert!(RequestId::from_node("a_1@b").is_some());
        for bad in ["", "a/b", "a b", "ü", "(start-up)"] {
            assert!(RequestId::from_node(bad).is_none(), "{bad:?}");
        }
        assert!(RequestId::from_node(&"x".repeat(129)).is_none());
    }
}

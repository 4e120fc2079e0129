//! What the host asks: the name of a request and what is in it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use serde_json::Value;

use crate::json;
use crate::response::Response;

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

/// The content of a request: `{"name": <string>, "value": <anything>}`.
pub(crate) struct Envelope {
    pub(crate) name: String,
    pub(crate) value: Value,
}

impl Envelope {
    /// Reads the content of a request node; the error is the answer to the host.
    ///
    /// Unknown keys are ignored, a missing value is the empty string (protocol.md, "Tolerance").
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Response> {
        let value = json::parse(bytes).map_err(|error| malformed(&error.to_string()))?;
        let Value::Object(mut fields) = value else {
            return Err(malformed("not an object"));
        };
        let name = match fields.remove("name") {
            Some(Value::String(name)) => name,
            Some(_) => return Err(malformed("'name' is not a string")),
            None => return Err(Response::error("Request is missing 'name' key")),
        };
        let value = fields
            .remove("value")
            .unwrap_or_else(|| Value::String(String::new()));
        Ok(Self { name, value })
    }
}

fn malformed(why: &str) -> Response {
    Response::error(format!("Request is malformed: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        Envelope::parse(bytes)
            .err()
            .map(|response| response.message)
            .unwrap_or_default()
    }

    #[test]
    fn what_nova_sends_is_understood() {
        let envelope = Envelope::parse(br#"{"name": "version", "value": "agent"}"#).unwrap();
        assert_eq!(envelope.name, "version");
        assert_eq!(envelope.value, Value::String("agent".into()));
    }

    #[test]
    fn a_missing_value_is_an_empty_string() {
        assert_eq!(
            Envelope::parse(br#"{"name": "ready"}"#).unwrap().value,
            Value::String(String::new())
        );
    }

    #[test]
    fn a_refusal_names_what_was_wrong() {
        assert!(refusal(b"{\"name\": ").starts_with("Request is malformed: "));
        assert!(refusal(b"\xff").starts_with("Request is malformed: "));
        assert_eq!(refusal(b"[]"), "Request is malformed: not an object");
        assert_eq!(refusal(b"{}"), "Request is missing 'name' key");
        assert_eq!(
            refusal(br#"{"name": 5}"#),
            "Request is malformed: 'name' is not a string"
        );
    }

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

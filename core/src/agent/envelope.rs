//! What is in a request.

use alloc::format;
use alloc::string::{String, ToString};

use serde_json::Value;

use crate::json;
use crate::response::Response;

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
}

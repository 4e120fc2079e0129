//! What the host gets for an answer.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The most bytes of a message; far below what either daemon lets a guest write (protocol.md, "Quotas of a guest").
pub const MESSAGE_MAX: usize = 1000;

/// The answer to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// How it went.
    pub code: ReturnCode,
    /// A result or an explanation. It may hold any text: what the host cannot read is replaced when it is encoded.
    pub message: String,
}

/// How a request went. Nova compares it as a string.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReturnCode {
    /// `500`: the request was wrong, or the command failed. Nova takes it for success of `resetnetwork`.
    Error,
    /// `1`: the command failed, for commands where Nova takes `500` for success.
    Failed,
    /// `D0`: success of a key exchange.
    KeyExchanged,
    /// `404`: there is no such command.
    NotFound,
    /// `0`: success.
    Success,
}

impl Response {
    /// Returns a success with a message.
    pub fn success(message: impl Into<String>) -> Self {
        Self {
            code: ReturnCode::Success,
            message: message.into(),
        }
    }

    /// Returns a failure with code 500 and an explanation, for commands for which Nova takes 500 for what it is.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            code: ReturnCode::Error,
            message: message.into(),
        }
    }

    /// Returns a failure with code 1, for commands for which Nova takes 500 for success, and for the agent's own failures,
    /// whose command may be one of those.
    pub fn failed_where_500_is_success(message: impl Into<String>) -> Self {
        Self {
            code: ReturnCode::Failed,
            message: message.into(),
        }
    }

    /// The bytes for the store: one line of JSON that survives Nova's reader.
    ///
    /// What reads it is `xenstore-read`, which escapes backslashes, control characters and everything above 0x7e, followed
    /// by a JSON parser. A reply that it spoils fails the instance's build, so nothing that it would touch may be left in
    /// a message. This is the last function before the write, whatever the message came from.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let message: String = self
            .message
            .chars()
            .take(MESSAGE_MAX)
            .map(harmless)
            .collect();
        format!(
            r#"{{"returncode": "{}", "message": "{}"}}"#,
            self.code,
            message.trim()
        )
        .into_bytes()
    }
}

impl fmt::Display for ReturnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "500",
            Self::Failed => "1",
            Self::KeyExchanged => "D0",
            Self::NotFound => "404",
            Self::Success => "0",
        })
    }
}

/// A character of a message as it may stand in a response.
pub(crate) const fn harmless(c: char) -> char {
    match c {
        '"' => '\'',
        '\\' => '/',
        '\t' | '\n' | '\r' => ' ',
        ' '..='~' => c,
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(message: &str) -> String {
        String::from_utf8(Response::error(message).encode()).unwrap()
    }

    #[test]
    fn a_response_is_the_line_that_nova_expects() {
        assert_eq!(
            Response::success("3.0.0").encode(),
            br#"{"returncode": "0", "message": "3.0.0"}"#
        );
    }

    #[test]
    fn nothing_that_xenstore_read_would_escape_is_left() {
        assert_eq!(
            encoded("a \"b\" c:\\d\r\nline\ttab\0\u{7f}ü\u{1f511}"),
            r#"{"returncode": "500", "message": "a 'b' c:/d  line tab????"}"#
        );
    }

    #[test]
    fn a_long_message_is_cut() {
        let line = encoded(&"ä".repeat(5000));
        assert_eq!(line.matches('?').count(), MESSAGE_MAX);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["message"].as_str().unwrap().len(), MESSAGE_MAX);
    }

    #[test]
    fn every_message_stays_json_with_the_same_code() {
        for c in '\0'..='\u{2ff}' {
            let line = encoded(&format!("x{c}y"));
            assert!(
                line.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
                "{c:?}"
            );
            assert!(!line.contains('\\'));
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(parsed["returncode"], "500");
        }
    }
}

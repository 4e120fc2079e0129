//! JSON from the host.
//!
//! `serde_json` does the work; this module bounds the input, tolerates what the way through Xenstore does to strings and
//! keeps content out of error texts. It knows nothing of what the JSON means.

use alloc::vec::Vec;

use serde_json::Value;
use serde_json::error::Category;
use zeroize::Zeroizing;

/// The most bytes accepted: 16 values of the size that Xenstore can hold (`xs_wire.h`, `XENSTORE_PAYLOAD_MAX`), because
/// not every transport is bound by that limit.
pub(crate) const SIZE_MAX: usize = 16 * 4096;

/// Parses one JSON value.
///
/// Raw control characters inside strings are accepted: a value that the host writes with the `xenstore-write` tool has
/// its `\n` replaced by a newline on the way. The depth is limited by `serde_json` to 128.
///
/// # Errors
/// [`JsonError`]; its text names what is wrong and where, and repeats nothing of the input.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    if bytes.len() > SIZE_MAX {
        return Err(JsonError::TooLarge);
    }
    let text = core::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    if text.trim_ascii().is_empty() {
        return Err(JsonError::Empty);
    }
    serde_json::from_slice(&escape_controls(bytes)).map_err(|error| match error.classify() {
        Category::Eof => JsonError::Incomplete,
        Category::Syntax | Category::Data | Category::Io => JsonError::Malformed {
            line: error.line(),
            column: error.column(),
        },
    })
}

/// As [`parse`]; but a string is taken for JSON that was encoded twice, and decoded once more.
///
/// # Errors
/// [`JsonError`], as [`parse`] does.
pub(crate) fn parse_unwrapped(bytes: &[u8]) -> Result<Value, JsonError> {
    match parse(bytes)? {
        Value::String(inner) => parse(inner.as_bytes()),
        value @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => Ok(value),
    }
}

/// Why bytes are not JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum JsonError {
    /// Nothing but blanks.
    #[error("empty value")]
    Empty,
    /// It ends in the middle.
    #[error("JSON ends too early")]
    Incomplete,
    /// It is not JSON or nests too deep. A raw control character inside a string counts as six columns.
    #[error("malformed JSON at line {line}, column {column}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// The byte in the line, from 1.
        column: usize,
    },
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// More than [`SIZE_MAX`] bytes.
    #[error("more than {SIZE_MAX} bytes")]
    TooLarge,
}

/// Replaces raw control characters inside strings by their escapes; everything else stays as it is.
///
/// The result may hold the content of a file, so it is wiped, and never moved by growing.
fn escape_controls(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    /// What a control character becomes.
    const ESCAPE_LEN: usize = r"\u0000".len();

    const HEX: [u8; 16] = *b"0123456789abcdef";

    let hex = |nibble: u8| HEX.get(usize::from(nibble & 0xf)).copied().unwrap_or(b'0');
    let controls = bytes.iter().filter(|byte| **byte < 0x20).count();
    let mut escaped = Zeroizing::new(Vec::with_capacity(
        bytes
            .len()
            .saturating_add(controls.saturating_mul(ESCAPE_LEN)),
    ));
    let mut in_string = false;
    let mut after_backslash = false;
    for &byte in bytes {
        // Behind a backslash nothing can be told of what was meant: `serde_json` refuses it.
        if in_string && byte < 0x20 && !after_backslash {
            escaped.extend([b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte)]);
            continue;
        }
        if byte == b'"' && !after_backslash {
            in_string = !in_string;
        }
        after_backslash = in_string && byte == b'\\' && !after_backslash;
        escaped.push(byte);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use alloc::vec;

    use super::*;

    #[test]
    fn raw_control_characters_inside_strings_are_accepted() {
        let value = parse(b"{\n \"la\nbel\": \"a\tb\x01\\\"c\n\\\\\",\r\n \"n\": [1]}").unwrap();
        assert_eq!(value["la\nbel"], "a\tb\u{1}\"c\n\\");
        assert_eq!(value["n"][0].as_u64(), Some(1));
        assert_eq!(parse(b"\"\0\""), Ok(Value::String("\0".into())));
    }

    #[test]
    fn control_characters_outside_strings_are_not() {
        assert!(matches!(
            parse(b"{\x01}"),
            Err(JsonError::Malformed { line: 1, .. })
        ));
        assert!(matches!(parse(b"[1]\0"), Err(JsonError::Malformed { .. })));
        assert!(
            matches!(parse(b"\"a\\\nb\""), Err(JsonError::Malformed { .. })),
            "a backslash before a raw newline"
        );
    }

    #[test]
    fn what_is_wrong_is_named_without_content() {
        assert_eq!(parse(b" \n").unwrap_err().to_string(), "empty value");
        assert_eq!(
            parse(b"{\"a\": ").unwrap_err().to_string(),
            "JSON ends too early"
        );
        assert_eq!(parse(b"\"\xff\"").unwrap_err().to_string(), "not UTF-8");
        assert_eq!(
            parse(b"{hunter2}").unwrap_err().to_string(),
            "malformed JSON at line 1, column 2"
        );
        assert_eq!(
            parse(&vec![b' '; SIZE_MAX + 1]).unwrap_err(),
            JsonError::TooLarge
        );
        let deep = "[".repeat(SIZE_MAX);
        assert!(matches!(
            parse(deep.as_bytes()),
            Err(JsonError::Malformed { .. })
        ));
        let odd = br#"{"$serde_json::private::Number": "hunter2"}"#;
        assert!(
            !parse(odd)
                .map_or_else(|error| error.to_string(), |_| String::new())
                .contains("hunter2")
        );
    }

    #[test]
    fn a_value_that_was_encoded_twice_is_decoded_twice() {
        assert_eq!(
            parse_unwrapped(br#""{\"a\": 1}""#).unwrap()["a"].as_u64(),
            Some(1)
        );
        assert_eq!(parse_unwrapped(br#""""#), Err(JsonError::Empty));
        assert_eq!(
            parse_unwrapped(br#""\"x\"""#),
            Ok(Value::String("x".into())),
            "but not three times"
        );
    }
}

//! JSON as Python writes it: `{"name": "version", "value": "agent"}`.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// `json.dumps` with its defaults: a blank behind every comma and colon, and ASCII only.
///
/// # Errors
/// If `value` is nothing that JSON can express.
pub(super) fn dumps(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut text, Python))?;
    Ok(text.into_iter().map(char::from).collect())
}

struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        separate(writer, first)
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        separate(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for c in fragment.chars() {
            if matches!(c, ' '..='~') {
                write!(writer, "{c}")?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

fn separate<W: ?Sized + Write>(writer: &mut W, first: bool) -> io::Result<()> {
    if first {
        Ok(())
    } else {
        writer.write_all(b", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_what_python_prints() {
        let value: serde_json::Value = serde_json::from_str(
            "{\"a\":[1,\"x\",null,true],\"b\":{},\"c\":\"\u{e9}\u{1f511}\\n\\\"\\\\/\u{7f}\"}",
        )
        .unwrap();
        let expected =
            r#"{"a": [1, "x", null, true], "b": {}, "c": "\u00e9\ud83d\udd11\n\"\\/\u007f"}"#;
        assert_eq!(dumps(&value).unwrap(), expected);
    }
}

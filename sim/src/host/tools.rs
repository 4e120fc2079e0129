//! What the tools between Nova and the store do to a value (xen, `tools/xenstore/xs_lib.c`).
//!
//! The plugin in dom0 has no connection of its own: it runs `xenstore-write` and `xenstore-read`, and these translate
//! backslash escapes unless they are told not to.

use std::fmt::Write as _;

/// What `xenstore-read` prints for a value, without the newline behind it: printable ASCII and nothing else.
#[must_use]
pub fn printed_by_xenstore_read(value: &[u8]) -> String {
    let mut printed = String::with_capacity(value.len());
    for &byte in value {
        // Writing to a string cannot fail.
        let _ = match byte {
            b'\\' => write!(printed, r"\\"),
            b'\n' => write!(printed, r"\n"),
            b'\r' => write!(printed, r"\r"),
            b'\t' => write!(printed, r"\t"),
            b' '..=b'~' => write!(printed, "{}", char::from(byte)),
            ..=0o7 => write!(printed, "\\{byte:03o}"),
            _ => write!(printed, "\\x{byte:02x}"),
        };
    }
    printed
}

/// What `xenstore-write` stores for its argument. An escape that it does not know loses its backslash.
#[must_use]
pub fn stored_by_xenstore_write(argument: &str) -> Vec<u8> {
    let mut stored = Vec::with_capacity(argument.len());
    let mut rest = argument.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = if *first == b'\\' {
            unescape(tail)
        } else {
            (*first, tail)
        };
        stored.push(byte);
        rest = tail;
    }
    stored
}

/// The byte that an escape stands for, and what follows it; `text` begins behind the backslash.
fn unescape(text: &[u8]) -> (u8, &[u8]) {
    // The tool takes the terminator of its argument for the character behind the backslash.
    let Some((kind, tail)) = text.split_first() else {
        return (0, text);
    };
    match kind {
        b't' => (b'\t', tail),
        b'n' => (b'\n', tail),
        b'r' => (b'\r', tail),
        b'x' => number(tail, 2, 16).unwrap_or((b'x', tail)),
        b'0'..=b'7' => number(text, 3, 8).unwrap_or((*kind, tail)),
        other => (*other, tail),
    }
}

/// Reads a number of one to `digits` digits; what does not fit a byte is cut off at the top.
fn number(text: &[u8], digits: usize, radix: u32) -> Option<(u8, &[u8])> {
    let digit = |byte: &u8| char::from(*byte).to_digit(radix);
    let len = text
        .iter()
        .take(digits)
        .take_while(|byte| digit(byte).is_some())
        .count();
    let (number, tail) = text
        .split_at_checked(len)
        .filter(|(number, _)| !number.is_empty())?;
    let value = number
        .iter()
        .filter_map(digit)
        .fold(0_u32, |value, digit| value * radix + digit);
    Some((value.to_le_bytes()[0], tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_escapes_everything_but_printable_ascii() {
        let printed = printed_by_xenstore_read(b"{\"a\": 1}\t\r\n\\ \x00\x07\x08\x1f\x7f\xc3\xa9");
        assert_eq!(printed, r#"{"a": 1}\t\r\n\\ \000\007\x08\x1f\x7f\xc3\xa9"#);
    }

    #[test]
    fn writing_translates_escapes_and_drops_unknown_backslashes() {
        let stored = stored_by_xenstore_write(r#"a\"b\\c\nd\u00e9\x41g\xg\101\08\"#);
        assert_eq!(stored, b"a\"b\\c\ndu00e9Ag\x78gA\x008\0");
    }

    #[test]
    fn what_reading_prints_writing_stores() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(
            stored_by_xenstore_write(&printed_by_xenstore_read(&all)),
            all
        );
    }
}

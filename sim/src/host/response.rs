//! What becomes of a response on its way to Nova.

use serde_json::{Map, Value};

use super::tools::printed_by_xenstore_read;

/// A response that Nova could read: its return code was one of those that mean success.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The return code.
    pub returncode: String,
    /// The message, without the escaped CR LF that Nova removes for the sake of old Windows agents.
    pub message: String,
}

/// A return code that does not mean success.
#[derive(Debug)]
struct Refusal {
    returncode: String,
    message: String,
}

/// Why Nova cannot read a response.
///
/// It meets each of these with an exception that nothing catches, so that building the instance fails: worse than every
/// return code.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    /// There is no `message`.
    #[error("it has no message")]
    NoMessage,
    /// The message of a key exchange is not a number.
    #[error("its message is not a number")]
    NoNumber,
    /// There is no `returncode`.
    #[error("it has no returncode")]
    NoReturnCode,
    /// The message is not a string.
    #[error("its message is not a string")]
    NoText,
    /// It is not a JSON object, or not JSON at all.
    #[error("it is not a JSON object")]
    NotAnObject,
}

/// Why a response is no success for Nova.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// The agent refused.
    #[error("{command} refused with code {returncode}: {message}")]
    Refused {
        /// The command.
        command: String,
        /// The return code.
        returncode: String,
        /// The message.
        message: String,
    },
    /// Nova cannot read the response.
    #[error("response to {command} cannot be read: {reason}")]
    Unreadable {
        /// The command.
        command: String,
        /// What is wrong with the response.
        reason: Unreadable,
    },
}

/// Judges the response to any command but `features` as Nova does.
///
/// # Errors
/// [`Rejection`].
pub fn judge(command: &str, response: &[u8]) -> Result<Reply, Rejection> {
    match read(response, successes(command)) {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(Refusal {
            returncode,
            message,
        })) => Err(Rejection::Refused {
            command: command.into(),
            returncode,
            message,
        }),
        Err(reason) => Err(Rejection::Unreadable {
            command: command.into(),
            reason,
        }),
    }
}

/// The return codes that Nova takes for a success.
fn successes(command: &str) -> &'static [&'static str] {
    match command {
        "keyinit" => &["D0"],
        // Old agents for FreeBSD and Gentoo answered 500 when all was well.
        "resetnetwork" => &["0", "500"],
        _ => &["0"],
    }
}

/// Reads a stored response as plugin and Nova do together.
///
/// # Errors
/// [`Unreadable`] is Nova's exception; a [`Refusal`] is its orderly error.
fn read(stored: &[u8], successes: &[&str]) -> Result<Result<Reply, Refusal>, Unreadable> {
    let mut object = object(stored)?;
    let code = object
        .remove("returncode")
        .ok_or(Unreadable::NoReturnCode)?;
    let message = object.remove("message");

    // An integer is no member of a list of strings, even if it looks the same.
    if !code.as_str().is_some_and(|code| successes.contains(&code)) {
        return Ok(Err(Refusal {
            returncode: text(code),
            message: message.map(text).unwrap_or_default(),
        }));
    }
    let Value::String(message) = message.ok_or(Unreadable::NoMessage)? else {
        return Err(Unreadable::NoText);
    };
    Ok(Ok(Reply {
        returncode: text(code),
        message: message.replace(r"\r\n", ""),
    }))
}

/// Reads the response to `features` as the plugin does, which asks for it on its own account; `None` if the plugin takes
/// it for an agent that does not know the command.
///
/// The plugin compares the return code with the *number* 0 and takes equality for a failure, so that every string means
/// success.
///
/// # Errors
/// [`Unreadable`] is an exception of the plugin, which Nova takes as an orderly error.
pub fn read_features(stored: &[u8]) -> Result<Option<Reply>, Unreadable> {
    let mut object = object(stored)?;
    let code = object
        .remove("returncode")
        .ok_or(Unreadable::NoReturnCode)?;
    // In Python, `False` and `0.0` are equal to 0.
    if code == Value::Bool(false) || code.as_f64() == Some(0.0) {
        return Ok(None);
    }
    let Value::String(message) = object.remove("message").ok_or(Unreadable::NoMessage)? else {
        return Err(Unreadable::NoText);
    };
    Ok(Some(Reply {
        returncode: text(code),
        message,
    }))
}

/// The plugin passes on what is JSON and makes a JSON string of everything else; Nova then indexes it as an object.
fn object(stored: &[u8]) -> Result<Map<String, Value>, Unreadable> {
    match parse_response(stored) {
        Some(Value::Object(object)) => Ok(object),
        Some(_) | None => Err(Unreadable::NotAnObject),
    }
}

/// What the plugin parses, if it is JSON.
///
/// Where this parser and Python's differ (`NaN`, lone surrogates, 128 levels of nesting), this one is the stricter.
#[must_use]
pub fn parse_response(stored: &[u8]) -> Option<Value> {
    serde_json::from_str(printed_by_xenstore_read(stored).trim()).ok()
}

/// A value as a person would want to see it.
fn text(value: Value) -> String {
    if let Value::String(text) = value {
        text
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_message(stored: &[u8], message: &str) {
        let reply = read(stored, &["0"]).unwrap().unwrap();
        assert_eq!(
            (reply.returncode.as_str(), reply.message.as_str()),
            ("0", message)
        );
    }

    #[test]
    fn a_plain_response_is_read() {
        assert_message(br#"{"returncode": "0", "message": "3.0.0"}"#, "3.0.0");
        assert_message(br#"  {"message":"","returncode":"0","more":[1]}  "#, "");
    }

    #[test]
    fn escapes_of_line_breaks_are_doubled_by_the_tool_and_removed_by_nova() {
        assert_message(
            br#"{"returncode": "0", "message": "1.3.0.1\r\n"}"#,
            "1.3.0.1",
        );
        assert_message(
            br#"{"returncode": "0", "message": "caf\u00e9"}"#,
            r"caf\u00e9",
        );
    }

    #[test]
    fn raw_line_breaks_inside_a_string_come_out_as_escapes() {
        assert_message(b"{\"returncode\": \"0\", \"message\": \"a\nb\"}", "a\nb");
    }

    #[test]
    fn what_the_tool_makes_unreadable_is_unreadable() {
        let responses: [&[u8]; 11] = [
            b"",
            b"3.0.0",
            b"[]",
            b"null",
            b"{\"returncode\": \"0\", \"message\": \"\"}\n",
            b"{\"returncode\": \"0\", \"message\": \"\"}\0",
            b"{\"returncode\": \"0\",\n\"message\": \"\"}",
            br#"{"returncode": "0", "message": "say \"hi\""}"#,
            "{\"returncode\": \"0\", \"message\": \"caf\u{e9}\"}".as_bytes(),
            b"{\"returncode\": \"0\", \"message\": \"\x7f\"}",
            b"{'returncode': '0', 'message': ''}",
        ];
        for stored in responses {
            assert_eq!(
                read(stored, &["0"]).unwrap_err(),
                Unreadable::NotAnObject,
                "{}",
                stored.escape_ascii()
            );
        }
    }

    #[test]
    fn both_members_are_required_and_the_message_is_a_string() {
        assert_eq!(
            read(br#"{"message": ""}"#, &["0"]).unwrap_err(),
            Unreadable::NoReturnCode
        );
        assert_eq!(
            read(br#"{"returncode": "0"}"#, &["0"]).unwrap_err(),
            Unreadable::NoMessage
        );
        assert_eq!(
            read(br#"{"returncode": "0", "message": 3}"#, &["0"]).unwrap_err(),
            Unreadable::NoText
        );
    }

    #[test]
    fn other_codes_and_numbers_are_refusals_with_or_without_a_message() {
        let refusal = read(br#"{"returncode": "500", "message": "no"}"#, &["0"])
            .unwrap()
            .unwrap_err();
        assert_eq!(
            (refusal.returncode.as_str(), refusal.message.as_str()),
            ("500", "no")
        );
        let refusal = read(br#"{"returncode": 0}"#, &["0"]).unwrap().unwrap_err();
        assert_eq!(
            (refusal.returncode.as_str(), refusal.message.as_str()),
            ("0", "")
        );
        assert!(
            read(br#"{"returncode": "500", "message": ""}"#, &["0", "500"])
                .unwrap()
                .is_ok()
        );
    }

    #[test]
    fn every_string_is_a_success_of_features_and_the_number_zero_is_not() {
        for code in ["\"500\"", "500", "null", "true"] {
            let stored = format!("{{\"returncode\": {code}, \"message\": \"version\"}}");
            assert_eq!(
                read_features(stored.as_bytes()).unwrap().unwrap().message,
                "version",
                "{code}"
            );
        }
        for code in ["0", "0.0", "false", "-0"] {
            let stored = format!("{{\"returncode\": {code}, \"message\": \"version\"}}");
            assert_eq!(read_features(stored.as_bytes()), Ok(None), "{code}");
        }
        assert_eq!(read_features(b""), Err(Unreadable::NotAnObject));
    }
}

//! What there is to see of a request and its response.

use std::fmt;
use std::time::Duration;

use super::Reply;

/// A request that was answered or given up.
#[derive(Clone, Debug)]
pub struct RoundTrip {
    /// The command.
    pub command: String,
    /// What can be shown of its argument: neither passwords nor the content of files.
    pub argument: String,
    /// The reply, or what went wrong.
    pub reply: Result<Reply, String>,
    /// From before the request was written until the response was read.
    pub elapsed: Duration,
}

impl RoundTrip {
    /// What the columns of the `Display` form hold.
    pub const HEADING: &str =
        "      time     command       argument                                code  message";
}

impl fmt::Display for RoundTrip {
    /// One line; columns as in [`HEADING`](Self::HEADING).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The width of the column, the longest that an ordinary argument takes.
        const ARGUMENT: usize = 38;

        let milliseconds = self.elapsed.as_secs_f64() * 1000.0;
        let argument = self.argument.escape_debug().to_string();
        let argument = match argument.char_indices().nth(ARGUMENT) {
            Some(_) => argument
                .chars()
                .take(ARGUMENT - 2)
                .chain("..".chars())
                .collect(),
            None => argument,
        };
        let (code, message) = match &self.reply {
            Ok(reply) => (reply.returncode.as_str(), reply.message.as_str()),
            Err(error) => ("-", error.as_str()),
        };
        let message = message.escape_debug();
        let line = format!(
            "{milliseconds:>10.3} ms  {:<12}  {argument:<ARGUMENT$}  {code:<4}  {message}",
            self.command
        );
        f.write_str(line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_aligned_with_its_heading_and_cut_to_the_columns() {
        let reply = Ok(Reply {
            returncode: "D0".into(),
            message: "42\n".into(),
        });
        let elapsed = Duration::from_micros(1_234_567);
        let line = RoundTrip {
            command: "keyinit".into(),
            argument: "1".repeat(40),
            reply,
            elapsed,
        }
        .to_string();
        let expected = format!(
            "  1234.567 ms  keyinit       {}..  D0    42\\n",
            "1".repeat(36)
        );
        assert_eq!(line, expected);
        for (column, text) in [
            ("command", "keyinit"),
            ("argument", "11"),
            ("code", "D0"),
            ("message", "42"),
        ] {
            assert_eq!(RoundTrip::HEADING.find(column), line.find(text), "{column}");
        }
    }
}

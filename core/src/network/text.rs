//! The few texts of the host that reach files or messages, each behind a check.

use alloc::string::String;
use core::fmt::{self, Write as _};

/// The longest hostname of Linux (`linux/utsname.h`, `__NEW_UTS_LEN`).
pub const HOSTNAME_MAX: usize = 64;

/// The longest label of a domain name (RFC 1035, section 2.3.4).
const HOSTNAME_LABEL_MAX: usize = 63;

/// The most characters kept of the label of a network.
const LABEL_MAX: usize = 64;

/// The longest name of an interface (`linux/if.h`, `IFNAMSIZ` without its NUL).
const INTERFACE_NAME_MAX: usize = 15;

/// The most characters of a text of the host that an error message repeats.
const QUOTED_MAX: usize = 64;

/// A hostname that every file and tool can hold: labels of letters, digits and dashes, joined by dots.
///
/// The case is kept, as `RESCUE-` in front of a name tells people which system they see.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hostname(String);

impl Hostname {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first label.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }
}

impl TryFrom<&str> for Hostname {
    type Error = InvalidHostname;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        let valid_label = |label: &str| {
            (1..=HOSTNAME_LABEL_MAX).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let like_an_address = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        if text.len() > HOSTNAME_MAX || like_an_address || !text.split('.').all(valid_label) {
            return Err(InvalidHostname(quoted(text)));
        }
        Ok(Self(text.into()))
    }
}

/// Not a hostname.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("bad hostname \"{0}\"")]
pub struct InvalidHostname(String);

/// The name of a network for comments: cleaned, so that it cannot leave the comment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Label(String);

impl Label {
    /// Replaces every character that means something to a configuration file and cuts the rest off; `None` if nothing
    /// is left. Tells also whether anything had to be changed.
    pub(super) fn clean(text: &str) -> (Option<Self>, bool) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || " ._:/@+-".contains(c);
        let clean: String = text
            .trim()
            .chars()
            .take(LABEL_MAX)
            .map(|c| if allowed(c) { c } else { '_' })
            .collect();
        let changed = clean != text;
        // A cut can leave a blank at the end, which editors like to remove.
        let clean = clean.trim_end();
        ((!clean.is_empty()).then(|| Self(clean.into())), changed)
    }

    /// The cleaned text: at most 64 characters of `A-Za-z0-9 ._:/@+-`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The kernel's name of an interface, if it can be written into files that a shell reads and given to programs as an
/// argument.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for InterfaceName {
    type Error = InvalidInterfaceName;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        // A leading dash would be an option to `ifup`, and a leading dot hides or leaves a directory.
        let safe_start = text
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_');
        if !safe_start || text.len() > INTERFACE_NAME_MAX || !text.bytes().all(allowed) {
            return Err(InvalidInterfaceName);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Not the name of an interface that the agent can configure.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("interface name not usable")]
pub struct InvalidInterfaceName;

/// A text of the host as it may stand in a message: printable ASCII, without quotes and backslashes, and short.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    let mut chars = text.chars();
    for c in chars.by_ref().take(QUOTED_MAX) {
        match c {
            ' ' | '!' | '#'..='[' | ']'..='~' => quoted.push(c),
            // Writing to a string cannot fail.
            _ => write!(quoted, "<{:x}>", u32::from(c)).unwrap_or_default(),
        }
    }
    if chars.next().is_some() {
        quoted.push_str("...");
    }
    quoted
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn hostnames_follow_the_rules_of_domain_names() {
        let longest = alloc::format!("{}.{}", "a".repeat(31), "b".repeat(32));
        for good in [
            "web-01",
            "RESCUE-web",
            "a.b.example",
            "1a",
            "x",
            "7.example",
            &longest,
        ] {
            assert_eq!(Hostname::try_from(good).unwrap().as_str(), good);
        }
        let long_label = "a".repeat(64);
        let long_name = alloc::format!("{longest}c");
        for bad in [
            "", ".", "a..b", ".a", "a.", "-a", "a-", "a.-b", "a_b", "10.0.0.1", "12", "a b", "a\n",
            "ü",
        ] {
            assert!(Hostname::try_from(bad).is_err(), "{bad:?}");
        }
        for bad in [&long_label, &long_name] {
            assert!(Hostname::try_from(bad.as_str()).is_err(), "{bad:?}");
        }
        assert_eq!(
            Hostname::try_from("a\"b\nü").unwrap_err().to_string(),
            "bad hostname \"a<22>b<a><fc>\""
        );
    }

    #[test]
    fn labels_lose_everything_that_could_leave_a_comment() {
        let clean = |text: &str| Label::clean(text).0.map(|label| label.as_str().to_string());
        assert_eq!(clean("public"), Some("public".into()));
        assert_eq!(
            clean("net 1/a_b:c@d+e-f."),
            Some("net 1/a_b:c@d+e-f.".into())
        );
        assert_eq!(
            clean("a\nup rm /\r\0$(x)`y`\\é\"'"),
            Some("a_up rm /____x__y_____".into())
        );
        assert_eq!(clean(&"x".repeat(80)).map(|label| label.len()), Some(64));
        assert_eq!(clean(" \t "), None);
    }

    #[test]
    fn a_quoted_text_is_short() {
        assert_eq!(quoted(&"x".repeat(64)), "x".repeat(64));
        assert_eq!(quoted(&"x".repeat(65)), "x".repeat(64) + "...");
        assert!(quoted(&"\u{10ffff}".repeat(60_000)).len() <= 64 * "<10ffff>".len() + 3);
    }

    #[test]
    fn interface_names_are_safe_for_shells_and_arguments() {
        for good in ["eth0", "enX0", "eth0.100", "br-lan", "_x"] {
            assert!(InterfaceName::try_from(good).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            ".",
            "..",
            "-a",
            "eth0:1",
            "a b",
            "a;b",
            "a/b",
            "ethernet12345678",
            "ü0",
            "a\n",
        ] {
            assert!(InterfaceName::try_from(bad).is_err(), "{bad:?}");
        }
    }
}

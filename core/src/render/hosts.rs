//! `/etc/hosts`: the lines that name the guest's own addresses.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use super::context::Context;
use super::error::Refusal;
use super::files::Importance;
use super::text::end_line;
use crate::effect::GuestPath;
use crate::network::Hostname;

/// The file.
const PATH: GuestPath = GuestPath::constant("/etc/hosts");

/// Marks a line that was replaced.
const REMOVED: &str = "\t# Removed by nova-agent";

/// The address that Debian gives the hostname, instead of one that may change.
const DEBIAN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1));

/// Patches the file.
pub(super) fn update(
    hostname: &Hostname,
    own: &[IpAddr],
    importance: Importance,
    cx: &mut Context<'_>,
) -> Result<(), Refusal> {
    let kernel = cx.guest.kernel();
    let previous = kernel
        .map(|kernel| kernel.hostname.as_str())
        .unwrap_or_default();
    if cx.guest.link_target(&PATH).is_some() {
        return Err(Refusal::SymlinkKept { path: PATH });
    }
    let text = cx.text(&PATH)?;
    let patched = patch(text.as_deref(), hostname, previous, own);
    // The patch needs the old name: once the guest's has changed, be it by a reboot halfway
    // through, nothing knows it.
    cx.write_first(&PATH, &patched, importance)
}

/// Returns the new content; only lines of the guest's own addresses change.
fn patch(text: Option<&str>, hostname: &Hostname, previous: &str, own: &[IpAddr]) -> String {
    let text = text.unwrap_or("127.0.0.1\tlocalhost\n::1\tlocalhost\n");
    let mut missing = own.to_vec();
    let mut lines: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        let parsed = Line::parse(line);
        if let Some(Line { address, .. }) = &parsed
            && *address == DEBIAN
        {
            lines.push(rename(line, hostname, previous));
        } else if let Some(parsed) = &parsed
            && let Some(nth) = missing
                .iter()
                .position(|address| *address == parsed.address)
        {
            missing.remove(nth);
            let Some(new) = parsed.with_name(hostname) else {
                lines.push(line.to_string());
                continue;
            };
            // The first replaced line is the one worth keeping; more would pile up with every
            // change.
            if !lines
                .last()
                .is_some_and(|last| last.trim_ascii_end().ends_with(REMOVED))
            {
                lines.push(format!("# {}{REMOVED}\n", line.trim_ascii()));
            }
            lines.push(new);
        } else {
            lines.push(line.to_string());
        }
    }
    let mut patched = lines.concat();
    for address in missing {
        end_line(&mut patched);
        patched.push_str(&format!("{address}\t{}\n", names(hostname)));
    }
    patched
}

/// A line that gives an address its names.
struct Line<'a> {
    address: IpAddr,
    /// The address as it is written.
    written: &'a str,
    names: Vec<&'a str>,
    /// The comment with its `#`, or nothing.
    comment: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim_ascii_end();
        let at = line.find('#').unwrap_or(line.len());
        let (entry, comment) = line.split_at_checked(at)?;
        let mut words = entry.split_ascii_whitespace();
        let written = words.next()?;
        Some(Self {
            address: written.parse().ok()?,
            written,
            names: words.collect(),
            comment,
        })
    }

    /// Returns the line with the new hostname; `None` if the line stays as it is.
    fn with_name(&self, hostname: &Hostname) -> Option<String> {
        if self.names.contains(&hostname.as_str()) {
            return None;
        }
        let new = match self.names.as_slice() {
            [_] => names(hostname),
            [full, short] if full.contains('.') && !short.contains('.') => {
                format!("{full}\t{}", hostname.as_str())
            }
            [short, full] if full.contains('.') && !short.contains('.') => {
                format!("{}\t{full}", hostname.as_str())
            }
            // A hand-maintained list of names.
            _ => return None,
        };
        let comment = if self.comment.is_empty() {
            String::new()
        } else {
            format!("\t{}", self.comment)
        };
        Some(format!("{}\t{new}{comment}\n", self.written))
    }
}

/// Returns the names of an own address: the hostname, and its first label if it has several.
fn names(hostname: &Hostname) -> String {
    match hostname.short() {
        short if short == hostname.as_str() => short.to_string(),
        short => format!("{}\t{short}", hostname.as_str()),
    }
}

/// Replaces the previous hostname among the names of a line; everything else stays, blanks
/// included.
fn rename(line: &str, hostname: &Hostname, previous: &str) -> String {
    let previous_short = previous.split('.').next().unwrap_or_default();
    if previous_short.is_empty() || previous == hostname.as_str() {
        return line.to_string();
    }
    let at = line.find('#').unwrap_or(line.len());
    let (entry, comment) = line.split_at_checked(at).unwrap_or((line, ""));
    let mut renamed = String::new();
    for part in entry.split_inclusive(|c: char| c.is_ascii_whitespace()) {
        let word = part.trim_ascii_end();
        let blank = part.strip_prefix(word).unwrap_or_default();
        renamed.push_str(match word {
            "" => "",
            word if word == previous => hostname.as_str(),
            word if word == previous_short => hostname.short(),
            word => word,
        });
        renamed.push_str(blank);
    }
    renamed.push_str(comment);
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(text: &str, name: &str) -> String {
        let own = [
            "203.0.113.10".parse().unwrap(),
            "2001:db8::10".parse().unwrap(),
        ];
        let hostname = Hostname::try_from(name).unwrap();
        let once = patch(Some(text), &hostname, "old", &own);
        assert_eq!(
            patch(Some(&once), &hostname, name, &own),
            once,
            "a second run changes nothing"
        );
        once
    }

    const V6: &str = "2001:db8::10\tweb\n";

    #[test]
    fn own_addresses_without_a_line_are_appended() {
        assert_eq!(
            patched("127.0.0.1 localhost", "web"),
            format!("127.0.0.1 localhost\n203.0.113.10\tweb\n{V6}")
        );
        assert_eq!(
            patched("", "web.example.org"),
            "203.0.113.10\tweb.example.org\tweb\n2001:db8::10\tweb.example.org\tweb\n"
        );
        let hostname = Hostname::try_from("web").unwrap();
        assert_eq!(
            patch(None, &hostname, "", &[]),
            "127.0.0.1\tlocalhost\n::1\tlocalhost\n"
        );
    }

    #[test]
    fn a_single_name_is_replaced_and_the_old_line_kept_as_a_comment() {
        let text = format!("203.0.113.10   old # mine\n10.9.9.9 old\n{V6}");
        assert_eq!(
            patched(&text, "web"),
            format!(
                "# 203.0.113.10   old # mine\t# Removed by nova-agent\n203.0.113.10\tweb\t# mine\n10.9.9.9 old\n{V6}"
            )
        );
    }

    #[test]
    fn of_a_full_and_a_short_name_the_short_one_is_replaced() {
        let text = format!("203.0.113.10 old.example.org old\n{V6}");
        assert!(patched(&text, "web").contains("\n203.0.113.10\told.example.org\tweb\n"));
        let text = format!("203.0.113.10 old old.example.org\n{V6}");
        assert!(patched(&text, "web").contains("\n203.0.113.10\tweb\told.example.org\n"));
    }

    #[test]
    fn other_lines_stay_byte_for_byte() {
        for line in [
            "203.0.113.10 x web\n",
            "203.0.113.10 a b c\n",
            "203.0.113.10 a b\n",
            "203.0.113.10\n",
        ] {
            let text = format!("\n # c\n{line}not an address\n{V6}");
            assert_eq!(patched(&text, "web"), text);
        }
    }

    #[test]
    fn only_the_first_line_of_an_address_is_patched() {
        let text = format!("203.0.113.10 web\n203.0.113.10 old\n{V6}");
        assert_eq!(patched(&text, "web"), text);
    }

    #[test]
    fn replaced_lines_do_not_pile_up() {
        let text = format!("203.0.113.10 a\n{V6}");
        let third = patched(&patched(&patched(&text, "b"), "c"), "d");
        assert_eq!(third.matches("203.0.113.10 a\t# Removed").count(), 1);
        assert_eq!(
            third.matches("# Removed").count(),
            2,
            "one an address: {third}"
        );
    }

    #[test]
    fn the_line_of_debian_is_renamed_in_place() {
        let text = |name: &str| {
            format!("127.0.1.1\told.example.org  {name} other # old\n203.0.113.10 web\n{V6}")
        };
        assert_eq!(patched(&text("old"), "web"), text("web"));
        let foreign = text("foreign");
        assert_eq!(patched(&foreign, "web"), foreign);
    }
}

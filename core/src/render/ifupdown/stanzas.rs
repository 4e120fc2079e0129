//! The grammar of `/etc/network/interfaces` (interfaces(5)), as far as editing needs it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// One line with its end, or several that are joined by backslashes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    pub(super) raw: String,
}

impl Line {
    /// The words of the line; none for a blank line and a comment.
    pub(super) fn words(&self) -> Vec<&str> {
        if self.is_comment() {
            return Vec::new();
        }
        // A backslash of its own joins lines.
        self.raw
            .split_ascii_whitespace()
            .filter(|word| *word != "\\")
            .map(|word| word.trim_end_matches('\\'))
            .collect()
    }

    /// Returns whether the line is blank or a comment.
    fn is_comment(&self) -> bool {
        let text = self.raw.trim_ascii();
        text.is_empty() || text.starts_with('#')
    }
}

/// A keyword and the lines that belong to it.
#[derive(Debug)]
pub(super) struct Stanza {
    pub(super) kind: Kind,
    /// The line with the keyword.
    pub(super) header: Line,
    /// The options with what stands between them.
    pub(super) body: Vec<Line>,
    /// Blank lines and comments behind the last option: they belong to what follows as often as to
    /// this.
    pub(super) trailing: Vec<Line>,
}

/// What a stanza is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// `auto` or `allow-CLASS` with the names that come up together.
    Allow(Vec<String>),
    /// The configuration of one interface for one address family.
    Iface(String),
    /// A script that chooses a configuration for the interfaces that match.
    Mapping(Vec<String>),
    /// Includes the files that match some patterns.
    Source(Vec<String>),
    /// Includes the files of a directory.
    SourceDirectory(Vec<String>),
    /// Anything else.
    Other,
}

/// A file: what stands before the first keyword, and the stanzas.
#[derive(Debug, Default)]
pub(super) struct Stanzas {
    pub(super) lead: Vec<Line>,
    pub(super) list: Vec<Stanza>,
}

impl Stanzas {
    pub(super) fn parse(text: &str) -> Self {
        let mut file = Self::default();
        // Comments wait for the next line, which decides whether they are inside a stanza.
        let mut waiting: Vec<Line> = Vec::new();
        for line in logical_lines(text) {
            if line.is_comment() {
                waiting.push(line);
                continue;
            }
            let kind = kind(&line);
            match (kind, file.list.last_mut()) {
                (None, Some(stanza)) => {
                    stanza.body.append(&mut waiting);
                    stanza.body.push(line);
                }
                // An option of nothing is an error for every reader; it is kept.
                (kind, previous) => {
                    match previous {
                        Some(previous) => previous.trailing.append(&mut waiting),
                        None => file.lead.append(&mut waiting),
                    }
                    let kind = kind.unwrap_or(Kind::Other);
                    file.list.push(Stanza {
                        kind,
                        header: line,
                        body: Vec::new(),
                        trailing: Vec::new(),
                    });
                }
            }
        }
        match file.list.last_mut() {
            Some(last) => last.trailing.append(&mut waiting),
            None => file.lead.append(&mut waiting),
        }
        file
    }
}

fn kind(line: &Line) -> Option<Kind> {
    let words = line.words();
    let (keyword, arguments) = words.split_first()?;
    let arguments = || arguments.iter().map(ToString::to_string).collect();
    Some(match *keyword {
        "auto" => Kind::Allow(arguments()),
        keyword if keyword.starts_with("allow-") => Kind::Allow(arguments()),
        "iface" => Kind::Iface(words.get(1).copied().unwrap_or_default().to_string()),
        "mapping" => Kind::Mapping(arguments()),
        "source" => Kind::Source(arguments()),
        "source-directory" => Kind::SourceDirectory(arguments()),
        "no-auto-down" | "no-scripts" | "rename" | "template" => Kind::Other,
        _ => return None,
    })
}

/// Joins lines that end in a backslash to the next; a comment is never continued.
fn logical_lines(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut open = false;
    for raw in text.split_inclusive('\n') {
        match lines.last_mut().filter(|_| open) {
            Some(line) => line.raw.push_str(raw),
            None => lines.push(Line {
                raw: raw.to_string(),
            }),
        }
        let continued = raw.trim_end_matches(['\n', '\r']).ends_with('\\');
        open = continued && lines.last().is_some_and(|line| !line.is_comment());
    }
    lines
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn options_and_the_comments_between_them_belong_to_their_stanza() {
        let text = "# lead\nauto lo eth0\niface eth0 inet static\n  address 192.0.2.1\n# inside\n  netmask 24\n\n# next\n\
                    mapping eth*\n  script x\nsource a b\n";
        let file = Stanzas::parse(text);
        assert_eq!(file.lead.len(), 1);
        let kinds: Vec<Kind> = file.list.iter().map(|stanza| stanza.kind.clone()).collect();
        let strings = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = [
            Kind::Allow(strings(&["lo", "eth0"])),
            Kind::Iface("eth0".into()),
            Kind::Mapping(strings(&["eth*"])),
            Kind::Source(strings(&["a", "b"])),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(
            (file.list[1].body.len(), file.list[1].trailing.len()),
            (3, 2)
        );
    }

    #[test]
    fn lines_that_end_in_a_backslash_go_on_but_comments_do_not() {
        let file = Stanzas::parse("auto eth0 \\\n eth1\\\n\n# c \\\niface x inet \\");
        assert_eq!(
            file.list[0].kind,
            Kind::Allow(["eth0", "eth1"].map(String::from).to_vec())
        );
        assert_eq!(file.list[1].kind, Kind::Iface("x".into()));
    }

    #[test]
    fn every_line_comes_out_again() {
        for text in [
            "",
            "x",
            " address 1\nauto",
            "# c\n\n",
            "iface a\n y \\\n z\n#\n",
        ] {
            let file = Stanzas::parse(text);
            let stanzas = file
                .list
                .into_iter()
                .flat_map(|s| [vec![s.header], s.body, s.trailing].concat());
            assert_eq!(
                file.lead
                    .into_iter()
                    .chain(stanzas)
                    .map(|line| line.raw)
                    .collect::<String>(),
                text
            );
        }
    }
}

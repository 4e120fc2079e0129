//! YAML as far as netplan's files need it, with the lines that everything stands on.
//!
//! Whatever two YAML parsers may understand differently is refused: the text must mean here what it
//! means to netplan.

use alloc::string::String;
use alloc::vec::Vec;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

/// How deep collections may be nested; netplan needs six levels.
const DEPTH_MAX: usize = 32;

/// A value and its lines. Two nodes are equal if their values are, wherever they are in the file.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) lines: Lines,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Content {
    Mapping(Vec<Entry>),
    /// The text; empty for no value at all.
    Scalar(String),
    Sequence(Vec<Node>),
}

/// A key and its value in a mapping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Node,
    /// The lines of key and value, if nothing else is on them but comments.
    pub(super) alone: Option<Lines>,
}

/// Lines by their numbers, which start at 0; the last one is among them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Lines {
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Why a text is not understood.
pub(super) type Unclear = &'static str;

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content
    }
}

impl Eq for Node {}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl Eq for Entry {}

impl Node {
    /// The entries of a mapping; none for anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Mapping(entries) => entries,
            Content::Scalar(_) | Content::Sequence(_) => &[],
        }
    }

    /// The last value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .rev()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }

    /// The text of a scalar.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(text) => Some(text),
            Content::Mapping(_) | Content::Sequence(_) => None,
        }
    }

    /// The scalars of a sequence, or the only one.
    pub(super) fn scalars(&self) -> impl Iterator<Item = &str> {
        let items = match &self.content {
            Content::Sequence(items) => items.as_slice(),
            Content::Scalar(_) => core::slice::from_ref(self),
            Content::Mapping(_) => &[],
        };
        items.iter().filter_map(Self::scalar)
    }
}

/// Reads a text; `None` if there is nothing in it but comments.
///
/// # Errors
/// Why it is not understood.
pub(super) fn parse(text: &str) -> Result<Option<Node>, Unclear> {
    if text.contains(breaks_lines) || text.matches('\r').count() != text.matches("\r\n").count() {
        return Err("strange characters");
    }
    let lines: Vec<&str> = text.split('\n').collect();
    // Blanks of another kind in front of the text.
    let has_tab = lines
        .iter()
        .filter(|line| !line.trim_ascii().is_empty())
        .any(|line| line.trim_ascii_start().len() < line.trim_start_matches(' ').len());
    if has_tab {
        return Err("a tab in front of a line");
    }
    let mut composer = Composer {
        parser: Parser::new_from_str(text),
        lines: &lines,
    };
    let mut document = None;
    loop {
        let (event, span) = composer.event()?;
        match event {
            Event::StreamEnd => return Ok(document),
            Event::DocumentStart(_) if document.is_some() => return Err("more than one document"),
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            event @ (Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd) => document = Some(composer.node(event, span, 0)?),
        }
    }
}

/// Whether a character breaks a line or ends the text for some readers only.
fn breaks_lines(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{2028}' | '\u{2029}')
}

struct Composer<'t> {
    parser: Parser<'t, StrInput<'t>>,
    lines: &'t [&'t str],
}

impl<'t> Composer<'t> {
    fn event(&mut self) -> Result<(Event<'t>, Span), Unclear> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(_)) | None => Err("no valid YAML"),
        }
    }

    /// The value that begins with an event.
    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Unclear> {
        const ANCHOR: Unclear = "anchors and aliases are not supported";
        const TAG: Unclear = "tags are not supported";

        let first = span.start.line().saturating_sub(1);
        let mut lines = Lines { first, last: first };
        let content = match event {
            Event::Scalar(_, _, 1.., _)
            | Event::SequenceStart(1.., _)
            | Event::MappingStart(1.., _) => {
                return Err(ANCHOR);
            }
            Event::Alias(_) => return Err(ANCHOR),
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return Err(TAG);
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if depth >= DEPTH_MAX => {
                return Err("nested too deep");
            }
            Event::Scalar(_, ScalarStyle::Folded | ScalarStyle::Literal, ..) => {
                return Err("block scalars are not supported");
            }
            Event::Scalar(text, ..) => {
                lines.last = span.end.line().saturating_sub(1);
                Content::Scalar(text.into_owned())
            }
            Event::SequenceStart(..) => {
                let mut items: Vec<Node> = Vec::new();
                loop {
                    let (event, end) = self.event()?;
                    if event == Event::SequenceEnd {
                        lines.last = last_line(span, end, items.last());
                        break Content::Sequence(items);
                    }
                    items.push(self.node(event, end, depth.saturating_add(1))?);
                }
            }
            Event::MappingStart(..) => {
                let mut entries: Vec<Entry> = Vec::new();
                loop {
                    let (event, end) = self.event()?;
                    if event == Event::MappingEnd {
                        lines.last = last_line(span, end, entries.last().map(|entry| &entry.value));
                        break Content::Mapping(entries);
                    }
                    entries.push(self.entry(event, end, is_block(span), depth)?);
                }
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err("no valid YAML"),
        };
        Ok(Node { content, lines })
    }

    fn entry(
        &mut self,
        key: Event<'t>,
        at: Span,
        block: bool,
        depth: usize,
    ) -> Result<Entry, Unclear> {
        let key = self.node(key, at, depth.saturating_add(1))?;
        let Content::Scalar(name) = key.content else {
            return Err("a key is no text");
        };
        let (event, span) = self.event()?;
        let value = self.node(event, span, depth.saturating_add(1))?;
        let lines = Lines {
            first: key.lines.first,
            last: key.lines.last.max(value.lines.last),
        };
        let before = self
            .lines
            .get(lines.first)
            .and_then(|line| line.get(..at.start.col()));
        let first_on_its_line =
            before.is_some_and(|before| before.bytes().all(|byte| byte == b' '));
        Ok(Entry {
            key: name,
            value,
            alone: (block && first_on_its_line).then_some(lines),
        })
    }
}

/// Only brackets have a length, so a collection without them begins with nothing.
fn is_block(start: Span) -> bool {
    start.start.index() == start.end.index()
}

/// A collection without brackets ends with the last value in it, others end with a bracket.
fn last_line(start: Span, end: Span, last: Option<&Node>) -> usize {
    match last {
        Some(last) if is_block(start) => last.lines.last,
        Some(_) | None => end.end.line().saturating_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    const TEXT: &str = "# c
network:
  version: 2 # x
  nothing:
  ethernets:

    # about eth0
    eth0:
      match: {macaddress: \"00:16:3e:00:00:01\",
        name: x}
      addresses:
      - 192.0.2.1/24
      - \"a
        b\"
      text: a b
        c
      # tail
    eth1: {}

  vlans: ~
";

    fn lines(node: &Node, path: &[&str]) -> Option<(usize, usize)> {
        let (key, path) = path.split_first()?;
        let entry = node.entries().iter().find(|entry| entry.key == *key)?;
        if path.is_empty() {
            entry.alone.map(|lines| (lines.first, lines.last))
        } else {
            lines(&entry.value, path)
        }
    }

    #[test]
    fn entries_know_their_lines() {
        let root = parse(TEXT).unwrap().unwrap();
        assert_eq!(lines(&root, &["network"]), Some((1, 19)));
        assert_eq!(lines(&root, &["network", "version"]), Some((2, 2)));
        assert_eq!(lines(&root, &["network", "nothing"]), Some((3, 3)));
        assert_eq!(lines(&root, &["network", "ethernets"]), Some((4, 17)));
        assert_eq!(
            lines(&root, &["network", "ethernets", "eth0"]),
            Some((7, 15))
        );
        assert_eq!(
            lines(&root, &["network", "ethernets", "eth1"]),
            Some((17, 17))
        );
        assert_eq!(
            lines(&root, &["network", "ethernets", "eth0", "match"]),
            Some((8, 9))
        );
        assert_eq!(
            lines(&root, &["network", "ethernets", "eth0", "match", "name"]),
            None
        );
        assert_eq!(lines(&root, &["network", "vlans"]), Some((19, 19)));
    }

    #[test]
    fn values_are_equal_wherever_they_stand() {
        let [a, b, c] = [
            "a: {b: [1, '2']}",
            "# x\n\n'a':\n   b:\n   - 1\n   - 2",
            "a: {b: [2, 1]}",
        ]
        .map(parse);
        assert_eq!(a, b);
        assert_ne!(a, c);
        let node = a.unwrap().unwrap();
        let texts: Vec<&str> = node
            .get("a")
            .and_then(|a| a.get("b"))
            .unwrap()
            .scalars()
            .collect();
        assert_eq!(texts, ["1", "2"]);
    }

    #[test]
    fn nothing_is_nothing() {
        for text in ["", "\n", "# c\n", "---\n...\n# c"] {
            let root = parse(text).unwrap();
            assert!(
                root.is_none_or(|root| root.entries().is_empty()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_may_be_misunderstood_is_refused() {
        for text in [
            "a: &x 1",
            "a: &x {}\nb: *x",
            "a: !!str 1",
            "a: |\n  b",
            "a: 1\n---\nb: 2",
            "a: [",
            "\ta: 1",
            "{a: 1}: 2",
            "a: 1\rb: 2",
            "a: 1\0b: 2",
            "# \u{85}a: 1",
            "# \u{2028}a: 1",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&deep(DEPTH_MAX)).is_ok());
        assert!(parse(&deep(DEPTH_MAX + 1)).is_err());
        assert!(parse(&deep(100_000)).is_err());
        assert!(parse("a:\n b:\n  c: 1").is_ok());
    }

    /// Marks that mean something to YAML, in any order.
    #[test]
    fn no_text_makes_the_reader_panic() {
        use proptest::prelude::*;

        const PARTS: [&str; 24] = [
            "a", "b c", "1", ":", ": ", "- ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", ",",
            "\"", "'", "#", " # ", "&x", "*x", "!t", "|", "? ", "---\n",
        ];
        let text = proptest::collection::vec(proptest::sample::select(&PARTS), 0..60);
        proptest!(|(parts in text)| {
            drop(parse(&parts.concat()));
        });
    }
}

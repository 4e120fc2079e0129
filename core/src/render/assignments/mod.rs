//! Files of assignments that a shell reads: os-release, `/etc/sysconfig`, ifcfg, rc.conf, `/etc/conf.d`.
//!
//! What is not changed comes out as it went in, byte for byte.

mod parse;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::context::Context;
use super::text::{HEADER, LABEL};
use crate::effect::GuestPath;
use crate::network::InterfaceName;
use crate::ordered::CollectOrdered;

/// Such a file, line by line. An assignment and the line that it is on may go on over several lines of text.
#[derive(Debug, Default)]
pub(super) struct Assignments {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Assignment(Assignment),
    Other(String),
}

#[derive(Debug)]
struct Assignment {
    key: String,
    operator: Operator,
    value: Value,
    /// As it is written.
    text: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operator {
    /// `KEY+=` and `KEY[0]=`: there is more than this.
    Append,
    /// `KEY=`
    Set,
}

#[derive(Debug)]
enum Value {
    /// `(a b)`, and where each word begins and ends in the assignment's text.
    List(Vec<(Word, usize, usize)>),
    Word(Word),
}

#[derive(Debug)]
struct Word {
    /// Without quotes. What a shell would expand is not expanded.
    text: String,
    /// Whether a shell would expand nothing.
    literal: bool,
}

impl Assignments {
    /// Reads a file to know what it says; a line that is not understood says nothing.
    pub(super) fn parse(text: &str) -> Self {
        Self {
            lines: parse::leniently(text),
        }
    }

    /// Reads a file to edit it.
    ///
    /// # Errors
    /// The text for the host, if an edit might do something else than it seems to do.
    pub(super) fn for_editing(path: &GuestPath, text: &str) -> Result<Self, String> {
        let lines =
            parse::strictly(text).map_err(|unclear| format!("cannot edit {path}: {unclear}"))?;
        Ok(Self { lines })
    }

    /// The lines with their ends.
    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = String> {
        self.lines.iter().map(Line::text)
    }

    /// What is assigned to, in the order of the file; a key may occur more than once.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.assignments().map(|assignment| assignment.key.as_str())
    }

    /// The value of a key at the end of the file, without quotes; the words of a list are on lines of their own. What a
    /// shell would expand is not expanded.
    pub(super) fn get(&self, key: &str) -> Option<String> {
        let mut found: Option<String> = None;
        for assignment in self.of(key) {
            let text = assignment.value.text();
            match &mut found {
                Some(before) if assignment.operator == Operator::Append => {
                    if matches!(assignment.value, Value::List(_)) {
                        before.push('\n');
                    }
                    before.push_str(&text);
                }
                Some(_) | None => found = Some(text),
            }
        }
        found
    }

    /// The words of a key at the end of the file, be they in a list or in one value.
    pub(super) fn words(&self, key: &str) -> Vec<String> {
        let mut words = Vec::new();
        for assignment in self.of(key) {
            if assignment.operator == Operator::Set {
                words.clear();
            }
            match &assignment.value {
                Value::List(elements) => {
                    words.extend(elements.iter().map(|(word, ..)| word.text.clone()))
                }
                Value::Word(word) => {
                    words.extend(word.text.split_ascii_whitespace().map(ToString::to_string))
                }
            }
        }
        words
    }

    /// Whether a key has the value that it seems to have: nothing in it is expanded.
    pub(super) fn is_literal(&self, key: &str) -> bool {
        self.of(key).all(|assignment| match &assignment.value {
            Value::List(elements) => elements.iter().all(|(word, ..)| word.literal),
            Value::Word(word) => word.literal,
        })
    }

    /// What a shell makes of some of the keys, for comparison: whether it is a list, and its value.
    pub(super) fn meaning(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, (bool, String)> {
        let lists = |key: &str| {
            self.of(key)
                .any(|assignment| matches!(assignment.value, Value::List(_)))
        };
        let keys = self.keys().filter(|key| wanted(key));
        keys.filter_map(|key| Some((key.to_string(), (lists(key), self.get(key)?))))
            .collect_ordered()
    }

    /// Sets a key, in place of its last assignment if there is one. The value is written as it is, so it has its quotes.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        let new = format!("{key}={value}");
        for line in self.lines.iter_mut().rev() {
            if line.set(key, &new) {
                return;
            }
        }
        self.push_text(&format!("{new}\n"));
    }

    /// Removes every assignment of a key.
    pub(super) fn remove(&mut self, key: &str) {
        self.remove_all(|other| other == key);
    }

    /// Removes every assignment of some keys, and the lines that hold nothing else; tells where the first one was.
    pub(super) fn remove_all(&mut self, unwanted: impl Fn(&str) -> bool) -> Option<usize> {
        let mut first = None;
        let mut kept: Vec<Line> = Vec::new();
        for mut line in core::mem::take(&mut self.lines) {
            let removed = line.remove(&unwanted);
            if removed {
                // The comment above belongs to what is gone.
                if kept.last().is_some_and(Line::is_label) {
                    kept.pop();
                }
                first = first.or(Some(kept.len()));
            }
            if !removed || !line.is_empty() {
                kept.push(line);
            }
        }
        self.lines = kept;
        first
    }

    /// Replaces some keys by generated lines, which stand where the first of them was, or at the end.
    pub(super) fn replace(&mut self, unwanted: impl Fn(&str) -> bool, generated: &str) {
        let before = self.lines.len();
        let header = self.lines.iter().position(|line| line.text() == HEADER);
        let removed = self.remove_all(unwanted);
        // Headers are not counted as removed above, so positions behind the first one are the same.
        self.lines.retain(|line| line.text() != HEADER);
        let place = match (header, removed) {
            (Some(header), Some(removed)) => header.min(removed),
            (Some(place), None) | (None, Some(place)) => place,
            (None, None) => before,
        };
        let mut end = self.lines.split_off(place.min(self.lines.len()));
        self.push_text(&format!("{HEADER}{generated}"));
        self.lines.append(&mut end);
    }

    /// Changes words of a list: to what the function returns, which may be several words or none. Other words, blanks and
    /// comments between them stay.
    pub(super) fn edit_list(&mut self, key: &str, edit: impl Fn(&str) -> Option<String>) {
        let assignments = self
            .lines
            .iter_mut()
            .flat_map(|line| &mut line.parts)
            .filter_map(|part| match part {
                Part::Assignment(assignment) if assignment.key == key => Some(assignment),
                Part::Assignment(_) | Part::Other(_) => None,
            });
        for assignment in assignments {
            let Value::List(elements) = &assignment.value else {
                continue;
            };
            for (word, from, to) in elements.iter().rev() {
                let Some(new) = edit(&word.text) else {
                    continue;
                };
                let start = assignment.text.get(..*from).unwrap_or_default();
                let end = assignment.text.get(*to..).unwrap_or_default();
                assignment.text = match new.is_empty() {
                    true => format!("{start}{}", end.trim_start_matches(' ')),
                    false => format!("{start}{new}{end}"),
                };
            }
        }
        // The places of the words have changed.
        *self = Self::parse(&self.text());
    }

    /// Adds a word in front of a list, which is made if there is none.
    pub(super) fn push_front(&mut self, key: &str, word: &str) {
        let mut assignments = self
            .lines
            .iter_mut()
            .flat_map(|line| &mut line.parts)
            .filter_map(|part| match part {
                Part::Assignment(assignment) if assignment.key == key => Some(assignment),
                Part::Assignment(_) | Part::Other(_) => None,
            });
        match assignments.find(|assignment| matches!(assignment.value, Value::List(_))) {
            Some(assignment) => {
                let blank = if matches!(&assignment.value, Value::List(words) if words.is_empty()) {
                    ""
                } else {
                    " "
                };
                assignment.text = assignment.text.replacen('(', &format!("({word}{blank}"), 1);
                *self = Self::parse(&self.text());
            }
            None => self.set(key, &format!("({word})")),
        }
    }

    /// Makes comments of the lines that assign to a key.
    pub(super) fn comment_out(&mut self, key: &str) {
        for line in &mut self.lines {
            if line
                .parts
                .iter()
                .any(|part| matches!(part, Part::Assignment(assignment) if assignment.key == key))
            {
                let text = line
                    .text()
                    .split_inclusive('\n')
                    .map(|line| format!("#{line}"))
                    .collect();
                line.parts = alloc::vec![Part::Other(text)];
            }
        }
    }

    pub(super) fn text(&self) -> String {
        self.lines().collect()
    }

    fn push_text(&mut self, text: &str) {
        if let Some(Line { parts }) = self.lines.last_mut()
            && !parts.last().is_some_and(|part| part.text().ends_with('\n'))
        {
            parts.push(Part::Other("\n".to_string()));
        }
        self.lines.extend(parse::leniently(text));
    }

    fn assignments(&self) -> impl Iterator<Item = &Assignment> {
        self.lines
            .iter()
            .flat_map(|line| &line.parts)
            .filter_map(|part| match part {
                Part::Assignment(assignment) => Some(assignment),
                Part::Other(_) => None,
            })
    }

    fn of(&self, key: &str) -> impl Iterator<Item = &Assignment> {
        self.assignments()
            .filter(move |assignment| assignment.key == key)
    }
}

impl Line {
    fn text(&self) -> String {
        self.parts.iter().map(Part::text).collect()
    }

    fn is_label(&self) -> bool {
        self.text().starts_with(LABEL)
    }

    /// Whether nothing is left that means or says something.
    fn is_empty(&self) -> bool {
        let text = self.text();
        matches!(
            text.trim_matches(|c: char| c.is_ascii_whitespace() || c == ';' || c == '\\'),
            "" | "export"
        )
    }

    /// Replaces the last assignment of a key; tells whether there is one.
    fn set(&mut self, key: &str, new: &str) -> bool {
        let last = self
            .parts
            .iter()
            .rposition(|part| matches!(part, Part::Assignment(found) if found.key == key));
        let Some(last) = last else { return false };
        if let Some(part) = self.parts.get_mut(last)
            && part.text() != new
        {
            let mut new = parse::leniently(new);
            if let Some(new) = new.pop().and_then(|mut line| line.parts.pop()) {
                *part = new;
            }
            if let [.., Part::Assignment(_), Part::Other(rest)] = self.parts.as_mut_slice()
                && rest.trim_ascii().is_empty()
            {
                *rest = "\n".to_string();
            }
        }
        true
    }

    /// Removes assignments and what separates them from the next one; tells whether there were any.
    fn remove(&mut self, unwanted: &impl Fn(&str) -> bool) -> bool {
        let before = self.parts.len();
        let mut after_removed = false;
        self.parts.retain_mut(|part| match part {
            Part::Assignment(assignment) => {
                after_removed = unwanted(&assignment.key);
                !after_removed
            }
            Part::Other(text) => {
                if core::mem::take(&mut after_removed) {
                    let rest = text.trim_start_matches([' ', '\t']);
                    match rest.strip_prefix(';') {
                        Some(rest) => *text = rest.trim_start_matches([' ', '\t']).to_string(),
                        None if rest.is_empty() => text.clear(),
                        None => {}
                    }
                }
                true
            }
        });
        self.parts.len() != before
    }
}

impl Part {
    fn text(&self) -> &str {
        match self {
            Self::Assignment(assignment) => &assignment.text,
            Self::Other(text) => text,
        }
    }
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::List(elements) => {
                let words: Vec<&str> = elements
                    .iter()
                    .map(|(word, ..)| word.text.as_str())
                    .collect();
                words.join("\n")
            }
            Self::Word(word) => word.text.clone(),
        }
    }
}

/// The part of a variable's name that stands for an interface: a shell allows no dots and dashes there.
pub(super) fn variable(name: &InterfaceName) -> String {
    name.as_str()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

/// The comment above what is generated for an interface.
pub(super) fn label(interface: &crate::network::Interface) -> String {
    interface
        .label
        .as_ref()
        .map(|label| format!("{LABEL}{}\n", label.as_str()))
        .unwrap_or_default()
}

/// What is kept of the old ifcfg file of an interface: lines that assign a plain word to a key that is not the agent's.
pub(super) fn kept_lines(
    old: impl IntoIterator<Item = impl AsRef<str>>,
    is_ours: impl Fn(&str) -> bool,
    interface: &InterfaceName,
    cx: &mut Context<'_>,
) -> String {
    let mut kept = String::new();
    for line in old {
        let line = line.as_ref().trim_ascii();
        if line.is_empty() || line.starts_with('#') || key_of(line).is_some_and(&is_ours) {
            continue;
        }
        if is_plain(line) {
            kept.push_str(&format!("{line}\n"));
        } else {
            cx.warn(format!(
                "ifcfg-{interface}: a line was dropped that is no plain assignment"
            ));
        }
    }
    kept
}

/// The key that a line assigns to.
pub(super) fn key_of(line: &str) -> Option<&str> {
    let line = line.trim_ascii_start();
    let line = line
        .strip_prefix("export ")
        .unwrap_or(line)
        .trim_ascii_start();
    let (key, _) = line.split_once('=')?;
    let mut bytes = key.bytes();
    let first = bytes.next()?;
    let valid = (first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    valid.then_some(key)
}

/// Whether a line assigns one word and nothing else: no expansion, no command, no quote or line left open. Only such a
/// line can be copied without knowing what a shell makes of it.
pub(super) fn is_plain(line: &str) -> bool {
    let line = line.trim_ascii();
    let Some((key, value)) = line.split_once('=') else {
        return false;
    };
    if key_of(line) != Some(key) {
        return false;
    }
    let plain = |c: char| c.is_ascii_graphic() && !"$`\\\"'".contains(c);
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote) {
            return inner
                .strip_suffix(quote)
                .is_some_and(|inner| inner.chars().all(|c| plain(c) || c == ' '));
        }
    }
    value
        .chars()
        .all(|c| plain(c) && !"&;|<>()#*?[]~!{}".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: GuestPath = GuestPath::constant("/etc/rc.conf");

    fn file(text: &str) -> Assignments {
        Assignments::for_editing(&PATH, text).unwrap()
    }

    #[test]
    fn values_lose_their_quotes() {
        let file = file("A=1\nB=\"x y\" # c\n C='q\"q'\nexport D=d;e\nE=\nA=2\n#F=1\nG=\"a\\\"b\"");
        let get = |key| file.get(key);
        assert_eq!(get("A").as_deref(), Some("2"));
        assert_eq!(get("B").as_deref(), Some("x y"));
        assert_eq!(get("C").as_deref(), Some("q\"q"));
        assert_eq!(get("D").as_deref(), Some("d"));
        assert_eq!(get("E").as_deref(), Some(""));
        assert_eq!(get("F"), None);
        assert_eq!(get("G").as_deref(), Some("a\"b"));
    }

    #[test]
    fn values_go_on_over_lines_and_grow() {
        let file = file(concat!(
            "A=\"1\n2\" B='x'\\\n'y'\nC=( a # no)\n 'b c' )\nC+=(d)\nD=1\nD+=2 E[0]=3\nE[1]=4\nF=$A G=( \"`x`\" )\n",
            "postup() {\n A=9\n}\nA=8 command\n"
        ));
        assert_eq!(file.get("A").as_deref(), Some("1\n2"));
        assert_eq!(file.get("B").as_deref(), Some("xy"));
        assert_eq!(file.words("C"), ["a", "b c", "d"]);
        assert_eq!(file.words("A"), ["1", "2"]);
        assert_eq!(file.get("D").as_deref(), Some("12"));
        assert_eq!(file.get("E").as_deref(), Some("34"));
        assert!(file.is_literal("A") && file.is_literal("C"));
        assert!(!file.is_literal("F") && !file.is_literal("G"));
    }

    #[test]
    fn changes_leave_the_other_lines_alone() {
        let mut file = file("# c\nA=1 \n\nB=2");
        file.set("A", "1");
        file.set("C", "3");
        file.remove("B");
        assert_eq!(file.text(), "# c\nA=1 \n\nC=3\n");
        file.set("A", "4");
        assert_eq!(file.text(), "# c\nA=4\n\nC=3\n");
    }

    #[test]
    fn changes_leave_the_rest_of_the_line_alone() {
        let mut file = file("A=1 B=\"2\n\" C=3 # c\nexport D=4\nE=5;F=6\n");
        file.set("C", "\"x y\"");
        file.remove("A");
        file.remove("D");
        file.remove("E");
        assert_eq!(file.text(), "B=\"2\n\" C=\"x y\" # c\nF=6\n");
        file.remove("B");
        file.remove("C");
        assert_eq!(file.text(), " # c\nF=6\n");
    }

    #[test]
    fn a_generated_part_stays_where_it_is() {
        let mut file = file("A=1\n# Label old\nB=\"1\n2\"\n# mine\nC=3\nB=4\nD=5");
        let unwanted = |key: &str| key == "B";
        file.replace(unwanted, "# Label new\nB=7\n");
        let once = "A=1\n# Generated by nova-agent; local changes are lost on resetnetwork\n# Label new\nB=7\n# mine\nC=3\nD=5";
        assert_eq!(file.text(), once);
        let mut file = self::file(once);
        file.replace(unwanted, "# Label new\nB=7\n");
        assert_eq!(file.text(), once);
        file.replace(|_| false, "B=8\n");
        assert!(file.text().starts_with("A=1\n# Generated"));

        let mut file = self::file("A=1");
        file.replace(unwanted, "B=7\n");
        assert_eq!(file.text(), format!("A=1\n{HEADER}B=7\n"));
    }

    #[test]
    fn lists_are_edited_in_place() {
        let mut file = file("D=( a  !b # c\n\td \"e\" )\n");
        file.edit_list("D", |word| match word {
            "!b" => Some("b @x".to_string()),
            "e" => Some(String::new()),
            _ => None,
        });
        assert_eq!(file.text(), "D=( a  b @x # c\n\td )\n");
        assert_eq!(file.words("D"), ["a", "b", "@x", "d"]);
        file.comment_out("D");
        assert_eq!(file.text(), "#D=( a  b @x # c\n#\td )\n");
    }

    #[test]
    fn only_single_words_are_plain() {
        for plain in [
            "ZONE=public\n",
            " MTU=1500",
            "E=\"speed 1000 duplex full\"",
            "S='a b'",
            "X=",
        ] {
            assert!(is_plain(plain), "{plain:?}");
        }
        for shell in [
            "A=$(x)",
            "A=`x`",
            "A=b \\",
            "A=\"b",
            "A='b",
            "A=b c",
            "A=b;c",
            "A=\"$B\"",
            "export A=1",
            "# c",
            "f() {",
            "A=(1)",
            "A=\"b\"; c \"\"",
            "A='x'y'",
            "A=\"b\" c=\"d\"",
        ] {
            assert!(!is_plain(shell), "{shell:?}");
        }
    }
}

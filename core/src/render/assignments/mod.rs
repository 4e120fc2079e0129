//! Files of assignments that a shell reads: os-release, `/etc/sysconfig`, ifcfg, rc.conf,
//! `/etc/conf.d`.
//!
//! Unchanged parts keep their exact bytes.

mod cursor;
mod edit;
mod parse;

use crate::render::error::{Refusal, Unclear};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::effect::GuestPath;

/// Such a file, line by line. An assignment may span several lines of text.
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
    /// The assignment as it is written.
    text: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operator {
    /// `KEY+=` and `KEY[0]=`: one part of several.
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
    /// Parses a file for reading; lines that are not understood are ignored.
    pub(super) fn parse(text: &str) -> Self {
        Self {
            lines: parse::leniently(text),
        }
    }

    /// Parses a file for editing.
    ///
    /// # Errors
    /// Refuses if an edit could have another effect than intended.
    pub(super) fn for_editing(path: &GuestPath, text: &str) -> Result<Self, Refusal> {
        let lines = parse::strictly(text)
            .map_err(|parse::Unclear { line, what }| Unclear::Shell { line, what }.at(path))?;
        Ok(Self { lines })
    }

    /// The lines with their ends.
    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = String> {
        self.lines.iter().map(Line::text)
    }

    /// Returns the keys in the order of the file; a key may occur more than once.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.assignments().map(|assignment| assignment.key.as_str())
    }

    /// Returns the final value of a key, without quotes; the words of a list are on lines of their
    /// own. What a shell would expand is not expanded.
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

    /// Returns the final words of a key, whether they are in a list or in one value.
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

    /// Returns whether the value of a key is literal: a shell expands nothing in it.
    pub(super) fn is_literal(&self, key: &str) -> bool {
        self.of(key).all(|assignment| match &assignment.value {
            Value::List(elements) => elements.iter().all(|(word, ..)| word.literal),
            Value::Word(word) => word.literal,
        })
    }

    /// Returns the meaning of the wanted keys, for comparison: whether each is a list, and its
    /// value.
    pub(super) fn meaning(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, (bool, String)> {
        let mut meaning = BTreeMap::new();
        for key in self.keys().filter(|key| wanted(key)) {
            let is_list = self
                .of(key)
                .any(|assignment| matches!(assignment.value, Value::List(_)));
            if let Some(value) = self.get(key) {
                meaning.insert(key.to_string(), (is_list, value));
            }
        }
        meaning
    }

    pub(super) fn text(&self) -> String {
        self.lines().collect()
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

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::render::text::HEADER;

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
}

//! Parses a text as a shell would, as far as assignments need it.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use super::cursor::{Cursor, Parsed};
use super::{Assignment, Line, Operator, Part, Value, Word};

/// The most lines that are not understood before parsing stops. Each one may be read to the end of
/// the text.
const UNCLEAR_MAX: usize = 64;

/// The line that cannot be edited, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::render) struct Unclear {
    pub(super) line: usize,
    pub(super) what: &'static str,
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Parses all of a text.
///
/// # Errors
/// [`Unclear`], if an assignment may be hidden in what is not understood.
pub(super) fn strictly(text: &str) -> Result<Vec<Line>, Unclear> {
    let mut cursor = Cursor {
        text,
        at: 0,
        depth: 0,
    };
    let mut lines = Vec::new();
    while cursor.peek().is_some() {
        let start = cursor.at;
        lines.push(cursor.line().map_err(|what| {
            let before = text.get(..start).unwrap_or_default();
            let line = before.lines().count().saturating_add(1);
            Unclear { line, what }
        })?);
    }
    Ok(lines)
}

/// Parses all of a text; a line that is not understood is kept and ignored.
pub(super) fn leniently(text: &str) -> Vec<Line> {
    let mut cursor = Cursor {
        text,
        at: 0,
        depth: 0,
    };
    let mut lines = Vec::new();
    let mut unclear = 0_usize;
    while cursor.peek().is_some() {
        let start = cursor.at;
        match cursor.line() {
            Ok(line) => lines.push(line),
            Err(_) => {
                (cursor.at, cursor.depth) = (start, 0);
                unclear = unclear.saturating_add(1);
                let rest = cursor.rest();
                let line = if unclear < UNCLEAR_MAX {
                    rest.split_inclusive('\n').next().unwrap_or(rest)
                } else {
                    rest
                };
                cursor.eat(line);
                lines.push(Line {
                    parts: alloc::vec![Part::Other(line.to_string())],
                });
            }
        }
    }
    lines
}

/// Splits a text that begins with an assignment: the key, the operator, and the rest after it.
pub(super) fn target(text: &str) -> Option<(&str, Operator, &str)> {
    let len = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    let (key, rest) = text.split_at_checked(len)?;
    if key
        .bytes()
        .next()
        .is_none_or(|first| first.is_ascii_digit())
    {
        return None;
    }
    let (operator, rest) = match rest.strip_prefix('[') {
        Some(index) => (Some(Operator::Append), index.split_once(']')?.1),
        None => (None, rest),
    };
    if let Some(value) = rest.strip_prefix("+=") {
        Some((key, Operator::Append, value))
    } else {
        Some((
            key,
            operator.unwrap_or(Operator::Set),
            rest.strip_prefix('=')?,
        ))
    }
}

/// What a simple command turned out to be.
enum Command {
    /// Only assignments, which last.
    Assignments,
    /// Something else, in which nothing is assigned that lasts, as far as one can tell.
    Other,
}

impl Cursor<'_> {
    /// Parses a line and its continuation lines.
    fn line(&mut self) -> Parsed<Line> {
        let mut parts = Vec::new();
        loop {
            let start = self.at;
            self.blanks();
            let next = self.peek();
            match next {
                Some('\n' | ';') => {
                    self.bump();
                }
                Some('#') => self.comment(),
                Some(_) | None => {}
            }
            push_text(&mut parts, self.since(start));
            match next {
                None | Some('\n') => return Ok(Line { parts }),
                Some('#' | ';') => {}
                Some(_) => self.list(&mut parts)?,
            }
        }
    }

    /// Commands up to the end of the line or a semicolon, joined by `&&`, `||` or `|`.
    fn list(&mut self, parts: &mut Vec<Part>) -> Parsed<()> {
        let start = self.at;
        let mut found = Vec::new();
        let mut command = self.command(&mut found)?;
        let mut assigns = matches!(command, Command::Assignments);
        while matches!(self.peek(), Some('&' | '|')) {
            let background = !(self.eat("&&") || self.eat("||") || self.eat("|")) && self.eat("&");
            command = Command::Other;
            self.blanks();
            while !background && self.eat("\n") {
                self.blanks();
            }
            if matches!(self.peek(), Some(c) if c != '\n' && c != '#' && c != ';') {
                assigns |= matches!(self.command(&mut found)?, Command::Assignments);
            }
        }
        match command {
            Command::Assignments => parts.append(&mut found),
            Command::Other if assigns => return Err("an assignment that depends on a command"),
            Command::Other => push_text(parts, self.since(start)),
        }
        Ok(())
    }

    /// One command, without what ends it.
    fn command(&mut self, parts: &mut Vec<Part>) -> Parsed<Command> {
        const COMPOUND: [&str; 15] = [
            "if", "then", "elif", "else", "fi", "for", "select", "while", "until", "do", "done",
            "case", "esac", "{", "}",
        ];
        let mut words = 0_usize;
        let (mut assigned, mut exports) = (false, false);
        loop {
            let start = self.at;
            self.blanks();
            push_text(parts, self.since(start));
            let start = self.at;
            match self.peek() {
                None | Some('\n' | ';' | '&' | '|' | '#') => break,
                Some('(') if words == 1 && !exports && self.eat("()") => {
                    return self.function().map(|()| Command::Other);
                }
                Some('(' | ')') => return Err("a parenthesis"),
                Some('<' | '>') => self.redirection()?,
                Some(_) => {
                    if words == 0
                        && let Some(assignment) = self.assignment()?
                    {
                        parts.push(Part::Assignment(assignment));
                        assigned = true;
                        continue;
                    }
                    let word = self.word()?;
                    let raw = self.since(start);
                    match raw {
                        "export" if words == 0 && !assigned => exports = true,
                        "function" if words == 0 => {
                            self.blanks();
                            self.word()?;
                            self.eat("()");
                            return self.function().map(|()| Command::Other);
                        }
                        _ if words == 0 && COMPOUND.contains(&raw) => {
                            return Err("a compound command");
                        }
                        // Anything but the name of a variable.
                        _ if exports && (!word.literal || word.text.contains('=')) => {
                            return Err("an export that is no plain assignment");
                        }
                        _ if exports => {}
                        _ => words = words.saturating_add(1),
                    }
                }
            }
            push_text(parts, self.since(start));
        }
        Ok(if words == 0 {
            Command::Assignments
        } else {
            Command::Other
        })
    }

    /// An assignment, if one begins here.
    fn assignment(&mut self) -> Parsed<Option<Assignment>> {
        let start = self.at;
        let Some((key, operator, value)) = target(self.rest()) else {
            return Ok(None);
        };
        self.at = self.text.len().saturating_sub(value.len());
        let value = if self.eat("(") {
            Value::List(self.elements(start)?)
        } else {
            Value::Word(self.word()?)
        };
        let text = self.since(start).to_string();
        Ok(Some(Assignment {
            key: key.to_string(),
            operator,
            value,
            text,
        }))
    }

    /// The words of a list behind its parenthesis; `start` is where their positions count from.
    fn elements(&mut self, start: usize) -> Parsed<Vec<(Word, usize, usize)>> {
        let mut elements = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                None => return Err("a list that is not closed"),
                Some(')') => {
                    self.bump();
                    return Ok(elements);
                }
                Some('\n') => {
                    self.bump();
                }
                Some('#') => self.comment(),
                Some(';' | '&' | '|' | '<' | '>' | '(') => return Err("a list of more than words"),
                Some(_) => {
                    let from = self.at.saturating_sub(start);
                    let word = self.word()?;
                    elements.push((word, from, self.at.saturating_sub(start)));
                }
            }
        }
    }

    /// A redirection and what it leads to.
    fn redirection(&mut self) -> Parsed<()> {
        if self.rest().starts_with("<<") && !self.rest().starts_with("<<<") {
            return Err("a here-document");
        }
        while self.eat("<") || self.eat(">") {}
        let _ = self.eat("&") || self.eat("|");
        self.blanks();
        self.word()?;
        Ok(())
    }

    /// The body of a function: what it assigns does not count before it is called.
    fn function(&mut self) -> Parsed<()> {
        self.blanks();
        while self.eat("\n") {
            self.blanks();
        }
        if !self.eat("{") {
            return Err("a function without braces");
        }
        let mut depth = 1_usize;
        let mut first = true;
        while depth > 0 {
            self.blanks();
            let start = self.at;
            match self.peek() {
                None => return Err("a function that is not closed"),
                Some('\n' | ';' | '&' | '|' | '(' | ')') => {
                    self.bump();
                    first = true;
                }
                Some('#') => self.comment(),
                Some('<' | '>') => self.redirection()?,
                Some(_) => {
                    self.word()?;
                    let raw = self.since(start);
                    match raw {
                        "{" if first => depth = depth.saturating_add(1),
                        "}" if first => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    first = first
                        && matches!(
                            raw,
                            "{" | "if" | "then" | "elif" | "else" | "while" | "until" | "do" | "!"
                        );
                }
            }
        }
        Ok(())
    }
}

/// Adds text to the text before it.
fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Other(before)) => before.push_str(text),
        Some(Part::Assignment(_)) | None => parts.push(Part::Other(text.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;
    use crate::render::assignments::cursor::NESTING_MAX;

    #[test]
    fn what_may_hide_an_assignment_is_unclear() {
        for (text, what) in [
            ("A=1\nB=\"x\ny", "line 2: a quote that is not closed"),
            ("A=(1 2\n", "line 1: a list that is not closed"),
            ("A=1\n\ncat <<E\nB=2\nE\n", "line 3: a here-document"),
            ("if [ -e x ]; then\nA=1\nfi\n", "line 1: a compound command"),
            ("(A=1)\n", "line 1: a parenthesis"),
            (
                "[ -e x ] && A=1\n",
                "line 1: an assignment that depends on a command",
            ),
            ("f() {\nA=1\n", "line 1: a function that is not closed"),
            (
                "export 'A=1'\n",
                "line 1: an export that is no plain assignment",
            ),
            ("A=$(echo \"\n", "line 1: a quote that is not closed"),
        ] {
            let unclear = strictly(text).unwrap_err();
            assert_eq!(format!("{unclear}"), what, "{text:?}");
        }
        let deep = format!("A=\"{}", "${a:-\"".repeat(1000));
        assert_eq!(
            format!("{}", strictly(&deep).unwrap_err()),
            "line 1: quotes that are nested too deep"
        );
    }

    #[test]
    fn quotes_nest_to_the_bound_and_no_deeper() {
        let nested =
            |levels: usize| format!("A={}{}\n", "${a:-".repeat(levels), "}".repeat(levels));
        assert!(strictly(&nested(NESTING_MAX)).is_ok());
        let unclear = strictly(&nested(NESTING_MAX + 1)).unwrap_err();
        assert_eq!(
            format!("{unclear}"),
            "line 1: quotes that are nested too deep"
        );
        let text = nested(60_000) + "B=1\n";
        let joined: String = leniently(&text).iter().map(Line::text).collect();
        assert_eq!(joined, text);
    }

    #[test]
    fn every_byte_is_kept() {
        for text in [
            "",
            "A=1",
            "A=1 B=\"2\n3\" ; C+=4 # c\n\n  # d\n",
            "A=( 1 # c)\n  '2 )' ) # d\nB[3]=4\n",
            ". ./x; f && g || h > y 2>&1 &\nA=b c\n",
            "postup() {\n  local A=1; if x; then { y; }; fi\n case $1 in a) A=2 ;; esac\n}\nB=\\\n1\n",
            "function f {\n A=1\n}\n",
            "A=\"$(echo \"a)\" ')')\" B=`echo \\` \"` C=${D:-\"}\"}\n",
        ] {
            let joined: String = strictly(text)
                .unwrap()
                .iter()
                .flat_map(|line| &line.parts)
                .map(Part::text)
                .collect();
            assert_eq!(joined, text);
        }
    }

    #[test]
    fn a_text_of_nothing_but_open_quotes_ends() {
        let text = "A=\"\n".repeat(1001);
        let joined: String = leniently(&text)
            .iter()
            .flat_map(|line| &line.parts)
            .map(Part::text)
            .collect();
        assert_eq!(joined, text);
    }

    /// Texts of pieces that mean something, in an order that is always the same.
    #[test]
    fn no_text_is_lost_or_repeated() {
        const PIECES: [&str; 24] = [
            "A=", "B+=", "C[1]=", "x", "\"", "'", "(", ")", "{", "}", "$", "`", "\\", "\n", " ",
            ";", "#", "&&", "|", "<<", ">", "f()", "export ", "if ",
        ];
        let mut state = 1_u32;
        let mut accepted = 0;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(PIECES[usize::try_from(state >> 8).unwrap() % PIECES.len()]);
            }
            let join = |lines: Vec<Line>| -> String { lines.iter().map(Line::text).collect() };
            assert_eq!(join(leniently(&text)), text);
            if let Ok(lines) = strictly(&text) {
                assert_eq!(join(lines), text);
                accepted += 1;
            }
        }
        assert!(accepted > 100, "{accepted}");
    }
}

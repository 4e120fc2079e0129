//! Files of `KEY=value` lines that a shell reads: os-release, `/etc/sysconfig`, ifcfg.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Such a file, line by line. What is not changed comes out as it went in.
#[derive(Debug)]
pub(super) struct Assignments {
    lines: Vec<String>,
}

impl Assignments {
    pub(super) fn parse(text: &str) -> Self {
        Self { lines: text.split_inclusive('\n').map(ToString::to_string).collect() }
    }

    /// The lines with their ends.
    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// The last value of a key, without quotes. What a shell would expand is not expanded.
    pub(super) fn get(&self, key: &str) -> Option<String> {
        let line = self.lines().rev().find(|line| key_of(line) == Some(key))?;
        Some(unquote(line.split_once('=')?.1.trim_ascii()))
    }

    /// Sets a key, in place of its last assignment if there is one. The value must not need quotes.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        let line = format!("{key}={value}\n");
        let last = self.lines.iter().rposition(|line| key_of(line) == Some(key));
        match last.and_then(|nth| self.lines.get_mut(nth)) {
            Some(old) if old.trim_ascii_end() == line.trim_ascii_end() => {}
            Some(old) => *old = line,
            None => {
                if let Some(last) = self.lines.last_mut() {
                    super::text::end_line(last);
                }
                self.lines.push(line);
            }
        }
    }

    /// Removes every assignment of a key.
    pub(super) fn remove(&mut self, key: &str) {
        self.lines.retain(|line| key_of(line) != Some(key));
    }

    pub(super) fn text(&self) -> String {
        self.lines.concat()
    }
}

/// The key that a line assigns to.
pub(super) fn key_of(line: &str) -> Option<&str> {
    let line = line.trim_ascii_start();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_ascii_start();
    let (key, _) = line.split_once('=')?;
    let mut bytes = key.bytes();
    let first = bytes.next()?;
    let valid = (first.is_ascii_alphabetic() || first == b'_') && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    valid.then_some(key)
}

/// Whether a line assigns one word and nothing else: no expansion, no command, no quote or line left open. Only such a
/// line can be copied without knowing what a shell makes of it.
pub(super) fn is_plain(line: &str) -> bool {
    let line = line.trim_ascii();
    let Some((key, value)) = line.split_once('=') else { return false };
    if key_of(line) != Some(key) {
        return false;
    }
    let plain = |c: char| c.is_ascii_graphic() && !"$`\\\"'".contains(c);
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote) {
            return inner.strip_suffix(quote).is_some_and(|inner| inner.chars().all(|c| plain(c) || c == ' '));
        }
    }
    value.chars().all(|c| plain(c) && !"&;|<>()#*?[]~!{}".contains(c))
}

fn unquote(value: &str) -> String {
    let mut unquoted = String::new();
    let mut quote = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None | Some('"'), '\\') => unquoted.extend(chars.next()),
            (None, ' ' | '\t' | ';' | '#') => break,
            (_, c) => unquoted.push(c),
        }
    }
    unquoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lose_their_quotes() {
        let file = Assignments::parse("A=1\nB=\"x y\" # c\n C='q\"q'\nexport D=d;e\nE=\nA=2\n#F=1\nG=\"a\\\"b\"");
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
    fn changes_leave_the_other_lines_alone() {
        let mut file = Assignments::parse("# c\nA=1 \n\nB=2");
        file.set("A", "1");
        file.set("C", "3");
        file.remove("B");
        assert_eq!(file.text(), "# c\nA=1 \n\nC=3\n");
        file.set("A", "4");
        assert_eq!(file.text(), "# c\nA=4\n\nC=3\n");
    }

    #[test]
    fn only_single_words_are_plain() {
        for plain in ["ZONE=public\n", " MTU=1500", "E=\"speed 1000 duplex full\"", "S='a b'", "X="] {
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

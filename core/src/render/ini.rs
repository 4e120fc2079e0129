//! Files with sections of `key=value` lines: keyfiles of NetworkManager, `.network` files of
//! systemd.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// Such a file, line by line. Unchanged lines keep their exact text.
///
/// Sections of one name mean the same as one section with all their lines.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Ini {
    sections: Vec<Section>,
}

/// A section. The lines before the first header are a section with an empty name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Section {
    name: String,
    /// With their line ends; the first line is the header, if there is one.
    lines: Vec<String>,
}

impl Ini {
    pub(super) fn parse(text: &str) -> Self {
        let mut sections: Vec<Section> = Vec::new();
        for line in text.split_inclusive('\n') {
            match (name_of(line), sections.last_mut()) {
                (None, Some(section)) => section.lines.push(line.to_string()),
                (name, _) => {
                    let name = name.unwrap_or_default().to_string();
                    sections.push(Section {
                        name,
                        lines: alloc::vec![line.to_string()],
                    });
                }
            }
        }
        Self { sections }
    }

    /// Returns all sections in their order, the one without a name included.
    pub(super) fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    /// Returns all values of a key in the sections of this name.
    pub(super) fn all<'a>(
        &'a self,
        section: &'a str,
        key: &'a str,
    ) -> impl DoubleEndedIterator<Item = &'a str> {
        let sections = self
            .sections
            .iter()
            .filter(move |candidate| candidate.name == section);
        sections
            .flat_map(Section::entries)
            .filter(move |(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// Returns the last value of a key in the sections of this name.
    pub(super) fn get<'a>(&'a self, section: &'a str, key: &'a str) -> Option<&'a str> {
        self.all(section, key).next_back()
    }

    /// Appends a section, after an empty line if it is not the first one.
    pub(super) fn push(&mut self, section: Section) {
        if let Some(last) = self.sections.last_mut() {
            last.end_line();
            if !last.name.is_empty()
                && last
                    .lines
                    .last()
                    .is_some_and(|line| !line.trim_ascii().is_empty())
            {
                last.lines.push("\n".to_string());
            }
        }
        self.sections.push(section);
    }
}

/// The lines of the file.
impl fmt::Display for Ini {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sections
            .iter()
            .flat_map(|section| &section.lines)
            .try_for_each(|line| f.write_str(line))
    }
}

impl Section {
    /// A section without entries.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_string(),
            lines: alloc::vec![format!("[{name}]\n")],
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the keys and values; a key may occur more than once.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(|line| entry(line))
    }

    /// Appends an entry. Neither key nor value may contain a line end.
    pub(super) fn push(&mut self, key: &str, value: &str) {
        self.end_line();
        self.lines.push(format!("{key}={value}\n"));
    }

    fn end_line(&mut self) {
        if let Some(last) = self.lines.last_mut() {
            super::text::end_line(last);
        }
    }
}

/// Returns the name in a section header.
fn name_of(line: &str) -> Option<&str> {
    line.trim_ascii().strip_prefix('[')?.strip_suffix(']')
}

/// Returns the key and the value of a line; `None` for comments and anything else.
fn entry(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_ascii();
    if line.starts_with(['#', ';', '[']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    Some((key.trim_ascii_end(), value.trim_ascii_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# c\na=0\n[x]\nk = 1 \n;k=2\n#k=2\nno entry\n\n [y] \nk=3=4\n[x]\nk=5\nk=";

    #[test]
    fn what_is_parsed_comes_out_as_it_went_in() {
        for text in ["", "\n", TEXT, "[x]", "no entry"] {
            assert_eq!(Ini::parse(text).to_string(), text);
        }
    }

    #[test]
    fn sections_of_one_name_are_one() {
        let file = Ini::parse(TEXT);
        assert_eq!(file.all("x", "k").collect::<Vec<_>>(), ["1", "5", ""]);
        assert_eq!(file.get("x", "k"), Some(""));
        assert_eq!(file.get("y", "k"), Some("3=4"));
        assert_eq!(file.get("", "a"), Some("0"));
        assert_eq!(file.get("x", "no entry"), None);
        assert_eq!(
            file.sections().map(Section::name).collect::<Vec<_>>(),
            ["", "x", "y", "x"]
        );
    }

    #[test]
    fn what_is_added_stands_by_itself() {
        let mut file = Ini::parse("# c\n[x]\nk=1");
        let mut section = Section::new("y");
        section.push("a", "b");
        section.push("a", "c");
        file.push(section);
        assert_eq!(file.to_string(), "# c\n[x]\nk=1\n\n[y]\na=b\na=c\n");
        assert_eq!(file.get("y", "a"), Some("c"));

        let mut file = Ini::default();
        file.push(Section::new("x"));
        assert_eq!(file.to_string(), "[x]\n");
        let mut file = Ini::parse("# c\n");
        file.push(Section::new("x"));
        assert_eq!(file.to_string(), "# c\n[x]\n");
    }
}

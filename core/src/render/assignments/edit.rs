//! Changes of a file of assignments.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Assignments, Line, Part, Value, parse};
use crate::render::text::{HEADER, LABEL};

impl Assignments {
    /// Sets a key, in place of its last assignment if there is one. The value must bring its own
    /// quotes.
    pub(in crate::render) fn set(&mut self, key: &str, value: &str) {
        let new = format!("{key}={value}");
        for line in self.lines.iter_mut().rev() {
            if line.set(key, &new) {
                return;
            }
        }
        self.push_text(&format!("{new}\n"));
    }

    /// Removes every assignment of a key.
    pub(in crate::render) fn remove(&mut self, key: &str) {
        self.remove_all(|other| other == key);
    }

    /// Removes every assignment of the unwanted keys, and lines that hold nothing else; returns the
    /// place of the first one.
    pub(in crate::render) fn remove_all(
        &mut self,
        unwanted: impl Fn(&str) -> bool,
    ) -> Option<usize> {
        let mut first = None;
        let mut kept: Vec<Line> = Vec::new();
        for mut line in core::mem::take(&mut self.lines) {
            let removed = line.remove(&unwanted);
            if removed {
                // The label above belongs to what was removed.
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

    /// Replaces the unwanted keys by generated lines, in the place of the first one or at the end.
    pub(in crate::render) fn replace(&mut self, unwanted: impl Fn(&str) -> bool, generated: &str) {
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

    /// Replaces words of a list by what the function returns, which may be several words or none.
    /// Other words, blanks and comments between them stay.
    pub(in crate::render) fn edit_list(
        &mut self,
        key: &str,
        edit: impl Fn(&str) -> Option<String>,
    ) {
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
    pub(in crate::render) fn push_front(&mut self, key: &str, word: &str) {
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

    /// Comments out the lines that assign to a key.
    pub(in crate::render) fn comment_out(&mut self, key: &str) {
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

    fn push_text(&mut self, text: &str) {
        if let Some(Line { parts }) = self.lines.last_mut()
            && !parts.last().is_some_and(|part| part.text().ends_with('\n'))
        {
            parts.push(Part::Other("\n".to_string()));
        }
        self.lines.extend(parse::leniently(text));
    }
}

impl Line {
    fn is_label(&self) -> bool {
        self.text().starts_with(LABEL)
    }

    /// Returns whether nothing but separators is left.
    fn is_empty(&self) -> bool {
        let text = self.text();
        matches!(
            text.trim_matches(|c: char| c.is_ascii_whitespace() || c == ';' || c == '\\'),
            "" | "export"
        )
    }

    /// Replaces the last assignment of a key; returns whether there is one.
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

    /// Removes assignments and their separators; returns whether there were any.
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

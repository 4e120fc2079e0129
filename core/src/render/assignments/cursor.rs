//! A position in a text, and reading words of a shell from it.

use alloc::string::String;

use super::Word;

/// How deep quotes and expansions may be nested. Real files have two levels.
pub(super) const NESTING_MAX: usize = 16;

pub(super) type Parsed<T> = Result<T, &'static str>;

pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) depth: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at = self.at.saturating_add(c.len_utf8());
        Some(c)
    }

    pub(super) fn eat(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at = self.at.saturating_add(prefix.len());
        }
        found
    }

    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Skips blanks and escaped line ends.
    pub(super) fn blanks(&mut self) {
        while self.eat(" ") || self.eat("\t") || self.eat("\\\n") {}
    }

    pub(super) fn comment(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.bump();
        }
    }

    pub(super) fn word(&mut self) -> Parsed<Word> {
        let mut word = Word {
            text: String::new(),
            literal: true,
        };
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => break,
                '\\' => {
                    self.bump();
                    match self.bump() {
                        Some('\n') => {}
                        Some(c) => word.text.push(c),
                        None => word.text.push('\\'),
                    }
                }
                '\'' => self.single_quoted(&mut word)?,
                '"' => self.double_quoted(&mut word)?,
                '$' | '`' => self.expansion(&mut word)?,
                c => {
                    self.bump();
                    word.text.push(c);
                }
            }
        }
        Ok(word)
    }

    fn single_quoted(&mut self, word: &mut Word) -> Parsed<()> {
        self.bump();
        let (inner, _) = self
            .rest()
            .split_once('\'')
            .ok_or("a quote that is not closed")?;
        word.text.push_str(inner);
        self.eat(inner);
        self.bump();
        Ok(())
    }

    fn double_quoted(&mut self, word: &mut Word) -> Parsed<()> {
        self.bump();
        loop {
            match self.peek().ok_or("a quote that is not closed")? {
                '"' => {
                    self.bump();
                    return Ok(());
                }
                '\\' => {
                    self.bump();
                    match self.bump() {
                        Some('\n') | None => {}
                        Some(c @ ('"' | '\\' | '$' | '`')) => word.text.push(c),
                        Some(c) => word.text.extend(['\\', c]),
                    }
                }
                '$' | '`' => self.expansion(word)?,
                c => {
                    self.bump();
                    word.text.push(c);
                }
            }
        }
    }

    /// Reads something that a shell would expand; it is kept as it is written.
    fn expansion(&mut self, word: &mut Word) -> Parsed<()> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > NESTING_MAX {
            return Err("quotes that are nested too deep");
        }
        let start = self.at;
        word.literal = false;
        if self.eat("`") {
            self.until('`')?;
        } else if self.eat("$'") {
            self.until('\'')?;
        } else if self.eat("$(") {
            self.balanced('(', ')')?;
        } else if self.eat("${") {
            self.balanced('{', '}')?;
        } else {
            self.bump();
        }
        word.text.push_str(self.since(start));
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    fn until(&mut self, end: char) -> Parsed<()> {
        loop {
            match self.bump().ok_or("a quote that is not closed")? {
                '\\' => {
                    self.bump();
                }
                c if c == end => return Ok(()),
                _ => {}
            }
        }
    }

    fn balanced(&mut self, open: char, close: char) -> Parsed<()> {
        let mut ignored = Word {
            text: String::new(),
            literal: true,
        };
        let mut depth = 1_usize;
        while depth > 0 {
            match self.peek().ok_or("an expansion that is not closed")? {
                '\'' => self.single_quoted(&mut ignored)?,
                '"' => self.double_quoted(&mut ignored)?,
                '$' | '`' => self.expansion(&mut ignored)?,
                c => {
                    self.bump();
                    match c {
                        '\\' => {
                            self.bump();
                        }
                        c if c == open => depth = depth.saturating_add(1),
                        c if c == close => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

//! The configuration file, TOML.

use core::str::FromStr;
use std::borrow::Cow;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::parser::{EventReceiver, ValidateWhitespace, parse_document};
use toml_parser::{ErrorSink, ParseError, Raw, Source, Span};

use super::SettingsError;
use crate::logging::LogLevel;
use crate::transport::StoreAddress;

/// The largest file that is read.
const LEN_MAX: u64 = 64 * 1024;

/// All keys. An unknown one is an error, because whoever wrote it expected an effect.
#[derive(Debug)]
pub(super) struct ConfigFile {
    pub(super) xenstore: StoreAddress,
    pub(super) rescan_seconds: u32,
    pub(super) inject_files: bool,
    pub(super) allow_empty_password: bool,
    pub(super) log: LogSection,
}

#[derive(Debug, Default)]
pub(super) struct LogSection {
    pub(super) level: LogLevel,
    pub(super) file: Option<String>,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            xenstore: StoreAddress::Auto,
            rescan_seconds: 300,
            inject_files: true,
            allow_empty_password: false,
            log: LogSection::default(),
        }
    }
}

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = read(path).map_err(|source| SettingsError::Unreadable {
            path: path.into(),
            source,
        })?;
        Self::parse(&text).map_err(|message| SettingsError::Invalid {
            path: path.into(),
            message,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let source = Source::new(text);
        let tokens: Vec<_> = source.lex().collect();
        let mut reader = Reader::new(source);
        let mut error: Option<ParseError> = None;
        parse_document(
            &tokens,
            &mut ValidateWhitespace::new(&mut reader, source),
            &mut error,
        );
        let line = |at: usize| {
            let before = text.get(..at).unwrap_or(text);
            before.matches('\n').count().saturating_add(1)
        };
        if let Some(error) = error {
            let span = error.unexpected().or_else(|| error.context());
            return Err(format!(
                "line {}: {}",
                line(span.map_or(text.len(), |span| span.start())),
                error.description()
            ));
        }
        match reader.error {
            Some((at, message)) => Err(format!("line {}: {message}", line(at))),
            None => Ok(reader.file),
        }
    }

    /// Sets the value of a key that stands for itself or in tables, joined by dots.
    fn set(&mut self, key: &str, value: Value<'_>) -> Result<(), String> {
        match key {
            "allow_empty_password" => self.allow_empty_password = value.boolean()?,
            "inject_files" => self.inject_files = value.boolean()?,
            "log.file" => self.log.file = Some(value.string()?.into()),
            "log.level" => self.log.level = value.parse()?,
            "rescan_seconds" => self.rescan_seconds = value.integer()?,
            "xenstore" => self.xenstore = value.parse()?,
            _ => return Err("unknown".into()),
        }
        Ok(())
    }
}

/// The table that may be there.
const TABLE: &str = "log";

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(LEN_MAX.saturating_add(1))
        .read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|len| len > LEN_MAX) {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {LEN_MAX} bytes"),
        ));
    }
    Ok(text)
}

/// Follows a document from one key to the next.
struct Reader<'t> {
    source: Source<'t>,
    file: ConfigFile,
    /// The names in a header, or before a value, those of tables in braces first.
    names: Vec<String>,
    /// How many of the names belong to a table in braces.
    braces: Option<usize>,
    /// The header above, with a dot behind it.
    table: String,
    /// What is set, to be set once.
    seen: Vec<String>,
    /// The first thing that is wrong, and where.
    error: Option<(usize, String)>,
}

impl<'t> Reader<'t> {
    fn new(source: Source<'t>) -> Self {
        Self {
            source,
            file: ConfigFile::default(),
            names: Vec::new(),
            braces: None,
            table: String::new(),
            seen: Vec::new(),
            error: None,
        }
    }

    fn raw(&self, span: Span, encoding: Option<Encoding>) -> Raw<'t> {
        let text = self
            .source
            .get(span)
            .map(|raw| raw.as_str())
            .unwrap_or_default();
        Raw::new_unchecked(text, encoding, span)
    }

    fn key(&self) -> String {
        format!("{}{}", self.table, self.names.join("."))
    }

    fn fail(&mut self, span: Span, message: String) {
        self.error.get_or_insert_with(|| (span.start(), message));
    }

    /// A table by its full name.
    fn open(&mut self, span: Span, name: String) {
        if name == TABLE {
            self.once(span, name)
        } else {
            self.fail(span, format!("`{name}`: unknown"))
        }
    }

    fn once(&mut self, span: Span, name: String) {
        if self.seen.contains(&name) {
            self.fail(span, format!("`{name}`: a second time"));
        } else {
            self.seen.push(name);
        }
    }
}

impl EventReceiver for Reader<'_> {
    fn std_table_open(&mut self, _span: Span, _error: &mut dyn ErrorSink) {
        self.table.clear();
        self.names.clear();
    }

    fn std_table_close(&mut self, span: Span, _error: &mut dyn ErrorSink) {
        let name = self.key();
        self.names.clear();
        self.table = format!("{name}.");
        self.open(span, name);
    }

    fn array_table_open(&mut self, span: Span, _error: &mut dyn ErrorSink) {
        self.fail(span, "no list of tables is known".into());
    }

    fn array_table_close(&mut self, _span: Span, _error: &mut dyn ErrorSink) {
        self.names.clear();
    }

    fn inline_table_open(&mut self, span: Span, _error: &mut dyn ErrorSink) -> bool {
        self.open(span, self.key());
        let is_first = self.braces.is_none();
        self.braces = Some(self.names.len());
        is_first
    }

    fn inline_table_close(&mut self, _span: Span, _error: &mut dyn ErrorSink) {
        self.braces = None;
        self.names.clear();
    }

    fn array_open(&mut self, span: Span, _error: &mut dyn ErrorSink) -> bool {
        self.fail(span, format!("`{}`: no list is known", self.key()));
        false
    }

    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let mut name = Cow::Borrowed("");
        self.raw(span, encoding).decode_key(&mut name, error);
        self.names.push(name.into());
    }

    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let key = self.key();
        let mut text = Cow::Borrowed("");
        let kind = self.raw(span, encoding).decode_scalar(&mut text, error);
        if let Err(message) = self.file.set(&key, Value { kind, text: &text }) {
            self.fail(span, format!("`{key}`: {message}"));
        }
        self.once(span, key);
        self.names.truncate(self.braces.unwrap_or_default());
    }
}

struct Value<'t> {
    kind: ScalarKind,
    text: &'t str,
}

impl<'t> Value<'t> {
    fn boolean(&self) -> Result<bool, String> {
        if let ScalarKind::Boolean(value) = self.kind {
            Ok(value)
        } else {
            Err(self.instead_of("boolean"))
        }
    }

    fn integer(&self) -> Result<u32, String> {
        let ScalarKind::Integer(radix) = self.kind else {
            return Err(self.instead_of("integer"));
        };
        u32::from_str_radix(self.text, radix.value())
            .map_err(|error| format!("{}: {error}", self.text))
    }

    fn string(&self) -> Result<&'t str, String> {
        if self.kind == ScalarKind::String {
            Ok(self.text)
        } else {
            Err(self.instead_of("string"))
        }
    }

    fn parse<T: FromStr<Err: Display>>(&self) -> Result<T, String> {
        self.string()?
            .parse()
            .map_err(|error: T::Err| error.to_string())
    }

    fn instead_of(&self, wanted: &str) -> String {
        format!("{}, not {wanted}", self.kind.description())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse(text)
    }

    fn file(text: &str) -> Option<String> {
        parse(text).unwrap().log.file
    }

    #[test]
    fn every_way_to_write_a_key_is_understood() {
        for text in [
            "[log]\nfile = \"/x\"",
            "log.file = '/x'",
            "\"log\" . file = \"\"\"\n/x\"\"\" # here",
            "log = { file = \"\\u002fx\", level = \"off\" }\ninject_files = false",
            "inject_files = true\r\n\r\n[ log ]\r\nfile = '''/x'''\r\n",
        ] {
            assert_eq!(file(text).as_deref(), Some("/x"), "{text}");
        }
        assert_eq!(
            parse("rescan_seconds = 1_000").unwrap().rescan_seconds,
            1000
        );
        assert_eq!(parse("rescan_seconds = 0x10").unwrap().rescan_seconds, 16);
        assert_eq!(parse("").unwrap().rescan_seconds, 300);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, error) in [
            ("\n\ncolour = 1", "line 3: `colour`: unknown"),
            (
                "[log]\ninject_files = true",
                "line 2: `log.inject_files`: unknown",
            ),
            ("[logs]", "line 1: `logs`: unknown"),
            ("[log.x]", "line 1: `log.x`: unknown"),
            (
                "[[log]]\nfile = \"a\"",
                "line 1: no list of tables is known",
            ),
            ("[log]\n[log]", "line 2: `log`: a second time"),
            ("log = {}\n[log]", "line 2: `log`: a second time"),
            (
                "xenstore = \"a\"\nxenstore = \"b\"",
                "line 2: `xenstore`: a second time",
            ),
            (
                "log.file = \"a\"\n[log]\nfile = \"b\"",
                "line 3: `log.file`: a second time",
            ),
            ("log.file = [\"a\"]", "line 1: `log.file`: no list is known"),
            (
                "log = { log = { file = \"a\" } }",
                "line 1: `log.log`: unknown",
            ),
            (
                "inject_files = 1",
                "line 1: `inject_files`: integer, not boolean",
            ),
            ("xenstore = true", "line 1: `xenstore`: boolean, not string"),
            (
                "rescan_seconds = 1.5",
                "line 1: `rescan_seconds`: float, not integer",
            ),
            (
                "rescan_seconds = 4294967296",
                "line 1: `rescan_seconds`: 4294967296: number too large to fit in target type",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), error, "{text}");
        }
        for (text, line) in [
            ("x", 1),
            ("\nxenstore = \"a", 2),
            ("\ninject_files = yes", 2),
            ("# \u{1}", 1),
            ("a = \"\\q\"", 1),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                error.starts_with(&format!("line {line}: ")),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_file_of_the_largest_size_is_read_and_a_larger_one_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let most = usize::try_from(LEN_MAX).unwrap();
        std::fs::write(&file, "#".repeat(most)).unwrap();
        assert_eq!(read(file.path()).unwrap().len(), most);
        std::fs::write(&file, "#".repeat(most + 1)).unwrap();
        assert_eq!(
            read(file.path()).unwrap_err().to_string(),
            "larger than 65536 bytes"
        );
    }

    #[test]
    fn braces_and_brackets_may_go_deep() {
        for (open, close) in [("[", "]"), ("{x=", "}")] {
            let text = format!("log = {}{}", open.repeat(20_000), close.repeat(20_000));
            assert!(parse(&text).is_err());
        }
    }
}

//! The configuration file, TOML.

use core::fmt::Display;
use core::str::FromStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _};

use super::SettingsError;
use crate::logging::LogLevel;
use crate::transport::StoreAddress;

/// The largest file that is read.
const LEN_MAX: u64 = 64 * 1024;

/// All keys. An unknown one is an error, because its author expected an effect.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConfigFile {
    #[serde(deserialize_with = "parse")]
    pub(super) xenstore: StoreAddress,
    pub(super) rescan_seconds: u32,
    pub(super) inject_files: bool,
    pub(super) allow_empty_password: bool,
    pub(super) log: LogSection,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogSection {
    #[serde(deserialize_with = "parse")]
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
        let document =
            toml::Deserializer::parse(text).map_err(|error| explain(text, "", &error))?;
        serde_path_to_error::deserialize(document)
            .map_err(|error| explain(text, &error.path().to_string(), error.inner()))
    }
}

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

/// Reads a value from its text.
fn parse<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(source: D) -> Result<T, D::Error> {
    String::deserialize(source)?
        .parse()
        .map_err(D::Error::custom)
}

/// Returns one line with the key, the line and, for an unknown key, the known one that was probably meant.
fn explain(text: &str, key: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(text.len(), |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let message = error.message().replace('\n', ", ");
    // serde writes: unknown field `a`, expected one of `b`, `c`
    if message.starts_with("unknown field") {
        let mut quoted = message.split('`').skip(1).step_by(2);
        let unknown = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        return format!(
            "unknown key `{key}` in line {line}, {}",
            advice(unknown, &known)
        );
    }
    if key.is_empty() || key == "." {
        format!("{message} in line {line}")
    } else {
        format!("`{key}` in line {line}: {message}")
    }
}

/// The least similarity, from 0 to 1, of a key and the one that is suggested for it.
const SIMILAR: f64 = 0.8;

fn advice(unknown: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map_or_else(
            || format!("known are: {}", known.join(", ")),
            |(_, name)| format!("did you mean `{name}`?"),
        )
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
        for (text, line, words) in [
            (
                "\n\ncolour = 1",
                3,
                &["unknown key `colour`", "known are: xenstore, "][..],
            ),
            ("log_levl = 1\n", 1, &["unknown key `log_levl`"]),
            (
                "[log]\nlevl = \"info\"",
                2,
                &["unknown key `log.levl`", "did you mean `level`?"],
            ),
            (
                "[log]\ninject_files = true",
                2,
                &["unknown key `log.inject_files`"],
            ),
            ("[logs]", 1, &["unknown key `logs`", "did you mean `log`?"]),
            ("[log.x]", 1, &["unknown key `log.x`"]),
            ("[[log]]\nfile = \"a\"", 1, &["`log"]),
            ("[log]\n[log]", 2, &["duplicate key"]),
            ("log = {}\n[log]", 2, &["duplicate key"]),
            ("xenstore = \"a\"\nxenstore = \"b\"", 2, &["duplicate key"]),
            (
                "log.file = \"a\"\n[log]\nfile = \"b\"",
                2,
                &["duplicate key"],
            ),
            (
                "log.file = [\"a\"]",
                1,
                &["`log.file`", "sequence", "string"],
            ),
            (
                "log = { log = { file = \"a\" } }",
                1,
                &["unknown key `log.log`"],
            ),
            (
                "inject_files = 1",
                1,
                &["`inject_files`", "integer `1`", "boolean"],
            ),
            (
                "xenstore = true",
                1,
                &["`xenstore`", "boolean `true`", "string"],
            ),
            (
                "rescan_seconds = 1.5",
                1,
                &["`rescan_seconds`", "floating point `1.5`", "u32"],
            ),
            (
                "rescan_seconds = 4294967296",
                1,
                &["`rescan_seconds`", "integer `4294967296`", "u32"],
            ),
        ] {
            let error = parse(text).unwrap_err();
            for word in words {
                assert!(error.contains(word), "{text}: {error}: no {word}");
            }
            assert!(
                error.contains(&format!(" in line {line}")),
                "{text}: {error}"
            );
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
                error.contains(&format!(" in line {line}")),
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

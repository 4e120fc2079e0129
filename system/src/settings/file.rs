//! The configuration file, TOML.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Deserializer};

use super::SettingsError;
use crate::logging::LogLevel;
use crate::transport::StoreAddress;

/// The largest file that is read.
const LEN_MAX: u64 = 64 * 1024;

/// All keys. An unknown one is an error, because whoever wrote it expected an effect.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConfigFile {
    #[serde(deserialize_with = "address")]
    pub(super) xenstore: StoreAddress,
    pub(super) rescan_seconds: u32,
    pub(super) inject_files: bool,
    pub(super) allow_empty_password: bool,
    pub(super) log: LogSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
        let text = read(path).map_err(|source| SettingsError::Unreadable { path: path.into(), source })?;
        toml::from_str(&text)
            .map_err(|error| SettingsError::Invalid { path: path.into(), message: describe(&error, &text) })
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LEN_MAX.saturating_add(1)).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|len| len > LEN_MAX) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {LEN_MAX} bytes")));
    }
    Ok(text)
}

/// In one line: the library's own text is a drawing of several.
fn describe(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().replace('\n', ", ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count().saturating_add(1)),
        None => message,
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StoreAddress, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

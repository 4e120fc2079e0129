//! What the host says about the network, from a file instead of Xenstore.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nova_agent_core::render::HostData;
use serde::Deserialize;
use serde_json::Value;

/// The largest file that is read: a guest's share of Xenstore holds less.
const LEN_MAX: u64 = 4 * 1024 * 1024;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct HostFileError {
    /// The file.
    pub path: PathBuf,
    /// The system's words, or what is wrong with the content.
    pub source: io::Error,
}

/// Reads a JSON object with the nodes of Xenstore that `resetnetwork` looks at: `hostname` and `networking` of `vm-data`,
/// and `vifs`, the numbers below `device/vif` with the `mac` of each. A value of `networking` is an object, or a string that
/// is taken as it is.
///
/// # Errors
/// [`HostFileError`] if the file cannot be read or is something else.
pub fn read_host_file(path: &Path) -> Result<HostData, HostFileError> {
    let failed = |source| HostFileError {
        path: path.into(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LEN_MAX.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > LEN_MAX) {
        return Err(failed(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {LEN_MAX} bytes"),
        )));
    }
    let file: HostFile = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
    Ok(file.into())
}

/// All keys. An unknown one is an error, because its author expected an effect.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HostFile {
    hostname: Option<String>,
    networking: BTreeMap<String, Value>,
    vifs: BTreeMap<u32, String>,
}

impl From<HostFile> for HostData {
    fn from(file: HostFile) -> Self {
        let raw = |value| match value {
            Value::String(text) => text,
            Value::Array(_)
            | Value::Bool(_)
            | Value::Null
            | Value::Number(_)
            | Value::Object(_) => value.to_string(),
        };
        Self {
            hostname: file.hostname.map(String::into_bytes),
            networking: file
                .networking
                .into_iter()
                .map(|(key, value)| (key, raw(value).into_bytes()))
                .collect(),
            vifs: file.vifs.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::with_suffix("network.json").unwrap();
        std::fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn objects_and_strings_are_values() {
        let text = r#"{"hostname": "web-01", "networking": {"a": {"ips": []}, "b": "{junk"}, "vifs": {"10": "x", "9": "y"}}"#;
        let expected = HostData {
            hostname: Some(b"web-01".to_vec()),
            networking: vec![
                ("a".into(), b"{\"ips\":[]}".to_vec()),
                ("b".into(), b"{junk".to_vec()),
            ],
            vifs: vec![(9, "y".into()), (10, "x".into())],
        };
        assert_eq!(read_host_file(file(text).path()).unwrap(), expected);
        assert_eq!(
            read_host_file(file("{}").path()).unwrap(),
            HostData::default()
        );
    }

    #[test]
    fn a_file_of_the_largest_size_is_read_and_a_larger_one_is_refused() {
        let most = usize::try_from(LEN_MAX).unwrap();
        assert!(read_host_file(file(&format!("{{}}{}", " ".repeat(most - 2))).path()).is_ok());
        let error = read_host_file(file(&format!("{{}}{}", " ".repeat(most - 1))).path())
            .unwrap_err()
            .to_string();
        assert!(error.ends_with("larger than 4194304 bytes"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_files_name() {
        for (text, word) in [
            ("[", "EOF"),
            ("{\"network\": {}}", "`network`"),
            ("{\"vifs\": {\"x\": \"y\"}}", "number"),
        ] {
            let error = read_host_file(file(text).path()).unwrap_err().to_string();
            assert!(
                error.contains("network.json: ") && error.contains(word),
                "{error}"
            );
        }
        let error = read_host_file(Path::new("/nonexistent"))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("/nonexistent: No such file"), "{error}");
    }
}

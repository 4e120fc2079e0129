//! The programs between the store and Nova, to see whether the simulated host reads responses as they do.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use nova_agent_sim::host::{parse_response, tools};
use serde_json::Value;

use crate::client::{self, Client};
use crate::real::{self, StartError};

/// What the plugin does with the output of `xenstore-read`, of which each line is a value: a line that says whether it is
/// JSON, and the JSON.
const PLUGIN: &str = "
import json, sys
for line in sys.stdin.read().splitlines():
    try:
        print('json ' + json.dumps(json.loads(line.strip())))
    except ValueError:
        print('text')
";

/// How many values one `xenstore-read` is asked for: their paths are its arguments.
const VALUES_MAX: usize = 500;

/// What the real programs make of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What `xenstore-read` prints, without the newline behind it.
    pub printed: String,
    /// What Python parses of that; `None` if it is not JSON.
    pub json: Option<Value>,
}

impl Verdict {
    /// What the simulated host would make of a value.
    #[must_use]
    pub fn simulated(value: &[u8]) -> Self {
        Self {
            printed: tools::printed_by_xenstore_read(value),
            json: parse_response(value),
        }
    }

    /// What the real `xenstore-read` and the real Python make of a value, which is written to the store at `socket`.
    ///
    /// # Errors
    /// [`OracleError`] names the program that is missing or fails.
    pub fn real(socket: &Path, value: &[u8]) -> Result<Self, OracleError> {
        Self::real_all(socket, &[value])?
            .pop()
            .ok_or(OracleError::Count)
    }

    /// As [`Self::real`], for many values with few processes.
    ///
    /// # Errors
    /// See [`Self::real`].
    pub fn real_all(socket: &Path, values: &[impl AsRef<[u8]>]) -> Result<Vec<Self>, OracleError> {
        const NODE: &str = "/local/domain/0/oracle";

        let mut client = Client::connect(socket)?;
        let mut verdicts = Vec::new();
        for values in values.chunks(VALUES_MAX) {
            let paths: Vec<String> = (0..values.len())
                .map(|nth| format!("{NODE}/{nth}"))
                .collect();
            for (path, value) in paths.iter().zip(values) {
                client.write(path, value)?;
            }
            let mut tool = real::tool("xenstore-read")?;
            let printed = run(
                tool.env("XENSTORED_PATH", socket).args(&paths),
                "xenstore-read",
                "",
            )?;
            let parsed = run(
                Command::new("python3").args(["-c", PLUGIN]),
                "python3",
                &printed,
            )?;
            if printed.lines().count() != values.len() || parsed.lines().count() != values.len() {
                return Err(OracleError::Count);
            }
            for (printed, parsed) in printed.lines().zip(parsed.lines()) {
                let json = parsed
                    .strip_prefix("json ")
                    .map(serde_json::from_str)
                    .transpose();
                verdicts.push(Self {
                    printed: printed.into(),
                    json: json.map_err(OracleError::Output)?,
                });
            }
        }
        Ok(verdicts)
    }
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// The programs printed more or fewer lines than there are values.
    #[error("the programs did not print a line for each value")]
    Count,
    /// Python printed something else.
    #[error("output of python3: {0}")]
    Output(serde_json::Error),
    /// A program is missing or fails.
    #[error("{program}: {error}")]
    Program {
        /// The program.
        program: &'static str,
        /// What went wrong.
        error: io::Error,
    },
    /// The store's tools are not there.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] client::Error),
}

/// Runs a program and returns what it prints.
fn run(command: &mut Command, program: &'static str, input: &str) -> Result<String, OracleError> {
    let error = |error| OracleError::Program { program, error };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(error)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(error)?;
    }
    let output = child.wait_with_output().map_err(error)?;
    if !output.status.success() {
        return Err(error(io::Error::other(output.status.to_string())));
    }
    String::from_utf8(output.stdout).map_err(|_| error(io::Error::other("output is not text")))
}

//! What a reset of the network would change, without changing anything.

mod host_file;
mod host_store;
mod text;
mod unified;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nova_agent_core::effect::{Effect, Outcome, Snapshot};
use nova_agent_core::render::{Configuration, HostData, Prepared, reset_network};

pub use self::host_file::{HostFileError, read_host_file};
use self::host_store::HostStoreError;
pub use self::text::without_secrets;
use crate::settings::{CommandLine, Settings, SettingsError};
use crate::system::System;
use crate::transport::StoreAddress;

/// Beside the directory of a sandbox: what the host says, if nothing else is named.
const HOST_FILE: &str = "network.json";

/// More rounds of questions than any guest needs.
const ROUNDS_MAX: usize = 16;

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PreviewError {
    #[error(transparent)]
    HostFile(#[from] HostFileError),
    #[error(transparent)]
    HostStore(#[from] HostStoreError),
    #[error("write the plan: {0}")]
    Output(io::Error),
    /// The text that a host would read.
    #[error("network not changed: {0}")]
    Refused(String),
    #[error(transparent)]
    Root(#[from] SettingsError),
    #[error("the questions about the guest do not end")]
    Unanswered,
}

/// Where the host's data comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    File(PathBuf),
    Store(StoreAddress),
}

impl Source {
    /// The file that is named; else Xenstore, unless a sandbox has a file beside it and no address was given with it.
    pub(crate) fn choose(
        network: Option<&Path>,
        command_line: &CommandLine,
        settings: &Settings,
    ) -> Self {
        if let Some(path) = network {
            return Self::File(path.into());
        }
        let beside = settings
            .sandbox
            .as_ref()
            .map(|sandbox| sandbox.join("..").join(HOST_FILE));
        match beside {
            Some(path) if command_line.xenstore.is_none() && path.exists() => Self::File(path),
            Some(_) | None => Self::Store(settings.xenstore.clone()),
        }
    }

    fn read(&self) -> Result<HostData, PreviewError> {
        Ok(match self {
            Self::File(path) => read_host_file(path)?,
            Self::Store(address) => host_store::read(address)?,
        })
    }
}

/// Prints the plan of a reset of the network.
pub(crate) fn print(source: &Source, settings: &Settings) -> Result<(), PreviewError> {
    let system = System::new(settings.root()?);
    let data = source.read()?;
    let (configuration, snapshot) = prepare(&system, &data)?;
    let text = text::describe(&configuration, &snapshot);
    match io::stdout().write_all(text.as_bytes()) {
        // Who reads only the beginning has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(PreviewError::Output(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Asks the guest until the plan is complete. Asking changes nothing.
fn prepare(system: &System, data: &HostData) -> Result<(Configuration, Snapshot), PreviewError> {
    let mut snapshot = Snapshot::default();
    for _ in 0..ROUNDS_MAX {
        let probes = match reset_network(data, &snapshot) {
            Prepared::Missing(probes) => probes,
            Prepared::Ready(configuration) => return Ok((configuration, snapshot)),
            Prepared::Refused(text) => return Err(PreviewError::Refused(text.to_string())),
        };
        let Outcome::Probed(answers) = system.perform(Effect::Probe(probes)) else {
            break;
        };
        snapshot.merge(answers);
    }
    Err(PreviewError::Unanswered)
}

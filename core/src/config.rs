//! What the guest's owner decides.

use alloc::string::String;
use core::time::Duration;

/// The configuration of an agent. [`Config::default`] is what a package installs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// What hosts may do, and what they are told.
    pub commands: CommandPolicy,
    /// How often the requests are listed although no watch fired, as a safety net; `None` for never.
    pub rescan: Option<Duration>,
    /// Whether to configure the network at start, as if the host had asked for it.
    pub reset_network_at_start: bool,
    /// How often to report [`Report::Alive`](crate::agent::Report::Alive), for a service manager's watchdog.
    pub alive: Option<Duration>,
}

/// What the commands of a host may do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommandPolicy {
    /// What `version` answers: digits and dots only, or Nova's comparison of versions fails the instance's build.
    pub version: String,
    /// Whether the host may inject files.
    pub inject_files: bool,
    /// Whether the host may set an empty password.
    pub allow_empty_password: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            commands: CommandPolicy::default(),
            rescan: Some(Duration::from_secs(300)),
            reset_network_at_start: false,
            alive: None,
        }
    }
}

impl Default for CommandPolicy {
    fn default() -> Self {
        Self {
            version: String::from(env!("CARGO_PKG_VERSION")),
            inject_files: true,
            allow_empty_password: false,
        }
    }
}

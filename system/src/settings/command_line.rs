//! The command line, the same for every runtime.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::logging::LogLevel;
use crate::transport::StoreAddress;

/// Guest agent for Xen cloud servers.
#[derive(Clone, Debug, Eq, Parser, PartialEq)]
#[command(name = "nova-agent", version, about, disable_help_subcommand = true)]
pub struct CommandLine {
    /// What to do; to run if it is not said.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Configuration file [default: /etc/nova-agent/config.toml, if it exists]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Way to Xenstore: auto, the path of a device, or unix:PATH for a socket [default: auto]
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub xenstore: Option<StoreAddress>,

    /// Work on the files below DIR instead of the guest's own, and run none of its programs
    #[arg(long, value_name = "DIR", global = true)]
    pub sandbox: Option<PathBuf>,

    /// Reset the network once at the start
    #[arg(long, global = true)]
    pub reset_network: bool,

    /// Log level: off, error, warn, info, debug or trace [default: info]
    #[arg(short = 'l', long, value_name = "LEVEL", global = true)]
    pub log_level: Option<LogLevel>,

    /// Log file, or - for standard error [default: -]
    #[arg(short = 'o', long, value_name = "FILE", global = true)]
    pub log_file: Option<PathBuf>,

    /// Without effect: the agent never forks. Accepted for the service files of version 2
    #[arg(long, value_name = "ANY", num_args = 0..=1, global = true, hide = true)]
    no_fork: Option<Option<String>>,
}

/// What the agent is started for.
#[derive(Clone, Debug, Eq, PartialEq, Subcommand)]
pub enum Command {
    /// Show what a reset of the network would change now, and change nothing
    Plan {
        /// Take what the host says from a file instead of Xenstore [default: network.json beside the directory of
        /// --sandbox, if there is one and --xenstore is not given]
        #[arg(long, value_name = "FILE")]
        network: Option<PathBuf>,
    },
    /// Serve the host's requests (the default)
    Run,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from([&["/usr/sbin/nova-agent-mio"], arguments].concat())
    }

    #[test]
    fn the_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn running_is_the_default_and_flags_stand_on_either_side() {
        assert_eq!(parse(&[]).unwrap().command, None);
        let before = parse(&["--reset-network", "--xenstore", "unix:/s", "run"]).unwrap();
        let after = parse(&["run", "--reset-network", "--xenstore", "unix:/s"]).unwrap();
        assert_eq!(before, after);
        assert_eq!((before.command, before.reset_network), (Some(Command::Run), true));
        assert_eq!(before.xenstore, Some(StoreAddress::Unix("/s".into())));
    }

    #[test]
    fn a_plan_may_name_a_file_of_the_host() {
        let line = parse(&["plan", "--sandbox", "/s", "--network", "n.json"]).unwrap();
        assert_eq!(line.command, Some(Command::Plan { network: Some("n.json".into()) }));
        assert_eq!(parse(&["plan"]).unwrap().command, Some(Command::Plan { network: None }));
        assert!(parse(&["run", "--network", "n.json"]).is_err());
    }

    #[test]
    fn service_files_of_the_predecessor_still_work() {
        let line = parse(&["--no-fork", "True", "-o", "/var/log/nova-agent.log", "-l", "INFO"]).unwrap();
        assert_eq!(line.log_file, Some("/var/log/nova-agent.log".into()));
        assert_eq!(line.log_level, Some(LogLevel::Info));
        assert!(parse(&["--no-fork=False", "run"]).is_ok());
        assert!(parse(&["-l", "warning", "--no-fork"]).is_ok());
    }

    #[test]
    fn the_version_is_printed_under_the_common_name() {
        let version = parse(&["--version"]).unwrap_err();
        assert_eq!(version.kind(), ErrorKind::DisplayVersion);
        assert_eq!(version.to_string(), concat!("nova-agent ", env!("CARGO_PKG_VERSION"), "\n"));
    }

    #[test]
    fn mistakes_are_named() {
        let error = parse(&["--log-level", "loud"]).unwrap_err().to_string();
        assert!(error.contains("--log-level") && error.contains("loud"), "{error}");
        let error = parse(&["--sandboxx", "/tmp"]).unwrap_err().to_string();
        assert!(error.contains("--sandboxx"), "{error}");
    }
}

//! The command line, the same for every runtime. Shell completions and the manual page are made of it, too
//! (`system/examples/command_line_docs.rs`).

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use super::UNUSABLE;
use crate::logging::LogLevel;
use crate::transport::StoreAddress;

/// What the agent is asked to do and how.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CommandLine {
    /// The command; to run if none is named.
    pub command: Option<Command>,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// The way to Xenstore.
    pub xenstore: Option<StoreAddress>,
    /// The directory that stands for the guest's file system.
    pub sandbox: Option<PathBuf>,
    /// Whether the network is reset once at the start.
    pub reset_network: bool,
    /// The least important kind of event that is logged.
    pub log_level: Option<LogLevel>,
    /// The file that the log goes to; `-` for standard error.
    pub log_file: Option<PathBuf>,
}

/// What the agent is started for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Show what a reset of the network would change now, and change nothing.
    Plan {
        /// Take what the host says from a file instead of Xenstore.
        network: Option<PathBuf>,
    },
    /// Serve the host's requests.
    Run,
}

/// What there is to say instead of doing anything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Instead {
    /// The help or the version, which was asked for.
    Answer(String),
    /// What is wrong with the command line.
    Mistake(String),
}

impl CommandLine {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// As [`CommandLine::parse`].
    pub fn of_process() -> Result<Self, Instead> {
        Self::parse(env::args_os().skip(1))
    }

    /// Reads arguments, without the name of the program.
    ///
    /// # Errors
    /// [`Instead`] if help or version are asked for, or something is wrong.
    pub fn parse(
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Self, Instead> {
        let arguments = arguments.into_iter().map(Into::into);
        Cli::try_parse_from([OsString::from(NAME)].into_iter().chain(arguments))
            .and_then(Cli::merge)
            .map_err(Instead::from)
    }

    /// Returns the definition of the command line, for completions and a manual page.
    #[must_use]
    pub fn definition() -> clap::Command {
        Cli::command()
    }
}

impl Instead {
    /// Prints it, and returns the exit code: 0 for an answer, 2 for a mistake.
    #[must_use]
    pub fn say(&self) -> ExitCode {
        // A closed descriptor leaves no way to report that it is closed.
        match self {
            Self::Answer(text) => {
                let _ = io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Self::Mistake(text) => {
                let _ = io::stderr().write_all(text.as_bytes());
                ExitCode::from(UNUSABLE)
            }
        }
    }
}

impl From<clap::Error> for Instead {
    fn from(error: clap::Error) -> Self {
        let text = error.render().to_string();
        if error.use_stderr() {
            Self::Mistake(text)
        } else {
            Self::Answer(text)
        }
    }
}

const NAME: &str = "nova-agent";

/// Guest agent for Xen cloud servers
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    // So that `--no-fork run` is a command and not a value.
    subcommand_precedence_over_arg = true
)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Subcommands>,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Show what a reset of the network would change now, and change nothing
    Plan {
        /// Take what the host says from FILE [default: network.json beside DIR]
        #[arg(long, value_name = "FILE")]
        network: Option<PathBuf>,
        #[command(flatten)]
        flags: Flags,
    },
    /// Serve the host's requests (the default)
    Run {
        #[command(flatten)]
        flags: Flags,
    },
}

/// The flags that may stand before or after the command. They are no global flags of clap, which takes the last of two
/// values in silence.
#[derive(Args, Debug)]
struct Flags {
    /// Configuration file [default: /etc/nova-agent/config.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// auto, the path of a device, or unix:PATH for a socket [default: auto]
    #[arg(long, value_name = "ADDRESS")]
    xenstore: Option<StoreAddress>,
    /// Work on the files below DIR, and run none of the guest's programs
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    sandbox: Option<PathBuf>,
    /// Reset the network once at the start
    #[arg(long)]
    reset_network: bool,
    /// off, error, warn, info, debug or trace [default: info]
    #[arg(
        short,
        long,
        value_name = "LEVEL",
        ignore_case = true,
        hide_possible_values = true
    )]
    log_level: Option<LogLevel>,
    /// Log file, or - for standard error [default: -]
    #[arg(short = 'o', long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Without effect: the agent never forks. Service files of version 2 have it, with a value or without.
    #[arg(long, hide = true, num_args = 0..=1)]
    no_fork: Vec<OsString>,
}

impl Cli {
    /// Joins the flags before the command with those after it.
    fn merge(self) -> Result<CommandLine, clap::Error> {
        let (command, after) = match self.command {
            Some(Subcommands::Plan { network, flags }) => {
                (Some(Command::Plan { network }), Some(flags))
            }
            Some(Subcommands::Run { flags }) => (Some(Command::Run), Some(flags)),
            None => (None, None),
        };
        let before = self.flags;
        let Some(after) = after else {
            return Ok(before.with_command(command));
        };
        let flags = Flags {
            config: once("--config <FILE>", before.config, after.config)?,
            xenstore: once("--xenstore <ADDRESS>", before.xenstore, after.xenstore)?,
            sandbox: once("--sandbox <DIR>", before.sandbox, after.sandbox)?,
            reset_network: before.reset_network || after.reset_network,
            log_level: once("--log-level <LEVEL>", before.log_level, after.log_level)?,
            log_file: once("--log-file <FILE>", before.log_file, after.log_file)?,
            no_fork: Vec::new(),
        };
        Ok(flags.with_command(command))
    }
}

impl Flags {
    fn with_command(self, command: Option<Command>) -> CommandLine {
        CommandLine {
            command,
            config: self.config,
            xenstore: self.xenstore,
            sandbox: self.sandbox,
            reset_network: self.reset_network,
            log_level: self.log_level,
            log_file: self.log_file,
        }
    }
}

/// Takes the value of a flag from one side of the command.
fn once<T>(flag: &str, before: Option<T>, after: Option<T>) -> Result<Option<T>, clap::Error> {
    if before.is_some() && after.is_some() {
        let message = format!("the argument '{flag}' cannot be used multiple times");
        return Err(Cli::command().error(ErrorKind::ArgumentConflict, message));
    }
    Ok(before.or(after))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    /// All that a mistyped flag may have been.
    const LONG_NAMES: [&str; 10] = [
        "config",
        "help",
        "log-file",
        "log-level",
        "network",
        "no-fork",
        "reset-network",
        "sandbox",
        "version",
        "xenstore",
    ];

    fn parse(arguments: &[&str]) -> Result<CommandLine, Instead> {
        CommandLine::parse(arguments)
    }

    fn mistake_in(arguments: &[&str]) -> String {
        match parse(arguments) {
            Err(Instead::Mistake(mistake)) => mistake,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn running_is_the_default_and_flags_stand_on_either_side() {
        assert_eq!(parse(&[]).unwrap(), CommandLine::default());
        let before = parse(&["--reset-network", "--xenstore", "unix:/s", "run"]).unwrap();
        let after = parse(&["run", "--reset-network", "--xenstore=unix:/s"]).unwrap();
        assert_eq!(before, after);
        assert_eq!(
            (before.command, before.reset_network),
            (Some(Command::Run), true)
        );
        assert_eq!(before.xenstore, Some(StoreAddress::Unix("/s".into())));
    }

    #[test]
    fn a_plan_may_name_a_file_of_the_host() {
        let line = parse(&["plan", "--sandbox", "/s", "--network", "n.json"]).unwrap();
        assert_eq!(
            line.command,
            Some(Command::Plan {
                network: Some("n.json".into())
            })
        );
        assert_eq!(
            parse(&["plan"]).unwrap().command,
            Some(Command::Plan { network: None })
        );
        assert!(mistake_in(&["run", "--network", "n.json"]).contains("--network"));
    }

    #[test]
    fn service_files_of_the_predecessor_still_work() {
        let line = parse(&[
            "--no-fork",
            "True",
            "-o",
            "/var/log/nova-agent.log",
            "-l",
            "INFO",
        ])
        .unwrap();
        assert_eq!(line.log_file, Some("/var/log/nova-agent.log".into()));
        assert_eq!(line.log_level, Some(LogLevel::Info));
        assert_eq!(
            parse(&["--no-fork=False", "run"]).unwrap().command,
            Some(Command::Run)
        );
        assert_eq!(
            parse(&["--no-fork", "run"]).unwrap().command,
            Some(Command::Run)
        );
        assert!(parse(&["-lwarning", "-o-", "--no-fork"]).is_ok());
    }

    #[test]
    fn the_version_is_printed_under_the_common_name() {
        let version = concat!("nova-agent ", env!("CARGO_PKG_VERSION"), "\n");
        for flag in ["--version", "-V"] {
            assert_eq!(parse(&[flag]), Err(Instead::Answer(version.into())));
        }
    }

    #[test]
    fn the_help_has_every_flag_but_the_one_without_effect() {
        for (arguments, has_network) in [
            (&["-h"][..], false),
            (&["run", "--help"], false),
            (&["plan", "--help"], true),
        ] {
            let Err(Instead::Answer(help)) = parse(arguments) else {
                panic!("{arguments:?}")
            };
            for name in LONG_NAMES {
                let is_shown = match name {
                    "network" => has_network,
                    "no-fork" => false,
                    _ => true,
                };
                assert_eq!(
                    help.contains(&format!(" --{name} ")),
                    is_shown,
                    "{name}: {help}"
                );
            }
            assert!(help.lines().all(|line| line.len() <= 100), "{help}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (arguments, mistake) in [
            (
                &["--log-level", "loud"][..],
                "invalid value 'loud' for '--log-level <LEVEL>'\n  [possible values: off, error, warn, info, debug, trace]",
            ),
            (
                &["--sandboxx", "/t"],
                "unexpected argument '--sandboxx' found\n\n  tip: a similar argument exists: '--sandbox'",
            ),
            (&["--bogus"], "unexpected argument '--bogus' found"),
            (&["-x"], "unexpected argument '-x' found"),
            (&["bogus"], "unrecognized subcommand 'bogus'"),
            (&["run", "plan"], "unexpected argument 'plan' found"),
            (
                &["--config"],
                "a value is required for '--config <FILE>' but none was supplied",
            ),
            (
                &["--config="],
                "a value is required for '--config <FILE>' but none was supplied",
            ),
            (
                &["-o", "--reset-network"],
                "a value is required for '--log-file <FILE>' but none was supplied",
            ),
            (
                &["--config", "a", "run", "--config", "b"],
                "the argument '--config <FILE>' cannot be used multiple times",
            ),
            (
                &["--reset-network=no"],
                "unexpected value 'no' for '--reset-network' found; no more were expected",
            ),
        ] {
            let told = mistake_in(arguments);
            assert!(told.starts_with(&format!("error: {mistake}\n\n")), "{told}");
        }
    }

    #[test]
    fn a_path_need_not_be_text() {
        use std::os::unix::ffi::OsStrExt;

        let path = OsStr::from_bytes(b"/\xff");
        let line = CommandLine::parse([OsStr::new("--config"), path]).unwrap();
        assert_eq!(line.config.as_deref(), Some(path.as_ref()));
        assert!(CommandLine::parse([OsStr::new("--xenstore"), path]).is_err());
    }
}

//! The command line, the same for every runtime.

use core::fmt::Display;
use core::str::FromStr;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::{Arg, Parser};

use super::UNUSABLE;
use crate::logging::LogLevel;
use crate::transport::StoreAddress;

/// What the agent is asked to do and how.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CommandLine {
    /// What to do; to run if it is not said.
    pub command: Option<Command>,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// The way to Xenstore.
    pub xenstore: Option<StoreAddress>,
    /// The directory that stands for the guest's file system.
    pub sandbox: Option<PathBuf>,
    /// Whether the network is reset once at the start.
    pub reset_network: bool,
    /// What is logged.
    pub log_level: Option<LogLevel>,
    /// Where the log goes; `-` for standard error.
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
    /// What was asked for: the help or the version.
    Answer(String),
    /// What is wrong with the command line.
    Mistake(String),
}

impl CommandLine {
    /// The command line of this process.
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
        let mut parser = Parser::from_args(arguments.into_iter().map(Into::into));
        let mut line = Self::default();
        while let Some(argument) = parser.next().map_err(mistake)? {
            match argument {
                Arg::Long("config") => set(&mut line.config, "--config <FILE>", &mut parser, path)?,
                Arg::Long("xenstore") => set(
                    &mut line.xenstore,
                    "--xenstore <ADDRESS>",
                    &mut parser,
                    text,
                )?,
                Arg::Long("sandbox") => {
                    set(&mut line.sandbox, "--sandbox <DIR>", &mut parser, path)?
                }
                Arg::Long("reset-network") => line.reset_network = true,
                Arg::Short('l') | Arg::Long("log-level") => {
                    set(
                        &mut line.log_level,
                        "--log-level <LEVEL>",
                        &mut parser,
                        text,
                    )?;
                }
                Arg::Short('o') | Arg::Long("log-file") => {
                    set(&mut line.log_file, "--log-file <FILE>", &mut parser, path)?;
                }
                Arg::Long("network") => match &mut line.command {
                    Some(Command::Plan { network }) => {
                        set(network, "--network <FILE>", &mut parser, path)?
                    }
                    Some(Command::Run) | None => {
                        return Err(mistake("'--network' can only be used after 'plan'"));
                    }
                },
                // Without effect: the agent never forks. Service files of version 2 have it, with a value or without.
                Arg::Long("no-fork") => {
                    if parser.optional_value().is_none() {
                        let mut rest = parser.raw_args().map_err(mistake)?;
                        rest.next_if(|next| is_value(next) && command(next).is_none());
                    }
                }
                Arg::Short('h') | Arg::Long("help") => {
                    return Err(Instead::Answer(help(line.command.as_ref())));
                }
                Arg::Short('V') | Arg::Long("version") => {
                    return Err(Instead::Answer(VERSION.into()));
                }
                Arg::Value(name) if line.command.is_none() => {
                    let known = command(&name).ok_or_else(|| {
                        mistake(format_args!(
                            "unrecognized command '{}': plan or run",
                            name.display()
                        ))
                    })?;
                    line.command = Some(known);
                }
                Arg::Value(value) => return Err(unexpected(&value.display())),
                Arg::Short(letter) => return Err(unexpected(&format_args!("-{letter}"))),
                Arg::Long(name) => return Err(unknown(name)),
            }
        }
        Ok(line)
    }
}

impl Instead {
    /// Says it, and with which code to exit: 0 for an answer, 2 for a mistake.
    #[must_use]
    pub fn say(&self) -> ExitCode {
        // If nobody listens there is nobody to tell.
        match self {
            Self::Answer(text) => {
                let _ = io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Self::Mistake(text) => {
                let _ = writeln!(
                    io::stderr(),
                    "error: {text}\n\n{USAGE}\n\nFor more information, try '--help'."
                );
                ExitCode::from(UNUSABLE)
            }
        }
    }
}

const VERSION: &str = concat!("nova-agent ", env!("CARGO_PKG_VERSION"), "\n");

const USAGE: &str = "Usage: nova-agent [OPTIONS] [COMMAND]";

const COMMANDS: &str = "
Commands:
  plan  Show what a reset of the network would change now, and change nothing
  run   Serve the host's requests (the default)
";

const PLAN_OPTIONS: &str =
    "      --network <FILE>      Take what the host says from a file instead of Xenstore
                            [default: network.json beside the directory of --sandbox,
                            if there is one and --xenstore is not given]
";

const OPTIONS: &str =
    "      --config <FILE>       Configuration file [default: /etc/nova-agent/config.toml, if it exists]
      --xenstore <ADDRESS>  Way to Xenstore: auto, the path of a device, or unix:PATH for a socket
                            [default: auto]
      --sandbox <DIR>       Work on the files below DIR instead of the guest's own, and run none of
                            its programs
      --reset-network       Reset the network once at the start
  -l, --log-level <LEVEL>   Log level: off, error, warn, info, debug or trace [default: info]
  -o, --log-file <FILE>     Log file, or - for standard error [default: -]
  -h, --help                Print help
  -V, --version             Print version
";

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

/// As many letters as must be right at the start of a flag to be told which one was meant.
const PREFIX_MIN: usize = 3;

fn help(command: Option<&Command>) -> String {
    match command {
        None => {
            format!("Guest agent for Xen cloud servers\n\n{USAGE}\n{COMMANDS}\nOptions:\n{OPTIONS}")
        }
        Some(Command::Plan { .. }) => format!(
            "Show what a reset of the network would change now, and change nothing\n\n\
             Usage: nova-agent plan [OPTIONS]\n\nOptions:\n{PLAN_OPTIONS}{OPTIONS}"
        ),
        Some(Command::Run) => {
            format!(
                "Serve the host's requests (the default)\n\nUsage: nova-agent run [OPTIONS]\n\nOptions:\n{OPTIONS}"
            )
        }
    }
}

fn command(name: &OsStr) -> Option<Command> {
    match name.to_str()? {
        "plan" => Some(Command::Plan { network: None }),
        "run" => Some(Command::Run),
        _ => None,
    }
}

/// Takes the value of a flag, which may be there once.
fn set<T>(
    place: &mut Option<T>,
    flag: &str,
    parser: &mut Parser,
    read: fn(&OsStr) -> Result<T, String>,
) -> Result<(), Instead> {
    if place.is_some() {
        return Err(mistake(format_args!(
            "the argument '{flag}' cannot be used multiple times"
        )));
    }
    let value = match parser.optional_value() {
        Some(value) => Some(value),
        None => parser.raw_args().map_err(mistake)?.next_if(is_value),
    };
    let value = value.filter(|value| !value.is_empty()).ok_or_else(|| {
        mistake(format_args!(
            "a value is required for '{flag}' but none was supplied"
        ))
    })?;
    let read = read(&value).map_err(|error| {
        mistake(format_args!(
            "invalid value '{}' for '{flag}': {error}",
            value.display()
        ))
    })?;
    *place = Some(read);
    Ok(())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "any text is a path, but not any text is any value"
)]
fn path(value: &OsStr) -> Result<PathBuf, String> {
    Ok(value.into())
}

fn text<T: FromStr<Err: Display>>(value: &OsStr) -> Result<T, String> {
    value
        .to_str()
        .ok_or("not UTF-8")?
        .parse()
        .map_err(|error: T::Err| error.to_string())
}

/// Not the next flag; `-` is standard error.
fn is_value(argument: &OsStr) -> bool {
    argument == "-" || !argument.as_encoded_bytes().starts_with(b"-")
}

fn unknown(name: &str) -> Instead {
    let right = |known: &str| {
        known
            .bytes()
            .zip(name.bytes())
            .take_while(|(one, other)| one == other)
            .count()
    };
    let meant = LONG_NAMES
        .iter()
        .filter(|known| right(known) >= PREFIX_MIN)
        .max_by_key(|known| right(known));
    let tip = meant
        .map(|known| format!("\n\n  tip: a similar argument exists: '--{known}'"))
        .unwrap_or_default();
    mistake(format_args!("unexpected argument '--{name}' found{tip}"))
}

fn unexpected(argument: &dyn Display) -> Instead {
    mistake(format_args!("unexpected argument '{argument}' found"))
}

fn mistake(what: impl Display) -> Instead {
    Instead::Mistake(what.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

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
                "invalid value 'loud' for '--log-level <LEVEL>': unknown log level \"loud\": off, error, warn, info, debug \
                 or trace",
            ),
            (
                &["--sandboxx", "/t"],
                "unexpected argument '--sandboxx' found\n\n  tip: a similar argument exists: '--sandbox'",
            ),
            (&["--bogus"], "unexpected argument '--bogus' found"),
            (&["-x"], "unexpected argument '-x' found"),
            (&["bogus"], "unrecognized command 'bogus': plan or run"),
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
                "unexpected argument for option '--reset-network': \"no\"",
            ),
        ] {
            assert_eq!(mistake_in(arguments), mistake);
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

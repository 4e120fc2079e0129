//! What the agent is told by its command line and its configuration file. The command line wins.

mod command_line;
mod file;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nova_agent_core::effect::GuestPath;

pub use self::command_line::{Command, CommandLine, Instead};
use self::file::ConfigFile;
use crate::logging::{LogLevel, LogTarget};
use crate::root::Root;
use crate::transport::StoreAddress;

/// The configuration file if none is named; it may be missing.
pub const CONFIG_FILE: GuestPath = GuestPath::constant("/etc/nova-agent/config.toml");

/// Exit code of a command line or configuration that cannot be used, as most programs have it.
pub(crate) const UNUSABLE: u8 = 2;

/// How the agent behaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Where Xenstore is.
    pub xenstore: StoreAddress,
    /// The directory that stands for the guest's file system.
    pub sandbox: Option<PathBuf>,
    /// Whether the network is reset once at the start, without a request.
    pub reset_network: bool,
    /// What is logged.
    pub log_level: LogLevel,
    /// Where the log goes.
    pub log_target: LogTarget,
    /// How often the requests are listed as a safety net; `None` for never.
    pub rescan: Option<Duration>,
    /// Whether the host may write files.
    pub inject_files: bool,
    /// Whether the host may set an empty password.
    pub allow_empty_password: bool,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The configuration file has an unknown key or a bad value.
    #[error("{}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// The configuration file or the sandbox cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl Settings {
    /// Joins the command line and the configuration file that it names, else [`CONFIG_FILE`] in the guest or sandbox.
    ///
    /// # Errors
    /// [`SettingsError::Unreadable`] if a file that was named cannot be read, or the sandbox is no directory;
    /// [`SettingsError::Invalid`] if the file says something unknown.
    pub fn load(command_line: &CommandLine) -> Result<Self, SettingsError> {
        let root = open_root(command_line.sandbox.as_deref())?;
        let file = match &command_line.config {
            Some(path) => ConfigFile::read(path)?,
            None => match root.resolve(&CONFIG_FILE) {
                Ok(path) if path.exists() => ConfigFile::read(&path)?,
                Ok(_) => ConfigFile::default(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => ConfigFile::default(),
                Err(source) => {
                    return Err(SettingsError::Unreadable {
                        path: CONFIG_FILE.as_str().into(),
                        source,
                    });
                }
            },
        };
        // A path in the guest's own file is one of the guest; one from the command line is the caller's.
        let log_target = match (&command_line.log_file, file.log.file) {
            (Some(path), _) => LogTarget::from(path),
            (None, Some(path)) => {
                match (LogTarget::from(&path), GuestPath::try_from(path.as_str())) {
                    (LogTarget::File(_), Ok(path)) => {
                        LogTarget::File(root.resolve(&path).map_err(|source| {
                            SettingsError::Unreadable {
                                path: path.as_str().into(),
                                source,
                            }
                        })?)
                    }
                    (target, _) => target,
                }
            }
            (None, None) => LogTarget::Stderr,
        };
        Ok(Self {
            xenstore: command_line.xenstore.clone().unwrap_or(file.xenstore),
            sandbox: command_line.sandbox.clone(),
            reset_network: command_line.reset_network,
            log_level: command_line.log_level.unwrap_or(file.log.level),
            log_target,
            rescan: interval(file.rescan_seconds),
            inject_files: file.inject_files,
            allow_empty_password: file.allow_empty_password,
        })
    }

    /// Opens the guest's file system, or the sandbox.
    ///
    /// # Errors
    /// [`SettingsError::Unreadable`] if it is no directory that can be opened.
    pub fn root(&self) -> Result<Root, SettingsError> {
        open_root(self.sandbox.as_deref())
    }
}

/// As without a configuration file and with an empty command line.
impl Default for Settings {
    fn default() -> Self {
        let ConfigFile {
            xenstore,
            rescan_seconds,
            inject_files,
            allow_empty_password,
            log,
        } = ConfigFile::default();
        Self {
            xenstore,
            sandbox: None,
            reset_network: false,
            log_level: log.level,
            log_target: LogTarget::Stderr,
            rescan: interval(rescan_seconds),
            inject_files,
            allow_empty_password,
        }
    }
}

/// Zero seconds are never.
fn interval(seconds: u32) -> Option<Duration> {
    Some(Duration::from_secs(seconds.into())).filter(|interval| !interval.is_zero())
}

fn open_root(sandbox: Option<&Path>) -> Result<Root, SettingsError> {
    let root = sandbox.map_or_else(Root::guest, Root::sandbox);
    root.map_err(|source| SettingsError::Unreadable {
        path: sandbox.unwrap_or_else(|| Path::new("/")).into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(arguments: &[&str]) -> Result<Settings, SettingsError> {
        Settings::load(&command_line(arguments))
    }

    fn command_line(arguments: &[&str]) -> CommandLine {
        CommandLine::parse(arguments).unwrap()
    }

    fn sandbox(config: &str) -> tempfile::TempDir {
        let sandbox = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(sandbox.path().join("etc/nova-agent")).unwrap();
        std::fs::write(sandbox.path().join("etc/nova-agent/config.toml"), config).unwrap();
        sandbox
    }

    #[test]
    fn everything_has_a_default() {
        let sandbox = tempfile::tempdir().unwrap();
        let settings = load(&["--sandbox", sandbox.path().to_str().unwrap()]).unwrap();
        let expected = Settings {
            xenstore: StoreAddress::Auto,
            sandbox: Some(sandbox.path().into()),
            reset_network: false,
            log_level: LogLevel::Info,
            log_target: LogTarget::Stderr,
            rescan: Some(Duration::from_secs(300)),
            inject_files: true,
            allow_empty_password: false,
        };
        assert_eq!(settings, expected);
        assert_eq!(
            Settings {
                sandbox: expected.sandbox,
                ..Settings::default()
            },
            settings
        );
    }

    #[test]
    fn the_file_of_the_sandbox_is_read_and_its_log_stays_inside() {
        let sandbox = sandbox(
            "xenstore = \"unix:/tmp/s\"\nrescan_seconds = 0\ninject_files = false\nallow_empty_password = true\n\
             [log]\nlevel = \"warning\"\nfile = \"/var/log/nova-agent.log\"\n",
        );
        let path = sandbox.path().canonicalize().unwrap();
        std::fs::create_dir_all(path.join("data/log")).unwrap();
        std::fs::create_dir(path.join("var")).unwrap();
        std::os::unix::fs::symlink("/data/log", path.join("var/log")).unwrap();
        let settings = load(&["--sandbox", path.to_str().unwrap()]).unwrap();
        assert_eq!(settings.xenstore, StoreAddress::Unix("/tmp/s".into()));
        assert_eq!(
            (
                settings.rescan,
                settings.inject_files,
                settings.allow_empty_password
            ),
            (None, false, true)
        );
        assert_eq!(settings.log_level, LogLevel::Warn);
        assert_eq!(
            settings.log_target,
            LogTarget::File(path.join("data/log/nova-agent.log"))
        );
    }

    #[test]
    fn the_command_line_wins() {
        let sandbox = sandbox("xenstore = \"/dev/a\"\n[log]\nlevel = \"warn\"\nfile = \"/a\"\n");
        let path = sandbox.path().to_str().unwrap();
        let settings = load(&[
            "--sandbox",
            path,
            "--xenstore",
            "/dev/b",
            "-l",
            "debug",
            "-o",
            "-",
        ])
        .unwrap();
        assert_eq!(settings.xenstore, StoreAddress::Path("/dev/b".into()));
        assert_eq!(
            (settings.log_level, settings.log_target),
            (LogLevel::Debug, LogTarget::Stderr)
        );
    }

    #[test]
    fn an_unknown_key_or_bad_value_is_named() {
        for (config, word) in [
            ("injectfiles = true", "injectfiles"),
            ("[log]\ncolour = true", "colour"),
            ("rescan_seconds = -1", "-1"),
            ("[log]\nlevel = \"loud\"", "loud"),
            ("inject_files = \"yes\"", "boolean"),
            ("rescan_seconds =", "line 1"),
        ] {
            let sandbox = sandbox(config);
            let error = load(&["--sandbox", sandbox.path().to_str().unwrap()])
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("config.toml") && error.contains(word),
                "{config}: {error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let error = load(&["--config", "/nonexistent.toml"])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("/nonexistent.toml: No such file"),
            "{error}"
        );
        let error = load(&["--sandbox", "/nonexistent"])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("/nonexistent: No such file"), "{error}");
    }
}

//! The log: one line an event, to standard error or to a file.

use core::fmt::{self, Write as _};
use core::str::FromStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::utc::Utc;

/// The least important kind of event that is logged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogLevel {
    /// Nothing at all.
    Off,
    /// What went wrong for good.
    Error,
    /// What went wrong but could be dealt with.
    Warn,
    /// Changes of state, one line a request or so.
    #[default]
    Info,
    /// Details, with names and addresses of the guest.
    Debug,
    /// Every message to and from the host.
    Trace,
}

/// A text that names no level.
#[derive(Debug, thiserror::Error)]
#[error("unknown log level {0:?}: off, error, warn, info, debug or trace")]
pub struct InvalidLogLevel(String);

/// Takes the names that Python's `logging` has as well, in any case.
impl FromStr for LogLevel {
    type Err = InvalidLogLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "off" => Ok(Self::Off),
            "error" | "critical" | "fatal" => Ok(Self::Error),
            "warn" | "warning" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" | "notset" => Ok(Self::Trace),
            _ => Err(InvalidLogLevel(text.into())),
        }
    }
}

/// Where the log goes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum LogTarget {
    /// Standard error.
    #[default]
    Stderr,
    /// A file that is appended to. It is made for its owner alone, as names and addresses are in it.
    File(PathBuf),
}

/// `-` is standard error.
impl<T: Into<PathBuf>> From<T> for LogTarget {
    fn from(path: T) -> Self {
        match path.into() {
            path if path == Path::new("-") => Self::Stderr,
            path => Self::File(path),
        }
    }
}

/// The log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Something else in this process logs already.
    #[error("logging is set up already")]
    AlreadySet,
    /// The log file cannot be opened.
    #[error("cannot open the log file {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// Sends the events of this process to the log from now on. On failure also tells standard error why.
///
/// # Errors
/// [`LogError::Open`] if the file cannot be opened, [`LogError::AlreadySet`] if this is not the first call.
pub fn init(level: LogLevel, target: &LogTarget) -> Result<(), LogError> {
    try_init(level, target).inspect_err(|error| complain(error))
}

/// Tells standard error what is wrong, for the time before there is a log.
pub fn complain(error: impl fmt::Display) {
    // If even that is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "nova-agent: {error}");
}

fn try_init(level: LogLevel, target: &LogTarget) -> Result<(), LogError> {
    let sink = match target {
        LogTarget::Stderr => Sink::Stderr,
        LogTarget::File(path) => Sink::File(open(path).map_err(|source| LogError::Open {
            path: path.clone(),
            source,
        })?),
    };
    tracing::subscriber::set_global_default(subscriber(level, sink))
        .map_err(|_| LogError::AlreadySet)
}

fn subscriber(level: LogLevel, sink: Sink) -> Log {
    Log {
        level: level.into(),
        sink,
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Should it be a FIFO, wait for no reader.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

enum Sink {
    File(File),
    Stderr,
}

/// Everything that is logged, one `write` a line. There are no spans.
struct Log {
    level: LevelFilter,
    sink: Sink,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} {:>5}", Utc::now(), event.metadata().level()));
        event.record(&mut line);
        line.0.push('\n');
        // Whoever cannot be told cannot be told that either.
        let _ = match &self.sink {
            Sink::File(file) => (&mut &*file).write_all(line.0.as_bytes()),
            Sink::Stderr => io::stderr().write_all(line.0.as_bytes()),
        };
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// The longest line, but for its end: what the host or a program says is bounded already, and this is for all else.
const LINE_MAX: usize = 8 * 1024;

/// Takes up the message and the other fields as `name=value`, and is one line whatever a program printed or the host sent.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A line takes everything.
        let _ = match field.name() {
            "message" => write!(self, " {value:?}"),
            name => write!(self, " {name}={value:?}"),
        };
    }

    /// Without its fraction. No event has such a number, and what can print it to the last digit is 12 KiB of code.
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.record_i64(field, value as i64);
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() >= LINE_MAX {
                break;
            }
            match c {
                '\n' => self.0.push_str("\\n"),
                '\t' => self.0.push(' '),
                c if c.is_control() => self.0.push('?'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn events_are_single_lines_with_a_time_in_a_private_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for _ in 0..2 {
            let log = subscriber(LogLevel::Info, Sink::File(open(&path).unwrap()));
            tracing::subscriber::with_default(log, || {
                tracing::info!(code = 7, "first\nsecond\x1b[31m\ttab");
                tracing::debug!("not important");
            });
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert_eq!((time.len(), &time[10..11], &time[19..]), (20, "T", "Z"));
        assert!(
            rest.contains("INFO first\\nsecond") && rest.contains("code=7"),
            "{rest}"
        );
        assert!(!text.contains('\x1b'), "{text}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut() {
        for (len, written) in [(100, 100), (LINE_MAX, LINE_MAX), (1 << 20, LINE_MAX)] {
            let mut line = Line(String::new());
            write!(line, "{}", "x".repeat(len)).unwrap();
            assert_eq!(line.0.len(), written);
        }
    }

    #[test]
    fn levels_have_the_names_of_the_predecessor_too() {
        for (text, level) in [
            ("WARNING", LogLevel::Warn),
            ("critical", LogLevel::Error),
            ("Debug", LogLevel::Debug),
            ("off", LogLevel::Off),
        ] {
            assert_eq!(text.parse::<LogLevel>().unwrap(), level);
        }
        let error = "loud".parse::<LogLevel>().unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown log level \"loud\": off, error, warn, info, debug or trace"
        );
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        let error = try_init(LogLevel::Info, &LogTarget::from("/nonexistent/log"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cannot open the log file /nonexistent/log: No such file"),
            "{error}"
        );
    }

    /// Runs itself in a process of its own, whose standard error nobody reads any more.
    #[test]
    fn a_log_that_cannot_be_written_does_not_end_the_process() {
        const SELF: &str = "logging::tests::a_log_that_cannot_be_written_does_not_end_the_process";
        const INSIDE: &str = "NOVA_AGENT_TEST_CLOSED_LOG";

        if std::env::var_os(INSIDE).is_some() {
            init(LogLevel::Info, &LogTarget::Stderr).unwrap();
            tracing::info!("nobody reads this");
            return;
        }
        let (reader, closed) = rustix::pipe::pipe().unwrap();
        drop(reader);
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", SELF])
            .env(INSIDE, "1")
            .stdout(std::process::Stdio::null())
            .stderr(closed)
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
    }
}

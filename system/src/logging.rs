//! The log: entries of the journal where standard error leads there, else one line per event, on standard error or in a
//! file.

use core::fmt::{self, Write as _};
use core::str::FromStr;
use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use rustix::fs::OFlags;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::utc::Utc;

/// The least important kind of event that is logged. Names of Python's `logging` are taken as well, in any case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum LogLevel {
    /// Nothing at all.
    Off,
    /// What went wrong for good.
    #[value(aliases = ["critical", "fatal"])]
    Error,
    /// What went wrong but could be dealt with.
    #[value(alias = "warning")]
    Warn,
    /// Changes of state, one line a request or so.
    #[default]
    Info,
    /// Details, with names and addresses of the guest.
    Debug,
    /// Every message to and from the store, without what it holds.
    #[value(alias = "notset")]
    Trace,
}

/// A text that names no level.
#[derive(Debug, thiserror::Error)]
#[error("unknown log level {0:?}: off, error, warn, info, debug or trace")]
pub struct InvalidLogLevel(String);

impl FromStr for LogLevel {
    type Err = InvalidLogLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ValueEnum::from_str(text, true).map_err(|_| InvalidLogLevel(text.into()))
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
    let level = LevelFilter::from(level);
    let result = match target {
        LogTarget::Stderr => match journal() {
            Some(journal) => Registry::default().with(level).with(journal).try_init(),
            None => lines(level, io::stderr).try_init(),
        },
        LogTarget::File(path) => {
            let file = open(path).map_err(|source| LogError::Open {
                path: path.clone(),
                source,
            })?;
            lines(level, Arc::new(file)).try_init()
        }
    };
    result.map_err(|_| LogError::AlreadySet)
}

/// Returns a subscriber that writes each event as one line, with one `write`.
fn lines<W>(level: LevelFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(writer)
        // It would complain to standard error, and panic if that is closed.
        .log_internal_errors(false)
        .event_format(LineFormat)
        .finish()
}

/// Returns the way to journald if standard error leads there.
fn journal() -> Option<tracing_journald::Layer> {
    let stream = env::var("JOURNAL_STREAM").ok()?;
    let stderr = rustix::fs::fstat(io::stderr()).ok()?;
    if stream != format!("{}:{}", stderr.st_dev, stderr.st_ino) {
        return None;
    }
    let journal = tracing_journald::layer().ok()?;
    Some(
        journal
            .with_field_prefix(Some(String::from("NOVA")))
            .with_syslog_identifier(String::from("nova-agent")),
    )
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

/// The target of events whose message says all that their other fields say.
pub(crate) const REPORT: &str = "nova_agent::report";

/// One line: time, level, message, other fields.
struct LineFormat;

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = Line {
            text: format!("{} {:>5}", Utc::now(), metadata.level()),
            is_report: metadata.target() == REPORT,
        };
        event.record(&mut line);
        writeln!(writer, "{}", line.text)
    }
}

/// The longest line, but for its end: what the host or a program says is bounded already, and this is for all else.
const LINE_MAX: usize = 8 * 1024;

/// Takes the message and the other fields as `name=value`, and stays one line whatever a program printed or the host sent.
struct Line {
    text: String,
    is_report: bool,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A line takes everything.
        let _ = match field.name() {
            "message" => write!(self, " {value:?}"),
            _ if self.is_report => Ok(()),
            name => write!(self, " {name}={value:?}"),
        };
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.text.len() >= LINE_MAX {
                break;
            }
            match c {
                '\n' => self.text.push_str("\\n"),
                '\t' => self.text.push(' '),
                c if c.is_control() => self.text.push('?'),
                c => self.text.push(c),
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
            let log = lines(LevelFilter::INFO, Arc::new(open(&path).unwrap()));
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
            let mut line = Line {
                text: String::new(),
                is_report: false,
            };
            write!(line, "{}", "x".repeat(len)).unwrap();
            assert_eq!(line.text.len(), written);
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

        if env::var_os(INSIDE).is_some() {
            init(LogLevel::Info, &LogTarget::Stderr).unwrap();
            tracing::info!("nobody reads this");
            return;
        }
        let (reader, closed) = rustix::pipe::pipe().unwrap();
        drop(reader);
        let status = std::process::Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", SELF])
            .env(INSIDE, "1")
            .stdout(std::process::Stdio::null())
            .stderr(closed)
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
    }
}

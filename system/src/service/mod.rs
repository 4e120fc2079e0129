//! Notifies the service manager: systemd by messages, upstart by a stop signal, any other not at all.

mod instance;
mod report;

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

pub(crate) use self::instance::InstanceLock;
pub(crate) use self::report::report;

/// Set to `1` in an upstart job that has the stanza `expect stop`.
///
/// Upstart sets `UPSTART_JOB` for every job, but resumes a stopped process only if the job expects that: in any other job
/// the agent would stay stopped for ever, so the job has to say so.
pub const EXPECT_STOP: &str = "NOVA_AGENT_EXPECT_STOP";

/// The longest status line that is sent.
const STATUS_MAX: usize = 512;

/// The service manager that started this process. A message that cannot be delivered is logged and dropped.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    kind: Kind,
    watchdog: Option<Duration>,
}

#[derive(Debug)]
enum Kind {
    Plain,
    Systemd {
        socket: UnixDatagram,
        address: SocketAddr,
    },
    Upstart,
}

impl ServiceManager {
    /// Detects the service manager from the environment.
    #[must_use]
    pub(crate) fn detect() -> Self {
        Self::detect_in(|name| std::env::var_os(name))
    }

    /// Returns how often to call [`ServiceManager::watchdog`]: half of what is allowed; `None` without a watchdog.
    #[must_use]
    pub(crate) fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Notifies that the requests that were pending at the start are answered. Under upstart this stops the process until upstart
    /// resumes it.
    pub(crate) fn ready(&self) {
        match &self.kind {
            Kind::Plain => {}
            Kind::Systemd { .. } => self.notify("READY=1"),
            Kind::Upstart => {
                if let Err(error) = kill_process(getpid(), Signal::STOP) {
                    tracing::warn!(%error, "failed to notify upstart that the agent is ready");
                }
            }
        }
    }

    /// Notifies what the agent does, in a few words.
    pub(crate) fn status(&self, status: &str) {
        // Another line would be another message.
        let line: String = status
            .chars()
            .filter(|char| !char.is_control())
            .take(STATUS_MAX)
            .collect();
        self.notify(&format!("STATUS={line}"));
    }

    /// Notifies that the agent is about to end.
    pub(crate) fn stopping(&self) {
        self.notify("STOPPING=1");
    }

    /// Notifies that the agent is alive.
    pub(crate) fn watchdog(&self) {
        self.notify("WATCHDOG=1");
    }

    fn notify(&self, message: &str) {
        if let Kind::Systemd { socket, address } = &self.kind
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::warn!(%error, message, "failed to notify systemd");
        }
    }

    fn detect_in(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let watchdog = watchdog_interval(&variable);
        let expects_stop = variable(EXPECT_STOP).is_some_and(|value| value == "1");
        let kind = match variable("NOTIFY_SOCKET") {
            Some(path) => systemd(&path).unwrap_or_else(|error| {
                tracing::warn!(%error, ?path, "failed to use systemd's socket (NOTIFY_SOCKET)");
                Kind::Plain
            }),
            None if variable("UPSTART_JOB").is_some() && expects_stop => Kind::Upstart,
            None => Kind::Plain,
        };
        Self { kind, watchdog }
    }
}

/// sd_notify(3): a path, or `@` and a name that is in no file system.
fn systemd(path: &OsString) -> io::Result<Kind> {
    let address = match path.as_bytes().split_first() {
        Some((b'@', name)) => abstract_address(name)?,
        Some((b'/', _)) => SocketAddr::from_pathname(path)?,
        _ => return Err(io::ErrorKind::Unsupported.into()),
    };
    let socket = UnixDatagram::unbound()?;
    // A service manager that does not read must not stop the agent.
    socket.set_nonblocking(true)?;
    Ok(Kind::Systemd { socket, address })
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;

    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// sd_watchdog_enabled(3).
fn watchdog_interval(variable: &impl Fn(&str) -> Option<OsString>) -> Option<Duration> {
    let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
    if variable("WATCHDOG_PID").is_some()
        && number("WATCHDOG_PID") != Some(u64::from(std::process::id()))
    {
        return None;
    }
    let limit = number("WATCHDOG_USEC").filter(|limit| *limit > 0)?;
    Some(Duration::from_micros(limit / 2).max(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    use super::*;

    fn environment<'a>(
        variables: &'a [(&'a str, &'a str)],
    ) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        }
    }

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let len = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    fn assert_notifies(receiver: &UnixDatagram, manager: &ServiceManager) {
        manager.ready();
        assert_eq!(receive(receiver), "READY=1");
        manager.status("two\nlines");
        assert_eq!(receive(receiver), "STATUS=twolines");
        manager.watchdog();
        assert_eq!(receive(receiver), "WATCHDOG=1");
        manager.stopping();
        assert_eq!(receive(receiver), "STOPPING=1");
    }

    #[test]
    fn systemd_is_told_through_its_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let manager =
            ServiceManager::detect_in(environment(&[("NOTIFY_SOCKET", path.to_str().unwrap())]));
        assert_notifies(&receiver, &manager);
    }

    #[test]
    fn a_long_status_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let manager =
            ServiceManager::detect_in(environment(&[("NOTIFY_SOCKET", path.to_str().unwrap())]));
        for len in [STATUS_MAX, STATUS_MAX + 1, 1 << 20] {
            manager.status(&"x".repeat(len));
            assert_eq!(
                receive(&receiver),
                format!("STATUS={}", "x".repeat(STATUS_MAX))
            );
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn systemd_is_told_through_an_abstract_socket() {
        let name = format!("nova-agent-test-{}", std::process::id());
        let receiver =
            UnixDatagram::bind_addr(&abstract_address(name.as_bytes()).unwrap()).unwrap();
        let manager =
            ServiceManager::detect_in(environment(&[("NOTIFY_SOCKET", &format!("@{name}"))]));
        assert_notifies(&receiver, &manager);
    }

    #[test]
    fn a_socket_without_a_listener_or_of_another_kind_is_no_obstacle() {
        for socket in ["/nonexistent/notify", "vsock:2:1234", ""] {
            let manager = ServiceManager::detect_in(environment(&[("NOTIFY_SOCKET", socket)]));
            manager.ready();
            manager.stopping();
        }
    }

    #[test]
    fn the_watchdog_is_fed_twice_as_often_as_needed_and_only_by_its_process() {
        let own = std::process::id().to_string();
        let interval = |variables: &[(&str, &str)]| {
            ServiceManager::detect_in(environment(variables)).watchdog_interval()
        };
        assert_eq!(interval(&[]), None);
        assert_eq!(
            interval(&[("WATCHDOG_USEC", "30000000")]),
            Some(Duration::from_secs(15))
        );
        assert_eq!(
            interval(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", &own)]),
            Some(Duration::from_secs(15))
        );
        assert_eq!(
            interval(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "1")]),
            None
        );
        assert_eq!(interval(&[("WATCHDOG_USEC", "soon")]), None);
        assert_eq!(interval(&[("WATCHDOG_USEC", "0")]), None);
    }

    #[test]
    fn a_job_that_does_not_expect_it_is_never_stopped() {
        ServiceManager::detect_in(environment(&[("UPSTART_JOB", "nova-agent")])).ready();
        ServiceManager::detect_in(environment(&[(EXPECT_STOP, "1")])).ready();
    }

    /// Runs itself in a process of its own, as the signal stops all of a process.
    #[test]
    fn upstart_sees_the_process_stop_and_resumes_it() {
        const SELF: &str = "service::tests::upstart_sees_the_process_stop_and_resumes_it";
        const INSIDE: &str = "NOVA_AGENT_TEST_INSIDE";

        if std::env::var_os(INSIDE).is_some() {
            ServiceManager::detect().ready();
            return;
        }
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", SELF])
            .envs([
                ("UPSTART_JOB", "nova-agent"),
                (EXPECT_STOP, "1"),
                (INSIDE, "1"),
            ])
            .env_remove("NOTIFY_SOCKET")
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&process);
        let stopped = waitid(
            WaitId::Pid(pid),
            WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        );
        assert!(stopped.unwrap().unwrap().stopped());
        kill_process(pid, Signal::CONT).unwrap();
        assert!(process.wait().unwrap().success());
    }
}

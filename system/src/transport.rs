//! The way to Xenstore: which device or socket, and opening it.

use core::convert::Infallible;
use core::fmt;
use core::str::FromStr;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Names the device or socket, as libxenstore's variable of that name.
const PATH_VARIABLE: &str = "XENSTORED_PATH";

/// Names the directory of the daemon's socket, as libxenstore's variable of that name.
const RUNDIR_VARIABLE: &str = "XENSTORED_RUNDIR";

/// Linux, its older interface that needs xenfs, FreeBSD, NetBSD.
const DEVICES: [&str; 4] = [
    "/dev/xen/xenbus",
    "/proc/xen/xenbus",
    "/dev/xen/xenstore",
    "/kern/xen/xenbus",
];

/// Where the daemon itself runs: domain 0, driver domains, tests.
const SOCKETS: [&str; 2] = ["/run/xenstored/socket", "/var/run/xenstored/socket"];

/// Where Xenstore is, as configured: `auto`, a path, or `unix:` and the path of a socket.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum StoreAddress {
    /// What the environment names, else the first of the usual places that can be opened.
    #[default]
    Auto,
    /// A device, or a socket if it is one.
    Path(PathBuf),
    /// A socket.
    Unix(PathBuf),
}

/// An open way to Xenstore, in non-blocking mode.
#[derive(Debug)]
pub(crate) enum Transport {
    /// The kernel's device. One `write` carries one message, and it is never reported writable.
    Device(File),
    /// The daemon's socket.
    Socket(UnixStream),
}

/// Nothing could be opened.
#[derive(Debug, thiserror::Error)]
#[error("no way to Xenstore (not on Xen, or not root?): {}", List(.tried))]
pub(crate) struct OpenError {
    /// Each path with what was wrong with it, in the order in which they were tried.
    pub tried: Vec<(PathBuf, io::Error)>,
}

impl StoreAddress {
    /// Opens the first of the places in question that can be opened.
    ///
    /// # Errors
    /// [`OpenError`] if there is none. On Linux the device appears only some time after the start of the kernel, so it is
    /// worth trying again.
    pub(crate) fn open(&self) -> Result<Transport, OpenError> {
        self.open_in(|name| std::env::var_os(name))
    }

    fn open_in(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<Transport, OpenError> {
        let mut tried = Vec::new();
        for candidate in self.candidates(variable) {
            let opened = match &candidate {
                Self::Unix(path) => connect(path),
                Self::Path(path) if is_socket(path) => connect(path),
                Self::Path(path) => open_device(path),
                Self::Auto => continue,
            };
            match (opened, candidate) {
                (Ok(transport), _) => return Ok(transport),
                (Err(error), Self::Path(path) | Self::Unix(path)) => tried.push((path, error)),
                (Err(_), Self::Auto) => {}
            }
        }
        Err(OpenError { tried })
    }

    /// The places to try, none of which is `Auto`.
    fn candidates(&self, variable: impl Fn(&str) -> Option<OsString>) -> Vec<Self> {
        if *self != Self::Auto {
            return vec![self.clone()];
        }
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        if let Some(path) = variable(PATH_VARIABLE) {
            return vec![Self::from_bytes(path.as_bytes())];
        }
        let mut candidates: Vec<Self> =
            DEVICES.iter().map(|path| Self::Path(path.into())).collect();
        match variable(RUNDIR_VARIABLE) {
            Some(directory) => candidates.push(Self::Unix(Path::new(&directory).join("socket"))),
            None => candidates.extend(SOCKETS.iter().map(|path| Self::Unix(path.into()))),
        }
        candidates
    }

    fn from_bytes(address: &[u8]) -> Self {
        let path = |bytes| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
        match address.strip_prefix(b"unix:") {
            Some(socket) => Self::Unix(path(socket)),
            None if address == b"auto" => Self::Auto,
            None => Self::Path(path(address)),
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Device(file) => file.as_fd(),
            Self::Socket(stream) => stream.as_fd(),
        }
    }
}

impl FromStr for StoreAddress {
    type Err = Infallible;

    fn from_str(address: &str) -> Result<Self, Self::Err> {
        Ok(Self::from_bytes(address.as_bytes()))
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Path(path) => fmt::Display::fmt(&path.display(), f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device(_) => "device",
            Self::Socket(_) => "socket",
        })
    }
}

fn open_device(path: &Path) -> io::Result<Transport> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path)?;
    Ok(Transport::Device(file))
}

/// Never waits: a daemon that hangs accepts no connection, and its queue of connections is short.
fn connect(path: &Path) -> io::Result<Transport> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &address)?;
    Ok(Transport::Socket(socket.into()))
}

fn is_socket(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.file_type().is_socket())
}

struct List<'a>(&'a [(PathBuf, io::Error)]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (path, error)) in self.0.iter().enumerate() {
            let separator = if nth == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {error}", path.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn parse(address: &str) -> StoreAddress {
        address.parse().unwrap()
    }

    #[test]
    fn addresses_are_read_and_printed() {
        for address in ["auto", "/dev/xen/xenbus", "unix:/run/xenstored/socket"] {
            assert_eq!(parse(address).to_string(), address);
        }
        assert_eq!(parse("unix:/a"), StoreAddress::Unix("/a".into()));
    }

    #[test]
    fn a_path_that_is_a_socket_is_opened_as_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        for address in [StoreAddress::Path(path.clone()), StoreAddress::Unix(path)] {
            let Transport::Socket(mut stream) = address.open().unwrap() else {
                panic!("not a socket")
            };
            let mut peer = listener.accept().unwrap().0;
            peer.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
            assert_eq!(
                stream.read(&mut [0]).unwrap_err().kind(),
                io::ErrorKind::WouldBlock
            );
        }
    }

    #[test]
    fn a_daemon_that_accepts_nobody_does_not_keep_the_caller_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let (result, results) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            let refusal = loop {
                match StoreAddress::Unix(path.clone()).open() {
                    Ok(transport) => open.push(transport),
                    Err(error) => break error.to_string(),
                }
            };
            result.send(refusal).unwrap();
        });
        let refusal = results
            .recv_timeout(std::time::Duration::from_secs(10))
            .expect("it waits for the daemon");
        assert!(refusal.contains("temporarily unavailable"), "{refusal}");
    }

    #[test]
    fn anything_else_is_opened_as_a_device_that_never_blocks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("xenbus");
        std::fs::write(&path, "").unwrap();
        let Transport::Device(file) = StoreAddress::Path(path).open().unwrap() else {
            panic!("not a device")
        };
        assert!(
            rustix::fs::fcntl_getfl(file.as_fd())
                .unwrap()
                .contains(OFlags::NONBLOCK | OFlags::RDWR)
        );
        assert!(
            rustix::io::fcntl_getfd(file.as_fd())
                .unwrap()
                .contains(rustix::io::FdFlags::CLOEXEC)
        );
    }

    #[test]
    fn devices_come_before_sockets_and_the_environment_before_both() {
        let paths = |candidates: Vec<StoreAddress>| {
            candidates
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        let plain = paths(StoreAddress::Auto.candidates(|_| None));
        assert_eq!(plain[0], "/dev/xen/xenbus");
        assert_eq!(plain[1], "/proc/xen/xenbus");
        assert_eq!(
            plain[4..],
            [
                "unix:/run/xenstored/socket",
                "unix:/var/run/xenstored/socket"
            ]
        );

        let named = StoreAddress::Auto
            .candidates(|name| (name == "XENSTORED_PATH").then(|| "/tmp/s".into()));
        assert_eq!(paths(named), ["/tmp/s"]);
        let moved = StoreAddress::Auto
            .candidates(|name| (name == "XENSTORED_RUNDIR").then(|| "/tmp/d".into()));
        assert_eq!(paths(moved)[4..], ["unix:/tmp/d/socket"]);
        let explicit = parse("/dev/other").candidates(|_| Some("/tmp/s".into()));
        assert_eq!(paths(explicit), ["/dev/other"]);
    }

    #[test]
    fn the_error_names_every_path_and_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let error = StoreAddress::Unix(missing.clone())
            .open()
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("no way to Xenstore (not on Xen, or not root?): "),
            "{error}"
        );
        assert!(
            error.contains(missing.to_str().unwrap()) && error.contains("No such file"),
            "{error}"
        );
        let error = StoreAddress::Auto
            .open_in(|name| (name == "XENSTORED_RUNDIR").then(|| directory.path().into()));
        if let Err(error) = error {
            assert_eq!(error.tried.len(), 5);
        }
    }
}

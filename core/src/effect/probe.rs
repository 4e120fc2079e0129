//! Questions about the guest, and the answers: plain data for pure decisions.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{FileMode, GuestPath};
use crate::address::MacAddr;

/// A question about the guest. Asking changes nothing.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Probe {
    /// What a directory holds.
    Directory(GuestPath),
    /// What is at a path: kind, mode, content of a regular file of at most [`FILE_MAX`](super::FILE_MAX) bytes.
    /// The last component is not followed if it is a symlink.
    File(GuestPath),
    /// The kernel's name, release and hostname.
    Kernel,
    /// The network interfaces.
    Interfaces,
    /// The routes.
    Routes,
    /// Where a program is, by its name in the agent's fixed path.
    Program(String),
}

/// The answers to a list of probes. Answers of several lists can be merged.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// Entries by directory; empty for one that does not exist or cannot be read.
    pub directories: BTreeMap<GuestPath, Vec<DirectoryEntry>>,
    /// What was found at each path.
    pub files: BTreeMap<GuestPath, FileState>,
    /// The running kernel, if it was asked for.
    pub kernel: Option<Kernel>,
    /// The interfaces in order of their names, if they were asked for.
    pub interfaces: Option<Vec<InterfaceState>>,
    /// The unicast routes, if they were asked for; none where the system cannot tell.
    pub routes: Option<Vec<RouteState>>,
    /// Where each program is; `None` for one that is missing.
    pub programs: BTreeMap<String, Option<GuestPath>>,
}

impl Snapshot {
    /// Adds the answers of `later`, which win over earlier ones to the same question.
    pub fn merge(&mut self, later: Self) {
        let Self {
            directories,
            files,
            kernel,
            interfaces,
            routes,
            programs,
        } = later;
        self.directories.extend(directories);
        self.files.extend(files);
        self.kernel = kernel.or_else(|| self.kernel.take());
        self.interfaces = interfaces.or_else(|| self.interfaces.take());
        self.routes = routes.or_else(|| self.routes.take());
        self.programs.extend(programs);
    }

    /// Whether the probe has been answered.
    #[must_use]
    pub fn answers(&self, probe: &Probe) -> bool {
        match probe {
            Probe::Directory(path) => self.directories.contains_key(path),
            Probe::File(path) => self.files.contains_key(path),
            Probe::Kernel => self.kernel.is_some(),
            Probe::Interfaces => self.interfaces.is_some(),
            Probe::Routes => self.routes.is_some(),
            Probe::Program(name) => self.programs.contains_key(name),
        }
    }

    /// The content of a regular file as text, if it was probed, exists and is UTF-8.
    #[must_use]
    pub fn text(&self, path: &GuestPath) -> Option<&str> {
        match self.files.get(path)? {
            FileState::Regular { content, .. } => core::str::from_utf8(content).ok(),
            FileState::Directory
            | FileState::Missing
            | FileState::Other
            | FileState::Symlink { .. }
            | FileState::TooLarge { .. }
            | FileState::Unreadable { .. } => None,
        }
    }

    /// Whether a program was found.
    #[must_use]
    pub fn has_program(&self, name: &str) -> bool {
        matches!(self.programs.get(name), Some(Some(_)))
    }
}

/// What is at a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FileState {
    /// A directory.
    Directory,
    /// Nothing.
    Missing,
    /// A device, socket or FIFO.
    Other,
    /// A regular file.
    Regular {
        /// All of its bytes.
        content: Vec<u8>,
        /// Its permission bits.
        mode: FileMode,
    },
    /// A symbolic link, which was not followed.
    Symlink {
        /// What it points to, as stored.
        target: String,
    },
    /// A regular file of more than [`FILE_MAX`](super::FILE_MAX) bytes.
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// It exists, but the system refused to read it.
    Unreadable {
        /// The system's words.
        reason: String,
    },
}

/// An entry of a directory.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct DirectoryEntry {
    /// Its name; entries whose name is not UTF-8 are left out of a listing.
    pub name: String,
    /// What it is, without following a symlink.
    pub kind: EntryKind,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A device, socket or FIFO.
    Other,
    /// A symbolic link.
    Symlink,
}

/// The running kernel, as `uname(2)` tells it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kernel {
    /// `Linux`, `FreeBSD`, ...
    pub system: String,
    /// The release, such as `6.1.0-13-amd64`.
    pub release: String,
    /// The hostname.
    pub hostname: String,
}

/// A network interface as the kernel shows it (Linux: `/sys/class/net`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InterfaceState {
    /// The kernel's name for it.
    pub name: String,
    /// Its hardware address, if it is an Ethernet interface. For a port of a bond this is its own permanent address.
    pub mac: Option<MacAddr>,
    /// Whether hardware, real or emulated, is behind it; not for a bridge, bond, VLAN and the like, which borrow the
    /// address of one of their ports.
    pub physical: bool,
    /// The number of the paravirtual network device behind it (`device/vif/<n>` in Xenstore).
    pub vif: Option<u32>,
    /// The bridge, bond or team that it is a port of.
    pub master: Option<String>,
    /// The kernel driver of the device behind it.
    pub driver: Option<String>,
    /// Whether it is administratively up.
    pub up: bool,
    /// Its addresses with their prefix lengths, those apart that a router announced; empty where the system cannot tell.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// A route as the kernel shows it (Linux: `/proc/net/route` and `/proc/net/ipv6_route`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteState {
    /// The kernel's name of the interface that it goes through.
    pub interface: String,
    /// The network.
    pub destination: IpAddr,
    /// Its prefix length.
    pub prefix_len: u8,
    /// The gateway, if the network is not on the link itself.
    pub gateway: Option<IpAddr>,
}

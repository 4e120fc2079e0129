//! The existing profiles of the managed interfaces, the agent's own included.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{DIRECTORY, profile, units};
use crate::effect::GuestPath;
use crate::network::InterfaceName;
use crate::render::assignments::Assignments;
use crate::render::context::Context;
use crate::render::shell_line::{is_plain, key_of};

/// The settings that the host does not decide.
const KEPT: [&str; 11] = [
    "DNSDomain",
    "DNSSearch",
    "ExecDownPre",
    "ExecUpPost",
    "ForceConnect",
    "SkipDAD",
    "SkipNoCarrier",
    "TimeoutCarrier",
    "TimeoutDAD",
    "TimeoutUp",
    "WaitOnline",
];

/// A profile for a managed interface.
#[derive(Debug)]
pub(super) struct Old {
    pub(super) path: GuestPath,
    /// The name of the profile, which is that of the file.
    pub(super) name: String,
    pub(super) owner: InterfaceName,
    /// Whether it is the one that the agent writes.
    pub(super) is_own: bool,
    /// Whether it starts at boot.
    pub(super) is_enabled: bool,
    /// The name servers in their order.
    pub(super) nameservers: Vec<IpAddr>,
    /// Keys and lines worth keeping.
    pub(super) kept: Vec<(String, String)>,
}

/// Returns the profiles of the managed interfaces, the agent's own first.
pub(super) fn find(cx: &mut Context<'_>) -> Vec<Old> {
    let mut olds = Vec::new();
    for name in cx.guest.list(&DIRECTORY, is_profile) {
        let Ok(path) = DIRECTORY.join(name) else {
            continue;
        };
        let text = match cx.guest.editable(&path) {
            Ok((_, text)) => text.unwrap_or_default(),
            Err(error) => {
                cx.warn(format!("not read: {error}"));
                continue;
            }
        };
        let assignments = Assignments::parse(&text);
        let get = |key| assignments.get(key).unwrap_or_default();
        let device = get("Interface");
        let managed = cx.config.names().find(|name| name.as_str() == device);
        // Other kinds of connections are only built on the interface.
        let Some(owner) = managed.filter(|_| get("Connection") == "ethernet") else {
            continue;
        };
        olds.push(Old {
            path,
            name: name.to_string(),
            owner: owner.clone(),
            is_own: name == profile(owner),
            is_enabled: units::is_enabled(name, cx.guest),
            nameservers: nameservers(&assignments),
            kept: kept(&assignments),
        });
    }
    // The others stay in the order of their names.
    olds.sort_by_key(|old| !old.is_own);
    olds
}

/// Returns whether netctl treats a file as a profile.
fn is_profile(name: &str) -> bool {
    let ignored = ["~", ".action", ".conf", ".service"]
        .iter()
        .any(|end| name.ends_with(end));
    !name.starts_with('.') && !ignored
}

/// The addresses of `DNS=('..' '..')`.
fn nameservers(assignments: &Assignments) -> Vec<IpAddr> {
    let words = assignments.get("DNS").unwrap_or_default();
    words
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

fn kept(assignments: &Assignments) -> Vec<(String, String)> {
    let lines = assignments
        .lines()
        .map(|line| line.trim_ascii().to_string())
        .filter(|line| is_plain(line));
    let with_keys = lines.filter_map(|line| Some((key_of(&line)?.to_string(), line)));
    with_keys
        .filter(|(key, _)| KEPT.contains(&key.as_str()))
        .collect()
}

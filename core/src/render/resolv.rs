//! `/etc/resolv.conf`, where no network stack writes it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::context::Context;
use super::error::Refusal;
use super::files::Importance;
use super::guest::Guest;
use super::text::{end_line, stable_order};
use crate::effect::{FileState, GuestPath};

const PATH: GuestPath = GuestPath::constant("/etc/resolv.conf");

/// The name servers that the C library reads (`resolv.h`, `MAXNS`).
const NAMESERVERS_MAX: usize = 3;

/// Returns whether the path is a regular file, not a symlink into another program's directory.
pub(super) fn is_regular(guest: &Guest<'_>) -> bool {
    matches!(guest.file(&PATH), FileState::Regular { .. })
}

/// Returns whether every name server in it is an address of this host.
pub(super) fn asks_this_host(guest: &Guest<'_>) -> bool {
    let text = guest.text(&PATH).unwrap_or_default();
    let mut addresses = text
        .lines()
        .filter_map(nameserver)
        .filter_map(|address| address.parse::<IpAddr>().ok());
    addresses.all(|address| address.is_loopback())
}

/// Replaces the name servers and nothing else. A symlink belongs to another program and stays; so
/// does everything if there are no name servers to write.
pub(super) fn update(nameservers: &[IpAddr], cx: &mut Context<'_>) -> Result<(), Refusal> {
    if nameservers.is_empty() || cx.guest.link_target(&PATH).is_some() {
        return Ok(());
    }
    let text = cx.text(&PATH)?.unwrap_or_default();
    // A file that cannot be changed (`chattr +i`) is somebody's decision, not a reason to give the
    // network up.
    cx.write_with(&PATH, &replace(&text, nameservers), Importance::Minor)
}

fn replace(text: &str, nameservers: &[IpAddr]) -> String {
    let present: Vec<IpAddr> = text
        .lines()
        .filter_map(nameserver)
        .filter_map(|address| address.parse().ok())
        .collect();
    // If the host lists more than three, any three of them are good: their order changes from write
    // to write.
    let still_good = present.len() == NAMESERVERS_MAX
        && present.iter().all(|address| nameservers.contains(address));
    let wanted = if still_good {
        present
    } else {
        stable_order(nameservers, &present)
    };
    let mut new: String = wanted
        .iter()
        .take(NAMESERVERS_MAX)
        .map(|address| format!("nameserver {address}\n"))
        .collect();

    let mut replaced = String::new();
    for line in text.split_inclusive('\n') {
        if nameserver(line).is_some() {
            replaced.push_str(&core::mem::take(&mut new));
        } else {
            replaced.push_str(line);
        }
    }
    if !new.is_empty() {
        end_line(&mut replaced);
        replaced.push_str(&new);
    }
    replaced.to_string()
}

fn nameserver(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    (words.next()? == "nameserver").then(|| words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str, nameservers: &[&str]) -> String {
        let nameservers: Vec<IpAddr> = nameservers
            .iter()
            .map(|address| address.parse().unwrap())
            .collect();
        replace(text, &nameservers)
    }

    #[test]
    fn only_the_name_servers_change() {
        let old = "# c\nsearch x\nnameserver 192.0.2.1\n#nameserver 1\nnameserver 192.0.2.2\noptions rotate";
        let new = "# c\nsearch x\nnameserver 192.0.2.9\n#nameserver 1\noptions rotate";
        assert_eq!(replaced(old, &["192.0.2.9"]), new);
        assert_eq!(replaced("search x", &["::2"]), "search x\nnameserver ::2\n");
        assert_eq!(replaced("", &["192.0.2.1"]), "nameserver 192.0.2.1\n");
    }

    #[test]
    fn another_order_is_no_change_and_three_are_enough() {
        let two = "nameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        assert_eq!(replaced(two, &["192.0.2.2", "192.0.2.1"]), two);
        let three = "nameserver 192.0.2.3\nnameserver 192.0.2.1\nnameserver 192.0.2.4\n";
        assert_eq!(
            replaced(three, &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]),
            three
        );
        assert_eq!(
            replaced("", &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"])
                .lines()
                .count(),
            3
        );
    }
}

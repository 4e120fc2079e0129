//! Helpers shared by stacks that run on systemd.

use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::context::Context;
use super::error::Refusal;
use super::guest::Guest;
use super::{resolv, running};
use crate::effect::{GuestPath, Program};
use crate::network::{Cidr, Gateway, Interface};

/// Directories that may hold the library whose name contains the version.
const LIBRARIES: [GuestPath; 6] = [
    GuestPath::constant("/usr/lib/systemd"),
    GuestPath::constant("/lib/systemd"),
    GuestPath::constant("/usr/lib64/systemd"),
    GuestPath::constant("/usr/lib/x86_64-linux-gnu/systemd"),
    GuestPath::constant("/usr/lib/aarch64-linux-gnu/systemd"),
    GuestPath::constant("/lib/x86_64-linux-gnu/systemd"),
];

/// `systemctl --no-block` only queues the job.
const START_MAX: Duration = Duration::from_secs(5);

/// Returns the installed version of systemd, if a library shows it.
pub(super) fn version(guest: &Guest<'_>) -> Option<u32> {
    LIBRARIES
        .iter()
        .flat_map(|library| guest.names(library))
        .filter_map(number)
        .max()
}

/// The version in the name of a library.
fn number(library: &str) -> Option<u32> {
    let rest = library.strip_prefix("libsystemd-shared-")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest.get(..end)?.parse().ok()
}

/// Returns whether networkd can reload its files and drop what they no longer contain.
pub(super) const fn reconfigures(version: Option<u32>) -> bool {
    matches!(version, Some(244..))
}

/// Returns whether a service does not run yet, where the running services are known. At boot it
/// starts after the agent, so waiting for it would deadlock.
pub(super) fn starts_later(service: &str, guest: &Guest<'_>) -> bool {
    let active = running::active_services(guest);
    !active.is_empty() && !active.contains(&service)
}

/// Returns whether the system is booting and has not reached the services that need a network:
/// every service ordered after the agent is still waiting.
pub(super) fn is_before_network(guest: &Guest<'_>) -> bool {
    // It starts after the network, on every system that people log in to. Control groups do not
    // show it: it leaves no process.
    const AFTER_NETWORK: &str = "systemd-user-sessions";

    let units = guest.names(&running::SYSTEMD_UNITS);
    !units.is_empty()
        && !units
            .into_iter()
            .filter_map(running::active_unit)
            .any(|unit| unit == AFTER_NETWORK)
}

/// Queues the start of a service, which happens when the units before it have started.
pub(super) fn start_later(service: &str) -> Program {
    Program::new(
        [
            "systemctl",
            "--no-block",
            "start",
            &format!("{service}.service"),
        ],
        START_MAX,
    )
}

/// Returns whether a gateway needs the flag `onlink`: if it is in none of the networks, or if
/// another route leads to it through another gateway. The routes come in any order.
pub(super) fn must_be_onlink(gateway: Gateway, interface: &Interface) -> bool {
    let address = gateway.address;
    let own = interface
        .addresses()
        .filter(|own| own.contains(address))
        .map(Cidr::prefix_len)
        .max();
    let is_behind_another = interface
        .routes
        .iter()
        .filter(|route| route.via.is_some_and(|via| via.address != address))
        .any(|route| {
            Some(route.destination.prefix_len()) > own && route.destination.contains(address)
        });
    gateway.onlink || (own.is_some() && is_behind_another)
}

/// Returns whether systemd-resolved is enabled, which learns the name servers from the network
/// service.
pub(super) fn resolved_is_enabled(guest: &Guest<'_>) -> bool {
    const UNIT: &str = "systemd-resolved.service";
    const WANTED: [GuestPath; 4] = [
        GuestPath::constant("/etc/systemd/system/multi-user.target.wants"),
        GuestPath::constant("/etc/systemd/system/sysinit.target.wants"),
        GuestPath::constant("/usr/lib/systemd/system/multi-user.target.wants"),
        GuestPath::constant("/usr/lib/systemd/system/sysinit.target.wants"),
    ];

    let masked = guest.link_target(&GuestPath::constant(
        "/etc/systemd/system/systemd-resolved.service",
    ));
    let units: Vec<&str> = WANTED.iter().flat_map(|wants| guest.names(wants)).collect();
    units.contains(&UNIT) && masked != Some("/dev/null")
}

/// Writes `/etc/resolv.conf`, unless systemd-resolved is used: then the file leads programs to it,
/// by a symlink or by an address of this host.
pub(super) fn update_resolv_conf(
    nameservers: &[IpAddr],
    resolved: bool,
    cx: &mut Context<'_>,
) -> Result<(), Refusal> {
    if resolved && resolv::asks_this_host(cx.guest) {
        Ok(())
    } else {
        resolv::update(nameservers, cx)
    }
}

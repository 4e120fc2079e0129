//! What there is of systemd, for the stacks that are built on it.

use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::context::Context;
use super::error::Refusal;
use super::guest::Guest;
use super::{resolv, running};
use crate::effect::{GuestPath, Program};
use crate::network::{Cidr, Gateway, Interface, Route};

/// Where the library that carries the version in its name may be.
const LIBRARIES: [GuestPath; 6] = [
    GuestPath::constant("/usr/lib/systemd"),
    GuestPath::constant("/lib/systemd"),
    GuestPath::constant("/usr/lib64/systemd"),
    GuestPath::constant("/usr/lib/x86_64-linux-gnu/systemd"),
    GuestPath::constant("/usr/lib/aarch64-linux-gnu/systemd"),
    GuestPath::constant("/lib/x86_64-linux-gnu/systemd"),
];

/// It only has to be said.
const START_MAX: Duration = Duration::from_secs(5);

/// The version that is installed, as far as it can be told.
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

/// Whether networkd can be told to read its files again and to forget what is no longer in them.
pub(super) const fn reconfigures(version: Option<u32>) -> bool {
    matches!(version, Some(244..))
}

/// Whether a service does not run, although something tells which ones do. At boot it waits until the agent is ready, and
/// to wait for it would take forever.
pub(super) fn starts_later(service: &str, guest: &Guest<'_>) -> bool {
    let active = running::active_services(guest);
    !active.is_empty() && !active.contains(&service)
}

/// Whether the system boots and has not come to the services that need a network: all that is ordered behind the agent
/// waits for it.
pub(super) fn is_before_network(guest: &Guest<'_>) -> bool {
    // It is started when the network has come, on every system that people log in to. Control groups do not tell of it: it
    // leaves no process.
    const AFTER_NETWORK: &str = "systemd-user-sessions";

    let units = guest.names(&running::SYSTEMD_UNITS);
    !units.is_empty()
        && !units
            .into_iter()
            .filter_map(running::active_unit)
            .any(|unit| unit == AFTER_NETWORK)
}

/// Has a service started as soon as what it waits for is done.
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

/// Whether the kernel must be told that a gateway is on the link: if it is in none of the networks, or if another route
/// leads to it through another gateway. The routes come in any order.
pub(super) fn must_be_onlink(gateway: Gateway, interface: &Interface) -> bool {
    let address = gateway.address;
    let own = interface
        .addresses()
        .filter(|own| own.contains(address))
        .map(Cidr::prefix_len)
        .max();
    let mut others = interface
        .routes
        .iter()
        .filter(|route| route.via.is_some_and(|via| via.address != address));
    let is_nearer = |route: &Route| {
        Some(route.destination.prefix_len()) > own && route.destination.contains(address)
    };
    gateway.onlink || (own.is_some() && others.any(is_nearer))
}

/// Whether systemd-resolved answers the programs, which it learns of from the network service.
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

/// Writes `/etc/resolv.conf` unless systemd-resolved hands the servers on: then programs are sent to it, by a symlink
/// or by an address of this host.
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

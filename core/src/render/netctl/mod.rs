//! netctl: one profile per interface in `/etc/netctl`, and a systemd unit that starts it at boot.
//!
//! bash reads the profiles as root, so every generated line is made of parsed values, and of old
//! profiles only a few settings are kept, if they are plain words.

mod old;
mod units;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Display;
use core::net::IpAddr;
use core::time::Duration;

use self::old::Old;
use super::context::Context;
use super::error::Refusal;
use super::renderer::{Renderer, Stack};
use super::resolv;
use super::restart::{Activation, BatchPrograms, affected, batch, batch_at_start, flush};
use super::routes::in_order;
use super::systemd;
use super::text::{HEADER, effective_lines, label_comment, stable_order};
use crate::effect::{GuestPath, Program};
use crate::network::{Family, Interface, InterfaceName};

const DIRECTORY: GuestPath = GuestPath::constant("/etc/netctl");

/// Starting waits 5 s each for the link and the carrier, and 3 s for duplicate addresses.
const START_MAX: Duration = Duration::from_secs(20);

/// Stopping takes addresses and link away; a DHCP client gives its lease back.
const STOP_MAX: Duration = Duration::from_secs(5);

/// One call of the kernel, or systemd reading its units.
const SHORT_MAX: Duration = Duration::from_secs(3);

/// The stack of Arch Linux, where the user chose it.
pub(super) static STACK: Stack = Stack::new("netctl", &Netctl);

#[derive(Debug)]
struct Netctl;

impl Renderer for Netctl {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        let (config, guest) = (cx.config, cx.guest);
        // A profile's unit is ordered after the agent, so waiting for it at boot would deadlock.
        let starts_later = systemd::is_before_network(guest) && !units::any_is_active(guest);
        // A profile with name servers cannot be started without resolvconf.
        let by_resolvconf = guest.program("resolvconf").is_some();
        if !by_resolvconf {
            resolv::update(&config.nameservers(), cx)?;
        }
        let mut changed = BTreeSet::new();
        let olds = old::find(cx);
        for interface in &config.interfaces {
            let Ok(path) = DIRECTORY.join(&profile(&interface.name)) else {
                continue;
            };
            let olds: Vec<&Old> = olds
                .iter()
                .filter(|old| old.owner == interface.name)
                .collect();
            let before = cx.text(&path)?;
            let after = content(interface, &olds, by_resolvconf);
            if effective_lines(before.as_deref()) != effective_lines(Some(&after))
                || olds.iter().any(|old| !old.is_own)
            {
                changed.insert(interface.name.clone());
            }
            cx.write(&path, &after)?;
            units::enable(&interface.name, cx)?;
        }
        for old in olds.iter().filter(|old| !old.is_own) {
            cx.remove(&old.path);
            units::disable(&old.name, cx);
        }
        let automatic: Vec<units::Automatic> = config
            .interfaces
            .iter()
            .flat_map(|interface| units::automatic(&interface.name, guest))
            .collect();
        for unit in &automatic {
            cx.remove(&unit.link);
            changed.insert(unit.owner.clone());
        }
        let interfaces = affected(config, &changed, guest);
        if starts_later {
            let programs = programs_at_start(&interfaces, &olds, &automatic);
            return Ok(batch_at_start(&interfaces, programs, guest));
        }
        let programs = programs(&interfaces, &olds, &automatic);
        Ok(batch(&interfaces, programs, guest))
    }
}

/// At boot, removes the old profiles from the queue of units to start, and adds the new ones.
fn programs_at_start(
    interfaces: &[&Interface],
    olds: &[Old],
    automatic: &[units::Automatic],
) -> BatchPrograms {
    let foreign: Vec<&Old> = olds.iter().filter(|old| !old.is_own).collect();
    let mut programs = BatchPrograms::default();
    for unit in automatic {
        programs.run_before(queue("stop", &unit.name));
    }
    for old in &foreign {
        programs.run_before(queue("stop", &units::unit(&old.name)));
    }
    programs.try_run(reload());
    for interface in interfaces {
        programs.try_run(queue("start", &units::unit(&profile(&interface.name))));
    }
    programs.restore(reload());
    for old in foreign.iter().filter(|old| old.is_enabled) {
        programs.restore(queue("start", &units::unit(&old.name)));
    }
    for unit in automatic {
        programs.restore(queue("start", &unit.name));
    }
    programs
}

/// Brings the new profiles up, and the old ones again after a roll-back.
fn programs(
    interfaces: &[&Interface],
    olds: &[Old],
    automatic: &[units::Automatic],
) -> BatchPrograms {
    let mut programs = BatchPrograms::default();
    programs.try_run(reload());
    programs.restore(reload());
    for Interface { name, .. } in interfaces {
        let olds: Vec<&Old> = olds.iter().filter(|old| old.owner == *name).collect();
        let automatic: Vec<&units::Automatic> = automatic
            .iter()
            .filter(|unit| unit.owner == *name)
            .collect();
        for unit in &automatic {
            programs.run_before(systemctl("stop", &unit.name));
        }
        for old in &olds {
            programs.run_before(netctl("stop", &old.name, STOP_MAX));
        }
        // A profile is not started if the link of its interface is up already.
        programs.try_run(flush(name));
        programs.try_run(link_down(name));
        programs.run(netctl("restart", &profile(name), START_MAX));
        programs.restore(flush(name));
        programs.restore(link_down(name));
        let mut again: Vec<&Old> = olds.iter().copied().filter(|old| old.is_enabled).collect();
        if again.is_empty() && automatic.is_empty() {
            // A profile started by hand is indistinguishable from an inactive one.
            again.extend(olds.first());
        }
        for old in again {
            programs.restore(netctl("restart", &old.name, START_MAX));
        }
        for unit in automatic {
            programs.restore(systemctl("restart", &unit.name));
        }
    }
    programs
}

fn reload() -> Program {
    Program::new(["systemctl", "daemon-reload"], SHORT_MAX)
}

/// Queues a job for a unit and does not wait for it.
fn queue(action: &str, unit: &str) -> Program {
    Program::new(["systemctl", "--no-block", action, unit], STOP_MAX)
}

fn systemctl(action: &str, unit: &str) -> Program {
    Program::new(["systemctl", action, unit], STOP_MAX)
}

fn netctl(action: &str, profile: &str, timeout: Duration) -> Program {
    Program::new(["netctl", action, profile], timeout)
}

fn link_down(name: &InterfaceName) -> Program {
    Program::new(
        ["ip", "link", "set", "dev", name.as_str(), "down"],
        SHORT_MAX,
    )
}

/// The name of the profile of an interface.
fn profile(name: &InterfaceName) -> String {
    format!("nova-{name}")
}

fn content(interface: &Interface, olds: &[&Old], by_resolvconf: bool) -> String {
    let mut text = format!("{HEADER}{}", label_comment(interface));
    // netctl looks for this line without quotes.
    text.push_str(&format!(
        "Interface={}\nConnection='ethernet'\n",
        interface.name
    ));
    text.push_str(&family(interface, &interface.v4, ""));
    text.push_str(&family(interface, &interface.v6, "6"));
    if by_resolvconf && !interface.nameservers.is_empty() {
        let present: Vec<IpAddr> = olds
            .iter()
            .flat_map(|old| &old.nameservers)
            .copied()
            .collect();
        text.push_str(&array(
            "DNS",
            &stable_order(&interface.nameservers, &present),
        ));
    }
    let mut kept = BTreeSet::new();
    for (key, line) in olds.iter().flat_map(|old| &old.kept) {
        if kept.insert(key) {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}

/// The settings of one family, whose names end in `suffix`.
fn family(interface: &Interface, family: &Family, suffix: &str) -> String {
    let Some(first) = family.addresses.first() else {
        return String::new();
    };
    let of_family = interface
        .routes
        .iter()
        .filter(|route| route.destination.address().is_ipv4() == first.address().is_ipv4());

    let mut text = format!(
        "IP{suffix}='static'\n{}",
        array(&format!("Address{suffix}"), &family.addresses)
    );
    // Routes are added before the gateway, so a gateway that needs one of them, or is outside all
    // networks, becomes a route itself.
    let is_led_to = |gateway: IpAddr| {
        of_family
            .clone()
            .any(|route| route.via.is_some() && route.destination.contains(gateway))
    };
    let (as_route, as_gateway) = match family.gateway {
        Some(gateway) if gateway.onlink || is_led_to(gateway.address) => (Some(gateway), None),
        gateway => (None, gateway),
    };
    if let Some(gateway) = as_gateway {
        text.push_str(&format!("Gateway{suffix}='{}'\n", gateway.address));
    }
    let routes = in_order(as_route, of_family);
    if !routes.is_empty() {
        text.push_str(&array(&format!("Routes{suffix}"), &routes));
    }
    text
}

/// Returns an array of bash. The values were parsed and contain no quotes.
fn array(key: &str, values: &[impl Display]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    format!("{key}=({})\n", values.join(" "))
}

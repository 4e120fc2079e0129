//! netctl: a profile an interface in `/etc/netctl`, and a systemd unit that starts it at boot.
//!
//! bash reads the profiles as root, so every generated line is made of parsed values, and of old profiles only a few
//! settings are kept, if they are plain words.

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
use super::files::Importance;
use super::renderer::{Renderer, Stack};
use super::resolv;
use super::restart::{Activation, Script, affected, flush, together};
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
        // A profile's unit is ordered behind the agent's: whoever starts it at boot and waits for it, waits for himself.
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
        if starts_later && !interfaces.is_empty() {
            let activation = together(
                &interfaces,
                later_script(&interfaces, &olds, &automatic),
                guest,
            );
            return Ok(Activation {
                starts_later: true,
                ..activation
            });
        }
        Ok(together(
            &interfaces,
            script(&interfaces, &olds, &automatic),
            guest,
        ))
    }
}

/// At boot, old profiles are taken out of what is about to be started, and the new ones are put into it.
fn later_script(interfaces: &[&Interface], olds: &[Old], automatic: &[units::Automatic]) -> Script {
    let reload = || Program::new(["systemctl", "daemon-reload"], SHORT_MAX);
    let queued =
        |action, unit: &str| Program::new(["systemctl", "--no-block", action, unit], STOP_MAX);
    let foreign = || olds.iter().filter(|old| !old.is_own);

    let mut script = Script::default();
    script
        .before
        .extend(automatic.iter().map(|unit| queued("stop", &unit.name)));
    script
        .before
        .extend(foreign().map(|old| queued("stop", &units::unit(&old.name))));
    script.after.push((reload(), Importance::Minor));
    let new = interfaces
        .iter()
        .map(|interface| units::unit(&profile(&interface.name)));
    script
        .after
        .extend(new.map(|unit| (queued("start", &unit), Importance::Minor)));
    script.restore.push(reload());
    script.restore.extend(
        foreign()
            .filter(|old| old.is_enabled)
            .map(|old| queued("start", &units::unit(&old.name))),
    );
    script
        .restore
        .extend(automatic.iter().map(|unit| queued("start", &unit.name)));
    script
}

/// What is run to bring the new profiles up, and the old ones again after a roll-back.
fn script(interfaces: &[&Interface], olds: &[Old], automatic: &[units::Automatic]) -> Script {
    let reload = || Program::new(["systemctl", "daemon-reload"], SHORT_MAX);
    let netctl =
        |action, profile: &str, timeout| Program::new(["netctl", action, profile], timeout);
    let systemctl = |action, unit: &str| Program::new(["systemctl", action, unit], STOP_MAX);
    // A profile is not started if the link of its interface is up already.
    let clear = |name: &InterfaceName| [flush(name), link_down(name)];

    let mut script = Script::default();
    script.after.push((reload(), Importance::Minor));
    script.restore.push(reload());
    for Interface { name, .. } in interfaces {
        let olds = || olds.iter().filter(move |old| old.owner == *name);
        let automatic = || automatic.iter().filter(move |unit| unit.owner == *name);
        script
            .before
            .extend(automatic().map(|unit| systemctl("stop", &unit.name)));
        script
            .before
            .extend(olds().map(|old| netctl("stop", &old.name, STOP_MAX)));
        script
            .after
            .extend(clear(name).map(|program| (program, Importance::Minor)));
        script.after.push((
            netctl("restart", &profile(name), START_MAX),
            Importance::Essential,
        ));
        script.restore.extend(clear(name));
        let enabled: Vec<&Old> = olds().filter(|old| old.is_enabled).collect();
        // One that was started by hand cannot be told from one that was not.
        let by_hand = olds()
            .next()
            .filter(|_| enabled.is_empty() && automatic().next().is_none());
        let again = enabled.into_iter().chain(by_hand);
        script
            .restore
            .extend(again.map(|old| netctl("restart", &old.name, START_MAX)));
        script
            .restore
            .extend(automatic().map(|unit| systemctl("restart", &unit.name)));
    }
    script
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
    // Routes are added before the gateway: one that they lead to, or that is outside all networks, has to be one of them.
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

/// An array of bash. The values are parsed ones and have no quotes.
fn array(key: &str, values: &[impl Display]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    format!("{key}=({})\n", values.join(" "))
}

//! systemd-networkd: `/etc/systemd/network/05-nova-IF.network`.
//!
//! networkd takes the first file, by name, that matches an interface. The agent's files come before
//! those that a system and its users have, so that files for many interfaces can stay.

mod networks;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use self::networks::{ETC, Fit, Network, load, words};
use super::context::Context;
use super::error::{Refusal, Unclear, join};
use super::guest::Guest;
use super::ini::Ini;
use super::renderer::{Renderer, Stack};
use super::restart::{Activation, BatchPrograms, affected, batch, batch_at_start, flush};
use super::systemd;
use super::text::{HEADER, label_comment, stable_order};
use crate::effect::Program;
use crate::network::{Interface, InterfaceName};

/// One D-Bus call.
const RELOAD_MAX: Duration = Duration::from_secs(5);

/// The daemon only starts the work.
const RECONFIGURE_MAX: Duration = Duration::from_secs(8);

/// It is ready when it has read its files.
const RESTART_MAX: Duration = Duration::from_secs(12);

/// Settings that are about neither addresses nor the network's own servers.
const KEPT: [(&str, &str); 9] = [
    ("Link", "MACAddress"),
    ("Link", "MTUBytes"),
    ("Network", "Domains"),
    ("Network", "IPVLAN"),
    ("Network", "MACVLAN"),
    ("Network", "NTP"),
    ("Network", "Tunnel"),
    ("Network", "VLAN"),
    ("Network", "VXLAN"),
];

/// Settings that would make the interface a port of another one, which would then have the
/// addresses.
const MASTERS: [&str; 4] = ["BatmanAdvanced", "Bond", "Bridge", "VRF"];

/// The stack of systems that were built around systemd, and of those that chose it.
pub(super) static STACK: Stack = Stack::new("systemd-networkd", &Networkd);

#[derive(Debug)]
struct Networkd;

impl Renderer for Networkd {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        let (config, guest) = (cx.config, cx.guest);
        let version = systemd::version(guest);
        let resolved = systemd::resolved_is_enabled(guest);
        let starts_later = systemd::starts_later("systemd-networkd", guest);

        let networks = load(guest);
        let mut changed = BTreeSet::new();
        for interface in &config.interfaces {
            let path = join(&ETC, &file_name(&interface.name))?;
            let before = networks
                .iter()
                .find(|network| network.fit(interface, config, guest) != Fit::No);
            // What drop-ins add to the agent's own file is not to be written into it.
            let own = Ini::parse(&cx.text(&path)?.unwrap_or_default());
            let foreign = before.filter(|network| network.path != path);
            let old = foreign
                .and_then(|network| network.content.as_ref())
                .unwrap_or(&own);
            for master in MASTERS.iter().flat_map(|key| old.all("Network", key)) {
                cx.warn(format!(
                    "{} does not become a port of {master}: it has addresses",
                    interface.name
                ));
            }
            let text = network(interface, old, version, guest);
            if before.is_none_or(|network| network.path != path)
                || meaning(&own) != meaning(&Ini::parse(&text))
            {
                changed.insert(interface.name.clone());
            }
            cx.write(&path, &text)?;
        }
        for network in &networks {
            retire(network, cx)?;
        }
        systemd::update_resolv_conf(&config.nameservers(), resolved, cx)?;

        let interfaces = affected(config, &changed, guest);
        if starts_later {
            let mut programs = BatchPrograms::default();
            programs.try_run(systemd::start_later("systemd-networkd"));
            return Ok(batch_at_start(&interfaces, programs, guest));
        }
        Ok(batch(&interfaces, programs(&interfaces, version), guest))
    }
}

fn file_name(name: &InterfaceName) -> String {
    format!("05-nova-{name}.network")
}

/// Removes a file that is only for interfaces of the host.
fn retire(network: &Network, cx: &mut Context<'_>) -> Result<(), Refusal> {
    let path = &network.path;
    let own_names: Vec<String> = cx.config.names().map(file_name).collect();
    if own_names.iter().any(|own| own == network.name()) {
        return Ok(());
    }
    let (mut is_exact, mut comes_first) = (false, false);
    for (interface, own) in cx.config.interfaces.iter().zip(&own_names) {
        let comes_before = network.name() < own.as_str();
        match network.fit(interface, cx.config, cx.guest) {
            Fit::Pattern if comes_before => {
                let (own, interface) = (own.clone(), interface.name.clone());
                return Err(Unclear::ComesBefore { own, interface }.at(path));
            }
            Fit::No | Fit::Pattern => {}
            Fit::Exact => {
                is_exact = true;
                comes_first |= comes_before;
            }
        }
    }
    if !is_exact {
        return Ok(());
    }
    match (network.comes_back, comes_first) {
        (false, _) => cx.remove(path),
        (true, true) => {
            let mask = join(&ETC, network.name())?;
            cx.link(&mask, "/dev/null");
        }
        // A file that comes after the agent's own is never looked at.
        (true, false) => {}
    }
    Ok(())
}

/// Returns the sections and entries of a file, for comparison.
fn meaning(content: &Ini) -> Vec<(&str, Vec<(&str, &str)>)> {
    let sections = content
        .sections()
        .filter(|section| !section.name().is_empty());
    sections
        .map(|section| (section.name(), section.entries().collect()))
        .collect()
}

fn network(interface: &Interface, old: &Ini, version: Option<u32>, guest: &Guest<'_>) -> String {
    let Interface { name, mac, .. } = interface;
    let mut text = format!("{HEADER}{}", label_comment(interface));
    let mut line = |line: &str| text.push_str(&format!("{line}\n"));
    line("[Match]");
    if guest.address_unchanged(interface) {
        line(&format!("MACAddress={mac}"));
    } else {
        line(&format!("Name={name}"));
    }
    // A VLAN or a bridge has the address of what it is built on.
    line("Type=ether");
    let link = kept("Link", old);
    if !link.is_empty() {
        line("[Link]");
        link.iter().for_each(|kept| line(kept));
    }
    line("[Network]");
    line("DHCP=no");
    line("IPv6AcceptRA=no");
    line("LinkLocalAddressing=ipv6");
    interface
        .addresses()
        .for_each(|own| line(&format!("Address={own}")));
    let present: Vec<IpAddr> = words(old, "Network", "DNS")
        .iter()
        .filter_map(|address| address.parse().ok())
        .collect();
    for nameserver in stable_order(&interface.nameservers, &present) {
        line(&format!("DNS={nameserver}"));
    }
    kept("Network", old).iter().for_each(|kept| line(kept));

    let defaults = [interface.v4.gateway, interface.v6.gateway]
        .into_iter()
        .flatten();
    let defaults = defaults.map(|gateway| (None, Some(gateway)));
    let others = interface
        .routes
        .iter()
        .map(|route| (Some(route.destination), route.via));
    for (destination, via) in defaults.chain(others) {
        line("[Route]");
        if let Some(destination) = destination {
            line(&format!("Destination={destination}"));
        }
        match via {
            Some(gateway) => {
                line(&format!("Gateway={}", gateway.address));
                if systemd::must_be_onlink(gateway, interface) {
                    line(&format!("{}=yes", gateway_on_link(version)));
                }
            }
            None => line("Scope=link"),
        }
    }
    text
}

/// The lines to keep of a section. A drop-in may repeat what the file says.
fn kept(section: &str, old: &Ini) -> Vec<String> {
    let mut lines = Vec::new();
    for (_, key) in KEPT.iter().filter(|(of, _)| *of == section) {
        let mut values: Vec<&str> = Vec::new();
        // A backslash at the end would join the next line.
        let is_usable =
            |value: &&str| !value.chars().any(char::is_control) && !value.ends_with('\\');
        for value in old.all(section, key).filter(is_usable) {
            match value {
                // An empty value resets the list.
                "" => values.clear(),
                value if values.contains(&value) => {}
                value => values.push(value),
            }
        }
        lines.extend(values.iter().map(|value| format!("{key}={value}")));
    }
    lines
}

/// The setting got its present name in a version of about that number; later ones know both.
const fn gateway_on_link(version: Option<u32>) -> &'static str {
    match version {
        Some(..247) => "GatewayOnlink",
        Some(_) | None => "GatewayOnLink",
    }
}

fn programs(interfaces: &[&Interface], version: Option<u32>) -> BatchPrograms {
    let mut programs = BatchPrograms::default();
    if systemd::reconfigures(version) {
        programs.run(reload());
        programs.run(reconfigure(interfaces));
        programs.restore(reload());
        programs.restore(reconfigure(interfaces));
        return programs;
    }
    // It keeps addresses that are no longer in the files.
    for interface in interfaces {
        programs.try_run(flush(&interface.name));
        programs.restore(flush(&interface.name));
    }
    programs.run(restart());
    programs.restore(restart());
    programs
}

fn reload() -> Program {
    Program::new(["networkctl", "reload"], RELOAD_MAX)
}

fn reconfigure(interfaces: &[&Interface]) -> Program {
    let names = interfaces.iter().map(|interface| interface.name.as_str());
    let argv = ["networkctl", "reconfigure"].into_iter().chain(names);
    Program::new(argv, RECONFIGURE_MAX)
}

fn restart() -> Program {
    let argv = ["systemctl", "restart", "systemd-networkd.service"];
    Program::new(argv, RESTART_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_cannot_take_in_the_next_line() {
        let old =
            Ini::parse("[Network]\nNTP=a\nDomains=x\r\nDomains=b\\\r\n[Link]\nMTUBytes=1400\\");
        assert_eq!(kept("Network", &old), ["Domains=x", "NTP=a"]);
        assert_eq!(kept("Link", &old), Vec::<String>::new());
    }
}

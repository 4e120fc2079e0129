//! SUSE: `ifcfg-IF` and `ifroute-IF` in `/etc/sysconfig/network`, read by wicked and by the scripts
//! before it.
//!
//! The scripts are a shell that reads these files as root, so every generated line is made of
//! parsed values, and of the old file only lines are kept that assign a plain word. An interface is
//! known by the name of its file.

mod netconfig;
mod routes;
mod stale;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::assignments::Assignments;
use super::context::Context;
use super::error::Refusal;
use super::guest::Guest;
use super::renderer::{Renderer, Stack};
use super::restart::{
    Activation, BatchPrograms, InterfacePrograms, affected, batch, batch_at_start, flush,
    per_interface,
};
use super::routes::{Hop, in_order};
use super::shell_line::kept_lines;
use super::systemd;
use super::text::{HEADER, label_comment};
use crate::effect::{GuestPath, Program};
use crate::network::{Interface, InterfaceName, NetworkConfig};

const DIRECTORY: GuestPath = GuestPath::constant("/etc/sysconfig/network");

/// `ifup` and `ifdown` find the configuration by the name of the interface; there is no way to
/// force them.
const PROGRAMS: InterfacePrograms = InterfacePrograms {
    up: &["ifup"],
    down: &["ifdown"],
    force_down: &["ifdown"],
};

/// wicked waits for the kernel to find out that nobody else has an address.
const WICKED_MAX: Duration = Duration::from_secs(25);

/// The shell scripts of SUSE Linux Enterprise 11 and before.
pub(super) static SCRIPTS: Stack = Stack::new("ifup scripts of SUSE", &Suse::Scripts);

/// The service of SUSE Linux Enterprise 12 and 15.
pub(super) static WICKED: Stack = Stack::new("wicked", &Suse::Wicked);

/// What reads the files.
#[derive(Debug)]
enum Suse {
    Scripts,
    Wicked,
}

impl Renderer for Suse {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        let (config, guest) = (cx.config, cx.guest);
        // `wicked` reaches its service over the bus, which is not there yet at boot either.
        let starts_later = matches!(self, Self::Wicked) && systemd::starts_later("wickedd", guest);
        let names_changed = netconfig::update(&config.nameservers(), cx)?;
        let mut changed = BTreeSet::new();
        let stale = stale::find(config, guest);
        for interface in &config.interfaces {
            let name = &interface.name;
            let mut differs = stale.iter().any(|(_, owner)| owner == name);
            if let Some(path) = path("ifcfg", name) {
                let old = cx.text(&path)?.unwrap_or_default();
                let new = ifcfg(interface, &old, cx);
                differs |= settings(&old) != settings(&new);
                cx.write(&path, &new)?;
            }
            if let Some(path) = path("ifroute", name) {
                let old = cx.text(&path)?.unwrap_or_default();
                let new = ifroute(interface);
                differs |= routes::lines(&old) != routes::lines(&new);
                if new.is_empty() {
                    cx.remove(&path);
                } else {
                    cx.write(&path, &new)?;
                }
            }
            if differs {
                changed.insert(name.clone());
            }
        }
        for (path, _) in stale {
            cx.remove(&path);
        }
        if routes::take_out(cx)? {
            changed.extend(config.names().cloned());
        }
        let mut activation = match self {
            Self::Scripts => per_interface(config, &changed, PROGRAMS, guest),
            Self::Wicked if starts_later => later(config, &changed, guest),
            Self::Wicked => wicked(config, &changed, guest),
        };
        if names_changed {
            netconfig::run(&mut activation);
        }
        Ok(activation)
    }
}

/// wicked finds the changes itself, and takes care of devices built on the interfaces. It does
/// nothing for an interface whose configuration is unchanged but whose addresses are gone: that one
/// is restarted.
fn wicked(
    config: &NetworkConfig,
    changed: &BTreeSet<InterfaceName>,
    guest: &Guest<'_>,
) -> Activation {
    let interfaces = affected(config, changed, guest);
    let (reloaded, restarted): (Vec<&InterfaceName>, Vec<&InterfaceName>) = interfaces
        .iter()
        .map(|interface| &interface.name)
        .partition(|name| changed.contains(*name));
    let mut programs = BatchPrograms::default();
    if !restarted.is_empty() {
        programs.try_run(run_wicked("ifdown", &restarted));
        for name in &restarted {
            programs.try_run(flush(name));
        }
        programs.run(run_wicked("ifup", &restarted));
    }
    if !reloaded.is_empty() {
        programs.run(run_wicked("ifreload", &reloaded));
        programs.restore(run_wicked("ifreload", &reloaded));
    }
    if !restarted.is_empty() {
        programs.restore(run_wicked("ifup", &restarted));
    }
    batch(&interfaces, programs, guest)
}

fn run_wicked(action: &str, names: &[&InterfaceName]) -> Program {
    let names = names.iter().map(|name| name.as_str());
    Program::new(["wicked", action].into_iter().chain(names), WICKED_MAX)
}

/// At boot, the service finds the files when it starts, which waits for the agent.
fn later(
    config: &NetworkConfig,
    changed: &BTreeSet<InterfaceName>,
    guest: &Guest<'_>,
) -> Activation {
    let mut programs = BatchPrograms::default();
    programs.try_run(systemd::start_later("wicked"));
    batch_at_start(&affected(config, changed, guest), programs, guest)
}

/// Returns the path of the file with this prefix for an interface.
fn path(prefix: &str, name: &InterfaceName) -> Option<GuestPath> {
    DIRECTORY.join(&format!("{prefix}-{name}")).ok()
}

/// Returns the settings of a file, without empty values.
fn settings(text: &str) -> BTreeMap<String, String> {
    let file = Assignments::parse(text);
    let values = file
        .keys()
        .filter_map(|key| Some((key.to_string(), file.get(key)?)));
    values.filter(|(_, value)| !value.is_empty()).collect()
}

fn ifcfg(interface: &Interface, old: &str, cx: &mut Context<'_>) -> String {
    let mut text = format!("{HEADER}{}", label_comment(interface));
    text.push_str("BOOTPROTO='static'\nSTARTMODE='auto'\n");
    for (nth, address) in interface.addresses().enumerate() {
        // What follows the name of the variable may be anything, for either family.
        let suffix = if nth == 0 {
            String::new()
        } else {
            format!("_{nth}")
        };
        text.push_str(&format!("IPADDR{suffix}='{address}'\n"));
    }
    text.push_str(&kept_lines(old.lines(), is_ours, &interface.name, cx));
    text
}

/// Returns whether the agent sets or removes a key.
fn is_ours(key: &str) -> bool {
    const PREFIXES: [&str; 16] = [
        "BONDING_",
        "BOOTPROTO",
        "BRIDGE",
        "BROADCAST",
        "DHCLIENT",
        "ETHERDEVICE",
        "IPADDR",
        "IP_OPTIONS",
        "LABEL",
        "NETMASK",
        "NETWORK",
        "PREFIXLEN",
        "REMOTE_IPADDR",
        "SCOPE",
        "STARTMODE",
        "TUNNEL",
    ];

    PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

/// Lines of destination, gateway, netmask and interface; nothing without routes. A gateway outside
/// all networks gets a route of its own first.
fn ifroute(interface: &Interface) -> String {
    let name = &interface.name;
    let defaults = [interface.v4.gateway, interface.v6.gateway]
        .into_iter()
        .flatten();
    let line = |Hop { destination, via }: &Hop| {
        // The gateway tells the family of a default route.
        let destination =
            destination.map_or_else(|| "default".to_string(), |network| network.to_string());
        let via = via.map_or_else(|| "-".to_string(), |gateway| gateway.to_string());
        format!("{destination} {via} - {name}\n")
    };
    let lines: String = in_order(defaults, &interface.routes)
        .iter()
        .map(line)
        .collect();
    if lines.is_empty() {
        lines
    } else {
        format!("{HEADER}{lines}")
    }
}

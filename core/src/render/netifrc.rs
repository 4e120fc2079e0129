//! Gentoo's netifrc: `/etc/conf.d/net` and a service `net.IF` for each interface.
//!
//! OpenRC reads the file with any shell: one entry per line of a value. Baselayout 1, before it,
//! uses arrays of bash; neither understands the other form.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::assignments::Assignments;
use super::context::Context;
use super::error::{Refusal, join};
use super::guest::Guest;
use super::renderer::{Renderer, Stack};
use super::resolv;
use super::restart::{Activation, BatchPrograms, affected, batch, flush};
use super::routes::{Hop, in_order};
use super::shell_line::variable;
use super::text::label_comment;
use super::text::stable_order;
use crate::effect::{GuestPath, Program};
use crate::network::{Cidr, Interface, InterfaceName, NetworkConfig};

const CONF_D: GuestPath = GuestPath::constant("/etc/conf.d");
const INIT_D: GuestPath = GuestPath::constant("/etc/init.d");
const BOOT: GuestPath = GuestPath::constant("/etc/runlevels/boot");
const DEFAULT: GuestPath = GuestPath::constant("/etc/runlevels/default");

/// The kernel looks for another owner of each address, and services that need the network start
/// again.
const RESTART_MAX: Duration = Duration::from_secs(25);

/// The variables of an interface that the agent decides about: the part in front of its name.
const KINDS: [&str; 12] = [
    "alias",
    "broadcast",
    "config",
    "dns_servers",
    "fallback",
    "fallback_config",
    "fallback_route",
    "fallback_routes",
    "iface",
    "ifconfig",
    "netmask",
    "routes",
];

/// The stack of Gentoo with OpenRC.
pub(super) static STACK: Stack = Stack::new("netifrc", &Netifrc);

#[derive(Debug)]
struct Netifrc;

impl Renderer for Netifrc {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        render(Form::Lines, cx)
    }
}

/// The stack of Gentoo with baselayout 1.
pub(super) static STACK_WITH_ARRAYS: Stack = Stack::new("netifrc of baselayout 1", &NetifrcArrays);

#[derive(Debug)]
struct NetifrcArrays;

impl Renderer for NetifrcArrays {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        render(Form::Lists, cx)
    }
}

/// How several entries are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Lines,
    Lists,
}

fn render(form: Form, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
    // Each start of an interface writes the file too, but only with what that interface brings
    // along.
    resolv::update(&cx.config.nameservers(), cx)?;

    let managed = Managed::new(cx.config);
    let main = join(&CONF_D, "net")?;
    let text = cx.text(&main)?.unwrap_or_default();
    let mut file = Assignments::for_editing(&main, &text)?;
    let mut before = file.meaning(|key| managed.contains(key));
    // OpenRC reads the file of a service after that of all of them.
    let mut own = Vec::new();
    for name in cx.config.names() {
        let path = join(&CONF_D, &format!("net.{name}"))?;
        if let Some(text) = cx.text(&path)? {
            let file = Assignments::for_editing(&path, &text)?;
            before.extend(file.meaning(|key| managed.contains(key)));
            own.push((path, file));
        }
    }

    let block = block(form, &managed, &file, cx.config);
    file.replace(|key| managed.contains(key), &block);
    cx.write(&main, &file.text())?;
    let after = file.meaning(|key| managed.contains(key));
    for (path, mut file) in own {
        if file.remove_all(|key| managed.contains(key)).is_some() {
            cx.write(&path, &file.text())?;
        }
    }

    let mut changed = BTreeSet::new();
    for (name, variable) in cx.config.names().zip(&managed.variables) {
        let differs = before
            .keys()
            .chain(after.keys())
            .filter(|key| is_of(key, variable) || managed.is_global(key))
            .any(|key| before.get(key) != after.get(key));
        if add_service(name, cx)? | differs {
            changed.insert(name.clone());
        }
    }
    let affected = affected(cx.config, &changed, cx.guest);
    let programs = restart(&affected, cx.guest)?;
    Ok(batch(&affected, programs, cx.guest))
}

/// The variables that the agent decides about.
struct Managed {
    /// The name of each interface as it occurs in the names of variables.
    variables: Vec<String>,
    has_nameservers: bool,
}

impl Managed {
    fn new(config: &NetworkConfig) -> Self {
        Self {
            variables: config.names().map(variable).collect(),
            has_nameservers: !config.nameservers().is_empty(),
        }
    }

    fn contains(&self, key: &str) -> bool {
        self.is_global(key) || self.variables.iter().any(|variable| is_of(key, variable))
    }

    /// Whether a variable stands for the servers of interfaces that have none of their own.
    fn is_global(&self, key: &str) -> bool {
        key == "dns_servers" && self.has_nameservers
    }
}

/// The lines for all interfaces.
fn block(form: Form, managed: &Managed, old: &Assignments, config: &NetworkConfig) -> String {
    let all_nameservers = config.nameservers();
    let mut block = String::new();
    for (interface, variable) in config.interfaces.iter().zip(&managed.variables) {
        // A start replaces the servers that another interface brought along.
        let wanted: &[IpAddr] = if interface.nameservers.is_empty() {
            &[]
        } else {
            &all_nameservers
        };
        let present: Vec<IpAddr> = old
            .words(&format!("dns_servers_{variable}"))
            .iter()
            .filter_map(|address| address.parse().ok())
            .collect();
        let nameservers = stable_order(wanted, &present);
        block.push_str(&variables_of(form, interface, variable, &nameservers));
    }
    block
}

fn restart(interfaces: &[&Interface], guest: &Guest<'_>) -> Result<BatchPrograms, Refusal> {
    let mut programs = BatchPrograms::default();
    for Interface { name, .. } in interfaces {
        let path = join(&INIT_D, &format!("net.{name}"))?;
        // What was configured without the service is not known to it.
        programs.try_run(flush(name));
        programs.run(Program::new([path.as_str(), "restart"], RESTART_MAX));
        programs.restore(flush(name));
        if guest.exists(&path) {
            programs.restore(Program::new([path.as_str(), "restart"], RESTART_MAX));
        }
    }
    Ok(programs)
}

/// Returns whether the agent decides about a variable of an interface.
fn is_of(key: &str, variable: &str) -> bool {
    let kind = key
        .strip_suffix(variable)
        .and_then(|rest| rest.strip_suffix('_'));
    kind.is_some_and(|kind| KINDS.contains(&kind) || kind.starts_with("dhc"))
}

/// Makes an interface a service that starts at boot; returns whether the service was newly created.
fn add_service(name: &InterfaceName, cx: &mut Context<'_>) -> Result<bool, Refusal> {
    let service = format!("net.{name}");
    let script = join(&INIT_D, &service)?;
    let missing = !cx.guest.exists(&script);
    if missing {
        cx.link(&script, "net.lo");
    }
    // What `rc-update add` does; but this way it is undone with the rest.
    let (boot, default) = (join(&BOOT, &service)?, join(&DEFAULT, &service)?);
    if !cx.guest.exists_any(&[boot, default.clone()]) {
        cx.link(&default, script.as_str());
    }
    Ok(missing)
}

fn variables_of(
    form: Form,
    interface: &Interface,
    variable: &str,
    nameservers: &[IpAddr],
) -> String {
    let mut text = label_comment(interface);
    let mut set = |kind: &str, entries: &[String], separator: &str| match form {
        _ if entries.is_empty() => {}
        Form::Lines => text.push_str(&format!(
            "{kind}_{variable}=\"{}\"\n",
            entries.join(separator)
        )),
        Form::Lists => text.push_str(&format!(
            "{kind}_{variable}=( \"{}\" )\n",
            entries.join("\" \"")
        )),
    };
    let addresses: Vec<String> = interface
        .addresses()
        .map(|own| address(form, own))
        .collect();
    let servers: Vec<String> = nameservers.iter().map(ToString::to_string).collect();
    set("config", &addresses, "\n");
    set("routes", &routes(form, interface), "\n");
    set("dns_servers", &servers, " ");
    text
}

fn address(form: Form, own: Cidr) -> String {
    match (form, own.address()) {
        (Form::Lists, IpAddr::V4(address)) => format!("{address} netmask {}", own.netmask()),
        (Form::Lines | Form::Lists, _) => own.to_string(),
    }
}

/// The routes of both families; netifrc adds the interface to each.
fn routes(form: Form, interface: &Interface) -> Vec<String> {
    let defaults = [interface.v4.gateway, interface.v6.gateway]
        .into_iter()
        .flatten();
    let line = |hop: &Hop| match (form, *hop) {
        (
            Form::Lists,
            Hop {
                destination: Some(network),
                via: Some(via),
            },
        ) if network.address().is_ipv4() => {
            format!(
                "{} netmask {} gw {via}",
                network.address(),
                network.netmask()
            )
        }
        // Without a prefix length: `route -host`, which is used if `ip` is not installed, refuses
        // one.
        (
            _,
            Hop {
                destination: Some(network),
                via,
            },
        ) if Cidr::host(network.address()) == network => via.map_or_else(
            || network.address().to_string(),
            |via| format!("{} via {via}", network.address()),
        ),
        (_, hop) => hop.to_string(),
    };
    in_order(defaults, &interface.routes)
        .iter()
        .map(line)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_belong_to_the_interface_at_their_end() {
        for ours in [
            "config_eth0",
            "routes_eth0",
            "dhcpcd_eth0",
            "dhcp_eth0",
            "fallback_routes_eth0",
        ] {
            assert!(is_of(ours, "eth0"), "{ours}");
        }
        for other in [
            "config_eth00",
            "config_xeth0",
            "config_br_eth0",
            "mtu_eth0",
            "modules_eth0",
            "dns_search_eth0",
            "eth0",
        ] {
            assert!(!is_of(other, "eth0"), "{other}");
        }
    }
}

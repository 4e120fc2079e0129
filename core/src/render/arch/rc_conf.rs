//! rc.conf: arguments of ifconfig(8) and route(8) in variables that two lists name.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::{
    NETWORK, NETWORK_SCRIPT, RC_CONF, entry_name, is_plain_word, list, start_instead, starts,
};
use crate::effect::Program;
use crate::network::{Cidr, Interface, NetworkConfig};
use crate::render::assignments::Assignments;
use crate::render::context::Context;
use crate::render::error::{Refusal, Unclear};
use crate::render::guest::Guest;
use crate::render::renderer::{Renderer, Stack};
use crate::render::resolv;
use crate::render::restart::{Activation, BatchPrograms, affected, batch, flush};
use crate::render::routes::{Hop, in_order};
use crate::render::shell_line::variable;
use crate::render::text::label_comment;

/// The list of the names of variables with arguments of ifconfig(8).
const INTERFACES: &str = "INTERFACES";

/// The same for route(8).
const ROUTES: &str = "ROUTES";

/// Later versions describe a single interface with these variables.
const SINGLE: [&str; 5] = ["address", "broadcast", "gateway", "interface", "netmask"];

const STOP_MAX: Duration = Duration::from_secs(5);
const START_MAX: Duration = Duration::from_secs(20);

/// The stack of Arch Linux up to 2012.
pub(in crate::render) static STACK: Stack = Stack::new("rc.conf of Arch Linux", &RcConf);

#[derive(Debug)]
struct RcConf;

impl Renderer for RcConf {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        let (config, guest) = (cx.config, cx.guest);
        resolv::update(&config.nameservers(), cx)?;

        let text = cx.text(&RC_CONF)?.unwrap_or_default();
        let mut file = Assignments::for_editing(&RC_CONF, &text)?;
        let started = starts(&file, NETWORK);
        let lists = Lists::split(&file, config, guest)?;
        let unwanted = |key: &str| lists.unwanted.contains(key) || owner(key, config).is_some();
        let before = file.meaning(unwanted);

        let block = generated(config, &file, &lists);
        file.replace(unwanted, &block);
        file.comment_out("NETWORKS");
        start_instead(&mut file, NETWORK, NETWORK, "net-profiles");
        cx.write(&RC_CONF, &file.text())?;

        let after = file.meaning(unwanted);
        let mut changed = BTreeSet::new();
        for key in before
            .keys()
            .chain(after.keys())
            .filter(|key| before.get(*key) != after.get(*key))
        {
            match owner(key, config) {
                Some(owner) => drop(changed.insert(owner.name.clone())),
                None => changed.extend(config.names().cloned()),
            }
        }
        if !started {
            changed.extend(config.names().cloned());
        }

        let affected = affected(config, &changed, guest);
        let mut programs = BatchPrograms::default();
        // It must read the old file, to end the right DHCP clients.
        programs.run_before(Program::new([NETWORK_SCRIPT, "stop"], STOP_MAX));
        for interface in &affected {
            programs.try_run(flush(&interface.name));
        }
        programs.run(Program::new([NETWORK_SCRIPT, "start"], START_MAX));
        // A start alone does nothing if the new network has been started.
        programs.restore(Program::new([NETWORK_SCRIPT, "restart"], START_MAX));
        Ok(batch(&affected, programs, guest))
    }
}

/// The new content of the lists.
#[derive(Debug)]
struct Lists {
    interfaces: Vec<String>,
    routes: Vec<String>,
    /// The lists themselves, and the variables that are removed from them.
    unwanted: BTreeSet<String>,
}

impl Lists {
    fn split(
        file: &Assignments,
        config: &NetworkConfig,
        guest: &Guest<'_>,
    ) -> Result<Self, Refusal> {
        let managed = |name: &str| config.interface(name).is_some();
        // An interface that stays as it is may need the routes that are there.
        let others = guest.has_others(config);

        let mut unwanted: BTreeSet<String> = [INTERFACES, ROUTES].map(ToString::to_string).into();
        let mut split = |list: &'static str, goes: &dyn Fn(&str, &str) -> bool| {
            let entries = file.words(list);
            if !file.is_literal(list) || !entries.iter().all(|name| is_plain_word(name)) {
                return Err(Unclear::NoPlainNames { list }.at(&RC_CONF));
            }
            let (gone, kept): (Vec<String>, Vec<String>) = entries.into_iter().partition(|entry| {
                let name = entry_name(entry);
                goes(name, &file.get(name).unwrap_or_default())
            });
            unwanted.extend(gone.iter().map(|entry| entry_name(entry).to_string()));
            Ok(kept)
        };
        let interfaces = split(INTERFACES, &|name, value| {
            let of = value.split([' ', '\t', ':']).next().unwrap_or_default();
            owner(name, config).is_some() || managed(of)
        })?;
        let routes = split(ROUTES, &|name, value| {
            let default = value.split_ascii_whitespace().any(|word| word == "default");
            !others
                || owner(name, config).is_some()
                || (default && config.has_gateway(value.contains("inet6")))
        })?;
        if file.get("interface").is_some_and(|name| managed(&name)) {
            unwanted.extend(
                SINGLE
                    .iter()
                    .filter(|key| !routes.iter().any(|name| name == *key))
                    .map(ToString::to_string),
            );
        }
        Ok(Self {
            interfaces,
            routes,
            unwanted,
        })
    }
}

/// The interface for which the agent made a variable.
fn owner<'c>(key: &str, config: &'c NetworkConfig) -> Option<&'c Interface> {
    config.interfaces.iter().find(|interface| {
        let number = key.strip_prefix(&*variable(&interface.name)).map(|rest| {
            rest.strip_prefix("_route")
                .or_else(|| rest.strip_prefix('_'))
                .map(|number| (number, rest))
                .unwrap_or(("", rest))
        });
        number.is_some_and(|(number, rest)| {
            rest.is_empty()
                || (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        })
    })
}

/// The lists and the variables that are new in them.
fn generated(config: &NetworkConfig, old: &Assignments, lists: &Lists) -> String {
    let mut text = String::new();
    let (mut interfaces, mut all_routes) = (lists.interfaces.clone(), lists.routes.clone());
    for interface in &config.interfaces {
        let variable = variable(&interface.name);
        text.push_str(&label_comment(interface));
        let mut set = |name: &str, value: &str| text.push_str(&format!("{name}=\"{value}\"\n"));
        let mtu = old
            .get(&variable)
            .and_then(|old| mtu(&old))
            .map(|mtu| format!(" mtu {mtu}"))
            .unwrap_or_default();
        for (nth, arguments) in ifconfig(interface).into_iter().enumerate() {
            let name = if nth == 0 {
                variable.clone()
            } else {
                format!("{variable}_{nth}")
            };
            set(
                &name,
                &if nth == 0 {
                    format!("{arguments}{mtu}")
                } else {
                    arguments
                },
            );
            interfaces.push(name);
        }
        for (nth, arguments) in routes(interface).into_iter().enumerate() {
            let name = format!("{variable}_route{nth}");
            set(&name, &arguments);
            all_routes.push(name);
        }
    }
    text.push_str(&format!("{INTERFACES}={}\n", list(&interfaces)));
    if !all_routes.is_empty() {
        text.push_str(&format!("{ROUTES}={}\n", list(&all_routes)));
    }
    text
}

fn mtu(old: &str) -> Option<u16> {
    old.split_ascii_whitespace()
        .skip_while(|word| *word != "mtu")
        .nth(1)?
        .parse()
        .ok()
}

/// Returns arguments of ifconfig(8), one entry per address. Every further IPv4 address has a label
/// of its own there.
fn ifconfig(interface: &Interface) -> Vec<String> {
    let name = &interface.name;
    let v4 = interface.v4.addresses.iter().enumerate().map(|(nth, own)| {
        let label = if nth == 0 {
            String::new()
        } else {
            format!(":{nth}")
        };
        format!("{name}{label} {} netmask {}", own.address(), own.netmask())
    });
    // Only an IPv4 address brings the interface up by itself.
    let up = |nth| {
        if nth == 0 && interface.v4.addresses.is_empty() {
            " up"
        } else {
            ""
        }
    };
    let v6 = interface
        .v6
        .addresses
        .iter()
        .enumerate()
        .map(|(nth, own)| format!("{name}{} add {own}", up(nth)));
    v4.chain(v6).collect()
}

/// Returns arguments of `route add`: gateways outside all networks, default routes, others.
fn routes(interface: &Interface) -> Vec<String> {
    let name = &interface.name;
    let defaults = [interface.v4.gateway, interface.v6.gateway]
        .into_iter()
        .flatten();
    let line = |Hop {
                    destination: network,
                    via,
                }: &Hop| {
        let family = if via.is_some_and(|gateway| gateway.is_ipv6()) {
            "-A inet6 "
        } else {
            ""
        };
        let network = network.map_or_else(|| format!("{family}default"), destination);
        let gateway = via
            .map(|gateway| format!(" gw {gateway}"))
            .unwrap_or_default();
        format!("{network}{gateway} dev {name}")
    };
    in_order(defaults, &interface.routes)
        .iter()
        .map(line)
        .collect()
}

fn destination(network: Cidr) -> String {
    match network.address() {
        IpAddr::V4(address) if network.prefix_len() == 32 => format!("-host {address}"),
        IpAddr::V4(address) => format!("-net {address} netmask {}", network.netmask()),
        IpAddr::V6(_) => format!("-A inet6 {network}"),
    }
}

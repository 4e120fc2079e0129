//! netcfg: a profile for each interface in `/etc/network.d`, and the list of those that are in use.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::{
    NETWORK, NETWORK_SCRIPT, RC_CONF, entry_name, is_plain_word, list, start_instead, starts,
};
use crate::effect::{Change, GuestPath, Program};
use crate::network::{Cidr, Family, Gateway, Interface, InterfaceName, NetworkConfig};
use crate::plan::{OnFailure, Step, Undo};
use crate::render::assignments::Assignments;
use crate::render::context::Context;
use crate::render::error::{Refusal, Unclear, join};
use crate::render::renderer::{Renderer, Stack};
use crate::render::resolv;
use crate::render::restart::{Activation, InterfacePrograms, per_interface};
use crate::render::routes::in_order;
use crate::render::text::label_comment;
use crate::render::text::stable_order;

const PROFILES: GuestPath = GuestPath::constant("/etc/network.d");

/// Later versions prefer this file over rc.conf.
const SETTINGS: GuestPath = GuestPath::constant("/etc/conf.d/netcfg");

/// The profiles in use.
const NETWORKS: &str = "NETWORKS";

/// netcfg cannot force an interface down; removing its addresses helps.
const PROGRAMS: InterfacePrograms = InterfacePrograms {
    up: &["netcfg", "-u"],
    down: &["netcfg", "-d"],
    force_down: &["netcfg", "-d"],
};

const STOP_MAX: Duration = Duration::from_secs(5);
const START_MAX: Duration = Duration::from_secs(20);

/// The stack of Arch Linux in 2012, and an option before.
pub(in crate::render) static STACK: Stack = Stack::new("netcfg", &Netcfg);

#[derive(Debug)]
struct Netcfg;

impl Renderer for Netcfg {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        // Each profile writes the file when it comes up, but only with its own servers.
        resolv::update(&cx.config.nameservers(), cx)?;

        let Profiles { mut changed, new } = write_profiles(cx)?;
        let other_profiles = put_into_use(cx)?;
        changed.extend(other_profiles.iter().map(|(_, name)| name.clone()));
        let service_before = start_at_boot(cx)?;
        if service_before {
            changed.extend(cx.config.names().cloned());
        }

        let mut activation = per_interface(cx.config, &changed, PROGRAMS, cx.guest);
        if activation.before.is_empty() {
            return Ok(activation);
        }
        // A profile that did not exist can neither be taken down nor come back.
        activation.before.retain(|step| !is_about(step, &new));
        for (profile, _) in other_profiles {
            let stop = Program::new(["netcfg", "-d", &profile], START_MAX);
            let start = Program::new(["netcfg", "-u", &profile], START_MAX);
            activation.before.insert(0, down(stop, start));
        }
        if service_before {
            let stop = Program::new([NETWORK_SCRIPT, "stop"], STOP_MAX);
            let start = Program::new([NETWORK_SCRIPT, "start"], START_MAX);
            activation.before.insert(0, down(stop, start));
        }
        Ok(activation)
    }
}

/// Interfaces whose profiles were written.
struct Profiles {
    /// Those whose profiles mean something new.
    changed: BTreeSet<InterfaceName>,
    /// Those that had none.
    new: BTreeSet<InterfaceName>,
}

fn write_profiles(cx: &mut Context<'_>) -> Result<Profiles, Refusal> {
    let (mut changed, mut new) = (BTreeSet::new(), BTreeSet::new());
    for interface in &cx.config.interfaces {
        let path = join(&PROFILES, interface.name.as_str())?;
        let old = cx.text(&path)?;
        let mut file = Assignments::for_editing(&path, old.as_deref().unwrap_or_default())?;
        let before = file.meaning(is_ours);
        let generated = profile(interface, cx.config, &file);
        file.replace(is_ours, &generated);
        cx.write(&path, &file.text())?;
        if file.meaning(is_ours) != before {
            changed.insert(interface.name.clone());
        }
        if old.is_none() {
            new.insert(interface.name.clone());
        }
    }
    Ok(Profiles { changed, new })
}

/// Makes netcfg start at boot instead of the service that reads rc.conf; returns whether that one
/// did.
fn start_at_boot(cx: &mut Context<'_>) -> Result<bool, Refusal> {
    let text = cx.text(&RC_CONF)?.unwrap_or_default();
    let mut file = Assignments::for_editing(&RC_CONF, &text)?;
    let service_before = starts(&file, NETWORK);
    start_instead(&mut file, "net-profiles", "@net-profiles", NETWORK);
    cx.write(&RC_CONF, &file.text())?;
    Ok(service_before)
}

/// Returns whether a step runs a program for one of the interfaces.
fn is_about(step: &Step, interfaces: &BTreeSet<InterfaceName>) -> bool {
    let Some(Change::Run(program)) = step.step() else {
        return false;
    };
    let name = program.argv.last();
    name.is_some_and(|name| {
        interfaces
            .iter()
            .any(|interface| interface.as_str() == name)
    })
}

/// Stops something, which may fail; undone by what starts it.
fn down(stop: Program, start: Program) -> Step {
    let undo = Undo::Steps(alloc::vec![Change::Run(start)]);
    Step {
        on_failure: OnFailure::GoOn,
        undo,
        ..Step::new(Change::Run(stop))
    }
}

/// Lists the agent's profiles as in use instead of others for the same interfaces; returns those
/// others.
fn put_into_use(cx: &mut Context<'_>) -> Result<Vec<(String, InterfaceName)>, Refusal> {
    let mut path = SETTINGS;
    let mut file = Assignments::for_editing(&path, &cx.text(&path)?.unwrap_or_default())?;
    if !file.keys().any(|key| key == NETWORKS) {
        path = RC_CONF;
        file = Assignments::for_editing(&path, &cx.text(&path)?.unwrap_or_default())?;
    }
    let present = file.words(NETWORKS);
    if !file.is_literal(NETWORKS) || !present.iter().all(|name| is_plain_word(name)) {
        return Err(Unclear::NoPlainNames { list: NETWORKS }.at(&path));
    }

    let mut replaced = Vec::new();
    let mut wanted = Vec::new();
    for entry in &present {
        let name = entry_name(entry);
        let old = PROFILES
            .join(name)
            .ok()
            .map(|path| cx.text(&path))
            .transpose()?
            .flatten();
        let of = old
            .and_then(|text| Assignments::parse(&text).get("INTERFACE"))
            .unwrap_or_else(|| name.to_string());
        let own = cx.config.names();
        match own
            .clone()
            .find(|own| own.as_str() == of || own.as_str() == name)
        {
            Some(interface) if interface.as_str() != name => {
                replaced.push((name.to_string(), interface.clone()))
            }
            Some(_) => {}
            None => wanted.push(entry.clone()),
        }
    }
    wanted.extend(
        cx.config
            .interfaces
            .iter()
            .map(|interface| interface.name.to_string()),
    );
    if wanted != present {
        file.set(NETWORKS, &list(&wanted));
        cx.write(&path, &file.text())?;
    }
    Ok(replaced)
}

/// Returns whether the agent sets or removes a key of a profile.
fn is_ours(key: &str) -> bool {
    const KEYS: [&str; 18] = [
        "ADDR",
        "ADDR6",
        "BROADCAST",
        "CONNECTION",
        "DNS",
        "GATEWAY",
        "GATEWAY6",
        // It would rename the server.
        "HOSTNAME",
        "IFOPTS",
        "INTERFACE",
        "IP",
        "IP6",
        "IPCFG",
        "NETMASK",
        "POST_UP",
        "PRE_DOWN",
        "ROUTES",
        "ROUTES6",
    ];
    KEYS.contains(&key)
}

/// Returns the profile of an interface. It has room for one address per family; commands add the
/// others when it is up.
fn profile(interface: &Interface, config: &NetworkConfig, old: &Assignments) -> String {
    let name = &interface.name;
    let mut text = label_comment(interface);
    let mut line = |key: &str, value: &str| text.push_str(&format!("{key}=\"{value}\"\n"));
    line("CONNECTION", "ethernet");
    line("INTERFACE", name.as_str());
    if let Some(first) = interface.v4.addresses.first() {
        line("IP", "static");
        line("ADDR", &first.address().to_string());
        line("NETMASK", &first.netmask().to_string());
        if let Some(gateway) = early_gateway(&interface.v4) {
            line("GATEWAY", &gateway.to_string());
        }
    }
    if let Some(first) = interface.v6.addresses.first() {
        line("IP6", "static");
        line("ADDR6", &first.to_string());
        if let Some(gateway) = early_gateway(&interface.v6) {
            line("GATEWAY6", &gateway.to_string());
        }
    }
    let later = later(interface);
    if !later.is_empty() {
        // If one fails, the interface goes down again and `netcfg` fails.
        line("POST_UP", &later.join(" && "));
    }
    let mut list = |key: &str, words: &[String]| {
        if !words.is_empty() {
            text.push_str(&format!("{key}=(\"{}\")\n", words.join("\" \"")));
        }
    };
    let early = interface
        .routes
        .iter()
        .filter(|route| is_early(route.destination, route.via, &interface.v4));
    let routes = early.map(|route| match route.via {
        Some(via) => format!("{} via {}", route.destination, via.address),
        None => route.destination.to_string(),
    });
    list("ROUTES", &routes.collect::<Vec<String>>());
    // A profile replaces the servers that another one brought along.
    let all = if interface.nameservers.is_empty() {
        Vec::new()
    } else {
        config.nameservers()
    };
    let present: Vec<IpAddr> = old
        .words("DNS")
        .iter()
        .filter_map(|address| address.parse().ok())
        .collect();
    let nameservers = stable_order(&all, &present);
    list(
        "DNS",
        &nameservers
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<String>>(),
    );
    text
}

/// Returns the gateway, if it can be reached through the first address.
fn early_gateway(family: &Family) -> Option<IpAddr> {
    let address = family.gateway?.address;
    let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let first = family.addresses.first()?;
    (link_local || first.contains(address)).then_some(address)
}

/// Returns whether a route can be set while the interface has only its first addresses. Older
/// versions know no IPv6 routes.
fn is_early(destination: Cidr, via: Option<Gateway>, v4: &Family) -> bool {
    let Some(first) = v4.addresses.first() else {
        return false;
    };
    destination.address().is_ipv4() && via.is_none_or(|via| first.contains(via.address))
}

/// Returns commands for the other addresses, and for gateways and routes that need them. They may
/// be repeated.
fn later(interface: &Interface) -> Vec<String> {
    let name = &interface.name;
    let ip = |address: IpAddr| if address.is_ipv4() { "ip" } else { "ip -6" };
    let families = [&interface.v4, &interface.v6];
    let mut commands: Vec<String> = Vec::new();
    for own in families
        .into_iter()
        .flat_map(|family| family.addresses.iter().skip(1))
    {
        commands.push(format!(
            "{} addr replace {own} dev {name}",
            ip(own.address())
        ));
    }
    let defaults = families
        .into_iter()
        .filter(|family| early_gateway(family).is_none())
        .filter_map(|family| family.gateway);
    let routes = interface
        .routes
        .iter()
        .filter(|route| !is_early(route.destination, route.via, &interface.v4));
    for hop in in_order(defaults, routes) {
        let family = hop.destination.map(|network| network.address()).or(hop.via);
        commands.push(format!(
            "{} route replace {hop} dev {name}",
            family.map_or("ip", ip)
        ));
    }
    commands
}

//! netplan: one file for all interfaces, and no other file that says anything about them.
//!
//! netplan takes what all files say about an id together, lists are joined. Two ids for one interface compete, and what
//! decides is the backend. So whatever else is said about the interfaces of the host is taken out: a file that is about
//! nothing else is moved away, others lose the lines about them.

mod definitions;
mod edit;
mod kept;
mod sources;
mod yaml;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use self::definitions::{Definitions, ETHERNETS};
use self::edit::{Fate, Rest, rest, spelled, take_out};
use self::kept::{Kept, NETWORK_MANAGER, NETWORKD};
use self::sources::{OWN_PATH, Source, Sources, load, network};
use self::yaml::{Entry, Node, parse};
use super::context::Context;
use super::error::{Refusal, Unclear};
use super::files::Importance;
use super::guest::Guest;
use super::network_manager;
use super::renderer::{Renderer, Stack};
use super::restart::{Activation, Script, affected, flush, together};
use super::systemd;
use super::text::{HEADER, LABEL, label_comment, stable_order};
use crate::effect::Program;
use crate::network::{Interface, InterfaceName, NetworkConfig};
use crate::ordered::CollectOrdered;

/// It reads a few files and writes a few, but since its version 1.0 it also has systemd read all of its units again, which
/// runs every generator.
const GENERATE_MAX: Duration = Duration::from_secs(10);

/// It restarts the backend, and asks udev about every interface before that.
const APPLY_MAX: Duration = Duration::from_secs(20);

/// The same, when there is less time.
const RESTORE_MAX: Duration = Duration::from_secs(15);

/// The stack of Ubuntu since 18.04 and of Debian's cloud images since 12.
pub(super) static STACK: Stack = Stack::new("netplan", &Netplan);

#[derive(Debug)]
struct Netplan;

impl Renderer for Netplan {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        let (config, guest) = (cx.config, cx.guest);
        let version = systemd::version(guest);
        let resolved = systemd::resolved_is_enabled(guest);
        let starts_later = |service| systemd::starts_later(service, guest);
        let later = [
            (NETWORKD, starts_later("systemd-networkd")),
            (NETWORK_MANAGER, starts_later("NetworkManager")),
        ];

        let sources = load(guest)?;
        let definitions = Definitions::gather(&sources, config, guest)?;
        clear(&sources, &definitions, cx)?;

        let mut text = format!("{HEADER}network:\n  version: 2\n  {ETHERNETS}:\n");
        let mut all_kept = Vec::new();
        for interface in &config.interfaces {
            all_kept.push(Kept::of(&interface.name, &definitions)?);
        }
        let backend = |kept: &Kept<'_>| kept.renderer.or(definitions.renderer).unwrap_or(NETWORKD);
        let backends: BTreeSet<&str> = all_kept.iter().map(backend).collect_ordered();
        let nameservers = if backends.iter().all(|backend| *backend == NETWORKD) {
            config
                .interfaces
                .iter()
                .map(|interface| interface.nameservers.clone())
                .collect()
        } else {
            // It refuses a whole profile for servers of a family without addresses.
            network_manager::nameservers(cx)
        };
        for ((interface, kept), nameservers) in
            config.interfaces.iter().zip(&all_kept).zip(&nameservers)
        {
            let id = id(&interface.name, kept, &definitions, backend(kept))?;
            let nameservers = stable_order(nameservers, &kept.nameservers);
            text.push_str(&section(interface, &nameservers, &id, kept, guest));
        }
        text.push_str(&unmanaged(&sources, &definitions)?);
        cx.write_private(&OWN_PATH, &text)?;
        // NetworkManager writes the file itself.
        if backends.contains(NETWORKD) {
            systemd::update_resolv_conf(&config.nameservers(), resolved, cx)?;
        }

        let changed = changed(&text, config, &definitions)?;
        let interfaces = affected(config, &changed, guest);
        let waiting = later
            .into_iter()
            .filter(|(backend, later)| *later && backends.contains(backend));
        let waiting: Vec<&str> = waiting.map(|(backend, _)| backend).collect();
        if !waiting.is_empty() && !interfaces.is_empty() {
            let activation = together(&interfaces, later_script(&waiting), guest);
            return Ok(Activation {
                starts_later: true,
                ..activation
            });
        }
        let keeps_addresses = backends.contains(NETWORKD) && !systemd::reconfigures(version);
        Ok(together(
            &interfaces,
            script(&interfaces, keeps_addresses),
            guest,
        ))
    }
}

/// Takes what is said about managed interfaces out of all files but the agent's own.
fn clear(
    sources: &Sources,
    definitions: &Definitions<'_>,
    cx: &mut Context<'_>,
) -> Result<(), Refusal> {
    let fate = |entry: &Entry| {
        let id = entry.key.as_str();
        let is_managed = definitions
            .managed
            .iter()
            .any(|definition| definition.id == id);
        match () {
            () if !is_managed => Fate::Stays,
            // A device can only be built on what is defined before it, and the agent's file may come later.
            () if definitions.references.contains(id) && entry.value.entries().is_empty() => {
                Fate::Stays
            }
            () if definitions.references.contains(id) => Fate::IsEmptied,
            () => Fate::Goes,
        }
    };
    let mut renderers: Vec<Option<&str>> = sources.foreign.iter().map(renderer).collect();
    for (nth, source) in sources.foreign.iter().enumerate() {
        let Source {
            path,
            replacement,
            hides_another,
            text,
            ..
        } = source;
        let cannot = |reason| Unclear::Yaml(reason).at(path);
        let Some(network) = network(source.root.as_ref()).map_err(cannot)? else {
            continue;
        };
        let nothing_left = match rest(network, &fate) {
            Rest::Everything => continue,
            Rest::Nothing => true,
            Rest::Renderer => {
                let without = renderers
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != nth);
                let last = without.filter_map(|(_, renderer)| *renderer).next_back();
                last.unwrap_or(NETWORKD) == definitions.renderer.unwrap_or(NETWORKD)
            }
            Rest::Something => false,
        };
        if nothing_left {
            if let Some(renderer) = renderers.get_mut(nth) {
                *renderer = None;
            }
            if *hides_another {
                cx.write_private(replacement, &format!("{HEADER}network:\n  version: 2\n"))?;
            } else {
                cx.remove(path);
            }
        } else {
            cx.write_private(
                replacement,
                &take_out(text, network, &fate).map_err(cannot)?,
            )?;
        }
    }
    Ok(())
}

/// Who brings all devices up, as far as a file is asked.
fn renderer(source: &Source) -> Option<&str> {
    network(source.root.as_ref())
        .ok()??
        .get("renderer")?
        .scalar()
}

/// The id of an interface: the one that other devices are built on, else its name. Where that does not come first, one
/// that does.
fn id(
    name: &InterfaceName,
    kept: &Kept<'_>,
    definitions: &Definitions<'_>,
    backend: &str,
) -> Result<String, Refusal> {
    // networkd takes the first file that is for an interface, and the files are named after the ids.
    let place = |id: &str| format!("{id}.network");
    let patterns = || {
        definitions
            .patterns
            .iter()
            .filter(|pattern| pattern.owners.contains(&name))
    };
    let behind =
        |id: &str| patterns().find(|pattern| backend != NETWORKD || place(pattern.id) <= place(id));
    let usual = match kept.id {
        Some(id) => id.to_string(),
        None if definitions.others.contains(name.as_str()) => format!("nova-{name}"),
        None => name.to_string(),
    };
    let first = format!("00-nova-{name}");
    let id = if behind(&usual).is_some() && kept.id.is_none() {
        first
    } else {
        usual
    };
    if let Some(pattern) = behind(&id) {
        return Err(pattern.reason.clone());
    }
    spelled(&id).ok_or_else(|| Refusal::StrangeId {
        interface: name.clone(),
    })
}

fn section(
    interface: &Interface,
    nameservers: &[IpAddr],
    id: &str,
    kept: &Kept<'_>,
    guest: &Guest<'_>,
) -> String {
    let Interface { name, mac, .. } = interface;
    let mut text = String::new();
    if interface.label.is_some() {
        text.push_str(&format!("    {}", label_comment(interface)));
    }
    text.push_str(&format!("    {id}:\n"));
    let mut line = |line: &str| text.push_str(&format!("      {line}\n"));
    if guest.address_unchanged(interface) {
        line(&format!("match: {{macaddress: \"{mac}\"}}"));
        line(&format!("set-name: \"{name}\""));
    } else {
        line(&format!("match: {{name: \"{name}\"}}"));
    }
    if let Some(renderer) = kept.renderer {
        line(&format!("renderer: {renderer}"));
    }
    for (key, value) in &kept.settings {
        line(&format!("{key}: {value}"));
    }
    line("dhcp4: false");
    line("dhcp6: false");
    line("accept-ra: false");
    line(&format!("addresses: [{}]", quoted(interface.addresses())));
    if !nameservers.is_empty() || !kept.search.is_empty() {
        let mut parts = Vec::new();
        if !nameservers.is_empty() {
            parts.push(format!("addresses: [{}]", quoted(nameservers)));
        }
        if !kept.search.is_empty() {
            parts.push(format!("search: [{}]", quoted(&kept.search)));
        }
        line(&format!("nameservers: {{{}}}", parts.join(", ")));
    }
    let routes = routes(interface);
    if !routes.is_empty() {
        line("routes:");
        routes
            .iter()
            .for_each(|route| line(&format!("  - {{{route}}}")));
    }
    text
}

fn quoted<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| format!("\"{}\"", item.to_string()))
        .collect();
    items.join(", ")
}

/// Defaults are spelled as networks, because older versions know no other word for them.
fn routes(interface: &Interface) -> Vec<String> {
    let defaults = [
        ("0.0.0.0/0", interface.v4.gateway),
        ("::/0", interface.v6.gateway),
    ];
    let defaults = defaults
        .into_iter()
        .filter_map(|(to, gateway)| Some((to.to_string(), Some(gateway?))));
    let others = interface
        .routes
        .iter()
        .map(|route| (route.destination.to_string(), route.via));
    let spelled = defaults.chain(others).map(|(to, via)| match via {
        Some(via) => {
            let onlink = if systemd::must_be_onlink(via, interface) {
                ", on-link: true"
            } else {
                ""
            };
            format!("to: \"{to}\", via: \"{}\"{onlink}", via.address)
        }
        None => format!("to: \"{to}\", scope: link"),
    });
    spelled.collect()
}

/// What the agent wrote for interfaces that are there but are left alone this time.
fn unmanaged(sources: &Sources, definitions: &Definitions<'_>) -> Result<String, Refusal> {
    let lines: Vec<&str> = sources.own.text.split_inclusive('\n').collect();
    let network = sources
        .own
        .root
        .as_ref()
        .and_then(|root| root.get("network"));
    let section = network
        .and_then(|network| network.get(ETHERNETS))
        .map(Node::entries)
        .unwrap_or_default();
    let mut text = String::new();
    for entry in section
        .iter()
        .filter(|entry| definitions.unmanaged.contains(entry.key.as_str()))
    {
        let own = entry.alone.and_then(|place| {
            let label = lines
                .get(place.first.checked_sub(1)?)
                .filter(|line| line.trim_ascii().starts_with(LABEL));
            let own = lines.get(place.first..=place.last)?;
            let has_our_form = own
                .first()?
                .strip_prefix("    ")
                .is_some_and(|key| !key.starts_with(' '));
            has_our_form.then(|| label.into_iter().chain(own).copied().collect::<String>())
        });
        let id = &entry.key;
        text.push_str(&own.ok_or_else(|| Unclear::WasEdited { id: id.clone() }.at(&OWN_PATH))?);
        super::text::end_line(&mut text);
    }
    Ok(text)
}

/// The interfaces of which something else is said than before.
fn changed(
    text: &str,
    config: &NetworkConfig,
    definitions: &Definitions<'_>,
) -> Result<BTreeSet<InterfaceName>, Refusal> {
    let root = parse(text).map_err(|reason| Refusal::CannotWrite {
        path: OWN_PATH.clone(),
        reason,
    })?;
    let ethernets = root
        .as_ref()
        .and_then(|root| root.get("network"))
        .and_then(|network| network.get(ETHERNETS));
    let names = config.names();
    let differs = |name: &&InterfaceName| {
        let mut before = definitions
            .managed
            .iter()
            .filter(|definition| definition.owners.contains(name));
        match (before.next(), before.next()) {
            (Some(only), None) => match only.parts.as_slice() {
                [part] => ethernets.and_then(|ethernets| ethernets.get(only.id)) != Some(part.body),
                _ => true,
            },
            _ => true,
        }
    };
    Ok(names.filter(differs).cloned().collect_ordered())
}

/// At boot, the services find the files when they start, which waits for the agent.
fn later_script(waiting: &[&str]) -> Script {
    let generate = || Program::new(["netplan", "generate"], GENERATE_MAX);
    let start = |backend: &&str| match *backend {
        NETWORKD => systemd::start_later("systemd-networkd"),
        backend => systemd::start_later(backend),
    };
    let mut script = Script::default();
    script.after.push((generate(), Importance::Essential));
    script.after.extend(
        waiting
            .iter()
            .map(|backend| (start(backend), Importance::Minor)),
    );
    script.restore.push(generate());
    script
}

fn script(interfaces: &[&Interface], keeps_addresses: bool) -> Script {
    // Older versions of networkd keep addresses that they are not told of any more.
    let flushed = || {
        interfaces
            .iter()
            .filter(|_| keeps_addresses)
            .map(|interface| flush(&interface.name))
    };
    let generate = Program::new(["netplan", "generate"], GENERATE_MAX);
    let apply = |timeout| Program::new(["netplan", "apply"], timeout);

    let mut script = Script::default();
    script.after.push((generate, Importance::Essential));
    script
        .after
        .extend(flushed().map(|flush| (flush, Importance::Minor)));
    script.after.push((apply(APPLY_MAX), Importance::Essential));
    script.restore.extend(flushed());
    script.restore.push(apply(RESTORE_MAX));
    script
}

//! netplan: one file for all interfaces, and no other file that says anything about them.
//!
//! netplan merges what all files say about an id, and joins lists. If two ids match one interface,
//! the backend decides which one wins. So the interfaces of the host are removed from all other
//! files: a file about nothing else is removed, others lose the lines about them.

mod clear;
mod definitions;
mod edit;
mod kept;
mod programs;
mod section;
mod sources;
mod yaml;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use self::clear::clear;
use self::definitions::{Definition, Definitions, ETHERNETS, Pattern};
use self::edit::spelled;
use self::kept::{Kept, NETWORK_MANAGER, NETWORKD};
use self::section::section;
use self::sources::{OWN_PATH, Sources, load};
use self::yaml::{Node, parse};
use super::context::Context;
use super::error::{Refusal, Unclear};
use super::network_manager;
use super::renderer::{Renderer, Stack};
use super::restart::{Activation, affected, batch, batch_at_start};
use super::systemd;
use super::text::{HEADER, LABEL, end_line, stable_order};
use crate::network::{InterfaceName, NetworkConfig};

/// The stack of Ubuntu since 18.04 and of Debian's cloud images since 12.
pub(super) static STACK: Stack = Stack::new("netplan", &Netplan);

#[derive(Debug)]
struct Netplan;

impl Renderer for Netplan {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        let (config, guest) = (cx.config, cx.guest);
        let version = systemd::version(guest);
        let resolved = systemd::resolved_is_enabled(guest);
        let networkd_later = systemd::starts_later("systemd-networkd", guest);
        let network_manager_later = systemd::starts_later("NetworkManager", guest);

        let sources = load(guest)?;
        let definitions = Definitions::gather(&sources, config, guest)?;
        clear(&sources, &definitions, cx)?;

        let mut all_kept = Vec::new();
        for interface in &config.interfaces {
            all_kept.push(Kept::of(&interface.name, &definitions)?);
        }
        let backends: BTreeSet<&str> = all_kept.iter().map(|kept| kept.backend).collect();
        let text = content(&sources, &definitions, &all_kept, cx)?;
        cx.write_private(&OWN_PATH, &text)?;
        // NetworkManager writes the file itself.
        if backends.contains(NETWORKD) {
            systemd::update_resolv_conf(&config.nameservers(), resolved, cx)?;
        }

        let changed = changed(&text, config, &definitions)?;
        let interfaces = affected(config, &changed, guest);
        let mut waiting = Vec::new();
        for (backend, later) in [
            (NETWORKD, networkd_later),
            (NETWORK_MANAGER, network_manager_later),
        ] {
            if later && backends.contains(backend) {
                waiting.push(backend);
            }
        }
        if !waiting.is_empty() {
            let programs = programs::apply_at_start(&waiting);
            return Ok(batch_at_start(&interfaces, programs, guest));
        }
        let keeps_addresses = backends.contains(NETWORKD) && !systemd::reconfigures(version);
        let programs = programs::apply(&interfaces, keeps_addresses);
        Ok(batch(&interfaces, programs, guest))
    }
}

/// Returns the text of the agent's file.
fn content(
    sources: &Sources,
    definitions: &Definitions<'_>,
    all_kept: &[Kept<'_>],
    cx: &mut Context<'_>,
) -> Result<String, Refusal> {
    let config = cx.config;
    let nameservers = if all_kept.iter().all(|kept| kept.backend == NETWORKD) {
        config
            .interfaces
            .iter()
            .map(|interface| interface.nameservers.clone())
            .collect()
    } else {
        // NetworkManager refuses a whole profile for servers of a family without addresses.
        network_manager::nameservers(cx)
    };
    let mut text = format!("{HEADER}network:\n  version: 2\n  {ETHERNETS}:\n");
    for ((interface, kept), nameservers) in config.interfaces.iter().zip(all_kept).zip(&nameservers)
    {
        let id = id(&interface.name, kept, definitions)?;
        let nameservers = stable_order(nameservers, &kept.nameservers);
        text.push_str(&section(interface, &nameservers, &id, kept, cx.guest));
    }
    text.push_str(&unmanaged(sources, definitions)?);
    Ok(text)
}

/// The id of an interface: the one that other devices are built on, else its name. Where that does
/// not come first, one that does.
fn id(
    name: &InterfaceName,
    kept: &Kept<'_>,
    definitions: &Definitions<'_>,
) -> Result<String, Refusal> {
    let usual = match kept.id {
        Some(id) => id.to_string(),
        None if definitions.others.contains(name.as_str()) => format!("nova-{name}"),
        None => name.to_string(),
    };
    let usual_comes_first = pattern_before(&usual, name, kept, definitions).is_none();
    let id = if usual_comes_first || kept.id.is_some() {
        usual
    } else {
        format!("00-nova-{name}")
    };
    if let Some(pattern) = pattern_before(&id, name, kept, definitions) {
        return Err(pattern.reason.clone());
    }
    spelled(&id).ok_or_else(|| Refusal::StrangeId {
        interface: name.clone(),
    })
}

/// A pattern for the interface that the backend would use instead of an id. networkd takes the
/// first file that is for an interface, and the files are named after the ids; NetworkManager may
/// take any.
fn pattern_before<'d>(
    id: &str,
    name: &InterfaceName,
    kept: &Kept<'_>,
    definitions: &'d Definitions<'_>,
) -> Option<&'d Pattern<'d>> {
    let file = format!("{id}.network");
    definitions
        .patterns
        .iter()
        .filter(|pattern| pattern.owners.contains(&name))
        .find(|pattern| kept.backend != NETWORKD || format!("{}.network", pattern.id) <= file)
}

/// Returns the agent's lines for existing interfaces that are left alone this time.
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
        end_line(&mut text);
    }
    Ok(text)
}

/// Returns the interfaces whose definition differs from the old one.
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
    let mut changed = BTreeSet::new();
    for name in config.names() {
        let mut before = definitions
            .managed
            .iter()
            .filter(|definition| definition.owners.contains(&name));
        let same = match (before.next(), before.next()) {
            (Some(Definition { id, parts, .. }), None) => match parts.as_slice() {
                [part] => ethernets.and_then(|ethernets| ethernets.get(id)) == Some(part.body),
                _ => false,
            },
            _ => false,
        };
        if !same {
            changed.insert(name.clone());
        }
    }
    Ok(changed)
}

//! The definitions in the files, and which of them are for managed interfaces.

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::sources::{OWN_PATH, Sources, network};
use super::yaml::{self, Content, Node};
use crate::effect::{GuestPath, InterfaceState};
use crate::network::{Interface, InterfaceName, MacAddr, NetworkConfig};
use crate::render::error::{Refusal, Unclear};
use crate::render::guest::Guest;
use crate::render::text::matches;

/// The section of devices that exist without netplan.
pub(super) const ETHERNETS: &str = "ethernets";

/// What files say about one id of `ethernets`. netplan merges it; the later file wins.
#[derive(Debug)]
pub(super) struct Definition<'a> {
    pub(super) id: &'a str,
    /// The managed interfaces that it is for.
    pub(super) owners: Vec<&'a InterfaceName>,
    pub(super) parts: Vec<Part<'a>>,
}

/// What one file says about an id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) body: &'a Node,
    /// The renderer of the whole section in that file.
    pub(super) renderer: Option<&'a str>,
}

/// An id that matches managed interfaces and others.
#[derive(Debug)]
pub(super) struct Pattern<'a> {
    pub(super) id: &'a str,
    /// The managed interfaces among them.
    pub(super) owners: Vec<&'a InterfaceName>,
    /// Why it cannot be taken out.
    pub(super) reason: Refusal,
}

/// All definitions of devices.
#[derive(Debug, Default)]
pub(super) struct Definitions<'a> {
    /// Those that are for managed interfaces, and for no others.
    pub(super) managed: Vec<Definition<'a>>,
    /// Those that are for managed interfaces and for others, so they have to stay.
    pub(super) patterns: Vec<Pattern<'a>>,
    /// All other ids, whatever they are.
    pub(super) others: BTreeSet<&'a str>,
    /// Those of them that are for interfaces that exist.
    pub(super) unmanaged: BTreeSet<&'a str>,
    /// The ids that other devices are built on.
    pub(super) references: BTreeSet<&'a str>,
    /// The renderer for all devices that have none of their own.
    pub(super) renderer: Option<&'a str>,
}

impl<'a> Definitions<'a> {
    /// # Errors
    /// Refuses if it is not clear which interface a definition is for.
    pub(super) fn gather(
        sources: &'a Sources,
        config: &'a NetworkConfig,
        guest: &Guest<'_>,
    ) -> Result<Self, Refusal> {
        let mut all = Self::default();
        let mut found: Vec<Found<'a>> = Vec::new();
        let foreign = sources
            .foreign
            .iter()
            .map(|source| (&source.path, source.root.as_ref()));
        for (path, root) in foreign.chain([(&OWN_PATH, sources.own.root.as_ref())]) {
            let network = network(root).map_err(|reason| Unclear::Yaml(reason).at(path))?;
            if let Some(network) = network {
                all.read(path, network, &mut found);
            }
        }
        for found in found {
            all.add(found, config, guest)?;
        }
        Ok(all)
    }

    /// Reads one file; its ids of `ethernets` are added to `found`.
    fn read(&mut self, path: &'a GuestPath, network: &'a Node, found: &mut Vec<Found<'a>>) {
        if let Some(renderer) = network.get("renderer").and_then(Node::scalar) {
            self.renderer = Some(renderer);
        }
        for section in network.entries() {
            let renderer = section.value.get("renderer").and_then(Node::scalar);
            for definition in section
                .value
                .entries()
                .iter()
                .filter(|entry| entry.key != "renderer")
            {
                let (id, body) = (definition.key.as_str(), &definition.value);
                let built_on = ["interfaces", "link"]
                    .into_iter()
                    .filter_map(|key| body.get(key));
                self.references.extend(built_on.flat_map(Node::scalars));
                if section.key != ETHERNETS {
                    self.others.insert(id);
                    continue;
                }
                // An empty one is only there for devices in that file that are built on it.
                let part = (!body.entries().is_empty()).then_some(Part { body, renderer });
                match found.iter_mut().find(|known| known.id == id) {
                    Some(known) => {
                        known.last = path;
                        known.parts.extend(part);
                    }
                    None => found.push(Found {
                        id,
                        last: path,
                        parts: part.into_iter().collect(),
                    }),
                }
            }
        }
    }

    /// Sorts an id of `ethernets` into those of managed interfaces and others.
    fn add(
        &mut self,
        found: Found<'a>,
        config: &'a NetworkConfig,
        guest: &Guest<'_>,
    ) -> Result<(), Refusal> {
        let Found { id, last, parts } = found;
        let selector = Selector::of(id, &parts).map_err(|reason| Unclear::Yaml(reason).at(last))?;
        let owners = selector.managed(config, guest);
        match (owners.is_empty(), selector.another(config, guest)) {
            (true, None) => {
                self.others.insert(id);
            }
            // What a managed interface is called may be the id of another one.
            (no_owner, Some(_)) if no_owner || !selector.selects_any(config, guest) => {
                self.others.insert(id);
                self.unmanaged.insert(id);
            }
            (_, Some(another)) => {
                let covers = Unclear::CoversOthers {
                    id: id.to_string(),
                    other: another.name.clone(),
                };
                let reason = covers.at(last);
                if selector.new_name.is_some() {
                    return Err(reason);
                }
                self.others.insert(id);
                self.patterns.push(Pattern { id, owners, reason });
            }
            (false, None) => self.managed.push(Definition { id, owners, parts }),
        }
        Ok(())
    }
}

/// An id of `ethernets`, before it is known which interfaces it is for.
struct Found<'a> {
    id: &'a str,
    /// The last file that says something.
    last: &'a GuestPath,
    parts: Vec<Part<'a>>,
}

/// How an id names interfaces.
#[derive(Debug, Default)]
struct Selector<'a> {
    id: &'a str,
    /// Without any condition, the id is the name of the interface.
    conditions: Option<Conditions<'a>>,
    new_name: Option<&'a str>,
}

/// The conditions of `match`, all of which must hold.
#[derive(Debug, Default)]
struct Conditions<'a> {
    drivers: Vec<&'a str>,
    mac: Option<&'a str>,
    name: Option<&'a str>,
}

impl<'a> Selector<'a> {
    fn of(id: &'a str, parts: &[Part<'a>]) -> Result<Self, yaml::Unclear> {
        let mut selector = Self {
            id,
            ..Self::default()
        };
        for Part { body, .. } in parts {
            if let Some(name) = body.get("set-name").and_then(Node::scalar) {
                selector.new_name = Some(name);
            }
            let Some(conditions) = body.get("match") else {
                continue;
            };
            let known = selector.conditions.get_or_insert_default();
            for entry in conditions.entries() {
                match (entry.key.as_str(), &entry.value.content) {
                    ("driver", Content::Scalar(_) | Content::Sequence(_)) => {
                        known.drivers = entry.value.scalars().collect();
                    }
                    ("macaddress", Content::Scalar(mac)) => known.mac = Some(mac),
                    ("name", Content::Scalar(name)) => known.name = Some(name),
                    _ => return Err("a match that is not known"),
                }
            }
        }
        Ok(selector)
    }

    /// The managed interfaces that it means in any way.
    fn managed<'c>(&self, config: &'c NetworkConfig, guest: &Guest<'_>) -> Vec<&'c InterfaceName> {
        let means = |interface: &&Interface| {
            let name = interface.name.as_str();
            self.id == name || self.new_name == Some(name) || self.selects(interface, guest)
        };
        config
            .interfaces
            .iter()
            .filter(means)
            .map(|interface| &interface.name)
            .collect()
    }

    fn selects_any(&self, config: &NetworkConfig, guest: &Guest<'_>) -> bool {
        config
            .interfaces
            .iter()
            .any(|interface| self.selects(interface, guest))
    }

    /// An interface that it selects and that is not managed.
    fn another<'g>(&self, config: &NetworkConfig, guest: &Guest<'g>) -> Option<&'g InterfaceState> {
        guest.interfaces().iter().find(|state| {
            state.physical
                && config.interface(&state.name).is_none()
                && self.holds(&state.name, &[state.mac], state.driver.as_deref())
        })
    }

    fn selects(&self, interface: &Interface, guest: &Guest<'_>) -> bool {
        let state = guest.interface(interface.name.as_str());
        let macs = [Some(interface.mac), state.and_then(|state| state.mac)];
        self.holds(
            interface.name.as_str(),
            &macs,
            state.and_then(|state| state.driver.as_deref()),
        )
    }

    fn holds(&self, name: &str, macs: &[Option<MacAddr>], driver: Option<&str>) -> bool {
        let Some(Conditions {
            drivers,
            mac,
            name: pattern,
        }) = &self.conditions
        else {
            return self.id == name;
        };
        let mac = mac.map(|mac| MacAddr::try_from(mac).ok());
        mac.is_none_or(|mac| mac.is_some() && macs.contains(&mac))
            && pattern.is_none_or(|pattern| matches(pattern, name))
            // A driver that is not known may be any.
            && (drivers.is_empty()
                || driver.is_none_or(|driver| drivers.iter().any(|pattern| matches(pattern, driver))))
    }
}

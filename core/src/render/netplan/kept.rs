//! Settings of an interface that are preserved.

use crate::render::error::Refusal;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::definitions::{Definition, Definitions, Part};
use super::yaml::Node;
use crate::network::{InterfaceName, MacAddr};

/// The backend if nothing is said about it.
pub(super) const NETWORKD: &str = "networkd";
pub(super) const NETWORK_MANAGER: &str = "NetworkManager";

/// The settings that the host does not decide.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Kept<'a> {
    /// The id that other devices are built on.
    pub(super) id: Option<&'a str>,
    /// Values that need no quotes any more, by their keys.
    pub(super) settings: BTreeMap<&'static str, String>,
    pub(super) search: Vec<&'a str>,
    /// The name servers that the interface had, for their order.
    pub(super) nameservers: Vec<IpAddr>,
    /// The renderer of the interface, if it is not the one for all devices.
    pub(super) renderer: Option<&'static str>,
    /// The backend that brings the interface up.
    pub(super) backend: &'a str,
}

/// The form that a value must have to be kept.
#[derive(Clone, Copy)]
enum Kind {
    Boolean,
    Mac,
    Number,
}

/// Settings of the link; all others are about the addresses.
const SETTINGS: [(&str, Kind); 12] = [
    ("emit-lldp", Kind::Boolean),
    ("generic-receive-offload", Kind::Boolean),
    ("generic-segmentation-offload", Kind::Boolean),
    ("ipv6-mtu", Kind::Number),
    ("large-receive-offload", Kind::Boolean),
    ("macaddress", Kind::Mac),
    ("mtu", Kind::Number),
    ("optional", Kind::Boolean),
    ("receive-checksum-offload", Kind::Boolean),
    ("tcp-segmentation-offload", Kind::Boolean),
    ("transmit-checksum-offload", Kind::Boolean),
    ("wakeonlan", Kind::Boolean),
];

impl<'a> Kept<'a> {
    /// # Errors
    /// Refuses if other devices are built on the interface in a way that cannot be kept.
    pub(super) fn of(name: &InterfaceName, definitions: &Definitions<'a>) -> Result<Self, Refusal> {
        let mut kept = Self::default();
        for definition in definitions
            .managed
            .iter()
            .filter(|definition| definition.owners.contains(&name))
        {
            if definitions.references.contains(definition.id) {
                if definition.owners.len() > 1 || kept.id.is_some() {
                    return Err(Refusal::DeviceBuiltOn {
                        id: definition.id.to_string(),
                    });
                }
                kept.id = Some(definition.id);
            }
            for part in &definition.parts {
                kept.take(part, definition);
            }
        }
        let general = definitions.renderer.unwrap_or(NETWORKD);
        kept.renderer = kept.renderer.filter(|renderer| *renderer != general);
        kept.backend = kept.renderer.unwrap_or(general);
        Ok(kept)
    }

    fn take(&mut self, part: &Part<'a>, definition: &Definition<'_>) {
        let Part { body, renderer } = part;
        for (key, kind) in SETTINGS {
            // One address cannot be that of several interfaces.
            if matches!(kind, Kind::Mac) && definition.owners.len() > 1 {
                continue;
            }
            if let Some(value) = body
                .get(key)
                .and_then(Node::scalar)
                .and_then(|value| written(value, kind))
            {
                self.settings.insert(key, value);
            }
        }
        if let Some(nameservers) = body.get("nameservers") {
            let list = |key| nameservers.get(key).into_iter().flat_map(Node::scalars);
            for domain in list("search").filter(|domain| is_domain(domain)) {
                if !self.search.contains(&domain) {
                    self.search.push(domain);
                }
            }
            self.nameservers
                .extend(list("addresses").filter_map(|address| address.parse::<IpAddr>().ok()));
        }
        match body.get("renderer").and_then(Node::scalar).or(*renderer) {
            Some(NETWORKD) => self.renderer = Some(NETWORKD),
            Some(NETWORK_MANAGER) => self.renderer = Some(NETWORK_MANAGER),
            Some(_) | None => {}
        }
    }
}

fn written(value: &str, kind: Kind) -> Option<String> {
    match kind {
        Kind::Boolean => match value.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "y" => Some("true".to_string()),
            "false" | "off" | "no" | "n" => Some("false".to_string()),
            _ => None,
        },
        Kind::Mac => MacAddr::try_from(value)
            .ok()
            .map(|mac| format!("\"{mac}\"")),
        Kind::Number => value.parse::<u32>().ok().map(|number| number.to_string()),
    }
}

fn is_domain(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

//! All values of `vm-data/networking` together: which interface each one means, and what they say about each other.

mod conflicts;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::decode::{Description, Refusal, decode};
use super::nic::{Match, Nics, no_interface};
use super::unusable::Unusable;
use super::{Family, Interface, Label, MacAddr, NetworkConfig};
use crate::effect::InterfaceState;

/// The most interfaces that are configured. Xen's toolstacks attach far fewer to a domain.
pub const INTERFACES_MAX: usize = 64;

/// What came of the host's data.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Validated {
    /// What can be configured.
    pub config: NetworkConfig,
    /// Why other interfaces are left as they are, each text behind the MAC address; sorted.
    pub errors: Vec<String>,
    /// What was tolerated, each text behind the MAC address.
    pub warnings: Vec<String>,
}

/// Checks what the host says about the network, and finds the interfaces that it means.
///
/// `networking` are the names and values below `vm-data/networking`, `vifs` the numbers and MAC addresses below
/// `device/vif`, `interfaces` what the guest has. The order of the lists does not matter.
///
/// A value that cannot be used is an error for its interface alone: one bad entry must not take the whole network of a
/// server away.
#[must_use]
pub fn validate(
    networking: &[(String, Vec<u8>)],
    vifs: &[(u32, String)],
    interfaces: &[InterfaceState],
) -> Validated {
    let mut vifs: Vec<(u32, MacAddr)> = vifs
        .iter()
        .filter_map(|(index, mac)| Some((*index, MacAddr::try_from(mac.as_str()).ok()?)))
        .collect();
    vifs.sort();
    let nics = Nics {
        vifs: &vifs,
        interfaces,
    };

    let mut networking: Vec<&(String, Vec<u8>)> = networking.iter().collect();
    networking.sort();

    let mut assembly = Assembly::default();
    if networking.len() > INTERFACES_MAX {
        assembly.errors.push(format!(
            "more than {INTERFACES_MAX} interfaces: the others are not configured"
        ));
        networking.truncate(INTERFACES_MAX);
    }
    assembly.take_descriptions(
        networking
            .into_iter()
            .map(|(key, value)| decode(key, value))
            .collect(),
    );
    assembly.find_interfaces(nics);
    assembly.refuse_repeated_interfaces();
    assembly.refuse_shared_addresses();
    assembly.drop_own_gateways();
    assembly.keep_one_default_gateway(nics);
    assembly.drop_repeated_routes();
    assembly.drop_repeated_nameservers();
    assembly.finish()
}

type Decoded = Result<Description, (Refusal, Unusable)>;

/// The state between the checks; each check is a method that takes away what does not pass.
#[derive(Debug, Default)]
struct Assembly {
    descriptions: Vec<Description>,
    refusals: Vec<Refusal>,
    interfaces: Vec<Interface>,
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Assembly {
    /// Two values for one address contradict each other, or will after the next change: neither is taken.
    fn take_descriptions(&mut self, decoded: Vec<Decoded>) {
        let mut count: BTreeMap<MacAddr, usize> = BTreeMap::new();
        let mac = |decoded: &Decoded| match decoded {
            Ok(description) => Some(description.mac),
            Err((refusal, _)) => refusal.mac,
        };
        for mac in decoded.iter().filter_map(mac) {
            let count = count.entry(mac).or_default();
            *count = count.saturating_add(1);
        }
        for (mac, _) in count.iter().filter(|(_, count)| **count > 1) {
            self.refuse(*mac, &format!("duplicate configuration for MAC {mac}"));
        }
        for decoded in decoded {
            if mac(&decoded)
                .and_then(|mac| count.get(&mac))
                .is_some_and(|count| *count > 1)
            {
                continue;
            }
            match decoded {
                Ok(description) => self.descriptions.push(description),
                Err((refusal, why)) => {
                    self.errors.push(format!("{}: {why}", refusal.who));
                    self.refusals.push(refusal);
                }
            }
        }
    }

    /// Turns descriptions into interfaces, in the order of their VIF numbers.
    fn find_interfaces(&mut self, nics: Nics<'_>) {
        let mut stale = Vec::new();
        for description in core::mem::take(&mut self.descriptions) {
            let Description {
                mac,
                label,
                v4,
                v6,
                routes,
                nameservers,
                warnings,
            } = description;
            self.warnings
                .extend(warnings.into_iter().map(|text| format!("{mac}: {text}")));
            match nics.find(mac) {
                Match::Found(name, vif) => {
                    self.interfaces.push(Interface {
                        name,
                        mac,
                        vif,
                        label,
                        v4,
                        v6,
                        routes,
                        nameservers,
                    });
                }
                Match::Stale => stale.push(mac),
                Match::Refused(text) => {
                    self.refusals.push(refusal(mac, label, &v4, &v6));
                    self.refuse(mac, &text);
                }
            }
        }
        // What is left of a detached VIF is harmless, unless there is nothing else.
        let alone = self.interfaces.is_empty() && self.errors.is_empty();
        for mac in stale {
            if alone {
                self.refuse(mac, &no_interface(mac));
            } else {
                self.warnings
                    .push(format!("{mac}: ignored, no such interface"));
            }
        }
        let vif = |interface: &Interface| interface.vif.unwrap_or(u32::MAX);
        self.interfaces
            .sort_by(|a, b| vif(a).cmp(&vif(b)).then_with(|| a.name.cmp(&b.name)));
    }

    /// Refuses interfaces that are meant twice: a NIC whose address was changed by hand can be meant by its VIF number and by
    /// its present address.
    fn refuse_repeated_interfaces(&mut self) {
        let mut repeated: Vec<MacAddr> = Vec::new();
        for interface in &self.interfaces {
            if self
                .interfaces
                .iter()
                .any(|other| other.mac != interface.mac && other.name == interface.name)
            {
                repeated.push(interface.mac);
            }
        }
        for mac in repeated {
            self.remove(mac, &format!("duplicate configuration for MAC {mac}"));
        }
    }

    fn finish(mut self) -> Validated {
        self.errors.sort_unstable();
        let config = NetworkConfig {
            interfaces: self.interfaces,
        };
        Validated {
            config,
            errors: self.errors,
            warnings: self.warnings,
        }
    }

    /// Takes an interface back that had passed the checks before.
    fn remove(&mut self, mac: MacAddr, text: &str) {
        self.refuse(mac, text);
        for interface in self
            .interfaces
            .extract_if(.., |interface| interface.mac == mac)
        {
            self.refusals
                .push(refusal(mac, interface.label, &interface.v4, &interface.v6));
        }
    }

    fn refuse(&mut self, mac: MacAddr, text: &str) {
        self.errors.push(format!("{mac}: {text}"));
    }
}

fn refusal(mac: MacAddr, label: Option<Label>, v4: &Family, v6: &Family) -> Refusal {
    Refusal {
        mac: Some(mac),
        who: mac.to_string(),
        label,
        has_v4_gateway: v4.gateway.is_some(),
        has_v6_gateway: v6.gateway.is_some(),
    }
}

//! All values of `vm-data/networking` together: which interface each one means, and what they say about each other.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::decode::{Description, Refusal, decode};
use super::nic::{Match, Nics, no_interface};
use super::{Cidr, Family, Gateway, Interface, InterfaceName, Label, MacAddr, NetworkConfig};
use crate::effect::InterfaceState;

/// The most interfaces that are configured. Xen's toolstacks attach far fewer to a domain.
pub const INTERFACES_MAX: usize = 64;

/// The name servers that the C library reads (`resolv.h`, `MAXNS`).
const RESOLVER_MAX: usize = 3;

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
    assembly.refuse_shared_addresses();
    assembly.drop_own_gateways();
    assembly.keep_one_default_gateway(nics);
    assembly.drop_repeated_routes();
    assembly.drop_repeated_nameservers();
    assembly.finish()
}

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
    fn take_descriptions(&mut self, decoded: Vec<Result<Description, Refusal>>) {
        let mut count: BTreeMap<MacAddr, usize> = BTreeMap::new();
        let mac = |decoded: &Result<Description, Refusal>| match decoded {
            Ok(description) => Some(description.mac),
            Err(refusal) => refusal.mac,
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
                Err(refusal) => {
                    self.errors
                        .push(format!("{}: {}", refusal.who, refusal.text));
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
                    let mut refusal = refusal(mac, label, &v4, &v6);
                    refusal.text.clone_from(&text);
                    self.refusals.push(refusal);
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

        // A NIC whose address was changed by hand can be meant by its VIF number and by its present address.
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

    fn refuse_shared_addresses(&mut self) {
        let mut shared: Vec<(MacAddr, String)> = Vec::new();
        for interface in &self.interfaces {
            for address in interface.addresses().map(|own| own.address()) {
                let holders: Vec<&Interface> = self
                    .interfaces
                    .iter()
                    .filter(|other| other.addresses().any(|theirs| theirs.address() == address))
                    .collect();
                if let [first, second, ..] = holders.as_slice() {
                    shared.push((
                        interface.mac,
                        format!("{address} is on {} and {}", first.name, second.name),
                    ));
                    break;
                }
            }
        }
        for (mac, text) in shared {
            self.remove(mac, &text);
        }
    }

    /// A server between two networks may be the gateway of one of them. The kernel refuses its own address as a gateway,
    /// which would fail the whole interface.
    fn drop_own_gateways(&mut self) {
        let holders: Vec<(IpAddr, InterfaceName)> = self
            .interfaces
            .iter()
            .flat_map(|interface| {
                interface
                    .addresses()
                    .map(|own| (own.address(), interface.name.clone()))
            })
            .collect();
        let holder = |gateway: Option<Gateway>| {
            let gateway = gateway?.address;
            let (_, name) = holders.iter().find(|(address, _)| *address == gateway)?;
            Some(format!("{gateway} is an address of {name}"))
        };
        for interface in &mut self.interfaces {
            let mac = interface.mac;
            let warnings = &mut self.warnings;
            for family in [&mut interface.v4, &mut interface.v6] {
                if let Some(why) = holder(family.gateway) {
                    warnings.push(format!(
                        "{mac}: ignored default gateway of {}: {why}",
                        interface.name
                    ));
                    family.gateway = None;
                }
            }
            interface.routes.retain(|route| {
                let why = holder(route.via);
                warnings.extend(
                    why.iter()
                        .map(|why| format!("{mac}: ignored route {}: {why}", route.destination)),
                );
                why.is_none()
            });
        }
    }

    /// Neutron gives every subnet a gateway, so two networks bring two default gateways: that of the public one wins,
    /// else that of the lowest VIF number. An interface that was refused keeps its configuration and so takes part.
    fn keep_one_default_gateway(&mut self, nics: Nics<'_>) {
        for side in [Side::V4, Side::V6] {
            let refused = self.refusals.iter().filter_map(|refusal| {
                let mac = refusal.mac?;
                let exists = nics.find(mac) != Match::Stale;
                (exists && side.of_refusal(refusal))
                    .then(|| (rank(refusal.label.as_ref(), nics.vif(mac)), mac))
            });
            let accepted = self.interfaces.iter().filter_map(|interface| {
                side.of(interface).gateway?;
                Some((rank(interface.label.as_ref(), interface.vif), interface.mac))
            });
            let Some((_, winner)) = refused.chain(accepted).min() else {
                continue;
            };
            for interface in self
                .interfaces
                .iter_mut()
                .filter(|interface| interface.mac != winner)
            {
                if let Some(gateway) = side.of_mut(interface).gateway.take() {
                    let text = format!(
                        "ignored default gateway {} of {}",
                        gateway.address, interface.name
                    );
                    self.warnings.push(format!("{}: {text}", interface.mac));
                }
            }
        }
    }

    /// The kernel refuses a second route to one network, which would fail the whole interface. A gateway outside all
    /// networks has such a route of its own.
    fn drop_repeated_routes(&mut self) {
        let connected: Vec<_> = self
            .interfaces
            .iter()
            .flat_map(Interface::addresses)
            .map(|own| own.network())
            .collect();
        let mut gateways: BTreeMap<Cidr, MacAddr> = BTreeMap::new();
        for onlink_gateways in [default_gateways, route_gateways] {
            for interface in &self.interfaces {
                for gateway in onlink_gateways(interface)
                    .into_iter()
                    .filter(|gateway| gateway.onlink)
                {
                    gateways
                        .entry(Cidr::host(gateway.address))
                        .or_insert(interface.mac);
                }
            }
        }
        let mut taken = Vec::new();
        for interface in &mut self.interfaces {
            let mac = interface.mac;
            let warnings = &mut self.warnings;
            interface.routes.retain(|route| {
                let destination = route.destination;
                let elsewhere = |via: Gateway| {
                    via.onlink
                        && gateways
                            .get(&Cidr::host(via.address))
                            .is_some_and(|holder| *holder != mac)
                };
                let why = if connected.contains(&destination) {
                    "it is connected"
                } else if taken.contains(&destination) {
                    "another interface has it"
                } else if gateways.contains_key(&destination) {
                    "it leads to a gateway"
                } else if route.via.is_some_and(elsewhere) {
                    "another interface has its gateway"
                } else {
                    taken.push(destination);
                    return true;
                };
                warnings.push(format!("{mac}: ignored route {destination}: {why}"));
                false
            });
        }
    }

    fn drop_repeated_nameservers(&mut self) {
        let mut taken: Vec<IpAddr> = Vec::new();
        for interface in &mut self.interfaces {
            interface.nameservers.retain(|address| {
                let new = !taken.contains(address);
                if new {
                    taken.push(*address);
                }
                new
            });
        }
        if taken.len() > RESOLVER_MAX {
            self.warnings.push(format!(
                "{} name servers: the resolver reads {RESOLVER_MAX}",
                taken.len()
            ));
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

/// One of the two address families of an interface.
#[derive(Clone, Copy, Debug)]
enum Side {
    V4,
    V6,
}

impl Side {
    const fn of(self, interface: &Interface) -> &Family {
        match self {
            Self::V4 => &interface.v4,
            Self::V6 => &interface.v6,
        }
    }

    const fn of_mut(self, interface: &mut Interface) -> &mut Family {
        match self {
            Self::V4 => &mut interface.v4,
            Self::V6 => &mut interface.v6,
        }
    }

    const fn of_refusal(self, refusal: &Refusal) -> bool {
        match self {
            Self::V4 => refusal.has_v4_gateway,
            Self::V6 => refusal.has_v6_gateway,
        }
    }
}

fn default_gateways(interface: &Interface) -> Vec<Gateway> {
    interface
        .v4
        .gateway
        .into_iter()
        .chain(interface.v6.gateway)
        .collect()
}

fn route_gateways(interface: &Interface) -> Vec<Gateway> {
    interface
        .routes
        .iter()
        .filter_map(|route| route.via)
        .collect()
}

fn refusal(mac: MacAddr, label: Option<Label>, v4: &Family, v6: &Family) -> Refusal {
    Refusal {
        mac: Some(mac),
        who: mac.to_string(),
        text: String::new(),
        label,
        has_v4_gateway: v4.gateway.is_some(),
        has_v6_gateway: v6.gateway.is_some(),
    }
}

/// The smallest wins.
fn rank(label: Option<&Label>, vif: Option<u32>) -> (bool, u32) {
    let public = label.is_some_and(|label| label.as_str().eq_ignore_ascii_case("public"));
    (!public, vif.unwrap_or(u32::MAX))
}

//! What the interfaces of a server cannot all have: the same address, default gateway, route or name server.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{Assembly, Refusal};
use crate::network::nic::{Match, Nics};
use crate::network::{Cidr, Family, Gateway, Interface, InterfaceName, Label, MacAddr};

/// The name servers that the C library reads (`resolv.h`, `MAXNS`).
const RESOLVER_MAX: usize = 3;

impl Assembly {
    /// An address can be on one interface only.
    pub(super) fn refuse_shared_addresses(&mut self) {
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
    pub(super) fn drop_own_gateways(&mut self) {
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
    pub(super) fn keep_one_default_gateway(&mut self, nics: Nics<'_>) {
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
    pub(super) fn drop_repeated_routes(&mut self) {
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

    /// A name server is asked once, whoever brings it along.
    pub(super) fn drop_repeated_nameservers(&mut self) {
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

/// The smallest wins.
fn rank(label: Option<&Label>, vif: Option<u32>) -> (bool, u32) {
    let public = label.is_some_and(|label| label.as_str().eq_ignore_ascii_case("public"));
    (!public, vif.unwrap_or(u32::MAX))
}

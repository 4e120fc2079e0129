//! Network configuration as the host describes it, validated.
//!
//! [`validate`] is the only way from the host's JSON to a [`NetworkConfig`]; what it returns can be rendered without any
//! further check. It knows nothing of files: turning a configuration into files is the business of
//! [`render`](crate::render).

mod assemble;
mod decode;
mod fields;
mod nic;
mod text;
mod unusable;
mod version;

use alloc::vec::Vec;
use core::net::IpAddr;

pub use self::assemble::{INTERFACES_MAX, Validated, validate};
pub(crate) use self::text::quoted;
pub use self::text::{
    HOSTNAME_MAX, Hostname, InterfaceName, InvalidHostname, InvalidInterfaceName, Label,
};
pub use crate::address::{Cidr, InvalidMacAddr, MacAddr};

/// How the network of this guest shall be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct NetworkConfig {
    /// The interfaces that the host describes, in the order of their VIF numbers. At most one per address family has a
    /// gateway, and no address, route or name server occurs twice.
    pub interfaces: Vec<Interface>,
}

impl NetworkConfig {
    /// The names of all interfaces.
    pub fn names(&self) -> impl Iterator<Item = &InterfaceName> + Clone {
        self.interfaces.iter().map(|interface| &interface.name)
    }

    /// Returns the interface of a name.
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.name.as_str() == name)
    }

    /// Returns whether an interface has a default gateway: of IPv6 if `v6`, else of IPv4.
    #[must_use]
    pub fn has_gateway(&self, v6: bool) -> bool {
        self.interfaces
            .iter()
            .map(|interface| if v6 { &interface.v6 } else { &interface.v4 })
            .any(|family| family.gateway.is_some())
    }

    /// Returns whether an address is in a network of one of the interfaces.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.interfaces
            .iter()
            .flat_map(Interface::addresses)
            .any(|network| network.contains(address))
    }

    /// The name servers of all interfaces.
    #[must_use]
    pub fn nameservers(&self) -> Vec<IpAddr> {
        self.interfaces
            .iter()
            .flat_map(|interface| &interface.nameservers)
            .copied()
            .collect()
    }
}

/// An interface and how it shall be configured. It has at least one address.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Interface {
    /// The kernel's name of it.
    pub name: InterfaceName,
    /// The address that the host gave it.
    pub mac: MacAddr,
    /// Its number among the VIFs of the domain, if known.
    pub vif: Option<u32>,
    /// What the host calls the network.
    pub label: Option<Label>,
    /// Its IPv4 side.
    pub v4: Family,
    /// Its IPv6 side.
    pub v6: Family,
    /// Its routes of both families, none of them a default route.
    pub routes: Vec<Route>,
    /// The name servers that this interface brings along.
    pub nameservers: Vec<IpAddr>,
}

impl Interface {
    /// All addresses, those of IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = Cidr> {
        self.v4.addresses.iter().chain(&self.v6.addresses).copied()
    }

    /// Whether it holds a default gateway.
    #[must_use]
    pub const fn has_gateway(&self) -> bool {
        self.v4.gateway.is_some() || self.v6.gateway.is_some()
    }
}

/// The addresses and the gateway of one address family, all of that family.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Family {
    /// The addresses; the first is the primary one.
    pub addresses: Vec<Cidr>,
    /// The default gateway; only if there is an address.
    pub gateway: Option<Gateway>,
}

/// A gateway and how it is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Gateway {
    /// Its address; tied to the interface if it is link-local.
    pub address: IpAddr,
    /// Whether it is on the link although it is in none of the interface's networks. Never for a link-local address.
    pub onlink: bool,
}

/// A static route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Route {
    /// The network, with host bits zero.
    pub destination: Cidr,
    /// The gateway; without one, the network is on the link itself.
    pub via: Option<Gateway>,
}

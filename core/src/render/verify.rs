//! What the kernel shall show of a configuration.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::guest::Guest;
use super::restart::is_global;
use crate::effect::{Expectation, ExpectedInterface};
use crate::network::{Interface, NetworkConfig};
use crate::plan::Await;

/// Stacks that return before they are done need a second or two; the kernel takes one to find out whether another server
/// has an address.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same, where less time is left.
const RESTORE_PATIENCE: Duration = Duration::from_secs(5);

/// All interfaces as a configuration says.
pub(super) fn applied(config: &NetworkConfig) -> Await {
    let interfaces = config.interfaces.iter().map(expected).collect();
    Await { expectation: Expectation { interfaces }, patience: PATIENCE }
}

/// The interfaces of a configuration with the addresses that they have now.
pub(super) fn restored(config: &NetworkConfig, guest: &Guest<'_>) -> Await {
    let now = config.interfaces.iter().filter_map(|interface| guest.interface(interface.name.as_str()));
    let interfaces = now.map(|state| ExpectedInterface {
        name: state.name.clone(),
        addresses: state.addresses.iter().copied().filter(|(address, _)| is_global(*address)).collect(),
        ..ExpectedInterface::default()
    });
    Await { expectation: Expectation { interfaces: interfaces.collect() }, patience: RESTORE_PATIENCE }
}

/// Whether the kernel shows anything else of an interface than a configuration says.
pub(super) fn differs(interface: &Interface, guest: &Guest<'_>) -> bool {
    guest.unmet(&Expectation { interfaces: Vec::from([expected(interface)]) })
}

fn expected(interface: &Interface) -> ExpectedInterface {
    let gateways =
        [(&interface.v4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)), (&interface.v6, IpAddr::V6(Ipv6Addr::UNSPECIFIED))];
    let defaults = gateways.into_iter().filter_map(|(family, any)| Some((any, 0, Some(family.gateway?.address))));
    let routes = interface.routes.iter().map(|route| {
        (route.destination.address(), route.destination.prefix_len(), route.via.map(|gateway| gateway.address))
    });
    ExpectedInterface {
        name: interface.name.to_string(),
        addresses: interface.addresses().map(|own| (own.address(), own.prefix_len())).collect(),
        routes: defaults.chain(routes).collect(),
        exclusive: true,
    }
}

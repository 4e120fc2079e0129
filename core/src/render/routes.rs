//! Routes in an order in which each one can be set.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::network::{Cidr, Gateway, Route};

/// A route for a stack that sets one route after the other. It prints as the arguments of
/// `ip route add`, without the interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Hop {
    /// The network; `None` for the default route, whose family is that of the gateway.
    pub(super) destination: Option<Cidr>,
    /// The gateway, if the network is not on the link itself.
    pub(super) via: Option<IpAddr>,
}

/// Puts routes to gateways outside all networks first, then default routes, then the others.
/// Duplicates are removed: a network may be the gateway of another one.
pub(super) fn in_order<'r>(
    defaults: impl IntoIterator<Item = Gateway>,
    routes: impl IntoIterator<Item = &'r Route>,
) -> Vec<Hop> {
    let defaults: Vec<Gateway> = defaults.into_iter().collect();
    let routes: Vec<&Route> = routes.into_iter().collect();
    let gateways = defaults
        .iter()
        .copied()
        .chain(routes.iter().filter_map(|route| route.via));
    let to_gateways = gateways
        .filter(|gateway| gateway.onlink)
        .map(|gateway| Hop {
            destination: Some(Cidr::host(gateway.address)),
            via: None,
        });
    let defaults = defaults.iter().map(|gateway| Hop {
        destination: None,
        via: Some(gateway.address),
    });
    let others = routes.iter().map(|route| Hop {
        destination: Some(route.destination),
        via: route.via.map(|gateway| gateway.address),
    });

    let mut hops = Vec::new();
    for hop in to_gateways.chain(defaults).chain(others) {
        if !hops.contains(&hop) {
            hops.push(hop);
        }
    }
    hops
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.destination {
            Some(network) => write!(f, "{network}")?,
            None => f.write_str("default")?,
        }
        match self.via {
            Some(gateway) => write!(f, " via {gateway}"),
            None => Ok(()),
        }
    }
}

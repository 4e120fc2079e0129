//! The state of the kernel that a configuration should lead to.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::guest::Guest;
use crate::address::is_configured;
use crate::network::{Interface, NetworkConfig};
use crate::plan::Await;
use crate::plan::{Expectation, ExpectedInterface};

/// Some stacks return before they are done and need a second or two; the kernel takes one second to
/// find out whether another server has an address.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same, where less time is left.
const RESTORE_PATIENCE: Duration = Duration::from_secs(5);

/// Waits until all interfaces are as a configuration says.
pub(super) fn applied(config: &NetworkConfig) -> Await {
    let interfaces = config.interfaces.iter().map(expected).collect();
    Await {
        expectation: Expectation { interfaces },
        patience: PATIENCE,
    }
}

/// Waits until the interfaces have the addresses that they have now. A floating address was taken
/// away and does not come back with the configuration.
pub(super) fn restored(config: &NetworkConfig, guest: &Guest<'_>) -> Await {
    let now = config
        .interfaces
        .iter()
        .filter_map(|interface| guest.interface(interface.name.as_str()));
    let interfaces = now.map(|state| ExpectedInterface {
        name: state.name.clone(),
        addresses: state
            .addresses
            .iter()
            .copied()
            .filter(|(address, len)| is_configured(*address, *len))
            .collect(),
        ..ExpectedInterface::default()
    });
    Await {
        expectation: Expectation {
            interfaces: interfaces.collect(),
        },
        patience: RESTORE_PATIENCE,
    }
}

/// Returns whether the kernel lacks anything that a configuration says about an interface. An
/// additional address may be that of a service that moves from server to server, which is no reason
/// to restart the interface.
pub(super) fn differs(interface: &Interface, guest: &Guest<'_>) -> bool {
    let expected = ExpectedInterface {
        exclusive: false,
        ..expected(interface)
    };
    guest.unmet(&Expectation {
        interfaces: Vec::from([expected]),
    })
}

fn expected(interface: &Interface) -> ExpectedInterface {
    let gateways = [
        (&interface.v4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        (&interface.v6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    ];
    let defaults = gateways
        .into_iter()
        .filter_map(|(family, any)| Some((any, 0, Some(family.gateway?.address))));
    let routes = interface.routes.iter().map(|route| {
        (
            route.destination.address(),
            route.destination.prefix_len(),
            route.via.map(|gateway| gateway.address),
        )
    });
    ExpectedInterface {
        name: interface.name.to_string(),
        addresses: interface
            .addresses()
            .map(|own| (own.address(), own.prefix_len()))
            .collect(),
        routes: defaults.chain(routes).collect(),
        exclusive: true,
    }
}

#[cfg(test)]
mod tests {
    use crate::effect::{InterfaceState, Snapshot};
    use crate::network::validate;

    use super::*;

    #[test]
    fn what_the_configuration_did_not_bring_is_not_awaited_after_a_roll_back() {
        let addresses = [
            ("192.0.2.2", 24),
            ("192.0.2.200", 32),
            ("169.254.0.1", 16),
            ("2001:db8::2", 64),
        ];
        let eth0 = InterfaceState {
            name: "eth0".into(),
            mac: "00163e000001".try_into().ok(),
            physical: true,
            vif: Some(0),
            master: None,
            driver: None,
            up: true,
            addresses: addresses
                .map(|(address, len)| (address.parse().unwrap(), len))
                .into(),
        };
        let value = br#"{"ips": [{"ip": "10.0.0.1", "netmask": 24}]}"#;
        let snapshot = Snapshot {
            interfaces: Some(Vec::from([eth0])),
            ..Snapshot::default()
        };
        let guest = Guest::new(&snapshot);
        let config = validate(
            &[("00163e000001".into(), value.to_vec())],
            &[],
            guest.interfaces(),
        )
        .config;
        let Await { expectation, .. } = restored(&config, &guest);
        let awaited: Vec<_> = expectation
            .interfaces
            .iter()
            .flat_map(|interface| &interface.addresses)
            .collect();
        assert_eq!(
            awaited,
            [
                &("192.0.2.2".parse().unwrap(), 24),
                &("2001:db8::2".parse().unwrap(), 64)
            ]
        );
    }
}

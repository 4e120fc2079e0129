//! What the kernel shall show when a change has come into effect. That a program ended well proves little: some return
//! before they are done, some print what went wrong and succeed all the same.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::address::is_configured;
use crate::effect::{InterfaceState, Probe, RouteState, Snapshot};

/// The state of some interfaces. What it does not name may be as it likes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Expectation {
    /// The interfaces.
    pub interfaces: Vec<ExpectedInterface>,
}

/// The state of an interface.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExpectedInterface {
    /// The kernel's name of it.
    pub name: String,
    /// Addresses that it has, with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Routes through it: the network, its prefix length and the gateway, if there is one.
    pub routes: Vec<(IpAddr, u8, Option<IpAddr>)>,
    /// Whether addresses of the same scope and family that are not named are wrong.
    pub exclusive: bool,
}

impl Expectation {
    /// The questions whose answers tell whether it is met.
    #[must_use]
    pub fn probes() -> Vec<Probe> {
        Vec::from([Probe::Interfaces, Probe::Routes])
    }

    /// The first thing that is not as it shall be, in words. Nothing is wrong on a system that cannot tell: one that shows
    /// no address or no route at all, not even those of the loopback interface. IPv6 is not missed where it is switched
    /// off, which leaves not even the loopback interface an address of it.
    #[must_use]
    pub fn unmet(&self, snapshot: &Snapshot) -> Option<String> {
        let interfaces = snapshot.interfaces.as_deref().unwrap_or_default();
        let routes = snapshot.routes.as_deref().unwrap_or_default();
        let addresses = || interfaces.iter().flat_map(|interface| &interface.addresses);
        let tells_addresses = addresses().next().is_some();
        let without_ipv6 = tells_addresses && addresses().all(|(address, _)| address.is_ipv4());
        let is_possible = |address: IpAddr| address.is_ipv4() || !without_ipv6;
        self.interfaces.iter().find_map(|expected| {
            let state = interfaces
                .iter()
                .find(|interface| interface.name == expected.name);
            let wrong_address = || expected.wrong_address(state, is_possible);
            let missing_route = || expected.missing_route(routes, is_possible);
            tells_addresses
                .then(wrong_address)
                .flatten()
                .or_else(|| (!routes.is_empty()).then(missing_route).flatten())
        })
    }
}

impl ExpectedInterface {
    fn wrong_address(
        &self,
        state: Option<&InterfaceState>,
        is_possible: impl Fn(IpAddr) -> bool,
    ) -> Option<String> {
        let name = &self.name;
        let Some(state) = state else {
            return Some(format!("{name} does not exist"));
        };
        let mut wanted = self
            .addresses
            .iter()
            .filter(|(address, _)| is_possible(*address));
        let missing = wanted.find(|wanted| !state.addresses.contains(wanted));
        if let Some((address, prefix_len)) = missing {
            return Some(format!("{name} has no address {address}/{prefix_len}"));
        }
        let foreign = state.addresses.iter().find(|(address, prefix_len)| {
            self.exclusive
                && is_configured(*address, *prefix_len)
                && !self.addresses.contains(&(*address, *prefix_len))
        });
        foreign.map(|(address, prefix_len)| {
            format!("{name} still has the address {address}/{prefix_len}")
        })
    }

    fn missing_route(
        &self,
        routes: &[RouteState],
        is_possible: impl Fn(IpAddr) -> bool,
    ) -> Option<String> {
        let is_missing = |wanted: &&(IpAddr, u8, Option<IpAddr>)| {
            let (destination, prefix_len, gateway) = **wanted;
            !routes.iter().any(|route| {
                route.interface == self.name
                    && (route.destination, route.prefix_len, route.gateway)
                        == (destination, prefix_len, gateway)
            })
        };
        let mut wanted = self
            .routes
            .iter()
            .filter(|(destination, ..)| is_possible(*destination));
        wanted
            .find(is_missing)
            .map(|(destination, prefix_len, gateway)| {
                let via = gateway
                    .map(|gateway| format!(" via {gateway}"))
                    .unwrap_or_default();
                format!(
                    "{} has no route to {destination}/{prefix_len}{via}",
                    self.name
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn snapshot(addresses: &[(&str, u8)], routes: &[(&str, u8, Option<&str>)]) -> Snapshot {
        let interface = InterfaceState {
            name: "eth0".into(),
            mac: None,
            physical: true,
            vif: None,
            master: None,
            driver: None,
            up: true,
            addresses: addresses
                .iter()
                .map(|(address, prefix_len)| (ip(address), *prefix_len))
                .collect(),
        };
        let route = |(destination, prefix_len, gateway): &(&str, u8, Option<&str>)| RouteState {
            interface: "eth0".into(),
            destination: ip(destination),
            prefix_len: *prefix_len,
            gateway: gateway.map(ip),
        };
        Snapshot {
            interfaces: Some(Vec::from([interface])),
            routes: Some(routes.iter().map(route).collect()),
            ..Snapshot::default()
        }
    }

    fn expectation() -> Expectation {
        let interface = ExpectedInterface {
            name: "eth0".into(),
            addresses: Vec::from([(ip("192.0.2.2"), 24), (ip("2001:db8::2"), 64)]),
            routes: Vec::from([
                (ip("0.0.0.0"), 0, Some(ip("192.0.2.1"))),
                (ip("10.0.0.0"), 8, None),
            ]),
            exclusive: true,
        };
        Expectation {
            interfaces: Vec::from([interface]),
        }
    }

    const ADDRESSES: [(&str, u8); 3] = [("192.0.2.2", 24), ("2001:db8::2", 64), ("fe80::2", 64)];
    const ROUTES: [(&str, u8, Option<&str>); 2] =
        [("0.0.0.0", 0, Some("192.0.2.1")), ("10.0.0.0", 8, None)];

    #[test]
    fn a_kernel_that_shows_everything_meets_it() {
        assert_eq!(expectation().unmet(&snapshot(&ADDRESSES, &ROUTES)), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let unmet = |addresses: &[_], routes: &[_]| {
            expectation().unmet(&snapshot(addresses, routes)).unwrap()
        };
        assert_eq!(
            unmet(&ADDRESSES[1..], &ROUTES),
            "eth0 has no address 192.0.2.2/24"
        );
        assert_eq!(
            unmet(&[("192.0.2.2", 25), ADDRESSES[1]], &ROUTES),
            "eth0 has no address 192.0.2.2/24"
        );
        assert_eq!(
            unmet(&ADDRESSES, &ROUTES[1..]),
            "eth0 has no route to 0.0.0.0/0 via 192.0.2.1"
        );
        let other = ("0.0.0.0", 0, Some("192.0.2.3"));
        assert_eq!(
            unmet(&ADDRESSES, &[other, ROUTES[1]]),
            "eth0 has no route to 0.0.0.0/0 via 192.0.2.1"
        );
        assert_eq!(
            unmet(&ADDRESSES, &ROUTES[..1]),
            "eth0 has no route to 10.0.0.0/8"
        );
        let mut elsewhere = snapshot(&ADDRESSES, &ROUTES);
        elsewhere
            .interfaces
            .iter_mut()
            .flatten()
            .for_each(|interface| interface.name = "eth1".into());
        assert_eq!(
            expectation().unmet(&elsewhere).unwrap(),
            "eth0 does not exist"
        );
    }

    #[test]
    fn an_address_that_is_left_over_is_named_but_not_that_of_a_moving_service() {
        let with = |address| [&ADDRESSES[..], &[address]].concat();
        let unmet = |address| expectation().unmet(&snapshot(&with(address), &ROUTES));
        assert_eq!(
            unmet(("198.51.100.9", 24)).unwrap(),
            "eth0 still has the address 198.51.100.9/24"
        );
        assert_eq!(
            unmet(("2001:db8::9", 64)).unwrap(),
            "eth0 still has the address 2001:db8::9/64"
        );
        for harmless in [
            ("192.0.2.200", 32),
            ("169.254.1.1", 16),
            ("fe80::9", 64),
            ("2001:db8::9", 128),
        ] {
            assert_eq!(unmet(harmless), None, "{harmless:?}");
        }
    }

    #[test]
    fn ipv6_is_not_missed_where_it_is_switched_off() {
        let mut expectation = expectation();
        expectation.interfaces[0]
            .routes
            .push((ip("::"), 0, Some(ip("fe80::1"))));
        let unmet = |addresses: &[_]| expectation.unmet(&snapshot(addresses, &ROUTES));
        assert_eq!(unmet(&ADDRESSES[..1]), None);
        // With IPv6, there is at least an address that the kernel made up.
        let with_ipv6 = [ADDRESSES[0], ADDRESSES[2]];
        assert_eq!(
            unmet(&with_ipv6).unwrap(),
            "eth0 has no address 2001:db8::2/64"
        );
        assert_eq!(
            unmet(&ADDRESSES).unwrap(),
            "eth0 has no route to ::/0 via fe80::1"
        );
        assert_eq!(
            unmet(&[("192.0.2.3", 24)]).unwrap(),
            "eth0 has no address 192.0.2.2/24"
        );
    }

    #[test]
    fn a_system_that_cannot_tell_is_believed() {
        assert_eq!(expectation().unmet(&snapshot(&[], &[])), None);
        assert_eq!(expectation().unmet(&snapshot(&ADDRESSES, &[])), None);
        assert_eq!(expectation().unmet(&Snapshot::default()), None);
    }
}

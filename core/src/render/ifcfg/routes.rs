//! `route-IF` and `route6-IF`: static routes, and default gateways that need more than a line in
//! `ifcfg-IF`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::Reader;
use crate::network::{Gateway, Interface, Route};
use crate::render::routes::in_order;
use crate::render::text::HEADER;

/// The gateways of IPv4 and IPv6 as far as `GATEWAY` and `IPV6_DEFAULTGW` can express them.
///
/// network-scripts skip one outside the first address's network silently. NetworkManager makes the
/// route to it by itself, and takes no default route from the other files.
pub(super) fn plain_gateways(reader: Reader, interface: &Interface) -> [Option<IpAddr>; 2] {
    let [v4, v6] = [interface.v4.gateway, interface.v6.gateway];
    let in_first = |gateway: &Gateway| {
        interface
            .v4
            .addresses
            .first()
            .is_some_and(|first| first.contains(gateway.address))
    };
    let plain = match reader {
        Reader::NetworkManager => [v4, v6],
        Reader::NetworkScripts => [v4.filter(in_first), v6.filter(|gateway| !gateway.onlink)],
    };
    plain.map(|gateway| gateway.map(|gateway| gateway.address))
}

/// `route-IF` for IPv4, in the form of variables if that can express everything, else in that of
/// `ip route`.
pub(super) fn route(reader: Reader, interface: &Interface) -> Option<String> {
    let routes = routes(interface, |address| address.is_ipv4());
    let [plain, _] = plain_gateways(reader, interface);
    let default = interface.v4.gateway.filter(|_| plain.is_none());
    if default.is_some()
        || routes
            .iter()
            .any(|route| route.via.is_none_or(|via| via.onlink))
    {
        return ip_form(interface, default, routes);
    }
    let mut text = String::from(HEADER);
    // Reading stops at the first number that is missing.
    for (
        nth,
        Route {
            destination, via, ..
        },
    ) in routes.iter().enumerate()
    {
        let Some(via) = via else { continue };
        let (address, netmask) = (destination.address(), destination.netmask());
        text.push_str(&format!(
            "ADDRESS{nth}={address}\nNETMASK{nth}={netmask}\nGATEWAY{nth}={}\n",
            via.address
        ));
    }
    (!routes.is_empty()).then_some(text)
}

/// `route6-IF`, always in the form of `ip route`.
pub(super) fn route6(reader: Reader, interface: &Interface) -> Option<String> {
    let routes = routes(interface, |address| address.is_ipv6());
    let [_, plain] = plain_gateways(reader, interface);
    ip_form(
        interface,
        interface.v6.gateway.filter(|_| plain.is_none()),
        routes,
    )
}

fn routes(interface: &Interface, of_family: fn(&IpAddr) -> bool) -> Vec<&Route> {
    interface
        .routes
        .iter()
        .filter(|route| of_family(&route.destination.address()))
        .collect()
}

/// Lines of arguments for `ip route add`.
fn ip_form(interface: &Interface, default: Option<Gateway>, routes: Vec<&Route>) -> Option<String> {
    let lines: String = in_order(default, routes)
        .iter()
        .map(|hop| format!("{hop} dev {}\n", interface.name))
        .collect();
    (!lines.is_empty()).then(|| format!("{HEADER}{lines}"))
}

//! The routes of the machine, as Linux lists them in `/proc/net` (`net/ipv4/fib_trie.c`, `net/ipv6/route.c`).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nova_agent_core::effect::{GuestPath, RouteState};

use crate::files::read_text;
use crate::root::{Access, LastSymlink, Root};

const V4: GuestPath = GuestPath::constant("/proc/net/route");
const V6: GuestPath = GuestPath::constant("/proc/net/ipv6_route");

/// The most routes that are listed. A router with a full table of the internet is no guest for this agent.
const ROUTES_MAX: usize = 4096;

/// The route leads through a gateway, or refuses packets (`linux/route.h`).
const RTF_GATEWAY: u32 = 0x2;
const RTF_REJECT: u32 = 0x200;

/// The unicast routes of both families; none on a system that does not list them.
pub(super) fn routes(root: &Root) -> Vec<RouteState> {
    let v4 = table(root, &V4).unwrap_or_default();
    let v6 = table(root, &V6).unwrap_or_default();
    v4.lines()
        .filter_map(v4_route)
        .chain(v6.lines().filter_map(v6_route))
        .take(ROUTES_MAX)
        .collect()
}

fn table(root: &Root, path: &GuestPath) -> Option<String> {
    let place = root.place(path, LastSymlink::Follow, Access::Read).ok()?;
    read_text(&place.directory, &place.name)
}

/// `eth0 00000000 0102000A 0003 0 0 100 00000000 0 0 0`: interface, network, gateway, flags, reference count, uses, metric,
/// mask. Addresses are numbers in the machine's byte order.
fn v4_route(line: &str) -> Option<RouteState> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [interface, destination, gateway, flags, _, _, _, mask, ..] = words.as_slice() else {
        return None;
    };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    (flags & RTF_REJECT == 0).then_some(())?;
    Some(RouteState {
        interface: String::from(*interface),
        destination: IpAddr::V4(v4_address(destination)?),
        prefix_len: u8::try_from(v4_address(mask)?.to_bits().leading_ones()).ok()?,
        gateway: if flags & RTF_GATEWAY == 0 {
            None
        } else {
            Some(IpAddr::V4(v4_address(gateway)?))
        },
    })
}

/// Network, prefix length, source network and its length, gateway, metric, reference count, uses, flags, interface; all
/// numbers are hexadecimal, addresses are 32 digits.
fn v6_route(line: &str) -> Option<RouteState> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [
        destination,
        prefix_len,
        _,
        _,
        gateway,
        _,
        _,
        _,
        flags,
        interface,
    ] = words.as_slice()
    else {
        return None;
    };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    (flags & RTF_REJECT == 0).then_some(())?;
    Some(RouteState {
        interface: String::from(*interface),
        destination: IpAddr::V6(v6_address(destination)?),
        prefix_len: u8::from_str_radix(prefix_len, 16).ok()?,
        gateway: if flags & RTF_GATEWAY == 0 {
            None
        } else {
            Some(IpAddr::V6(v6_address(gateway)?))
        },
    })
}

fn v4_address(hex: &str) -> Option<Ipv4Addr> {
    let number = u32::from_str_radix(hex, 16).ok()?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

fn v6_address(hex: &str) -> Option<Ipv6Addr> {
    u128::from_str_radix(hex, 16).ok().map(Ipv6Addr::from_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(destination: &str, prefix_len: u8, gateway: Option<&str>) -> RouteState {
        let ip = |text: &str| text.parse().unwrap();
        let interface = String::from("eth0");
        RouteState {
            interface,
            destination: ip(destination),
            prefix_len,
            gateway: gateway.map(ip),
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_the_kernel_are_understood() {
        assert_eq!(
            v4_route(
                "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
            ),
            None
        );
        let default = "eth0\t00000000\t010071CB\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        assert_eq!(
            v4_route(default),
            Some(route("0.0.0.0", 0, Some("203.113.0.1")))
        );
        let connected = "eth0\t0000B00A\t00000000\t0001\t0\t0\t0\t0000F0FF\t0\t0\t0";
        assert_eq!(v4_route(connected), Some(route("10.176.0.0", 12, None)));
        let unreachable = "*\t0000B00A\t00000000\t0201\t0\t0\t0\t0000F0FF\t0\t0\t0";
        assert_eq!(v4_route(unreachable), None);

        let zero = "0".repeat(32);
        let gateway = "fe800000000000000000000000000def";
        let default =
            format!("{zero} 00 {zero} 00 {gateway} 00000400 00000001 00000000 00000003     eth0");
        assert_eq!(v6_route(&default), Some(route("::", 0, Some("fe80::def"))));
        let reject =
            format!("{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo");
        assert_eq!(v6_route(&reject), None);
        let network = "20010db8000000010000000000000000";
        let connected =
            format!("{network} 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0");
        assert_eq!(
            v6_route(&connected),
            Some(route("2001:db8:0:1::", 64, None))
        );
        assert_eq!(v6_route(""), None);
    }
}

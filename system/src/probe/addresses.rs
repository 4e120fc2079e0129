//! The addresses of the machine's interfaces, as getifaddrs(3) lists them, and what Linux says of those of IPv6 in
//! `/proc/net/if_inet6` (`net/ipv6/addrconf.c`).

use core::net::{IpAddr, Ipv6Addr};
use std::collections::BTreeSet;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use nova_agent_core::effect::{GuestPath, InterfaceState};

use crate::files::read_text;
use crate::root::{Access, LastSymlink, Root};

const IF_INET6: GuestPath = GuestPath::constant("/proc/net/if_inet6");

/// Another server has the address; it has no end of its life (`linux/if_addr.h`).
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_PERMANENT: u32 = 0x80;

/// The most addresses of an interface that are listed: twice as many as can be configured.
const ADDRESSES_MAX: usize = 512;

/// Adds what each interface has by its configuration: no address that a router announced, and none that does not work
/// because another server has it.
pub(super) fn add(root: &Root, interfaces: &mut [InterfaceState]) {
    let listed = match getifaddrs() {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(%error, "failed to list the addresses of network interfaces");
            return;
        }
    };
    let place = root
        .place(&IF_INET6, LastSymlink::Follow, Access::Read)
        .ok();
    let flags = place
        .and_then(|place| read_text(&place.directory, &place.name))
        .unwrap_or_default();
    let left_out: BTreeSet<(Ipv6Addr, &str)> = flags.lines().filter_map(left_out).collect();
    for item in listed {
        let (Some(address), Some(mask)) = (
            item.address.as_ref().and_then(ip),
            item.netmask.as_ref().and_then(ip),
        ) else {
            continue;
        };
        // An address of Linux may carry a label such as `eth0:1`.
        let name = item.interface_name.split(':').next().unwrap_or_default();
        if let Some(interface) = interfaces
            .iter_mut()
            .find(|interface| interface.name == name)
            && !matches!(address, IpAddr::V6(v6) if left_out.contains(&(v6, name)))
        {
            note(interface, address, prefix_len(mask));
        }
    }
}

fn note(interface: &mut InterfaceState, address: IpAddr, prefix_len: u8) {
    if interface.addresses.len() < ADDRESSES_MAX {
        interface.addresses.push((address, prefix_len));
    }
}

/// The address of a line like `fe80...0001 02 40 20 80 eth0` that is not to be told: address, index of the interface,
/// prefix length, scope, flags, name.
fn left_out(line: &str) -> Option<(Ipv6Addr, &str)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [address, _, _, _, flags, name] = words.as_slice() else {
        return None;
    };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let told = flags & IFA_F_PERMANENT != 0 && flags & IFA_F_DADFAILED == 0;
    (!told).then_some((
        Ipv6Addr::from_bits(u128::from_str_radix(address, 16).ok()?),
        *name,
    ))
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|address| IpAddr::V6(address.ip()))
    })
}

fn prefix_len(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    u8::try_from(ones).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_that_a_router_announced_or_another_server_has_is_left_out() {
        let line =
            |flags: &str| format!("20010db8000000000000000000000002 02 40 00 {flags}     eth0");
        let address: Ipv6Addr = "2001:db8::2".parse().unwrap();
        assert_eq!(left_out(&line("80")), None);
        assert_eq!(left_out(&line("00")), Some((address, "eth0")));
        assert_eq!(left_out(&line("01")), Some((address, "eth0")));
        assert_eq!(left_out(&line("88")), Some((address, "eth0")));
        assert_eq!(left_out("junk"), None);
    }

    fn lo() -> InterfaceState {
        InterfaceState {
            name: String::from("lo"),
            mac: None,
            physical: false,
            vif: None,
            master: None,
            driver: None,
            up: true,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn an_interface_has_no_more_addresses_than_are_listed() {
        let mut interface = lo();
        for nth in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 10 {
            note(&mut interface, IpAddr::V4(Ipv4Addr::from_bits(nth)), 32);
        }
        let last = interface.addresses.last().unwrap().0;
        assert_eq!(
            (interface.addresses.len(), last),
            (
                ADDRESSES_MAX,
                IpAddr::V4(Ipv4Addr::from_bits(ADDRESSES_MAX as u32 - 1))
            )
        );
    }

    #[test]
    fn the_loopback_address_is_found() {
        let mut interfaces = [lo()];
        add(&Root::guest().unwrap(), &mut interfaces);
        let loopback = (IpAddr::V4(Ipv4Addr::LOCALHOST), 8);
        assert!(
            interfaces[0].addresses.contains(&loopback),
            "{:?}",
            interfaces[0].addresses
        );
    }
}

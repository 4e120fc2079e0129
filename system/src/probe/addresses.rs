//! The addresses of the machine's interfaces, as getifaddrs(3) lists them.

use core::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use nova_agent_core::effect::InterfaceState;

/// The most addresses of an interface that are listed.
const ADDRESSES_MAX: usize = 256;

pub(super) fn add(interfaces: &mut [InterfaceState]) {
    let listed = match getifaddrs() {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(%error, "the addresses of the interfaces are unknown");
            return;
        }
    };
    for item in listed {
        let (Some(address), Some(mask)) = (item.address.as_ref().and_then(ip), item.netmask.as_ref().and_then(ip))
        else {
            continue;
        };
        // An address of Linux may carry a label such as `eth0:1`.
        let name = item.interface_name.split(':').next().unwrap_or_default();
        if let Some(interface) = interfaces.iter_mut().find(|interface| interface.name == name)
            && interface.addresses.len() < ADDRESSES_MAX
        {
            interface.addresses.push((address, prefix_len(mask)));
        }
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
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
    fn the_loopback_address_is_found() {
        let lo = InterfaceState {
            name: String::from("lo"),
            mac: None,
            physical: false,
            vif: None,
            master: None,
            driver: None,
            up: true,
            addresses: Vec::new(),
        };
        let mut interfaces = [lo];
        add(&mut interfaces);
        let loopback = (IpAddr::V4(Ipv4Addr::LOCALHOST), 8);
        assert!(interfaces[0].addresses.contains(&loopback), "{:?}", interfaces[0].addresses);
    }
}

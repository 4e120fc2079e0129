//! Addresses of network interfaces, for whoever reads, checks or writes them.

mod cidr;
mod mac;

use core::net::IpAddr;

pub use self::cidr::Cidr;
pub(crate) use self::cidr::prefix_len_of_mask;
pub use self::mac::{InvalidMacAddr, MacAddr};

/// Whether an address comes from a configuration: not one that the kernel made up, and not the address of a service that
/// moves from server to server, which has a network to itself.
pub(crate) fn is_configured(address: IpAddr, prefix_len: u8) -> bool {
    is_global(address) && prefix_len < if address.is_ipv4() { 32 } else { 128 }
}

/// Whether an address says something about the configuration, unlike one that the kernel made up.
pub(crate) const fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    }
}

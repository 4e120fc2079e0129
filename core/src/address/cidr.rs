//! Addresses with prefix lengths.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and the number of its leading bits that name the network.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Cidr {
    address: IpAddr,
    prefix_len: u8,
}

impl Cidr {
    /// The address in a network of this prefix length; `None` if the length is more than the address has bits.
    #[must_use]
    pub const fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        if prefix_len > bits(&address) {
            None
        } else {
            Some(Self {
                address,
                prefix_len,
            })
        }
    }

    /// The network of this address alone: a host route.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        Self {
            address,
            prefix_len: bits(&address),
        }
    }

    /// The address, host bits included.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// The prefix length: at most 32 for IPv4, 128 for IPv6.
    #[must_use]
    pub const fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// The prefix length as an address: `255.255.255.0` for 24.
    #[must_use]
    pub fn netmask(self) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => {
                let host_bits = u32::MAX.checked_shr(self.prefix_len.into()).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(!host_bits))
            }
            IpAddr::V6(_) => {
                let host_bits = u128::MAX.checked_shr(self.prefix_len.into()).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(!host_bits))
            }
        }
    }

    /// The same network with the host bits zero.
    #[must_use]
    pub fn network(self) -> Self {
        let address = match (self.address, self.netmask()) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => IpAddr::V4(address & mask),
            (IpAddr::V6(address), IpAddr::V6(mask)) => IpAddr::V6(address & mask),
            (address, _) => address,
        };
        Self {
            address,
            prefix_len: self.prefix_len,
        }
    }

    /// Whether an address is in this network.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        Self::new(address, self.prefix_len).is_some_and(|other| other.network() == self.network())
    }

    /// Whether this is `0.0.0.0/0` or `::/0`.
    #[must_use]
    pub const fn is_default(self) -> bool {
        self.prefix_len == 0
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// The prefix length that a netmask stands for; `None` if its one bits are not all in front.
pub(crate) fn prefix_len_of_mask(mask: IpAddr) -> Option<u8> {
    let (ones, leading) = match mask {
        IpAddr::V4(mask) => (mask.to_bits().count_ones(), mask.to_bits().leading_ones()),
        IpAddr::V6(mask) => (mask.to_bits().count_ones(), mask.to_bits().leading_ones()),
    };
    if ones == leading {
        u8::try_from(ones).ok()
    } else {
        None
    }
}

const fn bits(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn cidr(address: &str, prefix_len: u8) -> Cidr {
        Cidr::new(address.parse().unwrap(), prefix_len).unwrap()
    }

    #[test]
    fn networks_and_masks_follow_from_the_prefix_length() {
        assert_eq!(
            cidr("10.176.0.9", 12).network().to_string(),
            "10.176.0.0/12"
        );
        assert_eq!(cidr("10.176.0.9", 12).netmask().to_string(), "255.240.0.0");
        assert_eq!(cidr("10.176.0.9", 0).netmask().to_string(), "0.0.0.0");
        assert_eq!(
            cidr("10.176.0.9", 32).network().to_string(),
            "10.176.0.9/32"
        );
        assert_eq!(
            cidr("2001:db8::1", 33).network().to_string(),
            "2001:db8::/33"
        );
        assert_eq!(
            cidr("2001:db8::1", 128).netmask().to_string(),
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        );
        assert_eq!(Cidr::new("10.0.0.1".parse().unwrap(), 33), None);
        assert_eq!(Cidr::new("::1".parse().unwrap(), 129), None);
    }

    #[test]
    fn an_address_of_the_other_family_is_never_contained() {
        assert!(cidr("10.0.0.1", 8).contains("10.255.0.0".parse().unwrap()));
        assert!(!cidr("10.0.0.1", 8).contains("11.0.0.0".parse().unwrap()));
        assert!(!cidr("0.0.0.0", 0).contains("::".parse().unwrap()));
    }

    #[test]
    fn only_contiguous_masks_have_a_prefix_length() {
        let prefix_len = |mask: &str| prefix_len_of_mask(mask.parse().unwrap());
        assert_eq!(prefix_len("255.255.224.0"), Some(19));
        assert_eq!(prefix_len("0.0.0.0"), Some(0));
        assert_eq!(prefix_len("ffff:ffff:8000::"), Some(33));
        assert_eq!(prefix_len("255.255.0.255"), None);
        assert_eq!(prefix_len("255.0.255.0"), None);
    }
}

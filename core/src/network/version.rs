//! The version of the Internet Protocol that a key of the host's data means.

use core::fmt;
use core::net::IpAddr;

/// An address family, where a key of the input decides which one is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Version {
    V4,
    V6,
}

impl Version {
    pub(super) const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

//! Why a value of `vm-data/networking` cannot be used, in words for the host.

use alloc::string::String;
use core::net::IpAddr;

use super::Cidr;
use super::version::Version;
use crate::json::JsonError;

/// What is wrong with the description of an interface. Texts of the host are quoted and short.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("conflicting prefixes for {0}")]
    ConflictingPrefixes(IpAddr),
    #[error("conflicting default gateways {0}, {1}")]
    DefaultGateways(IpAddr, IpAddr),
    #[error("an empty text is not an {0} address")]
    EmptyAddress(Version),
    #[error("bad \"enabled\" value \"{0}\" for {1}")]
    Enabled(String, String),
    #[error("{0} cannot be a gateway")]
    Gateway(IpAddr),
    #[error("bad gateway {0} for route {1}")]
    GatewayOfRoute(String, Cidr),
    #[error("{0} cannot be an interface address")]
    InterfaceAddress(IpAddr),
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("bad MAC address \"{0}\"")]
    MacAddress(String),
    #[error("bad name server \"{0}\"")]
    NameServer(String),
    #[error("bad netmask \"{0}\" for {1}")]
    Netmask(String, IpAddr),
    #[error("no enabled address")]
    NoAddress,
    #[error("no MAC address")]
    NoMacAddress,
    #[error("\"{0}\" is not a list")]
    NotAList(&'static str),
    #[error("{0} is not an {1} address")]
    NotAnAddress(String, Version),
    #[error("not an address entry")]
    NotAnAddressEntry,
    #[error("not a JSON object")]
    NotAnObject,
    #[error("\"routes\" holds something else than routes")]
    NotRoutes,
    #[error("gateway {0} is this server's own address")]
    OwnGateway(IpAddr),
    #[error("prefix length {0} out of range for {1}")]
    PrefixLen(String, IpAddr),
    #[error("more than {1} entries in \"{0}\"")]
    TooManyEntries(&'static str, usize),
}

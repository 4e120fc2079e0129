//! One value of `vm-data/networking`: from JSON to checked values, as far as that needs no knowledge of other interfaces.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value};

use super::fields::{self, enabled, field, gateway, list, netmask, scalar};
use super::unusable::Unusable;
use super::version::Version;
use super::{Cidr, Family, Gateway, Label, MacAddr, Route, quoted};
use crate::json;

/// What the host says about one interface.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) mac: MacAddr,
    pub(super) label: Option<Label>,
    pub(super) v4: Family,
    pub(super) v6: Family,
    pub(super) routes: Vec<Route>,
    pub(super) nameservers: Vec<IpAddr>,
    pub(super) warnings: Vec<String>,
}

/// A value that cannot be used: its interface stays as it is.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Whose it is, if that can be told.
    pub(super) mac: Option<MacAddr>,
    /// The MAC address or the name of the node, for messages.
    pub(super) who: String,
    /// What else could be told of it: its configuration in the guest stays, default route included.
    pub(super) label: Option<Label>,
    pub(super) has_v4_gateway: bool,
    pub(super) has_v6_gateway: bool,
}

/// Reads the value of the node `key`.
///
/// # Errors
/// What is wrong with it, and whose it is as far as that can be told.
pub(super) fn decode(key: &str, value: &[u8]) -> Result<Description, (Refusal, Unusable)> {
    let from_key = MacAddr::try_from(key).ok();
    let mut refusal = Refusal {
        mac: from_key,
        who: from_key.map_or_else(|| quoted(key), |mac| mac.to_string()),
        label: None,
        has_v4_gateway: false,
        has_v6_gateway: false,
    };
    read(value, from_key, &mut refusal).map_err(|why| (refusal, why))
}

/// Notes in `seen` what could be told of a value that is refused.
fn read(
    value: &[u8],
    from_key: Option<MacAddr>,
    seen: &mut Refusal,
) -> Result<Description, Unusable> {
    let value = json::parse_unwrapped(value)?;
    let Value::Object(object) = &value else {
        return Err(Unusable::NotAnObject);
    };
    let mac = mac(object, from_key)?;
    seen.mac = Some(mac);
    seen.who = mac.to_string();

    let mut warnings = Vec::new();
    let label = field(object, "label").and_then(|label| {
        let (label, changed) = Label::clean(&scalar(label));
        if changed {
            warnings.push("label cleaned".to_string());
        }
        label
    });
    seen.label.clone_from(&label);

    let v4_entries = list(object, "ips")?;
    let v6_entries = list(object, "ip6s")?;
    let v4_gateway = gateway(Version::V4, field(object, "gateway"));
    let v6_gateway = v6_gateway(object, v6_entries);
    seen.has_v4_gateway = matches!(v4_gateway, Ok(Some(_)));
    seen.has_v6_gateway = matches!(v6_gateway, Ok(Some(_)));
    let (v4_gateway, v6_gateway) = (v4_gateway?, v6_gateway?);

    let v4 = addresses(Version::V4, v4_entries, &mut warnings)?;
    let v6 = addresses(Version::V6, v6_entries, &mut warnings)?;
    if v4.is_empty() && v6.is_empty() {
        return Err(Unusable::NoAddress);
    }
    let mut routing = Routing {
        v4: (v4, v4_gateway),
        v6: (v6, v6_gateway),
        routes: Vec::new(),
    };
    for entry in list(object, "routes")? {
        let entry = entry.as_object().ok_or(Unusable::NotRoutes)?;
        let (destination, via) = route(entry, &mut warnings)?;
        routing.add(destination, via, &mut warnings)?;
    }
    let Routing { v4, v6, routes } = routing;
    let v4 = family(Version::V4, v4.0, v4.1, &mut warnings)?;
    let v6 = family(Version::V6, v6.0, v6.1, &mut warnings)?;
    let nameservers = nameservers(list(object, "dns")?, &mut warnings)?;
    Ok(Description {
        mac,
        label,
        v4,
        v6,
        routes,
        nameservers,
        warnings,
    })
}

/// The routes that were read so far, and what they depend on: the addresses and the default gateway of each family.
struct Routing {
    v4: (Vec<Cidr>, Option<IpAddr>),
    v6: (Vec<Cidr>, Option<IpAddr>),
    routes: Vec<Route>,
}

impl Routing {
    /// Adds a route, or makes a default route the gateway; one that cannot be used is left out with a warning.
    fn add(
        &mut self,
        destination: Cidr,
        via: Option<IpAddr>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Unusable> {
        let (connected, gateway) = match destination.address() {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        };
        if destination.is_default() {
            match (*gateway, via) {
                (_, None) => warnings.push(format!(
                    "ignored default route {destination} without a gateway"
                )),
                (None, Some(via)) => *gateway = Some(via),
                (Some(a), Some(b)) if a == b => {}
                (Some(a), Some(b)) => return Err(Unusable::DefaultGateways(a, b)),
            }
            return Ok(());
        }
        if connected.is_empty() {
            let version = Version::of(&destination.address());
            warnings.push(format!("ignored route {destination}: no {version} address"));
            return Ok(());
        }
        if let Some(via) = via
            && connected.iter().any(|own| own.address() == via)
        {
            return Err(Unusable::GatewayOfRoute(via.to_string(), destination));
        }
        if connected.iter().any(|own| own.network() == destination) {
            warnings.push(format!("ignored route {destination}: it is connected"));
            return Ok(());
        }
        if self
            .routes
            .iter()
            .any(|route| route.destination == destination)
        {
            warnings.push(format!("ignored route {destination}: listed twice"));
            return Ok(());
        }
        let via = via.map(|via| reach(via, connected));
        if let Some(Gateway {
            address,
            onlink: true,
        }) = via
        {
            warnings.push(format!(
                "gateway {address} of route {destination} is in none of the networks: taken as on-link"
            ));
        }
        self.routes.push(Route { destination, via });
        Ok(())
    }
}

fn mac(object: &Map<String, Value>, from_key: Option<MacAddr>) -> Result<MacAddr, Unusable> {
    match field(object, "mac").map(scalar) {
        Some(text) if !text.trim().is_empty() => {
            MacAddr::try_from(&*text).map_err(|_| Unusable::MacAddress(quoted(&text)))
        }
        Some(_) | None => from_key.ok_or(Unusable::NoMacAddress),
    }
}

/// The enabled addresses of a list.
fn addresses(
    version: Version,
    entries: &[Value],
    warnings: &mut Vec<String>,
) -> Result<Vec<Cidr>, Unusable> {
    let mut addresses: Vec<Cidr> = Vec::new();
    for entry in entries {
        let Some(entry) = entry.as_object() else {
            return Err(Unusable::NotAnAddressEntry);
        };
        let text = field(entry, "ip")
            .or_else(|| field(entry, "address"))
            .map(scalar)
            .unwrap_or_default();
        if !enabled(field(entry, "enabled"), &text)? {
            continue;
        }
        let address = fields::address(version, &text)?;
        let impossible = match address {
            IpAddr::V4(v4) => v4.is_broadcast(),
            IpAddr::V6(_) => false,
        };
        if impossible || address.is_unspecified() || address.is_multicast() || address.is_loopback()
        {
            return Err(Unusable::InterfaceAddress(address));
        }
        let new = netmask(field(entry, "netmask"), address)?;
        if new.is_default() {
            return Err(Unusable::PrefixLen("0".into(), address));
        }
        if let Some(old) = addresses.iter().find(|old| old.address() == address) {
            if *old != new {
                return Err(Unusable::ConflictingPrefixes(address));
            }
            warnings.push(format!("{address} is listed twice"));
            continue;
        }
        if let IpAddr::V4(v4) = address
            && new.prefix_len() < 31
        {
            let host_bits = match new.netmask() {
                IpAddr::V4(mask) => !mask,
                IpAddr::V6(_) => v4,
            };
            if v4 & host_bits == Ipv4Addr::UNSPECIFIED || v4 & host_bits == host_bits {
                warnings.push(format!("{new} is the network or broadcast address"));
            }
        }
        addresses.push(new);
    }
    Ok(addresses)
}

/// The IPv6 gateway by the newest key that has one.
fn v6_gateway(object: &Map<String, Value>, entries: &[Value]) -> Result<Option<IpAddr>, Unusable> {
    let of_entries = entries.iter().filter_map(Value::as_object).filter(|entry| {
        let on = enabled(field(entry, "enabled"), "");
        on.unwrap_or(true)
    });
    let sources = [field(object, "gateway_v6"), field(object, "gateway6")]
        .into_iter()
        .chain(of_entries.map(|entry| field(entry, "gateway")));
    for source in sources {
        if let Some(address) = gateway(Version::V6, source)? {
            return Ok(Some(address));
        }
    }
    Ok(None)
}

/// The network and the gateway of a route; a default route is one like any other here.
fn route(
    entry: &Map<String, Value>,
    warnings: &mut Vec<String>,
) -> Result<(Cidr, Option<IpAddr>), Unusable> {
    let text = field(entry, "route").map(scalar).unwrap_or_default();
    let version = if text.contains(':') {
        Version::V6
    } else {
        Version::V4
    };
    let address = fields::address(version, &text)?;
    let given = netmask(field(entry, "netmask"), address)?;
    let destination = given.network();
    if destination != given {
        warnings.push(format!(
            "route {given} has host bits set: taken as {destination}"
        ));
    }
    let value = field(entry, "gateway");
    let via = gateway(version, value).map_err(|_| {
        Unusable::GatewayOfRoute(quoted(&value.map(scalar).unwrap_or_default()), destination)
    })?;
    Ok((destination, via))
}

/// Addresses and gateway of one family, checked against each other.
fn family(
    version: Version,
    addresses: Vec<Cidr>,
    gateway: Option<IpAddr>,
    warnings: &mut Vec<String>,
) -> Result<Family, Unusable> {
    let gateway = match gateway {
        None => None,
        // Nova sends the gateway of a subnet from which the server has no address.
        Some(gateway) if addresses.is_empty() => {
            warnings.push(format!(
                "ignored default gateway {gateway}: no {version} address"
            ));
            None
        }
        Some(gateway) if addresses.iter().any(|own| own.address() == gateway) => {
            return Err(Unusable::OwnGateway(gateway));
        }
        Some(gateway) => Some(reach(gateway, &addresses)),
    };
    if let Some(Gateway {
        address,
        onlink: true,
    }) = gateway
    {
        warnings.push(format!(
            "gateway {address} is in none of the networks: taken as on-link"
        ));
    }
    Ok(Family { addresses, gateway })
}

fn reach(address: IpAddr, connected: &[Cidr]) -> Gateway {
    let link_local = match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let onlink = !link_local && !connected.iter().any(|own| own.contains(address));
    Gateway { address, onlink }
}

fn nameservers(entries: &[Value], warnings: &mut Vec<String>) -> Result<Vec<IpAddr>, Unusable> {
    let mut nameservers = Vec::new();
    for entry in entries {
        let text = if entry.is_null() {
            Cow::Borrowed("")
        } else {
            scalar(entry)
        };
        if text.trim().is_empty() {
            warnings.push("ignored an empty name server".to_string());
            continue;
        }
        match text.trim().parse::<IpAddr>() {
            Ok(address) if !address.is_unspecified() && !address.is_multicast() => {
                if nameservers.contains(&address) {
                    warnings.push(format!("name server {address} is listed twice"));
                } else {
                    nameservers.push(address);
                }
            }
            Ok(_) | Err(_) => return Err(Unusable::NameServer(quoted(&text))),
        }
    }
    Ok(nameservers)
}

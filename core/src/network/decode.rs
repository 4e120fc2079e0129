//! One value of `vm-data/networking`: from JSON to checked values, as far as that needs no knowledge of other interfaces.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value};

use super::{Cidr, Family, Gateway, Label, MacAddr, Route, quoted};
use crate::address::prefix_len_of_mask;
use crate::json;

/// The most entries of a list, which are compared with each other. A value of Xenstore has no room for more.
const LIST_MAX: usize = 128;

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
    /// Why it is refused.
    pub(super) text: String,
    /// What else could be told of it: its configuration in the guest stays, default route included.
    pub(super) label: Option<Label>,
    pub(super) has_v4_gateway: bool,
    pub(super) has_v6_gateway: bool,
}

/// Reads the value of the node `key`.
///
/// # Errors
/// [`Refusal`] with the text for the host.
pub(super) fn decode(key: &str, value: &[u8]) -> Result<Description, Refusal> {
    let from_key = MacAddr::try_from(key).ok();
    let mut refusal = Refusal {
        mac: from_key,
        who: from_key.map_or_else(|| quoted(key), |mac| mac.to_string()),
        text: String::new(),
        label: None,
        has_v4_gateway: false,
        has_v6_gateway: false,
    };
    let result = (|| {
        let value = json::parse_unwrapped(value).map_err(|error| error.to_string())?;
        let Value::Object(object) = &value else {
            return Err("not a JSON object".to_string());
        };
        let mac = mac(object, from_key)?;
        refusal.mac = Some(mac);
        refusal.who = mac.to_string();
        body(object, mac, &mut refusal)
    })();
    result.map_err(|text| Refusal { text, ..refusal })
}

/// An address family, where a key of the input decides which one is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Version {
    V4,
    V6,
}

impl Version {
    const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// An address of this family and no IPv4 address in the guise of IPv6.
    fn parse(self, text: &str) -> Result<IpAddr, String> {
        match text.trim().parse() {
            Ok(address @ IpAddr::V4(_)) if self == Self::V4 => Ok(address),
            Ok(IpAddr::V6(address)) if self == Self::V6 && address.to_ipv4_mapped().is_none() => {
                Ok(address.into())
            }
            Ok(_) | Err(_) if text.trim().is_empty() => {
                Err(format!("an empty text is not an {self} address"))
            }
            Ok(_) | Err(_) => Err(format!("{} is not an {self} address", quoted(text))),
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

fn body(
    object: &Map<String, Value>,
    mac: MacAddr,
    seen: &mut Refusal,
) -> Result<Description, String> {
    let mut warnings = Vec::new();
    let label = match field(object, "label") {
        Some(label) => {
            let (label, changed) = Label::clean(&scalar(label));
            if changed {
                warnings.push("label cleaned".to_string());
            }
            label
        }
        None => None,
    };
    seen.label.clone_from(&label);

    let v4_entries = list(object, "ips")?;
    let v6_entries = list(object, "ip6s")?;
    let gateways = [
        gateway(Version::V4, field(object, "gateway")),
        v6_gateway(object, v6_entries),
    ];
    [seen.has_v4_gateway, seen.has_v6_gateway] =
        [0, 1].map(|nth| matches!(gateways.get(nth), Some(Ok(Some(_)))));
    let [v4_gateway, v6_gateway] = gateways;
    let (mut v4_gateway, mut v6_gateway) = (v4_gateway?, v6_gateway?);

    let v4 = addresses(Version::V4, v4_entries, &mut warnings)?;
    let v6 = addresses(Version::V6, v6_entries, &mut warnings)?;
    if v4.is_empty() && v6.is_empty() {
        return Err("no enabled address".to_string());
    }

    let mut routes: Vec<Route> = Vec::new();
    for entry in list(object, "routes")? {
        let Some(entry) = entry.as_object() else {
            return Err("\"routes\" holds something else than routes".into());
        };
        let (destination, via) = route(entry, &mut warnings)?;
        let (connected, gateway) = match destination.address() {
            IpAddr::V4(_) => (&v4, &mut v4_gateway),
            IpAddr::V6(_) => (&v6, &mut v6_gateway),
        };
        if destination.is_default() {
            match (*gateway, via) {
                (_, None) => warnings.push(format!(
                    "ignored default route {destination} without a gateway"
                )),
                (None, Some(via)) => *gateway = Some(via),
                (Some(a), Some(b)) if a == b => {}
                (Some(a), Some(b)) => return Err(format!("conflicting default gateways {a}, {b}")),
            }
            continue;
        }
        if connected.is_empty() {
            let version = Version::of(&destination.address());
            warnings.push(format!("ignored route {destination}: no {version} address"));
            continue;
        }
        if let Some(via) = via
            && connected.iter().any(|own| own.address() == via)
        {
            return Err(format!("bad gateway {via} for route {destination}"));
        }
        if connected.iter().any(|own| own.network() == destination) {
            warnings.push(format!("ignored route {destination}: it is connected"));
            continue;
        }
        if routes.iter().any(|route| route.destination == destination) {
            warnings.push(format!("ignored route {destination}: listed twice"));
            continue;
        }
        let via = via.map(|via| reach(via, connected));
        if let Some(Gateway {
            address,
            onlink: true,
        }) = via
        {
            warnings
                .push(format!("gateway {address} of route {destination} is in none of the networks: taken as on-link"));
        }
        routes.push(Route { destination, via });
    }

    let v4 = family(Version::V4, v4, v4_gateway, &mut warnings)?;
    let v6 = family(Version::V6, v6, v6_gateway, &mut warnings)?;
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

fn mac(object: &Map<String, Value>, from_key: Option<MacAddr>) -> Result<MacAddr, String> {
    match field(object, "mac").map(scalar) {
        Some(text) if !text.trim().is_empty() => {
            MacAddr::try_from(&*text).map_err(|_| format!("bad MAC address \"{}\"", quoted(&text)))
        }
        Some(_) | None => from_key.ok_or_else(|| "no MAC address".to_string()),
    }
}

/// The enabled addresses of a list.
fn addresses(
    version: Version,
    entries: &[Value],
    warnings: &mut Vec<String>,
) -> Result<Vec<Cidr>, String> {
    let mut addresses: Vec<Cidr> = Vec::new();
    for entry in entries {
        let Some(entry) = entry.as_object() else {
            return Err("not an address entry".to_string());
        };
        let text = field(entry, "ip")
            .or_else(|| field(entry, "address"))
            .map(scalar)
            .unwrap_or_default();
        if !enabled(field(entry, "enabled"), &text)? {
            continue;
        }
        let address = version.parse(&text)?;
        let impossible = match address {
            IpAddr::V4(v4) => v4.is_broadcast(),
            IpAddr::V6(_) => false,
        };
        if impossible || address.is_unspecified() || address.is_multicast() || address.is_loopback()
        {
            return Err(format!("{address} cannot be an interface address"));
        }
        let new = netmask(field(entry, "netmask"), address)?;
        if new.is_default() {
            return Err(format!("prefix length 0 out of range for {address}"));
        }
        if let Some(old) = addresses.iter().find(|old| old.address() == address) {
            if *old != new {
                return Err(format!("conflicting prefixes for {address}"));
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

/// Absent means enabled, as for every agent but the first one.
fn enabled(value: Option<&Value>, ip: &str) -> Result<bool, String> {
    let Some(text) = value.map(scalar) else {
        return Ok(true);
    };
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!(
            "bad \"enabled\" value \"{}\" for {}",
            quoted(&text),
            quoted(ip)
        )),
    }
}

/// The address with the prefix length that a netmask, an IPv6 mask or a plain number stands for.
fn netmask(value: Option<&Value>, address: IpAddr) -> Result<Cidr, String> {
    let text = value.map(scalar).unwrap_or_default();
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return text
            .parse()
            .ok()
            .and_then(|prefix_len| Cidr::new(address, prefix_len))
            .ok_or_else(|| format!("prefix length {} out of range for {address}", quoted(text)));
    }
    Version::of(&address)
        .parse(text)
        .ok()
        .and_then(prefix_len_of_mask)
        .and_then(|prefix_len| Cidr::new(address, prefix_len))
        .ok_or_else(|| format!("bad netmask \"{}\" for {address}", quoted(text)))
}

/// A gateway; the many ways to say that there is none are the same.
fn gateway(version: Version, value: Option<&Value>) -> Result<Option<IpAddr>, String> {
    let Some(text) = value.map(scalar) else {
        return Ok(None);
    };
    // A link-local gateway is always tied to its own interface, whatever zone the host names.
    let text = match version {
        Version::V4 => &*text,
        Version::V6 => text.split('%').next().unwrap_or_default(),
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let address = version.parse(text)?;
    if address.is_unspecified() {
        return Ok(None);
    }
    if address.is_multicast() || address.is_loopback() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
    {
        return Err(format!("{address} cannot be a gateway"));
    }
    Ok(Some(address))
}

/// The IPv6 gateway by the newest key that has one.
fn v6_gateway(object: &Map<String, Value>, entries: &[Value]) -> Result<Option<IpAddr>, String> {
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
) -> Result<(Cidr, Option<IpAddr>), String> {
    let text = field(entry, "route").map(scalar).unwrap_or_default();
    let version = if text.contains(':') {
        Version::V6
    } else {
        Version::V4
    };
    let address = version.parse(&text)?;
    let given = netmask(field(entry, "netmask"), address)?;
    let destination = given.network();
    if destination != given {
        warnings.push(format!(
            "route {given} has host bits set: taken as {destination}"
        ));
    }
    let value = field(entry, "gateway");
    let via = gateway(version, value).map_err(|_| {
        format!(
            "bad gateway {} for route {destination}",
            quoted(&value.map(scalar).unwrap_or_default())
        )
    })?;
    Ok((destination, via))
}

/// Addresses and gateway of one family, checked against each other.
fn family(
    version: Version,
    addresses: Vec<Cidr>,
    gateway: Option<IpAddr>,
    warnings: &mut Vec<String>,
) -> Result<Family, String> {
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
            return Err(format!("gateway {gateway} is this server's own address"));
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

fn nameservers(entries: &[Value], warnings: &mut Vec<String>) -> Result<Vec<IpAddr>, String> {
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
            Ok(_) | Err(_) => return Err(format!("bad name server \"{}\"", quoted(&text))),
        }
    }
    Ok(nameservers)
}

/// The value of a key, in any case; null is as good as absent.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object
        .get(name)
        .or_else(|| {
            object
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        })
        .filter(|value| !value.is_null())
}

fn list<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    match field(object, name) {
        None => Ok(&[]),
        Some(Value::Array(values)) if values.len() > LIST_MAX => {
            Err(format!("more than {LIST_MAX} entries in \"{name}\""))
        }
        Some(Value::Array(values)) => Ok(values),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_),
        ) => Err(format!("\"{name}\" is not a list")),
    }
}

/// The text of a string, number or boolean, so that all their spellings of one value meet.
fn scalar(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Number(number) => Cow::Owned(number.to_string()),
        Value::Bool(true) => Cow::Borrowed("true"),
        Value::Bool(false) => Cow::Borrowed("false"),
        Value::Null => Cow::Borrowed("null"),
        Value::Array(_) => Cow::Borrowed("(a list)"),
        Value::Object(_) => Cow::Borrowed("(an object)"),
    }
}

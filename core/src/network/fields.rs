//! The fields of a value of `vm-data/networking`, whatever way a host has of writing them.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use core::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value};

use super::unusable::Unusable;
use super::version::Version;
use super::{Cidr, quoted};
use crate::address::prefix_len_of_mask;

/// The most entries of a list, which are compared with each other. A value of Xenstore has no room for more.
const LIST_MAX: usize = 128;

/// The value of a key, in any case; null is as good as absent.
pub(super) fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
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

pub(super) fn list<'a>(
    object: &'a Map<String, Value>,
    name: &'static str,
) -> Result<&'a [Value], Unusable> {
    match field(object, name) {
        None => Ok(&[]),
        Some(Value::Array(values)) if values.len() > LIST_MAX => {
            Err(Unusable::TooManyEntries(name, LIST_MAX))
        }
        Some(Value::Array(values)) => Ok(values),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_),
        ) => Err(Unusable::NotAList(name)),
    }
}

/// The text of a string, number or boolean, so that all their spellings of one value meet.
pub(super) fn scalar(value: &Value) -> Cow<'_, str> {
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

/// An address of this family and no IPv4 address in the guise of IPv6.
pub(super) fn address(version: Version, text: &str) -> Result<IpAddr, Unusable> {
    match text.trim().parse() {
        Ok(address @ IpAddr::V4(_)) if version == Version::V4 => Ok(address),
        Ok(IpAddr::V6(address)) if version == Version::V6 && address.to_ipv4_mapped().is_none() => {
            Ok(address.into())
        }
        Ok(_) | Err(_) if text.trim().is_empty() => Err(Unusable::EmptyAddress(version)),
        Ok(_) | Err(_) => Err(Unusable::NotAnAddress(quoted(text), version)),
    }
}

/// Absent means enabled, as for every agent but the first one.
pub(super) fn enabled(value: Option<&Value>, ip: &str) -> Result<bool, Unusable> {
    let Some(text) = value.map(scalar) else {
        return Ok(true);
    };
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(Unusable::Enabled(quoted(&text), quoted(ip))),
    }
}

/// The address with the prefix length that a netmask, an IPv6 mask or a plain number stands for.
pub(super) fn netmask(value: Option<&Value>, address: IpAddr) -> Result<Cidr, Unusable> {
    let text = value.map(scalar).unwrap_or_default();
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return text
            .parse()
            .ok()
            .and_then(|prefix_len| Cidr::new(address, prefix_len))
            .ok_or_else(|| Unusable::PrefixLen(quoted(text), address));
    }
    self::address(Version::of(&address), text)
        .ok()
        .and_then(prefix_len_of_mask)
        .and_then(|prefix_len| Cidr::new(address, prefix_len))
        .ok_or_else(|| Unusable::Netmask(quoted(text), address))
}

/// A gateway; the many ways to say that there is none are the same.
pub(super) fn gateway(version: Version, value: Option<&Value>) -> Result<Option<IpAddr>, Unusable> {
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
    let address = address(version, text)?;
    if address.is_unspecified() {
        return Ok(None);
    }
    if address.is_multicast() || address.is_loopback() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
    {
        return Err(Unusable::Gateway(address));
    }
    Ok(Some(address))
}

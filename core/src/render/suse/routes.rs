//! `/etc/sysconfig/network/routes`, whose routes are for every interface, and the lines of such a
//! file.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::effect::GuestPath;
use crate::network::NetworkConfig;
use crate::render::context::Context;
use crate::render::error::Refusal;

const PATH: GuestPath = GuestPath::constant("/etc/sysconfig/network/routes");

/// Removes the routes of the managed interfaces; returns whether there were any.
///
/// # Errors
/// Refuses if the file cannot be edited.
pub(super) fn take_out(cx: &mut Context<'_>) -> Result<bool, Refusal> {
    let Some(text) = cx.text(&PATH)? else {
        return Ok(false);
    };
    let others = cx.guest.has_others(cx.config);
    let kept: String = logical_lines(&text)
        .into_iter()
        .filter(|line| !is_managed(line, cx.config, others))
        .collect();
    if kept == text {
        return Ok(false);
    }
    cx.write(&PATH, &kept)?;
    Ok(true)
}

/// The words of each line that says something.
pub(super) fn lines(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(words)
        .filter(|words| !words.is_empty())
        .collect()
}

/// Whether a route belongs to a managed interface, by its fourth column or, without one, by where
/// it leads. If there are others, which stay as they are, a default route may be theirs.
fn is_managed(line: &str, config: &NetworkConfig, others: bool) -> bool {
    let words = words(line);
    let column = |nth: usize| words.get(nth).copied().filter(|word| *word != "-");
    let Some(destination) = column(0) else {
        return false;
    };
    if let Some(interface) = column(3) {
        return config.interface(interface).is_some();
    }
    let gateway = column(1);
    let v6 = destination.contains(':') || gateway.is_some_and(|gateway| gateway.contains(':'));
    let is_default = ["default", "0.0.0.0/0", "::/0"].contains(&destination)
        && (!others || config.has_gateway(v6));
    let is_ours = config
        .interfaces
        .iter()
        .flat_map(|interface| &interface.routes)
        .any(|route| route.destination.to_string() == destination);
    let is_through_ours = gateway
        .and_then(|gateway| gateway.parse().ok())
        .is_some_and(|gateway| config.contains(gateway));
    is_default || is_ours || is_through_ours
}

/// The words of a line; none for a comment.
fn words(line: &str) -> Vec<&str> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    if words.first().is_some_and(|first| first.starts_with('#')) {
        Vec::new()
    } else {
        words
    }
}

/// Lines with their ends; one that ends in a backslash goes on in the next.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for raw in text.split_inclusive('\n') {
        match lines.last_mut() {
            Some(last) if last.trim_ascii_end().ends_with('\\') => last.push_str(raw),
            _ => lines.push(raw.to_string()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;

    use crate::effect::InterfaceState;
    use crate::network::validate;

    use super::*;

    #[test]
    fn only_routes_of_managed_interfaces_are_taken_out() {
        let value = br#"{"mac": "00163e000001", "ips": [{"ip": "192.0.2.10", "netmask": 24}],
            "routes": [{"route": "10.0.0.0", "netmask": "255.0.0.0", "gateway": "192.0.2.1"}]}"#;
        let interface = InterfaceState {
            name: "eth0".to_owned(),
            mac: "00163e000001".try_into().ok(),
            physical: true,
            vif: Some(0),
            master: None,
            driver: None,
            up: true,
            addresses: Vec::new(),
        };
        let config = validate(
            &[("00163e000001".to_owned(), value.to_vec())],
            &[],
            &[interface],
        )
        .config;
        assert_eq!(config.interfaces.len(), 1);
        for managed in [
            "default 198.51.100.1 - -\n",
            "default 198.51.100.1\n",
            "::/0 fe80::1 - eth0",
            "10.0.0.0/8 198.51.100.1 - -",
            "172.16.0.0 192.0.2.7 255.240.0.0 - table 42",
            "172.16.0.0/12 - - eth0",
        ] {
            assert!(is_managed(managed, &config, false), "{managed}");
        }
        for kept in [
            "",
            "# default 192.0.2.1 - -",
            "default 198.51.100.1 - eth1",
            "10.0.0.0/8 192.0.2.1 - eth1 ",
            "172.16.0.0/12 198.51.100.1 - -",
            "- 192.0.2.1",
        ] {
            assert!(!is_managed(kept, &config, false), "{kept}");
        }
        // It may be that of an interface that stays as it is, unless it leads into a network of one
        // that does not.
        assert!(!is_managed("default 198.51.100.1 - -", &config, true));
        assert!(is_managed("default 192.0.2.1 - -", &config, true));
        assert!(is_managed("default 198.51.100.1 - eth0", &config, true));
    }

    #[test]
    fn a_route_with_several_gateways_stays_in_one_piece() {
        let text = "a - - - \\\n nexthop via b \\\n nexthop via c\nd\n";
        assert_eq!(
            logical_lines(text),
            ["a - - - \\\n nexthop via b \\\n nexthop via c\n", "d\n"]
        );
        assert_eq!(logical_lines(text).concat(), text);
    }
}

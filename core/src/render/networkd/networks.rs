//! The existing `.network` files, and the interfaces that each one matches.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::effect::GuestPath;
use crate::network::{Interface, MacAddr, NetworkConfig};
use crate::render::guest::{FILES_MAX, Guest};
use crate::render::ini::Ini;
use crate::render::text::matches;

/// The directories, the one whose files win first. Older systems have `/lib` and `/usr/lib` apart.
static DIRECTORIES: [GuestPath; 5] = [
    ETC,
    GuestPath::constant("/run/systemd/network"),
    GuestPath::constant("/usr/local/lib/systemd/network"),
    GuestPath::constant("/usr/lib/systemd/network"),
    GuestPath::constant("/lib/systemd/network"),
];

pub(super) const ETC: GuestPath = GuestPath::constant("/etc/systemd/network");

/// A file that is in effect, with its drop-ins.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) path: GuestPath,
    /// Whether a file of this name remains after it is removed: a package's file, or one that it
    /// hides.
    pub(super) comes_back: bool,
    /// Its content; `None` if it cannot be read.
    pub(super) content: Option<Ini>,
}

/// How a file matches an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fit {
    /// It does not match.
    No,
    /// It matches, and may match others, too.
    Pattern,
    /// It matches only interfaces of the host.
    Exact,
}

impl Network {
    /// The file name, by which they are sorted.
    pub(super) fn name(&self) -> &str {
        self.path.name()
    }

    /// Returns how it matches an interface; a file that cannot be read may match any.
    pub(super) fn fit(
        &self,
        interface: &Interface,
        config: &NetworkConfig,
        guest: &Guest<'_>,
    ) -> Fit {
        self.content.as_ref().map_or(Fit::Pattern, |content| {
            fit(content, interface, config, guest)
        })
    }
}

/// All files in the order in which they are tried. The first one that is for an interface is taken.
pub(super) fn load(guest: &Guest<'_>) -> Vec<Network> {
    let mut found: BTreeMap<&str, Vec<&'static GuestPath>> = BTreeMap::new();
    let mut drop_ins: BTreeMap<&str, Vec<GuestPath>> = BTreeMap::new();
    for directory in &DIRECTORIES {
        for name in guest.list(directory, |name| name.ends_with(".network")) {
            found.entry(name).or_default().push(directory);
        }
        for name in guest.names(directory).into_iter().take(FILES_MAX) {
            if let Some(of) = name
                .strip_suffix(".d")
                .filter(|of| of.ends_with(".network"))
            {
                drop_ins.entry(of).or_default().extend(directory.join(name));
            }
        }
    }
    let mut networks = Vec::new();
    for (name, directories) in found {
        let [directory, hidden @ ..] = directories.as_slice() else {
            continue;
        };
        let Ok(path) = directory.join(name) else {
            continue;
        };
        if guest.link_target(&path) == Some("/dev/null") {
            continue;
        }
        let content = match guest.editable(&path) {
            // An empty file only hides another one.
            Ok((_, None)) => continue,
            Ok((_, Some(text))) if text.is_empty() => continue,
            Ok((_, Some(text))) => {
                let drop_ins = drop_ins.get(name).map(Vec::as_slice).unwrap_or_default();
                Some(Ini::parse(&unfolded(&format!(
                    "{text}{}",
                    joined(drop_ins, guest)
                ))))
            }
            Err(_) => None,
        };
        let is_package = !["/etc/", "/run/"]
            .iter()
            .any(|local| path.as_str().starts_with(local));
        networks.push(Network {
            path,
            comes_back: is_package || !hidden.is_empty(),
            content,
        });
    }
    networks
}

/// What the drop-ins of a file add, in the order of their names.
fn joined(directories: &[GuestPath], guest: &Guest<'_>) -> String {
    let mut files: BTreeMap<&str, GuestPath> = BTreeMap::new();
    for directory in directories {
        for name in guest.list(directory, |name| name.ends_with(".conf")) {
            if let Ok(path) = directory.join(name) {
                files.entry(name).or_insert(path);
            }
        }
    }
    files
        .values()
        .filter_map(|path| guest.text(path))
        .map(|text| format!("\n{text}"))
        .collect()
}

/// A line that ends with a backslash goes on in the next one.
fn unfolded(text: &str) -> String {
    text.replace("\\\n", " ")
}

/// Whether the conditions of a file hold for an interface, all of which must. Those that are about
/// the whole system are taken to hold.
fn fit(content: &Ini, interface: &Interface, config: &NetworkConfig, guest: &Guest<'_>) -> Fit {
    let state = guest.interface(interface.name.as_str());
    let macs = [Some(interface.mac), state.and_then(|state| state.mac)];
    let driver = state.and_then(|state| state.driver.as_deref());
    let mut fit = Fit::Pattern;

    for key in ["MACAddress", "PermanentMACAddress"] {
        let words = words(content, "Match", key);
        let wanted: Vec<MacAddr> = words
            .iter()
            .filter_map(|mac| MacAddr::try_from(*mac).ok())
            .collect();
        if !words.is_empty() && !wanted.iter().any(|mac| macs.contains(&Some(*mac))) {
            return Fit::No;
        }
        let has = |interface: &Interface, mac: MacAddr| {
            let state = guest.interface(interface.name.as_str());
            interface.mac == mac || state.is_some_and(|state| state.mac == Some(mac))
        };
        let is_managed = |mac: &MacAddr| {
            config
                .interfaces
                .iter()
                .any(|interface| has(interface, *mac))
        };
        if !wanted.is_empty() && wanted.len() == words.len() && wanted.iter().all(is_managed) {
            fit = Fit::Exact;
        }
    }
    let names = words(content, "Match", "Name");
    if !holds(&names, |pattern| matches(pattern, interface.name.as_str())) {
        return Fit::No;
    }
    let is_managed = |name: &&str| config.interface(name).is_some();
    if !names.is_empty() && names.iter().all(is_managed) {
        fit = Fit::Exact;
    }
    let others = [
        holds(&words(content, "Match", "Type"), |pattern| {
            matches(pattern, "ether")
        }),
        // One that is not known may be any.
        holds(&words(content, "Match", "Driver"), |pattern| {
            driver.is_none_or(|driver| matches(pattern, driver))
        }),
        // What is not made by software has none.
        holds(&words(content, "Match", "Kind"), |_| false),
        ["BSSID", "SSID", "WLANInterfaceType"]
            .iter()
            .all(|key| words(content, "Match", key).is_empty()),
    ];
    if others.contains(&false) {
        Fit::No
    } else {
        fit
    }
}

/// Returns whether a list of patterns matches; an exclamation mark in front negates the whole list.
fn holds(patterns: &[&str], is_match: impl Fn(&str) -> bool) -> bool {
    match patterns.split_first() {
        None => true,
        Some((first, rest)) => match first.strip_prefix('!') {
            Some(first) => !is_match(first) && !rest.iter().any(|pattern| is_match(pattern)),
            None => patterns.iter().any(|pattern| is_match(pattern)),
        },
    }
}

/// Returns the words of all values of a key. An empty value resets the list.
pub(super) fn words<'a>(content: &'a Ini, section: &'a str, key: &'a str) -> Vec<&'a str> {
    let mut words = Vec::new();
    for value in content.all(section, key) {
        if value.is_empty() {
            words.clear();
        }
        words.extend(value.split_ascii_whitespace());
    }
    words
}

#[cfg(test)]
mod tests {
    use crate::effect::{InterfaceState, Snapshot};
    use crate::network::validate;

    use super::*;

    #[test]
    fn a_file_is_for_the_interfaces_that_its_conditions_name() {
        let state = |name: &str, mac: &str| InterfaceState {
            name: name.into(),
            mac: mac.try_into().ok(),
            physical: true,
            vif: None,
            master: None,
            driver: Some("vif".into()),
            up: true,
            addresses: Vec::new(),
        };
        let interfaces = alloc::vec![
            state("eth0", "00:16:3e:00:00:01"),
            state("eth1", "00:16:3e:00:00:02")
        ];
        let snapshot = Snapshot {
            interfaces: Some(interfaces),
            ..Snapshot::default()
        };
        let guest = Guest::new(&snapshot);
        let value = br#"{"ips": [{"ip": "192.0.2.2", "netmask": 24}]}"#.to_vec();
        let config = validate(&[("00163e000001".into(), value)], &[], guest.interfaces()).config;
        let interface = config.interfaces.first().unwrap();
        let fit = |text: &str| fit(&Ini::parse(&unfolded(text)), interface, &config, &guest);

        for exact in [
            "[Match]\nName=eth0\n",
            "[Match]\nMACAddress=00-16-3E-00-00-01\nType=ether\n",
            "[Match]\nName=eth1\nName=\nName=\\\n eth0\nDriver=v*\n",
            "[Match]\nPermanentMACAddress=00:16:3e:00:00:01\nName=e*\nVirtualization=xen\n",
        ] {
            assert_eq!(fit(exact), Fit::Exact, "{exact}");
        }
        for pattern in [
            "[Network]\nDHCP=yes\n",
            "[Match]\nName=eth0 eth1\n",
            "[Match]\nName=e*\n",
            "[Match]\nName=!lo\n",
        ] {
            assert_eq!(fit(pattern), Fit::Pattern, "{pattern}");
        }
        for other in [
            "[Match]\nName=eth1\n",
            "[Match]\nName=!eth* lo\n",
            "[Match]\nMACAddress=00:16:3e:00:00:02\nName=eth0\n",
            "[Match]\nName=eth0\nType=wlan\n",
            "[Match]\nName=eth0\nKind=veth\n",
            "[Match]\nName=e*\nDriver=virtio*\n",
            "[Match]\nSSID=x\n",
        ] {
            assert_eq!(fit(other), Fit::No, "{other}");
        }
    }
}

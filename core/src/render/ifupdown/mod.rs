//! `/etc/network/interfaces` and the files that it includes: Debian's ifupdown, and those that read
//! the same format.
//!
//! The text uses only what all of them support: one `iface` stanza per address, the netmask on a
//! line of its own, `up ip route add` for every route.

mod edit;
mod sources;
mod stanzas;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use self::edit::{Edited, Kept, Loopback, meaning, take_out};
use self::sources::{MAIN, Source, SourceDirectory, Sources, load};
use super::context::Context;
use super::error::Refusal;
use super::guest::Guest;
use super::renderer::{Renderer, Stack};
use super::resolv;
use super::restart::{Activation, InterfacePrograms, per_interface};
use super::routes::in_order;
use super::text::{HEADER, end_line, label_comment, stable_order};
use crate::network::{Family, Interface, InterfaceName, NetworkConfig};

/// Files that cloud-init wrote; their loopback stanza is its own as well.
const CLOUD_INIT: &str = "50-cloud-init";

/// The stack of Debian up to 13 and of Ubuntu up to 16.04.
pub(super) static IFUPDOWN: Stack = Stack::new("ifupdown", &DEBIAN);

/// The replacement for ifupdown on some of them.
pub(super) static IFUPDOWN2: Stack = Stack::new("ifupdown2", &DEBIAN);

/// The stack of Alpine.
pub(super) static IFUPDOWN_NG: Stack = Stack::new("ifupdown-ng", &ALPINE);

/// The stack of older versions of Alpine, and of small systems.
pub(super) static BUSYBOX: Stack = Stack::new("busybox ifupdown", &ALPINE);

/// An implementation of `ifup` and `ifdown`.
#[derive(Debug)]
struct Ifupdown {
    /// Forced down: for an interface left half-configured, which has addresses but is not known to
    /// be up.
    programs: InterfacePrograms,
    source_directory: SourceDirectory,
    /// Whether it tells resolvconf the name servers of the interfaces.
    tells_resolvconf: bool,
}

static DEBIAN: Ifupdown = Ifupdown {
    programs: InterfacePrograms {
        up: &["ifup"],
        down: &["ifdown"],
        force_down: &["ifdown", "--force"],
    },
    source_directory: SourceDirectory::Plain,
    tells_resolvconf: true,
};

/// busybox knows no long options.
static ALPINE: Ifupdown = Ifupdown {
    programs: InterfacePrograms {
        up: &["ifup"],
        down: &["ifdown"],
        force_down: &["ifdown", "-f"],
    },
    source_directory: SourceDirectory::All,
    tells_resolvconf: false,
};

impl Renderer for Ifupdown {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        let (config, guest) = (cx.config, cx.guest);
        // With resolvconf, the file is made of what the interfaces bring along.
        let by_resolvconf = self.tells_resolvconf && guest.program("resolvconf").is_some();
        if !by_resolvconf || resolv::is_regular(guest) {
            resolv::update(&config.nameservers(), cx)?;
        }

        let Sources {
            files: sources,
            warnings,
        } = load(guest, self.source_directory)?;
        for warning in warnings {
            cx.warn(warning);
        }
        let mut kept = BTreeMap::new();
        let edited: Vec<Edited> = sources
            .iter()
            .map(|source| take_out(&source.text, config, &mut kept))
            .collect();

        let mut loopback = Loopback::default();
        let mut new_texts = Vec::new();
        for (source, edited) in sources.iter().zip(&edited).skip(1) {
            let from_cloud_init = source.path.name().starts_with(CLOUD_INIT);
            let only_loopback = edited.has_loopback.auto || edited.has_loopback.iface;
            if edited.changed
                && !edited.has_stanzas
                && (from_cloud_init || !only_loopback)
                && !source.is_named
            {
                cx.remove(&source.path);
                continue;
            }
            loopback = loopback.or(edited.has_loopback);
            let text = edited.text();
            if edited.changed {
                cx.write(&source.path, &text)?;
            }
            new_texts.push(text);
        }
        let main = edited
            .first()
            .map(|edited| whole(edited, loopback, config, &kept))
            .unwrap_or_default();
        cx.write(&MAIN, &main)?;
        new_texts.insert(0, main);

        let before = meaning(sources.iter().map(|source| source.text.as_str()), config);
        let after = meaning(new_texts.iter().map(String::as_str), config);
        let changed: BTreeSet<InterfaceName> = config
            .names()
            .filter(|name| before.get(*name) != after.get(*name))
            .cloned()
            .collect();
        Ok(per_interface(config, &changed, self.programs, guest))
    }
}

/// Whether the files define every interface of a configuration.
pub(super) fn define_all(config: &NetworkConfig, guest: &Guest<'_>) -> bool {
    let Ok(Sources { files, .. }) = load(guest, SourceDirectory::Plain) else {
        return false;
    };
    let defined = meaning(
        files.iter().map(|source: &Source| source.text.as_str()),
        config,
    );
    !config.interfaces.is_empty()
        && config
            .interfaces
            .iter()
            .all(|interface| defined.contains_key(&interface.name))
}

impl Loopback {
    const fn or(self, other: Self) -> Self {
        Self {
            auto: self.auto || other.auto,
            iface: self.iface || other.iface,
        }
    }
}

/// The main file with the interfaces in place of the old ones, else at its end.
fn whole(
    edited: &Edited,
    loopback: Loopback,
    config: &NetworkConfig,
    kept: &BTreeMap<InterfaceName, Kept>,
) -> String {
    let loopback = loopback.or(edited.has_loopback);
    let mut text = edited.before.clone();
    end_line(&mut text);
    if !loopback.auto {
        text.push_str("auto lo\n");
    }
    if !loopback.iface {
        text.push_str("iface lo inet loopback\n");
    }
    text.push_str(HEADER);
    let nothing = Kept::default();
    for interface in &config.interfaces {
        text.push_str(&stanzas(
            interface,
            kept.get(&interface.name).unwrap_or(&nothing),
        ));
    }
    text.push_str(&edited.after);
    text
}

/// Writes one `iface` stanza per address: implementations disagree about aliases (`eth0:1`).
fn stanzas(interface: &Interface, kept: &Kept) -> String {
    let name = &interface.name;
    let mut text = label_comment(interface);
    text.push_str(&format!("auto {name}\n"));

    let nameservers: Vec<String> = stable_order(&interface.nameservers, &kept.nameservers)
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut options = kept.options.clone();
    for (family, word, ip) in [
        (&interface.v4, "inet", "ip"),
        (&interface.v6, "inet6", "ip -6"),
    ] {
        let v4 = word == "inet";
        let gateway_in = place_of_gateway(family);
        for (nth, own) in family.addresses.iter().enumerate() {
            text.push_str(&format!("iface {name} {word} static\n"));
            let mut option = |line: &str| text.push_str(&format!("    {line}\n"));
            option(&format!("address {}", own.address()));
            // busybox refuses `address A/L`.
            let netmask = if v4 {
                own.netmask().to_string()
            } else {
                own.prefix_len().to_string()
            };
            option(&format!("netmask {netmask}"));
            if let Some(gateway) = family.gateway.filter(|_| gateway_in == Some(nth)) {
                option(&format!("gateway {}", gateway.address));
            }
            // resolvconf has one record per interface and family, and the last stanza's list wins.
            if v4 || interface.v4.addresses.is_empty() {
                if !nameservers.is_empty() {
                    option(&format!("dns-nameservers {}", nameservers.join(" ")));
                }
                if let Some(search) = &kept.search {
                    option(&format!("dns-search {search}"));
                }
            }
            options.drain(..).for_each(|line| option(&line));
            // Only now every network of the interface is there.
            if nth.saturating_add(1) == family.addresses.len() {
                routes(interface, family, v4)
                    .iter()
                    .for_each(|route| option(&format!("up {ip} route add {route}")));
            }
        }
    }
    text
}

/// Returns the number of the stanza that brings up the network of the gateway; `None` if a
/// `gateway` line cannot express it.
fn place_of_gateway(family: &Family) -> Option<usize> {
    let gateway = family.gateway.filter(|gateway| !gateway.onlink)?;
    let place = family
        .addresses
        .iter()
        .position(|own| own.contains(gateway.address));
    // A link-local gateway is in none of them and can be reached from the start.
    Some(place.unwrap_or(0))
}

/// Returns arguments of `ip route add` for routes that no option can express. Every implementation
/// sets `$IFACE`.
///
/// Only ifupdown adds `onlink` to a gateway outside the networks; a route to the gateway works
/// everywhere.
fn routes(interface: &Interface, family: &Family, v4: bool) -> Vec<String> {
    let of_family = interface
        .routes
        .iter()
        .filter(|route| route.destination.address().is_ipv4() == v4);
    let default = family.gateway.filter(|gateway| gateway.onlink);

    in_order(default, of_family)
        .iter()
        .map(|hop| format!("{hop} dev $IFACE"))
        .collect()
}

//! Removes the managed interfaces from a file and keeps everything else in place.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::stanzas::{Kind, Line, Stanza, Stanzas};
use crate::network::{InterfaceName, NetworkConfig};
use crate::render::text::{HEADER, LABEL, end_line};

/// A file without the managed interfaces.
#[derive(Debug, Default)]
pub(super) struct Edited {
    /// The text before the first removed stanza; all of it if none was removed.
    pub(super) before: String,
    /// The text after it.
    pub(super) after: String,
    /// Whether any stanza was removed.
    pub(super) changed: bool,
    /// Whether a stanza is left, other than that of the loopback interface.
    pub(super) has_stanzas: bool,
    /// Whether the loopback interface is left.
    pub(super) has_loopback: Loopback,
}

/// What a configuration says about the loopback interface.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loopback {
    pub(super) auto: bool,
    pub(super) iface: bool,
}

/// The options that are kept of the stanzas of one interface.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// Options and hooks, once each.
    pub(super) options: Vec<String>,
    /// The search domains, which every stanza repeats.
    pub(super) search: Option<String>,
    /// The name servers in their order.
    pub(super) nameservers: Vec<IpAddr>,
}

/// Returns the managed interface of a name, which may be an alias like `eth0:1`.
pub(super) fn managed<'a>(name: &str, config: &'a NetworkConfig) -> Option<&'a InterfaceName> {
    let base = name.split(':').next().unwrap_or_default();
    config.names().find(|name| name.as_str() == base)
}

/// Removes the managed interfaces from a file and collects what is worth keeping.
pub(super) fn take_out(
    text: &str,
    config: &NetworkConfig,
    kept: &mut BTreeMap<InterfaceName, Kept>,
) -> Edited {
    let file = Stanzas::parse(text);
    let mut edited = Edited::default();
    edited.keep(&file.lead);
    for stanza in &file.list {
        match &stanza.kind {
            Kind::Iface(name) => match managed(name, config) {
                Some(name) => {
                    edited.cut();
                    keep_options(stanza, kept.entry(name.clone()).or_default());
                }
                None => {
                    edited.has_loopback.iface |= name == "lo";
                    edited.has_stanzas |= name != "lo";
                    edited.keep_stanza(stanza);
                }
            },
            Kind::Allow(names) => {
                edited.has_loopback.auto |= names.iter().any(|name| name == "lo");
                edited.keep_names(stanza, names, config);
            }
            Kind::Mapping(names) => edited.keep_names(stanza, names, config),
            Kind::Source(_) | Kind::SourceDirectory(_) | Kind::Other => {
                edited.has_stanzas = true;
                edited.keep_stanza(stanza);
            }
        }
        edited.keep(&stanza.trailing);
    }
    edited
}

impl Edited {
    /// The file without anything in the place of what was taken out.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.before, self.after)
    }

    fn push(&mut self, raw: &str) {
        let text = if self.changed {
            &mut self.after
        } else {
            &mut self.before
        };
        end_line(text);
        text.push_str(raw);
    }

    /// Keeps comments and blank lines, but not the header of an earlier run.
    fn keep(&mut self, lines: &[Line]) {
        for line in lines.iter().filter(|line| line.raw != HEADER) {
            self.push(&line.raw);
        }
    }

    fn keep_stanza(&mut self, stanza: &Stanza) {
        self.push(&stanza.header.raw);
        for line in &stanza.body {
            self.push(&line.raw);
        }
    }

    /// Keeps the names that are not managed; a stanza without names goes.
    fn keep_names(&mut self, stanza: &Stanza, names: &[String], config: &NetworkConfig) {
        let left: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| managed(name, config).is_none())
            .collect();
        if left.len() == names.len() {
            self.has_stanzas |= left.iter().any(|name| *name != "lo");
            self.keep_stanza(stanza);
            return;
        }
        self.cut();
        if left.is_empty() {
            return;
        }
        self.has_stanzas |= left.iter().any(|name| *name != "lo");
        let keyword = stanza
            .header
            .words()
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        self.push(&format!("{keyword} {}\n", left.join(" ")));
        for line in &stanza.body {
            self.push(&line.raw);
        }
    }

    /// Marks the place of a removed stanza, and removes the label of an earlier run in front of it.
    fn cut(&mut self) {
        let text = if self.changed {
            &mut self.after
        } else {
            &mut self.before
        };
        let start = text
            .trim_end_matches('\n')
            .rfind('\n')
            .map_or(0, |at| at.saturating_add(1));
        if text
            .get(start..)
            .is_some_and(|line| line.starts_with(LABEL))
        {
            text.truncate(start);
        }
        self.changed = true;
    }
}

/// Collects the options that the host does not decide.
fn keep_options(stanza: &Stanza, kept: &mut Kept) {
    for line in &stanza.body {
        let words = line.words();
        let Some((option, arguments)) = words.split_first() else {
            continue;
        };
        let option = match *option {
            "mtu" | "hwaddress" => true,
            "pre-up" | "up" | "post-up" | "down" | "pre-down" | "post-down" => {
                !configures_addresses(arguments)
            }
            "dns-search" => {
                kept.search.get_or_insert_with(|| arguments.join(" "));
                false
            }
            "dns-nameservers" | "dns-nameserver" => {
                for address in arguments.iter().filter_map(|address| address.parse().ok()) {
                    if !kept.nameservers.contains(&address) {
                        kept.nameservers.push(address);
                    }
                }
                false
            }
            _ => false,
        };
        let text = line.raw.trim_ascii().to_string();
        if option && !kept.options.contains(&text) {
            kept.options.push(text);
        }
    }
}

/// Whether a hook does what the host's data says: `ip route ...`, `ip -6 addr ...`, `route ...`.
fn configures_addresses(command: &[&str]) -> bool {
    let mut words = command
        .iter()
        .map(|word| word.rsplit('/').next().unwrap_or_default());
    match words.next() {
        Some("route") => true,
        Some("ip") => {
            let object = words
                .find(|word| !word.starts_with('-'))
                .unwrap_or_default();
            // `ip` takes any beginning of these words, `r` and `a` included.
            !object.is_empty()
                && ["route", "address"]
                    .iter()
                    .any(|whole| whole.starts_with(object))
        }
        Some(_) | None => false,
    }
}

/// Returns the configuration of each interface without comments, for comparison.
pub(super) fn meaning<'a>(
    texts: impl Iterator<Item = &'a str>,
    config: &NetworkConfig,
) -> BTreeMap<InterfaceName, Vec<String>> {
    let mut meaning: BTreeMap<InterfaceName, Vec<String>> = BTreeMap::new();
    for text in texts {
        for stanza in Stanzas::parse(text).list {
            let lines = core::iter::once(&stanza.header).chain(&stanza.body);
            match &stanza.kind {
                Kind::Iface(name) => {
                    let Some(name) = managed(name, config) else {
                        continue;
                    };
                    let lines = lines
                        .map(|line| line.words().join(" "))
                        .filter(|line| !line.is_empty());
                    meaning.entry(name.clone()).or_default().extend(lines);
                }
                Kind::Allow(names) | Kind::Mapping(names) => {
                    let keyword = stanza
                        .header
                        .words()
                        .first()
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    for name in names.iter().filter_map(|name| managed(name, config)) {
                        meaning
                            .entry(name.clone())
                            .or_default()
                            .push(keyword.clone());
                    }
                }
                Kind::Source(_) | Kind::SourceDirectory(_) | Kind::Other => {}
            }
        }
    }
    meaning
}

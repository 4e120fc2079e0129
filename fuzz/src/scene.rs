//! Inputs that people can read: sections of text, each behind a line that names it.
//!
//! ```text
//! -- hostname
//! web-01
//! -- networking 00163E000001
//! {"label": "public", "mac": "00:16:3E:00:00:01", "ips": [{"ip": "203.0.113.10", "netmask": "24"}]}
//! -- vif 0
//! 00:16:3e:00:00:01
//! -- interface eth0
//! 00:16:3e:00:00:01 vif 0
//! -- file /etc/network/interfaces
//! iface eth0 inet dhcp
//! -- link /etc/resolv.conf
//! ../run/resolv.conf
//! -- kernel Linux
//! old-name
//! ```

use std::collections::BTreeMap;

use nova_agent_core::effect::{GuestPath, InterfaceState};
use nova_agent_core::network::MacAddr;
use nova_agent_core::render::HostData;

#[path = "../../core/tests/support/mod.rs"]
pub(crate) mod support;

use self::support::{File, Guest};

/// More interfaces than are configured at once.
const INTERFACES_MAX: usize = 20;

/// Where programs are.
const PROGRAMS: [&str; 6] = [
    "/usr/local/sbin/",
    "/usr/local/bin/",
    "/usr/sbin/",
    "/usr/bin/",
    "/sbin/",
    "/bin/",
];

/// A part of an input.
pub(crate) struct Section<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    /// Without the line break in front of the next section.
    pub(crate) content: &'a [u8],
}

impl Section<'_> {
    /// The content without blanks around it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.content.trim_ascii()).into_owned()
    }
}

/// The sections of an input. What stands in front of the first is one of its own, of no kind.
pub(crate) fn sections(input: &[u8]) -> Vec<Section<'_>> {
    let mut sections = vec![Section {
        kind: "",
        name: "",
        content: &[],
    }];
    let mut start = 0;
    let mut at = 0;
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        let title = line
            .strip_prefix(b"-- ")
            .and_then(|title| std::str::from_utf8(title).ok());
        if let Some(title) = title {
            close(&mut sections, &input[start..at]);
            let (kind, name) = title
                .trim_end()
                .split_once(' ')
                .unwrap_or((title.trim_end(), ""));
            sections.push(Section {
                kind,
                name,
                content: &[],
            });
            start = at + line.len();
        }
        at += line.len();
    }
    close(&mut sections, &input[start..]);
    sections
}

fn close<'a>(sections: &mut [Section<'a>], content: &'a [u8]) {
    if let Some(section) = sections.last_mut() {
        section.content = content;
    }
}

/// What the host says in an input.
pub(crate) fn host(sections: &[Section<'_>]) -> HostData {
    let mut data = HostData::default();
    // A store has one value of each name.
    let (mut networking, mut vifs) = (BTreeMap::new(), BTreeMap::new());
    for section in sections {
        match section.kind {
            "hostname" => data.hostname = Some(section.content.trim_ascii_end().to_vec()),
            "networking" => {
                drop(networking.insert(section.name.to_string(), section.content.to_vec()))
            }
            "vif" => drop(
                section
                    .name
                    .parse()
                    .map(|number: u32| vifs.insert(number, section.text())),
            ),
            _ => {}
        }
    }
    data.networking = networking.into_iter().collect();
    data.vifs = vifs.into_iter().collect();
    data
}

/// The guest of an input, if it names any file.
pub(crate) fn guest(sections: &[Section<'_>]) -> Option<Guest> {
    let mut files = BTreeMap::new();
    let mut interfaces: BTreeMap<&str, InterfaceState> = BTreeMap::new();
    let (mut kernel, mut hostname) = ("Linux".to_string(), "old".to_string());
    for section in sections {
        match section.kind {
            "kernel" => (kernel, hostname) = (section.name.into(), section.text()),
            "file" | "link" => {
                let Ok(path) = GuestPath::try_from(section.name) else {
                    continue;
                };
                let is_file = section.kind == "file";
                let file = if is_file {
                    File::Regular(section.content.to_vec())
                } else {
                    File::Symlink(section.text())
                };
                files.insert(path, file);
            }
            "interface" if interfaces.len() < INTERFACES_MAX => {
                interfaces.insert(section.name, interface(section.name, &section.text()));
            }
            _ => {}
        }
    }
    // Nothing is below a file.
    let paths: Vec<GuestPath> = files.keys().cloned().collect();
    for path in &paths {
        let above = std::iter::successors(path.parent(), GuestPath::parent);
        if above.into_iter().any(|above| files.contains_key(&above)) {
            files.remove(path);
        }
    }
    let mut programs = BTreeMap::new();
    for path in files.keys() {
        let is_program =
            |directory: &str| path.as_str().strip_prefix(directory) == Some(path.name());
        if PROGRAMS.iter().any(|directory| is_program(directory)) {
            programs
                .entry(path.name().to_string())
                .or_insert_with(|| path.clone());
        }
    }
    let interfaces = interfaces.into_values().collect();
    (!files.is_empty()).then_some(Guest {
        files,
        hostname,
        interfaces,
        kernel,
        routes: Vec::new(),
        programs,
    })
}

/// A MAC address, then words: `vif N`, `master NAME`, `virtual`, `down`.
fn interface(name: &str, text: &str) -> InterfaceState {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let behind = |key| {
        words
            .iter()
            .skip_while(|word| **word != key)
            .nth(1)
            .copied()
    };
    InterfaceState {
        name: name.into(),
        mac: words.first().and_then(|mac| MacAddr::try_from(*mac).ok()),
        physical: !words.contains(&"virtual"),
        vif: behind("vif").and_then(|number| number.parse().ok()),
        master: behind("master").map(String::from),
        driver: None,
        up: !words.contains(&"down"),
        addresses: Vec::new(),
    }
}

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
use std::fs;
use std::path::Path;

use nova_agent_core::effect::{GuestPath, InterfaceState};
use nova_agent_core::network::MacAddr;
use nova_agent_core::render::HostData;

#[path = "../../core/tests/support/mod.rs"]
pub(crate) mod support;

#[path = "../../tests/src/fixture/format/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "only reads")]
mod format;
#[path = "../../tests/src/fixture/tree.rs"]
#[allow(dead_code, unreachable_pub, reason = "only reads")]
mod tree;

use self::format::GuestText;
use self::support::{File, Guest};
use self::tree::Entry;

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

/// The guest and the host's data, if an input is the text of a whole guest (`tests/guests/NAME.guest`).
pub(crate) fn whole(input: &[u8]) -> Option<(Guest, HostData)> {
    let text = GuestText::parse(std::str::from_utf8(input).ok()?).ok()?;
    let find = |name: &str| {
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests");
        let name = format!("{}.guest", name.replace(['/', '\0'], "_"));
        GuestText::parse(&fs::read_to_string(guests.join(name)).ok()?).ok()
    };
    let (tree, host) = text.resolve(&find).ok()?;
    let shown = |path: String| match tree.0.get(&path) {
        Some(Entry::File { content, .. }) => {
            Some(String::from_utf8_lossy(content).trim().to_string())
        }
        Some(Entry::Symlink(target)) => target.rsplit('/').next().map(String::from),
        Some(Entry::Directory(_)) | None => None,
    };
    let (mut files, mut programs) = (BTreeMap::new(), BTreeMap::new());
    let (mut interfaces, mut kernel) = (Vec::new(), "Linux");
    for (path, entry) in &tree.0 {
        let Ok(at) = GuestPath::try_from(format!("/{path}")) else {
            continue;
        };
        if let Some(name) = path.strip_prefix("sys/class/net/") {
            let is_interface = matches!(entry, Entry::Directory(_)) && !name.contains('/');
            if is_interface && name != "lo" && interfaces.len() < INTERFACES_MAX {
                interfaces.push(interface_of(name, &|file| shown(format!("{path}/{file}"))));
            }
            continue;
        }
        let is_program = |directory: &str| at.as_str().strip_prefix(directory) == Some(at.name());
        let is_program = PROGRAMS.iter().any(|directory| is_program(directory));
        if path == "bin/freebsd-version" {
            kernel = "FreeBSD";
        }
        let file = match entry {
            Entry::Directory(_) => continue,
            Entry::File { .. } if is_program => File::Regular(Vec::new()),
            Entry::File { content, .. } => File::Regular(content.clone()),
            Entry::Symlink(target) => File::Symlink(target.clone()),
        };
        if is_program {
            programs
                .entry(at.name().to_string())
                .or_insert_with(|| at.clone());
        }
        files.insert(at, file);
    }
    let guest = Guest {
        files,
        hostname: "old".into(),
        interfaces,
        kernel: kernel.into(),
        routes: Vec::new(),
        programs,
    };
    (!guest.files.is_empty()).then(|| (guest, host.data()))
}

fn interface_of(name: &str, shown: &dyn Fn(&str) -> Option<String>) -> InterfaceState {
    let vif = shown("device/nodename");
    InterfaceState {
        name: name.into(),
        mac: shown("address").and_then(|mac| MacAddr::try_from(mac.as_str()).ok()),
        physical: vif.is_some(),
        vif: vif.and_then(|node| node.strip_prefix("device/vif/")?.parse().ok()),
        master: shown("master"),
        driver: None,
        up: shown("flags").is_none_or(|flags| flags.ends_with(['1', '3'])),
        addresses: Vec::new(),
    }
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

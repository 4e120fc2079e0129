//! What configuration files may hold: the versions that a guest goes through when nothing goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use nova_agent_core::Config;

use super::super::{File, World};
use super::hosts::{NAMES, server};
use super::requests::content;
use crate::host::Server;
use crate::xenstored::Flavour;

type Versions = BTreeMap<String, BTreeSet<Vec<u8>>>;

/// Whether a file that the agent configures may hold this.
pub(super) fn are_known(path: &str, content: &[u8]) -> bool {
    static KNOWN: OnceLock<Versions> = OnceLock::new();

    if path == "/etc/hosts" {
        return is_hosts(content);
    }
    KNOWN
        .get_or_init(collect)
        .get(path)
        .is_some_and(|versions| versions.contains(content))
}

/// Line by line, because what an edit makes of it depends on everything before, the addresses in the kernel included.
fn is_hosts(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    let is_line = |line: &str| {
        line.split_once('\t').is_some_and(|(address, name)| {
            address.parse::<IpAddr>().is_ok()
                && (name == "localhost"
                    || name
                        .split('\t')
                        .all(|name| NAMES.iter().any(|known| is_name(name, known))))
        })
    };
    text.ends_with('\n')
        && text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .all(is_line)
}

/// Names of the server, whole or their first part, one behind the other.
fn is_name(text: &str, name: &str) -> bool {
    let first = name.split('.').next().unwrap_or(name);
    text == name || text == first || text == "web-2"
}

/// Every command after every other.
fn collect() -> Versions {
    let mut versions = Versions::new();
    let commands = NAMES.len() + 2;
    for first in 0..commands {
        for second in 0..commands {
            let mut world = World::new(Flavour::C, Config::default());
            note(&mut world, &mut versions);
            for nth in [first, second] {
                match NAMES.get(nth) {
                    Some(name) => world.post(
                        &format!("{first}-{second}-{nth}"),
                        content("sethostname", name),
                    ),
                    None => {
                        world.provision(&server(nth - NAMES.len()));
                        world.post(
                            &format!("{first}-{second}-{nth}"),
                            content("resetnetwork", ""),
                        );
                    }
                }
                world.run_for(Duration::from_secs(5));
                note(&mut world, &mut versions);
            }
        }
    }
    // The host may write while the agent reads: each interface is of one time, or of none.
    for first in [Some(0), Some(1), None] {
        for second in [Some(0), Some(1), None] {
            let vifs = [first, second].into_iter().enumerate();
            let vifs = vifs
                .filter_map(|(nth, time)| server(time?).vifs.into_iter().nth(nth))
                .collect();
            let mut world = World::new(Flavour::C, Config::default());
            world.provision(&Server { vifs, ..server(0) });
            world.post("1", content("resetnetwork", ""));
            world.run_for(Duration::from_secs(5));
            note(&mut world, &mut versions);
        }
    }
    versions
}

fn note(world: &mut World, versions: &mut Versions) {
    for (path, file) in world.guest().files() {
        if let File::Regular(content, _) = file {
            versions
                .entry(path.to_string())
                .or_default()
                .insert(content.clone());
        }
    }
}

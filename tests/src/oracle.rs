//! What a network stack makes of a guest's files, compared with the model; see `tests/oracles/README.md`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;
use std::process::Command;

use nova_agent_core::effect::{Change, InterfaceState, WriteFile};
use nova_agent_core::network::{Cidr, Family, Interface, NetworkConfig, Route};
use nova_agent_core::plan::Plan;
use serde::Serialize;

/// The exit code of `check` where a machine cannot run it at all.
const CANNOT_RUN: i32 = 77;

/// Gives the files below `tree`, a guest's root, to the network stack `target` and compares what it makes of them.
///
/// The names of the targets are those of `tests/oracles/check`. The first call on a machine fetches the tools. `verify` is
/// the program `nova-verify`, whose opinion is asked too.
///
/// # Errors
/// [`Report`] with the differences and the log of the stack.
pub fn check(target: &str, tree: &Path, expected: &Expected, verify: &Path) -> Result<(), Report> {
    run(target, tree, expected, &[("NOVA_VERIFY", verify)])
}

/// The same, and then the agent itself runs there, as a guest's own agent would: `live` is a directory with the program
/// `agent` and the socket `guest.7` of its store, and the agent ends when the directory has a file named `done`.
///
/// # Errors
/// As [`check`].
pub fn check_live(
    target: &str,
    tree: &Path,
    expected: &Expected,
    verify: &Path,
    live: &Path,
) -> Result<(), Report> {
    run(
        target,
        tree,
        expected,
        &[("NOVA_VERIFY", verify), ("NOVA_LIVE", live)],
    )
}

fn run(
    target: &str,
    tree: &Path,
    expected: &Expected,
    environment: &[(&str, &Path)],
) -> Result<(), Report> {
    let unavailable = |error: &dyn fmt::Display| Report::Unavailable(error.to_string());
    let directory = tempfile::tempdir().map_err(|error| unavailable(&error))?;
    let file = directory.path().join("expected.json");
    let json = serde_json::to_vec(expected).map_err(|error| unavailable(&error))?;
    fs::write(&file, json).map_err(|error| unavailable(&error))?;

    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracles/check");
    let output = Command::new(program)
        .envs(environment.iter().copied())
        .arg(target)
        .arg(tree)
        .arg(&file)
        .output()
        .map_err(|error| unavailable(&error))?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    match output.status.code() {
        Some(0) => Ok(()),
        Some(1) => Err(Report::Different(text)),
        Some(CANNOT_RUN) => Err(Report::Unavailable(text)),
        Some(_) | None => Err(Report::Unavailable(format!("{}\n{text}", output.status))),
    }
}

/// Why a configuration did not pass.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Report {
    /// The stack refuses it, or makes something else of it than the model says: the differences, then the stack's log.
    #[error("{0}")]
    Different(String),
    /// This machine cannot tell: no root, no namespaces, or the tool cannot be fetched.
    #[error("the oracle cannot run: {0}")]
    Unavailable(String),
}

/// What the kernel shall have once the stack has run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Expected {
    interfaces: BTreeMap<String, State>,
    /// Nothing is said about name servers if there are none: a guest keeps what it has then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dns: Vec<String>,
    any_order: bool,
    others: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
struct State {
    mac: String,
    addresses: Vec<String>,
    routes: Vec<String>,
}

impl Expected {
    /// What a configuration says.
    #[must_use]
    pub fn new(config: &NetworkConfig) -> Self {
        let interfaces = config
            .interfaces
            .iter()
            .map(|interface| (interface.name.to_string(), State::of(interface)));
        let dns = config
            .nameservers()
            .into_iter()
            .map(|address| address.to_string());
        Self {
            interfaces: interfaces.collect(),
            dns: dns.collect(),
            any_order: false,
            others: BTreeMap::new(),
        }
    }

    /// The same on a guest with these interfaces: their MAC addresses count, and those that the configuration does not
    /// name may look as they like.
    #[must_use]
    pub fn on(mut self, interfaces: &[InterfaceState]) -> Self {
        for InterfaceState { name, mac, .. } in interfaces {
            let Some(mac) = mac.map(|mac| mac.to_string()) else {
                continue;
            };
            match self.interfaces.get_mut(name) {
                Some(state) => state.mac = mac,
                None => drop(self.others.insert(name.clone(), mac)),
            }
        }
        self
    }

    /// The same where an IPv4 address in the network of an earlier one is shown in a network of its own, as by FreeBSD.
    #[must_use]
    pub fn with_host_aliases(mut self) -> Self {
        for State { addresses, .. } in self.interfaces.values_mut() {
            let mut networks: Vec<Cidr> = Vec::new();
            for address in addresses {
                let Some(own) = cidr(address).filter(|own| own.address().is_ipv4()) else {
                    continue;
                };
                if networks.contains(&own.network()) {
                    *address = Cidr::host(own.address()).to_string();
                }
                networks.push(own.network());
            }
        }
        self
    }

    /// The same, whatever the name servers are.
    #[must_use]
    pub fn without_nameservers(mut self) -> Self {
        self.dns.clear();
        self
    }

    /// The same where the stack decides about the order of name servers, as resolvconf does.
    #[must_use]
    pub const fn with_nameservers_in_any_order(mut self) -> Self {
        self.any_order = true;
        self
    }

    /// The same where an address family without an address cannot hold name servers, as with NetworkManager.
    #[must_use]
    pub fn without_nameservers_out_of_reach(mut self, config: &NetworkConfig) -> Self {
        let v4 = config
            .interfaces
            .iter()
            .any(|interface| !interface.v4.addresses.is_empty());
        let v6 = config
            .interfaces
            .iter()
            .any(|interface| !interface.v6.addresses.is_empty());
        self.dns
            .retain(|address| if address.contains(':') { v6 } else { v4 });
        self
    }
}

fn cidr(text: &str) -> Option<Cidr> {
    let (address, prefix_len) = text.split_once('/')?;
    Cidr::new(address.parse().ok()?, prefix_len.parse().ok()?)
}

impl State {
    fn of(interface: &Interface) -> Self {
        let default = |family: &Family, destination: &str| {
            family
                .gateway
                .map(|gateway| format!("{destination} via {}", gateway.address))
        };
        let static_route = |route: &Route| match route.via {
            Some(gateway) => format!("{} via {}", route.destination, gateway.address),
            None => route.destination.to_string(),
        };
        let defaults = [
            default(&interface.v4, "0.0.0.0/0"),
            default(&interface.v6, "::/0"),
        ];
        Self {
            mac: interface.mac.to_string(),
            addresses: interface
                .addresses()
                .map(|address| address.to_string())
                .collect(),
            routes: defaults
                .into_iter()
                .flatten()
                .chain(interface.routes.iter().map(static_route))
                .collect(),
        }
    }
}

/// The files that a plan writes and removes, for messages.
#[must_use]
pub fn describe(plan: &Plan) -> String {
    let mut text = String::new();
    for step in plan.changes() {
        // A String takes everything.
        let _ = match step {
            Change::WriteFile(WriteFile {
                path,
                content,
                mode,
                ..
            }) => {
                let content = String::from_utf8_lossy(content.expose());
                writeln!(text, "==> {path} ({:o}) <==\n{content}", mode.bits())
            }
            step @ (Change::MakeDirectory { .. }
            | Change::RemoveDirectory { .. }
            | Change::RemoveFile { .. }
            | Change::RestoreFile { .. }
            | Change::Symlink { .. }) => writeln!(text, "==> {step} <=="),
            Change::Run(_) | Change::SetHostname(_) | Change::SetPassword { .. } => Ok(()),
        };
    }
    text
}

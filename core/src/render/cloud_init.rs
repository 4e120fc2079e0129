//! Keeps cloud-init from rewriting at the next boot what the agent wrote.

use alloc::format;
use alloc::string::String;

use super::context::Context;
use super::error::Refusal;
use super::files::Importance;
use super::text::HEADER;
use crate::effect::GuestPath;

const CONFIG: GuestPath = GuestPath::constant("/etc/cloud/cloud.cfg");
const DISABLED: GuestPath = GuestPath::constant("/etc/cloud/cloud-init.disabled");
const DROP_INS: GuestPath = GuestPath::constant("/etc/cloud/cloud.cfg.d");
const OURS: &str = "99-nova-agent.cfg";

/// What cloud-init must leave alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scope {
    Hostname,
    NetworkAndHostname,
}

/// Disables parts of cloud-init, if it is installed and they are not disabled yet.
pub(super) fn disable(scope: Scope, cx: &mut Context<'_>) -> Result<(), Refusal> {
    let installed = cx.guest.exists(&CONFIG);
    let disabled = cx.guest.exists(&DISABLED);
    let (mut network, mut hostname) = (scope == Scope::Hostname, false);
    for name in cx
        .guest
        .list(&DROP_INS, |name| name.ends_with(".cfg") && name != OURS)
    {
        let Ok(path) = DROP_INS.join(name) else {
            continue;
        };
        let squeezed = squeeze(&cx.guest.text(&path).unwrap_or_default());
        network |= leaves_network(&squeezed);
        hostname |= squeezed.contains("preserve_hostname:true");
    }
    if !installed || disabled || (network && hostname) {
        return Ok(());
    }
    let Ok(path) = DROP_INS.join(OURS) else {
        return Ok(());
    };
    // An earlier change of the network still holds.
    let before = cx.text(&path)?.unwrap_or_default();
    let network = scope == Scope::NetworkAndHostname || leaves_network(&squeeze(&before));
    let network = if network {
        "network: {config: disabled}\n"
    } else {
        ""
    };
    cx.write_with(
        &path,
        &format!("{HEADER}{network}preserve_hostname: true\n"),
        Importance::Minor,
    )
}

fn leaves_network(squeezed: &str) -> bool {
    squeezed.contains("network:{config:disabled") || squeezed.contains("network:config:disabled")
}

/// Removes comments, blanks and quotes, so that all spellings of a setting look the same.
fn squeeze(text: &str) -> String {
    let without_comments = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    without_comments
        .flat_map(str::chars)
        .filter(|c| !c.is_ascii_whitespace() && !"\"'".contains(*c))
        .collect()
}

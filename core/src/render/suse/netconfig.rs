//! netconfig, which generates `/etc/resolv.conf` from several sources, one of them a list of static
//! name servers.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::effect::{Change, GuestPath, Program};
use crate::plan::{OnFailure, Step, Undo};
use crate::render::assignments::Assignments;
use crate::render::context::Context;
use crate::render::error::Refusal;
use crate::render::resolv;
use crate::render::restart::Activation;
use crate::render::text::stable_order;

const CONFIG: GuestPath = GuestPath::constant("/etc/sysconfig/network/config");
const POLICY: &str = "NETCONFIG_DNS_POLICY";
const SERVERS: &str = "NETCONFIG_DNS_STATIC_SERVERS";

/// It writes a few files and reloads nothing on a server.
const RUN_MAX: Duration = Duration::from_secs(5);

/// Sets the name servers and nothing else; returns whether netconfig must run.
///
/// # Errors
/// Refuses if a file cannot be edited.
pub(super) fn update(nameservers: &[IpAddr], cx: &mut Context<'_>) -> Result<bool, Refusal> {
    let installed = cx.guest.program("netconfig").is_some();
    if nameservers.is_empty() {
        return Ok(false);
    }
    let mut file = Assignments::parse(&cx.text(&CONFIG)?.unwrap_or_default());
    // An empty policy keeps it away from resolv.conf.
    let in_charge = installed && file.get(POLICY).is_none_or(|policy| !policy.is_empty());
    if !in_charge {
        resolv::update(nameservers, cx)?;
    }
    let present = file.get(SERVERS).unwrap_or_default();
    let addresses: Vec<IpAddr> = present
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let wanted: Vec<String> = stable_order(nameservers, &addresses)
        .iter()
        .map(ToString::to_string)
        .collect();
    if wanted.iter().eq(&present
        .split_ascii_whitespace()
        .map(ToString::to_string)
        .collect::<Vec<_>>())
    {
        return Ok(false);
    }
    file.set(SERVERS, &format!("\"{}\"", wanted.join(" ")));
    cx.write(&CONFIG, &file.text())?;
    Ok(in_charge)
}

/// Adds a run of netconfig after the files have changed, and another one after a roll-back.
pub(super) fn run(activation: &mut Activation) {
    // Without `-f` it does not overwrite a file that was edited by hand.
    let update = || Change::Run(Program::new(["netconfig", "update", "-f"], RUN_MAX));
    activation
        .before
        .insert(0, Step::only_undo(alloc::vec![update()]));
    let on_failure = OnFailure::GoOn;
    activation.after.push(Step {
        on_failure,
        undo: Undo::Steps(Vec::new()),
        ..Step::new(update())
    });
}

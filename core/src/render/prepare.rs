//! What `resetnetwork` and `sethostname` change in a guest.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::cloud_init::Scope;
use super::detect::{Detected, detect};
use super::files::{Files, Importance};
use super::guest::Guest;
use super::os::Os;
use super::restart::{Activation, BUDGET, OldState};
use super::{HostData, cloud_init, hostname, hosts, verify};
use crate::effect::{Probe, Snapshot, is_global};
use crate::network::{Hostname, validate};
use crate::plan::{Plan, Step, Undo};

/// What came of a preparation.
#[derive(Debug, Eq, PartialEq)]
pub enum Prepared {
    /// These questions must be answered first; then call again with the answers merged into the snapshot.
    Missing(Vec<Probe>),
    /// The changes to make.
    Ready(Configuration),
    /// Nothing can be done at all, and this is why: a text for the reply.
    Refused(String),
}

/// Changes of the guest, ready to be carried out.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Configuration {
    /// The changes; empty if the guest is as it should be.
    pub plan: Plan,
    /// Interfaces that are left as they are and why, each behind its MAC address: texts for the reply, which is a failure
    /// if there are any, even when the plan succeeds.
    pub errors: Vec<String>,
    /// What was tolerated: texts for the log.
    pub warnings: Vec<String>,
    /// What writes the files, for the log.
    pub target: &'static str,
    /// Why it was chosen, for the log.
    pub because: String,
}

/// Prepares what the host's data asks for: network, hostname, `/etc/hosts` and name servers.
///
/// An invalid hostname is a warning and the present name stays: in rescue mode the host puts something in front of the
/// name, which may make it too long, and the network matters more.
#[must_use]
pub fn reset_network(data: &HostData, snapshot: &Snapshot) -> Prepared {
    let guest = Guest::new(snapshot);
    finish(&guest, prepare_network(data, &guest))
}

/// Prepares a change of the hostname: where it is stored, in the kernel and in `/etc/hosts`.
#[must_use]
pub fn set_hostname(name: &str, snapshot: &Snapshot) -> Prepared {
    let guest = Guest::new(snapshot);
    finish(&guest, prepare_hostname(name, &guest))
}

/// A result counts only if nothing was asked in vain on the way to it.
fn finish(guest: &Guest<'_>, result: Result<Configuration, String>) -> Prepared {
    match (guest.unanswered(), result) {
        (probes, _) if !probes.is_empty() => Prepared::Missing(probes),
        (_, Ok(configuration)) => Prepared::Ready(configuration),
        (_, Err(text)) => Prepared::Refused(text),
    }
}

fn prepare_network(data: &HostData, guest: &Guest<'_>) -> Result<Configuration, String> {
    let os = Os::of(guest);
    let validated = validate(&data.networking, &data.vifs, guest.interfaces());
    let (config, errors, mut warnings) = (validated.config, validated.errors, validated.warnings);

    let mut files = Files::new(guest);
    let mut last = Vec::new();
    if let Some(hostname) = wanted_hostname(data, &mut warnings) {
        let own: Vec<IpAddr> = config
            .interfaces
            .iter()
            .flat_map(|interface| [&interface.v4, &interface.v6])
            .filter_map(|family| Some(family.addresses.first()?.address()))
            .collect();
        last = name_steps(
            &hostname,
            &own,
            &os,
            guest,
            &mut files,
            Importance::Minor,
            &mut warnings,
        );
        note(
            &mut warnings,
            hostname::store(&hostname, &os, guest, &mut files, Importance::Minor),
        );
        if config.interfaces.is_empty() {
            note(
                &mut warnings,
                cloud_init::disable(Scope::Hostname, guest, &mut files),
            );
        }
    }

    let mut activation = Activation::default();
    let mut target = "hostname";
    let mut because = "no interface to configure".to_string();
    let mut shown = None;
    if !config.interfaces.is_empty() {
        note(
            &mut warnings,
            cloud_init::disable(Scope::NetworkAndHostname, guest, &mut files),
        );
        let detected = detect(&config, &os, guest);
        let renderer = detected.and_then(|Detected { stack, .. }| stack.renderer());
        let (Some(detected), Some(renderer)) = (detected, renderer) else {
            let with = detected
                .map(|detected| format!(" with {}", detected.stack.name()))
                .unwrap_or_default();
            return Err(format!(
                "no supported network configuration found: {}{with}",
                os.name
            ));
        };
        target = detected.stack.name();
        because = detected.because.to_string();
        activation = renderer.render(&config, &os, guest, &mut files, &mut warnings)?;
        shown = renderer.shown(&config);
    }

    let Activation {
        before,
        after,
        old,
        starts_later,
    } = activation;
    let changes_something = !after.is_empty() && !starts_later;
    let essential = files.steps(Importance::Essential);
    let minor = files.steps(Importance::Minor);
    let mut steps: Vec<Step> = Vec::new();
    steps.extend(before);
    steps.extend(essential);
    steps.extend(after);
    let mut restored = None;
    if changes_something {
        steps.push(Step::wait(verify::applied(
            shown.as_ref().unwrap_or(&config),
        )));
        restored = (old == OldState::Usable).then(|| verify::restored(&config, guest));
    }
    steps.extend(minor);
    steps.extend(last);
    if old == OldState::Worthless {
        for step in &mut steps {
            step.undo = Undo::Steps(Vec::new());
        }
    }
    let plan = Plan {
        steps,
        budget: Some(BUDGET),
        restored,
    };
    Ok(Configuration {
        plan,
        errors,
        warnings,
        target,
        because,
    })
}

fn prepare_hostname(name: &str, guest: &Guest<'_>) -> Result<Configuration, String> {
    let hostname = Hostname::try_from(name).map_err(|error| error.to_string())?;
    let os = Os::of(guest);
    // Without the host's data the addresses in use are the guest's own ones.
    let mut own: Vec<IpAddr> = Vec::new();
    for interface in guest
        .interfaces()
        .iter()
        .filter(|interface| interface.physical && interface.master.is_none())
    {
        let global = || {
            interface
                .addresses
                .iter()
                .map(|(address, _)| *address)
                .filter(|address| is_global(*address))
        };
        own.extend(global().find(IpAddr::is_ipv4));
        own.extend(global().find(IpAddr::is_ipv6));
    }
    let mut files = Files::new(guest);
    let mut warnings = Vec::new();
    note(
        &mut warnings,
        cloud_init::disable(Scope::Hostname, guest, &mut files),
    );
    hostname::store(&hostname, &os, guest, &mut files, Importance::Essential)?;
    let last = name_steps(
        &hostname,
        &own,
        &os,
        guest,
        &mut files,
        Importance::Essential,
        &mut warnings,
    );
    let mut steps = files.steps(Importance::Essential);
    steps.extend(files.steps(Importance::Minor));
    steps.extend(last);
    let because = os.name;
    let plan = Plan {
        steps,
        ..Plan::default()
    };
    Ok(Configuration {
        plan,
        errors: Vec::new(),
        warnings,
        target: "hostname",
        because,
    })
}

/// The changes beside the stored name that give the guest its name; what cannot be done is a warning.
fn name_steps(
    hostname: &Hostname,
    own: &[IpAddr],
    os: &Os,
    guest: &Guest<'_>,
    files: &mut Files<'_, '_>,
    importance: Importance,
    warnings: &mut Vec<String>,
) -> Vec<Step> {
    let previous = guest
        .kernel()
        .map(|kernel| kernel.hostname.as_str())
        .unwrap_or_default();
    note(
        warnings,
        hosts::update(hostname, previous, own, guest, files, importance),
    );
    let announce = hostname::announce(hostname, os, guest);
    match hostname::kernel(hostname, guest, importance) {
        Some(kernel) => core::iter::once(kernel).chain(announce).collect(),
        None => Vec::new(),
    }
}

/// The hostname that the host wants. An empty value is none.
fn wanted_hostname(data: &HostData, warnings: &mut Vec<String>) -> Option<Hostname> {
    let text = String::from_utf8_lossy(data.hostname.as_deref()?);
    let text = text.trim_ascii();
    if text.is_empty() {
        return None;
    }
    match Hostname::try_from(text) {
        Ok(hostname) => Some(hostname),
        Err(error) => {
            warnings.push(format!("{error}: the present name stays"));
            None
        }
    }
}

fn note(warnings: &mut Vec<String>, result: Result<(), String>) {
    warnings.extend(result.err());
}

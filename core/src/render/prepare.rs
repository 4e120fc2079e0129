//! What `resetnetwork` and `sethostname` change in a guest.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::cloud_init::Scope;
use super::context::Context;
use super::detect::{Detected, detect};
use super::error::Refusal;
use super::files::Importance;
use super::guest::Guest;
use super::os::Os;
use super::restart::{Activation, BUDGET, OldState};
use super::{HostData, cloud_init, hostname, hosts, verify};
use crate::address::is_global;
use crate::effect::{InterfaceState, Probe, Snapshot};
use crate::network::{Hostname, NetworkConfig, validate};
use crate::plan::{Plan, Step, Undo};

/// The result of a preparation.
#[derive(Debug, Eq, PartialEq)]
pub enum Prepared {
    /// These probes must be answered first; then call again with the answers merged into the
    /// snapshot.
    Missing(Vec<Probe>),
    /// The changes to make.
    Ready(Configuration),
    /// Nothing can be done at all, and this is why.
    Refused(Refusal),
}

/// Changes of the guest, ready to be carried out.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Configuration {
    /// The changes; empty if the guest is as it should be.
    pub plan: Plan,
    /// The interfaces that stay unchanged and why, each text after the MAC address. They go into
    /// the response, which is a failure if there are any, even when the plan succeeds.
    pub errors: Vec<String>,
    /// Problems that were tolerated: texts for the log.
    pub warnings: Vec<String>,
    /// The name of the network stack, for the log.
    pub target: &'static str,
    /// Why it was chosen, for the log.
    pub because: String,
}

/// Prepares what the host's data asks for: network, hostname, `/etc/hosts` and name servers.
///
/// An invalid hostname is a warning, and the present name stays: in rescue mode the host adds a
/// prefix to the name, which may make it too long, and the network matters more.
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

/// Discards the result if any probe was unanswered.
fn finish(guest: &Guest<'_>, result: Result<Configuration, Refusal>) -> Prepared {
    match (guest.unanswered(), result) {
        (probes, _) if !probes.is_empty() => Prepared::Missing(probes),
        (_, Ok(configuration)) => Prepared::Ready(configuration),
        (_, Err(refusal)) => Prepared::Refused(refusal),
    }
}

fn prepare_network(data: &HostData, guest: &Guest<'_>) -> Result<Configuration, Refusal> {
    let os = Os::of(guest);
    let validated = validate(&data.networking, &data.vifs, guest.interfaces());
    let config = validated.config;
    let mut cx = Context::new(&config, &os, guest);
    for warning in validated.warnings {
        cx.warn(warning);
    }

    let scope = if config.interfaces.is_empty() {
        Scope::Hostname
    } else {
        Scope::NetworkAndHostname
    };
    let mut last = Vec::new();
    if let Some(hostname) = wanted_hostname(data, &mut cx) {
        last = name_steps(
            &hostname,
            &primary_addresses(&config),
            Importance::Minor,
            &mut cx,
        );
        let stored = hostname::store(&hostname, Importance::Minor, &mut cx);
        cx.tolerate(stored);
        if scope == Scope::Hostname {
            let disabled = cloud_init::disable(scope, &mut cx);
            cx.tolerate(disabled);
        }
    }
    let mut prepared = Network {
        target: "hostname",
        because: "no interface to configure",
        activation: Activation::default(),
        shown: None,
    };
    if scope == Scope::NetworkAndHostname {
        let disabled = cloud_init::disable(scope, &mut cx);
        cx.tolerate(disabled);
        prepared = render_network(&mut cx)?;
    }
    let (target, because) = (prepared.target, prepared.because.to_string());
    Ok(Configuration {
        plan: network_plan(prepared, last, &cx),
        errors: validated.errors,
        warnings: cx.into_warnings(),
        target,
        because,
    })
}

/// What the network stack made of a configuration.
struct Network {
    target: &'static str,
    because: &'static str,
    activation: Activation,
    /// The configuration as the kernel will show it, where that is something else.
    shown: Option<NetworkConfig>,
}

fn render_network(cx: &mut Context<'_>) -> Result<Network, Refusal> {
    let detected = detect(cx.config, cx.os, cx.guest);
    let renderer = detected.and_then(|Detected { stack, .. }| stack.renderer);
    let (Some(Detected { stack, because }), Some(renderer)) = (detected, renderer) else {
        return Err(Refusal::UnsupportedNetwork {
            os: cx.os.name.clone(),
            stack: detected.map(|detected| detected.stack.name),
        });
    };
    Ok(Network {
        target: stack.name,
        because,
        activation: renderer.render(cx)?,
        shown: renderer.shown(cx.config),
    })
}

/// Puts the steps in order: the programs of the stack around the files that it needs, then the
/// steps that may fail.
fn network_plan(network: Network, last: Vec<Step>, cx: &Context<'_>) -> Plan {
    let Network {
        activation, shown, ..
    } = network;
    let awaited = !activation.after.is_empty() && !activation.starts_later;

    let mut steps: Vec<Step> = activation.before;
    steps.extend(cx.file_steps(Importance::Essential));
    steps.extend(activation.after);
    if awaited {
        let config = shown.as_ref().unwrap_or(cx.config);
        steps.push(Step::wait(verify::applied(config)));
    }
    steps.extend(cx.file_steps(Importance::Minor));
    steps.extend(last);
    if activation.old == OldState::Stale {
        for step in &mut steps {
            step.undo = Undo::Steps(Vec::new());
        }
    }
    let restored = (awaited && activation.old == OldState::Usable)
        .then(|| verify::restored(cx.config, cx.guest));
    Plan {
        steps,
        budget: Some(BUDGET),
        restored,
    }
}

fn prepare_hostname(name: &str, guest: &Guest<'_>) -> Result<Configuration, Refusal> {
    let hostname = Hostname::try_from(name)?;
    let os = Os::of(guest);
    let config = NetworkConfig::default();
    let mut cx = Context::new(&config, &os, guest);
    let disabled = cloud_init::disable(Scope::Hostname, &mut cx);
    cx.tolerate(disabled);
    hostname::store(&hostname, Importance::Essential, &mut cx)?;
    // This request does not say which addresses the guest has.
    let own = addresses_in_use(guest);
    let last = name_steps(&hostname, &own, Importance::Essential, &mut cx);

    let mut steps = cx.file_steps(Importance::Essential);
    steps.extend(cx.file_steps(Importance::Minor));
    steps.extend(last);
    Ok(Configuration {
        plan: Plan {
            steps,
            ..Plan::default()
        },
        errors: Vec::new(),
        warnings: cx.into_warnings(),
        target: "hostname",
        because: os.name,
    })
}

/// Returns the steps that set the name in the kernel and announce it, and updates `/etc/hosts`; a
/// refusal is only a warning.
fn name_steps(
    hostname: &Hostname,
    own: &[IpAddr],
    importance: Importance,
    cx: &mut Context<'_>,
) -> Vec<Step> {
    let updated = hosts::update(hostname, own, importance, cx);
    cx.tolerate(updated);
    let announce = hostname::announce(hostname, cx);
    match hostname::kernel(hostname, importance, cx.guest) {
        Some(kernel) => core::iter::once(kernel).chain(announce).collect(),
        None => Vec::new(),
    }
}

/// Returns the hostname that the host wants; `None` for an empty value.
fn wanted_hostname(data: &HostData, cx: &mut Context<'_>) -> Option<Hostname> {
    let text = String::from_utf8_lossy(data.hostname.as_deref()?);
    let text = text.trim_ascii();
    if text.is_empty() {
        return None;
    }
    match Hostname::try_from(text) {
        Ok(hostname) => Some(hostname),
        Err(error) => {
            cx.warn(format!("{error}: the present name stays"));
            None
        }
    }
}

/// The first address of each family of each interface.
fn primary_addresses(config: &NetworkConfig) -> Vec<IpAddr> {
    config
        .interfaces
        .iter()
        .flat_map(|interface| [&interface.v4, &interface.v6])
        .filter_map(|family| Some(family.addresses.first()?.address()))
        .collect()
}

/// The first global address of each family of each interface that the guest has.
fn addresses_in_use(guest: &Guest<'_>) -> Vec<IpAddr> {
    let mut own: Vec<IpAddr> = Vec::new();
    let physical = guest
        .interfaces()
        .iter()
        .filter(|interface| interface.physical && interface.master.is_none());
    for interface in physical {
        own.extend(global_addresses(interface).find(IpAddr::is_ipv4));
        own.extend(global_addresses(interface).find(IpAddr::is_ipv6));
    }
    own
}

fn global_addresses(interface: &InterfaceState) -> impl Iterator<Item = IpAddr> {
    interface
        .addresses
        .iter()
        .map(|(address, _)| *address)
        .filter(|address| is_global(*address))
}

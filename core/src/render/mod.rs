//! From what the host wants and what the guest is to the changes of the guest.
//!
//! [`reset_network`] and [`set_hostname`] are pure functions of their arguments. They are called with an empty
//! [`Snapshot`] first, and again with the answers, until they ask for nothing more.
//!
//! `detect` chooses the network stack, one module a stack writes its files, the other modules are what stacks share. It
//! knows nothing of how steps are carried out.
//!
//! To add a stack: implement `Renderer` in a module of its own and name it in `detect::Stack::renderer`.

mod arch;
mod assignments;
mod cloud_init;
mod detect;
mod files;
mod freebsd;
mod guest;
mod host_data;
mod hostname;
mod hosts;
mod ifcfg;
mod ifupdown;
mod ini;
mod netctl;
mod netifrc;
mod netplan;
mod network_manager;
mod networkd;
mod os;
mod resolv;
mod restart;
mod routes;
mod running;
mod suse;
mod systemd;
mod text;
mod verify;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use self::cloud_init::Scope;
use self::detect::{Detected, detect};
use self::files::{Files, Importance};
use self::guest::Guest;
pub use self::host_data::{HostData, Unread};
use self::os::Os;
use self::restart::{Activation, BUDGET, OldState};
use crate::effect::{Probe, Snapshot, is_global};
use crate::network::{Hostname, NetworkConfig, validate};
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

/// The network stacks that can be configured, by the names that are found in [`Configuration::target`].
#[must_use]
pub fn stacks() -> BTreeSet<&'static str> {
    detect::supported()
}

/// Writes the files of one network stack.
trait Renderer {
    /// Puts the files for `config` into `files` and returns how they are brought into effect.
    ///
    /// It is called again and again until it asks the guest for nothing new, so it asks for everything it can early.
    ///
    /// # Errors
    /// The text for the host, if nothing can be done.
    fn render(
        &self,
        config: &NetworkConfig,
        os: &Os,
        guest: &Guest<'_>,
        files: &mut Files<'_, '_>,
        warnings: &mut Vec<String>,
    ) -> Result<Activation, String>;

    /// The configuration as the kernel will show it, where that is something else than what the host said.
    fn shown(&self, _: &NetworkConfig) -> Option<NetworkConfig> {
        None
    }
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

//! Waiting for network interfaces that are about to appear or to get another name.
//!
//! The agent starts early, and an interface may have been plugged in right before it is to be configured: until its
//! driver is loaded it does not exist, and until udev has seen it, it may lose its name.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nova_agent_core::effect::{GuestPath, Outcome, Probe};

use super::names;
use crate::files::read_text;
use crate::hostname::Hostname;
use crate::pending::{Pending, PendingEffect, Started};
use crate::retry::RetrySchedule;
use crate::root::{Access, LastSymlink, Root};

/// Xen's devices, with or without a driver (Linux `drivers/xen/xenbus/xenbus_probe.c`).
const DEVICES: GuestPath = GuestPath::constant("/sys/bus/xen/devices");

/// The socket of udev, which is there while it runs.
const UDEV: GuestPath = GuestPath::constant("/run/udev/control");

/// What udev knows of a device, written when it is done with it: `n` and the index for an interface.
const UDEV_DATA: GuestPath = GuestPath::constant("/run/udev/data");

/// How long to wait. At boot it takes less than a second on an idle machine, and took more than 8 s on a starved one. The
/// host waits 60 s for a reset of the network, the core 30 s for this answer.
const RETRY_LIMIT: Duration = Duration::from_secs(15);

/// How often to look.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The VIFs that are not waited for any more. One that has no driver is waited for once only, because the interfaces are
/// probed again and again while a change comes into effect.
#[derive(Debug, Default)]
pub(crate) struct IgnoredVifs(Mutex<BTreeSet<String>>);

/// Probes that wait until every VIF has an interface with its final name, or for a while.
#[derive(Debug)]
pub(super) struct AwaitInterfaces {
    probes: Vec<Probe>,
    hostname: Arc<Hostname>,
    ignored: Arc<IgnoredVifs>,
    retry: RetrySchedule,
}

impl AwaitInterfaces {
    pub(super) fn new(
        probes: Vec<Probe>,
        hostname: Arc<Hostname>,
        ignored: Arc<IgnoredVifs>,
    ) -> Self {
        Self {
            probes,
            hostname,
            ignored,
            retry: RetrySchedule::new(RETRY_LIMIT, RETRY_PAUSE),
        }
    }

    /// Whether every VIF is ready or ignored. Those that are not ready in time are ignored from then on.
    fn are_ready(&self, root: &Root, now: Instant) -> bool {
        let mut ignored = self
            .ignored
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while let Some(vif) = first_unready(root, &ignored) {
            if !self.retry.is_expired(now) {
                return false;
            }
            tracing::warn!(device = vif, "no network interface is ready for it");
            ignored.insert(vif);
        }
        true
    }
}

impl Pending for AwaitInterfaces {
    fn deadline(&self) -> Instant {
        self.retry.next()
    }

    fn advance(mut self: Box<Self>, root: &Root, now: Instant) -> Started {
        if self.probes.contains(&Probe::Interfaces) && !self.are_ready(root, now) {
            self.retry.postpone(now);
            return Started::Running(PendingEffect::new(self));
        }
        let snapshot = super::answer(root, &self.hostname, self.probes);
        Started::Finished(Outcome::Probed(snapshot))
    }
}

/// Returns the first VIF that is neither ready nor ignored.
fn first_unready(root: &Root, ignored: &BTreeSet<String>) -> Option<String> {
    let devices = root.directory(&DEVICES, Access::Read).ok()?;
    let udev_runs = exists(root, &UDEV);
    names(&devices)
        .into_iter()
        .filter(|name| name.starts_with("vif-") && !ignored.contains(name))
        .find(|vif| !is_ready(root, vif, udev_runs))
}

/// Whether a VIF has an interface, and udev, if it runs, is done with it.
fn is_ready(root: &Root, vif: &str, udev_runs: bool) -> bool {
    let path = DEVICES.join(vif).and_then(|device| device.join("net"));
    let Ok(net) = path else { return true };
    let Ok(directory) = root.directory(&net, Access::Read) else {
        return false;
    };
    let interfaces = names(&directory);
    !interfaces.is_empty()
        && (!udev_runs || interfaces.iter().all(|name| is_known(root, &net, name)))
}

/// Whether udev is done with an interface.
fn is_known(root: &Root, net: &GuestPath, name: &str) -> bool {
    let index = net
        .join(name)
        .ok()
        .and_then(|path| read_text(&root.directory(&path, Access::Read).ok()?, "ifindex"));
    // Without an index it was just renamed, or is gone: the next retry shows which.
    let Some(index) = index else { return false };
    let Ok(entry) = UDEV_DATA.join(&format!("n{index}")) else {
        return true;
    };
    exists(root, &entry)
}

fn exists(root: &Root, path: &GuestPath) -> bool {
    root.place(path, LastSymlink::Keep, Access::Read)
        .is_ok_and(|place| place.stat().is_ok())
}

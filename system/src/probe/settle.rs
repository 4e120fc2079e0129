//! Waiting for network interfaces that are about to appear or to get another name.
//!
//! The agent starts early, and an interface may have been plugged in right before it is to be configured: until its
//! driver is loaded it does not exist, and until udev has seen it, it may lose its name.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use nova_agent_core::effect::{GuestPath, Probe};

use super::{names, text};
use crate::root::{Access, LastSymlink, Root};
use crate::work::Patience;

/// Xen's devices, with or without a driver (Linux `drivers/xen/xenbus/xenbus_probe.c`).
const DEVICES: GuestPath = GuestPath::constant("/sys/bus/xen/devices");

/// The socket of udev, which is there while it runs.
const UDEV: GuestPath = GuestPath::constant("/run/udev/control");

/// What udev knows of a device, written when it is done with it: `n` and the index for an interface.
const UDEV_DATA: GuestPath = GuestPath::constant("/run/udev/data");

/// At boot it takes less than a second on an idle machine, and took more than 8 s on a starved one. The host's patience
/// with a reset of the network is 60 s, the core's with this question 30 s.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// How often it is looked at meanwhile.
const STEP: Duration = Duration::from_millis(100);

/// The VIFs for which nobody waits any more: once is enough for one that has no driver, and the interfaces are asked for
/// again and again while a change comes into effect.
#[derive(Debug, Default)]
pub(crate) struct IgnoredVifs(Mutex<BTreeSet<String>>);

/// Probes that wait until every VIF has an interface with its final name, or for a while.
#[derive(Debug)]
pub(crate) struct Settling {
    probes: Vec<Probe>,
    pub(crate) patience: Patience,
}

/// Whether there is anything to wait for.
#[derive(Debug)]
pub(crate) enum Settled {
    NotYet(Settling),
    /// The probes can be answered.
    Yes(Vec<Probe>),
}

impl Settling {
    pub(crate) fn new(probes: Vec<Probe>) -> Self {
        Self {
            probes,
            patience: Patience::new(WAIT_MAX, STEP),
        }
    }

    pub(crate) fn look(self, root: &Root, ignored: &IgnoredVifs, now: Instant) -> Settled {
        if !self.probes.contains(&Probe::Interfaces) {
            return Settled::Yes(self.probes);
        }
        let mut ignored = ignored.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(device) = unsettled(root, &ignored) {
            if !self.patience.is_at_end(now) {
                return Settled::NotYet(Self {
                    patience: self.patience.next(now),
                    ..self
                });
            }
            tracing::warn!(device, "no network interface is ready for it");
            ignored.insert(device);
        }
        Settled::Yes(self.probes)
    }
}

fn unsettled(root: &Root, ignored: &BTreeSet<String>) -> Option<String> {
    let devices = root.directory(&DEVICES, Access::Read).ok()?;
    let udev_runs = root
        .place(&UDEV, LastSymlink::Keep, Access::Read)
        .is_ok_and(|place| place.stat().is_ok());
    let is_settled = |vif: &str| {
        let path = DEVICES.join(vif).and_then(|device| device.join("net"));
        let Ok(net) = path else { return true };
        let Ok(directory) = root.directory(&net, Access::Read) else {
            return false;
        };
        let mut interfaces = names(&directory).into_iter().peekable();
        interfaces.peek().is_some()
            && interfaces.all(|name| !udev_runs || is_known(root, &net, &name))
    };
    let vifs = names(&devices)
        .into_iter()
        .filter(|name| name.starts_with("vif-") && !ignored.contains(name));
    vifs.into_iter().find(|vif| !is_settled(vif))
}

fn is_known(root: &Root, net: &GuestPath, name: &str) -> bool {
    let index = net
        .join(name)
        .ok()
        .and_then(|path| text(&root.directory(&path, Access::Read).ok()?, "ifindex"));
    // It has just got its name, or is gone: the next look tells.
    let Some(index) = index else { return false };
    let Ok(entry) = UDEV_DATA.join(&format!("n{index}")) else {
        return true;
    };
    root.place(&entry, LastSymlink::Keep, Access::Read)
        .is_ok_and(|place| place.stat().is_ok())
}

//! Which interface of the guest a MAC address of the host means.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{InterfaceName, MacAddr};
use crate::effect::InterfaceState;

/// What the host and the guest say about interfaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nics<'a> {
    /// The MAC address of each VIF in Xenstore.
    pub(super) vifs: &'a [(u32, MacAddr)],
    /// The interfaces of the guest.
    pub(super) interfaces: &'a [InterfaceState],
}

/// What was found for a MAC address.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Match {
    /// An interface and its VIF number, if it has one.
    Found(InterfaceName, Option<u32>),
    /// No interface has it and no VIF: what is left of a detached one.
    Stale,
    /// It must not be configured, with the text for the host.
    Refused(String),
}

impl Nics<'_> {
    /// The VIF with this address.
    pub(super) fn vif(&self, mac: MacAddr) -> Option<u32> {
        self.vifs
            .iter()
            .find(|(_, of_vif)| *of_vif == mac)
            .map(|(index, _)| *index)
    }

    /// The interface that the host means by an address.
    pub(super) fn find(&self, mac: MacAddr) -> Match {
        let vif = self.vif(mac);
        let candidates = self.candidates(mac, vif);
        let interface = match candidates.as_slice() {
            [] if vif.is_some() => return Match::Refused(no_interface(mac)),
            [] => return Match::Stale,
            [one] => *one,
            [first, second, ..] => {
                return Match::Refused(format!(
                    "more than one interface has MAC {mac}: {}, {}",
                    first.name, second.name
                ));
            }
        };
        let name = match InterfaceName::try_from(interface.name.as_str()) {
            Ok(name) => name,
            Err(error) => return Match::Refused(format!("{error}")),
        };
        match &interface.master {
            Some(master) => Match::Refused(format!("{name} is a port of {master}: not changed")),
            None => Match::Found(name, interface.vif.or(vif)),
        }
    }

    /// The number of the VIF is the best key, as it survives a changed address; then what has the address and is
    /// hardware; then anything that has it, if it is alone, because containers have no hardware.
    fn candidates(&self, mac: MacAddr, vif: Option<u32>) -> Vec<&InterfaceState> {
        if vif.is_some()
            && let Some(interface) = self
                .interfaces
                .iter()
                .find(|interface| interface.vif == vif)
        {
            return alloc::vec![interface];
        }
        let same: Vec<&InterfaceState> = self
            .interfaces
            .iter()
            .filter(|interface| interface.mac == Some(mac))
            .collect();
        let physical: Vec<&InterfaceState> = same
            .iter()
            .copied()
            .filter(|interface| interface.physical)
            .collect();
        let best = if physical.is_empty() { same } else { physical };
        // Before it is unplugged, an emulated device stands beside the paravirtual one with the same address.
        let paravirtual: Vec<&InterfaceState> = best
            .iter()
            .copied()
            .filter(|interface| matches!(interface.driver.as_deref(), Some("vif" | "xen_netfront")))
            .collect();
        if paravirtual.is_empty() {
            best
        } else {
            paravirtual
        }
    }
}

/// The text for a VIF that has not appeared in the guest.
pub(super) fn no_interface(mac: MacAddr) -> String {
    format!("no interface has MAC {mac}")
}

//! From what the host wants and what the guest is to the changes of the guest.
//!
//! [`reset_network`] and [`set_hostname`] are pure functions of their arguments. They are called
//! with an empty [`Snapshot`](crate::effect::Snapshot) first, and again with the answers, until they ask for nothing more.
//!
//! `detect` chooses the network stack, one module per stack writes its files, the other modules are
//! what stacks share. It knows nothing of how steps are carried out.
//!
//! To add a stack: a module with a `STACK`, and a row in `detect::PRIORITY`.

mod arch;
mod assignments;
mod cloud_init;
mod context;
mod detect;
mod error;
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
mod prepare;
mod rc_conf_overrides;
mod renderer;
mod resolv;
mod restart;
mod routes;
mod running;
mod services;
mod shell_line;
mod suse;
mod systemd;
mod text;
mod verify;

use alloc::collections::BTreeSet;

pub use self::error::{NotEditable, Refusal, Unclear};
pub use self::host_data::{HostData, Unread};
pub use self::prepare::{Configuration, Prepared, reset_network, set_hostname};

/// The network stacks that can be configured, by the names that are found in
/// [`Configuration::target`].
#[must_use]
pub fn stacks() -> BTreeSet<&'static str> {
    detect::supported()
}

//! FreeBSD: `/etc/rc.conf`.
//!
//! All versions from 9 on use the same variables. There is no `ip`: the system's own scripts take
//! addresses and routes away before they set new ones.

mod variables;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use self::variables::{Managed, STATIC_ROUTES, StaticRoutes, generated};
use super::assignments::Assignments;
use super::context::Context;
use super::error::Refusal;
use super::files::Importance;
use super::rc_conf_overrides::Overrides;
use super::renderer::{Renderer, Stack};
use super::resolv;
use super::restart::{Activation, BatchPrograms, affected, batch};
use crate::effect::{GuestPath, Program};
use crate::network::{Cidr, Family, InterfaceName, NetworkConfig};

pub(super) const RC_CONF: GuestPath = GuestPath::constant("/etc/rc.conf");

const STOP_MAX: Duration = Duration::from_secs(5);

/// Duplicate address detection takes a second for each interface, ending a DHCP client some more.
const START_MAX: Duration = Duration::from_secs(18);

const ROUTING_MAX: Duration = Duration::from_secs(5);

/// The stack of FreeBSD.
pub(super) static STACK: Stack = Stack::new("rc.conf of FreeBSD", &FreeBsd);

#[derive(Debug)]
struct FreeBsd;

impl Renderer for FreeBsd {
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal> {
        let (config, guest) = (cx.config, cx.guest);
        resolv::update(&config.nameservers(), cx)?;
        let config = &with_host_aliases(config);

        let text = cx.text(&RC_CONF)?.unwrap_or_default();
        let mut file = Assignments::for_editing(&RC_CONF, &text)?;
        let managed = Managed::new(config, &file, guest);
        let mut overrides = Overrides::load(
            &|key| managed.contains(key) || STATIC_ROUTES.contains(&key),
            cx,
        )?;
        let routes = StaticRoutes::all(&file, &overrides.files().collect::<Vec<_>>(), &managed)?;
        let unwanted =
            |key: &str| managed.contains(key) || routes.iter().any(|routes| routes.replaces(key));

        let mut before = file.meaning(unwanted);
        for file in overrides.files() {
            before.extend(file.meaning(unwanted));
        }
        let mut block = generated(config, &|key| {
            before.get(key).map(|(_, value)| value.clone())
        });
        block.extend(routes.iter().map(StaticRoutes::generated));
        file.replace(unwanted, &block);
        cx.write(&RC_CONF, &file.text())?;
        overrides.remove(&unwanted, Importance::Essential, cx)?;

        let after = file.meaning(unwanted);
        let affected = affected(config, &changed(config, &before, &after), guest);
        let names: Vec<&str> = affected
            .iter()
            .map(|interface| interface.name.as_str())
            .collect();
        let mut programs = BatchPrograms::default();
        // It must read the old file: with the new one, IPv6 addresses would stay on an interface
        // that should have none.
        programs.run_before(netif("stop", &names, STOP_MAX));
        // It takes the default route away.
        programs.run(netif("restart", &names, START_MAX));
        programs.run(restart_routing());
        programs.restore(netif("restart", &names, START_MAX));
        programs.restore(restart_routing());
        Ok(batch(&affected, programs, guest))
    }

    fn shown(&self, config: &NetworkConfig) -> Option<NetworkConfig> {
        Some(with_host_aliases(config))
    }
}

fn netif(action: &str, interfaces: &[&str], timeout: Duration) -> Program {
    let arguments = ["service", "netif", action].into_iter();
    Program::new(arguments.chain(interfaces.iter().copied()), timeout)
}

/// One route that exists already, such as that of the loopback interface, is enough for it to fail.
fn restart_routing() -> Program {
    Program {
        accept: alloc::vec![0, 1],
        ..Program::new(["service", "routing", "restart"], ROUTING_MAX)
    }
}

/// Variables and what they say.
type Settings = BTreeMap<String, (bool, String)>;

/// The interfaces that a difference concerns; one that is about no interface concerns those with a
/// gateway, or all.
fn changed(config: &NetworkConfig, before: &Settings, after: &Settings) -> BTreeSet<InterfaceName> {
    let differing: BTreeSet<&String> = before
        .keys()
        .chain(after.keys())
        .filter(|key| before.get(*key) != after.get(*key))
        .collect();
    let mut changed = BTreeSet::new();
    for key in differing {
        let owner = config
            .interfaces
            .iter()
            .find(|interface| variables::is_of(key, interface));
        let has_gateway = config.has_gateway(false) || config.has_gateway(true);
        match owner {
            Some(owner) => drop(changed.insert(owner.name.clone())),
            None => changed.extend(
                config
                    .interfaces
                    .iter()
                    .filter(|interface| interface.has_gateway() || !has_gateway)
                    .map(|interface| interface.name.clone()),
            ),
        }
    }
    changed
}

/// The configuration as the kernel will show it: of several addresses in a network all but the
/// first are alone in networks of their own (ifconfig(8), "alias").
fn with_host_aliases(config: &NetworkConfig) -> NetworkConfig {
    let mut config = config.clone();
    for interface in &mut config.interfaces {
        let Family { addresses, .. } = &mut interface.v4;
        let networks: Vec<Cidr> = addresses.iter().map(|own| own.network()).collect();
        for (nth, own) in addresses.iter_mut().enumerate() {
            if networks
                .iter()
                .take(nth)
                .any(|network| *network == own.network())
            {
                *own = Cidr::host(own.address());
            }
        }
    }
    config
}

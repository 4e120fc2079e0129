//! Which network stack configures the interfaces of the guest.
//!
//! The decision rests on what runs, is enabled and is installed. It reads only files: that takes no
//! time and works early at boot, before anything runs. The name of the distribution only breaks
//! ties. Stacks without a renderer are recognised too: writing the files of another stack would do
//! harm or nothing.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::assignments::Assignments;
use super::guest::Guest;
use super::os::{Os, OsFamily};
use super::renderer::Stack;
use super::services::Services;
use super::{
    arch, freebsd, ifcfg, ifupdown, netctl, netifrc, netplan, network_manager, networkd, running,
    suse,
};
use crate::effect::{EntryKind, GuestPath};
use crate::network::NetworkConfig;

/// The stack that was found, and the fact that decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detected {
    pub(super) stack: &'static Stack,
    pub(super) because: &'static str,
}

/// One row of the priority list: the stack if the test holds, and the reason in words.
type Row = (&'static Stack, fn(&Signs<'_>) -> bool, &'static str);

/// The first row whose test holds wins. A test asks everything that it needs, whatever the first
/// answer is: `&` and `|`.
static PRIORITY: &[Row] = &[
    (
        &freebsd::STACK,
        |s| s.os.family == OsFamily::FreeBsd,
        "the kernel is FreeBSD",
    ),
    // Whatever its backend is: netplan would overwrite the backend's files.
    (
        &netplan::STACK,
        |s| s.program("netplan") & s.has_netplan_file(),
        "netplan has a configuration",
    ),
    (
        &network_manager::STACK_WITH_IFCFG,
        |s| s.network_manager_manages() & s.network_manager_reads_ifcfg() & s.has_ifcfg_file(),
        "NetworkManager is enabled and reads an ifcfg file",
    ),
    (
        &network_manager::STACK,
        |s| s.network_manager_manages(),
        "NetworkManager is enabled",
    ),
    (
        &suse::WICKED,
        |s| s.wicked(),
        "wicked is the network service",
    ),
    (
        &suse::SCRIPTS,
        |s| s.os.family == OsFamily::Suse && s.suse_scripts(),
        "SUSE without wicked has /etc/init.d/network",
    ),
    (
        &ifcfg::STACK,
        |s| s.network_scripts(),
        "the service network is enabled",
    ),
    (
        &networkd::STACK,
        |s| s.networkd() & s.has_networkd_file() & !s.networkd_leaves_interfaces(),
        "systemd-networkd is enabled and has a configuration",
    ),
    (
        &ifupdown::IFUPDOWN_NG,
        |s| s.interfaces_file() & s.exists("/usr/libexec/ifupdown-ng"),
        "ifupdown-ng is installed",
    ),
    (
        &ifupdown::BUSYBOX,
        |s| s.interfaces_file() & s.ifup_is_busybox(),
        "ifup is busybox",
    ),
    (
        &ifupdown::IFUPDOWN2,
        |s| s.interfaces_file() & s.exists("/usr/share/ifupdown2"),
        "ifupdown2 is installed",
    ),
    (
        &ifupdown::IFUPDOWN,
        |s| s.interfaces_file(),
        "ifup and /etc/network/interfaces exist",
    ),
    (
        &netctl::STACK,
        |s| s.exists("/usr/bin/netctl") & s.has_netctl_profile(),
        "netctl has a profile",
    ),
    (
        &netifrc::STACK,
        |s| s.exists("/etc/init.d/net.lo") & s.openrc(),
        "/etc/init.d/net.lo and OpenRC exist",
    ),
    (
        &netifrc::STACK_WITH_ARRAYS,
        |s| s.exists("/etc/init.d/net.lo"),
        "/etc/init.d/net.lo exists without OpenRC",
    ),
    (
        &arch::NETCFG,
        |s| s.arch_without_systemd() & s.exists("/usr/bin/netcfg"),
        "Arch Linux without systemd has netcfg",
    ),
    (
        &arch::RC_CONF_STACK,
        |s| s.arch_without_systemd() & s.exists("/etc/rc.conf"),
        "Arch Linux without systemd has /etc/rc.conf",
    ),
    (
        &SLACKWARE,
        |s| s.exists("/etc/rc.d/rc.inet1.conf"),
        "/etc/rc.d/rc.inet1.conf exists",
    ),
    // Enabled, but without a configuration yet: only if nothing else has one.
    (
        &networkd::STACK,
        |s| s.networkd(),
        "systemd-networkd is enabled",
    ),
    // Its configuration may have been removed by hand; netplan still owns the interfaces.
    (
        &netplan::STACK,
        |s| s.program("netplan"),
        "netplan is installed",
    ),
    (
        &network_manager::STACK,
        |s| s.network_manager(),
        "NetworkManager is enabled",
    ),
];

/// The network of Slackware is recognised, but not configured.
static SLACKWARE: Stack = Stack {
    name: "rc.inet1.conf",
    renderer: None,
};

/// The names of the stacks whose files can be written.
pub(super) fn supported() -> BTreeSet<&'static str> {
    PRIORITY
        .iter()
        .filter(|(stack, ..)| stack.renderer.is_some())
        .map(|(stack, ..)| stack.name)
        .collect()
}

/// Finds the stack of the interfaces of `config`.
///
/// All tests are made before the first that holds is taken, so that the guest is asked once.
pub(super) fn detect(config: &NetworkConfig, os: &Os, guest: &Guest<'_>) -> Option<Detected> {
    let signs = Signs {
        config,
        os,
        guest,
        services: Services::of(guest),
    };
    let found: Vec<&Row> = PRIORITY
        .iter()
        .filter(|(_, test, _)| test(&signs))
        .collect();
    let (stack, _, because) = found.first()?;
    Some(Detected { stack, because })
}

/// What the rows test.
#[derive(Debug)]
struct Signs<'a> {
    config: &'a NetworkConfig,
    os: &'a Os,
    guest: &'a Guest<'a>,
    services: Services<'a>,
}

impl Signs<'_> {
    fn exists(&self, path: &'static str) -> bool {
        self.guest.exists(&GuestPath::constant(path))
    }

    fn program(&self, name: &str) -> bool {
        self.guest.program(name).is_some()
    }

    fn has_netplan_file(&self) -> bool {
        const DIRECTORIES: [GuestPath; 3] = [
            GuestPath::constant("/etc/netplan"),
            GuestPath::constant("/run/netplan"),
            GuestPath::constant("/usr/lib/netplan"),
        ];
        self.any_name(&DIRECTORIES, |name| name.ends_with(".yaml"))
    }

    /// Whether a name in one of the directories is wanted.
    fn any_name(&self, directories: &[GuestPath], wanted: fn(&str) -> bool) -> bool {
        let names: Vec<&str> = directories
            .iter()
            .flat_map(|directory| self.guest.names(directory))
            .collect();
        names.into_iter().any(wanted)
    }

    fn network_manager(&self) -> bool {
        self.services.runs_or_is_enabled("NetworkManager")
            || self.services.runs_or_is_enabled("network-manager")
    }

    fn network_manager_manages(&self) -> bool {
        self.network_manager() & !self.network_manager_leaves_interfaces()
    }

    fn network_manager_leaves_interfaces(&self) -> bool {
        let scripts = self.network_scripts();
        if scripts && self.os.is_old_red_hat() {
            return true;
        }
        match running::network_manager_manages(self.config, self.guest) {
            Some(managed) => !managed,
            None => {
                scripts && ifcfg_is_not_controlled(self.config, self.guest)
                    || interfaces_file_is_left_alone(self.config, self.guest)
            }
        }
    }

    fn network_manager_reads_ifcfg(&self) -> bool {
        self.os.keeps_ifcfg_under_network_manager() && network_manager::plugin_exists(self.guest)
    }

    /// Whether any interface has an ifcfg file.
    fn has_ifcfg_file(&self) -> bool {
        let paths: Vec<GuestPath> = self
            .config
            .names()
            .filter_map(|name| ifcfg::path("ifcfg", name))
            .collect();
        self.guest.exists_any(&paths)
    }

    fn wicked(&self) -> bool {
        const NETWORK: GuestPath = GuestPath::constant("/etc/systemd/system/network.service");

        let target = self.guest.link_target(&NETWORK);
        target.is_some_and(|target| target.ends_with("/wicked.service"))
            || self.services.runs_or_is_enabled("wicked")
    }

    /// Whether the network of SUSE is brought up by its scripts, which stand back for
    /// NetworkManager if they are told so.
    fn suse_scripts(&self) -> bool {
        const FILES: [GuestPath; 2] = [
            GuestPath::constant("/etc/init.d/network"),
            GuestPath::constant("/etc/sysconfig/network/scripts/functions"),
        ];
        const CONFIG: GuestPath = GuestPath::constant("/etc/sysconfig/network/config");

        let config = self.guest.text(&CONFIG).unwrap_or_default();
        let manager = Assignments::parse(&config).get("NETWORKMANAGER");
        self.guest.exists_all(&FILES) && manager.as_deref() != Some("yes")
    }

    fn network_scripts(&self) -> bool {
        self.exists("/etc/sysconfig/network-scripts/network-functions")
            & self.services.runs_or_is_enabled("network")
    }

    fn networkd(&self) -> bool {
        self.services.runs_or_is_enabled("systemd-networkd")
    }

    fn has_networkd_file(&self) -> bool {
        const LOCAL: [GuestPath; 2] = [
            GuestPath::constant("/etc/systemd/network"),
            GuestPath::constant("/run/systemd/network"),
        ];
        const PACKAGED: [GuestPath; 1] = [GuestPath::constant("/usr/lib/systemd/network")];

        // Names from 80 on are what systemd ships for containers and the like.
        self.any_name(&LOCAL, |name| name.ends_with(".network"))
            | self.any_name(&PACKAGED, |name| {
                name.ends_with(".network") && !name.starts_with("80-")
            })
    }

    fn networkd_leaves_interfaces(&self) -> bool {
        running::networkd_manages(self.config, self.guest) == Some(false)
    }

    fn interfaces_file(&self) -> bool {
        self.exists("/etc/network/interfaces") & self.program("ifup")
    }

    fn ifup_is_busybox(&self) -> bool {
        self.guest
            .program("ifup")
            .and_then(|path| self.guest.link_target(path))
            .is_some_and(|target| target.contains("busybox"))
    }

    fn has_netctl_profile(&self) -> bool {
        const PROFILES: GuestPath = GuestPath::constant("/etc/netctl");

        // Directories there hold examples and hooks.
        let mut entries = self.guest.entries(&PROFILES).iter();
        entries.any(|entry| entry.kind == EntryKind::File)
            || self.services.any_unit(|name| name.starts_with("netctl@"))
    }

    fn openrc(&self) -> bool {
        const OPENRC: [GuestPath; 2] = [
            GuestPath::constant("/sbin/openrc"),
            GuestPath::constant("/run/openrc"),
        ];
        // The first versions have no program of that name; but baselayout 1 has an /sbin/rc, too.
        let (rc, baselayout_1) = (self.exists("/sbin/rc"), self.exists("/sbin/runscript.sh"));
        self.guest.exists_any(&OPENRC) | (rc && !baselayout_1)
    }

    fn arch_without_systemd(&self) -> bool {
        self.os.family == OsFamily::Arch && !self.os.systemd
    }
}

/// Whether the ifcfg file of every interface keeps NetworkManager away.
fn ifcfg_is_not_controlled(config: &NetworkConfig, guest: &Guest<'_>) -> bool {
    let texts: Vec<Option<String>> = config
        .names()
        .map(|name| guest.text(&ifcfg::path("ifcfg", name)?))
        .collect();
    !texts.is_empty()
        && texts
            .iter()
            .all(|text| text.as_deref().is_some_and(is_not_controlled))
}

fn is_not_controlled(ifcfg: &str) -> bool {
    let value = Assignments::parse(ifcfg).get("NM_CONTROLLED");
    value.is_some_and(|value| {
        matches!(
            &*value.to_ascii_lowercase(),
            "no" | "n" | "false" | "f" | "0"
        )
    })
}

/// On Debian, NetworkManager leaves every interface alone that `/etc/network/interfaces` defines,
/// unless its own configuration says otherwise.
fn interfaces_file_is_left_alone(config: &NetworkConfig, guest: &Guest<'_>) -> bool {
    const CONFIG: GuestPath = GuestPath::constant("/etc/NetworkManager/NetworkManager.conf");

    let squeezed: String = guest
        .text(&CONFIG)
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .collect();
    let defined = ifupdown::define_all(config, guest);
    defined && !squeezed.contains("managed=true")
}

#[cfg(test)]
mod tests;

//! Which network stack configures the interfaces of the guest.
//!
//! What decides is what runs, is enabled and is installed, read from files alone: it takes no time and works early at boot,
//! before anything runs. The name of the distribution only breaks ties. A stack that has no renderer is recognised too:
//! writing behind its back would do harm or nothing.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Renderer;
use super::assignments::Assignments;
use super::guest::Guest;
use super::os::{Os, OsFamily};
use super::{
    arch, freebsd, ifcfg, ifupdown, netctl, netifrc, netplan, network_manager, networkd, running,
    suse,
};
use crate::effect::GuestPath;
use crate::network::NetworkConfig;
use crate::ordered::CollectOrdered;

/// A way to configure a network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stack {
    ArchRcConf,
    Busybox,
    FreeBsd,
    Ifupdown,
    Ifupdown2,
    IfupdownNg,
    Netcfg,
    Netctl,
    Netifrc,
    NetifrcArrays,
    Netplan,
    NetworkManager,
    NetworkManagerIfcfg,
    NetworkScripts,
    Networkd,
    Slackware,
    SuseScripts,
    Wicked,
}

impl Stack {
    /// Its name in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ArchRcConf => "rc.conf of Arch Linux",
            Self::Busybox => "busybox ifupdown",
            Self::FreeBsd => "rc.conf of FreeBSD",
            Self::Ifupdown => "ifupdown",
            Self::Ifupdown2 => "ifupdown2",
            Self::IfupdownNg => "ifupdown-ng",
            Self::Netcfg => "netcfg",
            Self::Netctl => "netctl",
            Self::Netifrc => "netifrc",
            Self::NetifrcArrays => "netifrc of baselayout 1",
            Self::Netplan => "netplan",
            Self::NetworkManager => "NetworkManager",
            Self::NetworkManagerIfcfg => "NetworkManager with ifcfg files",
            Self::NetworkScripts => "network-scripts",
            Self::Networkd => "systemd-networkd",
            Self::Slackware => "rc.inet1.conf",
            Self::SuseScripts => "ifup scripts of SUSE",
            Self::Wicked => "wicked",
        }
    }

    /// What writes its files; `None` if the agent only knows it by name.
    pub(super) const fn renderer(self) -> Option<&'static dyn Renderer> {
        match self {
            Self::Busybox | Self::IfupdownNg => Some(&ifupdown::ALPINE),
            Self::Ifupdown | Self::Ifupdown2 => Some(&ifupdown::DEBIAN),
            Self::Netctl => Some(&netctl::Netctl),
            Self::Netplan => Some(&netplan::Netplan),
            Self::NetworkManager => Some(&network_manager::NetworkManager),
            Self::NetworkManagerIfcfg => Some(&ifcfg::NetworkManagerIfcfg),
            Self::NetworkScripts => Some(&ifcfg::NetworkScripts),
            Self::Networkd => Some(&networkd::Networkd),
            Self::SuseScripts => Some(&suse::Suse::Scripts),
            Self::Wicked => Some(&suse::Suse::Wicked),
            Self::ArchRcConf => Some(&arch::RcConf),
            Self::FreeBsd => Some(&freebsd::FreeBsd),
            Self::Netcfg => Some(&arch::Netcfg),
            Self::Netifrc => Some(&netifrc::Netifrc),
            Self::NetifrcArrays => Some(&netifrc::NetifrcArrays),
            Self::Slackware => None,
        }
    }
}

/// The stack that was found, and the fact that decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Detected {
    pub(super) stack: Stack,
    pub(super) because: &'static str,
}

/// One row of the priority list: the stack if the test holds, and the reason in words.
type Row = (Stack, fn(&Facts) -> bool, &'static str);

/// The first row whose test holds wins.
const PRIORITY: [Row; 21] = [
    (Stack::FreeBsd, |f| f.freebsd, "the kernel is FreeBSD"),
    // Whatever backend it feeds: it would overwrite that backend's files.
    (Stack::Netplan, |f| f.netplan, "netplan has a configuration"),
    (
        Stack::NetworkManagerIfcfg,
        |f| f.network_manager && f.ifcfg_plugin && f.ifcfg_file,
        "NetworkManager is enabled and reads an ifcfg file",
    ),
    (
        Stack::NetworkManager,
        |f| f.network_manager,
        "NetworkManager is enabled",
    ),
    (Stack::Wicked, |f| f.wicked, "wicked is the network service"),
    (
        Stack::SuseScripts,
        |f| f.suse_scripts,
        "SUSE without wicked has /etc/init.d/network",
    ),
    (
        Stack::NetworkScripts,
        |f| f.network_scripts,
        "the service network is enabled",
    ),
    (
        Stack::Networkd,
        |f| f.networkd && f.networkd_configured && !f.networkd_unmanaged,
        "systemd-networkd is enabled and has a configuration",
    ),
    (
        Stack::IfupdownNg,
        |f| f.interfaces_file && f.ifupdown_ng,
        "ifupdown-ng is installed",
    ),
    (
        Stack::Busybox,
        |f| f.interfaces_file && f.busybox,
        "ifup is busybox",
    ),
    (
        Stack::Ifupdown2,
        |f| f.interfaces_file && f.ifupdown2,
        "ifupdown2 is installed",
    ),
    (
        Stack::Ifupdown,
        |f| f.interfaces_file,
        "ifup and /etc/network/interfaces exist",
    ),
    (Stack::Netctl, |f| f.netctl, "netctl has a profile"),
    (
        Stack::Netifrc,
        |f| f.netifrc && f.openrc,
        "/etc/init.d/net.lo and OpenRC exist",
    ),
    (
        Stack::NetifrcArrays,
        |f| f.netifrc,
        "/etc/init.d/net.lo exists without OpenRC",
    ),
    (
        Stack::Netcfg,
        |f| f.arch_without_systemd && f.netcfg,
        "Arch Linux without systemd has netcfg",
    ),
    (
        Stack::ArchRcConf,
        |f| f.arch_without_systemd && f.rc_conf,
        "Arch Linux without systemd has /etc/rc.conf",
    ),
    (
        Stack::Slackware,
        |f| f.slackware,
        "/etc/rc.d/rc.inet1.conf exists",
    ),
    // Enabled, but without a configuration yet: only if nothing else has one.
    (
        Stack::Networkd,
        |f| f.networkd,
        "systemd-networkd is enabled",
    ),
    // Its configuration may have been removed by hand; it still owns the interfaces.
    (
        Stack::Netplan,
        |f| f.netplan_installed,
        "netplan is installed",
    ),
    (
        Stack::NetworkManager,
        |f| f.network_manager_enabled,
        "NetworkManager is enabled",
    ),
];

/// The names of the stacks whose files can be written.
pub(super) fn supported() -> BTreeSet<&'static str> {
    PRIORITY
        .into_iter()
        .map(|(stack, ..)| stack)
        .filter(|stack| stack.renderer().is_some())
        .map(Stack::name)
        .collect_ordered()
}

/// Finds the stack of the interfaces of `config`.
pub(super) fn detect(config: &NetworkConfig, os: &Os, guest: &Guest<'_>) -> Option<Detected> {
    let facts = Facts::gather(config, os, guest);
    let (stack, _, because) = PRIORITY.into_iter().find(|(_, test, _)| test(&facts))?;
    Some(Detected { stack, because })
}

/// What the rows test. All of it is gathered before the first test, so that the guest is asked once.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Facts {
    arch_without_systemd: bool,
    busybox: bool,
    freebsd: bool,
    ifcfg_file: bool,
    ifcfg_plugin: bool,
    ifupdown2: bool,
    ifupdown_ng: bool,
    interfaces_file: bool,
    netcfg: bool,
    netctl: bool,
    netifrc: bool,
    netplan: bool,
    netplan_installed: bool,
    network_manager: bool,
    network_manager_enabled: bool,
    network_scripts: bool,
    networkd: bool,
    networkd_configured: bool,
    networkd_unmanaged: bool,
    openrc: bool,
    rc_conf: bool,
    slackware: bool,
    suse_scripts: bool,
    wicked: bool,
}

impl Facts {
    fn gather(config: &NetworkConfig, os: &Os, guest: &Guest<'_>) -> Self {
        let exists = |path: &'static str| guest.exists(&GuestPath::constant(path));
        let lists = |path: &'static str, wanted: fn(&str) -> bool| {
            guest
                .names(&GuestPath::constant(path))
                .into_iter()
                .any(wanted)
        };
        let any = |paths: &[&'static str], wanted: fn(&str) -> bool| {
            paths
                .iter()
                .fold(false, |found, path| lists(path, wanted) | found)
        };
        let services = Services::of(guest);

        let netplan_installed = guest.program("netplan").is_some();
        let netplan_files = any(
            &["/etc/netplan", "/run/netplan", "/usr/lib/netplan"],
            |name| name.ends_with(".yaml"),
        );

        let network_functions = exists("/etc/sysconfig/network-scripts/network-functions");
        let network_scripts = network_functions & services.is_on("network");
        let network_manager_enabled =
            services.is_on("NetworkManager") | services.is_on("network-manager");
        let left_alone = network_scripts && os.is_old_red_hat()
            || match running::network_manager_manages(config, guest) {
                Some(managed) => !managed,
                None => {
                    network_scripts && ifcfg_is_not_controlled(config, guest)
                        || interfaces_file_is_left_alone(config, guest)
                }
            };

        let network_service =
            guest.link_target(&GuestPath::constant("/etc/systemd/system/network.service"));
        let wicked = network_service.is_some_and(|target| target.ends_with("/wicked.service"))
            | services.is_on("wicked");

        // Names from 80 on are what systemd ships for containers and the like.
        let own = |name: &str| name.ends_with(".network") && !name.starts_with("80-");
        let networkd_configured = any(&["/etc/systemd/network", "/run/systemd/network"], |name| {
            name.ends_with(".network")
        }) | lists("/usr/lib/systemd/network", own);

        let ifup = guest.program("ifup");
        let busybox = ifup
            .map(|path| guest.link_target(path))
            .is_some_and(|target| target.is_some_and(|target| target.contains("busybox")));

        let netctl_enabled = services.any(|name| name.starts_with("netctl@"));
        // Directories there hold examples and hooks.
        let netctl_profiles = guest
            .entries(&GuestPath::constant("/etc/netctl"))
            .iter()
            .any(|entry| entry.kind == crate::effect::EntryKind::File);
        // The first versions have no program of that name; but baselayout 1 has an /sbin/rc, too.
        let [openrc, running, rc, baselayout_1] = [
            "/sbin/openrc",
            "/run/openrc",
            "/sbin/rc",
            "/sbin/runscript.sh",
        ]
        .map(exists);
        let openrc = openrc || running || (rc && !baselayout_1);

        Self {
            arch_without_systemd: os.family == OsFamily::Arch && !os.systemd,
            busybox,
            freebsd: os.family == OsFamily::FreeBsd,
            ifcfg_file: ifcfg_file_exists(config, guest),
            ifcfg_plugin: os.keeps_ifcfg_under_network_manager() && ifcfg::plugin_exists(guest),
            ifupdown2: exists("/usr/share/ifupdown2"),
            ifupdown_ng: exists("/usr/libexec/ifupdown-ng"),
            interfaces_file: exists("/etc/network/interfaces") & ifup.is_some(),
            netcfg: exists("/usr/bin/netcfg"),
            netctl: exists("/usr/bin/netctl") & (netctl_enabled | netctl_profiles),
            netifrc: exists("/etc/init.d/net.lo"),
            netplan: netplan_installed && netplan_files,
            netplan_installed,
            network_manager: network_manager_enabled && !left_alone,
            network_manager_enabled,
            network_scripts,
            networkd: services.is_on("systemd-networkd"),
            networkd_configured,
            networkd_unmanaged: running::networkd_manages(config, guest) == Some(false),
            openrc,
            rc_conf: exists("/etc/rc.conf"),
            slackware: exists("/etc/rc.d/rc.inet1.conf"),
            suse_scripts: os.family == OsFamily::Suse && suse_scripts_exist(guest),
            wicked,
        }
    }
}

/// The services that run and those that start at boot, whatever starts them.
#[derive(Debug)]
struct Services<'a> {
    units: BTreeSet<&'a str>,
    scripts: BTreeSet<&'a str>,
    active: BTreeSet<&'a str>,
    masked: Vec<&'a str>,
}

/// What is asked about by name.
const ASKED: [(&str, GuestPath); 4] = [
    (
        "NetworkManager",
        GuestPath::constant("/etc/systemd/system/NetworkManager.service"),
    ),
    (
        "systemd-networkd",
        GuestPath::constant("/etc/systemd/system/systemd-networkd.service"),
    ),
    (
        "network",
        GuestPath::constant("/etc/systemd/system/network.service"),
    ),
    (
        "wicked",
        GuestPath::constant("/etc/systemd/system/wicked.service"),
    ),
];

impl<'a> Services<'a> {
    fn of(guest: &Guest<'a>) -> Self {
        let names = |directories: &[GuestPath]| {
            directories
                .iter()
                .flat_map(|directory| guest.names(directory))
                .collect::<Vec<&'a str>>()
        };
        let units = names(&[
            GuestPath::constant("/etc/systemd/system/multi-user.target.wants"),
            GuestPath::constant("/etc/systemd/system/network-online.target.wants"),
            GuestPath::constant("/usr/lib/systemd/system/multi-user.target.wants"),
        ]);
        // Red Hat boots to runlevel 3, Debian to 2; OpenRC lists plain names.
        let started = names(&[
            GuestPath::constant("/etc/rc.d/rc3.d"),
            GuestPath::constant("/etc/rc3.d"),
            GuestPath::constant("/etc/rc2.d"),
        ]);
        let openrc = names(&[
            GuestPath::constant("/etc/runlevels/boot"),
            GuestPath::constant("/etc/runlevels/default"),
        ]);
        let masked = ASKED
            .into_iter()
            .filter(|(_, path)| guest.link_target(path) == Some("/dev/null"))
            .map(|(name, _)| name)
            .collect();
        let scripts = started
            .into_iter()
            .filter_map(start_link)
            .chain(openrc)
            .collect_ordered();
        let active = names(&[running::SYSTEMD_UNITS])
            .into_iter()
            .filter_map(running::active_unit)
            .chain(names(&[running::OPENRC_STARTED]))
            .collect_ordered();
        Self {
            units: units.into_iter().collect_ordered(),
            scripts,
            active,
            masked,
        }
    }

    /// Whether a service runs or will at the next boot: right now, at boot, it may not have been started yet.
    fn is_on(&self, name: &str) -> bool {
        // A service that was removed but not purged is masked on Debian, its links stay.
        let enabled =
            self.units.contains(&*format!("{name}.service")) || self.scripts.contains(name);
        self.active.contains(name) || enabled && !self.masked.contains(&name)
    }

    fn any(&self, wanted: fn(&str) -> bool) -> bool {
        self.units.iter().any(|name| wanted(name))
    }
}

/// The name of the service that a link like `S10network` starts.
fn start_link(link: &str) -> Option<&str> {
    let (number, name) = link.strip_prefix('S')?.split_at_checked(2)?;
    number
        .bytes()
        .all(|digit| digit.is_ascii_digit())
        .then_some(name)
}

/// Whether the network of SUSE is brought up by its scripts, which stand back for NetworkManager if they are told so.
fn suse_scripts_exist(guest: &Guest<'_>) -> bool {
    const FILES: [GuestPath; 2] = [
        GuestPath::constant("/etc/init.d/network"),
        GuestPath::constant("/etc/sysconfig/network/scripts/functions"),
    ];
    const CONFIG: GuestPath = GuestPath::constant("/etc/sysconfig/network/config");

    let config = guest.text(&CONFIG).map(|text| Assignments::parse(&text));
    let by_network_manager = config
        .and_then(|config| config.get("NETWORKMANAGER"))
        .is_some_and(|value| value == "yes");
    !FILES.map(|path| guest.exists(&path)).contains(&false) && !by_network_manager
}

/// Whether any interface has an ifcfg file.
fn ifcfg_file_exists(config: &NetworkConfig, guest: &Guest<'_>) -> bool {
    let exists = |name| ifcfg::path("ifcfg", name).is_some_and(|path| guest.exists(&path));
    config
        .interfaces
        .iter()
        .fold(false, |any, interface| exists(&interface.name) | any)
}

/// Whether the ifcfg file of every interface keeps NetworkManager away.
fn ifcfg_is_not_controlled(config: &NetworkConfig, guest: &Guest<'_>) -> bool {
    config
        .interfaces
        .iter()
        .fold(!config.interfaces.is_empty(), |all, interface| {
            let text = ifcfg::path("ifcfg", &interface.name).and_then(|path| guest.text(&path));
            let value = text.and_then(|text| Assignments::parse(&text).get("NM_CONTROLLED"));
            value.is_some_and(|value| {
                matches!(
                    &*value.to_ascii_lowercase(),
                    "no" | "n" | "false" | "f" | "0"
                )
            }) && all
        })
}

/// On Debian, NetworkManager leaves every interface alone that `/etc/network/interfaces` defines, unless its own
/// configuration says otherwise.
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

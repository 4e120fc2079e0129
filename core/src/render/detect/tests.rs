use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;

use super::*;
use crate::effect::{DirectoryEntry, FileMode, FileState, InterfaceState, Kernel, Probe, Snapshot};
use crate::network::validate;

/// Enabled with systemd.
const NETWORK_MANAGER: (&str, &str) = (
    "/etc/systemd/system/multi-user.target.wants/NetworkManager.service",
    "-> /lib/systemd/system/x.service",
);
const NETWORKD: (&str, &str) = (
    "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
    "-> /lib/systemd/system/x.service",
);
const SYSTEMD: (&str, &str) = ("/usr/lib/systemd/systemd", "");
const ENI: (&str, &str) = (
    "/etc/network/interfaces",
    "auto lo\niface lo inet loopback\n",
);
const IFUP: (&str, &str) = ("/sbin/ifup", "");
const IFINDEX: (&str, &str) = ("/sys/class/net/eth0/ifindex", "2\n");

fn os(release: &'static str) -> (&'static str, &'static str) {
    ("/etc/os-release", release)
}

const DEBIAN: &str = "ID=debian\nVERSION_ID=12\n";
const CENTOS_7: &str = "ID=centos\nID_LIKE=\"rhel fedora\"\nVERSION_ID=7\n";
const ROCKY_8: &str = "ID=rocky\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=8.9\n";
const ROCKY_9: &str = "ID=rocky\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=9.3\n";
const ARCH: &str = "ID=arch\n";
const GENTOO: &str = "ID=gentoo\n";
const SLES: &str = "ID=sles\nVERSION_ID=15.5\n";

/// What is detected on a guest with these files; a text that begins with an arrow is a symlink. A
/// file in a directory of programs is a program.
fn detected(files: &[(&str, &str)]) -> Option<Detected> {
    detected_on("Linux", files)
}

fn detected_on(system: &str, files: &[(&str, &str)]) -> Option<Detected> {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let mut snapshot = Snapshot {
        kernel: Some(Kernel {
            system: system.into(),
            release: "14.1".into(),
            hostname: "old".into(),
        }),
        ..Snapshot::default()
    };
    let interface = InterfaceState {
        name: "eth0".into(),
        mac: "00:16:3e:00:00:01".try_into().ok(),
        physical: true,
        vif: Some(0),
        master: None,
        driver: None,
        up: true,
        addresses: Vec::new(),
    };
    let value = br#"{"ips": [{"ip": "192.0.2.2", "netmask": 24}]}"#.to_vec();
    let config = validate(&[("00163e000001".to_string(), value)], &[], &[interface]).config;
    assert_eq!(config.interfaces.len(), 1);
    loop {
        let guest = Guest::new(&snapshot);
        let found = detect(&config, &Os::of(&guest), &guest);
        let probes = guest.unanswered();
        if probes.is_empty() {
            return found;
        }
        for probe in probes {
            answer(probe, &files, &mut snapshot);
        }
    }
}

fn answer(probe: Probe, files: &BTreeMap<&str, &str>, snapshot: &mut Snapshot) {
    match probe {
        Probe::Directory(path) => {
            let below = format!("{path}/");
            let names = files
                .keys()
                .filter_map(|file| Some(file.strip_prefix(&below)?.split('/').next()?.to_string()));
            let mut names: Vec<String> = names.collect();
            names.dedup();
            let entry = |name: String| {
                let is_file = files.contains_key(format!("{below}{name}").as_str());
                DirectoryEntry {
                    name,
                    kind: if is_file {
                        EntryKind::File
                    } else {
                        EntryKind::Directory
                    },
                }
            };
            snapshot
                .directories
                .insert(path, names.into_iter().map(entry).collect());
        }
        Probe::File(path) => {
            let below = format!("{path}/");
            let state = match files.get(path.as_str()) {
                Some(text) => match text.strip_prefix("-> ") {
                    Some(target) => FileState::Symlink {
                        target: target.into(),
                    },
                    None => FileState::Regular {
                        content: text.as_bytes().into(),
                        mode: FileMode::PUBLIC,
                    },
                },
                None if files.keys().any(|file| file.starts_with(&below)) => FileState::Directory,
                None => FileState::Missing,
            };
            snapshot.files.insert(path, state);
        }
        Probe::Program(name) => {
            let paths =
                ["/sbin", "/usr/sbin", "/usr/bin"].map(|directory| format!("{directory}/{name}"));
            let found = paths
                .into_iter()
                .find(|path| files.contains_key(path.as_str()));
            snapshot
                .programs
                .insert(name, found.and_then(|path| GuestPath::try_from(path).ok()));
        }
        Probe::Interfaces | Probe::Kernel | Probe::Routes => panic!("{probe:?} decides nothing"),
    }
}

fn stack(files: &[(&str, &str)]) -> Option<&'static str> {
    detected(files).map(|detected| detected.stack.name)
}

#[test]
fn each_row_of_the_list_holds_on_a_system_that_it_is_for() {
    assert_eq!(
        detected_on("FreeBSD", &[("/etc/rc.conf", "")])
            .unwrap()
            .stack
            .name,
        "rc.conf of FreeBSD"
    );
    let wicked = (
        "/etc/systemd/system/network.service",
        "-> /usr/lib/systemd/system/wicked.service",
    );
    let network = ("/etc/rc.d/rc3.d/S10network", "-> ../init.d/network");
    let functions = ("/etc/sysconfig/network-scripts/network-functions", "");
    let ifcfg = ("/etc/sysconfig/network-scripts/ifcfg-eth0", "DEVICE=eth0\n");
    let plugin = (
        "/usr/lib64/NetworkManager/1.40.16-1.el8/libnm-settings-plugin-ifcfg-rh.so",
        "",
    );
    let network_file = ("/etc/systemd/network/lan.network", "[Match]\nName=e*\n");
    let netifrc = ("/etc/init.d/net.lo", "");
    let rows: [(&[(&str, &str)], &str); 20] = [
        (
            &[
                os(DEBIAN),
                SYSTEMD,
                ("/usr/sbin/netplan", ""),
                ("/etc/netplan/50-cloud-init.yaml", ""),
            ],
            "netplan",
        ),
        (
            &[
                os(DEBIAN),
                SYSTEMD,
                ("/usr/sbin/netplan", ""),
                ("/run/netplan/x.yaml", ""),
            ],
            "netplan",
        ),
        (
            &[os(ROCKY_8), SYSTEMD, NETWORK_MANAGER, ifcfg, plugin],
            "NetworkManager with ifcfg files",
        ),
        (
            &[os(ROCKY_8), SYSTEMD, NETWORK_MANAGER, plugin],
            "NetworkManager",
        ),
        (
            &[os(ROCKY_8), SYSTEMD, NETWORK_MANAGER, ifcfg],
            "NetworkManager",
        ),
        (
            &[os(ROCKY_9), SYSTEMD, NETWORK_MANAGER, ifcfg, plugin],
            "NetworkManager",
        ),
        (&[os(SLES), SYSTEMD, wicked], "wicked"),
        (
            &[os(CENTOS_7), SYSTEMD, functions, network],
            "network-scripts",
        ),
        (
            &[
                os(CENTOS_7),
                SYSTEMD,
                functions,
                network,
                NETWORK_MANAGER,
                ifcfg,
                plugin,
            ],
            "network-scripts",
        ),
        (
            &[
                os(CENTOS_7),
                SYSTEMD,
                functions,
                NETWORK_MANAGER,
                ifcfg,
                plugin,
            ],
            "NetworkManager with ifcfg files",
        ),
        (
            &[os(ARCH), SYSTEMD, NETWORKD, network_file],
            "systemd-networkd",
        ),
        (
            &[
                os("ID=alpine\n"),
                ENI,
                IFUP,
                ("/usr/libexec/ifupdown-ng/static", ""),
            ],
            "ifupdown-ng",
        ),
        (
            &[os("ID=alpine\n"), ENI, ("/sbin/ifup", "-> /bin/busybox")],
            "busybox ifupdown",
        ),
        (
            &[
                os(DEBIAN),
                SYSTEMD,
                ENI,
                IFUP,
                ("/usr/share/ifupdown2/x", ""),
            ],
            "ifupdown2",
        ),
        (&[os(DEBIAN), SYSTEMD, ENI, IFUP], "ifupdown"),
        (
            &[
                os(ARCH),
                SYSTEMD,
                ("/usr/bin/netctl", ""),
                ("/etc/netctl/lan", "Interface=eth0\n"),
            ],
            "netctl",
        ),
        (&[os(GENTOO), netifrc, ("/sbin/openrc", "")], "netifrc"),
        (&[os(GENTOO), netifrc], "netifrc of baselayout 1"),
        (
            &[
                ("/etc/arch-release", ""),
                ("/etc/rc.conf", ""),
                ("/usr/bin/netcfg", ""),
            ],
            "netcfg",
        ),
        (
            &[("/etc/arch-release", ""), ("/etc/rc.conf", "")],
            "rc.conf of Arch Linux",
        ),
    ];
    for (files, expected) in rows {
        assert_eq!(stack(files), Some(expected), "{files:?}");
    }
    assert_eq!(
        stack(&[
            ("/etc/slackware-version", "15"),
            ("/etc/rc.d/rc.inet1.conf", "")
        ]),
        Some("rc.inet1.conf")
    );
    assert_eq!(stack(&[os(DEBIAN), SYSTEMD]), None);
}

#[test]
fn what_is_enabled_without_a_configuration_comes_last() {
    assert_eq!(
        stack(&[os(ARCH), SYSTEMD, NETWORKD]),
        Some("systemd-networkd")
    );
    assert_eq!(
        stack(&[os(ARCH), SYSTEMD, NETWORKD, ENI, IFUP]),
        Some("ifupdown")
    );
    assert_eq!(
        stack(&[os(DEBIAN), SYSTEMD, ("/usr/sbin/netplan", "")]),
        Some("netplan")
    );
    assert_eq!(
        stack(&[os(DEBIAN), SYSTEMD, ("/usr/sbin/netplan", ""), NETWORKD]),
        Some("systemd-networkd")
    );
}

#[test]
fn a_daemon_that_leaves_the_interface_alone_is_not_chosen() {
    let debian = [os(DEBIAN), SYSTEMD, ENI, IFUP, IFINDEX];
    let with = |more: &[(&'static str, &'static str)]| stack(&[&debian[..], more].concat());
    let managed = ("/run/NetworkManager/devices/2", "[device]\nmanaged=true\n");
    let not_managed = ("/run/NetworkManager/devices/2", "[device]\nmanaged=false\n");
    let other = ("/run/NetworkManager/devices/1", "[device]\nmanaged=true\n");
    assert_eq!(
        with(&[NETWORK_MANAGER]),
        Some("NetworkManager"),
        "it does not run yet"
    );
    assert_eq!(with(&[NETWORK_MANAGER, managed]), Some("NetworkManager"));
    assert_eq!(with(&[NETWORK_MANAGER, not_managed]), Some("ifupdown"));
    assert_eq!(with(&[NETWORK_MANAGER, other]), Some("ifupdown"));
    assert_eq!(
        with(&[managed]),
        Some("ifupdown"),
        "it has been stopped and disabled"
    );

    let file = ("/etc/systemd/network/lan.network", "[Match]\nName=enX0\n");
    let link = |state| ("/run/systemd/netif/links/2", state);
    assert_eq!(
        with(&[NETWORKD, file]),
        Some("systemd-networkd"),
        "it does not run yet"
    );
    assert_eq!(
        with(&[NETWORKD, file, link("ADMIN_STATE=configured\n")]),
        Some("systemd-networkd")
    );
    assert_eq!(
        with(&[NETWORKD, file, link("ADMIN_STATE=unmanaged\n")]),
        Some("ifupdown")
    );
}

#[test]
fn a_daemon_that_runs_counts_though_it_is_not_enabled_and_one_that_is_masked_does_not() {
    let debian = [os(DEBIAN), SYSTEMD, ENI, IFUP, IFINDEX];
    let with = |more: &[(&'static str, &'static str)]| stack(&[&debian[..], more].concat());
    let active = (
        "/run/systemd/units/invocation:NetworkManager.service",
        "-> 0123456789abcdef0123456789abcdef",
    );
    assert_eq!(with(&[active]), Some("NetworkManager"));
    let masked = ("/etc/systemd/system/NetworkManager.service", "-> /dev/null");
    assert_eq!(with(&[NETWORK_MANAGER, masked]), Some("ifupdown"));
    let openrc = (
        "/run/openrc/started/NetworkManager",
        "-> /etc/init.d/NetworkManager",
    );
    assert_eq!(
        stack(&[os(GENTOO), ("/etc/init.d/net.lo", ""), openrc]),
        Some("NetworkManager")
    );
}

#[test]
fn the_reason_is_that_of_the_row() {
    let found = detected(&[os(DEBIAN), SYSTEMD, ENI, IFUP]).unwrap();
    assert_eq!(found.because, "ifup and /etc/network/interfaces exist");
}

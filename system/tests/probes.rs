//! Probes of a guest that consists of files.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests may fail like tests"
)]

mod guest;

use guest::{Guest, path};
use nova_agent_core::effect::{
    DirectoryEntry, Effect, EntryKind, FILE_MAX, FileMode, FileState, InterfaceState, Outcome,
    Probe,
};
use nova_agent_core::network::MacAddr;
use nova_agent_system::runtime::{Root, System};

#[test]
fn files_are_told_apart_without_following_the_last_symlink() {
    let guest = Guest::new();
    guest.file("/etc/file", "content");
    guest.chmod("/etc/file", 0o604);
    guest.link("/etc/link", "/etc/file");
    guest.link("/alias", "/etc");
    guest.file("/etc/large", vec![0; FILE_MAX + 1]);
    guest.file("/etc/limit", vec![0; FILE_MAX]);
    let state = |at: &str| {
        guest
            .probe(vec![Probe::File(path(at))])
            .files
            .remove(&path(at))
            .unwrap()
    };
    let regular = FileState::Regular {
        content: b"content".to_vec(),
        mode: FileMode::new(0o604),
    };
    assert_eq!(state("/etc/file"), regular);
    assert_eq!(state("/alias/file"), regular);
    assert_eq!(
        state("/etc/link"),
        FileState::Symlink {
            target: "/etc/file".into()
        }
    );
    assert_eq!(state("/etc"), FileState::Directory);
    assert_eq!(state("/"), FileState::Directory);
    for missing in ["/etc/missing", "/missing/file", "/etc/file/below"] {
        assert_eq!(state(missing), FileState::Missing, "{missing}");
    }
    assert_eq!(
        state("/etc/large"),
        FileState::TooLarge {
            size: 256 * 1024 + 1
        }
    );
    assert!(
        matches!(state("/etc/limit"), FileState::Regular { content, .. } if content.len() == FILE_MAX)
    );
    guest.link("/etc/loop", "loop");
    assert!(matches!(
        state("/etc/loop/file"),
        FileState::Unreadable { .. }
    ));
}

#[test]
fn directories_are_listed_in_order_and_empty_if_they_cannot_be() {
    let guest = Guest::new();
    guest.file("/etc/net/b", "");
    guest.directory("/etc/net/a");
    guest.link("/etc/net/c", "nowhere");
    guest.link("/net", "etc/net");
    let list = |at: &str| {
        guest
            .probe(vec![Probe::Directory(path(at))])
            .directories
            .remove(&path(at))
            .unwrap()
    };
    let entry = |name: &str, kind| DirectoryEntry {
        name: name.into(),
        kind,
    };
    let all = [
        entry("a", EntryKind::Directory),
        entry("b", EntryKind::File),
        entry("c", EntryKind::Symlink),
    ];
    assert_eq!(list("/etc/net"), all);
    assert_eq!(list("/net"), all);
    assert!(list("/missing").is_empty());
    assert!(list("/etc/net/b").is_empty());
}

#[test]
fn a_directory_is_listed_to_the_bound() {
    let guest = Guest::new();
    for (count, listed) in [(4096, 4096), (4097, 4096)] {
        for nth in 0..count {
            guest.file(&format!("/etc/many/{nth}"), "");
        }
        let snapshot = guest.probe(vec![Probe::Directory(path("/etc/many"))]);
        assert_eq!(snapshot.directories[&path("/etc/many")].len(), listed);
    }
}

#[test]
fn no_more_routes_are_listed_than_the_bound() {
    let guest = Guest::new();
    let line = "e 0000000A 00000000 1 0 0 0 000000FF\n";
    for (count, listed) in [(4096, 4096), (4097, 4096), (6000, 4096)] {
        guest.file("/proc/net/route", line.repeat(count));
        assert_eq!(
            guest.probe(vec![Probe::Routes]).routes.unwrap().len(),
            listed
        );
    }
    // More than is read of any file: none is known.
    guest.file("/proc/net/route", line.repeat(FILE_MAX / line.len() + 1));
    assert_eq!(guest.probe(vec![Probe::Routes]).routes.unwrap(), []);
}

#[test]
fn as_many_symlinks_are_followed_as_the_kernel_follows() {
    let guest = Guest::new();
    guest.file("/etc/0/file", "x");
    for nth in 1..=41 {
        guest.link(&format!("/etc/{nth}"), &(nth - 1).to_string());
    }
    let state = |nth: usize| {
        let path = path(&format!("/etc/{nth}/file"));
        guest
            .probe(vec![Probe::File(path.clone())])
            .files
            .remove(&path)
            .unwrap()
    };
    assert!(
        matches!(state(40), FileState::Regular { .. }),
        "{:?}",
        state(40)
    );
    assert!(
        matches!(state(41), FileState::Unreadable { reason } if reason.contains("too many symlinks"))
    );
}

#[test]
fn programs_are_found_in_the_order_of_the_fixed_path() {
    let guest = Guest::new();
    guest.file("/bin/ip", "");
    guest.file("/usr/sbin/ip", "");
    guest.file("/opt/bin/other", "");
    let snapshot = guest.probe(vec![
        Probe::Program("ip".into()),
        Probe::Program("other".into()),
    ]);
    assert_eq!(snapshot.programs["ip"], Some(path("/usr/sbin/ip")));
    assert_eq!(snapshot.programs["other"], None);
}

#[test]
fn a_sandbox_may_be_another_system_than_the_machine() {
    let guest = Guest::new();
    let kernel = || guest.probe(vec![Probe::Kernel]).kernel.unwrap();
    assert_eq!(
        kernel().release,
        rustix::system::uname().release().to_str().unwrap()
    );
    guest.file("/bin/freebsd-version", "");
    assert_eq!(kernel().system, "FreeBSD");
    guest.file("/proc/sys/kernel/ostype", "Linux\n");
    guest.file("/proc/sys/kernel/osrelease", "3.10.0-1160.el7.x86_64\n");
    assert_eq!(
        (kernel().system.as_str(), kernel().release.as_str()),
        ("Linux", "3.10.0-1160.el7.x86_64")
    );
}

#[test]
fn an_interface_that_is_about_to_appear_and_to_be_renamed_is_waited_for() {
    let guest = Guest::new();
    guest.file("/run/udev/control", "");
    guest.directory("/run/udev/data");
    guest.directory("/sys/bus/xen/devices/vif-0");
    guest.directory("/sys/bus/xen/devices/vbd-768");
    std::thread::scope(|threads| {
        let asked = threads.spawn(|| interfaces(&guest));
        // Whether or not the question comes first, this order of events must not show.
        guest.file("/sys/bus/xen/devices/vif-0/net/eth0/ifindex", "2\n");
        std::fs::rename(
            guest.host("/sys/bus/xen/devices/vif-0/net/eth0"),
            guest.host("/sys/bus/xen/devices/vif-0/net/enX0"),
        )
        .unwrap();
        guest.file("/sys/class/net/enX0/type", "1");
        guest.file("/run/udev/data/n2", "");
        let names: Vec<String> = asked
            .join()
            .unwrap()
            .into_iter()
            .map(|interface| interface.name)
            .collect();
        assert_eq!(names, ["enX0"]);
    });
}

/// A Xen guest with two paravirtual interfaces, one of them reached through symlinks as on a real one.
fn xen_guest() -> Guest {
    let guest = Guest::new();
    let device = "/sys/devices/vif-0";
    guest.file(&format!("{device}/net/eth0/type"), "1\n");
    guest.file(&format!("{device}/net/eth0/address"), "00:16:3e:00:00:01\n");
    guest.file(&format!("{device}/net/eth0/addr_assign_type"), "0\n");
    guest.file(&format!("{device}/net/eth0/flags"), "0x1003\n");
    guest.file(
        &format!("{device}/net/eth0/uevent"),
        "INTERFACE=eth0\nIFINDEX=2\n",
    );
    guest.file(&format!("{device}/nodename"), "device/vif/0\n");
    guest.link(&format!("{device}/driver"), "../../../bus/xen/drivers/vif");
    guest.link(&format!("{device}/net/eth0/device"), "../../../vif-0");
    guest.link("/sys/class/net/eth0", "../../devices/vif-0/net/eth0");

    guest.file("/sys/class/net/eth1/type", "1");
    guest.file("/sys/class/net/eth1/address", "00:16:3e:00:00:02");
    guest.file("/sys/class/net/eth1/flags", "0x1002");
    guest.file("/sys/class/net/eth1/device/nodename", "device/vif/1");
    guest.file("/sys/class/net/eth1/device/uevent", "DRIVER=vif\n");

    guest.file("/sys/class/net/lo/type", "772");
    guest.file("/sys/class/net/bonding_masters", "bond0\n");
    guest
}

fn interfaces(guest: &Guest) -> Vec<InterfaceState> {
    guest.probe(vec![Probe::Interfaces]).interfaces.unwrap()
}

fn find<'a>(interfaces: &'a [InterfaceState], name: &str) -> &'a InterfaceState {
    interfaces
        .iter()
        .find(|interface| interface.name == name)
        .unwrap()
}

#[test]
fn interfaces_of_a_xen_guest_are_described() {
    let state = |name: &str, mac: &str, vif, up| InterfaceState {
        name: name.into(),
        mac: Some(MacAddr::try_from(mac).unwrap()),
        physical: true,
        vif: Some(vif),
        master: None,
        driver: Some("vif".into()),
        up,
        addresses: Vec::new(),
    };
    let expected = [
        state("eth0", "00:16:3e:00:00:01", 0, true),
        state("eth1", "00:16:3e:00:00:02", 1, false),
    ];
    assert_eq!(interfaces(&xen_guest()), expected);
}

#[test]
fn what_borrows_an_address_is_not_physical() {
    let guest = xen_guest();
    for (name, file, content) in [
        ("br0", "bridge/bridge_id", ""),
        ("bond0", "bonding/mode", ""),
        ("tap0", "tun_flags", "0x1002"),
        ("eth0.5", "uevent", "DEVTYPE=vlan\nINTERFACE=eth0.5\n"),
        ("wlan0", "uevent", "DEVTYPE=wlan\n"),
        ("stolen0", "addr_assign_type", "2\n"),
        ("veth0", "addr_assign_type", "3\n"),
    ] {
        guest.file(&format!("/sys/class/net/{name}/type"), "1\n");
        guest.file(
            &format!("/sys/class/net/{name}/address"),
            "00:16:3e:00:00:01\n",
        );
        guest.file(&format!("/sys/class/net/{name}/{file}"), content);
        if name != "veth0" {
            guest.link(&format!("/sys/class/net/{name}/device"), "../../nowhere");
        }
    }
    let interfaces = interfaces(&guest);
    let physical: Vec<&str> = interfaces
        .iter()
        .filter(|interface| interface.physical)
        .map(|interface| interface.name.as_str())
        .collect();
    assert_eq!((interfaces.len(), physical), (9, vec!["eth0", "eth1"]));
    let ib = "/sys/class/net/ib0";
    guest.file(&format!("{ib}/type"), "32\n");
    guest.file(&format!("{ib}/address"), "00:16:3e:00:00:09\n");
    guest.link(&format!("{ib}/device"), "../nowhere");
    let interfaces = self::interfaces(&guest);
    assert_eq!(
        (
            find(&interfaces, "ib0").physical,
            find(&interfaces, "ib0").mac
        ),
        (false, None)
    );
}

#[test]
fn a_port_of_a_bond_has_its_own_address() {
    let guest = xen_guest();
    guest.link("/sys/class/net/eth1/master", "../bond0");
    guest.file("/sys/class/net/eth1/address", "00:16:3e:00:00:01");
    guest.file(
        "/sys/class/net/eth1/bonding_slave/perm_hwaddr",
        "00:16:3e:00:00:02\n",
    );
    let interfaces = interfaces(&guest);
    let port = find(&interfaces, "eth1");
    assert_eq!(
        port.mac,
        Some(MacAddr::try_from("00:16:3e:00:00:02").unwrap())
    );
    assert_eq!(port.master.as_deref(), Some("bond0"));
}

#[test]
fn in_a_container_the_only_interface_counts_as_physical() {
    let guest = Guest::new();
    guest.file("/sys/class/net/eth0/type", "1\n");
    guest.file("/sys/class/net/eth0/address", "02:42:ac:11:00:02\n");
    assert!(interfaces(&guest)[0].physical);
    guest.file("/sys/class/net/eth1/type", "1\n");
    guest.file("/sys/class/net/eth1/address", "02:42:ac:11:00:03\n");
    assert!(
        interfaces(&guest)
            .iter()
            .all(|interface| !interface.physical)
    );
    assert!(interfaces(&Guest::new()).is_empty());
}

/// The machine that runs the tests: whatever it is, it has what every Linux machine has.
#[test]
fn the_machine_itself_can_be_probed() {
    let system = System::new(Root::guest().unwrap());
    let probes = vec![
        Probe::Program("sh".into()),
        Probe::File(path("/etc/passwd")),
        Probe::File(path("/dev/null")),
        Probe::File(path("/proc/self/status")),
        Probe::Directory(path("/etc")),
        Probe::Kernel,
        Probe::Interfaces,
    ];
    let Outcome::Probed(snapshot) = system.perform(Effect::Probe(probes.clone())) else {
        panic!("not probed")
    };
    assert!(probes.iter().all(|probe| snapshot.answers(probe)));
    assert!(snapshot.has_program("sh"));
    assert!(
        snapshot
            .text(&path("/etc/passwd"))
            .unwrap()
            .contains("root:")
    );
    assert_eq!(snapshot.files[&path("/dev/null")], FileState::Other);
    assert!(
        snapshot
            .text(&path("/proc/self/status"))
            .unwrap()
            .contains("Pid:")
    );
    let kernel = snapshot.kernel.unwrap();
    assert_eq!(
        kernel.hostname,
        rustix::system::uname().nodename().to_str().unwrap()
    );
    let listed: Vec<String> = snapshot
        .interfaces
        .unwrap()
        .into_iter()
        .map(|interface| interface.name)
        .collect();
    let mut expected: Vec<String> = std::fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir() && entry.file_name() != "lo")
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

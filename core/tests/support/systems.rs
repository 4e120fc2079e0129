//! Small guests of several systems, in memory.

use std::collections::BTreeMap;

use nova_agent_core::effect::{GuestPath, InterfaceState};
use nova_agent_core::network::MacAddr;

use super::{File, Guest};

/// A guest with ifupdown.
pub(crate) fn debian() -> Guest {
    guest(&[
        ("/etc/os-release", "NAME=Debian\nID=debian\n"),
        (
            "/etc/network/interfaces",
            "auto lo\niface lo inet loopback\n\n# mine\nauto eth0\niface eth0 inet dhcp\n",
        ),
        (
            "/etc/resolv.conf",
            "search example.org\nnameserver 192.0.2.1\n",
        ),
        ("/etc/hosts", "127.0.0.1 localhost\n127.0.2.1 x\n"),
    ])
}

/// A guest with network-scripts.
pub(crate) fn centos() -> Guest {
    guest(&[
        ("/etc/redhat-release", "CentOS release 6.10 (Final)\n"),
        ("/etc/rc.d/rc3.d/S10network", ""),
        ("/etc/sysconfig/network-scripts/network-functions", ""),
        (
            "/etc/sysconfig/network-scripts/ifcfg-eth0",
            "DEVICE=eth0\nBOOTPROTO=dhcp\nZONE=public\n",
        ),
    ])
}

/// A guest with wicked.
pub(crate) fn suse() -> Guest {
    guest(&[
        ("/etc/os-release", "NAME=SLES\nID=sles\nVERSION_ID=15.5\n"),
        (
            "/etc/systemd/system/multi-user.target.wants/wicked.service",
            "",
        ),
        (
            "/etc/sysconfig/network/ifcfg-eth0",
            "BOOTPROTO='dhcp'\nSTARTMODE='auto'\nZONE=public\n",
        ),
        (
            "/etc/sysconfig/network/config",
            "NETCONFIG_DNS_POLICY=\"auto\"\n",
        ),
    ])
}

/// A guest with netctl.
pub(crate) fn arch() -> Guest {
    guest(&[
        ("/etc/os-release", "NAME=Arch\nID=arch\n"),
        ("/usr/lib/systemd/systemd", ""),
        ("/usr/bin/netctl", ""),
        (
            "/etc/netctl/eth0",
            "Interface=eth0\nConnection=ethernet\nIP=dhcp\n",
        ),
    ])
}

/// Systems whose whole configuration is read by a shell.
pub(crate) fn shells() -> [Guest; 5] {
    let net = (
        "/etc/conf.d/net",
        "modules=\"iproute2\"\nconfig_eth0=\"dhcp\"\n",
    );
    let rc_conf = (
        "/etc/rc.conf",
        "HOSTNAME=\"old\"\neth0=\"dhcp\"\nINTERFACES=(eth0)\nDAEMONS=(network)\n",
    );
    let gentoo = [("/etc/gentoo-release", ""), ("/etc/init.d/net.lo", ""), net];
    let arch = [("/etc/arch-release", ""), rc_conf];
    [
        guest(&[&gentoo[..], &[("/sbin/openrc", "")]].concat()),
        guest(&gentoo),
        guest(&[&arch[..], &[("/usr/bin/netcfg", "")]].concat()),
        guest(&arch),
        Guest {
            kernel: "FreeBSD".into(),
            ..guest(&[("/etc/rc.conf", "ifconfig_eth0=\"DHCP\"\n")])
        },
    ]
}

/// A guest of two interfaces with these files.
pub(crate) fn guest(files: &[(&str, &str)]) -> Guest {
    let interface = |number: u32| InterfaceState {
        name: format!("eth{number}"),
        mac: Some(MacAddr::try_from(format!("00163e00000{}", number + 1).as_str()).unwrap()),
        physical: true,
        vif: Some(number),
        master: None,
        driver: None,
        up: true,
        addresses: Vec::new(),
    };
    let file = |(path, text): &(&str, &str)| {
        (
            GuestPath::try_from(*path).unwrap(),
            File::Regular(text.as_bytes().to_vec()),
        )
    };
    Guest {
        files: files.iter().map(file).collect::<BTreeMap<_, _>>(),
        hostname: "old".into(),
        interfaces: vec![interface(0), interface(1)],
        routes: Vec::new(),
        kernel: "Linux".into(),
        programs: ["ifup", "netconfig", "resolvconf"]
            .map(|name| {
                (
                    name.to_string(),
                    GuestPath::try_from(format!("/sbin/{name}")).unwrap(),
                )
            })
            .into(),
    }
}

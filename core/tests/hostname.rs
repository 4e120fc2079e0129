//! Where the systems keep their name: what a change of the hostname writes on each of them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

mod support;

use std::collections::BTreeMap;

use nova_agent_core::effect::{Change, GuestPath};
use nova_agent_core::render::{Prepared, Refusal, Unclear, set_hostname};

use self::support::{File, Guest, apply};

const SYSTEMD: (&str, &str) = ("/usr/lib/systemd/systemd", "");

fn guest(kernel: &str, files: &[(&str, &str)]) -> Guest {
    let files = files.iter().map(|(path, text)| {
        let file = match text.strip_prefix("-> ") {
            Some(target) => File::Symlink(target.to_string()),
            None => File::Regular(text.as_bytes().to_vec()),
        };
        (GuestPath::try_from(*path).unwrap(), file)
    });
    Guest {
        files: files.collect(),
        hostname: "old".into(),
        interfaces: Vec::new(),
        kernel: kernel.into(),
        routes: Vec::new(),
        programs: BTreeMap::new(),
    }
}

/// The files that a new name changes, beside `/etc/hosts`.
fn changed(kernel: &str, files: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut guest = guest(kernel, files);
    let Prepared::Ready(configuration) = guest.ask(&|snapshot| set_hostname("web-01", snapshot))
    else {
        panic!("{files:?}: refused")
    };
    assert!(
        configuration
            .plan
            .changes()
            .any(|step| *step == Change::SetHostname("web-01".into())),
        "{files:?}"
    );
    let before = guest.files.clone();
    apply(&configuration.plan, &mut guest.files);

    guest.hostname = "web-01".into();
    match guest.ask(&|snapshot| set_hostname("web-01", snapshot)) {
        Prepared::Ready(again) => assert_eq!(again.plan.steps, [], "{files:?}"),
        other => panic!("{files:?}: {other:?}"),
    }
    let changed = guest
        .files
        .iter()
        .filter(|(path, file)| before.get(*path) != Some(file));
    let others = changed.filter(|(path, _)| path.as_str() != "/etc/hosts");
    others
        .map(|(path, file)| (path.to_string(), file.to_string()))
        .collect()
}

#[track_caller]
fn assert_changed(kernel: &str, files: &[(&str, &str)], expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(path, text)| (path.to_string(), text.to_string()))
        .collect();
    assert_eq!(changed(kernel, files), expected);
}

#[test]
fn systems_with_systemd_have_it_in_a_file_of_its_own() {
    for release in [
        "ID=debian\n",
        "ID=rocky\nVERSION_ID=9\n",
        "ID=arch\n",
        "ID=gentoo\n",
        "ID=flatcar\n",
        "ID=plan9\n",
    ] {
        assert_changed(
            "Linux",
            &[SYSTEMD, ("/etc/os-release", release)],
            &[("/etc/hostname", "web-01\n")],
        );
    }
    for release in ["ID=alpine\n", "ID=debian\n"] {
        assert_changed(
            "Linux",
            &[("/etc/os-release", release)],
            &[("/etc/hostname", "web-01\n")],
        );
    }
}

#[test]
fn red_hat_before_systemd_has_it_among_the_network_settings() {
    assert_changed(
        "Linux",
        &[
            ("/etc/redhat-release", "CentOS release 6.10 (Final)\n"),
            ("/etc/sysconfig/network", "NETWORKING=yes\nHOSTNAME=old\n"),
        ],
        &[(
            "/etc/sysconfig/network",
            "NETWORKING=yes\nHOSTNAME=web-01\n",
        )],
    );
}

#[test]
fn slackware_and_old_suse_have_it_in_capitals() {
    for release in [
        ("/etc/slackware-version", "Slackware 14.2\n"),
        ("/etc/SuSE-release", "SUSE 11 (x86_64)\n"),
    ] {
        assert_changed(
            "Linux",
            &[release, ("/etc/HOSTNAME", "old.example.net\n")],
            &[("/etc/HOSTNAME", "web-01\n")],
        );
    }
    assert_changed(
        "Linux",
        &[
            SYSTEMD,
            ("/etc/os-release", "ID=sles\nVERSION_ID=12.5\n"),
            ("/etc/HOSTNAME", "-> hostname"),
            ("/etc/hostname", "old\n"),
        ],
        &[("/etc/hostname", "web-01\n")],
    );
}

#[test]
fn gentoo_has_it_in_a_variable_and_sometimes_in_a_file() {
    let gentoo = ("/etc/gentoo-release", "Gentoo Base System release 2.15\n");
    let conf = "/etc/conf.d/hostname";
    assert_changed(
        "Linux",
        &[
            gentoo,
            (conf, "# Set the hostname of this system\nhostname='old'\n"),
            ("/etc/hostname", "old\n"),
        ],
        &[
            (
                conf,
                "# Set the hostname of this system\nhostname=\"web-01\"\n",
            ),
            ("/etc/hostname", "web-01\n"),
        ],
    );
    assert_changed(
        "Linux",
        &[gentoo, (conf, "HOSTNAME=\"old\"\n")],
        &[(conf, "HOSTNAME=\"web-01\"\n")],
    );
    assert_changed("Linux", &[gentoo], &[(conf, "hostname=\"web-01\"\n")]);
}

#[test]
fn arch_linux_before_systemd_has_it_in_rc_conf() {
    assert_changed(
        "Linux",
        &[
            ("/etc/arch-release", ""),
            ("/etc/rc.conf", "HOSTNAME=old # mine\nDAEMONS=(a\nb)\n"),
        ],
        &[(
            "/etc/rc.conf",
            "HOSTNAME=\"web-01\" # mine\nDAEMONS=(a\nb)\n",
        )],
    );
}

#[test]
fn freebsd_has_it_in_rc_conf_and_in_nothing_that_is_read_later() {
    assert_changed(
        "FreeBSD",
        &[
            ("/etc/rc.conf", "hostname=\"old\"\nsshd_enable=YES\n"),
            ("/etc/rc.conf.local", "hostname=other\nntpd_enable=YES\n"),
            ("/etc/rc.conf.d/sendmail", "if x; then y=1; fi\n"),
        ],
        &[
            ("/etc/rc.conf", "hostname=\"web-01\"\nsshd_enable=YES\n"),
            ("/etc/rc.conf.local", "ntpd_enable=YES\n"),
        ],
    );
}

#[test]
fn a_place_that_cannot_be_edited_is_named() {
    let guest = guest(
        "FreeBSD",
        &[("/etc/rc.conf", "hostname=\"old\nsshd_enable=YES\n")],
    );
    let refusal = Refusal::CannotEdit {
        path: GuestPath::constant("/etc/rc.conf"),
        reason: Unclear::Shell {
            line: 1,
            what: "a quote that is not closed",
        },
    };
    assert_eq!(
        refusal.to_string(),
        "cannot edit /etc/rc.conf: line 1: a quote that is not closed"
    );
    assert_eq!(
        guest.ask(&|snapshot| set_hostname("web-01", snapshot)),
        Prepared::Refused(refusal)
    );
}

#[test]
fn cloud_init_is_told_about_the_name_alone() {
    let drop_in = "/etc/cloud/cloud.cfg.d/99-nova-agent.cfg";
    let header = "# Generated by nova-agent; local changes are lost on resetnetwork\n";
    let files = [
        SYSTEMD,
        ("/etc/os-release", "ID=debian\n"),
        ("/etc/cloud/cloud.cfg", ""),
    ];
    let name = ("/etc/hostname", "web-01\n");
    let text = format!("{header}preserve_hostname: true\n");
    assert_changed("Linux", &files, &[(drop_in, &text), name]);

    // What a change of the network wrote says enough.
    let text = format!("{header}network: {{config: disabled}}\npreserve_hostname: true\n");
    assert_changed(
        "Linux",
        &[&files[..], &[(drop_in, &text)]].concat(),
        &[name],
    );
    // A person's own file does, too.
    let own = (
        "/etc/cloud/cloud.cfg.d/10-own.cfg",
        "preserve_hostname: 'true' # mine\n",
    );
    assert_changed("Linux", &[&files[..], &[own]].concat(), &[name]);
}

#[test]
fn no_file_is_made_that_would_put_other_scripts_in_charge_of_the_network() {
    let arch = [("/etc/arch-release", ""), ("/etc/hostname", "old\n")];
    assert_eq!(
        changed("Linux", &arch),
        [("/etc/hostname".into(), "web-01\n".into())]
    );
}

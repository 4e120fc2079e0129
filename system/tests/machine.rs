//! Effects on the machine itself, in namespaces that only the test sees: the guest's own tool for passwords, the hostname.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests may fail like tests"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use nova_agent_core::effect::{Change, Done, Effect, Failure, Outcome};
use nova_agent_core::secret::Secret;
use nova_agent_system::runtime::{Root, System};

/// Runs itself in a mount namespace in which a made-up directory lies on `/etc`.
#[test]
fn chpasswd_sets_a_password_and_its_errors_hold_no_secret() {
    const SELF: &str = "chpasswd_sets_a_password_and_its_errors_hold_no_secret";
    const INSIDE: &str = "NOVA_AGENT_TEST_CHPASSWD";
    const SHADOW: &str = "root:!:19000:0:99999:7:::\nother:!:19000:0:99999:7:::\n";
    const SCRIPT: &str = "
        cp -rL /etc/pam.d /etc/security /etc/login.defs /etc/nsswitch.conf /etc/ld.so.cache \"$1\" 2>/dev/null
        mount --bind \"$1\" /etc && exec \"$2\" --exact \"$3\"";

    if std::env::var_os(INSIDE).is_some() {
        // Should this ever run on the machine's own file, it must not go on.
        assert_eq!(fs::read_to_string("/etc/shadow").unwrap(), SHADOW);
        inside();
        return;
    }
    assert!(
        Path::new("/usr/sbin/chpasswd").exists(),
        "chpasswd is needed for this test"
    );
    let etc = tempfile::tempdir().unwrap();
    fs::write(etc.path().join("passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(etc.path().join("group"), "root:x:0:\n").unwrap();
    fs::write(etc.path().join("shadow"), SHADOW).unwrap();
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            SCRIPT,
            "sh",
        ])
        .arg(etc.path())
        .arg(std::env::current_exe().unwrap())
        .arg(SELF)
        .env(INSIDE, "1")
        .output()
        .expect("unshare is needed for this test");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );

    let shadow = fs::read_to_string(etc.path().join("shadow")).unwrap();
    let hash = shadow
        .strip_prefix("root:")
        .and_then(|rest| rest.split(':').next())
        .unwrap();
    let crypt = Command::new("perl")
        .args([
            "-e",
            "print crypt($ARGV[0], $ARGV[1])",
            "c0rrect h:rse",
            hash,
        ])
        .output();
    assert_eq!(
        String::from_utf8(crypt.expect("perl is needed for this test").stdout).unwrap(),
        hash
    );
    assert!(shadow.contains("\nother:!:19000:"), "{shadow}");
}

fn inside() {
    let system = System::new(Root::guest().unwrap());
    let set = |user: &str| {
        let password = Secret::from(String::from("c0rrect h:rse"));
        system.perform(Effect::Change(Change::SetPassword {
            user: user.into(),
            password,
        }))
    };
    assert_eq!(set("root"), Outcome::Done(Done::default()));
    match set("nobody-here") {
        Outcome::Failed(failure @ Failure::Exit { .. }) => {
            let text = failure.to_string();
            assert!(
                text.contains("nobody-here") && !text.contains("c0rrect"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// Runs itself in a namespace with a hostname of its own.
#[test]
fn the_hostname_of_the_kernel_is_set_and_can_be_set_back() {
    const SELF: &str = "the_hostname_of_the_kernel_is_set_and_can_be_set_back";
    const INSIDE: &str = "NOVA_AGENT_TEST_HOSTNAME";

    let hostname = || {
        rustix::system::uname()
            .nodename()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let before = hostname();
    if std::env::var_os(INSIDE).is_some() {
        let system = System::new(Root::guest().unwrap());
        let set = |name: &str| system.perform(Effect::Change(Change::SetHostname(name.into())));
        let undo = Some(Change::SetHostname(before));
        assert_eq!(set("inside-the-test"), Outcome::Done(Done { undo }));
        assert_eq!(hostname(), "inside-the-test");
        assert_eq!(set("inside-the-test"), Outcome::Done(Done::default()));
        assert!(matches!(
            set(&"x".repeat(65)),
            Outcome::Failed(Failure::Io(_))
        ));
        return;
    }
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--uts"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", SELF])
        .env(INSIDE, "1")
        .output()
        .expect("unshare is needed for this test");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    assert_eq!(hostname(), before);
}

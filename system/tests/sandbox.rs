//! Passwords, the hostname and what is written down in a sandbox.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests may fail like tests"
)]

mod guest;

use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

use guest::{Guest, is_root, secret};
use nova_agent_core::effect::{Change, Failure, Probe};

const SHADOW: &str =
    "root:!:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nuser:$6$old$hash:18000::::::\n";

fn set_password(guest: &Guest, user: &str, password: &str) -> Result<Option<Change>, Failure> {
    guest.step(Change::SetPassword {
        user: user.into(),
        password: secret(password),
    })
}

/// What the C library's crypt makes of a password with the salt of a hash.
fn crypt(password: &str, hash: &str) -> String {
    let output = Command::new("perl")
        .args(["-e", "print crypt($ARGV[0], $ARGV[1])", password, hash])
        .output()
        .expect("perl is needed for this test");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_password_changes_two_fields_of_the_shadow_file_and_nothing_else() {
    let guest = Guest::new();
    guest.file("/etc/shadow", SHADOW);
    guest.chmod("/etc/shadow", 0o640);
    if is_root() {
        chown(guest.host("/etc/shadow"), Some(0), Some(42)).unwrap();
    }
    let before = guest.host("/etc/shadow").metadata().unwrap();
    assert_eq!(set_password(&guest, "root", "c0rrect h:rse").unwrap(), None);

    let shadow = guest.read("/etc/shadow");
    let (first, rest) = shadow.split_once('\n').unwrap();
    assert_eq!(rest, SHADOW.split_once('\n').unwrap().1);
    let fields: Vec<&str> = first.split(':').collect();
    let today = Command::new("date")
        .args(["-u", "+%s"])
        .output()
        .unwrap()
        .stdout;
    let today: u64 = String::from_utf8(today)
        .unwrap()
        .trim()
        .parse::<u64>()
        .unwrap()
        / 86_400;
    assert_eq!([fields[0], fields[2]], ["root", &today.to_string()]);
    assert_eq!(fields[3..], ["0", "99999", "7", "", "", ""]);
    assert!(fields[1].starts_with("$6$"));
    assert_eq!(crypt("c0rrect h:rse", fields[1]), fields[1]);

    let after = guest.host("/etc/shadow").metadata().unwrap();
    assert_eq!(
        (after.mode(), after.uid(), after.gid()),
        (before.mode(), before.uid(), before.gid())
    );
    // The locks are given back, and no copy of the hashes is anywhere.
    assert_eq!(guest.names("/etc"), [".pwd.lock", "shadow"]);
    assert!(!guest.host("/var").exists());
}

#[test]
fn a_tool_of_the_sandbox_is_never_asked_to_set_a_password() {
    let guest = Guest::new();
    guest.file("/etc/shadow", SHADOW);
    guest.file("/usr/sbin/chpasswd", "");
    guest.stand_in("chpasswd", "exit 1");
    set_password(&guest, "user", "x").unwrap();
    assert_ne!(guest.read("/etc/shadow"), SHADOW);
}

#[test]
fn a_user_or_file_that_does_not_exist_is_named() {
    let guest = Guest::new();
    guest.directory("/etc");
    let text = |result: Result<_, Failure>| result.unwrap_err().to_string();
    assert!(text(set_password(&guest, "root", "x")).contains("neither chpasswd nor /etc/shadow"));
    guest.file("/etc/shadow", SHADOW);
    let missing = text(set_password(&guest, "nobody", "x"));
    assert_eq!(missing, "refused: user nobody has no entry in /etc/shadow");
    assert_eq!(guest.read("/etc/shadow"), SHADOW);
    assert!(text(set_password(&guest, "root", "x\ny")).starts_with("refused: "));
}

#[test]
fn no_secret_is_written_down() {
    let guest = Guest::new();
    guest.file("/etc/shadow", SHADOW);
    set_password(&guest, "root", "Tr0ub4dor&3").unwrap();
    let expected =
        serde_json::json!({"effect": "set_password", "user": "root", "password": "[redacted]"});
    assert_eq!(guest.effects(), [expected]);
    assert!(!guest.read("/effects.jsonl").contains("Tr0ub4dor"));
    assert_eq!(guest.mode("/effects.jsonl"), 0o600);
}

#[test]
fn a_sandbox_that_names_itself_nowhere_is_localhost() {
    assert_eq!(
        Guest::new()
            .probe(vec![Probe::Kernel])
            .kernel
            .unwrap()
            .hostname,
        "localhost"
    );
}

#[test]
fn what_cannot_be_written_down_is_not_done() {
    let guest = Guest::new();
    guest.file(nova_agent_system::sandbox::EFFECTS_FILE, "");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(guest.host(nova_agent_system::sandbox::EFFECTS_FILE))
        .unwrap();
    file.set_len(64 * 1024 * 1024 - 1).unwrap();
    guest.step(Change::SetHostname("one".into())).unwrap();
    let failure = guest.step(Change::SetHostname("two".into())).unwrap_err();
    assert!(
        failure.to_string().contains("effects.jsonl is larger than"),
        "{failure}"
    );
    let kernel = guest.probe(vec![Probe::Kernel]).kernel.unwrap();
    assert_eq!(kernel.hostname, "one");
}

#[test]
fn the_hostname_of_a_sandbox_is_its_own() {
    let guest = Guest::new();
    let hostname = || guest.probe(vec![Probe::Kernel]).kernel.unwrap().hostname;
    guest.file("/etc/hostname", "# comment\nold-name\n");
    assert_eq!(hostname(), "old-name");
    guest.file("/etc/hostname", "name-at-the-next-boot\n");
    assert_eq!(hostname(), "old-name");

    let real = rustix::system::uname().nodename().to_owned();
    let undo = guest.step(Change::SetHostname("new-name".into())).unwrap();
    assert_eq!(
        (undo, hostname().as_str()),
        (Some(Change::SetHostname("old-name".into())), "new-name")
    );
    assert_eq!(
        guest.step(Change::SetHostname("new-name".into())).unwrap(),
        None
    );
    assert_eq!(rustix::system::uname().nodename(), real.as_c_str());
    assert_eq!(
        guest.effects()[0],
        serde_json::json!({"effect": "set_hostname", "hostname": "new-name"})
    );
    for bad in ["", "a\nb", &"x".repeat(300)] {
        assert!(guest.step(Change::SetHostname(bad.into())).is_err());
    }
}

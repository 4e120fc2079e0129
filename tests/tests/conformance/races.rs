//! A user of the guest who swaps what he may write while the agent writes there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::time::{Duration, Instant};

use nova_agent_tests::agent::{Attacker, Rig, Sandbox, refusal};
use nova_agent_tests::fixture::{Entry, Tree};
use nova_agent_tests::host::{Error, Reply};

use super::{EMBEDDED, on_with, secret};

/// In everything that the user must not read.
const MARK: &str = "marked-for-root-alone";

/// What an injected file holds that everybody may read.
const CONTENT: &[u8] = b"from the host\n";

/// How long the user has.
const DURATION: Duration = Duration::from_secs(3);

/// Longer than any of these answers takes, and shorter than for a FIFO that is waited for.
const SOON: Duration = Duration::from_secs(20);

/// How long it may take until the user was faster for once.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn a_user_who_swaps_directories_and_files_gains_nothing() {
    on_with(&EMBEDDED[..1], |rig| {
        prepare(rig);
        rig.start_agent();
        // What the agent makes for itself: the directory of backups, and the lock for passwords.
        inject(rig, "/etc/private", CONTENT).unwrap();
        rig.host().set_password(&secret(MARK)).unwrap();
        let before = outside(rig);
        let attacker = Attacker::start(env!("CARGO_BIN_EXE_nova-attacker"), rig.sandbox(), MARK);
        let begin = Instant::now();
        let (mut rounds, mut trapped) = (0_usize, 0_usize);
        // A busy machine takes longer.
        while begin.elapsed() < DURATION || rounds < 10 || trapped == 0 {
            assert!(
                begin.elapsed() < PATIENCE,
                "{rounds} rounds, {trapped} in vain"
            );
            rounds += 1;
            // Through what belongs to the user, whatever it is at that moment.
            for path in [
                "/home/user/door/x",
                "/home/user/way-in/x",
                "/home/user/private",
                "/tmp/door/x",
                "/tmp/way-in/private",
            ] {
                // The words depend on what it was at which moment.
                assert_eq!(refusal(inject(rig, path, CONTENT)).code, "500", "{path}");
            }
            // Where anybody may have put anything; who was faster is a matter of luck.
            match inject(rig, "/tmp/trap", CONTENT) {
                Ok(_) => {
                    // It is root's now, so the user cannot set another trap.
                    fs::remove_file(rig.sandbox().path("/tmp/trap")).unwrap();
                }
                result => {
                    trapped += 1;
                    assert_eq!(refusal(result).code, "500");
                }
            }
            // Where nobody has put anything, or what is there is root's.
            inject(rig, "/tmp/quiet", format!("{rounds}\n").as_bytes()).unwrap();
            inject(rig, "/tmp/private", format!("{MARK} {rounds}").as_bytes()).unwrap();
            inject(rig, "/etc/private", format!("{MARK} {rounds}").as_bytes()).unwrap();
            if rounds.is_multiple_of(8) {
                rig.host().set_password(&secret(MARK)).unwrap();
            }
        }
        let attack = attacker.finish();
        assert!(attack.read.is_empty(), "{:?}", attack.read);
        assert_eq!(attack.done.len(), 4, "{attack:?}");
        assert!(
            attack.done.iter().all(|(_, times)| *times > rounds),
            "{rounds} rounds, {trapped} in vain: {attack:?}"
        );

        assert_eq!(
            rig.sandbox().read("/tmp/quiet"),
            format!("{rounds}\n").into_bytes()
        );
        check_what_the_user_has(rig);
        let after = outside(rig);
        assert!(
            after == before,
            "outside of the user's directories:\n{}",
            after.differences(&before)
        );
    });
}

#[test]
fn a_shared_directory_is_written_but_not_over_what_others_prepared() {
    on_with(&EMBEDDED[..1], |rig| {
        prepare(rig);
        let sandbox = rig.sandbox();
        // As a user can on a kernel that lets him link to what is not his (fs.protected_hardlinks = 0).
        sandbox.write("/usr/bin/tool", "set-id", 0o4755);
        fs::hard_link(sandbox.path("/usr/bin/tool"), sandbox.path("/tmp/linked")).unwrap();
        symlink("/etc/made", sandbox.path("/tmp/dangling")).unwrap();
        sandbox.write("/tmp/his", "his", 0o666);
        chown(
            sandbox.path("/tmp/his"),
            Some(Attacker::USER),
            Some(Attacker::USER),
        )
        .unwrap();
        rig.start_agent();
        for (path, message) in [
            (
                "/tmp/linked",
                "/tmp/linked has several names and is in a shared directory",
            ),
            ("/tmp/dangling", "/tmp/dangling is a symlink"),
            (
                "/tmp/his",
                "/tmp/his belongs to another user in a shared directory",
            ),
            ("/tmp/../etc/x", "path is not normalized"),
        ] {
            let answer = refusal(inject(rig, path, CONTENT));
            assert!(answer.message.contains(message), "{path}: {answer:?}");
        }
        inject(rig, "/tmp/new", CONTENT).unwrap();
        assert_eq!(rig.sandbox().read("/usr/bin/tool"), b"set-id");
        assert_eq!(rig.sandbox().mode("/usr/bin/tool"), 0o4755);
        assert!(!rig.sandbox().exists("/etc/made"));
    });
}

#[test]
fn what_waits_at_the_end_of_a_path_does_not_make_the_agent_wait() {
    on_with(&EMBEDDED[..1], |rig| {
        let sandbox = rig.sandbox();
        let make = |name: &str, arguments: &[&str]| {
            let made = std::process::Command::new("mknod")
                .arg(sandbox.path(name))
                .args(arguments)
                .status()
                .unwrap();
            assert!(made.success(), "mknod {name}");
        };
        make("/etc/fifo", &["p"]);
        // The console would be opened, the full device written.
        make("/etc/tty", &["c", "5", "0"]);
        make("/etc/full", &["c", "1", "7"]);
        let _socket = std::os::unix::net::UnixListener::bind(sandbox.path("/etc/socket")).unwrap();
        let before = names(sandbox, "/etc");
        rig.start_agent();
        for name in ["fifo", "tty", "full", "socket"] {
            let answer = refusal(inject(rig, &format!("/etc/{name}"), CONTENT));
            let message = format!("/etc/{name} is not a regular file");
            assert!(
                answer.code == "500" && answer.message.ends_with(&message),
                "{answer:?}"
            );
            let answer = refusal(inject(rig, &format!("/etc/{name}/below"), CONTENT));
            assert!(
                answer
                    .message
                    .contains(&format!("/etc/{name} is not a directory")),
                "{answer:?}"
            );
        }
        assert_eq!(names(rig.sandbox(), "/etc"), before);
    });
}

/// A guest with directories in which a user may write, and files of root's that he may not read.
fn prepare(rig: &Rig) {
    let sandbox = rig.sandbox();
    fs::set_permissions(sandbox.root(), PermissionsExt::from_mode(0o755)).unwrap();
    sandbox.directory("/tmp", 0o1777);
    sandbox.directory("/home/user", 0o755);
    chown(
        sandbox.path("/home/user"),
        Some(Attacker::USER),
        Some(Attacker::USER),
    )
    .unwrap();
    for path in ["/etc/private", "/tmp/private"] {
        sandbox.write(path, MARK, 0o600);
    }
}

fn inject(rig: &mut Rig, path: &str, content: &[u8]) -> Result<Reply, Error> {
    let begin = Instant::now();
    let result = rig.host().file_inject(path, content);
    assert!(begin.elapsed() < SOON, "{path} took {:?}", begin.elapsed());
    result
}

/// Everything that is none of the user's business, without what the host has changed.
fn outside(rig: &Rig) -> Tree {
    let mut tree = Tree::read_without(
        rig.sandbox().root(),
        &["home/user", "tmp", "var/lib/nova-agent", "effects.jsonl"],
    );
    for changed in ["etc/private", "etc/shadow"] {
        let Some(Entry::File { content, mode }) = tree.0.get_mut(changed) else {
            panic!("{changed} is gone")
        };
        content.clear();
        assert_eq!(*mode, 0o600, "{changed}");
    }
    tree
}

/// What is root's in the user's directories is what the host has put there, and holds nothing that the user may not know.
fn check_what_the_user_has(rig: &Rig) {
    let sandbox = rig.sandbox();
    for directory in ["/tmp", "/home/user"] {
        for name in names(sandbox, directory) {
            let path = format!("{directory}/{name}");
            let metadata = fs::symlink_metadata(sandbox.path(&path)).unwrap();
            let expected = match path.as_str() {
                "/tmp/private" => (0, 0o600),
                "/tmp/quiet" => (0, 0o644),
                _ => (Attacker::USER, metadata.mode() & 0o7777),
            };
            assert_eq!(
                (metadata.uid(), metadata.mode() & 0o7777),
                expected,
                "{path}"
            );
            if metadata.is_file() && metadata.uid() != 0 {
                let content = sandbox.read(&path);
                assert_eq!(content, b"mine", "{path}");
            }
        }
    }
    assert_eq!(sandbox.mode("/var/lib/nova-agent"), 0o700);
    assert!(sandbox.read("/tmp/private").starts_with(MARK.as_bytes()));
}

fn names(sandbox: &Sandbox, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path(directory)).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

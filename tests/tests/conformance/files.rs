//! Files from the host.

use nova_agent_tests::agent::{Answer, Rig, refusal};
use nova_agent_tests::host::{Error, Host, Reply};
use serde_json::json;

use super::{EVERYWHERE, everywhere, on_with};

/// Both commands that inject a file, which differ in their argument only.
type Inject = fn(&mut Host, &str, &[u8]) -> Result<Reply, Error>;
const COMMANDS: [(&str, Inject); 2] = [
    ("injectfile", Host::injectfile),
    ("file_inject", Host::file_inject),
];

#[test]
fn a_file_arrives_byte_for_byte() {
    everywhere(|rig| {
        let all: Vec<u8> = (0..=255).collect();
        for (command, inject) in COMMANDS {
            for content in [b"".as_slice(), b"a,b,c\n", &all, &[b'x'; 1400]] {
                let path = format!("/etc/{command}/{}", content.len());
                inject(rig.host(), &path, content).unwrap();
                assert_eq!(rig.sandbox().read(&path), content);
                assert_eq!(rig.sandbox().mode(&path), 0o644);
            }
            assert_eq!(
                rig.sandbox().mode(&format!("/etc/{command}")),
                0o755,
                "of a new directory"
            );
        }
        assert_eq!(rig.sandbox().mode("/etc/shadow"), 0o600);
    });
}

#[test]
fn the_hosts_own_choice_of_command_works() {
    everywhere(|rig| {
        rig.host()
            .inject_file(
                "/root/.ssh/authorized_keys",
                b"\n# key\nssh-ed25519 AAAA owner\n",
            )
            .unwrap();
        let sandbox = rig.sandbox();
        assert_eq!(
            sandbox.read("/root/.ssh/authorized_keys"),
            b"\n# key\nssh-ed25519 AAAA owner\n"
        );
        assert_eq!(
            (
                sandbox.mode("/root/.ssh"),
                sandbox.mode("/root/.ssh/authorized_keys")
            ),
            (0o700, 0o600)
        );
        assert_eq!(sandbox.mode("/root"), 0o700, "what exists stays as it is");
    });
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode_and_has_a_backup() {
    everywhere(|rig| {
        for (command, inject) in COMMANDS {
            let path = format!("/etc/{command}.conf");
            rig.sandbox().write(&path, "before", 0o640);
            inject(rig.host(), &path, b"after").unwrap();
            assert_eq!(
                (rig.sandbox().read(&path), rig.sandbox().mode(&path)),
                (b"after".to_vec(), 0o640)
            );
            let backups = backups(rig);
            let [backup] = &*backups
                .iter()
                .filter(|backup| backup.ends_with(&path[1..]))
                .collect::<Vec<_>>()
            else {
                panic!("not one backup of {path}: {backups:?}");
            };
            assert_eq!(std::fs::read(backup).unwrap(), b"before");

            inject(rig.host(), &path, b"after").unwrap();
            assert_eq!(
                self::backups(rig).len(),
                backups.len(),
                "the same content again needs no backup"
            );
        }
        assert_eq!(rig.sandbox().mode("/var/lib/nova-agent/backup"), 0o700);
        let beside = rig
            .sandbox()
            .files("/etc")
            .into_iter()
            .filter(|file| file.to_string_lossy().contains("bak"));
        assert_eq!(beside.count(), 0, "nothing is left beside a file");
    });
}

#[test]
fn a_file_goes_nowhere_that_is_not_safe() {
    everywhere(|rig| {
        let sandbox = rig.sandbox();
        sandbox.directory("/open", 0o777);
        sandbox.write("/etc/target", "untouched", 0o644);
        std::os::unix::fs::symlink("/etc/target", sandbox.path("/etc/link")).unwrap();
        std::os::unix::fs::symlink("../../../../../../etc", sandbox.path("/up")).unwrap();
        sandbox.write("/etc/file", "a file", 0o644);
        for (command, inject) in COMMANDS {
            let mut refused = |path: &str, message: &str| {
                let answer = refusal(inject(rig.host(), path, b"evil"));
                assert_eq!(answer.code, "500", "{command} {path:?}: {answer:?}");
                assert!(
                    answer.message.contains(message),
                    "{command} {path:?}: {answer:?}"
                );
            };
            refused("etc/relative", "path is not absolute");
            refused("", "path");
            refused("/", "path is a directory");
            refused("/etc/../etc/x", "path is not normalized");
            refused("/etc/a\0b", "path holds a control character");
            refused("/etc/a\nb", "path holds a control character");
            refused("/etc/link", "/etc/link is a symlink");
            refused(
                "/open/file",
                "directory /open is writable for others than root",
            );
            refused("/etc/file/below", "/etc/file is not a directory");
            refused("/root", "/root is a directory");
            // A symlink of root's may lead anywhere in the guest, but not out of it.
            inject(rig.host(), &format!("/up/{command}"), b"inside").unwrap();
            assert_eq!(rig.sandbox().read(&format!("/etc/{command}")), b"inside");
        }
        assert_eq!(rig.sandbox().read("/etc/target"), b"untouched");
        assert_eq!(rig.sandbox().files("/open").len(), 0);
    });
}

#[test]
fn an_argument_that_is_no_file_is_refused_with_what_is_wrong() {
    everywhere(|rig| {
        for (command, argument, message) in [
            (
                "injectfile",
                json!("%"),
                "Error doing base64 decoding of data",
            ),
            (
                "injectfile",
                json!("L2V0Yy94"),
                "No comma between path and content",
            ),
            (
                "injectfile",
                json!(null),
                "Error doing base64 decoding of data",
            ),
            (
                "injectfile",
                json!("/y94LHg="),
                "Invalid file path: path is not UTF-8",
            ),
            (
                "file_inject",
                json!("L2V0Yy94LHg="),
                "The argument is not an object",
            ),
            (
                "file_inject",
                json!({"b64_path": "L2E="}),
                "'b64_file' is missing or not a string",
            ),
            (
                "file_inject",
                json!({"b64_path": 1, "b64_file": ""}),
                "'b64_path' is missing or not a string",
            ),
            (
                "file_inject",
                json!({"b64_path": "L2E=", "b64_file": "%"}),
                "Error doing base64 decoding of 'b64_file'",
            ),
        ] {
            let answer = refusal(rig.host().request(command, &argument));
            assert_eq!(answer, Answer::new("500", message), "{command} {argument}");
        }
    });
}

#[test]
fn injection_that_is_switched_off_is_neither_offered_nor_done() {
    on_with(&EVERYWHERE, |rig| {
        rig.sandbox().write(
            "/etc/nova-agent/config.toml",
            "inject_files = false\n",
            0o644,
        );
        rig.start_agent();
        assert!(matches!(
            rig.host().inject_file("/etc/x", b"x"),
            Err(Error::NotImplemented)
        ));
        for (command, inject) in COMMANDS {
            let answer = refusal(inject(rig.host(), "/etc/x", b"x"));
            assert_eq!(
                answer,
                Answer::new("404", &format!("No such agent command '{command}'"))
            );
        }
        assert!(!rig.sandbox().exists("/etc/x"));
    });
}

fn backups(rig: &Rig) -> Vec<std::path::PathBuf> {
    rig.sandbox().files("/var/lib/nova-agent/backup")
}

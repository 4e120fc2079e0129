//! `resetnetwork` and `sethostname`: that the commands arrive. What they make of a guest is in `tests/guests`.

use nova_agent_tests::agent::{Answer, Rig, refusal};
use nova_agent_tests::host::{InjectedFile, Server};

use super::{EVERYWHERE, VERSION, on_with, secret};

const MACS: [&str; 2] = ["BC:76:4E:20:75:72", "BC:76:4E:20:5E:FB"];

/// How many seconds the program is held at the most: less than it may take, and long on a busy machine.
const HELD: u32 = 20;

#[test]
fn a_first_boot_configures_everything() {
    on_debian(|rig| {
        let server = Server {
            files: vec![InjectedFile {
                path: "/etc/motd".into(),
                content: secret("hi, all\n"),
            }],
            admin_password: Some(secret("Tr0ub4dor&3")),
            ..Server::two_networks()
        };
        rig.host().provision(&server).unwrap();
        rig.start_agent();
        let boot = rig.host().boot(&server).unwrap();
        assert!(boot.is_complete(), "{boot:?}");

        let sandbox = rig.sandbox();
        assert_eq!(sandbox.read("/etc/hostname"), b"web-1\n");
        assert_eq!(sandbox.read("/etc/motd"), b"hi, all\n");
        let interfaces = String::from_utf8(sandbox.read("/etc/network/interfaces")).unwrap();
        for part in [
            "203.0.113.72",
            "2001:db8:7802:104:be76:4eff:fe20:7572",
            "10.176.195.183",
            "10.208.0.0",
        ] {
            assert!(interfaces.contains(part), "{part} is not in\n{interfaces}");
        }
        let effects = sandbox.effects();
        for part in [
            r#"["ifup","eth0"]"#,
            r#"["ifup","eth1"]"#,
            r#""hostname":"web-1""#,
        ] {
            assert!(effects.contains(part), "{part} is not in\n{effects}");
        }
        let before = sandbox.effects();
        rig.host().reset_network().unwrap();
        let again = rig.sandbox().read("/etc/network/interfaces");
        assert_eq!(
            String::from_utf8(again).unwrap(),
            interfaces,
            "a second reset changes nothing\n{before}"
        );
    });
}

#[test]
fn a_hostname_is_set() {
    on_debian(|rig| {
        rig.start_agent();
        assert_eq!(rig.host().set_hostname("web-2").unwrap().message, "");
        assert_eq!(rig.sandbox().read("/etc/hostname"), b"web-2\n");
        assert!(
            rig.sandbox().effects().contains(r#""hostname":"web-2""#),
            "{}",
            rig.sandbox().effects()
        );
        for name in ["", "web 2", "-web", "web-", "a/b", &"x".repeat(254)] {
            let answer = refusal(rig.host().set_hostname(name));
            assert_eq!(answer.code, "1", "{name:?}: {answer:?}");
        }
        assert_eq!(rig.sandbox().read("/etc/hostname"), b"web-2\n");
    });
}

#[test]
fn a_failing_program_is_a_failure_with_its_own_words_and_brings_the_old_files_back() {
    on_debian(|rig| {
        rig.sandbox().stand_in(
            "ifup",
            "echo \"it's \\\"broken\\\" \\\\ caf\u{e9}\" >&2; exit 3",
        );
        rig.host().provision(&Server::two_networks()).unwrap();
        let before = rig.sandbox().read("/etc/network/interfaces");
        rig.start_agent();
        let answer = refusal(rig.host().reset_network());
        assert_eq!(
            answer.code, "1",
            "500 would be a success for the host: {answer:?}"
        );
        assert!(answer.message.contains("exit code 3"), "{answer:?}");
        assert!(answer.message.contains("it's 'broken' / caf"), "{answer:?}");
        assert_eq!(rig.sandbox().read("/etc/network/interfaces"), before);
    });
}

#[test]
fn a_reset_at_the_start_needs_no_request() {
    on_debian(|rig| {
        rig.host().provision(&Server::two_networks()).unwrap();
        rig.add_argument("--reset-network");
        rig.start_agent().wait_for_line("resetnetwork answered 0");
        assert_eq!(rig.sandbox().read("/etc/hostname"), b"web-1\n");
        assert_eq!(rig.list("data/guest"), Vec::<String>::new());
    });
}

#[test]
fn questions_are_answered_at_once_while_a_program_of_the_guest_runs() {
    on_debian(|rig| {
        rig.sandbox().hold("ifup", HELD);
        rig.host().provision(&Server::two_networks()).unwrap();
        rig.start_agent();
        rig.host().version().unwrap();
        rig.post_as("slow", r#"{"name": "resetnetwork", "value": ""}"#);
        rig.wait_until("the program starts", |rig| rig.sandbox().is_held());
        for _ in 0..30 {
            assert_eq!(rig.ask(VERSION).code, "0");
        }
        for command in ["features", "ready"] {
            rig.ask(format!(r#"{{"name": "{command}"}}"#));
        }
        rig.host().exchange_keys().unwrap();
        assert!(
            rig.list("data/host").iter().any(|id| id == "slow"),
            "the reset was over too early"
        );
        assert!(rig.sandbox().is_held(), "the program ended before");
        rig.sandbox().release();
        assert_eq!(rig.answer_to("slow"), Answer::new("0", ""));
    });
}

fn on_debian(test: impl Fn(&mut Rig) + Sync) {
    on_with(&EVERYWHERE, |rig| {
        rig.sandbox().install_debian(&MACS);
        test(rig);
    });
}

//! Programs are run as lists of arguments: there is a shell nowhere between the agent and a program, and no text of the host
//! in any argument.

use std::fs;

use nova_agent_tests::agent::Answer;
use nova_agent_tests::host::Server;
use serde_json::{Value, json};

use super::{EMBEDDED, on_with};

/// What a shell would take for more than a word.
const NAMES: [&str; 6] = [
    "web; touch made",
    "$(touch made)",
    "`touch made`",
    "web\ntouch made",
    "web && touch made",
    "-h",
];

#[test]
fn every_program_is_run_without_a_shell() {
    on_with(&EMBEDDED[..1], |rig| {
        let sandbox = rig.sandbox();
        sandbox.install_debian(&["BC:76:4E:20:75:72", "BC:76:4E:20:5E:FB"]);
        let path = |name: &str| sandbox.path(name).display().to_string();
        // No shell of the machine can be run any more without its being noticed.
        let (shell, noticed) = (path("/shell"), path("/noticed"));
        sandbox.write(
            "/shell",
            format!("#!/usr/bin/perl\nopen F, '>>', '{noticed}'; print F \"@ARGV\\n\"; exit 1;\n"),
            0o755,
        );
        // Each program writes down its arguments, and who has started it.
        let perl = format!(
            "#!/usr/bin/perl\nopen F, '>>', '{}'; print F join(\"\\0\", getppid, $0 =~ s,.*/,,r, @ARGV), \"\\n\";\n",
            path("/ran")
        );
        for program in ["ifup", "ifdown", "ifquery", "ip"] {
            sandbox.write(&format!("/stand-ins/{program}"), &perl, 0o755);
        }
        rig.hide_shells(&shell);
        rig.host().provision(&Server::two_networks()).unwrap();
        rig.start_agent();
        let pid = rig.agent().id().to_string();

        rig.post_as(
            "reset",
            json!({"name": "resetnetwork", "value": ""}).to_string(),
        );
        assert_eq!(rig.answer_to("reset"), Answer::new("0", ""));
        for name in NAMES {
            rig.ask(json!({"name": "sethostname", "value": name}).to_string());
        }
        rig.ask(json!({"name": "resetnetwork; touch made", "value": "$(touch made)"}).to_string());

        let ran = String::from_utf8(rig.sandbox().read("/ran")).unwrap();
        let ran: Vec<Vec<&str>> = ran.lines().map(|line| line.split('\0').collect()).collect();
        let effects = rig.sandbox().effects();
        let asked: Vec<Vec<String>> = effects
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|effect| effect["carried_out"] == "stand-in")
            .map(|effect| serde_json::from_value(effect["argv"].clone()).unwrap())
            .collect();
        assert!(asked.len() >= 4, "{effects}");
        assert_eq!(ran.len(), asked.len(), "{ran:?}\n{effects}");
        for (ran, asked) in ran.iter().zip(&asked) {
            assert_eq!(
                ran[0], pid,
                "started by another process than the agent: {ran:?}"
            );
            let program = asked[0].rsplit('/').next().unwrap();
            assert_eq!(
                (ran[1], &ran[2..]),
                (
                    program,
                    &asked[1..].iter().map(String::as_str).collect::<Vec<_>>()[..]
                )
            );
            assert!(!ran.concat().contains("touch"), "{ran:?}");
        }
        assert!(
            !rig.sandbox().exists("/noticed"),
            "a shell ran: {}",
            fs::read_to_string(&noticed).unwrap_or_default()
        );
        assert!(!rig.sandbox().exists("/made"));

        // It would have been noticed: this program is a script of the shell.
        rig.sandbox().stand_in("ifup", "touch made");
        let path = rig.host().path("vm-data/networking/BC764E205EFB");
        let network = Server::two_networks().vifs[1]
            .network
            .replace("10.176.195.183", "10.176.195.184");
        rig.host().client().write(&path, network).unwrap();
        rig.post_as(
            "again",
            json!({"name": "resetnetwork", "value": ""}).to_string(),
        );
        let _ = rig.answer_to("again");
        assert!(rig.sandbox().exists("/noticed") && !rig.sandbox().exists("/made"));
    });
}

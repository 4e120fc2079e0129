//! Whatever comes from the host, a response is a line that the host can read. Every test of the suite looks at that in the
//! end; these are the ones that try to break it.

use nova_agent_tests::agent::Answer;
use nova_agent_tests::host::{Server, Vif};
use nova_agent_tests::xenstored::Flavour;
use serde_json::{Value, json};

use super::everywhere;

/// What one of the programs between the store and the host would take for something else.
const HOSTILE: [&str; 14] = [
    "\"",
    "\\",
    "\\\"}",
    "\", \"returncode\": \"0",
    "\\u0022",
    "a\nb\r\nc\td",
    "\u{0}\u{1}\u{7}\u{8}\u{1b}[31m\u{1f}",
    "\u{7f}\u{80}\u{9f}\u{a0}",
    "caf\u{e9} \u{65e5}\u{672c}\u{8a9e} \u{1f511}",
    "\u{feff}\u{202e}\u{2028}\u{ffff}",
    "'; rm -rf / #",
    "$(reboot) `reboot` %n%s",
    "   ",
    "{\"returncode\": \"0\", \"message\": \"\"}",
];

#[test]
fn hostile_text_in_a_command_spoils_no_response() {
    everywhere(|rig| {
        assert_eq!(
            rig.ask(request(r#"a"b\c"#, "")),
            Answer::new("404", "No such agent command 'a'b/c'")
        );
        assert_eq!(
            rig.ask(request("caf\u{e9}\n\u{7f}", "")),
            Answer::new("404", "No such agent command 'caf? ?'")
        );
        for text in HOSTILE {
            assert_eq!(rig.ask(request(text, "")).code, "404", "{text:?}");
        }
        let long = format!("{}{}", "x\u{e9}\"\\".repeat(200), "y");
        assert!(rig.ask(request(&long, "")).message.len() < 200);
        let room = match rig.kind().flavour() {
            Flavour::C => 4000,
            Flavour::Oxen => 2000,
        };
        for filler in ["x", "\"", "\\", "\n"] {
            // A quote takes two bytes of JSON, a raw line break is one.
            let name = filler.repeat(room / 2);
            assert_eq!(rig.ask(request(&name, "")).code, "404");
        }
    });
}

#[test]
fn hostile_text_in_an_argument_spoils_no_response() {
    everywhere(|rig| {
        rig.sandbox().write("/etc/file", "", 0o644);
        for text in HOSTILE {
            for command in [
                "keyinit",
                "password",
                "injectfile",
                "file_inject",
                "sethostname",
                "version",
                "ready",
            ] {
                rig.ask(request(command, text));
            }
            // The path comes back in what the system says about it.
            for path in [
                format!("/etc/file/{text}"),
                format!("/{text}/{text}/x"),
                text.into(),
                format!("/etc/{text}"),
            ] {
                let result = rig.host().file_inject(&path, b"x");
                assert!(
                    !matches!(result, Err(ref error) if error.to_string().contains("cannot be read")),
                    "{result:?}"
                );
            }
        }
        let long = format!("/etc/file/{}", "\"\\\u{e9}".repeat(300));
        let answer = nova_agent_tests::agent::refusal(rig.host().file_inject(&long, b"x"));
        assert_eq!(answer.code, "500");
    });
}

#[test]
fn hostile_network_data_spoils_no_response() {
    everywhere(|rig| {
        for text in HOSTILE {
            let network = json!({
                "label": text, "mac": text, "gateway": text, "dns": [text],
                "ips": [{"ip": text, "netmask": text, "enabled": text}],
                "routes": [{"route": text, "netmask": text, "gateway": text}],
            });
            let mac_only = json!({"label": text, "mac": "00:16:3e:00:00:01", "ips": [{"ip": text, "netmask": text}]});
            let vif = |node: &str, network: &Value| Vif {
                node: node.into(),
                network: network.to_string(),
            };
            let vifs = vec![
                vif("00163E000001", &mac_only),
                vif("00163E000002", &network),
                Vif {
                    node: "00163E000003".into(),
                    network: text.into(),
                },
            ];
            rig.host()
                .provision(&Server {
                    hostname: text.into(),
                    vifs,
                    ..Server::default()
                })
                .unwrap();
            rig.ask(request("resetnetwork", ""));
        }
    });
}

fn request(name: &str, value: &str) -> String {
    json!({"name": name, "value": value}).to_string()
}

//! What must not be found anywhere but where it belongs.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nova_agent_tests::agent::{Answer, Rig};
use nova_agent_tests::host::{HostKey, KeyDigest, encrypt};
use serde_json::json;

use super::{EVERYWHERE, on_then, secret};

const PASSWORD: &str = "marked-Passw0rd";
const CONTENT: &str = "marked-Content-of-a-file\n";
const OLD_CONTENT: &str = "marked-Content-of-the-file-before\n";
const MALFORMED: &str = "marked-Text-that-is-no-JSON";

#[test]
fn no_secret_is_logged_recorded_or_told_and_every_request_has_its_line() {
    on_then(
        &EVERYWHERE,
        |rig| {
            rig.set_log_level("trace");
            rig.sandbox().write("/etc/secret", OLD_CONTENT, 0o600);
            rig.start_agent();
            let mut secrets: Vec<String> =
                [PASSWORD, CONTENT.trim(), OLD_CONTENT.trim(), MALFORMED]
                    .map(String::from)
                    .into();
            let mut lines = Vec::new();
            let mut ask = |rig: &mut Rig, command: &'static str, id: &str, request: String| {
                rig.post_as(id, request);
                let answer = rig.answer_to(id);
                lines.push((id.to_owned(), command, answer.code.clone()));
                answer
            };

            ask(rig, "version", "q-1", command("version", "agent"));
            ask(rig, "features", "q-2", command("features", ""));
            ask(rig, "ready", "q-3", command("ready", ""));
            for (nth, digest) in [KeyDigest::Md5, KeyDigest::Sha256].into_iter().enumerate() {
                let key = HostKey::from_number(93_055_292_000_370_020_129_851);
                let public = ask(
                    rig,
                    "keyinit",
                    &format!("k-{nth}"),
                    command("keyinit", &key.public()),
                );
                assert_eq!(public.code, "D0");
                let exchange = key.agree(&public.message).unwrap();
                let ciphertext = encrypt(&exchange, &secret(PASSWORD), digest).unwrap();
                let answer = ask(
                    rig,
                    "password",
                    &format!("p-{nth}"),
                    command("password", &ciphertext),
                );
                assert_eq!(answer, Answer::new("0", ""));
                let again = ask(
                    rig,
                    "password",
                    &format!("p-again-{nth}"),
                    command("password", &ciphertext),
                );
                assert_eq!(again.code, "500", "the exchange is used up");
                secrets.extend([exchange.secret().to_owned(), ciphertext]);
            }
            for (nth, path) in [
                "/etc/secret",
                "/etc/new",
                "relative",
                "/etc/new/below-a-file",
            ]
            .into_iter()
            .enumerate()
            {
                let both = STANDARD.encode(format!("{path},{CONTENT}"));
                ask(
                    rig,
                    "injectfile",
                    &format!("f-{nth}"),
                    command("injectfile", &both),
                );
                let file = json!({"b64_path": STANDARD.encode(path), "b64_file": STANDARD.encode(CONTENT)});
                let request = json!({"name": "file_inject", "value": file}).to_string();
                ask(rig, "file_inject", &format!("g-{nth}"), request);
                secrets.push(both);
            }
            secrets.push(STANDARD.encode(CONTENT));
            ask(rig, "sethostname", "h-1", command("sethostname", "web-1"));
            ask(rig, "resetnetwork", "n-1", command("resetnetwork", ""));
            ask(
                rig,
                "no_such_thing",
                "u-1",
                command("no_such_thing", MALFORMED),
            );
            ask(
                rig,
                "",
                "m-1",
                format!("{{\"name\": \"password\", \"value\": {MALFORMED}"),
            );
            ask(rig, "", "m-2", format!("{{\"name\": [\"{MALFORMED}\"]}}"));

            // A child has its own command line only for as long as it runs; what it was is among the effects.
            let process = format!("/proc/{}", rig.agent().id());
            let read = |file: &str| {
                String::from_utf8_lossy(&fs::read(format!("{process}/{file}")).unwrap())
                    .into_owned()
            };
            let places = [
                ("effects", rig.sandbox().effects()),
                ("command line", read("cmdline")),
                ("environment", read("environ")),
            ];
            rig.wait_until("every request is removed", |rig| {
                rig.list("data/host").is_empty()
            });
            rig.agent().terminate();
            rig.agent().wait();
            let log = rig.agent().log();
            for secret in &secrets {
                assert!(
                    !log.contains(secret.as_str()),
                    "{secret} is in the log:\n{log}"
                );
                for (place, text) in &places {
                    assert!(
                        !text.contains(secret.as_str()),
                        "{secret} is in the {place}: {text}"
                    );
                }
            }
            // That no secret is there means something only if what could have shown one is.
            for detail in [
                "message to Xenstore",
                "message from Xenstore",
                "path=\"data/guest/p-0\"",
                "write file /etc/secret,",
            ] {
                assert!(log.contains(detail), "no {detail:?} in\n{log}");
            }
            for (id, command, code) in lines {
                let found: Vec<&str> = log
                    .lines()
                    .filter(|line| is_answer(line, &id, command, &code))
                    .collect();
                assert_eq!(
                    found.len(),
                    1,
                    "a line for {id}, {command}, {code}: {found:?} in\n{log}"
                );
            }
        },
        |seen| {
            for secret in [PASSWORD, CONTENT.trim(), OLD_CONTENT.trim(), MALFORMED] {
                let told = seen.values().flat_map(|seen| &seen.contents);
                assert!(
                    !told
                        .clone()
                        .any(|reply| String::from_utf8_lossy(reply).contains(secret)),
                    "{secret} is told"
                );
            }
        },
    );
}

/// Whether it is the line about an answered request, with id, command, code and duration.
fn is_answer(line: &str, id: &str, command: &str, code: &str) -> bool {
    let Some((_, about)) = line.split_once(&format!("request {id}: ")) else {
        return false;
    };
    let Some(rest) = about.strip_prefix(&format!("{command} answered {code} after ")) else {
        return false;
    };
    rest.split_once(" ms")
        .is_some_and(|(duration, _)| duration.parse::<f64>().is_ok())
}

fn command(name: &str, value: &str) -> String {
    json!({"name": name, "value": value}).to_string()
}

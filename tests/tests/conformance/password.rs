//! Passwords, from the host's `openssl` to the guest's shadow file.

use std::process::Command;

use nova_agent_tests::agent::{Answer, Rig, refusal};
use nova_agent_tests::host::{Error, KeyDigest, Rejection};
use serde_json::json;

use super::{EMBEDDED, EVERYWHERE, everywhere, on_with, secret};

/// The modulus of the key exchange, 2^107 - 1.
const MODULUS: &str = "162259276829213363391578010288127";

#[test]
fn a_password_is_set_whatever_digest_the_hosts_openssl_has() {
    everywhere(|rig| {
        for (digest, password) in [
            (KeyDigest::Md5, "Tr0ub4dor&3"),
            (KeyDigest::Sha256, "p\u{e4}ss:w\u{f6}rd $6$ \\n'\""),
            (KeyDigest::Sha1, "0123456789abcdef"),
            (KeyDigest::Default, "0123456789abcde"),
        ] {
            let before = rig.sandbox().read("/etc/shadow");
            rig.host().set_key_digest(digest);
            rig.host().set_password(&secret(password)).unwrap();
            assert_only_the_password_changed(rig, &before);
            assert!(is_password_of_root(rig, password), "{digest:?}");
            assert!(!is_password_of_root(rig, "another"));
        }
        assert_eq!(rig.sandbox().mode("/etc/shadow"), 0o600);
        let backups = rig.sandbox().files("/var/lib/nova-agent");
        assert!(
            backups.is_empty(),
            "no copy of a shadow file is kept: {backups:?}"
        );
    });
}

#[test]
fn two_password_changes_may_be_interleaved() {
    everywhere(|rig| {
        let (first, second) = (
            rig.host().exchange_keys().unwrap(),
            rig.host().exchange_keys().unwrap(),
        );
        rig.host()
            .send_password(first, &secret("the first one"))
            .unwrap();
        assert!(is_password_of_root(rig, "the first one"));
        rig.host()
            .send_password(second, &secret("the second one"))
            .unwrap();
        assert!(is_password_of_root(rig, "the second one"));

        let (third, fourth) = (
            rig.host().exchange_keys().unwrap(),
            rig.host().exchange_keys().unwrap(),
        );
        rig.host()
            .send_password(fourth, &secret("the fourth one"))
            .unwrap();
        rig.host()
            .send_password(third, &secret("the third one"))
            .unwrap();
        assert!(is_password_of_root(rig, "the third one"));
    });
}

#[test]
fn keys_that_protect_nothing_are_refused() {
    everywhere(|rig| {
        let (one_less, one_more) = (
            "162259276829213363391578010288126",
            "162259276829213363391578010288128",
        );
        let long = "9".repeat(1000);
        let texts = [
            "0", "1", one_less, MODULUS, one_more, "-5", "", " ", "five", "0x5", "5.0", "5e3",
            "NaN", &long,
        ];
        let arguments = texts.into_iter().map(|text| json!(text)).chain([
            json!(0),
            json!(1),
            json!(-5),
            json!(2.5),
            json!(null),
            json!(true),
            json!([5]),
            json!({"key": 5}),
        ]);
        for argument in arguments {
            let answer = refusal(rig.host().request("keyinit", &argument));
            assert_eq!(
                answer,
                Answer::new("500", "Invalid public key"),
                "{argument}"
            );
        }
        let answer = refusal(
            rig.host()
                .request("password", &json!("AAAAAAAAAAAAAAAAAAAAAA==")),
        );
        assert_eq!(
            answer.message, "Password without key exchange",
            "a refused key opens no exchange"
        );
        for good in [
            json!(" 12345678901234567890 "),
            json!(12_345_678_901_234_567_890_u64),
        ] {
            let answer = rig.ask(json!({"name": "keyinit", "value": good}).to_string());
            assert!(
                answer.code == "D0" && answer.message.bytes().all(|byte| byte.is_ascii_digit()),
                "{answer:?}"
            );
        }
    });
}

#[test]
fn a_password_that_cannot_be_decrypted_changes_nothing() {
    everywhere(|rig| {
        let before = rig.sandbox().read("/etc/shadow");
        let exchange = rig.host().exchange_keys().unwrap();
        for (argument, message) in [
            (json!("%"), "Couldn't decode base64 data"),
            (json!(""), "Invalid password data received"),
            (json!("YWJj"), "Invalid password data received"),
            (
                json!("AAAAAAAAAAAAAAAAAAAAAA=="),
                "Invalid password data received",
            ),
            (json!(null), "Couldn't decode base64 data"),
            (json!(["AAAA"]), "Couldn't decode base64 data"),
        ] {
            let answer = refusal(rig.host().request("password", &argument));
            assert_eq!(answer, Answer::new("500", message), "{argument}");
        }
        assert_eq!(rig.sandbox().read("/etc/shadow"), before);
        rig.host()
            .send_password(exchange, &secret("in the end"))
            .unwrap();
        assert!(
            is_password_of_root(rig, "in the end"),
            "the exchange is still open"
        );
    });
}

#[test]
fn an_exchange_does_not_outlive_the_agent() {
    everywhere(|rig| {
        let before = rig.sandbox().read("/etc/shadow");
        let exchange = rig.host().exchange_keys().unwrap();
        rig.start_agent();
        let answer = refusal(rig.host().send_password(exchange, &secret("too late")));
        assert_eq!(answer, Answer::new("500", "Password without key exchange"));
        assert_eq!(rig.sandbox().read("/etc/shadow"), before);
        rig.host().set_password(&secret("once more")).unwrap();
        assert!(is_password_of_root(rig, "once more"));
    });
}

#[test]
fn an_empty_password_is_refused_unless_the_owner_allows_it() {
    on_with(&EVERYWHERE, |rig| {
        rig.start_agent();
        let before = rig.sandbox().read("/etc/shadow");
        let answer = refusal(rig.host().set_password(&secret("")));
        assert_eq!(
            answer,
            Answer::new("500", "An empty password is not allowed")
        );
        assert_eq!(rig.sandbox().read("/etc/shadow"), before);

        rig.sandbox().write(
            "/etc/nova-agent/config.toml",
            "allow_empty_password = true\n",
            0o644,
        );
        rig.start_agent();
        rig.host().set_password(&secret("")).unwrap();
        assert!(is_password_of_root(rig, ""));
    });
}

#[test]
fn a_password_that_would_be_two_lines_is_refused() {
    everywhere(|rig| {
        let before = rig.sandbox().read("/etc/shadow");
        for password in ["two\nlines", "carriage\rreturn"] {
            let answer = refusal(rig.host().set_password(&secret(password)));
            assert_eq!(answer.code, "500", "{answer:?}");
        }
        assert_eq!(rig.sandbox().read("/etc/shadow"), before);
    });
}

#[test]
fn a_guest_without_a_shadow_file_says_so() {
    on_with(&EMBEDDED[..1], |rig| {
        std::fs::remove_file(rig.sandbox().path("/etc/shadow")).unwrap();
        rig.start_agent();
        let error = rig.host().set_password(&secret("x")).unwrap_err();
        let Error::Rejected(Rejection::Refused {
            returncode,
            message,
            ..
        }) = error
        else {
            panic!("{error}")
        };
        assert_eq!(returncode, "500");
        assert!(
            message.starts_with("Failed to change password for root: "),
            "{message}"
        );
        assert!(message.contains("/etc/shadow"), "{message}");
    });
}

/// Every byte of the file is what it was, but for the second and third field of root's line.
fn assert_only_the_password_changed(rig: &Rig, before: &[u8]) {
    let lines = |content: &[u8]| -> Vec<Vec<u8>> {
        content
            .split_inclusive(|byte| *byte == b'\n')
            .map(Vec::from)
            .collect()
    };
    let (before, after) = (lines(before), lines(&rig.sandbox().read("/etc/shadow")));
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        if before.starts_with(b"root:") {
            let fields = |line: &[u8]| -> Vec<Vec<u8>> {
                line.split(|byte| *byte == b':').map(Vec::from).collect()
            };
            let (before, after) = (fields(before), fields(after));
            assert_eq!(before.len(), after.len());
            assert_eq!((&before[0], &before[3..]), (&after[0], &after[3..]));
            assert_ne!(before[1], after[1]);
            let day: u64 = String::from_utf8(after[2].clone())
                .unwrap()
                .parse()
                .unwrap();
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_secs()
                / 86_400;
            assert!((now - 1..=now).contains(&day), "day {day} of the change");
        } else {
            assert_eq!(before, after);
        }
    }
}

/// What the C library of the tester's system, which has never seen the agent, says of root's hash.
fn is_password_of_root(rig: &Rig, password: &str) -> bool {
    let shadow = rig.sandbox().read("/etc/shadow");
    let line = shadow
        .split(|byte| *byte == b'\n')
        .find(|line| line.starts_with(b"root:"))
        .unwrap();
    let hash = String::from_utf8(line.split(|byte| *byte == b':').nth(1).unwrap().into()).unwrap();
    assert!(hash.starts_with("$6$"), "not SHA-512 crypt: {hash}");
    // crypt(3) takes method, rounds and salt from the hash.
    let perl = Command::new("perl")
        .args(["-e", "print crypt($ARGV[0], $ARGV[1])", password, &hash])
        .output();
    let perl = perl.expect("perl is needed for this test");
    assert!(
        perl.status.success() && perl.stdout.starts_with(b"$6$"),
        "perl: {perl:?}"
    );
    perl.stdout == hash.as_bytes()
}

//! What is asked, well or badly, and what is answered.

use nova_agent_tests::agent::{Answer, refusal};
use nova_agent_tests::xenstored::Flavour;
use serde_json::json;

use super::{EMBEDDED, EVERYWHERE, VERSION, everywhere, on, on_with};

#[test]
fn a_host_learns_version_features_and_readiness() {
    everywhere(|rig| {
        let host = rig.host();
        assert_eq!(host.version().unwrap(), env!("CARGO_PKG_VERSION"));
        let features = host.features().unwrap();
        let expected = "version features ready keyinit password injectfile file_inject sethostname resetnetwork";
        for name in expected.split(' ') {
            assert!(
                features.iter().any(|feature| feature == name),
                "{name} is not in {features:?}"
            );
        }
        assert_eq!(host.ready().unwrap().message, "");
    });
}

#[test]
fn an_unknown_command_is_named_in_the_answer() {
    everywhere(|rig| {
        let answer = refusal(rig.host().request("no_such_thing", &json!(null)));
        assert_eq!(
            answer,
            Answer::new("404", "No such agent command 'no_such_thing'")
        );
        // What stands for text in the agent's own code is no name either.
        for name in ["", "__init__", "version ", "(start-up)"] {
            assert_eq!(
                refusal(rig.host().request(name, &json!(""))).code,
                "404",
                "{name:?}"
            );
        }
        assert_eq!(
            rig.host()
                .request("VERSION", &json!("agent"))
                .unwrap()
                .message,
            env!("CARGO_PKG_VERSION")
        );
    });
}

#[test]
fn a_malformed_request_is_refused_with_what_is_wrong() {
    everywhere(|rig| {
        let deep = format!(
            r#"{{"name": "version", "value": {}1{}}}"#,
            "[".repeat(300),
            "]".repeat(300)
        );
        let requests: [(&[u8], &str); 22] = [
            (b" ", "Request is malformed: empty value"),
            (b"\n\t\r\n", "Request is malformed: empty value"),
            (b"{", "Request is malformed: JSON ends too early"),
            (
                br#"{"name": "version", "value": "agent"#,
                "Request is malformed: JSON ends too early",
            ),
            (
                br#"{"name": "version" "value": "agent"}"#,
                "Request is malformed: malformed JSON at line 1, column",
            ),
            (
                br#"{'name': 'version', 'value': 'agent'}"#,
                "Request is malformed: malformed JSON at line 1, column 2",
            ),
            (
                br#"{"name": "version", "value": "agent"},"#,
                "Request is malformed: malformed JSON",
            ),
            (
                br#"{"name": "version"}{"name": "version"}"#,
                "Request is malformed: malformed JSON",
            ),
            (
                br#"{"name": "version", "value": NaN}"#,
                "Request is malformed: malformed JSON",
            ),
            (
                br#"{"name": "version", "value": 01}"#,
                "Request is malformed: malformed JSON",
            ),
            (
                br#"{"name": "version", "value": "\x"}"#,
                "Request is malformed: malformed JSON",
            ),
            (
                br#"{"name": "version", "value": "\ud800"}"#,
                "Request is malformed: malformed JSON",
            ),
            (
                b"{\"name\": \"version\"}\0",
                "Request is malformed: malformed JSON",
            ),
            (
                b"{\"name\": \"version\", \"value\": \"\xff\"}",
                "Request is malformed: not UTF-8",
            ),
            (
                b"\xef\xbb\xbf{\"name\": \"version\"}",
                "Request is malformed: malformed JSON",
            ),
            (b"version", "Request is malformed: malformed JSON"),
            (br#""version""#, "Request is malformed: not an object"),
            (b"[]", "Request is malformed: not an object"),
            (b"null", "Request is malformed: not an object"),
            (br#"{"value": "agent"}"#, "Request is missing 'name' key"),
            (
                br#"{"name": ["version"], "value": "agent"}"#,
                "Request is malformed: 'name' is not a string",
            ),
            (deep.as_bytes(), "Request is malformed: malformed JSON"),
        ];
        for (request, message) in requests {
            let answer = rig.ask(request);
            let shown = request.escape_ascii();
            assert!(
                answer.code == "500" && answer.message.starts_with(message),
                "{shown}: {answer:?}"
            );
        }
        rig.wait_until("malformed requests are removed", |rig| {
            rig.list("data/host").is_empty()
        });
    });
}

#[test]
fn unusual_requests_are_answered_all_the_same() {
    everywhere(|rig| {
        // The host's tools make raw line breaks of the escapes in JSON.
        let requests: [&[u8]; 8] = [
            b"{\"name\": \"version\", \"value\": \"a\nb\tc\x01\x1f\x7f\"}",
            b"{\r\n\t\"name\"\n:\n\"version\"\n}\n",
            br#"{"value": {"a": [1, {"b": null}], "a": 1e400}, "more": true, "name": "version"}"#,
            br#"{"name": "no", "name": "version", "value": "agent"}"#,
            br#"{"name": "\u0076ersion", "value": "\ud83d\udd11"}"#,
            "{\"name\": \"version\", \"value\": \"\u{e9}\u{1f511}\"}".as_bytes(),
            br#"{"name": "version", "value": 123456789012345678901234567890123456789012345678901234567890}"#,
            br#"{"name": "version", "value": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"#,
        ];
        let version = Answer::new("0", env!("CARGO_PKG_VERSION"));
        for request in requests {
            assert_eq!(rig.ask(request), version, "{}", request.escape_ascii());
        }
    });
}

#[test]
fn a_request_may_be_as_large_as_the_store_takes() {
    everywhere(|rig| {
        let room = match rig.kind().flavour() {
            Flavour::C => 4033,
            Flavour::Oxen => 2048,
        };
        let (before, behind) = (r#"{"name": "version", "value": ""#, r#""}"#);
        let filler = "x".repeat(room - before.len() - behind.len());
        assert_eq!(
            rig.ask(format!("{before}{filler}{behind}")),
            Answer::new("0", env!("CARGO_PKG_VERSION"))
        );
    });
}

#[test]
fn an_empty_request_waits_for_its_content() {
    everywhere(|rig| {
        for (nth, behind) in ["mkdir", "write"].into_iter().enumerate() {
            let id = format!("empty-{behind}-{nth}");
            let path = rig.host().path(&format!("data/host/{id}"));
            let client = rig.host().client();
            if behind == "mkdir" {
                client.mkdir(&path).unwrap()
            } else {
                client.write(&path, "").unwrap()
            }
            // The agent answers in order, so that it has seen the empty node now.
            rig.host().version().unwrap();
            rig.post_as(&id, VERSION);
            assert_eq!(
                rig.answer_to(&id),
                Answer::new("0", env!("CARGO_PKG_VERSION"))
            );
        }
    });
}

#[test]
fn a_request_that_stays_empty_is_refused_after_ten_seconds() {
    on(&EMBEDDED[..1], |rig| {
        let start = std::time::Instant::now();
        let answer = rig.ask("");
        assert_eq!(
            answer,
            Answer::new("500", "Request is malformed: it is empty")
        );
        assert!(
            start.elapsed().as_secs() >= 9,
            "after {:?}",
            start.elapsed()
        );
        rig.wait_until("the request is removed", |rig| {
            rig.list("data/host").is_empty()
        });
    });
}

#[test]
fn a_request_need_not_have_a_uuid_for_its_name() {
    everywhere(|rig| {
        for id in ["1", "a_b@c-D", "-", "0123456789", &"x".repeat(128)] {
            rig.post_as(id, VERSION);
            assert_eq!(
                rig.answer_to(id),
                Answer::new("0", env!("CARGO_PKG_VERSION")),
                "{id}"
            );
        }
        rig.wait_until("every request is removed", |rig| {
            rig.list("data/host").is_empty()
        });
    });
}

#[test]
fn what_stands_below_a_request_is_removed_with_it() {
    everywhere(|rig| {
        rig.post_as("outer/inner", VERSION);
        rig.host().version().unwrap();
        rig.post_as("outer", VERSION);
        assert_eq!(
            rig.answer_to("outer"),
            Answer::new("0", env!("CARGO_PKG_VERSION"))
        );
        rig.wait_until("every request is removed", |rig| {
            rig.list("data/host").is_empty()
        });
    });
}

#[test]
fn requests_that_wait_at_the_start_are_all_answered() {
    on_with(&EVERYWHERE, |rig| {
        let ids: Vec<String> = (0..25).map(|nth| format!("waiting-{nth:02}")).collect();
        for id in &ids {
            rig.post_as(id, VERSION);
        }
        rig.start_agent();
        for id in &ids {
            assert_eq!(
                rig.answer_to(id),
                Answer::new("0", env!("CARGO_PKG_VERSION"))
            );
        }
        assert_eq!(
            rig.list("data/host"),
            Vec::<String>::new(),
            "ready means that they are done"
        );
    });
}

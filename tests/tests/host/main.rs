//! The simulated host against every store, with an agent of a few lines in the guest.
#![deny(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test"
)]

mod agent;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use agent::ScriptedAgent;
use nova_agent_core::secret::Secret;
use nova_agent_tests::client::Client;
use nova_agent_tests::host::{
    Domain, Error, Host, InjectedFile, KeyDigest, Rejection, Server, Timeouts, Unreadable, Waiting,
};
use nova_agent_tests::json_oracle::Verdict;
use nova_agent_tests::real::{Daemon, GuestOptions, RealStore};
use nova_agent_tests::stores::{RunningStore, StoreKind};
use serde_json::{Value, json};

const DOMID: u32 = 7;

#[test]
fn a_first_boot_says_everything_in_novas_order() {
    for kind in StoreKind::ALL {
        let world = World::on(kind);
        let agent = world.agent(agent::complete);
        let mut host = world.host();
        let server = Server {
            files: vec![InjectedFile {
                path: "/etc/motd".into(),
                content: Secret::new(b"hi, all\n".to_vec()),
            }],
            admin_password: Some(secret("Tr0ub4dor&3")),
            ..Server::two_networks()
        };
        host.provision(&server).unwrap();
        let (sender, lines) = mpsc::channel();
        host.observe(move |round_trip| sender.send(round_trip.to_string()).unwrap());

        let boot = host.boot(&server).unwrap();
        assert!(boot.is_complete(), "{boot:?}");
        assert_eq!(boot.version.as_deref(), Some("3.0.0"));

        let commands = [
            "version",
            "features",
            "file_inject",
            "features",
            "file_inject",
            "keyinit",
            "password",
            "resetnetwork",
        ];
        assert_eq!(agent.commands(), commands);
        assert_eq!(agent.passwords(), ["Tr0ub4dor&3"]);
        let [keys, motd] = agent.files().try_into().unwrap();
        assert_eq!(keys.0, "/root/.ssh/authorized_keys");
        let key = server.ssh_key.unwrap();
        assert_eq!(
            keys.1,
            format!("\n# The following ssh key was injected by Nova\n{key}\n").as_bytes()
        );
        assert_eq!(motd, ("/etc/motd".into(), b"hi, all\n".to_vec()));

        let lines: Vec<String> = lines.try_iter().collect();
        assert_eq!(lines.len(), commands.len());
        for hidden in ["Tr0ub4dor", "ssh-ed25519", "hi, all"] {
            assert!(
                !lines.iter().any(|line| line.contains(hidden)),
                "{hidden} in {lines:#?}"
            );
        }
    }
}

#[test]
fn a_request_that_is_not_answered_is_deleted() {
    for (kind, waiting) in StoreKind::ALL
        .into_iter()
        .flat_map(|kind| [(kind, Waiting::Poll), (kind, Waiting::Watch)])
    {
        let world = World::on(kind);
        let mut host = world.host();
        host.provision(&Server::two_networks()).unwrap();
        host.set_waiting(waiting);
        host.set_timeouts(all(Duration::from_millis(10)));
        let mut watcher = Client::connect(world.store.dom0_socket()).unwrap();
        watcher.watch("/local/domain/7/data/host", "w").unwrap();
        watcher.events_so_far().unwrap();

        assert!(matches!(host.version(), Err(Error::Timeout(_))));
        let paths: Vec<_> = watcher
            .events_so_far()
            .unwrap()
            .into_iter()
            .map(|event| event.path.to_string())
            .collect();
        assert_eq!(paths.len(), 2, "written and deleted: {paths:?}");
        assert_eq!(paths[0], paths[1]);
        assert_eq!(
            host.client().list("/local/domain/7/data/host").unwrap(),
            Vec::<String>::new()
        );
    }
}

#[test]
fn requests_are_byte_for_byte_what_nova_writes() {
    let world = World::new();
    let mut host = world.host();
    let agent = world.agent(agent::complete);
    host.version().unwrap();
    host.reset_network().unwrap();
    host.agent_update(
        "http://203.0.113.9/agent.tar.gz",
        "0123456789abcdef0123456789abcdef",
    )
    .unwrap();
    host.injectfile("/a", b"b,\xff").unwrap();
    host.file_inject("/a", b"b").unwrap();
    host.kms_activate("key", "profile", &["one", "two"])
        .unwrap();
    host.set_hostname("web-2").unwrap();
    host.request("ready", &json!({"line": "a\nb"})).unwrap();
    assert_eq!(
        agent.requests(),
        [
            r#"{"name": "version", "value": "agent"}"#,
            r#"{"name": "resetnetwork", "value": ""}"#,
            concat!(
                r#"{"name": "agentupdate", "value": "http://203.0.113.9/agent.tar.gz,"#,
                r#"0123456789abcdef0123456789abcdef"}"#
            ),
            r#"{"name": "injectfile", "value": "L2EsYiz/"}"#,
            r#"{"name": "file_inject", "value": {"b64_path": "L2E=", "b64_file": "Yg=="}}"#,
            concat!(
                r#"{"name": "kmsactivate", "value": {"activation_key": "key", "profile": "profile", "#,
                r#""domains": ["one", "two"]}}"#
            ),
            r#"{"name": "sethostname", "value": "web-2"}"#,
            "{\"name\": \"ready\", \"value\": {\"line\": \"a\nb\"}}",
        ]
    );
}

#[test]
fn passwords_arrive_whatever_digest_the_hosts_openssl_has() {
    for kind in StoreKind::ALL {
        let world = World::on(kind);
        let agent = world.agent(agent::complete);
        let mut host = world.host();
        for digest in [
            KeyDigest::Md5,
            KeyDigest::Sha256,
            KeyDigest::Sha1,
            KeyDigest::Default,
        ] {
            host.set_key_digest(digest);
            host.set_password(&secret("p\u{e4}ssw\u{f6}rd, 16 bytes or more"))
                .unwrap();
        }
        assert_eq!(
            agent.passwords(),
            ["p\u{e4}ssw\u{f6}rd, 16 bytes or more"; 4]
        );
    }
}

#[test]
fn two_password_changes_may_be_interleaved() {
    for kind in StoreKind::ALL {
        let world = World::on(kind);
        let agent = world.agent(agent::complete);
        let mut host = world.host();
        let (first, second) = (host.exchange_keys().unwrap(), host.exchange_keys().unwrap());
        host.send_password(first, &secret("first")).unwrap();
        host.send_password(second, &secret("second")).unwrap();
        assert_eq!(agent.passwords(), ["first", "second"]);
    }
}

#[test]
fn a_file_is_injected_with_the_command_that_the_features_name() {
    for (features, command) in [
        ("version,injectfile", Some("injectfile")),
        ("injectfile, file_inject", Some("injectfile")),
    ]
    .into_iter()
    .chain([
        ("file_inject,injectfile", Some("file_inject")),
        ("version", None),
        ("", None),
    ]) {
        let world = World::new();
        let agent = world.agent(move |name, value, state| match name {
            "features" => agent::reply("0", features),
            _ => agent::complete(name, value, state),
        });
        let result = world.host().inject_file("/etc/motd", b"a,b");
        match command {
            Some(command) => {
                result.unwrap();
                assert_eq!(agent.commands(), ["features", command]);
                assert_eq!(
                    agent.files(),
                    [(String::from("/etc/motd"), b"a,b".to_vec())]
                );
            }
            None => assert!(matches!(result, Err(Error::NotImplemented)), "{result:?}"),
        }
    }
}

#[test]
fn a_boot_survives_refusals_and_silence_but_no_unreadable_response() {
    let world = World::new();
    let refusing = world.agent(|name, value, state| match name {
        "keyinit" => agent::reply("500", "Invalid public key"),
        "resetnetwork" => agent::reply("500", "no such interface"),
        "features" => b"features".to_vec(),
        _ => agent::complete(name, value, state),
    });
    let server = Server {
        admin_password: Some(secret("x")),
        ..Server::two_networks()
    };
    let mut host = world.host();
    host.provision(&server).unwrap();
    let boot = host.boot(&server).unwrap();
    let tasks: Vec<_> = boot.faults.iter().map(|fault| fault.task).collect();
    assert_eq!(
        tasks,
        ["ssh key", "password"],
        "500 is a success of resetnetwork only: {boot:?}"
    );
    drop(refusing);

    let _unreadable = world.agent(|name, value, state| match name {
        "resetnetwork" => b"{\"returncode\": \"0\", \"message\": \"\"}\n".to_vec(),
        _ => agent::complete(name, value, state),
    });
    let error = host.boot(&server).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Rejected(Rejection::Unreadable {
                reason: Unreadable::NotAnObject,
                ..
            })
        ),
        "{error:?}"
    );
}

#[test]
fn without_an_agent_a_boot_ends_after_the_version() {
    for waiting in [Waiting::Poll, Waiting::Watch] {
        let world = World::new();
        let mut host = world.host();
        host.set_waiting(waiting);
        host.set_timeouts(all(Duration::from_millis(50)));
        host.provision(&Server::two_networks()).unwrap();
        let boot = host.boot(&Server::two_networks()).unwrap();
        assert!(boot.version.is_none() && !boot.is_complete());
        assert!(
            host.client()
                .list("/local/domain/7/data/host")
                .unwrap()
                .is_empty(),
            "requests are left"
        );
    }
}

#[test]
fn responses_stay_where_the_agent_wrote_them() {
    let world = World::new();
    let _agent = world.agent(agent::complete);
    let mut host = world.host();
    host.set_waiting(Waiting::Poll);
    let id = host
        .post(r#"{"name": "version", "value": "agent"}"#)
        .unwrap();
    let response = host.wait(&id).unwrap();
    assert_eq!(response, agent::reply("0", "3.0.0"));
    let path = host.response_path(&id);
    assert_eq!(host.client().read(&path).unwrap(), response);
}

#[test]
fn a_domain_that_goes_away_is_noticed_while_polling() {
    let world = World::new();
    let mut host = world.host();
    host.set_waiting(Waiting::Poll);
    let name = host.path("name");
    match host.client().rm(&name) {
        Ok(()) => {}
        Err(error) => assert_eq!(error.to_string(), "ENOENT"),
    }
    assert!(matches!(host.version(), Err(Error::Reboot)));
    assert!(
        host.client()
            .list("/local/domain/7/data/host")
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_restored_domain_answers_under_its_new_number() {
    let store = RealStore::start(Daemon::C).unwrap();
    let guest = store.guest(DOMID, GuestOptions::default()).unwrap();
    let mut host = Host::connect(store.dom0_socket(), Domain::Number(DOMID)).unwrap();
    let _agent = ScriptedAgent::start(guest.socket(), agent::complete);
    host.version().unwrap();
    guest.restore().unwrap();
    host.set_domain(Domain::Number(DOMID + 1)).unwrap();
    assert_eq!(host.version().unwrap(), "3.0.0");
}

#[test]
fn a_servers_data_can_be_read_by_its_guest() {
    for kind in StoreKind::ALL {
        let world = World::on(kind);
        let server = Server::two_networks();
        world.host().provision(&server).unwrap();
        let mut guest = Client::connect(&world.guest_socket).unwrap();
        assert_eq!(guest.read("vm-data/hostname").unwrap(), b"web-1");
        assert_eq!(
            guest.read("vm-data/user-metadata/comment").unwrap(),
            br#""said \"hi\"""#
        );
        for vif in server.vifs {
            assert_eq!(
                guest
                    .read(&format!("vm-data/networking/{}", vif.node))
                    .unwrap(),
                vif.network.as_bytes()
            );
        }
    }
}

#[test]
fn responses_are_read_as_the_real_tool_and_python_read_them() {
    let store = RealStore::start(Daemon::C).unwrap();
    let every_byte: Vec<u8> = (0..=255).collect();
    let values: [&[u8]; 22] = [
        b"",
        b" ",
        b"3.0.0",
        b"3.0",
        b"[1, null, true]",
        &every_byte,
        br#"{"returncode": "0", "message": "3.0.0"}"#,
        br#"  {"returncode":"0","message":"","returncode":"1"}  "#,
        br#"{"returncode": 0, "message": "1.5e3"}"#,
        br#"{"returncode": "0", "message": "a\r\nb\tc"}"#,
        br#"{"returncode": "0", "message": "say \"hi\""}"#,
        br#"{"returncode": "0", "message": "back\\slash"}"#,
        br#"{"returncode": "0", "message": "caf\u00e9"}"#,
        b"{\"returncode\": \"0\", \"message\": \"a\nb\r\tc\"}",
        b"{\"returncode\": \"0\", \"message\": \"\"}\n",
        b"{\"returncode\": \"0\", \"message\": \"\"}\r\n",
        b"{\"returncode\": \"0\",\n \"message\": \"\"}",
        b"{\"returncode\": \"0\", \"message\": \"\"}\0",
        b"{\"returncode\": \"0\", \"message\": \"\x08\x7f\"}",
        "{\"returncode\": \"0\", \"message\": \"caf\u{e9}\"}".as_bytes(),
        b"{'returncode': '0', 'message': ''}",
        br#"{"returncode": "0", "message": ""} trailing"#,
    ];
    for value in values {
        let real = Verdict::real(&store.dom0_socket(), value).unwrap();
        assert_eq!(Verdict::simulated(value), real, "{}", value.escape_ascii());
    }
}

#[test]
fn the_program_shows_everything_but_secrets() {
    let world = World::new();
    let agent = world.agent(agent::complete);
    assert_eq!(world.nova_host(&["provision"], "").status.code(), Some(0));

    let boot = world.nova_host(&["boot"], "");
    let output = String::from_utf8(boot.stdout).unwrap();
    assert_eq!(boot.status.code(), Some(0), "{output}");
    assert_eq!(
        output.lines().count(),
        7,
        "a heading and six commands:\n{output}"
    );
    assert!(!output.contains("ssh-ed25519"), "{output}");

    let password = world.nova_host(&["password", "--md", "md5"], "Tr0ub4dor&3\n");
    assert_eq!(password.status.code(), Some(0));
    assert_eq!(agent.passwords().last().unwrap(), "Tr0ub4dor&3");
    assert!(
        !String::from_utf8(password.stdout)
            .unwrap()
            .contains("Tr0ub4dor")
    );

    assert_eq!(
        world
            .nova_host(&["inject-file", "/etc/motd"], "a,b\n")
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        agent.files().last().unwrap(),
        &(String::from("/etc/motd"), b"a,b\n".to_vec())
    );
    assert_eq!(
        world
            .nova_host(&["request", "ready", "[1]", "--json"], "")
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        agent.requests().last().unwrap(),
        r#"{"name": "ready", "value": [1]}"#
    );
}

#[test]
fn the_program_fails_if_nova_would_see_a_failure() {
    let world = World::new();
    let _agent = world.agent(|name, value, state| match name {
        "version" => agent::reply("500", "no"),
        "resetnetwork" => agent::reply("500", "success, in Nova's eyes"),
        "ready" => b"ready".to_vec(),
        _ => agent::complete(name, value, state),
    });
    for (command, code) in [
        ("version", 1),
        ("ready", 1),
        ("reset-network", 0),
        ("features", 0),
    ] {
        let output = world.nova_host(&[command], "");
        assert_eq!(output.status.code(), Some(code), "{command}: {output:?}");
    }
}

struct World {
    store: RunningStore,
    guest_socket: PathBuf,
}

impl World {
    /// A world for what does not depend on the store.
    fn new() -> Self {
        Self::on(StoreKind::EmbeddedC)
    }

    fn on(kind: StoreKind) -> Self {
        let mut store = kind.start().unwrap();
        let guest_socket = store.guest_socket(DOMID).unwrap();
        Self {
            store,
            guest_socket,
        }
    }

    fn host(&self) -> Host {
        Host::connect(self.store.dom0_socket(), Domain::Number(DOMID)).unwrap()
    }

    fn nova_host(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nova-host"));
        command
            .arg("--xenstore")
            .arg(format!("unix:{}", self.store.dom0_socket().display()));
        command
            .args(["--domid", "7"])
            .args(arguments)
            .env_remove("NOVA_HOST_PASSWORD");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    fn agent(
        &self,
        script: impl FnMut(&str, &Value, &mut agent::State) -> Vec<u8> + Send + 'static,
    ) -> ScriptedAgent {
        ScriptedAgent::start(&self.guest_socket, script)
    }
}

fn all(timeout: Duration) -> Timeouts {
    Timeouts {
        response: timeout,
        reset_network: timeout,
        version: timeout,
    }
}

fn secret(text: &str) -> Secret {
    Secret::from(String::from(text))
}

//! The agent applies changes with the network stack's own programs, in namespaces with a kernel's network of their own: what
//! the oracles accept as files is brought into effect by the agent itself, and rolled back when it does not come up.
#![deny(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nova_agent_core::network::validate;
use nova_agent_core::render::{Configuration, HostData, Prepared};
use nova_agent_tests::agent::{Answer, Runtime};
use nova_agent_tests::fixture::Fixture;
use nova_agent_tests::host::{Domain, Host};
use nova_agent_tests::oracle::{self, Expected};
use nova_agent_tests::xenstored::{Flavour, Server};
use serde_json::json;

const DOMID: u32 = 7;

/// The address of the fixtures' public network, and those that the host changes it to.
const FIRST: &str = "203.0.113.10";
const SECOND: &str = "203.0.113.77";
const THIRD: &str = "203.0.113.88";

/// How long a network stack may take to make the first network.
const START: Duration = Duration::from_secs(120);

/// Many times as long as systemd-networkd takes until it has configured everything that it was told of.
const SETTLING: Duration = Duration::from_secs(5);

#[test]
fn busybox() {
    applied("busybox", "alpine-3.12-busybox", |_| ());
}

#[test]
fn ifupdown() {
    applied("ifupdown", "debian-12-ifupdown+canonical", is_rolled_back);
}

#[test]
fn ifupdown2() {
    applied("ifupdown2", "debian-12-ifupdown2", |_| ());
}

#[test]
fn ifupdown_ng() {
    applied("ifupdown-ng", "alpine-3.20-ifupdown-ng", is_rolled_back);
}

#[test]
fn network_manager() {
    applied("nm", "rocky-9-nm", is_rolled_back);
}

#[test]
fn networkd() {
    applied("networkd", "arch-networkd", |host| {
        // It configures an interface twice, for `reload` and for `reconfigure`, and takes its addresses away for a moment
        // in between, which nothing tells the host. An agent that looks then finds no network to bring back.
        thread::sleep(SETTLING);
        is_rolled_back(host);
    });
}

/// The next call of the stack's program says that all is well and does nothing: the kernel does not show what it shall, and
/// the network before is brought back.
fn is_rolled_back(host: &mut Live<'_>) {
    host.lie();
    let Answer { code, message } = host.reset(THIRD);
    assert_eq!(code, "1");
    assert!(
        message.starts_with("network not changed: wait for the network: timed out: "),
        "{message}"
    );
    assert!(
        message.contains("0 has no address") && message.ends_with("previous state restored"),
        "{message}"
    );
}

/// Has the stack make the network of a fixture, then the agent change it, once more without a change, and whatever else
/// the host wants. What is left at the end is the network after the first change.
fn applied(target: &str, fixture: &str, more: impl FnOnce(&mut Live<'_>) + Send) {
    let fixture = Fixture::named(fixture);
    let guest = fixture.guest();
    let interfaces = guest.interfaces();
    let Prepared::Ready(Configuration { plan, .. }) = guest.prepare(&fixture.host()) else {
        panic!("{fixture}")
    };
    guest.carry_out(plan).unwrap();

    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), Flavour::C).unwrap();
    server.add_guest(DOMID).unwrap();
    fs::copy(
        Runtime::new("nova-agent-blocking").binary(),
        directory.path().join("agent"),
    )
    .unwrap();
    let second = with_address(&fixture.host(), SECOND);
    let validated = validate(&second.networking, &second.vifs, &interfaces);
    let expected = Expected::new(&validated.config)
        .on(&interfaces)
        .without_nameservers();

    let verify = Path::new(env!("CARGO_BIN_EXE_nova-verify"));
    thread::scope(|scope| {
        let result = scope.spawn(|| {
            oracle::check_live(target, guest.path(), &expected, verify, directory.path())
        });
        let host = Host::connect(directory.path().join("socket"), Domain::Number(DOMID)).unwrap();
        let mut live = Live {
            host,
            directory: directory.path(),
            fixture: &fixture,
        };
        let told = thread::scope(|inner| {
            inner
                .spawn(|| {
                    live.wait_for_agent(|| result.is_finished());
                    assert_eq!(live.reset(SECOND), Answer::new("0", ""), "{target}");
                    let removed = live.addresses_removed();
                    assert_ne!(removed, 0, "{target}: of all addresses");
                    assert_eq!(
                        live.reset(SECOND),
                        Answer::new("0", ""),
                        "{target}: once more"
                    );
                    // networkd gives an interface that it reconfigures its addresses anew, the same ones too.
                    assert!(
                        live.addresses_removed() == removed || target == "networkd",
                        "{target}: a repeated reset restarts something"
                    );
                    more(&mut live);
                })
                .join()
        });
        fs::write(directory.path().join("done"), "").unwrap();
        let result = result.join().unwrap();
        if told.is_err() || result.is_err() {
            let log = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            panic!("{target}: {result:?}\n{log}");
        }
    });
}

/// The host of an agent that runs for real.
struct Live<'a> {
    host: Host,
    directory: &'a Path,
    fixture: &'a Fixture,
}

impl Live<'_> {
    fn wait_for_agent(&self, has_ended: impl Fn() -> bool) {
        let start = Instant::now();
        while !fs::read_to_string(self.directory.join("log"))
            .unwrap_or_default()
            .contains(" ready")
        {
            assert!(!has_ended(), "there is no agent");
            assert!(start.elapsed() < START, "the agent does not start");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Has the agent make another network.
    fn reset(&mut self, address: &str) -> Answer {
        let data = with_address(&self.fixture.host(), address);
        for (key, value) in &data.networking {
            let path = self.host.path(&format!("vm-data/networking/{key}"));
            self.host.client().write(&path, value).unwrap();
        }
        let request = json!({ "name": "resetnetwork", "value": "" }).to_string();
        Answer::parse(&self.host.send_raw(request).unwrap())
    }

    /// How many addresses of IPv4 the kernel has lost so far, for a moment or for ever.
    fn addresses_removed(&self) -> usize {
        let events = fs::read_to_string(self.directory.join("events")).unwrap();
        events.matches("Deleted").count()
    }

    fn lie(&self) {
        fs::write(self.directory.join("lie"), "").unwrap();
    }
}

fn with_address(data: &HostData, address: &str) -> HostData {
    let changed = |value: &[u8]| {
        let text = String::from_utf8(value.to_vec()).unwrap();
        text.replace(&format!("\"{FIRST}\""), &format!("\"{address}\""))
            .into_bytes()
    };
    let networking = data
        .networking
        .iter()
        .map(|(key, value)| (key.clone(), changed(value)))
        .collect();
    HostData {
        networking,
        ..data.clone()
    }
}

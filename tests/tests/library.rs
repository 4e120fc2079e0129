//! The agent as a future in a program of somebody else, on an executor of its own.
#![deny(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use async_std::channel;
use futures_lite::future::{block_on, or};
use nova_agent_system::runtime::{Launch, Settings, StoreAddress};
use nova_agent_tests::agent::{DOMID, Sandbox};
use nova_agent_tests::host::{Domain, Host, Server};
use nova_agent_tests::stores::{RunningStore, StoreKind};

struct World {
    host: Host,
    sandbox: Sandbox,
    launch: Launch,
    _store: RunningStore,
}

fn world() -> World {
    let mut store = StoreKind::EmbeddedC.start().unwrap();
    let socket = store.guest_socket(DOMID).unwrap();
    let sandbox = Sandbox::new();
    let settings = Settings {
        xenstore: StoreAddress::Unix(socket),
        sandbox: Some(sandbox.root().into()),
        ..Settings::default()
    };
    let host = Host::connect(store.dom0_socket(), Domain::Number(DOMID)).unwrap();
    World {
        host,
        sandbox,
        launch: Launch::new(&settings).unwrap(),
        _store: store,
    }
}

#[test]
fn another_executor_runs_it_until_it_is_told_to_leave() {
    let World {
        mut host,
        sandbox,
        launch,
        _store,
    } = world();
    let (leave, left) = channel::bounded::<()>(1);
    let agent = thread::spawn(move || {
        block_on(nova_agent_async::run_until(launch, async {
            _ = left.recv().await
        }))
    });
    assert_eq!(host.version().unwrap(), env!("CARGO_PKG_VERSION"));
    host.inject_file("/etc/motd", b"hello").unwrap();
    assert_eq!(sandbox.read("/etc/motd"), b"hello");
    drop(leave);
    agent.join().unwrap();
}

#[test]
fn dropped_it_kills_the_program_that_runs_and_leaves_its_request() {
    let World {
        mut host,
        sandbox,
        launch,
        _store,
    } = world();
    sandbox.install_debian(&["BC:76:4E:20:75:72", "BC:76:4E:20:5E:FB"]);
    sandbox.stand_in("ifup", "echo $$ >pid.new; mv pid.new pid; sleep 1000");
    host.provision(&Server::two_networks()).unwrap();
    let (stop, stopped) = channel::bounded::<()>(1);
    let never = std::future::pending();
    let agent = thread::spawn(move || {
        block_on(or(nova_agent_async::run_until(launch, never), async {
            _ = stopped.recv().await
        }));
    });
    let request = host
        .post(r#"{"name": "resetnetwork", "value": ""}"#)
        .unwrap();
    wait_until(|| sandbox.exists("/pid"));
    drop(stop);
    agent.join().unwrap();

    let pid = String::from_utf8(sandbox.read("/pid")).unwrap();
    wait_until(|| !is_alive(pid.trim()));
    let path = host.request_path(&request);
    assert!(host.client().read(&path).is_ok(), "the next agent finds it");
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(120), "in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A zombie is not: somebody reaps it with the next program.
fn is_alive(pid: &str) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    !stat.contains(") Z ")
}

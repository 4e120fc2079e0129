//! Xen's own tools and its own test of a store, against the embedded one.
#![deny(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation fails the test"
)]

use std::io::Read;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nova_agent_tests::real::tool;
use nova_agent_tests::xenstored::{Flavour, Server};

#[test]
fn xens_own_store_test_passes_as_c() {
    run_test_xenstore(Flavour::C);
}

#[test]
fn xens_own_store_test_passes_as_oxenstored() {
    run_test_xenstore(Flavour::Oxen);
}

#[test]
fn the_command_line_tools_write_list_and_read() {
    let (_server, dir) = start(Flavour::Oxen);
    let run = |name: &str, arguments: &[&str]| -> String {
        let output = tool(name)
            .unwrap()
            .args(arguments)
            .env("XENSTORED_PATH", dir.path().join("socket"))
            .output();
        let Output {
            status,
            stdout,
            stderr,
        } = output.unwrap();
        assert!(
            status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&stderr)
        );
        String::from_utf8(stdout).unwrap()
    };
    run(
        "xenstore-write",
        &[
            "/local/domain/7/data/host/1",
            r#"{"name": "version", "value": "agent"}"#,
        ],
    );
    assert_eq!(run("xenstore-list", &["/local/domain/7/data/host"]), "1\n");
    assert_eq!(
        run("xenstore-read", &["/local/domain/7/data/host/1"]),
        "{\"name\": \"version\", \"value\": \"agent\"}\n"
    );
    run("xenstore-rm", &["/local/domain/7/data/host/1"]);
    assert_eq!(run("xenstore-list", &["/local/domain/7/data/host"]), "");
}

fn run_test_xenstore(flavour: Flavour) {
    /// It runs for a second or two.
    const TIMEOUT: Duration = Duration::from_secs(120);

    let (_server, dir) = start(flavour);
    let mut command = tool("test-xenstore").unwrap();
    command
        .args(["-r", "2"])
        .env("XENSTORED_PATH", dir.path().join("socket"));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let output = std::thread::spawn(move || {
        let mut output = String::new();
        stdout.read_to_string(&mut output).map(|_| output)
    });
    let deadline = Instant::now() + TIMEOUT;
    while !output.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    if !output.is_finished() {
        child.kill().unwrap();
    }
    let output = output.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success(), "{output}");
}

fn start(flavour: Flavour) -> (Server, tempfile::TempDir) {
    let dir = tempfile::Builder::new()
        .prefix("xs")
        .tempdir_in("/tmp")
        .unwrap();
    let server = Server::start(dir.path(), flavour).unwrap();
    (server, dir)
}

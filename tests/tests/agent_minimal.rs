//! The runtime that the documentation of `system` shows serves a host. It answers nothing while it carries out an effect, so
//! that the whole suite for runtimes is not for it.
#![deny(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

use nova_agent_core::secret::Secret;
use nova_agent_tests::agent::{Answer, Rig, Runtime};
use nova_agent_tests::stores::StoreKind;

#[test]
fn the_runtime_of_the_documentation_serves_a_host_until_it_is_told_to_end() {
    let mut rig = Rig::new(Runtime::MINIMAL, StoreKind::EmbeddedC);
    rig.start_agent();
    assert_eq!(rig.host().version().unwrap(), env!("CARGO_PKG_VERSION"));
    rig.host().inject_file("/etc/motd", b"hello").unwrap();
    assert_eq!(rig.sandbox().read("/etc/motd"), b"hello");
    // Entropy, and a change.
    let password = Secret::from(String::from("Tr0ub4dor&3"));
    rig.host().set_password(&password).unwrap();
    assert_eq!(
        rig.ask(r#"{"name": "no_such_thing", "value": ""}"#),
        Answer::new("404", "No such agent command 'no_such_thing'")
    );
    let agent = rig.agent();
    agent.terminate();
    assert_eq!(agent.wait().code(), Some(0));
}

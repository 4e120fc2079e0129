//! The whole machine between a store, a host and a guest that do what they like.

use std::time::Duration;

use nova_agent_core::{CommandPolicy, Config};

use crate::bytes::Bytes;
use crate::scene::support::systems;
use crate::world::World;

/// A byte of configuration, then a list of what happens: the host posts and withdraws requests; the store answers, fails,
/// lies, sends any bytes, splits what it sends; effects end well, badly, late, twice; time passes, jumps, goes backwards;
/// connections open and end; the driver breaks its contract; the agent is told to leave.
///
/// After each input the outputs come to an end with the same `Wait` however often it is polled, and its time is ahead after
/// a timeout. One message is on the wire, and it is one of the few that the agent has a use for. No id of an effect is used
/// again, and no two changes of the guest are under way. Misuse changes nothing. As long as the store does not lie, a
/// command is started once for each request and a request is removed only when it has its response; in the end nothing is
/// left over. Whatever happened, the agent leaves in time, and nothing follows.
pub fn machine(input: &[u8]) {
    let mut input = Bytes::new(input);
    let mut world = World::new(config(input.byte()), systems::debian(), &NODES);
    while let Some(choice) = input.next() {
        act(choice, &mut input, &mut world);
        if world.has_left {
            break;
        }
    }
    world.finish();
}

fn config(switches: u8) -> Config {
    Config {
        commands: CommandPolicy {
            inject_files: switches & 1 == 0,
            allow_empty_password: switches & 2 != 0,
            version: "3.0.0".into(),
        },
        // The safety net is what finds a request again that the store refused to read.
        rescan: Some(Duration::from_secs(if switches & 4 == 0 {
            300
        } else {
            20
        })),
        reset_network_at_start: switches & 8 != 0,
        alive: (switches & 16 != 0).then_some(Duration::from_secs(15)),
    }
}

fn act(choice: u8, input: &mut Bytes<'_>, world: &mut World) {
    match choice % 32 {
        0..=2 => drop(world.post(REQUESTS[input.below(REQUESTS.len())].as_bytes())),
        3 => drop(world.post(input.chunk())),
        4 => world.withdraw(input.byte()),
        5..=9 => world.serve(),
        10 => world.refuse(input.pick(&ERRORS)),
        11 => world.lie(input.byte(), input.chunk()),
        12..=15 => world.deliver(usize::MAX),
        16 => world.deliver(input.below(256)),
        17 => world.send(input.chunk()),
        18 => world.fire(input.chunk()),
        19..=22 => world.complete(input.byte()),
        23 => world.fail(input.byte(), input.byte(), input.chunk()),
        24 => world.complete_again(input.byte()),
        25 => world.break_contract(input.byte()),
        26 => world.pass(Duration::from_millis(u64::from(input.word()))),
        27 => world.pass(Duration::from_secs(u64::from(input.byte()))),
        28 => world.go_back(Duration::from_millis(u64::from(input.word()))),
        29 => world.close(),
        30 => world.connect(),
        _ => {
            // Most inputs are to be long.
            if input.byte() == 0 {
                world.terminate();
            }
        }
    }
}

/// What stores say when they refuse.
const ERRORS: [&str; 8] = [
    "ENOSPC", "EACCES", "E2BIG", "EIO", "EQUOTA", "ENOSYS", "ENOMEM", "EHUH",
];

/// What hosts ask for, and some things that they should not.
const REQUESTS: [&str; 16] = [
    r#"{"name": "version", "value": "agent"}"#,
    r#"{"name": "features", "value": ""}"#,
    r#"{"name": "ready", "value": ""}"#,
    r#"{"name": "keyinit", "value": "118651915984640172265778366366426"}"#,
    r#"{"name": "keyinit", "value": "1"}"#,
    r#"{"name": "password", "value": "hWP5OP7ypes7fweTnznY6A=="}"#,
    r#"{"name": "password", "value": ""}"#,
    r#"{"name": "injectfile", "value": "L2V0Yy9tb3RkLGhlbGxv"}"#,
    r#"{"name": "injectfile", "value": "L3Jvb3QvLnNzaC9hdXRob3JpemVkX2tleXMsa2V5"}"#,
    r#"{"name": "file_inject", "value": {"b64_path": "L2E=", "b64_file": "Yg=="}}"#,
    r#"{"name": "sethostname", "value": "web-02"}"#,
    r#"{"name": "resetnetwork", "value": ""}"#,
    r#"{"name": "agentupdate", "value": "http://x/,00"}"#,
    "{\"name\": \"no\n\\\"such\\\" caf\u{e9}\"}",
    "[",
    "",
];

/// What the host has put into the store before the agent starts.
const NODES: [(&str, &[u8]); 6] = [
    ("vm-data/hostname", b"web-01"),
    (
        "vm-data/networking/00163E000001",
        br#"{"label": "public", "mac": "00:16:3E:00:00:01", "gateway": "203.0.113.1", "dns": ["192.0.2.53"],
            "ips": [{"ip": "203.0.113.10", "netmask": "255.255.255.0", "enabled": "1"}]}"#,
    ),
    (
        "vm-data/networking/00163E000002",
        br#"{"label": "private", "mac": "00:16:3E:00:00:02", "ips": [{"ip": "10.1.2.3", "netmask": "8"}]}"#,
    ),
    ("device/vif/0/mac", b"00:16:3e:00:00:01"),
    ("device/vif/1/mac", b"00:16:3e:00:00:02"),
    ("name", b"server"),
];

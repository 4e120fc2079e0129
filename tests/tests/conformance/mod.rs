//! What every runtime has to do, as its host sees it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail the test"
)]

mod bombs;
mod collection;
mod commands;
mod connection;
mod crash;
mod device;
mod files;
mod idle;
mod injection;
mod life;
mod load;
mod memory;
mod network;
mod obstacles;
mod password;
mod plan;
mod programs;
mod races;
mod replies;
mod secrets;
mod shells;
mod transcript;

use std::collections::BTreeMap;
use std::thread;

use nova_agent_core::secret::Secret;
use nova_agent_tests::agent::{Rig, Seen};
use nova_agent_tests::stores::StoreKind;

use crate::RUNTIME;

/// The request that every host begins with.
const VERSION: &str = r#"{"name": "version", "value": "agent"}"#;

/// A store, and where in it the agent is.
#[derive(Clone, Copy, Debug)]
struct Place {
    store: StoreKind,
    seat: Seat,
}

/// What the store takes the agent for, and over what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Seat {
    /// An unprivileged domain, over a file that behaves as the device of Linux.
    Device,
    /// Dom0, over the daemon's own socket.
    Dom0,
    /// An unprivileged domain, over a socket.
    Domain,
}

/// Every store there is, with the agent as an unprivileged domain. Permissions, quotas and restores exist only there.
const DOMAINS: [Place; 4] = [
    Place::domain(StoreKind::EmbeddedC),
    Place::domain(StoreKind::EmbeddedOxen),
    Place::domain(StoreKind::RealC),
    Place::domain(StoreKind::RealOxen),
];

/// And with the agent as dom0, where it shares the daemon's own socket with the host.
const EVERYWHERE: [Place; 8] = {
    let [a, b, c, d] = DOMAINS;
    [
        a,
        b,
        c,
        d,
        Place::dom0(a.store),
        Place::dom0(b.store),
        Place::dom0(c.store),
        Place::dom0(d.store),
    ]
};

/// The stores that run in the test's own process.
const EMBEDDED: [Place; 2] = [
    Place::domain(StoreKind::EmbeddedC),
    Place::domain(StoreKind::EmbeddedOxen),
];

/// The daemons.
const REAL: [Place; 2] = [
    Place::domain(StoreKind::RealC),
    Place::domain(StoreKind::RealOxen),
];

/// The daemons, with the kernel's device in front of the agent.
const DEVICES: [Place; 2] = [
    Place {
        store: StoreKind::RealC,
        seat: Seat::Device,
    },
    Place {
        store: StoreKind::RealOxen,
        seat: Seat::Device,
    },
];

impl Place {
    const fn domain(store: StoreKind) -> Self {
        Self {
            store,
            seat: Seat::Domain,
        }
    }

    const fn dom0(store: StoreKind) -> Self {
        Self {
            store,
            seat: Seat::Dom0,
        }
    }

    /// A rig without an agent.
    fn rig(self) -> Rig {
        if self.seat == Seat::Dom0 {
            return Rig::in_dom0(RUNTIME, self.store);
        }
        let mut rig = Rig::new(RUNTIME, self.store);
        if self.seat == Seat::Device {
            rig.insert_device();
        }
        rig
    }
}

/// Runs a test in every place, with a fresh rig whose agent is started.
fn everywhere(test: impl Fn(&mut Rig) + Sync) {
    on(&EVERYWHERE, test);
}

/// As [`everywhere`], in some places: in all of them at the same time, as tests mostly wait. The thread that fails has
/// the name of its place.
fn on(places: &[Place], test: impl Fn(&mut Rig) + Sync) {
    on_with(places, |rig| {
        rig.start_agent();
        test(rig);
    });
}

/// As [`on`], without an agent in the beginning.
fn on_with(places: &[Place], test: impl Fn(&mut Rig) + Sync) {
    on_then(places, test, |_| ());
}

/// As [`on_with`]; `judge` gets what was seen of the responses in the end.
fn on_then(
    places: &[Place],
    test: impl Fn(&mut Rig) + Sync,
    judge: impl Fn(BTreeMap<String, Seen>) + Sync,
) {
    let test = &test;
    let judge = &judge;
    thread::scope(|scope| {
        for place in places {
            let one = move || {
                let mut rig = place.rig();
                test(&mut rig);
                judge(rig.finish());
            };
            thread::Builder::new()
                .name(format!("{place:?}"))
                .spawn_scoped(scope, one)
                .unwrap();
        }
    });
}

/// Sends one of each, to a guest that has a network to reset.
fn every_command(rig: &mut Rig) {
    let host = rig.host();
    host.version().unwrap();
    host.features().unwrap();
    host.ready().unwrap();
    host.set_password(&secret("Tr0ub4dor&3")).unwrap();
    host.injectfile("/etc/a", b"one").unwrap();
    host.file_inject("/etc/b", &[b'x'; 1400]).unwrap();
    host.reset_network().unwrap();
    host.set_hostname("web-2").unwrap();
    assert_eq!(rig.sandbox().read("/etc/b"), [b'x'; 1400]);
    assert_eq!(rig.sandbox().read("/etc/hostname"), b"web-2\n");
}

fn secret(text: &str) -> Secret {
    Secret::from(String::from(text))
}

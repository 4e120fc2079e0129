//! What every store does, embedded and real: the same assertions on all of them. Where the two daemons differ, the
//! assertion names both.
#![deny(unsafe_code)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation fails the test"
)]

#[path = "store/errors.rs"]
mod errors;
#[path = "store/permissions.rs"]
mod permissions;
#[path = "store/quotas.rs"]
mod quotas;
#[path = "store/transactions.rs"]
mod transactions;
#[path = "store/tree.rs"]
mod tree;
#[path = "store/watches.rs"]
mod watches;

use nova_agent_core::wire::{ErrorName, Permission, WatchEvent};
use nova_agent_tests::client::{Client, Error};
use nova_agent_tests::stores::{RunningStore, StoreKind};
use nova_agent_tests::xenstored::Flavour;

/// The number of the guest in every world.
const DOMID: u32 = 7;

/// A store with one guest, and a client on either side.
struct World {
    flavour: Flavour,
    dom0: Client,
    guest: Client,
    /// Last: it stops when dropped.
    store: RunningStore,
}

impl World {
    fn start(kind: StoreKind) -> Self {
        let mut store = kind
            .start()
            .unwrap_or_else(|error| panic!("{kind:?} is missing: {error}"));
        let guest = store
            .guest_socket(DOMID)
            .unwrap_or_else(|error| panic!("{kind:?} has no guests: {error}"));
        let dom0 = Client::connect(store.dom0_socket()).unwrap();
        let guest = Client::connect(guest).unwrap();
        Self {
            flavour: kind.flavour(),
            dom0,
            guest,
            store,
        }
    }

    fn another_dom0(&self) -> Client {
        Client::connect(self.store.dom0_socket()).unwrap()
    }

    /// What the two daemons do differently.
    fn differs<T>(&self, c: T, oxen: T) -> T {
        match self.flavour {
            Flavour::C => c,
            Flavour::Oxen => oxen,
        }
    }
}

/// The path of the guest's node as dom0 sees it.
fn home(path: &str) -> String {
    format!("/local/domain/{DOMID}/{path}")
}

/// The name of the error, or "OK": for comparing many outcomes at once.
fn outcome<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "OK".into(),
        Err(Error::Store(name)) => name.to_string(),
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, expected: &str) {
    match result {
        Err(Error::Store(name)) => assert_eq!(name, ErrorName::from(expected)),
        other => panic!("{other:?} instead of {expected}"),
    }
}

fn perms(texts: &[&str]) -> Vec<Permission> {
    texts
        .iter()
        .map(|text| Permission::from_bytes(text.as_bytes()).unwrap())
        .collect()
}

/// Events as `path token`.
fn shown(events: Vec<WatchEvent>) -> Vec<String> {
    events
        .iter()
        .map(|event| format!("{} {}", event.path, event.token.as_bytes().escape_ascii()))
        .collect()
}

/// One test for each store of each function, which takes a `&mut World`.
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        mod embedded_c { $(crate::on_every_store!(@one $name EmbeddedC);)* }
        mod embedded_oxen { $(crate::on_every_store!(@one $name EmbeddedOxen);)* }
        mod real_c { $(crate::on_every_store!(@one $name RealC);)* }
        mod real_oxen { $(crate::on_every_store!(@one $name RealOxen);)* }
    };
    (@one $name:ident $kind:ident) => {
        #[test]
        fn $name() {
            super::$name(&mut crate::World::start(nova_agent_tests::stores::StoreKind::$kind));
        }
    };
}
use on_every_store;

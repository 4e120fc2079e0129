//! The host's side of a world.

use std::collections::BTreeMap;
use std::time::Duration;

use nova_agent_core::wire::{ErrorName, Message, Op, ReqId, StorePath, Token, TxId, payload};

use super::World;
use crate::host::Server;
use crate::xenstored::{ConnId, Peer, Store};

/// How often the host looks for a response, and how long.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection of dom0, which watches all responses.
#[derive(Debug)]
pub(super) struct Dom0 {
    connection: ConnId,
    /// The agent's domain.
    domid: u32,
    /// The contents that each response had, in order, with repetitions.
    writes: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Dom0 {
    pub(super) fn new(store: &mut Store, domid: u32) -> Self {
        let connection = store.connect(Peer::Dom0);
        let mut dom0 = Self {
            connection,
            domid,
            writes: BTreeMap::new(),
        };
        dom0.watch(store);
        dom0
    }

    /// Follows a domain to its new number.
    pub(super) fn set_domain(&mut self, store: &mut Store, domid: u32) {
        self.hear(store);
        self.domid = domid;
        self.watch(store);
    }

    fn watch(&mut self, store: &mut Store) {
        let watch = payload::watch(&self.path("data/guest"), &Token::try_from("w").unwrap());
        self.call(store, Op::Watch, watch).unwrap();
        self.hear(store);
    }

    pub(super) fn path(&self, node: &str) -> StorePath {
        StorePath::try_from(format!("/local/domain/{}/{node}", self.domid).as_str())
            .expect("a path")
    }

    /// Connects to a store that was started anew.
    pub(super) fn reconnect(&mut self, store: &mut Store) {
        self.connection = store.connect(Peer::Dom0);
        self.watch(store);
    }

    pub(super) const fn connection(&self) -> ConnId {
        self.connection
    }

    /// Looks at every response that changed. Called after every message of the agent, it misses none.
    pub(super) fn hear(&mut self, store: &mut Store) -> Vec<(String, Vec<u8>)> {
        let mut heard = Vec::new();
        let mut changed = Vec::new();
        while let Some(message) = store.poll_message(self.connection) {
            changed.push(
                payload::parse_watch(&message.payload)
                    .unwrap()
                    .path
                    .to_string(),
            );
        }
        for changed in changed {
            let Some(id) = changed.strip_prefix(&format!("{}/", self.path("data/guest"))) else {
                continue;
            };
            let read = payload::path(&StorePath::try_from(changed.as_str()).unwrap());
            if let Ok(content) = self.call(store, Op::Read, read) {
                self.writes
                    .entry(id.into())
                    .or_default()
                    .push(content.clone());
                heard.push((id.into(), content));
            }
        }
        heard
    }

    pub(super) fn call(
        &self,
        store: &mut Store,
        op: Op,
        payload: Vec<u8>,
    ) -> Result<Vec<u8>, ErrorName> {
        store.handle_message(
            self.connection,
            Message::new(op, ReqId(1), TxId::NONE, payload),
        );
        let mut events = Vec::new();
        let reply = loop {
            let message = store.poll_message(self.connection).expect("a reply");
            if message.op() != Some(Op::WatchEvent) {
                break message;
            }
            events.push(message);
        };
        assert!(
            events.is_empty(),
            "events are heard before the host asks for anything"
        );
        match reply.op() {
            Some(Op::Error) => Err(payload::parse_error(&reply.payload).unwrap_or(ErrorName::Eio)),
            _ => Ok(reply.payload),
        }
    }
}

impl World {
    /// Writes a request.
    pub fn post(&mut self, id: &str, content: impl AsRef<[u8]>) {
        self.write(&format!("data/host/{id}"), content.as_ref());
    }

    /// Writes a request and waits for its response, as Nova does.
    ///
    /// # Errors
    /// If there is none in a minute; the request is deleted then.
    pub fn ask(&mut self, id: &str, content: impl AsRef<[u8]>) -> Result<String, String> {
        self.post(id, content);
        for _ in 0..PATIENCE.as_millis() / POLL_INTERVAL.as_millis() {
            if let Some(response) = self.response(id) {
                return Ok(response);
            }
            self.run_for(POLL_INTERVAL);
        }
        self.delete(id);
        Err(format!("no response to {id}"))
    }

    /// Takes a request back.
    pub fn delete(&mut self, id: &str) {
        self.remove(&format!("data/host/{id}"));
    }

    /// The response to a request, if it is there.
    pub fn response(&mut self, id: &str) -> Option<String> {
        self.read(&format!("data/guest/{id}"))
    }

    /// Everything that was ever written as a response to a request.
    #[must_use]
    pub fn written(&self, id: &str) -> &[Vec<u8>] {
        self.dom0.writes.get(id).map_or(&[], Vec::as_slice)
    }

    /// The requests that are in the store.
    pub fn requests(&mut self) -> Vec<String> {
        self.list("data/host")
    }

    /// The responses that are in the store.
    pub fn responses(&mut self) -> Vec<String> {
        self.list("data/guest")
    }

    /// Writes what the toolstack knows of a server.
    pub fn provision(&mut self, server: &Server) {
        self.write("vm-data/hostname", server.hostname.as_bytes());
        for vif in &server.vifs {
            self.write(
                &format!("vm-data/networking/{}", vif.node),
                vif.network.as_bytes(),
            );
        }
    }

    /// The content of a node of the agent's domain, if there is one.
    pub fn read(&mut self, node: &str) -> Option<String> {
        let content = self
            .call(Op::Read, payload::path(&self.dom0.path(node)))
            .ok()?;
        Some(String::from_utf8(content).expect("what the two write is text"))
    }

    /// Removes a node of the agent's domain with all below it, if it is there.
    pub fn remove(&mut self, node: &str) {
        let _ = self.call(Op::Rm, payload::path(&self.dom0.path(node)));
    }

    /// Writes a node of the agent's domain.
    pub fn write(&mut self, node: &str, content: &[u8]) {
        self.call(Op::Write, payload::write(&self.dom0.path(node), content))
            .expect("dom0 may write everything");
    }

    fn list(&mut self, node: &str) -> Vec<String> {
        match self.call(Op::Directory, payload::path(&self.dom0.path(node))) {
            Ok(names) => payload::parse_directory(&names).expect("a list of names"),
            Err(ErrorName::Enoent) => Vec::new(),
            Err(error) => panic!("{node}: {error}"),
        }
    }

    fn call(&mut self, op: Op, payload: Vec<u8>) -> Result<Vec<u8>, ErrorName> {
        self.dom0.call(&mut self.store, op, payload)
    }
}

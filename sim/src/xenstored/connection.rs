//! One connection: what it watches, its transactions, and what it has still to read.

use std::collections::{BTreeMap, VecDeque};

use nova_agent_core::wire::{Decoder, Message, Op, PAYLOAD_MAX, ReqId, TxId, payload};

use super::flavour::Flavour;
use super::node_ops::{Caller, Change};
use super::store::Peer;
use super::transaction::Transaction;
use super::tree::is_at_or_below;

/// How many events a client may leave unread; later ones are lost to it.
const EVENTS_MAX: usize = 65_536;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) decoder: Decoder,
    out: VecDeque<Message>,
    /// How many of `out` are watch events.
    queued_events: usize,
    pub(super) watches: Vec<Watch>,
    pub(super) transactions: BTreeMap<u32, OpenTransaction>,
    pub(super) last_tx: u32,
}

#[derive(Debug)]
pub(super) enum OpenTransaction {
    Live(Box<Transaction>),
    /// From before a restore.
    Stale,
}

#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// The absolute path, or the name of a special watch.
    pub(super) path: String,
    /// The path as the client gave it.
    pub(super) shown: String,
    pub(super) token: Vec<u8>,
}

impl Watch {
    pub(super) fn is(&self, path: &str, token: &[u8]) -> bool {
        self.path == path && self.token == token
    }

    /// A path at or below the watched one, as the client expects it.
    fn show(&self, path: &str) -> String {
        format!(
            "{}{}",
            self.shown,
            path.get(self.path.len()..).unwrap_or_default()
        )
    }
}

impl Connection {
    pub(super) fn new(peer: Peer) -> Self {
        Self {
            peer,
            decoder: Decoder::new(PAYLOAD_MAX),
            out: VecDeque::new(),
            queued_events: 0,
            watches: Vec::new(),
            transactions: BTreeMap::new(),
            last_tx: 0,
        }
    }

    /// Queues a reply.
    pub(super) fn reply(&mut self, reply: Message) {
        self.out.push_back(reply);
    }

    /// The next message for the client.
    pub(super) fn poll_message(&mut self) -> Option<Message> {
        let message = self.out.pop_front()?;
        if message.kind == Op::WatchEvent.raw() {
            self.queued_events -= 1;
        }
        Some(message)
    }

    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    pub(super) fn caller(&self, flavour: Flavour) -> Caller {
        match self.peer {
            Peer::Dom0 => Caller {
                domid: 0,
                limited_replies: flavour == Flavour::C,
            },
            Peer::Guest(domid) => Caller {
                domid,
                limited_replies: true,
            },
        }
    }

    /// Queues the events of a change.
    pub(super) fn hear(&mut self, change: &Change, flavour: Flavour) {
        let caller = self.caller(flavour);
        if !caller.may_read(&change.perms) {
            return;
        }
        let mut events = Vec::new();
        for watch in &self.watches {
            if watch.path == "/" {
                events.push((change.path.clone(), watch.token.clone()));
            } else if is_at_or_below(&change.path, &watch.path) {
                events.push((watch.show(&change.path), watch.token.clone()));
            } else if let Some(removed) = &change.removed
                && is_at_or_below(&watch.path, &change.path)
                && (flavour == Flavour::Oxen || removed.contains(&watch.path))
            {
                events.push((watch.shown.clone(), watch.token.clone()));
            }
        }
        for (path, token) in events {
            self.event(&path, &token);
        }
    }

    /// Queues an event, unless too many are queued.
    pub(super) fn event(&mut self, path: &str, token: &[u8]) {
        if self.queued_events < EVENTS_MAX {
            self.queued_events += 1;
            let payload = payload::fields([path.as_bytes(), token]);
            self.out
                .push_back(Message::new(Op::WatchEvent, ReqId(0), TxId::NONE, payload));
        }
    }
}

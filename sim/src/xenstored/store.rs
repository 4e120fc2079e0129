//! Connections, watches, and the dispatch of messages.

use std::collections::{BTreeMap, BTreeSet};

use nova_agent_core::wire::{ErrorName, Message, Op, SOCKET_REPLY_MAX, TxId, payload};

use super::connection::{Connection, OpenTransaction, Watch};
use super::domain;
use super::flavour::{Flavour, TRANSACTIONS_MAX};
use super::node_ops::{Caller, Change, carry_out};
use super::request::{absolute, fields, leading_number, parse_node_op, watch_path};
use super::transaction::Transaction;
use super::tree::Tree;

/// A Xenstore daemon without its sockets, rings and clock.
///
/// After every call, poll each connection until there is nothing left.
#[derive(Debug)]
pub struct Store {
    flavour: Flavour,
    tree: Tree,
    domains: BTreeSet<u32>,
    connections: BTreeMap<ConnId, Connection>,
    last_conn: u64,
}

/// Identifies a connection. Numbers are not used again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnId(u64);

/// Who is on the other end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer {
    /// A client of the daemon's socket: dom0, which may do everything.
    Dom0,
    /// The domain of that number, over its ring.
    Guest(u32),
}

impl Store {
    /// A store without domains, and with the nodes that a daemon starts with.
    #[must_use]
    pub fn new(flavour: Flavour) -> Self {
        let mut tree = Tree::new();
        let nodes: &[&str] = match flavour {
            Flavour::C => &["/tool", "/tool/xenstored"],
            Flavour::Oxen => &[
                "/@introduceDomain",
                "/@releaseDomain",
                "/tool",
                "/tool/xenstored",
            ],
        };
        for path in nodes {
            tree.create(path, 0);
        }
        Self {
            flavour,
            tree,
            domains: BTreeSet::new(),
            connections: BTreeMap::new(),
            last_conn: 0,
        }
    }

    /// The daemon that it behaves like.
    #[must_use]
    pub const fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Creates a domain with the tree that xapi builds for it. A domain of that number, if there is one, is gone.
    pub fn add_domain(&mut self, domid: u32) {
        if self.domains.contains(&domid) {
            self.remove_domain(domid);
        }
        let changes = domain::build(&mut self.tree, self.flavour, domid, domid);
        self.fire(&changes);
        self.domains.insert(domid);
        self.fire_special("@introduceDomain");
    }

    /// Destroys a domain: its tree and its connections go.
    pub fn remove_domain(&mut self, domid: u32) {
        if !self.domains.remove(&domid) {
            return;
        }
        self.connections
            .retain(|_, connection| connection.peer != Peer::Guest(domid));
        let changes = domain::destroy(&mut self.tree, self.flavour, domid);
        self.fire(&changes);
        self.fire_special("@releaseDomain");
    }

    /// Saves a domain and restores it under a new number, as seen through a guest's kernel.
    ///
    /// The new tree has an empty `data`, a copy of `vm-data` and a new `unique-domain-id`. Connections stay: their watches
    /// fire once each, and their open transactions end in `EAGAIN`.
    pub fn restore_domain(&mut self, old: u32, new: u32) {
        let first = self
            .tree
            .get(&format!("{}/name", domain::home(old)))
            .and_then(|node| {
                std::str::from_utf8(&node.value)
                    .ok()?
                    .strip_prefix("guest-")?
                    .parse()
                    .ok()
            });
        let mut changes = domain::build(&mut self.tree, self.flavour, new, first.unwrap_or(old));
        let vm_data = |domid| format!("{}/vm-data", domain::home(domid));
        changes.extend(domain::copy(
            &mut self.tree,
            self.flavour,
            &vm_data(old),
            &vm_data(new),
        ));
        changes.extend(domain::destroy(&mut self.tree, self.flavour, old));

        let mut moved = Vec::new();
        for (id, connection) in &mut self.connections {
            if connection.peer == Peer::Guest(old) {
                connection.peer = Peer::Guest(new);
                moved.push((*id, std::mem::take(&mut connection.watches)));
                connection
                    .transactions
                    .values_mut()
                    .for_each(|transaction| *transaction = OpenTransaction::Stale);
            }
        }
        self.domains.remove(&old);
        self.domains.insert(new);
        self.fire(&changes);
        self.fire_special("@releaseDomain");
        self.fire_special("@introduceDomain");
        for (id, watches) in moved {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            for watch in watches {
                let watch = Watch {
                    path: absolute(&watch.shown, new),
                    ..watch
                };
                connection.event(&watch.shown, &watch.token);
                connection.watches.push(watch);
            }
        }
    }

    /// Opens a connection. A guest's domain should exist.
    pub fn connect(&mut self, peer: Peer) -> ConnId {
        self.last_conn += 1;
        let id = ConnId(self.last_conn);
        self.connections.insert(id, Connection::new(peer));
        id
    }

    /// Closes a connection, with its watches and transactions. What it had not yet read is lost.
    pub fn disconnect(&mut self, conn: ConnId) {
        self.connections.remove(&conn);
    }

    /// Takes bytes from a connection, split in any way.
    ///
    /// A message that is too long closes a connection of dom0, and silences a guest's for good.
    pub fn handle_bytes(&mut self, conn: ConnId, mut bytes: &[u8]) {
        while let Some(connection) = self.connections.get_mut(&conn) {
            match connection.decoder.decode(&mut bytes) {
                Ok(Some(message)) => self.handle_message(conn, message),
                Ok(None) => return,
                Err(_) => {
                    if connection.peer == Peer::Dom0 {
                        self.disconnect(conn);
                    }
                    return;
                }
            }
        }
    }

    /// Takes one message from a connection, and queues what it leads to, for whomever.
    pub fn handle_message(&mut self, conn: ConnId, message: Message) {
        let Message {
            kind,
            req_id,
            tx_id,
            payload,
        } = message;
        let mut changes = Vec::new();
        let Some(connection) = self.connections.get(&conn) else {
            return;
        };
        let caller = connection.caller(self.flavour);
        let result = match Op::from_raw(kind) {
            None => Err(ErrorName::Enosys),
            Some(op) => self.answer(conn, caller, op, tx_id, &payload, &mut changes),
        };
        let watched = result.is_ok() && kind == Op::Watch.raw();
        let tx_id = match (self.flavour, Op::from_raw(kind)) {
            (Flavour::Oxen, Some(Op::Watch | Op::Unwatch)) => TxId::NONE,
            _ => tx_id,
        };
        let reply = match result {
            Ok(payload) => Message {
                kind,
                req_id,
                tx_id,
                payload,
            },
            Err(name) => Message::new(Op::Error, req_id, tx_id, payload::error(&name)),
        };
        match self.flavour {
            Flavour::C => {
                self.fire(&changes);
                self.queue(conn, reply);
            }
            Flavour::Oxen => {
                self.queue(conn, reply);
                self.fire(&changes);
            }
        }
        if watched {
            self.fire_new_watch(conn);
        }
    }

    /// The next message for a connection.
    pub fn poll_message(&mut self, conn: ConnId) -> Option<Message> {
        self.connections.get_mut(&conn)?.poll_message()
    }

    /// The next message for a connection, as bytes.
    pub fn poll_bytes(&mut self, conn: ConnId) -> Option<Vec<u8>> {
        let message = self.poll_message(conn)?;
        let bytes = message.encode_within(SOCKET_REPLY_MAX).ok();
        if bytes.is_none() {
            // No client would accept it.
            self.disconnect(conn);
        }
        bytes
    }

    /// The connections that have something to poll.
    pub fn pending(&self) -> impl Iterator<Item = ConnId> {
        self.connections
            .iter()
            .filter(|(_, connection)| connection.has_output())
            .map(|(id, _)| *id)
    }

    /// Whether a connection is still open.
    #[must_use]
    pub fn is_connected(&self, conn: ConnId) -> bool {
        self.connections.contains_key(&conn)
    }

    fn answer(
        &mut self,
        conn: ConnId,
        caller: Caller,
        op: Op,
        tx_id: TxId,
        payload: &[u8],
        changes: &mut Vec<Change>,
    ) -> Result<Vec<u8>, ErrorName> {
        match op {
            Op::Directory
            | Op::Read
            | Op::GetPerms
            | Op::Write
            | Op::Mkdir
            | Op::Rm
            | Op::SetPerms => self.on_node(conn, caller, op, tx_id, payload, changes),
            Op::DirectoryPart => match self.flavour {
                Flavour::C => self.on_node(conn, caller, op, tx_id, payload, changes),
                Flavour::Oxen => Err(ErrorName::Enosys),
            },
            Op::Watch => self.watch(conn, caller, payload),
            Op::Unwatch => self.unwatch(conn, caller, payload),
            Op::TransactionStart => self.start_transaction(conn, caller, tx_id),
            Op::TransactionEnd => self.end_transaction(conn, caller, tx_id, payload, changes),
            Op::GetDomainPath => {
                let path = domain::home(leading_number(
                    fields(payload)?.first().copied().unwrap_or_default(),
                ));
                Ok(payload::fields([path.as_bytes()]))
            }
            Op::ResetWatches => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.watches.clear();
                    connection.transactions.clear();
                }
                Ok(payload::ok())
            }
            // What oxenstored is asked for here by a guest, it does not do, but it says so to nobody.
            Op::Control if self.flavour == Flavour::Oxen => Ok(payload::ok()),
            Op::Control
            | Op::Introduce
            | Op::IsDomainIntroduced
            | Op::Release
            | Op::Resume
            | Op::SetTarget => {
                if caller.is_guest() {
                    return Err(ErrorName::Eacces);
                }
                self.manage(op, payload)
            }
            Op::WatchEvent
            | Op::Error
            | Op::GetFeature
            | Op::SetFeature
            | Op::GetQuota
            | Op::SetQuota => Err(ErrorName::Enosys),
        }
    }

    fn on_node(
        &mut self,
        conn: ConnId,
        caller: Caller,
        op: Op,
        tx_id: TxId,
        payload: &[u8],
        changes: &mut Vec<Change>,
    ) -> Result<Vec<u8>, ErrorName> {
        if tx_id == TxId::NONE {
            let op = parse_node_op(op, payload, caller, self.flavour)?;
            return carry_out(&op, caller, self.flavour, &mut self.tree, changes);
        }
        let transactions = self
            .connections
            .get_mut(&conn)
            .map(|connection| &mut connection.transactions);
        let Some(transaction) =
            transactions.and_then(|transactions| transactions.get_mut(&tx_id.0))
        else {
            return Err(self.flavour.unknown_transaction());
        };
        let op = parse_node_op(op, payload, caller, self.flavour)?;
        match transaction {
            OpenTransaction::Live(transaction) => transaction.carry_out(op, caller, self.flavour),
            OpenTransaction::Stale => Err(ErrorName::Eagain),
        }
    }

    fn watch(
        &mut self,
        conn: ConnId,
        caller: Caller,
        payload: &[u8],
    ) -> Result<Vec<u8>, ErrorName> {
        let [path, token] = fields(payload)?[..] else {
            return Err(ErrorName::Einval);
        };
        let (path, shown) = watch_path(path, caller, self.flavour)?;
        let watches = self
            .connections
            .values()
            .filter(|other| other.peer == Peer::Guest(caller.domid));
        let count: usize = watches.map(|other| other.watches.len()).sum();
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Err(ErrorName::Eio);
        };
        if connection
            .watches
            .iter()
            .any(|watch| watch.is(&path, token))
        {
            return Err(ErrorName::Eexist);
        }
        if caller.is_guest() && count >= self.flavour.watches_max() {
            return Err(self.flavour.watch_quota_error());
        }
        connection.watches.push(Watch {
            path,
            shown,
            token: token.into(),
        });
        Ok(payload::ok())
    }

    fn unwatch(
        &mut self,
        conn: ConnId,
        caller: Caller,
        payload: &[u8],
    ) -> Result<Vec<u8>, ErrorName> {
        let [path, token] = fields(payload)?[..] else {
            return Err(ErrorName::Einval);
        };
        // A path that nobody could watch is not watched.
        let (path, _) = watch_path(path, caller, self.flavour).map_err(|_| ErrorName::Enoent)?;
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Err(ErrorName::Eio);
        };
        let position = connection
            .watches
            .iter()
            .position(|watch| watch.is(&path, token));
        connection
            .watches
            .remove(position.ok_or(ErrorName::Enoent)?);
        Ok(payload::ok())
    }

    fn start_transaction(
        &mut self,
        conn: ConnId,
        caller: Caller,
        tx_id: TxId,
    ) -> Result<Vec<u8>, ErrorName> {
        let of_caller = self
            .connections
            .values()
            .filter(|other| other.peer == Peer::Guest(caller.domid));
        let open: usize = of_caller.map(|other| other.transactions.len()).sum();
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Err(ErrorName::Eio);
        };
        if tx_id != TxId::NONE {
            let known = connection.transactions.contains_key(&tx_id.0);
            return Err(if known {
                ErrorName::Ebusy
            } else {
                self.flavour.unknown_transaction()
            });
        }
        if caller.is_guest() && open >= TRANSACTIONS_MAX {
            return Err(self.flavour.quota_error());
        }
        // 0 means no transaction; after four thousand million of them, an open one would be in the way.
        loop {
            connection.last_tx = connection.last_tx.wrapping_add(1).max(1);
            if !connection.transactions.contains_key(&connection.last_tx) {
                break;
            }
        }
        let transaction = OpenTransaction::Live(Box::new(Transaction::new(&self.tree)));
        connection
            .transactions
            .insert(connection.last_tx, transaction);
        Ok(payload::number(connection.last_tx))
    }

    fn end_transaction(
        &mut self,
        conn: ConnId,
        caller: Caller,
        tx_id: TxId,
        payload: &[u8],
        changes: &mut Vec<Change>,
    ) -> Result<Vec<u8>, ErrorName> {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return Err(ErrorName::Eio);
        };
        if tx_id == TxId::NONE {
            return Err(ErrorName::Enoent);
        }
        if !connection.transactions.contains_key(&tx_id.0) {
            return Err(self.flavour.unknown_transaction());
        }
        let commit = match (payload, self.flavour) {
            (b"T\0", _) | (b"T", Flavour::Oxen) => true,
            (b"F\0", _) | (b"F", Flavour::Oxen) => false,
            _ => return Err(ErrorName::Einval),
        };
        match connection.transactions.remove(&tx_id.0) {
            Some(OpenTransaction::Live(transaction)) if commit => {
                transaction.commit(caller, self.flavour, &mut self.tree, changes)?;
            }
            Some(OpenTransaction::Stale) if commit => return Err(ErrorName::Eagain),
            Some(_) | None => {}
        }
        Ok(payload::ok())
    }

    /// What only dom0 may ask for.
    fn manage(&mut self, op: Op, payload: &[u8]) -> Result<Vec<u8>, ErrorName> {
        let domid = leading_number(fields(payload)?.first().copied().unwrap_or_default());
        if op == Op::Introduce && self.domains.insert(domid) {
            self.fire_special("@introduceDomain");
        } else if op == Op::Release && !self.domains.remove(&domid) {
            return Err(ErrorName::Enoent);
        } else if op == Op::Release {
            self.connections
                .retain(|_, connection| connection.peer != Peer::Guest(domid));
            self.fire_special("@releaseDomain");
        } else if op == Op::IsDomainIntroduced {
            let known = domid == 0 || self.domains.contains(&domid);
            return Ok(payload::fields([if known {
                b"T".as_slice()
            } else {
                b"F"
            }]));
        }
        Ok(payload::ok())
    }

    /// Queues the events of changes, for everybody who watches and may see them.
    fn fire(&mut self, changes: &[Change]) {
        for change in changes {
            for connection in self.connections.values_mut() {
                connection.hear(change, self.flavour);
            }
        }
    }

    /// Domains come and go for dom0 only; a guest's watch fires when it is registered, and never again.
    fn fire_special(&mut self, path: &str) {
        for connection in self
            .connections
            .values_mut()
            .filter(|connection| connection.peer == Peer::Dom0)
        {
            let tokens: Vec<_> = connection
                .watches
                .iter()
                .filter(|watch| watch.path == path)
                .cloned()
                .collect();
            for watch in tokens {
                connection.event(path, &watch.token);
            }
        }
    }

    fn fire_new_watch(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(&conn)
            && let Some(watch) = connection.watches.last().cloned()
        {
            connection.event(&watch.shown, &watch.token);
        }
    }

    fn queue(&mut self, conn: ConnId, reply: Message) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.reply(reply);
        }
    }
}

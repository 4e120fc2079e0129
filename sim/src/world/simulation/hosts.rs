//! What hosts do: they ask, change their minds, and lose patience.

use std::collections::BTreeMap;
use std::time::Duration;

use nova_agent_core::Instant;
use nova_agent_core::wire::{ErrorName, Message, Op, ReqId, TxId, payload};

use super::requests::{
    BAD_HOSTNAMES, Command, Exchange, MALFORMED, MARK, Meaning, NOT_A_REQUEST, Request, content,
    file_inject, inject_file,
};
use super::{Checked, Choices, Simulation, Site};
use crate::host::{HostKey, Server, encrypt};
use crate::xenstored::Peer;

/// The most requests of a world.
const REQUESTS_MAX: usize = 10;

/// When the next request follows.
const GAPS: [Duration; 8] = [
    Duration::ZERO,
    Duration::ZERO,
    Duration::from_millis(300),
    Duration::from_millis(900),
    Duration::from_secs(4),
    Duration::from_secs(20),
    Duration::from_secs(70),
    Duration::from_secs(310),
];

/// Where files are injected.
const PATHS: [&str; 3] = ["/root/.ssh/authorized_keys", "/etc/motd", "/srv/a/b/c"];

/// Names that a server is given.
pub(super) const NAMES: [&str; 3] = ["web-1", "db-2.example.org", "x"];

/// Everything that hosts have done and are about to do.
#[derive(Debug)]
pub(super) struct Hosts {
    planned: usize,
    requests: Vec<Request>,
    next: Option<Instant>,
    /// Nodes that get their content later.
    unfilled: Vec<(Instant, String)>,
    exchanges: Vec<Exchange>,
}

impl Hosts {
    pub(super) fn new(choices: &mut Choices, now: Instant) -> Self {
        let planned = choices.choose(Site::Requests, REQUESTS_MAX + 1);
        let next = (planned > 0).then_some(now);
        Self {
            planned,
            requests: Vec::new(),
            next,
            unfilled: Vec::new(),
            exchanges: Vec::new(),
        }
    }

    /// How many requests there will be.
    pub(super) const fn planned(&self) -> usize {
        self.planned
    }

    /// When a host acts next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
            .into_iter()
            .chain(self.unfilled.iter().map(|(at, _)| *at))
            .min()
    }

    /// No further request comes.
    pub(super) const fn stop(&mut self) {
        self.next = None;
    }

    /// The store has lost all requests.
    pub(super) fn lose_all(&mut self) {
        self.requests
            .iter_mut()
            .for_each(|request| request.is_gone = true);
        self.unfilled.clear();
    }

    pub(super) fn all(&self) -> &[Request] {
        &self.requests
    }

    pub(super) fn find(&self, id: &str) -> Option<&Request> {
        self.requests.iter().find(|request| request.id == id)
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut Request> {
        self.requests.iter_mut().find(|request| request.id == id)
    }

    pub(super) fn exchange(&self, nth: usize) -> Option<&Exchange> {
        self.exchanges.get(nth)
    }

    /// An exchange is answered.
    pub(super) fn add_exchange(&mut self, secret: String, life: usize, asked: Instant) {
        let nth = self.exchanges.len();
        self.exchanges.push(Exchange {
            secret,
            life,
            nth,
            asked,
            is_used: false,
        });
    }

    /// How many key exchanges began after this one, at most.
    pub(super) fn exchanges_after(&self, exchange: &Exchange) -> usize {
        let asked = self
            .requests
            .iter()
            .filter(|request| request.command == Command::KeyInit)
            .count();
        asked.saturating_sub(exchange.nth + 1)
    }

    pub(super) fn counted(&self) -> BTreeMap<String, u64> {
        let mut counted = BTreeMap::new();
        for request in &self.requests {
            let name = request.command.name();
            if let Some(response) = request.responses.first() {
                let code = String::from_utf8_lossy(response)
                    .split('"')
                    .nth(3)
                    .map(String::from)
                    .unwrap_or_default();
                *counted
                    .entry(format!("{name} answered {code}"))
                    .or_default() += 1;
            }
            *counted.entry(name).or_default() += 1;
        }
        counted
    }
}

impl Simulation {
    /// What is there before the agent starts.
    pub(super) fn furnish(&mut self) {
        self.world.provision(&server(0));
        // Over a connection of its own: the host's hears of it then.
        let other = self.world.store.connect(Peer::Dom0);
        for nth in 0..[0, 1, 60][self.choices.pick(Site::Stale)] {
            let path = self
                .world
                .dom0
                .path(&format!("data/guest/5ta1e000-0000-4000-8000-{nth:012}"));
            let old = payload::write(&path, br#"{"returncode": "0", "message": "old"}"#);
            self.world
                .store
                .handle_message(other, Message::new(Op::Write, ReqId(1), TxId::NONE, old));
        }
        self.world.store.disconnect(other);
        self.world.dom0.hear(&mut self.world.store);
    }

    /// A host writes a request, or the content of one.
    pub(super) fn host_acts(&mut self) -> Checked {
        let now = self.world.now;
        if let Some(nth) = self.hosts.unfilled.iter().position(|(at, _)| *at <= now) {
            let (_, id) = self.hosts.unfilled.remove(nth);
            if self
                .hosts
                .find(&id)
                .is_some_and(|request| !request.is_gone && request.responses.is_empty())
            {
                self.tell(|| format!("HOST fills {id}"));
                self.put(
                    &format!("data/host/{id}"),
                    content("version", "agent").as_bytes(),
                )?;
            }
            return Ok(());
        }
        self.post()?;
        let is_last = self.hosts.requests.len() >= self.hosts.planned;
        let gap = GAPS[self.choose(Site::Gap, GAPS.len())];
        self.hosts.next = (!is_last).then(|| now.after(gap));
        Ok(())
    }

    fn post(&mut self) -> Checked {
        let is_open = self
            .hosts
            .exchanges
            .iter()
            .any(|exchange| !exchange.is_used);
        let command = if is_open && self.choose(Site::Detail, 2) == 1 {
            Command::Password
        } else {
            Command::ALL[self.choose(Site::Command, Command::ALL.len())]
        };
        let nth = self.hosts.requests.len();
        let mut id = format!("r{nth}-4e70-4d52-9d6e-2f0f5b1c7a11");
        let mut meaning = Meaning::Fixed;
        let written = match command {
            Command::Version => content("version", "agent").into_bytes(),
            Command::Features => content("features", "").into_bytes(),
            Command::Ready => content("ready", "").into_bytes(),
            Command::KeyInit => {
                let private = 93_055_292_000_370_020_129_851 + self.choose(Site::Detail, 4) as u128;
                meaning = Meaning::Keys { private };
                content("keyinit", &HostKey::from_number(private).public()).into_bytes()
            }
            Command::BadKey => {
                let bad = [
                    "0",
                    "1",
                    "no number",
                    "-5",
                    "162259276829213363391578010288126",
                ];
                content("keyinit", bad[self.choose(Site::Detail, bad.len())]).into_bytes()
            }
            Command::Password => match self
                .hosts
                .exchanges
                .iter_mut()
                .rev()
                .find(|exchange| !exchange.is_used)
            {
                Some(exchange) => {
                    exchange.is_used = true;
                    let password = format!("{MARK}-{nth}");
                    let encrypted = encrypt(&password, &exchange.secret, nth.is_multiple_of(2));
                    meaning = Meaning::Password {
                        password,
                        exchange: exchange.nth,
                    };
                    content("password", &encrypted).into_bytes()
                }
                // There is no exchange, so that nobody can read it.
                None => {
                    meaning = Meaning::Password {
                        password: format!("{MARK}-{nth}"),
                        exchange: usize::MAX,
                    };
                    content("password", &encrypt("x", "12345", false)).into_bytes()
                }
            },
            Command::WrongPassword => {
                content("password", &encrypt(&"wrong ".repeat(7), "12345", true)).into_bytes()
            }
            Command::InjectFile | Command::FileInject => {
                let path = PATHS[self.choose(Site::Detail, PATHS.len())];
                let file = format!("{MARK} of request {nth}\n").repeat(1 + nth);
                self.injected
                    .entry(path.into())
                    .or_default()
                    .insert(file.clone().into_bytes());
                meaning = Meaning::File {
                    path: path.into(),
                    content: file.clone(),
                };
                let inject = if command == Command::InjectFile {
                    inject_file
                } else {
                    file_inject
                };
                inject(path, &file).into_bytes()
            }
            Command::BadInject => match self.choose(Site::Detail, 4) {
                0 => file_inject("etc/motd", MARK),
                1 => file_inject("/etc/../etc/motd", MARK),
                2 => file_inject("/", MARK),
                _ => content("injectfile", &format!("%{MARK}")),
            }
            .into_bytes(),
            Command::ResetNetwork => {
                if self.choose(Site::Detail, 3) == 1 {
                    self.provision();
                }
                content("resetnetwork", "").into_bytes()
            }
            Command::SetHostname => {
                let name = NAMES[self.choose(Site::Detail, NAMES.len())];
                meaning = Meaning::Hostname { name: name.into() };
                content("sethostname", name).into_bytes()
            }
            Command::BadHostname => content(
                "sethostname",
                BAD_HOSTNAMES[self.choose(Site::Detail, BAD_HOSTNAMES.len())],
            )
            .into_bytes(),
            Command::KmsActivate => content(
                "kmsactivate",
                &format!("{{\"activation_key\": \"{MARK}\"}}"),
            )
            .into_bytes(),
            Command::AgentUpdate => {
                content("agentupdate", "http://203.0.113.9/a.tgz,d41d8cd9").into_bytes()
            }
            Command::Unknown => content("no \"such\\ com\u{e9}mand\n", MARK).into_bytes(),
            Command::Malformed => MALFORMED[self.choose(Site::Detail, MALFORMED.len())].to_vec(),
            Command::NotARequest => {
                NOT_A_REQUEST[self.choose(Site::Detail, NOT_A_REQUEST.len())].to_vec()
            }
            Command::Empty => Vec::new(),
            Command::FilledLater => {
                let at = self.world.now.after(self.time());
                self.hosts.unfilled.push((at, id.clone()));
                Vec::new()
            }
            Command::Oversize => content(&"x".repeat(1800), MARK).into_bytes(),
            Command::Nested => {
                self.put(&format!("data/host/{id}/below/it"), b"more")?;
                content("version", "agent").into_bytes()
            }
            Command::LongName => {
                id = format!("{id}{}", "y".repeat(128));
                meaning = Meaning::Never;
                content("version", "agent").into_bytes()
            }
        };
        self.tell(|| {
            format!(
                "HOST writes request {}: {}",
                id.chars().take(40).collect::<String>(),
                command.name()
            )
        });
        let node = format!("data/host/{id}");
        let posted = self.world.now;
        self.hosts.requests.push(Request {
            id,
            command,
            meaning,
            is_gone: false,
            responses: Vec::new(),
            posted,
        });
        self.put(&node, &written)
    }

    /// The host takes a request back that is still there.
    pub(super) fn withdraw(&mut self) -> Checked {
        let there: Vec<usize> = (0..self.hosts.requests.len())
            .filter(|nth| !self.hosts.requests[*nth].is_gone)
            .collect();
        let Some(nth) = there
            .get(self.choose(Site::Detail, there.len().max(1)))
            .copied()
        else {
            return Ok(());
        };
        self.hosts.requests[nth].is_gone = true;
        let id = self.hosts.requests[nth].id.clone();
        self.tell(|| format!("HOST removes request {id}"));
        let path = self.world.dom0.path(&format!("data/host/{id}"));
        self.hear()?;
        let _ = self
            .world
            .dom0
            .call(&mut self.world.store, Op::Rm, payload::path(&path));
        self.collect();
        Ok(())
    }

    /// The toolstack writes another configuration, or none.
    pub(super) fn provision(&mut self) {
        let nth = self.choose(Site::Detail, 3);
        self.world.dom0.hear(&mut self.world.store);
        self.world.remove("vm-data/networking");
        if nth < 2 {
            self.world.provision(&server(nth));
        }
        self.collect();
    }

    fn put(&mut self, node: &str, value: &[u8]) -> Checked {
        self.hear()?;
        let path = self.world.dom0.path(node);
        let written = self.world.dom0.call(
            &mut self.world.store,
            Op::Write,
            payload::write(&path, value),
        );
        if written == Err(ErrorName::E2Big) {
            // As much as oxenstored takes.
            let _ = self.world.dom0.call(
                &mut self.world.store,
                Op::Write,
                payload::write(&path, &value[..2000]),
            );
        }
        self.collect();
        Ok(())
    }
}

/// What the toolstack knows of the server, at two times.
pub(super) fn server(nth: usize) -> Server {
    let mut server = Server::two_networks();
    if nth == 1 {
        server.hostname = "web-2".into();
        for vif in &mut server.vifs {
            vif.network = vif
                .network
                .replace("203.0.113.72", "203.0.113.99")
                .replace("10.176.195.183", "10.176.195.9");
        }
    }
    server
}

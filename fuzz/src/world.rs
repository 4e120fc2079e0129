//! What is around a machine, and what is known of it from outside.

mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::OnceLock;
use std::time::Duration;

use nova_agent_core::agent::{Misuse, REQUESTS_MAX, Report, STOP_TIMEOUT};
use nova_agent_core::effect::{
    Change, Done, Effect, EffectId, Failure, GuestPath, OUTPUT_MAX, Outcome, Snapshot,
};
use nova_agent_core::secret::Secret;
use nova_agent_core::store::REPLY_TIMEOUT;
use nova_agent_core::wire::{
    DEVICE_PAYLOAD_MAX, Decoder, ErrorName, Message, Op, ReqId, SOCKET_REPLY_MAX, StorePath, Token,
    TxId, payload,
};
use nova_agent_core::{Config, Instant, Machine, Output};

use self::store::Store;
use crate::host::check_response;
use crate::scene::support::{Guest, systems};

/// More outputs than any input may cause: a few for each request that is followed.
const DRAIN_MAX: usize = 8 * REQUESTS_MAX;

/// How often the store is served before it is taken for granted that the agent never comes to rest.
const SETTLE_MAX: usize = 20_000;

/// The token of the agent's watch.
const TOKEN: &str = "nova-agent";

pub(crate) struct World {
    machine: Machine,
    now: Instant,
    link: Link,
    store: Store,
    guest: Guest,
    /// The request on the wire.
    request: Option<Message>,
    /// When the last one was sent.
    asked: Instant,
    /// Whether the answer to it is on its way.
    is_served: bool,
    watched: bool,
    arriving: VecDeque<u8>,
    received: Decoder,
    /// Effects that were given out and have no outcome yet, and when they were.
    effects: Vec<(EffectId, Effect, Instant)>,
    last_effect: Option<EffectId>,
    finished: Vec<EffectId>,
    posted: u64,
    withdrawn: BTreeSet<String>,
    responded: BTreeSet<String>,
    started: BTreeMap<String, u32>,
    /// With what the next change of the guest fails.
    failure: Option<String>,
    secrets: Vec<Vec<u8>>,
    changes: Vec<Applied>,
    /// The store has only said what is true, or nothing.
    is_honest: bool,
    terminated: Option<Instant>,
    pub(crate) has_left: bool,
}

/// The connection as the driver sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Link {
    Closed,
    /// The machine asked for it.
    Wanted,
    Open,
}

/// A change of the guest that carries what the host sent in secret.
#[derive(Eq, PartialEq)]
pub(crate) enum Applied {
    Password(Vec<u8>),
    File(GuestPath, Vec<u8>),
}

impl World {
    pub(crate) fn new(config: Config, guest: Guest, nodes: &[(&str, &[u8])]) -> Self {
        let mut world = Self {
            machine: Machine::new(config),
            now: Instant::from_origin(Duration::from_secs(5)),
            link: Link::Closed,
            store: Store::new(nodes),
            guest,
            request: None,
            asked: Instant::default(),
            is_served: false,
            watched: false,
            arriving: VecDeque::new(),
            received: Decoder::new(SOCKET_REPLY_MAX),
            effects: Vec::new(),
            last_effect: None,
            finished: Vec::new(),
            posted: 0,
            withdrawn: BTreeSet::new(),
            responded: BTreeSet::new(),
            started: BTreeMap::new(),
            failure: None,
            secrets: Vec::new(),
            changes: Vec::new(),
            is_honest: true,
            terminated: None,
            has_left: false,
        };
        world.drain();
        assert_eq!(
            world.link,
            Link::Wanted,
            "the first output asks for a connection"
        );
        world
    }

    /// From now on none of these may be seen but in the changes themselves.
    pub(crate) fn hide(&mut self, secret: &[u8]) {
        let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
        self.secrets
            .extend([secret.to_vec(), numbers.join(", ").into_bytes()]);
    }

    /// Whether these bytes hold what is hidden, in any form.
    pub(crate) fn hides_part_of(&self, bytes: &[u8]) -> bool {
        self.secrets
            .iter()
            .any(|secret| bytes.windows(secret.len()).any(|window| window == secret))
    }

    /// The changes so far that carry something.
    pub(crate) fn take_changes(&mut self) -> Vec<Applied> {
        std::mem::take(&mut self.changes)
    }

    // The host.

    pub(crate) fn post(&mut self, content: &[u8]) -> String {
        let id = format!("r{}", self.posted);
        let path = format!("data/host/{id}");
        self.posted += 1;
        self.store.insert(&path, content);
        self.changed(&path);
        id
    }

    pub(crate) fn response(&self, id: &str) -> Option<&[u8]> {
        self.store.value(&format!("data/guest/{id}"))
    }

    pub(crate) fn withdraw(&mut self, nth: u8) {
        let waiting = self.store.children("data/host");
        if let Some(id) = waiting.iter().nth(usize::from(nth) % waiting.len().max(1)) {
            let path = format!("data/host/{id}");
            self.store.remove(&path);
            self.withdrawn.insert(id.clone());
            self.changed(&path);
        }
    }

    // The store.

    /// Answers the request on the wire as it should be.
    pub(crate) fn serve(&mut self) {
        let Some(request) = self.request.as_ref().filter(|_| !self.is_served) else {
            return;
        };
        if request.op() == Some(Op::Watch) {
            self.watched = true;
        }
        let (op, payload, changed) = self.store.serve(request);
        if request.op() == Some(Op::Write) {
            let (path, _) = payload::parse_write(&request.payload).unwrap();
            self.responded.insert(path.name().into());
        }
        self.answer(op, payload);
        if let Some(path) = changed {
            self.changed(path.as_str());
        }
    }

    pub(crate) fn refuse(&mut self, name: &str) {
        if self.request.is_some() && !self.is_served {
            self.answer(Op::Error, payload::error(&ErrorName::from(name)));
        }
    }

    /// Answers with what is not true, or not even an answer.
    pub(crate) fn lie(&mut self, kind: u8, payload: &[u8]) {
        let Some(request) = self.request.as_ref().filter(|_| !self.is_served) else {
            return;
        };
        self.is_honest = false;
        let op = match kind % 4 {
            0 => Op::from_raw(u32::from(kind / 4) % 27).unwrap_or(Op::Error),
            _ => request.op().expect("a known type"),
        };
        let payload = if kind % 4 == 1 {
            payload::ok()
        } else {
            payload.to_vec()
        };
        self.answer(op, payload);
    }

    /// A watch event for anything.
    pub(crate) fn fire(&mut self, below: &[u8]) {
        let path = [b"data/host/".as_slice(), below].concat();
        let path = StorePath::from_bytes(&path).or_else(|_| StorePath::from_bytes(below));
        if let (Ok(path), Link::Open) = (path, self.link) {
            self.push_event(path.as_str());
        }
    }

    /// Bytes that may be anything, between or within messages.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if self.link == Link::Open {
            self.is_honest = false;
            self.arriving.extend(bytes);
        }
    }

    fn answer(&mut self, op: Op, payload: Vec<u8>) {
        let req_id = self
            .request
            .as_ref()
            .map_or(ReqId(0), |request| request.req_id);
        self.is_served = true;
        let message = Message::new(op, req_id, TxId::NONE, payload);
        self.arriving
            .extend(message.encode_within(SOCKET_REPLY_MAX).unwrap());
    }

    fn changed(&mut self, path: &str) {
        if self.watched
            && self.link == Link::Open
            && (path == "data/host" || path.starts_with("data/host/"))
        {
            self.push_event(path);
        }
    }

    fn push_event(&mut self, path: &str) {
        let payload = payload::fields([path.as_bytes(), TOKEN.as_bytes()]);
        // As Linux does it: the numbers are whatever was there before.
        let message = Message::new(Op::WatchEvent, ReqId(0xdead), TxId(7), payload);
        self.arriving.extend(message.encode().unwrap_or_default());
    }

    // The driver.

    /// Hands over the next bytes.
    pub(crate) fn deliver(&mut self, len: usize) {
        self.deliver_at(self.now, len);
    }

    fn deliver_at(&mut self, at: Instant, len: usize) {
        if self.link != Link::Open || self.arriving.is_empty() {
            return;
        }
        let len = len.clamp(1, self.arriving.len());
        let bytes: Vec<u8> = self.arriving.drain(..len).collect();
        let mut rest = bytes.as_slice();
        while let Ok(Some(message)) = self.received.decode(&mut rest) {
            if message.op() != Some(Op::WatchEvent) {
                self.request = None;
                self.is_served = false;
            }
        }
        assert_eq!(self.machine.handle_bytes(at, &bytes), Ok(()));
        self.drain();
    }

    pub(crate) fn connect(&mut self) {
        self.disconnected();
        self.link = Link::Open;
        self.machine.handle_connected(self.now);
        self.drain();
    }

    pub(crate) fn close(&mut self) {
        let was_there = self.link != Link::Closed;
        self.disconnected();
        self.machine.handle_closed(self.now, "the end");
        self.drain();
        // Nobody is told that the store is away who knows it.
        assert!(was_there || self.link == Link::Closed);
    }

    fn disconnected(&mut self) {
        self.link = Link::Closed;
        self.watched = false;
        self.request = None;
        self.is_served = false;
        self.arriving.clear();
        self.received = Decoder::new(SOCKET_REPLY_MAX);
    }

    pub(crate) fn complete(&mut self, nth: u8) {
        if let Some((id, effect)) = self.take_effect(nth) {
            let outcome = match effect {
                Effect::Entropy { len } => Outcome::Entropy(Secret::new(vec![nth; len])),
                Effect::Probe(probes) => {
                    let mut snapshot = Snapshot::default();
                    probes
                        .into_iter()
                        .for_each(|probe| snapshot.merge(self.guest.answer(probe)));
                    Outcome::Probed(snapshot)
                }
                Effect::Change(_) if self.failure.is_some() => {
                    Outcome::Failed(Failure::Io(self.failure.take().unwrap_or_default()))
                }
                Effect::Change(step) => Outcome::Done(Done { undo: undo(step) }),
            };
            self.hand_over(id, outcome);
        }
    }

    /// An effect ends badly, or with an outcome that belongs to another one.
    pub(crate) fn fail(&mut self, nth: u8, kind: u8, text: &[u8]) {
        if let Some((id, _)) = self.take_effect(nth) {
            let text = String::from_utf8_lossy(text);
            let output = text.repeat(OUTPUT_MAX / text.len().max(1));
            let failure = match kind % 11 {
                0 => Failure::Exit {
                    code: i32::from(kind),
                    output,
                },
                1 => Failure::Signal { signal: 9, output },
                2 => Failure::TimedOut { output },
                3 => Failure::NotFound,
                4 => Failure::Refused(output),
                5 => Failure::Unsupported(output),
                6 => return self.hand_over(id, Outcome::Done(Done::default())),
                7 => {
                    return self.hand_over(
                        id,
                        Outcome::Entropy(Secret::new(vec![0; usize::from(kind)])),
                    );
                }
                8 => return self.hand_over(id, Outcome::Probed(Snapshot::default())),
                _ => Failure::Io(output),
            };
            self.hand_over(id, Outcome::Failed(failure));
        }
    }

    pub(crate) fn fail_next(&mut self, text: String) {
        self.failure = Some(text);
    }

    pub(crate) const fn is_about_to_fail(&self) -> bool {
        self.failure.is_some()
    }

    fn take_effect(&mut self, nth: u8) -> Option<(EffectId, Effect)> {
        let nth = usize::from(nth).checked_rem(self.effects.len())?;
        let (id, effect, _) = self.effects.swap_remove(nth);
        self.finished.push(id);
        Some((id, effect))
    }

    fn hand_over(&mut self, id: EffectId, outcome: Outcome) {
        assert_eq!(self.machine.handle_completed(self.now, id, outcome), Ok(()));
        self.drain();
    }

    /// The outcome of an effect that has had one.
    pub(crate) fn complete_again(&mut self, nth: u8) {
        if let Some(nth) = usize::from(nth).checked_rem(self.finished.len()) {
            let id = self.finished[nth];
            let outcome = Outcome::Failed(Failure::Io("twice".into()));
            assert_eq!(self.machine.handle_completed(self.now, id, outcome), Ok(()));
            self.nothing_follows();
        }
    }

    /// Does what the contract forbids, and sees it refused.
    pub(crate) fn break_contract(&mut self, kind: u8) {
        let unknown = foreign_effects()
            .iter()
            .copied()
            .find(|id| self.last_effect.is_none_or(|last| *id > last));
        match (kind % 2, unknown) {
            (0, Some(id)) => {
                let result =
                    self.machine
                        .handle_completed(self.now, id, Outcome::Done(Done::default()));
                assert_eq!(result, Err(Misuse::UnknownEffect(id)));
            }
            _ if self.link != Link::Open => {
                let result = self.machine.handle_bytes(self.now, b"bytes");
                assert_eq!(result, Err(Misuse::NotConnected));
            }
            _ => {}
        }
        self.nothing_follows();
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.machine.handle_timeout(self.now);
        if let Some(at) = self.drain() {
            assert!(at > self.now, "a timer that does not go away");
        }
    }

    pub(crate) fn go_back(&mut self, time: Duration) {
        let before = Instant::from_origin(self.now.since_origin().saturating_sub(time));
        self.machine.handle_timeout(before);
        self.drain();
        // Time that is over is no time: nothing that begins now may end the earlier for it.
        self.deliver_at(before, usize::MAX);
    }

    pub(crate) fn terminate(&mut self) {
        self.terminated.get_or_insert(self.now);
        self.machine.handle_terminate(self.now);
        self.drain();
    }

    /// What the driver does after every input. Gives the time that it waits for.
    fn drain(&mut self) -> Option<Instant> {
        for _ in 0..DRAIN_MAX {
            match self.machine.poll_output() {
                Output::Wait(at) => {
                    assert!(!self.has_left, "it waits although it has left");
                    assert_eq!(
                        self.machine.poll_output(),
                        Output::Wait(at),
                        "another wait without an input"
                    );
                    return at;
                }
                Output::Exit => {
                    assert!(
                        self.terminated.is_some(),
                        "it leaves although nobody told it to"
                    );
                    self.has_left = true;
                    self.nothing_follows_the_exit();
                    return None;
                }
                output => self.handle(output),
            }
        }
        panic!("an input with too many outputs");
    }

    fn handle(&mut self, output: Output) {
        match output {
            Output::Connect => {
                assert_eq!(self.link, Link::Closed, "a second connection");
                self.link = Link::Wanted;
            }
            Output::Disconnect => {
                assert_eq!(self.link, Link::Open, "there is no connection");
                self.disconnected();
            }
            Output::Perform(id, effect) => self.begin(id, effect),
            Output::Report(report) => self.read(&report),
            Output::Transmit(bytes) => self.transmit(&bytes),
            Output::Exit | Output::Wait(_) => unreachable!("the caller handles them"),
        }
    }

    fn begin(&mut self, id: EffectId, effect: Effect) {
        assert!(
            self.last_effect.is_none_or(|last| last < id),
            "the id {id} was used before"
        );
        self.last_effect = Some(id);
        self.check_secrets(format!("{effect:?}").as_bytes());
        match &effect {
            Effect::Change(Change::SetPassword { password, .. }) => {
                self.changes
                    .push(Applied::Password(password.expose().to_vec()));
            }
            Effect::Change(Change::WriteFile(file)) => {
                self.changes.push(Applied::File(
                    file.path.clone(),
                    file.content.expose().to_vec(),
                ));
            }
            _ => {}
        }
        let is_change = |effect: &Effect| matches!(effect, Effect::Change(_));
        let under_way = |(_, effect, since): &(EffectId, Effect, Instant)| {
            is_change(effect) && since.after(effect.timeout()) > self.now
        };
        let other = self.effects.iter().find(|other| under_way(other));
        assert!(
            !is_change(&effect) || other.is_none(),
            "{other:?} is under way when {effect:?} begins"
        );
        self.effects.push((id, effect, self.now));
        assert!(self.effects.len() <= DRAIN_MAX, "too many effects");
    }

    fn read(&mut self, report: &Report) {
        let text = report.to_string();
        self.check_secrets(format!("{text} {report:?} {:?}", self.machine).as_bytes());
        assert!(
            !text.contains(['\n', '\r', '\0']),
            "a report of several lines: {text:?}"
        );
        match report {
            Report::Started { request, .. } => {
                let times = self.started.entry(request.to_string()).or_default();
                *times += 1;
                assert!(
                    !self.is_honest || *times == 1,
                    "{request} was started twice"
                );
            }
            // One that time has not brought about would end connections that work.
            Report::Disconnected { reason, .. } if reason.starts_with("no reply") => {
                assert!(
                    self.asked.after(REPLY_TIMEOUT) <= self.now,
                    "{reason}, but the time is not over"
                );
            }
            _ => {}
        }
    }

    fn transmit(&mut self, bytes: &[u8]) {
        assert_eq!(self.link, Link::Open, "a message without a connection");
        assert!(self.request.is_none(), "a second message on the wire");
        let mut rest = bytes;
        let message = Decoder::new(DEVICE_PAYLOAD_MAX)
            .decode(&mut rest)
            .unwrap()
            .expect("a whole message");
        assert!(rest.is_empty() && message.tx_id == TxId::NONE);
        self.check(&message);
        self.request = Some(message);
        self.asked = self.now;
    }

    /// The agent asks for what is its business only.
    fn check(&self, message: &Message) {
        let one_of = |path: &StorePath, above: &[&str]| {
            let below = |above: &&str| path.below(&StorePath::try_from(*above).unwrap()).is_some();
            assert!(above.iter().any(below), "{path} is none of its business");
        };
        match message.op() {
            Some(Op::Directory) => {
                let path = payload::parse_path(&message.payload).unwrap();
                one_of(
                    &path,
                    &[
                        "data/host",
                        "data/guest",
                        "vm-data/networking",
                        "device/vif",
                    ],
                );
            }
            Some(Op::DirectoryPart) => {}
            Some(Op::Read) => {
                let path = payload::parse_path(&message.payload).unwrap();
                one_of(
                    &path,
                    &[
                        "data/host",
                        "data/guest",
                        "vm-data/hostname",
                        "vm-data/networking",
                        "device/vif",
                    ],
                );
            }
            Some(Op::Watch) => {
                let event = payload::parse_watch(&message.payload).unwrap();
                assert_eq!(event.path.as_str(), "data/host");
                assert_eq!(event.token, Token::try_from(TOKEN.as_bytes()).unwrap());
            }
            Some(Op::Write) => {
                let (path, value) = payload::parse_write(&message.payload).unwrap();
                one_of(&path, &["data/guest"]);
                check_response(value);
                self.check_secrets(value);
            }
            Some(Op::Rm) => {
                let path = payload::parse_path(&message.payload).unwrap();
                one_of(&path, &["data/host", "data/guest"]);
                let is_request = path.as_str().starts_with("data/host/");
                let is_answered =
                    self.responded.contains(path.name()) || self.withdrawn.contains(path.name());
                assert!(
                    !self.is_honest || !is_request || is_answered,
                    "{path} has no response"
                );
            }
            _ => panic!("an agent has no use for {message:?}"),
        }
    }

    fn check_secrets(&self, printed: &[u8]) {
        assert!(
            !self.hides_part_of(printed),
            "a secret is seen in {}",
            String::from_utf8_lossy(printed)
        );
    }

    fn nothing_follows(&mut self) {
        assert!(
            self.has_left || matches!(self.machine.poll_output(), Output::Wait(_)),
            "an input that should do nothing"
        );
    }

    fn nothing_follows_the_exit(&mut self) {
        let machine = &mut self.machine;
        machine.handle_connected(self.now);
        assert_eq!(machine.handle_bytes(self.now, b"bytes"), Ok(()));
        machine.handle_closed(self.now, "the end");
        machine.handle_terminate(self.now);
        machine.handle_timeout(self.now.after(STOP_TIMEOUT));
        for id in self
            .finished
            .iter()
            .chain(self.effects.iter().map(|(id, ..)| id))
        {
            assert_eq!(
                machine.handle_completed(self.now, *id, Outcome::Done(Done::default())),
                Ok(())
            );
        }
        assert_eq!(machine.poll_output(), Output::Exit);
        assert_eq!(machine.poll_output(), Output::Exit);
    }

    // The end.

    /// If the store never lied, everything calms down and nothing is left; in any case the agent leaves when it is told to.
    pub(crate) fn finish(mut self) {
        if self.is_honest && self.terminated.is_none() {
            // The last one finds requests that the store refused to read or to remove.
            for _ in 0..12 {
                self.settle();
                self.pass(Duration::from_secs(65));
            }
            self.settle();
            let left = self.store.children("data/host");
            assert!(left.is_empty(), "{left:?} are left");
            let left = self.store.children("data/guest");
            assert!(left.is_empty(), "the responses {left:?} are left");
            for id in (0..self.posted).map(|number| format!("r{number}")) {
                assert!(
                    self.responded.contains(&id) || self.withdrawn.contains(&id),
                    "{id} was lost"
                );
            }
            self.terminate();
            assert!(self.has_left, "nothing is in hand, but it does not leave");
        }
        self.terminate();
        if !self.has_left {
            self.pass(STOP_TIMEOUT);
        }
        assert!(self.has_left, "it has not left in time");
    }

    /// Until nothing is on its way.
    pub(crate) fn settle(&mut self) {
        for _ in 0..SETTLE_MAX {
            if self.link == Link::Wanted {
                self.connect();
            } else if self.request.is_some() && !self.is_served {
                self.serve();
            } else if !self.arriving.is_empty() && self.link == Link::Open {
                self.deliver(usize::MAX);
            } else if !self.effects.is_empty() {
                self.complete(0);
            } else {
                return;
            }
        }
        panic!("it never comes to rest");
    }
}

/// What the system would name as the way back.
fn undo(step: Change) -> Option<Change> {
    match step {
        Change::WriteFile(write) => Some(Change::RestoreFile {
            path: write.path,
            backup: GuestPath::constant("/backup"),
        }),
        Change::RemoveFile { path } => Some(Change::RestoreFile {
            path,
            backup: GuestPath::constant("/backup"),
        }),
        Change::MakeDirectory { path, .. } => Some(Change::RemoveDirectory { path }),
        Change::Symlink { path, .. } => Some(Change::RemoveFile { path }),
        Change::SetHostname(_) => Some(Change::SetHostname("old".into())),
        Change::RemoveDirectory { .. }
        | Change::RestoreFile { .. }
        | Change::Run(_)
        | Change::SetPassword { .. } => None,
    }
}

/// Ids that another machine gave out, the first few of any: nothing but a machine can make one.
fn foreign_effects() -> &'static [EffectId] {
    static IDS: OnceLock<Vec<EffectId>> = OnceLock::new();
    IDS.get_or_init(|| {
        let mut world = World::new(Config::default(), systems::debian(), &[]);
        for _ in 0..40 {
            world.post(br#"{"name": "keyinit", "value": "118651915984640172265778366366426"}"#);
        }
        world.settle();
        world.finished
    })
}

//! Requests in a storm: a store that refuses, a connection that ends, a host that loses patience, in any order.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "small numbers of a test"
)]

use super::*;

/// Of these many storms.
const SEEDS: u64 = 40;

#[test]
fn no_request_is_lost_or_done_twice_in_any_storm() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..1500 {
            world.step();
        }
        world.check();
    }
}

#[test]
fn the_agent_leaves_in_time_in_any_storm() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..seed * 20 {
            world.step();
        }
        world.agent.handle_terminate(world.now);
        world.collect();
        let until = world.now.after(STOP_TIMEOUT);
        while !world.exited {
            assert!(world.now < until.after(Duration::from_secs(40)));
            world.step();
        }
        assert_eq!(world.agent.deadline(), None);
    }
}

/// A generator of the xorshift family: a storm can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// An agent, a store and a host. What passes between them may be late, lost or refused.
struct World {
    seed: u64,
    random: Random,
    agent: Agent,
    now: Instant,
    connected: bool,
    watched: bool,
    calm: bool,
    events_first: bool,
    nodes: BTreeMap<String, Vec<u8>>,
    operations: VecDeque<(OperationId, Operation)>,
    arriving: VecDeque<Event>,
    effects: Vec<(EffectId, Effect)>,
    next: u64,
    posted: BTreeSet<String>,
    withdrawn: BTreeSet<String>,
    responded: BTreeSet<String>,
    started: BTreeMap<String, u32>,
    exited: bool,
    ready: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            agent: Agent::new(Config::default()),
            now: Instant::from_origin(Duration::from_secs(5)),
            connected: false,
            watched: false,
            calm: false,
            events_first: seed.is_multiple_of(2),
            nodes: BTreeMap::new(),
            operations: VecDeque::new(),
            arriving: VecDeque::new(),
            effects: Vec::new(),
            next: 0,
            posted: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            responded: BTreeSet::new(),
            started: BTreeMap::new(),
            exited: false,
            ready: 0,
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.agent.poll() {
            assert!(!self.exited, "something follows the exit: {output:?}");
            match output {
                Output::Exit => self.exited = true,
                Output::Perform(id, effect) => self.effects.push((id, effect)),
                Output::Report(Report::Started { request, .. }) => {
                    *self.started.entry(request.to_string()).or_default() += 1;
                }
                Output::Report(Report::Ready) => self.ready += 1,
                Output::Report(_) => {}
                Output::Store(id, operation) => {
                    assert!(self.connected, "an operation without a connection");
                    self.operations.push_back((id, operation));
                }
            }
        }
    }

    fn fire(&mut self, path: &str) {
        if self.watched && (path == "data/host" || path.starts_with("data/host/")) {
            // Events are hints: one may get lost, another may come twice.
            for _ in 0..if self.calm {
                1
            } else {
                [1, 1, 1, 1, 1, 1, 2, 0][self.random.below(8) as usize]
            } {
                self.arriving.push_back(Event::Fired {
                    path: StorePath::try_from(path).unwrap(),
                    token: token(),
                });
            }
        }
    }

    fn list(&self, directory: &str) -> Result<Reply, ErrorName> {
        let prefix = format!("{directory}/");
        let names: Vec<String> = self
            .nodes
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(ToString::to_string)
            .collect();
        if names.is_empty() {
            Err(ErrorName::Enoent)
        } else {
            Ok(Reply::Names(names))
        }
    }

    /// The store carries out the oldest operation.
    fn serve(&mut self) {
        let Some((id, operation)) = self.operations.pop_front() else {
            return;
        };
        // Daemons do not keep a guest from what it wrote itself.
        let clean_up = match &operation {
            Operation::List(path) | Operation::Remove(path) => {
                path.as_str().starts_with("data/guest")
            }
            Operation::Read(_) | Operation::Watch { .. } | Operation::Write { .. } => false,
        };
        if !self.calm && !clean_up && self.random.one_in(12) {
            let all = [
                ErrorName::Enospc,
                ErrorName::Eacces,
                ErrorName::E2Big,
                ErrorName::Eio,
                ErrorName::Equota,
            ];
            let error = all[self.random.below(5) as usize].clone();
            self.arriving.push_back(Event::Answered(id, Err(error)));
            return;
        }
        let mut fired = Vec::new();
        let result = match operation {
            Operation::List(path) => self.list(path.as_str()),
            Operation::Read(path) => self
                .nodes
                .get(path.as_str())
                .cloned()
                .map(Reply::Value)
                .ok_or(ErrorName::Enoent),
            Operation::Remove(path) => {
                let prefix = format!("{path}/");
                let before = self.nodes.len();
                self.nodes
                    .retain(|node, _| node != path.as_str() && !node.starts_with(&prefix));
                if self.nodes.len() != before {
                    fired.push(path.as_str().to_string());
                }
                Ok(Reply::Done)
            }
            Operation::Watch { path, .. } => {
                self.watched = true;
                fired.push(path.as_str().to_string());
                Ok(Reply::Done)
            }
            Operation::Write { path, value } => {
                self.responded.insert(path.name().to_string());
                assert!(serde_json::from_slice::<serde_json::Value>(&value).is_ok());
                self.nodes.insert(path.as_str().to_string(), value);
                Ok(Reply::Done)
            }
        };
        if self.events_first {
            fired.iter().for_each(|path| self.fire(path));
        }
        self.arriving.push_back(Event::Answered(id, result));
        if !self.events_first {
            fired.iter().for_each(|path| self.fire(path));
        }
    }

    fn post(&mut self) {
        let id = format!("r{}", self.next);
        self.next += 1;
        let content = match self.random.below(8) {
            0 => r#"{"name": "version", "value": "agent"}"#,
            1 => r#"{"name": "nonsense", "value": "agent"}"#,
            2 => "[",
            3 => "",
            4 => r#"{"name": "keyinit", "value": "118651915984640172265778366366426"}"#,
            _ => INJECT,
        };
        let path = format!("data/host/{id}");
        self.nodes.insert(path.clone(), content.into());
        self.posted.insert(id);
        self.fire(&path);
    }

    fn withdraw(&mut self) {
        let waiting: Vec<String> = self
            .nodes
            .keys()
            .filter(|path| path.starts_with("data/host/"))
            .cloned()
            .collect();
        if waiting.is_empty() {
            return;
        }
        let path = &waiting[self.random.below(waiting.len() as u64) as usize];
        self.nodes.remove(path);
        self.withdrawn
            .insert(path.strip_prefix("data/host/").unwrap().to_string());
        self.fire(path);
    }

    fn disconnect(&mut self) {
        self.operations.clear();
        self.arriving.clear();
        self.connected = false;
        self.watched = false;
        self.agent.handle_disconnected(self.now);
        self.collect();
    }

    fn connect(&mut self) {
        self.connected = true;
        self.agent.handle_connected(self.now);
        self.collect();
    }

    fn complete(&mut self) {
        if self.effects.is_empty() {
            return;
        }
        let nth = self.random.below(self.effects.len() as u64) as usize;
        let (id, effect) = self.effects.remove(nth);
        let outcome = match effect {
            _ if !self.calm && self.random.one_in(8) => {
                Outcome::Failed(Failure::Io("no \"disk\"\n".repeat(90)))
            }
            Effect::Entropy { len } => Outcome::Entropy(Secret::new(alloc::vec![7; len])),
            Effect::Probe(_) => Outcome::Probed(Default::default()),
            Effect::Change(_) => Outcome::Done(Done::default()),
        };
        self.agent.handle_completed(self.now, id, outcome).unwrap();
        self.collect();
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.agent.handle_timeout(self.now);
        self.collect();
        if let Some(at) = self.agent.deadline() {
            assert!(at > self.now, "a timer that does not go away");
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..8 => self.post(),
            8..10 => self.withdraw(),
            10..45 => self.serve(),
            45..85 => {
                if let Some(event) = self.arriving.pop_front() {
                    self.agent.handle_event(self.now, event).unwrap();
                    self.collect();
                }
            }
            85..92 => self.complete(),
            92..96 => {
                let time = self.random.below(3000);
                self.pass(Duration::from_millis(time));
            }
            96 => self.pass(Duration::from_secs(40)),
            97 if self.connected => self.disconnect(),
            _ if !self.connected => self.connect(),
            _ => {}
        }
    }

    fn settle(&mut self) {
        for _ in 0..20_000 {
            self.serve();
            if let Some(event) = self.arriving.pop_front() {
                self.agent.handle_event(self.now, event).unwrap();
                self.collect();
            } else if !self.effects.is_empty() {
                self.complete();
            } else if self.operations.is_empty() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn check(&mut self) {
        self.calm = true;
        if !self.connected {
            self.connect();
        }
        for _ in 0..20 {
            self.settle();
            self.pass(Duration::from_secs(65));
        }
        self.settle();
        let agent = &self.agent;
        let left: Vec<_> = agent.states().collect();
        assert!(agent.requests.is_empty(), "{left:?}");
        assert!(agent.requests.turn.is_idle(), "{:?}", agent.requests.turn);
        assert!(agent.session.is_idle());
        assert!(self.nodes.is_empty(), "{:?}", self.nodes.keys());
        assert_eq!(self.ready, 1);
        for id in &self.posted {
            assert!(
                self.responded.contains(id) || self.withdrawn.contains(id),
                "{id} was lost"
            );
            assert!(
                self.started.get(id).is_none_or(|times| *times == 1),
                "{id} was done twice"
            );
        }
        self.agent.handle_terminate(self.now);
        self.collect();
        assert!(self.exited);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!("seed {}", self.seed);
        }
    }
}

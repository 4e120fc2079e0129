//! A runtime on a daemon, and what is done to it: a round is a fresh guest, one command, and one blow.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use nova_agent_core::wire::ErrorName;
use nova_agent_tests::agent::{Answer, Calls, Instead, Order, Rig, Runtime, Saboteur};
use nova_agent_tests::client;
use nova_agent_tests::stores::StoreKind;
use rustix::io::Errno;

use super::command::{Command, guest, provision};
use super::random::Random;
use super::state::State;
use super::tally::{Failure, Tally};

/// How long an answer may take before it is taken for lost.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at whether a request is there.
const POLL_INTERVAL: Duration = Duration::from_micros(300);

/// What befalls the agent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blow {
    /// It is killed after this part of the time that the command takes, in thousandths.
    Moment(u64),
    /// It is killed before the nth change that can be seen.
    Call(usize),
    /// The same, with a number that is taken below the count of all.
    SomeCall(u64),
}

impl Blow {
    pub(crate) fn moment(random: &mut Random) -> Self {
        Self::Moment(random.below(1000))
    }

    pub(crate) fn call(random: &mut Random) -> Self {
        Self::SomeCall(random.next())
    }
}

/// A blow, once it is known how long the command takes and how many calls it has.
#[derive(Clone, Copy)]
enum Aimed {
    After(Duration),
    Before(usize),
}

impl Aimed {
    fn at(blow: Blow, took: Duration, calls: usize) -> Self {
        match blow {
            Blow::Moment(thousandths) => {
                Self::After(took * u32::try_from(thousandths).unwrap() / 1000)
            }
            Blow::Call(nth) => Self::Before(nth),
            Blow::SomeCall(number) => Self::Before(choose(number, calls)),
        }
    }
}

/// What else happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Story {
    /// Nothing.
    Plain,
    /// The request waits when the agent starts, and the blow comes any time from its start.
    AtStart,
    /// The next agent is killed as well, before a call that this number chooses.
    Twice(u64),
    /// The host takes the request back while there is no agent.
    Withdrawn,
    /// The host asks for the same once more while there is no agent.
    AskedAgain,
}

impl Story {
    pub(crate) fn random(random: &mut Random) -> Self {
        match random.below(8) {
            0 => Self::AtStart,
            1 => Self::Twice(random.next()),
            2 => Self::Withdrawn,
            3 => Self::AskedAgain,
            _ => Self::Plain,
        }
    }
}

/// An undisturbed run.
struct Reference {
    after: State,
    /// How long it took, and how many changes could be seen.
    took: Duration,
    calls: usize,
    /// The same from the start of an agent that finds the request.
    start_took: Duration,
    start_calls: usize,
}

/// A runtime on a daemon.
pub(crate) struct Bench {
    rig: Rig,
    before: State,
    references: BTreeMap<Command, Reference>,
    tallies: BTreeMap<Command, Tally>,
    /// What was asked for, with the round, and whether there is to be an answer.
    asked: BTreeMap<String, Asked>,
}

struct Asked {
    command: Command,
    round: String,
    /// Whether there is to be an answer.
    is_answered: bool,
}

impl Bench {
    pub(crate) fn new(runtime: Runtime, daemon: StoreKind) -> Self {
        let mut rig = Rig::new(runtime, daemon);
        rig.set_log_level("info");
        provision(rig.host());
        rig.replace_sandbox(guest());
        let before = State::of_guest(rig.sandbox().root());
        let short = runtime.package().rsplit('-').next().unwrap_or_default();
        let daemon = if daemon == StoreKind::RealC {
            "C"
        } else {
            "OCaml"
        };
        let tallies = Command::ALL
            .map(|command| (command, Tally::new(short, daemon, command)))
            .into();
        let mut bench = Self {
            rig,
            before,
            references: BTreeMap::new(),
            tallies,
            asked: BTreeMap::new(),
        };
        for command in Command::ALL {
            let reference = bench.reference(command);
            bench.references.insert(command, reference);
        }
        bench
    }

    /// A round with one death. Returns whether the agent died while the request was there.
    pub(crate) fn kill(&mut self, command: Command, blow: Blow, story: Story) -> bool {
        let round = format!("{command:?} {blow:?} {story:?}");
        let Reference {
            took,
            calls,
            start_took,
            start_calls,
            ..
        } = &self.references[&command];
        let (took, calls) = if story == Story::AtStart {
            (*start_took, *start_calls)
        } else {
            (*took, *calls)
        };
        let start_calls = *start_calls;
        let aimed = Aimed::at(blow, took, calls);
        self.rig.replace_sandbox(guest());

        let mut ids = Vec::new();
        if story == Story::AtStart {
            let request = command.late_request(self.rig.host());
            ids.push(self.post(command, &round, &request));
        }
        let mut saboteur = self.launch(aimed, story == Story::AtStart);
        if story != Story::AtStart {
            self.rig.agent().wait_until_ready();
            let request = command.request(self.rig.host());
            if let (Some(saboteur), Aimed::Before(nth)) = (&mut saboteur, aimed) {
                saboteur.order(Order::kill(nth), &self.next_id());
            }
            ids.push(self.post(command, &round, &request));
        }
        let round = self.strike(aimed, &ids[0], saboteur.as_ref(), &round);
        let is_hit = self.exists(&request_path(&ids[0]));
        self.judge_corpse(command, &round);

        match story {
            Story::Plain | Story::AtStart => {}
            Story::Twice(number) => {
                let answered = self.state_if_answered(&ids);
                let aimed = Aimed::Before(choose(number, start_calls));
                let saboteur = self.launch(aimed, true);
                let round = self.strike(aimed, &ids[0], saboteur.as_ref(), &round);
                self.judge_corpse(command, &round);
                self.judge_repetition(command, &round, answered);
            }
            Story::Withdrawn if is_hit => {
                if !self.exists(&response_path(&ids[0])) {
                    self.asked
                        .get_mut(&ids[0])
                        .expect("it was asked for")
                        .is_answered = false;
                }
                self.remove(&request_path(&ids[0]));
            }
            Story::Withdrawn => {}
            Story::AskedAgain => {
                let request = command.late_request(self.rig.host());
                ids.push(self.post(command, &round, &request));
            }
        }
        self.live_on(command, &round, &mut ids);

        let tally = self.tally(command);
        tally.rounds += 1;
        tally.hits += usize::from(is_hit);
        is_hit
    }

    /// A round in which one system call on a file fails. Returns whether there was such a call.
    pub(crate) fn refuse(&mut self, command: Command, nth: usize, errno: Errno) -> bool {
        self.rig.replace_sandbox(guest());
        let calls = command.calls_to_refuse();
        let mut saboteur = self
            .rig
            .launch_sabotaged(calls == Calls::FILES, Order::count(Calls::NONE));
        self.rig.agent().wait_until_ready();
        let request = command.request(self.rig.host());
        saboteur.order(
            Order {
                calls,
                nth,
                instead: Instead::Fail(errno),
            },
            &self.next_id(),
        );
        let round = format!("{command:?} {nth} {errno:?}");
        let mut ids = vec![self.post(command, &round, &request)];
        self.wait_for_end(&ids[0]);
        if !self.rig.agent().is_running() {
            let (hit, log) = (saboteur.hit(), self.rig.agent().log());
            self.fail(
                command,
                Failure::Lost,
                format!("{round} at {hit:?}: the agent is dead; its log:\n{log}"),
            );
            return false;
        }
        let hit = saboteur.end_order().hit;
        let round = format!("{command:?} with {errno:?} instead of {hit:?}");
        if let Some(answer) = self.answer(command, &round, &ids[0]) {
            self.judge_refused(
                command,
                &format!("{round}: {answer:?}"),
                answer.code == "0",
                hit.as_deref(),
            );
            if answer.code != "0" {
                ids.push(self.ask_again(command, &round));
                self.judge_end(command, &round);
            }
        }
        self.forget(&ids);
        let tally = self.tally(command);
        tally.rounds += 1;
        tally.hits += usize::from(hit.is_some());
        hit.is_some()
    }

    /// What came of it all, after a look at every answer that there ever was.
    pub(crate) fn finish(self) -> Vec<Tally> {
        let Self {
            rig,
            mut tallies,
            asked,
            ..
        } = self;
        let seen = rig.finish();
        for (
            id,
            Asked {
                command,
                round,
                is_answered,
            },
        ) in asked
        {
            let writes = seen.get(&id).map_or(0, |seen| seen.writes());
            let contents = seen.get(&id).map_or(0, |seen| seen.contents.len());
            if writes > usize::from(is_answered) || contents > 1 {
                let tally = tallies.get_mut(&command).expect("all commands are there");
                tally.failures.push((
                    Failure::Doubled,
                    format!("{round}: {writes} answers, {contents} different"),
                ));
            }
        }
        tallies.into_values().collect()
    }

    /// Carries a command out without a blow, by an agent that runs and by one that starts; counts what they do.
    fn reference(&mut self, command: Command) -> Reference {
        self.rig.replace_sandbox(guest());
        self.rig.start_agent();
        let request = command.request(self.rig.host());
        let start = Instant::now();
        let id = self.post(command, "reference", &request);
        self.wait_for_end(&id);
        let took = start.elapsed();
        let answer = self.answer(command, "reference", &id).expect("an answer");
        assert_eq!(answer, Answer::new("0", ""), "{command:?}");
        self.forget(&[id]);
        let after = State::of_guest(self.rig.sandbox().root());
        assert!(after != self.before, "{command:?} changes nothing");

        self.rig.replace_sandbox(guest());
        let mut saboteur = self.rig.launch_sabotaged(false, Order::count(Calls::NONE));
        self.rig.agent().wait_until_ready();
        let request = command.request(self.rig.host());
        saboteur.order(Order::count(Calls::VISIBLE), &self.next_id());
        let id = self.post(command, "reference", &request);
        self.wait_for_end(&id);
        let calls = saboteur.end_order().calls.len();
        self.forget(&[id]);

        self.rig.replace_sandbox(guest());
        let request = command.late_request(self.rig.host());
        let id = self.post(command, "reference", &request);
        let start = Instant::now();
        let mut saboteur = self
            .rig
            .launch_sabotaged(false, Order::count(Calls::VISIBLE));
        self.wait_for_end(&id);
        let start_took = start.elapsed();
        let start_calls = saboteur.end_order().calls.len();
        self.forget(&[id]);
        self.rig.replace_sandbox(guest());
        // The requests of these are no part of the table.
        self.tally(command).requests = 0;
        Reference {
            after,
            took,
            calls,
            start_took,
            start_calls,
        }
    }

    /// Starts the agent of a round. A blow from its start is ordered at once.
    fn launch(&mut self, aimed: Aimed, at_start: bool) -> Option<Saboteur> {
        match aimed {
            Aimed::Before(nth) => {
                let order = if at_start {
                    Order::kill(nth)
                } else {
                    Order::count(Calls::NONE)
                };
                Some(self.rig.launch_sabotaged(false, order))
            }
            Aimed::After(_) => {
                self.rig.launch_agent();
                None
            }
        }
    }

    /// Waits for the blow, or until it can no longer hit; no agent runs afterwards. Returns the round with what was hit.
    fn strike(
        &mut self,
        aimed: Aimed,
        id: &str,
        saboteur: Option<&Saboteur>,
        round: &str,
    ) -> String {
        match aimed {
            Aimed::After(time) => thread::sleep(time),
            Aimed::Before(_) => self.wait_for_end(id),
        }
        self.rig.agent().kill();
        match saboteur.and_then(Saboteur::hit) {
            Some(call) => format!("{round} at {call}"),
            None => round.into(),
        }
    }

    /// Looks at what a failure has left: nothing, or what a success leaves but for files that are not essential.
    fn judge_refused(
        &mut self,
        command: Command,
        round: &str,
        is_success: bool,
        hit: Option<&str>,
    ) {
        let found = State::of_guest(self.rig.sandbox().root());
        let after = &self.references[&command].after;
        let (mut changed, mut surplus) =
            found.differences(if is_success { after } else { &self.before });
        if is_success && command == Command::ResetNetwork {
            changed = found.mixtures(&self.before, after);
        }
        // What cannot be removed stays.
        let kept = hit
            .and_then(|hit| hit.split_once(" unlinkat /"))
            .map(|(_, path)| format!("{path}: "));
        surplus.retain(|what| !kept.as_ref().is_some_and(|kept| what.starts_with(kept)));
        self.fail_all(
            command,
            Failure::Mixture,
            changed.into_iter().map(|what| format!("{round}: {what}")),
        );
        self.fail_all(
            command,
            Failure::Leftover,
            surplus.into_iter().map(|what| format!("{round}: {what}")),
        );
    }

    /// Looks at what a death has left.
    fn judge_corpse(&mut self, command: Command, round: &str) {
        let found = State::of_guest(self.rig.sandbox().root());
        let mixtures = found.mixtures(&self.before, &self.references[&command].after);
        self.fail_all(
            command,
            Failure::Mixture,
            mixtures
                .into_iter()
                .map(|what| format!("{round}: killed: {what}")),
        );
    }

    /// Starts the last agent of a round, which has to bring everything in order.
    fn live_on(&mut self, command: Command, round: &str, ids: &mut Vec<String>) {
        let answered = self.state_if_answered(ids);
        self.rig.launch_agent();
        for id in &*ids {
            self.wait_for_end(id);
        }
        self.rig.agent().wait_until_ready();
        self.judge_repetition(command, round, answered);
        let mut is_done = false;
        for id in ids.clone() {
            if self.asked[&id].is_answered
                && let Some(answer) = self.answer(command, round, &id)
            {
                is_done = answer.code == "0";
                if !is_done && command.survives() {
                    self.fail(command, Failure::Lost, format!("{round}: {answer:?}"));
                }
            }
        }
        if !is_done {
            ids.push(self.ask_again(command, round));
        }
        self.judge_end(command, round);
        self.forget(ids);
    }

    /// All files of the guest and of the agent, if there is nothing left to do but to remove requests.
    fn state_if_answered(&mut self, ids: &[String]) -> Option<State> {
        let is_answered = ids.iter().all(|id| self.exists(&response_path(id)));
        is_answered.then(|| State::of(self.rig.sandbox().root()).without_lock())
    }

    /// Nothing may change once all requests have their answers.
    fn judge_repetition(&mut self, command: Command, round: &str, answered: Option<State>) {
        if answered
            .is_some_and(|before| before != State::of(self.rig.sandbox().root()).without_lock())
        {
            self.fail(
                command,
                Failure::Doubled,
                format!("{round}: carried out after it was answered"),
            );
        }
    }

    /// Asks for the same as the host would that got no success. Now nothing stands in the way any more.
    fn ask_again(&mut self, command: Command, round: &str) -> String {
        let request = command.request(self.rig.host());
        let id = self.post(command, round, &request);
        self.wait_for_end(&id);
        if let Some(answer) = self.answer(command, round, &id)
            && answer.code != "0"
        {
            self.fail(
                command,
                Failure::Lost,
                format!("{round}: asked again: {answer:?}"),
            );
        }
        id
    }

    /// The guest has to be as after an undisturbed run.
    fn judge_end(&mut self, command: Command, round: &str) {
        let root = self.rig.sandbox().root().to_path_buf();
        let after = &self.references[&command].after;
        let (changed, surplus) = State::of_guest(&root).differences(after);
        let bad = State::of(&root).bad_backups(&self.before, after);
        let told = |what| format!("{round}: in the end: {what}");
        self.fail_all(
            command,
            Failure::Mixture,
            changed.into_iter().chain(bad).map(told),
        );
        self.fail_all(command, Failure::Leftover, surplus.into_iter().map(told));
    }

    /// The id of the next request.
    fn next_id(&self) -> String {
        format!(
            "{}-{}",
            self.rig.sandbox().root().file_name().unwrap().display(),
            self.asked.len()
        )
    }

    fn post(&mut self, command: Command, round: &str, request: &str) -> String {
        let id = self.next_id();
        self.asked.insert(
            id.clone(),
            Asked {
                command,
                round: round.into(),
                is_answered: true,
            },
        );
        self.tally(command).requests += 1;
        self.rig.post_as(&id, request);
        id
    }

    /// Waits until the request is gone, or the agent.
    fn wait_for_end(&mut self, id: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.exists(&request_path(id))
            && self.rig.agent().is_running()
            && Instant::now() < deadline
        {
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// The answer, which has to be there.
    fn answer(&mut self, command: Command, round: &str, id: &str) -> Option<Answer> {
        match self.rig.witness().wait_for(id, PATIENCE) {
            Ok(response) => Some(Answer::parse(&response)),
            Err(why) => {
                let log = self.rig.agent().log();
                self.fail(
                    command,
                    Failure::Lost,
                    format!("{round}: {why}; the agent's log:\n{log}"),
                );
                None
            }
        }
    }

    fn exists(&mut self, node: &str) -> bool {
        let path = self.rig.host().path(node);
        match self.rig.host().client().read(&path) {
            Ok(_) => true,
            Err(client::Error::Store(ErrorName::Enoent)) => false,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    fn remove(&mut self, node: &str) {
        let path = self.rig.host().path(node);
        self.rig.host().client().rm(&path).unwrap();
    }

    /// Makes room in the store.
    fn forget(&mut self, ids: &[String]) {
        for id in ids {
            if self.exists(&response_path(id)) {
                self.remove(&response_path(id));
            }
        }
    }

    fn tally(&mut self, command: Command) -> &mut Tally {
        self.tallies
            .get_mut(&command)
            .expect("all commands are there")
    }

    fn fail(&mut self, command: Command, failure: Failure, what: String) {
        self.tally(command).failures.push((failure, what));
    }

    fn fail_all(
        &mut self,
        command: Command,
        failure: Failure,
        what: impl IntoIterator<Item = String>,
    ) {
        let told = what.into_iter().map(|what| (failure, what));
        self.tallies
            .get_mut(&command)
            .expect("all commands are there")
            .failures
            .extend(told);
    }
}

fn request_path(id: &str) -> String {
    format!("data/host/{id}")
}

fn response_path(id: &str) -> String {
    format!("data/guest/{id}")
}

/// From 1 to `count`.
fn choose(number: u64, count: usize) -> usize {
    usize::try_from(number % u64::try_from(count.max(1)).unwrap()).unwrap() + 1
}

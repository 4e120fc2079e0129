//! What happens to a request from its first sight to its end.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use zeroize::Zeroizing;

use super::jobs::Job;
use super::{
    Agent, Output, Purpose, REQUESTS, REQUESTS_MAX, RESPONSES, Readiness, Report, Request,
    RequestId, State, Stopping, token,
};
use crate::command::{self, Argument, Kind};
use crate::ordered::CollectOrdered;
use crate::response::{MESSAGE_MAX, Response, ReturnCode, harmless};
use crate::store::{Operation, Reply};
use crate::wire::{ErrorName, StorePath};

/// How long an empty request may stay empty: hosts write the value in the same operation.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer that took longer is written only if the host still waits for it.
const CHECK_AFTER: Duration = Duration::from_secs(1);

/// The shortest and the longest pause before an answer that the store refused is tried again.
const HELD_MIN: Duration = Duration::from_secs(1);
const HELD_MAX: Duration = Duration::from_secs(60);

/// How often the requests are listed while the store refuses to watch them.
const UNWATCHED: Duration = Duration::from_secs(5);

/// How soon the requests are listed again when that failed: nothing else tells of those that waited at the start.
pub(super) const UNLISTED: Duration = Duration::from_secs(60);

/// A message of this many bytes is not what a quota forbids.
const SHORT: usize = 100;

/// The most characters of an unknown command's name that are repeated.
const NAME_MAX: usize = 64;

impl Agent {
    /// Everything that a connection begins with: the watch, then, when it is set, both listings.
    pub(super) fn begin_connection(&mut self) {
        self.listing.found_responses = None;
        self.listing.in_flight = true;
        self.listing.again = false;
        self.submit(
            Purpose::Watch,
            Operation::Watch {
                path: REQUESTS,
                token: token(),
            },
        );
        let ids: Vec<RequestId> = self.requests.keys().cloned().collect();
        for id in ids {
            self.resume(&id);
        }
        if self.stopping == Stopping::No && core::mem::take(&mut self.config.reset_network_at_start)
        {
            let id = RequestId::start_up();
            let command = command::reset_network();
            self.requests
                .insert(id.clone(), self.new_request(State::Waiting, command.name));
            self.start(
                &id,
                Job::new(command, Argument::new(serde_json::Value::Null)),
            );
        }
    }

    /// Nothing that was submitted will be answered. What a listing finds again is forgotten; work and answers are kept.
    pub(super) fn end_connection(&mut self) {
        if !self.connected {
            return;
        }
        self.connected = false;
        self.operations.clear();
        self.responses.forget_all();
        self.listing.due = None;
        self.listing.watched = false;
        self.listing.listed = false;
        self.listing.refused = false;
        self.turn.waiting.clear();
        // What was submitted in the same breath must not reach the next connection.
        self.outputs
            .retain(|output| !matches!(output, Output::Store(..)));
        let ids: Vec<RequestId> = self.requests.keys().cloned().collect();
        for id in ids {
            let Some(request) = self.requests.get_mut(&id) else {
                continue;
            };
            match core::mem::replace(&mut request.state, State::Waiting) {
                State::Answering { response, .. }
                | State::Checking { response }
                | State::Held { response, .. } => {
                    request.state = State::Held {
                        response,
                        until: None,
                    };
                }
                State::Running(job) => request.state = State::Running(job),
                // Its response may be gone by the time that it is listed again.
                State::Removing { .. } | State::Stuck { answered: true } => {
                    request.state = State::Stuck { answered: true };
                }
                State::Empty { .. }
                | State::Reading { .. }
                | State::Stuck { answered: false }
                | State::Waiting => {
                    self.forget(&id);
                }
            }
        }
    }

    /// After a new connection: takes up what the old one left.
    fn resume(&mut self, id: &RequestId) {
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        match request.take_if(|state| matches!(state, State::Held { .. } | State::Running(_))) {
            Some(State::Held { response, .. }) => self.check(id, response),
            Some(state) => {
                request.state = state;
                self.ask_store_again(id);
            }
            None => {}
        }
    }

    /// A watch event: it names the node that changed, or something above it.
    pub(super) fn handle_fired(&mut self, path: &StorePath) {
        match path.below(&REQUESTS) {
            Some("") => self.list_again(),
            Some(below) => {
                if let Some(id) = below.split('/').next().and_then(RequestId::from_node) {
                    self.listing.too_long_since = None;
                    if self.listing.listed {
                        self.notice(id);
                    } else if self.listing.early.len() < REQUESTS_MAX {
                        self.listing.early.insert(id);
                    } else {
                        self.listing.again = true;
                    }
                }
            }
            // Something above was replaced, or the store means "look again" by naming something else.
            None => self.list_again(),
        }
    }

    pub(super) fn handle_answer(&mut self, purpose: Purpose, result: Result<Reply, ErrorName>) {
        match purpose {
            Purpose::Check(id) => self.handle_check(&id, result),
            Purpose::FactList(id, path) => self.handle_fact_list(&id, path, names(result)),
            Purpose::FactValue(id, path) => self.handle_fact_value(&id, path, value(result)),
            Purpose::ListRequests => self.handle_requests(names(result)),
            Purpose::ListResponses => self.handle_responses(names(result)),
            Purpose::Look(id) => self.handle_look(&id, result),
            Purpose::Read(id) => self.handle_read(&id, value(result)),
            Purpose::Remove(id) => self.handle_removed(&id, result),
            Purpose::RemoveOld => {}
            Purpose::RemoveResponse(id) => match result {
                Ok(_) | Err(ErrorName::Enoent) => self.responses.forget(&id),
                Err(_) => self.responses.retain(self.now, id),
            },
            Purpose::Sweep(id) => self.handle_sweep_list(&id, names(result)),
            Purpose::Watch => self.handle_watch(result),
            Purpose::Write(id) => self.handle_written(&id, result),
        }
    }

    pub(super) fn handle_timer(&mut self, id: &RequestId) {
        let now = self.now;
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        match &request.state {
            // The event of its value may have been lost.
            State::Empty { until } if *until <= now => self.read(id),
            State::Held {
                until: Some(until), ..
            } if *until <= now => self.resume(id),
            State::Running(_) => self.go_on(id),
            State::Answering { .. }
            | State::Checking { .. }
            | State::Empty { .. }
            | State::Held { .. }
            | State::Reading { .. }
            | State::Removing { .. }
            | State::Stuck { .. }
            | State::Waiting => {}
        }
    }

    /// Lists the requests, now or when the listing that is under way has ended.
    pub(super) fn list_again(&mut self) {
        if self.listing.in_flight {
            self.listing.again = true;
            return;
        }
        self.listing.in_flight = true;
        if self.listing.watched {
            self.submit_listings();
        } else {
            self.submit(
                Purpose::Watch,
                Operation::Watch {
                    path: REQUESTS,
                    token: token(),
                },
            );
        }
    }

    fn handle_watch(&mut self, result: Result<Reply, ErrorName>) {
        // A store that knows the watch already has it set.
        let result = result.map(|_| ()).or_else(|error| {
            if error == ErrorName::Eexist {
                Ok(())
            } else {
                Err(error)
            }
        });
        self.listing.watched = result.is_ok();
        if let Err(error) = result
            && !core::mem::replace(&mut self.listing.refused, true)
        {
            self.report_refusal("watch", &REQUESTS, error);
        }
        if !self.listing.listed {
            self.outputs.push_back(Output::Report(Report::Connected));
        }
        self.submit_listings();
    }

    fn submit_listings(&mut self) {
        if self.listing.found_responses.is_none() {
            self.submit(Purpose::ListResponses, Operation::List(RESPONSES));
        }
        self.submit(Purpose::ListRequests, Operation::List(REQUESTS));
    }

    fn handle_responses(&mut self, result: Result<Vec<String>, ErrorName>) {
        let found = match result {
            Ok(names) => names
                .iter()
                .filter_map(|name| RequestId::from_node(name))
                .collect_ordered(),
            Err(ErrorName::Enoent) => BTreeSet::new(),
            // Each request is looked at by itself then.
            Err(error) => {
                self.listing.too_many_responses = error == ErrorName::E2Big;
                return self.report_refusal("list", &RESPONSES, error);
            }
        };
        self.listing.found_responses = Some(found);
    }

    fn handle_requests(&mut self, result: Result<Vec<String>, ErrorName>) {
        self.listing.in_flight = false;
        let found = match result {
            Ok(names) => names
                .iter()
                .filter_map(|name| RequestId::from_node(name))
                .collect_ordered(),
            Err(ErrorName::Enoent) => BTreeSet::new(),
            Err(error) => {
                if error == ErrorName::E2Big {
                    self.handle_too_many_requests();
                }
                self.report_refusal("list", &REQUESTS, error);
                self.finish_listing(Some(UNLISTED));
                return;
            }
        };
        self.listing.too_long_since = None;
        self.drop_withdrawn(&found);
        let answered = self.listing.found_responses.take();
        // From here on a response is found by having been written by this run.
        self.listing.found_responses = answered.as_ref().map(|_| BTreeSet::new());
        let answered = answered.unwrap_or_default();
        for id in &found {
            let is_answered = answered.contains(id) || self.responses.contains(id);
            if self.requests.contains_key(id) {
                self.retry_stuck(id, is_answered);
            } else if is_answered {
                // An earlier run got as far as writing the response.
                self.follow(id.clone(), State::Removing { again: false });
                self.remove(id);
            } else {
                self.notice(id.clone());
            }
        }
        for id in answered {
            if !self.responses.contains(&id) {
                self.remember_response(id);
            }
        }
        self.remove_old_responses();
        // So many responses are of hosts that gave up long ago, and none of them is of a request that is still there.
        if core::mem::take(&mut self.listing.too_many_responses)
            && found.is_empty()
            && self.responses.is_empty()
        {
            self.remove_all_responses();
            self.listing.found_responses = Some(BTreeSet::new());
        }
        self.finish_listing(self.listing.found_responses.is_none().then_some(UNLISTED));
    }

    /// `retry` is how soon the next listing has to be, at the latest.
    fn finish_listing(&mut self, retry: Option<Duration>) {
        let rescan = if self.listing.watched {
            self.config.rescan
        } else {
            Some(UNWATCHED)
        };
        self.listing.listed = true;
        for id in core::mem::take(&mut self.listing.early) {
            self.notice(id);
        }
        self.listing.due = rescan
            .into_iter()
            .chain(retry)
            .min()
            .map(|interval| self.now.after(interval));
        if matches!(self.readiness, Readiness::Unknown { .. }) {
            self.readiness = Readiness::Awaiting(self.requests.keys().cloned().collect_ordered());
        }
        if core::mem::take(&mut self.listing.again) {
            self.list_again();
        }
    }

    /// Requests that wait for something and are not there any more.
    fn drop_withdrawn(&mut self, found: &BTreeSet<RequestId>) {
        let gone: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(id, request)| {
                matches!(request.state, State::Empty { .. } | State::Stuck { .. })
                    && !found.contains(*id)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.forget(&id);
        }
    }

    fn retry_stuck(&mut self, id: &RequestId, is_answered: bool) {
        match self.requests.get(id).map(|request| &request.state) {
            Some(State::Stuck { answered }) if *answered || is_answered => {
                self.set(id, State::Removing { again: false });
                self.remove(id);
            }
            Some(State::Stuck { .. }) => self.begin(id),
            _ => {}
        }
    }

    /// A request was seen, for the first time or again.
    fn notice(&mut self, id: RequestId) {
        if self.stopping != Stopping::No {
            return;
        }
        let Some(request) = self.requests.get_mut(&id) else {
            if self.requests.len() >= REQUESTS_MAX {
                self.listing.overflow = true;
                return;
            }
            self.follow(id.clone(), State::Waiting);
            return self.begin(&id);
        };
        match &mut request.state {
            State::Reading { again } | State::Removing { again } => *again = true,
            State::Empty { .. } => self.read(&id),
            State::Stuck { answered: false } => self.begin(&id),
            // It was read, or will be: what the host does to it now is seen then.
            State::Answering { .. }
            | State::Checking { .. }
            | State::Held { .. }
            | State::Running(_)
            | State::Stuck { answered: true }
            | State::Waiting => {}
        }
    }

    /// Reads a request, unless it is not known whether an earlier run has answered it.
    fn begin(&mut self, id: &RequestId) {
        match &self.listing.found_responses {
            Some(found) if !found.contains(id) => self.read(id),
            Some(_) | None => self.look(id),
        }
    }

    /// Asks whether an earlier run has answered a request.
    fn look(&mut self, id: &RequestId) {
        let Ok(path) = RESPONSES.join(id.as_str()) else {
            return self.forget(id);
        };
        self.set(id, State::Reading { again: false });
        self.submit(Purpose::Look(id.clone()), Operation::Read(path));
    }

    fn handle_look(&mut self, id: &RequestId, result: Result<Reply, ErrorName>) {
        match result {
            Ok(_) => {
                self.remember_response(id.clone());
                self.set(id, State::Removing { again: false });
                self.remove(id);
            }
            Err(ErrorName::Enoent) => self.read(id),
            Err(error) => {
                if let Ok(path) = RESPONSES.join(id.as_str()) {
                    self.report_refusal("read", &path, error);
                }
                self.set(id, State::Stuck { answered: false });
            }
        }
    }

    fn read(&mut self, id: &RequestId) {
        let Ok(path) = REQUESTS.join(id.as_str()) else {
            return self.forget(id);
        };
        self.set(id, State::Reading { again: false });
        self.submit(Purpose::Read(id.clone()), Operation::Read(path));
    }

    fn handle_read(&mut self, id: &RequestId, result: Result<Vec<u8>, ErrorName>) {
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        let State::Reading { again } = request.state else {
            return;
        };
        request.read = self.now;
        let until = request.seen.after(EMPTY_TIMEOUT);
        match result {
            Ok(content) if content.is_empty() && again => self.read(id),
            Ok(content) if content.is_empty() && until <= self.now => {
                self.respond(id, Response::error("Request is malformed: it is empty"));
            }
            Ok(content) if content.is_empty() => {
                self.set(id, State::Empty { until });
                self.wake(id, until);
                self.release(id);
            }
            // It may hold the content of a file.
            Ok(content) => self.handle_content(id, &Zeroizing::new(content)),
            // The host took it back, or this is the echo of its removal.
            Err(ErrorName::Enoent) if again => self.read(id),
            Err(ErrorName::Enoent) => self.forget(id),
            Err(error) => {
                if let Ok(path) = REQUESTS.join(id.as_str()) {
                    self.report_refusal("read", &path, error);
                }
                self.set(id, State::Stuck { answered: false });
                self.release(id);
            }
        }
    }

    fn handle_content(&mut self, id: &RequestId, content: &[u8]) {
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        let envelope = match super::request::Envelope::parse(content) {
            Ok(envelope) => envelope,
            Err(refusal) => return self.respond(id, refusal),
        };
        let name: String = envelope.name.chars().take(NAME_MAX).map(harmless).collect();
        request.command.clone_from(&name);
        let Some(command) = command::find(&envelope.name, &self.config.commands) else {
            let message = alloc::format!("No such agent command '{name}'");
            return self.respond(
                id,
                Response {
                    code: ReturnCode::NotFound,
                    message,
                },
            );
        };
        request.command = command.name.into();
        let job = Job::new(command, Argument::new(envelope.value));
        let busy = self
            .turn
            .in_hand
            .as_ref()
            .is_some_and(|in_hand| in_hand != id);
        if command.kind == Kind::Change && (busy || self.stopping != Stopping::No) {
            // The content is dropped: it waits in the store, where the host can still take it back.
            self.set(id, State::Waiting);
            self.turn.waiting.push_back(id.clone());
        } else {
            self.start(id, job);
        }
    }

    fn start(&mut self, id: &RequestId, job: Job) {
        if job.kind() == Kind::Change {
            self.turn.in_hand = Some(id.clone());
            let command = job.name().into();
            self.outputs.push_back(Output::Report(Report::Started {
                request: id.clone(),
                command,
            }));
        } else {
            // A change may have turned into a query while it waited.
            self.release(id);
        }
        self.advance(id, job);
    }

    /// The turn of a request is over, or it has none: the next one is read.
    fn release(&mut self, id: &RequestId) {
        if self.turn.in_hand.as_ref() != Some(id) {
            return;
        }
        self.turn.in_hand = None;
        if self.stopping != Stopping::No || !self.connected {
            return;
        }
        while let Some(next) = self.turn.waiting.pop_front() {
            if matches!(
                self.requests.get(&next).map(|request| &request.state),
                Some(State::Waiting)
            ) {
                self.turn.in_hand = Some(next.clone());
                self.read(&next);
                return;
            }
        }
    }

    /// The command has come to its answer.
    pub(super) fn respond(&mut self, id: &RequestId, response: Response) {
        let late = self
            .requests
            .get(id)
            .is_some_and(|request| self.now.since(request.read) > CHECK_AFTER);
        if *id == RequestId::start_up() {
            self.report_answer(id, &response);
            self.release(id);
            return self.forget(id);
        }
        if !self.connected {
            self.set(
                id,
                State::Held {
                    response,
                    until: None,
                },
            );
        } else if late {
            self.check(id, response);
        } else {
            self.write_response(id, response, 0);
        }
        self.release(id);
    }

    /// Asks whether the host still waits for the answer.
    fn check(&mut self, id: &RequestId, response: Response) {
        let Ok(path) = REQUESTS.join(id.as_str()) else {
            return self.forget(id);
        };
        self.set(id, State::Checking { response });
        self.submit(Purpose::Check(id.clone()), Operation::Read(path));
    }

    fn handle_check(&mut self, id: &RequestId, result: Result<Reply, ErrorName>) {
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        let Some(State::Checking { response }) =
            request.take_if(|state| matches!(state, State::Checking { .. }))
        else {
            return;
        };
        if result == Err(ErrorName::Enoent) {
            self.outputs.push_back(Output::Report(Report::Withdrawn {
                request: id.clone(),
            }));
            self.forget(id);
        } else {
            self.write_response(id, response, 0);
        }
    }

    pub(super) fn write_response(&mut self, id: &RequestId, response: Response, attempt: u8) {
        let Ok(path) = RESPONSES.join(id.as_str()) else {
            return self.forget(id);
        };
        let value = response.encode();
        self.set(id, State::Answering { response, attempt });
        self.remember_response(id.clone());
        self.submit(Purpose::Write(id.clone()), Operation::Write { path, value });
    }

    fn handle_written(&mut self, id: &RequestId, result: Result<Reply, ErrorName>) {
        let Some(request) = self.requests.get_mut(id) else {
            return;
        };
        let answering = request.take_if(|state| matches!(state, State::Answering { .. }));
        let Some(State::Answering { response, attempt }) = answering else {
            return;
        };
        match (result, attempt) {
            (Ok(_), _) => {
                self.report_answer(id, &response);
                self.set(id, State::Removing { again: false });
                self.remove(id);
                // Its age is counted from here.
                self.responses.insert(self.now, id.clone());
                self.remove_old_responses();
            }
            (Err(error), 0) if error.is_quota() => {
                self.set(
                    id,
                    State::Answering {
                        response,
                        attempt: 1,
                    },
                );
                self.sweep(id.clone());
            }
            (Err(error), 1) if error.is_quota() && response.message.len() > SHORT => {
                let code = match response.code {
                    ReturnCode::Error | ReturnCode::KeyExchanged | ReturnCode::Success => {
                        ReturnCode::Error
                    }
                    // Nova may take 500 for success of this command.
                    code @ (ReturnCode::Failed | ReturnCode::NotFound) => code,
                };
                self.write_response(
                    id,
                    Response {
                        code,
                        message: "Response too large".into(),
                    },
                    2,
                );
            }
            (Err(error), _) => {
                if let Ok(path) = RESPONSES.join(id.as_str()) {
                    self.report_refusal("write", &path, error);
                }
                self.hold(id, response);
            }
        }
    }

    /// The store does not take the answer: it is tried again, less and less often, as long as the host waits.
    fn hold(&mut self, id: &RequestId, response: Response) {
        let Some(request) = self.requests.get(id) else {
            return;
        };
        let waited = self.now.since(request.read);
        let pause = waited.clamp(HELD_MIN, HELD_MAX);
        let until = self.now.after(pause);
        self.set(
            id,
            State::Held {
                response,
                until: Some(until),
            },
        );
        self.wake(id, until);
    }

    fn remove(&mut self, id: &RequestId) {
        let Ok(path) = REQUESTS.join(id.as_str()) else {
            return self.forget(id);
        };
        self.submit(Purpose::Remove(id.clone()), Operation::Remove(path));
    }

    fn handle_removed(&mut self, id: &RequestId, result: Result<Reply, ErrorName>) {
        let Some(State::Removing { again }) = self.requests.get(id).map(|request| &request.state)
        else {
            return;
        };
        let again = *again;
        match result {
            Ok(_) | Err(ErrorName::Enoent) if again && self.stopping == Stopping::No => {
                self.read_anew(id)
            }
            Ok(_) | Err(ErrorName::Enoent) => self.forget(id),
            Err(error) => {
                if let Ok(path) = REQUESTS.join(id.as_str()) {
                    self.report_refusal("remove", &path, error);
                }
                self.set(id, State::Stuck { answered: true });
            }
        }
    }

    /// The node changed while it was being removed: by the removal itself, or because the host used its name again.
    fn read_anew(&mut self, id: &RequestId) {
        self.forget(id);
        self.notice(id.clone());
    }

    pub(super) fn set(&mut self, id: &RequestId, state: State) {
        if let Some(request) = self.requests.get_mut(id) {
            request.state = state;
        }
    }

    fn follow(&mut self, id: RequestId, state: State) {
        let request = self.new_request(state, "");
        self.requests.insert(id, request);
    }

    fn new_request(&self, state: State, command: &str) -> Request {
        Request {
            state,
            command: command.to_string(),
            seen: self.now,
            read: self.now,
        }
    }

    pub(super) fn forget(&mut self, id: &RequestId) {
        self.requests.remove(id);
        self.timers.retain(|(_, other)| other != id);
        self.release(id);
        // Its response is no longer needed.
        if self.connected && self.responses.contains(id) {
            self.remove_old_responses();
        }
        if self.listing.overflow && self.connected && self.requests.len() <= REQUESTS_MAX / 2 {
            self.listing.overflow = false;
            self.list_again();
        }
    }

    fn report_answer(&mut self, id: &RequestId, response: &Response) {
        let Some(request) = self.requests.get(id) else {
            return;
        };
        let message = match response.code {
            ReturnCode::Success | ReturnCode::KeyExchanged => String::new(),
            ReturnCode::Error | ReturnCode::Failed | ReturnCode::NotFound => response
                .message
                .chars()
                .take(MESSAGE_MAX)
                .map(harmless)
                .collect(),
        };
        self.outputs.push_back(Output::Report(Report::Answered {
            request: id.clone(),
            command: request.command.clone(),
            code: response.code,
            message,
            took: self.now.since(request.read),
        }));
    }

    fn report_refusal(&mut self, operation: &str, path: &StorePath, error: ErrorName) {
        let operation = alloc::format!("{operation} {path}");
        self.outputs
            .push_back(Output::Report(Report::StoreRefused { operation, error }));
    }
}

fn names(result: Result<Reply, ErrorName>) -> Result<Vec<String>, ErrorName> {
    match result? {
        Reply::Names(names) => Ok(names),
        Reply::Done | Reply::Value(_) => Err(ErrorName::Einval),
    }
}

fn value(result: Result<Reply, ErrorName>) -> Result<Vec<u8>, ErrorName> {
    match result? {
        Reply::Value(value) => Ok(value),
        Reply::Done | Reply::Names(_) => Err(ErrorName::Einval),
    }
}

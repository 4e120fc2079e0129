//! What all parts of the agent share: the time, the connection, and what is to be done.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Misuse, Output, Report, RequestId};
use crate::effect::{Effect, EffectId};
use crate::store::{Operation, OperationId};
use crate::time::Instant;
use crate::wire::{ErrorName, StorePath};

/// A driver that calls later than this after a deadline was not running: the guest was paused.
const LATE: Duration = Duration::from_secs(1);

/// How long an effect may still take after a pause: its outcome is about to come, but a driver may need a moment for it.
const RESPITE: Duration = Duration::from_secs(5);

/// The outputs of the agent with what is needed to understand the answers, and what every decision depends on.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The latest time so far.
    pub(super) now: Instant,
    pub(super) is_connected: bool,
    /// Whether the agent is about to leave: it takes up nothing new.
    pub(super) is_stopping: bool,
    outputs: VecDeque<Output>,
    last_operation: u64,
    operations: BTreeMap<OperationId, Purpose>,
    last_effect: u64,
    effects: BTreeMap<EffectId, PendingEffect>,
    /// When to look at a request again, once each; an entry whose request has moved on means nothing.
    timers: BTreeSet<(Instant, RequestId)>,
}

/// Who awaits the reply to an operation.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The removal of a response; it is tried again if it is refused.
    Evict(RequestId),
    /// The removal of everything below a node, to make room. The result is ignored.
    EvictAll,
    /// The command of a request, which asked for the children of a node.
    FactList(RequestId, StorePath),
    /// The command of a request, which asked for a value.
    FactValue(RequestId, StorePath),
    /// The mailbox, for the listing of requests.
    ListRequests,
    /// The mailbox, for the listing of responses at the start of a connection.
    ListResponses,
    /// A request; its state says what it awaits.
    Request(RequestId),
    /// The mailbox, for its watch.
    Watch,
}

/// An effect that has been given out.
#[derive(Debug)]
struct PendingEffect {
    request: RequestId,
    deadline: Instant,
    /// Whether the deadline was put off because of a pause, which happens once.
    is_forgiven: bool,
}

impl Session {
    /// Time that goes backwards is ignored.
    pub(super) fn advance_clock(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(super) fn submit(&mut self, purpose: Purpose, operation: Operation) {
        self.last_operation = self.last_operation.saturating_add(1);
        let id = OperationId(self.last_operation);
        self.operations.insert(id, purpose);
        self.outputs.push_back(Output::Store(id, operation));
    }

    pub(super) fn perform(&mut self, request: &RequestId, effect: Effect) {
        self.last_effect = self.last_effect.saturating_add(1);
        let id = EffectId(self.last_effect);
        let pending = PendingEffect {
            request: request.clone(),
            deadline: self.now.after(effect.timeout()),
            is_forgiven: false,
        };
        self.effects.insert(id, pending);
        self.outputs.push_back(Output::Perform(id, effect));
    }

    pub(super) fn report(&mut self, report: Report) {
        self.outputs.push_back(Output::Report(report));
    }

    pub(super) fn report_refusal(&mut self, operation: &str, path: &StorePath, error: ErrorName) {
        let operation = format!("{operation} {path}");
        self.report(Report::StoreRefused { operation, error });
    }

    pub(super) fn exit(&mut self) {
        self.outputs.push_back(Output::Exit);
    }

    /// Wakes a request at this time, and no longer at the one that was set before.
    pub(super) fn wake(&mut self, id: &RequestId, at: Instant) {
        self.cancel_timer(id);
        self.timers.insert((at, id.clone()));
    }

    pub(super) fn cancel_timer(&mut self, id: &RequestId) {
        self.timers.retain(|(_, other)| other != id);
    }

    /// Takes the request out that is to be woken, if there is one.
    pub(super) fn next_woken(&mut self) -> Option<RequestId> {
        let (at, _) = self.timers.first()?;
        (*at <= self.now).then_some(())?;
        self.timers.pop_first().map(|(_, id)| id)
    }

    /// Nothing that was submitted will be answered, nor may it reach the next connection.
    pub(super) fn disconnect(&mut self) {
        self.is_connected = false;
        self.operations.clear();
        self.outputs
            .retain(|output| !matches!(output, Output::Store(..)));
    }

    /// Who awaits the reply; `None` for an operation of a connection that has ended.
    pub(super) fn take_purpose(&mut self, id: OperationId) -> Option<Purpose> {
        self.operations.remove(&id)
    }

    /// Whose effect it is; `None` if its outcome came before, or too late.
    ///
    /// # Errors
    /// [`Misuse::UnknownEffect`] for an id that was never given out.
    pub(super) fn take_effect(&mut self, id: EffectId) -> Result<Option<RequestId>, Misuse> {
        if id.0 == 0 || id.0 > self.last_effect {
            return Err(Misuse::UnknownEffect(id));
        }
        Ok(self.effects.remove(&id).map(|pending| pending.request))
    }

    /// Takes out whose effects have no outcome in time. After a pause of the guest they get a respite, once.
    pub(super) fn take_late_effects(&mut self) -> Vec<RequestId> {
        let now = self.now;
        for pending in self.effects.values_mut() {
            if !pending.is_forgiven && now.since(pending.deadline) > LATE {
                pending.is_forgiven = true;
                pending.deadline = now.after(RESPITE);
            }
        }
        let (late, pending) = core::mem::take(&mut self.effects)
            .into_iter()
            .partition(|(_, pending)| pending.deadline <= now);
        self.effects = pending;
        let late: BTreeMap<EffectId, PendingEffect> = late;
        late.into_values().map(|pending| pending.request).collect()
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When an effect is late or a request is to be woken.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let effects = self.effects.values().map(|pending| pending.deadline).min();
        let timers = self.timers.first().map(|(at, _)| *at);
        effects.into_iter().chain(timers).min()
    }
}

#[cfg(test)]
impl Session {
    pub(super) fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Whether no operation and no effect is awaited.
    pub(super) fn is_idle(&self) -> bool {
        self.operations.is_empty() && self.effects.is_empty()
    }

    pub(super) fn last_effect(&self) -> EffectId {
        EffectId(self.last_effect)
    }
}

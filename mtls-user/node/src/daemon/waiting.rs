//! Events of flows whose pods are so new that their names are not known yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::flows::Which;
use mtls_core::flow::Event;
use mtls_core::record::{FlowRecord, Kind, Workload};

/// Events held at a time; beyond this, the oldest is reported without a name.
const MAX: usize = 4_096;

/// An event, and the time until which it waits for a name (nanoseconds of the daemon's time).
pub(super) struct Pending {
    pub(super) serial: u64,
    pub(super) handle: Which,
    pub(super) event: Event,
    pub(super) deadline: u64,
    pub(super) record: Arc<FlowRecord>,
}

/// Whether only an end's address is known.
pub(super) fn is_unnamed(record: &FlowRecord) -> bool {
    let is_nameless = |workload: &Workload| workload.kind == Kind::Unknown;
    [&record.src, &record.dst]
        .into_iter()
        .any(|peer| peer.workload.as_ref().is_none_or(is_nameless))
}

/// The events, in order of arrival.
#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<Pending>,
    /// How many events of each flow are waiting: later ones wait too.
    flows: HashMap<u64, u32>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn holds(&self, serial: u64) -> bool {
        self.flows.contains_key(&serial)
    }

    /// Adds an event; returns the oldest if there are too many.
    pub(super) fn push(&mut self, pending: Pending) -> Option<Pending> {
        let oldest = if self.queue.len() >= MAX {
            self.queue.pop_front()
        } else {
            None
        };
        if let Some(oldest) = &oldest
            && let Some(count) = self.flows.get_mut(&oldest.serial)
        {
            *count -= 1;
            if *count == 0 {
                self.flows.remove(&oldest.serial);
            }
        }
        *self.flows.entry(pending.serial).or_insert(0) += 1;
        self.queue.push_back(pending);
        oldest
    }

    /// Whether one has waited long enough. They are roughly in the order of their deadlines.
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.queue
            .front()
            .is_some_and(|first| first.deadline <= now)
    }

    /// Removes all, to be reported or added again.
    pub(super) fn take(&mut self) -> VecDeque<Pending> {
        self.flows.clear();
        std::mem::take(&mut self.queue)
    }
}

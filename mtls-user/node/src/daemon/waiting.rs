//! Events of flows whose pods are so new that their names are still on the way.

use std::collections::{HashMap, VecDeque};

use super::flows::Which;
use mtls_core::flow::Event;
use mtls_core::record::{FlowRecord, Kind, Workload};

/// Events held at a time; beyond it, the oldest goes without a name.
const MAX: usize = 4_096;

/// An event, and until when (nanoseconds of the daemon's time) it waits for a name.
pub(super) struct Pending {
    pub(super) serial: u64,
    pub(super) handle: Which,
    pub(super) event: Event,
    pub(super) deadline: u64,
    pub(super) record: FlowRecord,
}

/// Of one end nothing is known but its address.
pub(super) fn is_unnamed(record: &FlowRecord) -> bool {
    let is_nameless = |workload: &Workload| workload.kind == Kind::Unknown;
    [&record.src, &record.dst]
        .into_iter()
        .any(|peer| peer.workload.as_ref().is_none_or(is_nameless))
}

/// The events, in the order in which they came.
#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<Pending>,
    /// How many events of each flow wait: those that come after them wait too.
    flows: HashMap<u64, u32>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn holds(&self, serial: u64) -> bool {
        self.flows.contains_key(&serial)
    }

    /// Lets an event wait; the oldest comes back when there are too many.
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

    /// Whether one has waited long enough. They come in about the order of their deadlines.
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.queue
            .front()
            .is_some_and(|first| first.deadline <= now)
    }

    /// Takes all out, to be reported or to be put back.
    pub(super) fn take(&mut self) -> VecDeque<Pending> {
        self.flows.clear();
        std::mem::take(&mut self.queue)
    }
}

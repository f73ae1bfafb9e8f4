//! What is kept of the flows' events, and who is sent them: the edges, the history, the counts for
//! Prometheus, and everybody who listens to `mtls tap` or `mtls record`.

use std::collections::HashMap;
use std::sync::Arc;

use smol_str::SmolStr;
use tokio::sync::{Notify, broadcast};

use super::Options;
use super::flows::{Flows, Seen, Which};
use super::history::{History, Remembered};
use super::waiting::{Pending, Waiting, is_unnamed};
use crate::clock::{now, wall};
use crate::edges::EdgeTable;
use crate::kernel::Sample;
use crate::metrics::{self, Meter};
use crate::pods::{self, Directory};
use mtls_core::flow::Event;
use mtls_core::record::identities::Identities;
use mtls_core::record::{
    EdgeRecord, EdgeStats, FlowRecord, Kind, Recorded, Sample as Copied, Time, Verdict,
};

/// How many events a slow `mtls tap` may lag behind before it skips events and reports how many.
const TAP_BACKLOG: usize = 8_192;
/// A flow of a pod without a known name yet is reported this much later, in nanoseconds.
const PATIENCE: u64 = 1_000_000_000;
/// Open flows without a name that are looked up again.
const MAX_UNNAMED: usize = 16_384;
/// Flows named again per step, so that samples are read in between.
const RENAMED_AT_ONCE: usize = 1_024;
/// Open connections from the node itself that are checked again.
const MAX_SUSPECTS: usize = 1_024;

/// What is kept of flows' events, and who is sent them.
pub(super) struct Ledger {
    edges: EdgeTable,
    history: History,
    /// The counts, if metrics are enabled.
    meter: Option<Meter>,
    node: SmolStr,
    directory: Arc<Directory>,
    tap: broadcast::Sender<Arc<FlowRecord>>,
    /// Samples and outcomes of connections, for recording clients.
    recording: broadcast::Sender<Recorded>,
    refresher: Arc<Notify>,
    waiting: Waiting,
    /// Open flows that were reported although an end has no name yet.
    unnamed: HashMap<u64, Which>,
    /// Those of them that are to be looked up again.
    renaming: Vec<(u64, Which)>,
    /// Open connections from the node itself that turn out to be probes if it closes them without sending
    /// anything.
    suspects: HashMap<u64, Which>,
    /// The directory's version when names were last looked up again.
    generation: u64,
    /// Events of the current batch that are reported when it is complete, unless they are obsolete
    /// by then: most connections are short, and close in the batch in which they open.
    deferred: Vec<(Event, Which)>,
}

impl Ledger {
    pub(super) fn new(
        options: &Options,
        node: SmolStr,
        directory: Arc<Directory>,
        refresher: Arc<Notify>,
    ) -> Self {
        Self {
            edges: EdgeTable::new(options.window, Some(node.clone())),
            history: History::new(options.history, options.window),
            meter: (options.metrics.is_some() || options.export.metrics)
                .then(|| Meter::new(options.metrics_edges)),
            node,
            directory,
            tap: broadcast::Sender::new(TAP_BACKLOG),
            recording: broadcast::Sender::new(TAP_BACKLOG),
            refresher,
            waiting: Waiting::default(),
            unnamed: HashMap::new(),
            renaming: Vec::new(),
            suspects: HashMap::new(),
            generation: 0,
            deferred: Vec::new(),
        }
    }

    pub(super) fn tap(&self) -> broadcast::Sender<Arc<FlowRecord>> {
        self.tap.clone()
    }

    pub(super) fn recording(&self) -> broadcast::Sender<Recorded> {
        self.recording.clone()
    }

    /// Every edge, with times of the wall clock.
    pub(super) fn edges(&mut self) -> Vec<EdgeRecord> {
        let mut edges = self.edges.records(now());
        edges.iter_mut().for_each(stamp_all);
        edges
    }

    /// The same, and at most this many of their connections.
    pub(super) fn connections(&mut self, most: usize) -> (Vec<EdgeRecord>, Identities) {
        let (mut edges, ids) = self.edges.connections(now(), most);
        edges.iter_mut().for_each(stamp_all);
        (edges, ids)
    }

    /// The remembered connections, in the daemon's time.
    pub(super) fn history(&mut self) -> Remembered {
        self.history.remembered(now())
    }

    /// The counts for Prometheus, if there are any.
    pub(super) fn metrics(&self) -> Option<metrics::Snapshot> {
        self.meter.as_ref().map(Meter::snapshot)
    }

    pub(super) fn edge_stats(&self) -> EdgeStats {
        self.edges.stats()
    }

    /// Forgets what is older than the window.
    pub(super) fn expire(&mut self, now: u64) {
        self.edges.expire(now);
        self.history.expire(now);
        if let Some(meter) = &mut self.meter {
            meter.expire(now);
        }
    }

    /// Samples are copied only while somebody records. Foreign ones belong to no connection.
    pub(super) fn copy(&self, sample: Sample<'_>) {
        if self.recording.receiver_count() == 0 {
            return;
        }
        let mut copied = match sample {
            Sample::Segment(segment) if !segment.foreign => Copied::from(segment),
            Sample::Datagram(datagram) if !datagram.foreign => Copied::from(datagram),
            _ => return,
        };
        copied.time = stamp(copied.time);
        let _ = self.recording.send(Recorded::Sample(Arc::new(copied)));
    }

    pub(super) fn note(&mut self, event: Event, view: Seen<'_>) {
        let defer = match event {
            Event::Opened => true,
            Event::Closed => false,
            // A subscriber gets every event, in order.
            _ => self.listeners() == 0,
        };
        if defer {
            self.deferred.push((event, view.which()));
        } else {
            self.report_flow(event, view);
        }
    }

    /// Reports the deferred events of connections that are still open, without the openings of
    /// those that are classified.
    pub(super) fn complete(&mut self, flows: &Flows) {
        let mut deferred = std::mem::take(&mut self.deferred);
        for (event, which) in deferred.drain(..) {
            if let Some(view) = flows.look_up(which)
                && (event != Event::Opened
                    || matches!(view.verdict(), Verdict::Unobserved | Verdict::NoData))
            {
                self.report_flow(event, view);
            }
        }
        self.deferred = deferred;
    }

    /// How many subscribers there are to events.
    fn listeners(&self) -> usize {
        self.tap.receiver_count() + self.recording.receiver_count()
    }

    /// Checks whether the node has closed connections without sending anything: the server may take
    /// longer to close them.
    pub(super) fn find_probes(&mut self, flows: &Flows) {
        for (serial, handle) in std::mem::take(&mut self.suspects) {
            // A connection that has ended was reported with its final class.
            let Some(view) = flows.look_up(handle) else {
                continue;
            };
            let record = self.named(view);
            if record.exempt.is_some() {
                self.renew(serial, handle, record);
            } else {
                self.suspects.insert(serial, handle);
            }
        }
    }

    /// Names flows that were seen before their pod was known, and finds probes.
    pub(super) fn rename(&mut self, flows: &Flows) {
        self.find_probes(flows);
        let generation = self.directory.generation();
        let news = generation != self.generation;
        self.generation = generation;
        if news || self.waiting.is_due(now()) {
            self.report_waiting(now());
        }
        if news {
            self.renaming = self.unnamed.drain().collect();
        }
        let rest = self.renaming.len().saturating_sub(RENAMED_AT_ONCE);
        for (serial, handle) in self.renaming.split_off(rest) {
            if let Some(view) = flows.look_up(handle) {
                let record = self.named(view);
                self.renew(serial, handle, record);
            }
        }
    }

    /// The record of a flow, with the names of its ends.
    fn named(&self, view: Seen<'_>) -> Arc<FlowRecord> {
        let mut named = Arc::new(view.record());
        let record = Arc::make_mut(&mut named);
        record.node = Some(self.node.clone());
        pods::name_flow(&self.directory, record);
        named
    }

    /// More is known about an open flow, without an event.
    fn renew(&mut self, serial: u64, handle: Which, record: Arc<FlowRecord>) {
        self.count(serial, handle, &record, false);
        self.history.note(record, now());
    }

    fn report_flow(&mut self, event: Event, view: Seen<'_>) {
        let (serial, handle) = (view.number(), view.which());
        let deadline = view.first_seen() + PATIENCE;
        let mut record = self.named(view);
        Arc::make_mut(&mut record).event = Some(event.into());
        if self.waiting.holds(serial) || (is_unnamed(&record) && now() < deadline) {
            self.refresher.notify_one();
            let oldest = self.waiting.push(Pending {
                serial,
                handle,
                event,
                deadline,
                record,
            });
            if let Some(oldest) = oldest {
                self.report(oldest);
            }
            return;
        }
        self.report(Pending {
            serial,
            handle,
            event,
            deadline,
            record,
        });
    }

    /// Whether any name is still missing: an idle daemon does not need to wake up for it.
    pub(super) fn lacks_names(&self) -> bool {
        !self.waiting.is_empty() || !self.unnamed.is_empty() || !self.renaming.is_empty()
    }

    /// Reports events whose names are known by now, and those that have waited long enough.
    pub(super) fn report_waiting(&mut self, now: u64) {
        for mut pending in self.waiting.take() {
            if is_unnamed(&pending.record) {
                pods::name_flow(&self.directory, Arc::make_mut(&mut pending.record));
            }
            let wait = is_unnamed(&pending.record) && now < pending.deadline;
            if wait || self.waiting.holds(pending.serial) {
                // It came out of the queue, so there is room for it.
                self.waiting.push(pending);
            } else {
                self.report(pending);
            }
        }
    }

    fn report(&mut self, pending: Pending) {
        let (event, flow) = (pending.event, pending.record);
        self.count(
            pending.serial,
            pending.handle,
            &flow,
            event == Event::Closed,
        );
        let is_open = event != Event::Closed && flow.exempt.is_none();
        if is_open && flow.src.kind() == Some(Kind::Node) && self.suspects.len() < MAX_SUSPECTS {
            self.suspects.insert(pending.serial, pending.handle);
        }
        // Nothing is created without a subscriber.
        if event != Event::Opened && self.listeners() > 0 {
            let mut flow = FlowRecord::clone(&flow);
            flow.first_seen = stamp(flow.first_seen);
            flow.last_seen = stamp(flow.last_seen);
            let flow = Arc::new(flow);
            let _ = self.tap.send(flow.clone());
            let _ = self.recording.send(Recorded::Flow(flow));
        }
        self.history.note(flow, now());
    }

    fn count(&mut self, flow: u64, handle: Which, record: &FlowRecord, closed: bool) {
        if closed {
            self.unnamed.remove(&flow);
        } else if is_unnamed(record)
            && self.unnamed.len() < MAX_UNNAMED
            && self.unnamed.insert(flow, handle).is_none()
        {
            self.refresher.notify_one();
        }
        self.edges.observe(record);
        if let Some(meter) = &mut self.meter {
            meter.observe(record);
        }
    }
}

/// Converts every time in an edge.
fn stamp_all(edge: &mut EdgeRecord) {
    edge.first_seen = stamp(edge.first_seen);
    edge.last_seen = stamp(edge.last_seen);
    for span in edge.verdict_seen.values_mut() {
        span.first_seen = stamp(span.first_seen);
        span.last_seen = stamp(span.last_seen);
    }
}

/// Converts one of the daemon's times to the wall clock.
fn stamp(time: Time) -> Time {
    Time::from_nanos(wall(time.as_nanos()))
}

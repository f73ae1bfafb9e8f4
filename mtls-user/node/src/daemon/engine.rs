//! The thread that reads samples and owns the flows and edges derived from them.
//!
//! It never waits for another task: names come from a snapshot, answers go out over channels
//! without waiting, and a slow event subscriber falls behind alone. Long work is done in steps,
//! with samples read between them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use smol_str::SmolStr;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use super::Options;
use super::flows::{Flows, Seen, Which};
use super::history::History;
use super::lost::Lost;
use super::waiting::{Pending, Waiting, is_unnamed};
use crate::clock::{now, wall};
use crate::edges::EdgeTable;
use crate::kernel::{Events, LossReader, Sample};
use crate::metrics::{self, Meter};
use crate::pods::{self, Directory};
use mtls_core::flow::{Event, FlowStats, Loss};
use mtls_core::record::identities::Identities;
use mtls_core::record::{
    EdgeRecord, EdgeStats, EngineStats, FlowRecord, Kind, Recorded, Sample as Copied, Time, Unseen,
    Verdict,
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
/// Least time between two checks of which interface lost samples, in nanoseconds.
const LOOK_INTO_LOSSES: u64 = 100_000_000;

/// Requests of the server.
pub(super) enum Query {
    Edges(oneshot::Sender<Vec<EdgeRecord>>),
    /// With many times in them, in the daemon's time: the requester converts them.
    Flows(oneshot::Sender<Remembered>),
    /// The edges, and at most this many of their connections.
    Connections(usize, oneshot::Sender<(Vec<EdgeRecord>, Identities)>),
    Stats(oneshot::Sender<Stats>),
    /// The counts for Prometheus; `None` if nothing is counted.
    Metrics(oneshot::Sender<Option<metrics::Snapshot>>),
}

/// The remembered connections.
pub(super) type Remembered = (Vec<Arc<FlowRecord>>, mtls_core::record::History);

/// Sizes and counts.
pub(super) struct Stats {
    /// Of TCP connections, and of UDP flows.
    pub(super) flows: [FlowStats; 2],
    pub(super) edges: EdgeStats,
    pub(super) engine: EngineStats,
    /// Samples lost within the window.
    pub(super) lost: u64,
}

/// How the engine is told to end.
pub(super) enum Stop {
    /// The interfaces are detached: read what is left, and continue answering.
    Drain(oneshot::Sender<()>),
    /// There will be no more requests.
    End,
}

pub(super) struct Engine {
    flows: Flows,
    losses: Losses,
    ledger: Ledger,
    /// More connections are due to be closed than were closed in one step.
    overdue: bool,
    /// The longest time between two reads when there was something to read.
    longest: Duration,
}

/// Samples that the kernel could not deliver.
struct Losses {
    reader: LossReader,
    /// Lost samples that have not been attributed yet.
    pending: u64,
    looked: u64,
    total: Lost,
}

/// What is kept of flows' events, and who is sent them.
struct Ledger {
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
    /// Connections that opened since the last batch: most have another event before the batch is
    /// complete.
    opened: Vec<Which>,
}

impl Engine {
    pub(super) fn new(
        options: &Options,
        losses: LossReader,
        node: SmolStr,
        directory: Arc<Directory>,
        refresher: Arc<Notify>,
    ) -> Self {
        Self {
            flows: Flows::new(options.limits),
            losses: Losses {
                reader: losses,
                pending: 0,
                looked: 0,
                total: Lost::new(options.window),
            },
            ledger: Ledger {
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
                opened: Vec::new(),
            },
            overdue: false,
            longest: Duration::ZERO,
        }
    }

    pub(super) fn tap(&self) -> broadcast::Sender<Arc<FlowRecord>> {
        self.ledger.tap.clone()
    }

    pub(super) fn recording(&self) -> broadcast::Sender<Recorded> {
        self.ledger.recording.clone()
    }

    /// Reads and answers until it is told to end.
    pub(super) async fn run(
        mut self,
        mut events: Events,
        mut queries: mpsc::Receiver<Query>,
        mut stop: mpsc::Receiver<Stop>,
    ) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut rename = tokio::time::interval(Duration::from_millis(100));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        rename.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut drained = false;
        loop {
            let mut busy = None;
            tokio::select! {
                read = events.next(|sample| {
                    let (flows, ledger) = (&mut self.flows, &mut self.ledger);
                    if busy.is_none() {
                        busy = Some(Instant::now());
                        self.losses.look(flows);
                    }
                    ledger.copy(sample);
                    flows.observe(sample, &mut |event, view| ledger.note(event, view));
                }), if !drained => {
                    read.context("read samples")?;
                    self.settle(&mut events);
                    self.announce();
                }
                Some(query) = queries.recv() => {
                    busy = Some(Instant::now());
                    self.answer(query, &events);
                }
                _ = tick.tick() => {
                    busy = Some(Instant::now());
                    self.tick();
                }
                () = std::future::ready(()), if self.overdue => {
                    busy = Some(Instant::now());
                    self.expire(now());
                }
                _ = rename.tick(), if self.ledger.lacks_names() => {
                    busy = Some(Instant::now());
                    self.rename();
                }
                order = stop.recv() => match order {
                    Some(Stop::Drain(done)) => {
                        self.drain(&mut events);
                        drained = true;
                        let _ = done.send(());
                    }
                    Some(Stop::End) | None => return Ok(()),
                }
            }
            if let Some(begun) = busy {
                self.longest = self.longest.max(begun.elapsed());
            }
        }
    }

    /// Reads what the kernel program left behind, and closes everything.
    fn drain(&mut self, events: &mut Events) {
        let (flows, ledger) = (&mut self.flows, &mut self.ledger);
        self.losses.look(flows);
        events.drain(|sample| {
            ledger.copy(sample);
            flows.observe(sample, &mut |event, view| ledger.note(event, view));
        });
        self.settle(events);
        let ledger = &mut self.ledger;
        self.flows
            .drain(&mut |event, view| ledger.note(event, view));
        ledger.tell_waiting(u64::MAX);
    }

    /// Processes what the last batch reported besides segments.
    fn settle(&mut self, events: &mut Events) {
        let (flows, ledger) = (&mut self.flows, &mut self.ledger);
        flows.unread(&events.take_unread());
        for ends in events.take_ended() {
            flows.ended(ends, &mut |event, view| ledger.note(event, view));
        }
    }

    /// Reports connections that opened and had no other event in the same batch.
    fn announce(&mut self) {
        let mut opened = std::mem::take(&mut self.ledger.opened);
        for handle in opened.drain(..) {
            if let Some(view) = self.flows.look_up(handle)
                && matches!(view.verdict(), Verdict::Unobserved | Verdict::NoData)
            {
                self.ledger.tell_of(Event::Opened, view);
            }
        }
        self.ledger.opened = opened;
    }

    fn answer(&mut self, query: Query, events: &Events) {
        // The requester may be gone.
        match query {
            Query::Edges(reply) => {
                self.rename();
                let mut edges = self.ledger.edges.records(now());
                edges.iter_mut().for_each(stamp_all);
                let _ = reply.send(edges);
            }
            Query::Connections(most, reply) => {
                self.rename();
                let (mut edges, ids) = self.ledger.edges.connections(now(), most);
                edges.iter_mut().for_each(stamp_all);
                let _ = reply.send((edges, ids));
            }
            Query::Metrics(reply) => {
                let _ = reply.send(self.ledger.meter.as_ref().map(Meter::snapshot));
            }
            Query::Flows(reply) => {
                self.rename();
                let _ = reply.send(self.ledger.history.told(now()));
            }
            Query::Stats(reply) => {
                let _ = reply.send(Stats {
                    flows: self.flows.stats(),
                    edges: self.ledger.edges.stats(),
                    engine: EngineStats {
                        longest_pause_us: self.longest.as_micros() as u64,
                        malformed: events.malformed(),
                        ring: events.ring(),
                    },
                    lost: self.losses.total.within(now()),
                });
            }
        }
    }

    fn tick(&mut self) {
        let now = now();
        self.losses.look(&mut self.flows);
        self.expire(now);
        self.find_probes();
        let ledger = &mut self.ledger;
        ledger.edges.expire(now);
        ledger.history.expire(now);
        if let Some(meter) = &mut ledger.meter {
            meter.expire(now);
        }
    }

    fn expire(&mut self, now: u64) {
        let ledger = &mut self.ledger;
        self.overdue = self
            .flows
            .expire(now, &mut |event, view| ledger.note(event, view));
    }

    /// Checks whether the node has closed connections without sending anything: the server may take longer
    /// to close them.
    fn find_probes(&mut self) {
        let ledger = &mut self.ledger;
        for (serial, handle) in std::mem::take(&mut ledger.suspects) {
            // A connection that has ended was reported with its final class.
            let Some(view) = self.flows.look_up(handle) else {
                continue;
            };
            let record = ledger.named(view);
            if record.exempt.is_some() {
                ledger.renew(serial, handle, record);
            } else {
                ledger.suspects.insert(serial, handle);
            }
        }
    }

    /// Names flows that were seen before their pod was known, and finds probes.
    fn rename(&mut self) {
        self.find_probes();
        let ledger = &mut self.ledger;
        let generation = ledger.directory.generation();
        let news = generation != ledger.generation;
        ledger.generation = generation;
        if news || ledger.waiting.is_due(now()) {
            ledger.tell_waiting(now());
        }
        if news {
            ledger.renaming = ledger.unnamed.drain().collect();
        }
        let rest = ledger.renaming.len().saturating_sub(RENAMED_AT_ONCE);
        for (serial, handle) in ledger.renaming.split_off(rest) {
            if let Some(view) = self.flows.look_up(handle) {
                let record = ledger.named(view);
                ledger.renew(serial, handle, record);
            }
        }
    }
}

impl Losses {
    /// Passes lost samples to the flows that they may have belonged to.
    fn look(&mut self, flows: &mut Flows) {
        self.pending += self.reader.moved();
        let now = now();
        if self.pending == 0 || now < self.looked + LOOK_INTO_LOSSES {
            return;
        }
        self.total.add(now, self.pending);
        let since = self.looked;
        (self.pending, self.looked) = (0, now);
        for ifindex in self.reader.unnamed() {
            flows.lost(&Loss {
                what: Unseen::Samples,
                link: Some(ifindex),
                between: None,
                since,
                until: now,
            });
        }
    }
}

impl Ledger {
    /// Samples are copied only while somebody records. Foreign ones belong to no connection.
    fn copy(&self, sample: Sample<'_>) {
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

    fn note(&mut self, event: Event, view: Seen<'_>) {
        if event == Event::Opened {
            self.opened.push(view.which());
        } else {
            self.tell_of(event, view);
        }
    }

    /// The record of a flow, with the names of its ends.
    fn named(&self, view: Seen<'_>) -> FlowRecord {
        let mut record = view.record();
        record.node = Some(self.node.clone());
        pods::name_flow(&self.directory, &mut record);
        record
    }

    /// More is known about an open flow, without an event.
    fn renew(&mut self, serial: u64, handle: Which, record: FlowRecord) {
        self.count(serial, handle, &record, false);
        self.history.note(Arc::new(record), now());
    }

    fn tell_of(&mut self, event: Event, view: Seen<'_>) {
        let (serial, handle) = (view.number(), view.which());
        let deadline = view.first_seen() + PATIENCE;
        let mut record = self.named(view);
        record.event = Some(event.into());
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
                self.tell(oldest);
            }
            return;
        }
        self.tell(Pending {
            serial,
            handle,
            event,
            deadline,
            record,
        });
    }

    /// Whether any name is still missing: an idle daemon does not need to wake up for it.
    fn lacks_names(&self) -> bool {
        !self.waiting.is_empty() || !self.unnamed.is_empty() || !self.renaming.is_empty()
    }

    /// Reports events whose names are known by now, and those that have waited long enough.
    fn tell_waiting(&mut self, now: u64) {
        for mut pending in self.waiting.take() {
            if is_unnamed(&pending.record) {
                pods::name_flow(&self.directory, &mut pending.record);
            }
            let wait = is_unnamed(&pending.record) && now < pending.deadline;
            if wait || self.waiting.holds(pending.serial) {
                // It came out of the queue, so there is room for it.
                self.waiting.push(pending);
            } else {
                self.tell(pending);
            }
        }
    }

    fn tell(&mut self, pending: Pending) {
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
        let listeners = self.tap.receiver_count() + self.recording.receiver_count();
        if event != Event::Opened && listeners > 0 {
            let mut flow = flow.clone();
            flow.first_seen = stamp(flow.first_seen);
            flow.last_seen = stamp(flow.last_seen);
            let flow = Arc::new(flow);
            let _ = self.tap.send(flow.clone());
            let _ = self.recording.send(Recorded::Flow(flow));
        }
        self.history.note(Arc::new(flow), now());
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

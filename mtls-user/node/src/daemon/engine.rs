//! The task that reads samples and owns what is made of them: flows and edges.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use smol_str::SmolStr;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

use super::waiting::{Pending, Waiting, is_unnamed};
use super::{Options, told};
use crate::clock::now;
use crate::edges::EdgeTable;
use crate::kernel::Events;
use crate::pods::{self, Directory};
use mtls_core::flow::{Event, FlowStats, FlowTable, Handle, View};
use mtls_core::record::{EdgeRecord, EdgeStats, FlowRecord, Verdict};

/// Events a slow `mtls tap` may fall behind by before it is told how many it missed.
const TAP_BACKLOG: usize = 8_192;
/// A flow of a pod whose name is not known yet is told of so much later, in nanoseconds.
const PATIENCE: u64 = 1_000_000_000;
/// Open flows without a name that are asked after again.
const MAX_UNNAMED: usize = 16_384;

/// What the server asks.
pub(super) enum Query {
    Edges(oneshot::Sender<Vec<EdgeRecord>>),
    Stats(oneshot::Sender<(FlowStats, EdgeStats)>),
}

pub(super) struct Engine {
    flows: FlowTable,
    ledger: Ledger,
}

/// What is written of flows.
struct Ledger {
    edges: EdgeTable,
    node: SmolStr,
    directory: Arc<Directory>,
    tap: broadcast::Sender<Arc<FlowRecord>>,
    refresher: Arc<Notify>,
    waiting: Waiting,
    /// Open flows told of although an end has no name yet.
    unnamed: HashSet<u64>,
    /// The directory's, when names were last looked up again.
    generation: u64,
    /// Connections that opened since the last batch: most have more to tell before it is over.
    opened: Vec<Handle>,
}

impl Engine {
    pub(super) fn new(
        options: &Options,
        node: SmolStr,
        directory: Arc<Directory>,
        refresher: Arc<Notify>,
    ) -> Self {
        Self {
            flows: FlowTable::new(options.limits),
            ledger: Ledger {
                edges: EdgeTable::new(options.window, Some(node.clone())),
                node,
                directory,
                tap: broadcast::Sender::new(TAP_BACKLOG),
                refresher,
                waiting: Waiting::default(),
                unnamed: HashSet::new(),
                generation: 0,
                opened: Vec::new(),
            },
        }
    }

    pub(super) fn tap(&self) -> broadcast::Sender<Arc<FlowRecord>> {
        self.ledger.tap.clone()
    }

    pub(super) async fn run(
        mut self,
        mut events: Events,
        mut queries: mpsc::Receiver<Query>,
        mut stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut rename = tokio::time::interval(Duration::from_millis(100));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        rename.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                read = events.next(|segment| {
                    let ledger = &mut self.ledger;
                    self.flows.observe(segment, &mut |event, view| ledger.note(event, view));
                }) => {
                    read.context("read samples")?;
                    self.flows.unread(&events.take_unread());
                    self.announce();
                }
                Some(query) = queries.recv() => self.answer(query),
                _ = tick.tick() => self.tick(),
                _ = rename.tick(), if self.ledger.lacks_names() => self.rename(),
                () = told(&mut stopped) => break,
            }
        }
        // The attacher lets go of the interfaces meanwhile; what they left in the ring counts.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let ledger = &mut self.ledger;
        events.drain(|segment| {
            self.flows
                .observe(segment, &mut |event, view| ledger.note(event, view));
        });
        self.flows.unread(&events.take_unread());
        self.flows
            .drain(&mut |event, view| ledger.note(event, view));
        ledger.tell_waiting(u64::MAX);
        Ok(())
    }

    /// Tells of connections that opened, and of which nothing else was told in the same batch.
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

    fn answer(&mut self, query: Query) {
        // Whoever asked may have gone.
        match query {
            Query::Edges(reply) => {
                self.rename();
                let _ = reply.send(self.ledger.edges.records(now()));
            }
            Query::Stats(reply) => {
                let _ = reply.send((self.flows.stats(), self.ledger.edges.stats()));
            }
        }
    }

    fn tick(&mut self) {
        let now = now();
        let ledger = &mut self.ledger;
        self.flows
            .expire(now, &mut |event, view| ledger.note(event, view));
        ledger.edges.expire(now);
    }

    /// Gives names to flows that were met before their pod was.
    fn rename(&mut self) {
        let ledger = &mut self.ledger;
        ledger.tell_waiting(now());
        let generation = ledger.directory.generation();
        if generation == ledger.generation || ledger.unnamed.is_empty() {
            ledger.generation = generation;
            return;
        }
        ledger.generation = generation;
        let unnamed = std::mem::take(&mut ledger.unnamed);
        for view in self.flows.open() {
            if unnamed.contains(&view.serial()) {
                let mut record = view.record();
                pods::name_flow(&ledger.directory, &mut record);
                ledger.count(view.serial(), &record, false);
            }
        }
    }
}

impl Ledger {
    fn note(&mut self, event: Event, view: View<'_>) {
        if event == Event::Opened {
            self.opened.push(view.handle());
        } else {
            self.tell_of(event, view);
        }
    }

    fn tell_of(&mut self, event: Event, view: View<'_>) {
        let serial = view.serial();
        let deadline = view.first_seen() + PATIENCE;
        let mut record = view.record();
        record.event = Some(event.into());
        record.node = Some(self.node.clone());
        pods::name_flow(&self.directory, &mut record);
        if self.waiting.holds(serial) || (is_unnamed(&record) && now() < deadline) {
            self.refresher.notify_one();
            let oldest = self.waiting.push(Pending {
                serial,
                event,
                deadline,
                record,
            });
            if let Some(oldest) = oldest {
                self.tell(oldest.serial, oldest.event, oldest.record);
            }
            return;
        }
        self.tell(serial, event, record);
    }

    /// There is somebody to look for names for: an idle daemon need not wake up for it.
    fn lacks_names(&self) -> bool {
        !self.waiting.is_empty() || !self.unnamed.is_empty()
    }

    /// Tells of what has been given a name meanwhile, and of what has waited long enough.
    fn tell_waiting(&mut self, now: u64) {
        for mut pending in self.waiting.take() {
            if is_unnamed(&pending.record) {
                pods::name_flow(&self.directory, &mut pending.record);
            }
            let wait = is_unnamed(&pending.record) && now < pending.deadline;
            if wait || self.waiting.holds(pending.serial) {
                // It came out of the queue, so it fits in again.
                self.waiting.push(pending);
            } else {
                self.tell(pending.serial, pending.event, pending.record);
            }
        }
    }

    fn tell(&mut self, flow: u64, event: Event, record: FlowRecord) {
        self.count(flow, &record, event == Event::Closed);
        // Whoever listens writes it down in its own way.
        if event != Event::Opened && self.tap.receiver_count() > 0 {
            let _ = self.tap.send(Arc::new(record));
        }
    }

    fn count(&mut self, flow: u64, record: &FlowRecord, closed: bool) {
        if closed {
            self.unnamed.remove(&flow);
        } else if is_unnamed(record)
            && self.unnamed.len() < MAX_UNNAMED
            && self.unnamed.insert(flow)
        {
            self.refresher.notify_one();
        }
        self.edges.observe(record);
    }
}

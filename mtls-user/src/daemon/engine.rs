//! The task that reads samples and owns what is made of them: flows and edges.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

use super::{Options, now, told};
use crate::edges::{EdgeRow, EdgeStats, EdgeTable, Seen};
use crate::flow::{Event, FlowStats, FlowTable, View};
use crate::kernel::Events;
use crate::pods::Directory;
use crate::verdict::{FlowRecord, Workload};

/// Events a slow `mtls tap` may fall behind by before it is told how many it missed.
const TAP_BACKLOG: usize = 8_192;
/// Open flows without a name that are asked after again.
const MAX_UNNAMED: usize = 16_384;

/// What the server asks.
pub(super) enum Query {
    Edges(oneshot::Sender<Vec<EdgeRow>>),
    Stats(oneshot::Sender<(FlowStats, EdgeStats)>),
}

/// A line of the tap.
#[derive(serde::Serialize)]
struct Told<'a> {
    /// `classified`, `revised`, `updated` or `closed`.
    event: &'static str,
    #[serde(flatten)]
    flow: &'a FlowRecord,
}

pub(super) struct Engine {
    flows: FlowTable,
    ledger: Ledger,
}

/// What is written of flows.
struct Ledger {
    edges: EdgeTable,
    directory: Arc<Directory>,
    tap: broadcast::Sender<Bytes>,
    refresher: Arc<Notify>,
    /// Open flows with an end that has no name yet.
    unnamed: HashSet<u64>,
    /// The directory's, when names were last looked up again.
    generation: u64,
}

impl Engine {
    pub(super) fn new(
        options: &Options,
        directory: Arc<Directory>,
        refresher: Arc<Notify>,
    ) -> Self {
        Self {
            flows: FlowTable::new(options.limits),
            ledger: Ledger {
                edges: EdgeTable::new(options.window),
                directory,
                tap: broadcast::Sender::new(TAP_BACKLOG),
                refresher,
                unnamed: HashSet::new(),
                generation: 0,
            },
        }
    }

    pub(super) fn tap(&self) -> broadcast::Sender<Bytes> {
        self.ledger.tap.clone()
    }

    pub(super) async fn run(
        mut self,
        mut events: Events,
        mut queries: mpsc::Receiver<Query>,
        mut stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                read = events.next(|segment| {
                    let ledger = &mut self.ledger;
                    self.flows.observe(segment, &mut |event, view| ledger.note(event, view));
                }) => { read.context("read samples")?; }
                Some(query) = queries.recv() => self.answer(query),
                _ = tick.tick() => self.tick(),
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
        self.flows
            .drain(&mut |event, view| ledger.note(event, view));
        Ok(())
    }

    fn answer(&mut self, query: Query) {
        // Whoever asked may have gone.
        match query {
            Query::Edges(reply) => {
                self.rename();
                let _ = reply.send(self.ledger.edges.rows(now()));
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
        self.rename();
    }

    /// Gives names to flows that were met before their pod was.
    fn rename(&mut self) {
        let ledger = &mut self.ledger;
        let generation = ledger.directory.generation();
        if generation == ledger.generation || ledger.unnamed.is_empty() {
            ledger.generation = generation;
            return;
        }
        ledger.generation = generation;
        let unnamed = std::mem::take(&mut ledger.unnamed);
        for view in self.flows.open() {
            if unnamed.contains(&view.serial()) {
                ledger.count(view, ledger.named(view.record()), false);
            }
        }
    }
}

impl Ledger {
    fn note(&mut self, event: Event, view: View<'_>) {
        let closed = event == Event::Closed;
        let record = self.named(view.record());
        let word = match event {
            Event::Opened => None,
            Event::Classified => Some("classified"),
            Event::Revised => Some("revised"),
            Event::Updated => Some("updated"),
            Event::Closed => Some("closed"),
        };
        // Written once for however many listen.
        if let Some(event) = word
            && self.tap.receiver_count() > 0
            && let Ok(mut line) = serde_json::to_vec(&Told {
                event,
                flow: &record,
            })
        {
            line.push(b'\n');
            let _ = self.tap.send(line.into());
        }
        self.count(view, record, closed);
    }

    fn named(&self, mut record: FlowRecord) -> FlowRecord {
        let time = record.last_seen;
        record.src.workload = Some(self.directory.name(record.src.ip, None, time));
        record.dst.workload = Some(self.directory.name(record.dst.ip, None, time));
        record
    }

    fn count(&mut self, view: View<'_>, record: FlowRecord, closed: bool) {
        let tls = record.tls.unwrap_or_default();
        let src = record.src.workload.unwrap_or_default();
        let dst = record.dst.workload.unwrap_or_default();
        let nameless = |workload: &Workload| workload.kind == "unknown";
        if closed {
            self.unnamed.remove(&view.serial());
        } else if (nameless(&src) || nameless(&dst))
            && self.unnamed.len() < MAX_UNNAMED
            && self.unnamed.insert(view.serial())
        {
            self.refresher.notify_one();
        }
        self.edges.observe(Seen {
            flow: view.serial(),
            src,
            dst,
            verdict: record.verdict,
            reason: record.reason,
            client_id: tls.client_identity,
            server_id: tls.server_identity,
            time: record.last_seen,
            closed,
        });
    }
}

//! The thread that reads samples and owns the flows and edges derived from them.
//!
//! It never waits for another task: names come from a snapshot, answers go out over channels
//! without waiting, and a slow event subscriber falls behind alone. Long work is done in steps,
//! with samples read between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use smol_str::SmolStr;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use super::Options;
use super::flows::Flows;
use super::history::Remembered;
use super::ledger::Ledger;
use super::lost::Lost;
use crate::clock::now;
use crate::kernel::{Events, LossReader};
use crate::metrics;
use crate::pods::Directory;
use mtls_core::flow::{FlowStats, Loss};
use mtls_core::record::identities::Identities;
use mtls_core::record::{EdgeRecord, EdgeStats, EngineStats, FlowRecord, Recorded, Unseen};

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
            ledger: Ledger::new(options, node, directory, refresher),
            overdue: false,
            longest: Duration::ZERO,
        }
    }

    pub(super) fn tap(&self) -> broadcast::Sender<Arc<FlowRecord>> {
        self.ledger.tap()
    }

    pub(super) fn recording(&self) -> broadcast::Sender<Recorded> {
        self.ledger.recording()
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
                    self.ledger.rename(&self.flows);
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
            self.ledger.complete(&self.flows);
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
        ledger.report_waiting(u64::MAX);
    }

    /// Processes what the last batch reported besides segments.
    fn settle(&mut self, events: &mut Events) {
        let (flows, ledger) = (&mut self.flows, &mut self.ledger);
        flows.unread(&events.take_unread());
        for ends in events.take_ended() {
            flows.ended(ends, &mut |event, view| ledger.note(event, view));
        }
    }

    fn answer(&mut self, query: Query, events: &Events) {
        // The requester may be gone.
        match query {
            Query::Edges(reply) => {
                self.ledger.rename(&self.flows);
                let _ = reply.send(self.ledger.edges());
            }
            Query::Connections(most, reply) => {
                self.ledger.rename(&self.flows);
                let _ = reply.send(self.ledger.connections(most));
            }
            Query::Metrics(reply) => {
                let _ = reply.send(self.ledger.metrics());
            }
            Query::Flows(reply) => {
                self.ledger.rename(&self.flows);
                let _ = reply.send(self.ledger.history());
            }
            Query::Stats(reply) => {
                let _ = reply.send(Stats {
                    flows: self.flows.stats(),
                    edges: self.ledger.edge_stats(),
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
        self.ledger.find_probes(&self.flows);
        self.ledger.expire(now);
    }

    fn expire(&mut self, now: u64) {
        let ledger = &mut self.ledger;
        self.overdue = self
            .flows
            .expire(now, &mut |event, view| ledger.note(event, view));
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

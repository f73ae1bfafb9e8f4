//! Exports records of edge changes, and metrics, for OpenTelemetry.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;

use super::parts::Parts;
use super::{engine, server};
use crate::clock::{now, wall};
use crate::metrics::{Outlet, points};
use crate::otlp::{self, Changes, Protocol, Queue, Resource, Sender};

/// What is exported, and where to.
#[derive(Clone, Debug)]
pub struct Export {
    /// The Collector's URL.
    pub url: Option<String>,
    /// The protocol.
    pub protocol: Protocol,
    /// Headers, lines of `NAME: VALUE`.
    pub headers: Vec<String>,
    /// Whether to send metrics too.
    pub metrics: bool,
    /// A file for records, one per line; `-` is standard output.
    pub lines: Option<PathBuf>,
    /// How often edges are summarised, and metrics sent.
    pub interval: Duration,
    /// Most records queued per output.
    pub queue: usize,
    /// The cluster's name.
    pub cluster: Option<String>,
}

/// The queues of records.
#[derive(Clone, Default)]
pub(super) struct Queues {
    otlp: Option<Arc<Queue>>,
    lines: Option<Arc<Queue>>,
}

impl Queues {
    /// One for each enabled output.
    pub(super) fn new(export: &Export) -> Self {
        let queue = |name| Arc::new(Queue::new(name, export.queue));
        Self {
            otlp: export.url.is_some().then(|| queue("otlp")),
            lines: export.lines.is_some().then(|| queue("events")),
        }
    }

    fn each(&self) -> impl Iterator<Item = &Arc<Queue>> {
        [&self.otlp, &self.lines].into_iter().flatten()
    }

    pub(super) fn outlets(&self) -> Vec<Outlet> {
        self.each().map(|queue| queue.outlet()).collect()
    }

    fn push(&self, notice: otlp::Notice) {
        let notice = Arc::new(notice);
        for queue in self.each() {
            queue.push(notice.clone());
        }
    }
}

/// Starts the enabled outputs.
pub(super) fn start(
    parts: &mut Parts,
    export: &Export,
    state: &Arc<server::State>,
) -> anyhow::Result<()> {
    let resource = Resource {
        node: state.node.clone(),
        cluster: export.cluster.as_deref().map(Into::into),
    };
    let queues = &state.queues;
    if let (Some(url), Some(queue)) = (&export.url, queues.otlp.clone()) {
        let sender = Sender::new(url, export.protocol, &export.headers)?;
        if export.metrics {
            let (sender, resource) = (sender.clone(), resource.clone());
            let metrics = metrics(state.clone(), sender, resource, export.interval);
            parts.task("sending metrics", metrics);
        }
        let sending = otlp::export(queue, sender, resource.clone());
        parts.task("sending records", sending);
    }
    if let (Some(path), Some(queue)) = (export.lines.clone(), queues.lines.clone()) {
        let runtime = tokio::runtime::Handle::current();
        parts.thread("events", "writing events", move || {
            otlp::write_lines(&queue, &path, &resource, &runtime)
        })?;
    }
    if queues.each().next().is_some() {
        parts.task("finding news", news(state.clone(), export.interval));
    }
    Ok(())
}

/// Finds reportable changes, and queues records of them.
async fn news(state: Arc<server::State>, interval: Duration) -> anyhow::Result<()> {
    let mut events = state.tap.subscribe();
    let mut changes = Changes::default();
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    let mut since = wall(now());
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(flow) => for notice in changes.observe(&flow) {
                    state.queues.push(notice);
                },
                // The summaries contain what was missed, and this says that something was.
                Err(RecvError::Lagged(missed)) => for queue in state.queues.each() {
                    queue.missed(missed);
                },
                Err(RecvError::Closed) => std::future::pending().await,
            },
            _ = tick.tick() => {
                let (reply, answer) = oneshot::channel();
                let _ = state.engine.send(engine::Query::Edges(reply)).await;
                let until = wall(now());
                for edge in answer.await.unwrap_or_default() {
                    if edge.open_connections > 0 || edge.last_seen.as_nanos() >= since {
                        state.queues.push(otlp::summary(&edge));
                    }
                }
                since = until;
            }
        }
    }
}

async fn metrics(
    state: Arc<server::State>,
    sender: Sender,
    resource: Resource,
    interval: Duration,
) -> anyhow::Result<()> {
    let start = wall(now()).saturating_sub(state.started.elapsed().as_nanos() as u64);
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some((snapshot, status)) = state.metrics().await else {
            continue;
        };
        let outlets = state.outlets();
        let resource = resource.clone();
        let request = tokio::task::spawn_blocking(move || {
            let points = points(snapshot, status, outlets);
            otlp::metrics_request(&points, &resource, start, wall(now()))
        });
        // They are counters: values that do not arrive are included in the next ones.
        if let Err(error) = sender.metrics(request.await?).await {
            tracing::debug!("OTLP: metrics: {error:#}");
        }
    }
}

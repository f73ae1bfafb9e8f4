//! The node's API on its socket: HTTP/1.1 and JSON.
//!
//! `GET /v1/edges`: an [`EdgeList`]. `GET /v1/flows`: a [`FlowList`]. `GET /v1/tap`: one
//! [`TapLine`] per line for as long as the client listens. `GET /v1/status`: [`Status`].

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use smol_str::SmolStr;
use tokio::net::UnixListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, SemaphorePermit, broadcast, mpsc, oneshot, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::connections::{self, Activity};
use super::coverage::coverage;
use super::exporter::Queues;
use super::witness::Tallies;
use super::{attacher, engine, told};
use crate::clock::{now, wall};
use crate::metrics::{self, Outlet};
use crate::pods::Directory;
use mtls_core::record::identities::NodeEdges;
use mtls_core::record::{
    EdgeList, EdgeRecord, FlowList, FlowRecord, KernelStatus, PodCoverage, Recorded, SCHEMA,
    Status, TapLine, Time, Watched,
};

/// Bytes of answers that clients have not read yet, in total.
const UNREAD: usize = 64 << 20;
/// Bytes of an answer written at a time.
const CHUNK: usize = 64 << 10;

/// What a request handler needs.
pub(super) struct State {
    pub(super) engine: mpsc::Sender<engine::Query>,
    pub(super) attacher: Sender<attacher::Command>,
    pub(super) tap: broadcast::Sender<Arc<FlowRecord>>,
    pub(super) recording: broadcast::Sender<Recorded>,
    pub(super) node: SmolStr,
    pub(super) directory: Arc<Directory>,
    pub(super) socket: PathBuf,
    pub(super) window: Duration,
    pub(super) started: Instant,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) room: Room,
    pub(super) queues: Queues,
    pub(super) tallies: Tallies,
}

/// Memory for answers. One is created at a time, and only as many are kept as fit.
pub(super) struct Room {
    bytes: Arc<Semaphore>,
    making: Semaphore,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(UNREAD)),
            making: Semaphore::new(1),
        }
    }
}

impl State {
    /// Exclusive permission to create an answer; `None` if the daemon is shutting down.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.room.making.acquire().await.ok()
    }

    /// The edges.
    async fn edges(&self) -> Option<EdgeList> {
        let (reply, answer) = oneshot::channel();
        let _ = self.engine.send(engine::Query::Edges(reply)).await;
        self.list(answer.await.ok()?).await
    }

    /// The edges, and at most `most` of their connections.
    pub(super) async fn connections(&self, most: usize) -> Option<NodeEdges> {
        let (reply, answer) = oneshot::channel();
        let query = engine::Query::Connections(most, reply);
        let _ = self.engine.send(query).await;
        let (items, identities) = answer.await.ok()?;
        let edges = self.list(items).await?;
        Some(NodeEdges { edges, identities })
    }

    fn coverage(&self, kernel: &KernelStatus, samples_lost: u64) -> PodCoverage {
        coverage(&self.directory.local_pods(&self.node), kernel, samples_lost)
    }

    /// Edges with their envelope.
    async fn list(&self, items: Vec<EdgeRecord>) -> Option<EdgeList> {
        let (stats, kernel) = (stats(self).await?, kernel(self).await?);
        let coverage = self.coverage(&kernel, stats.lost);
        Some(EdgeList {
            schema: SCHEMA,
            node: Some(self.node.clone()),
            generated: Time::from_nanos(wall(now())),
            window_seconds: self.window.as_secs(),
            nodes: None,
            watched: watched(&kernel, &coverage),
            items,
        })
    }

    /// The remembered connections, at most this many, the latest last; `None` if the daemon is
    /// shutting down.
    pub(super) async fn flows(&self, most: usize) -> Option<FlowList> {
        let (reply, answer) = oneshot::channel();
        let _ = self.engine.send(engine::Query::Flows(reply)).await;
        let (mut flows, mut history) = answer.await.ok()?;
        let (stats, kernel) = (stats(self).await?, kernel(self).await?);
        let coverage = self.coverage(&kernel, stats.lost);
        let stamp = |time: Time| Time::from_nanos(wall(time.as_nanos()));
        let left_out = flows.len().saturating_sub(most);
        if left_out > 0 {
            flows.drain(..left_out);
            history.forgotten += left_out as u64;
            history.since = flows.first().map(|flow| flow.last_seen);
        }
        let stamped = move || {
            let flows = flows.into_iter().map(|flow| {
                let mut flow = Arc::unwrap_or_clone(flow);
                flow.first_seen = stamp(flow.first_seen);
                flow.last_seen = stamp(flow.last_seen);
                flow
            });
            flows.collect()
        };
        let items = tokio::task::spawn_blocking(stamped).await.ok()?;
        history.since = history.since.map(stamp);
        Some(FlowList {
            schema: SCHEMA,
            node: Some(self.node.clone()),
            generated: Time::from_nanos(wall(now())),
            window_seconds: self.window.as_secs(),
            nodes: None,
            watched: Some(watched(&kernel, &coverage)),
            history: Some(history),
            items,
        })
    }

    /// The counts for metrics; `None` if nothing is counted, or the daemon is shutting down.
    pub(super) async fn metrics(&self) -> Option<(metrics::Snapshot, Status)> {
        let (reply, answer) = oneshot::channel();
        let _ = self.engine.send(engine::Query::Metrics(reply)).await;
        Some((answer.await.ok()??, self.status().await?))
    }

    /// The state of the exports.
    pub(super) fn outlets(&self) -> Vec<Outlet> {
        let mut outlets = self.queues.outlets();
        outlets.extend(self.tallies.outlets());
        outlets
    }

    /// The daemon's state; `None` if it is shutting down.
    pub(super) async fn status(&self) -> Option<Status> {
        let (stats, kernel) = (stats(self).await?, kernel(self).await?);
        let mut sources = self.directory.health();
        for source in &mut sources {
            let updated = source.updated.map(Time::as_nanos);
            source.updated = updated.map(|time| Time::from_nanos(wall(time)));
        }
        let generated = Time::from_nanos(wall(now()));
        Some(Status {
            schema: SCHEMA,
            node: Some(self.node.clone()),
            generated,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            socket: self.socket.display().to_string(),
            window_seconds: self.window.as_secs(),
            coverage: self.coverage(&kernel, stats.lost),
            process: crate::metrics::stats(),
            engine: stats.engine,
            kernel,
            flows: stats.flows[0],
            datagrams: stats.flows[1],
            edges: stats.edges,
            sources,
            exemptions: self.directory.declared().list(generated),
        })
    }

    /// One line for each event that `see` lets through, in the form that it returns, until `until`.
    pub(super) fn stream(
        &self,
        see: impl Fn(Arc<FlowRecord>) -> Option<Arc<FlowRecord>> + Send + 'static,
        until: impl Future<Output = ()> + Send + 'static,
    ) -> Response {
        let node = self.node.clone();
        let line = move |event| match event {
            Ok(flow) => see(flow).map(TapLine::Flow),
            Err(missed) => Some(TapLine::missed(Some(node.clone()), missed)),
        };
        self.lines(self.tap.subscribe(), line, until)
    }

    /// Samples and outcomes of connections, one per line. Only for callers on the socket, because
    /// they contain payload.
    fn record(&self) -> Response {
        let line = |event: Result<_, _>| Some(event.unwrap_or_else(Recorded::Missed));
        self.lines(self.recording.subscribe(), line, std::future::pending())
    }

    /// The result of `line` for each event, or for the number of missed ones, as JSON lines.
    fn lines<T: Clone + Send + 'static, L: serde::Serialize + Send>(
        &self,
        mut events: broadcast::Receiver<T>,
        line: impl Fn(Result<T, u64>) -> Option<L> + Send + 'static,
        until: impl Future<Output = ()> + Send + 'static,
    ) -> Response {
        let mut stopped = self.stopped.clone();
        // The body has a small queue of its own, so that a client that does not read blocks nobody
        // else.
        let (lines, body) = mpsc::channel::<Bytes>(64);
        tokio::spawn(async move {
            let mut until = std::pin::pin!(until);
            loop {
                let event = tokio::select! {
                    biased;
                    () = &mut until => break,
                    () = told(&mut stopped) => break,
                    () = lines.closed() => break,
                    event = events.recv() => event,
                };
                let event = match event {
                    Ok(event) => Ok(event),
                    Err(RecvError::Lagged(missed)) => Err(missed),
                    Err(RecvError::Closed) => break,
                };
                let json = line(event).map(|line| serde_json::to_vec(&line));
                let Some(Ok(mut json)) = json else {
                    continue;
                };
                json.push(b'\n');
                if lines.send(json.into()).await.is_err() {
                    break;
                }
            }
        });
        (
            [(header::CONTENT_TYPE, "application/jsonl")],
            Body::from_stream(ReceiverStream::new(body).map(Ok::<_, std::io::Error>)),
        )
            .into_response()
    }
}

type Shared = extract::State<Arc<State>>;

/// Serves until it is aborted.
pub(super) async fn serve(listener: UnixListener, state: Arc<State>) {
    let app = Router::new()
        .route("/v1/edges", get(edges))
        .route("/v1/flows", get(flows))
        .route("/v1/tap", get(tap))
        .route("/v1/record", get(record))
        .route("/v1/status", get(status))
        .with_state(state);
    connections::serve(listener, app).await;
}

/// The daemon is shutting down.
pub(super) fn stopping() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping\n").into_response()
}

impl Room {
    /// Writes an answer without blocking the other tasks of this thread.
    pub(super) async fn answer<T: serde::Serialize + Send + 'static>(&self, value: T) -> Response {
        let json = tokio::task::spawn_blocking(move || serde_json::to_vec(&value));
        let json: Bytes = match json.await {
            Ok(Ok(json)) => json.into(),
            Ok(Err(error)) => return failed(&error),
            Err(error) => return failed(&error),
        };
        // An answer of any size is admitted if there are no others.
        let size = json.len().clamp(1, UNREAD) as u32;
        let Ok(Ok(room)) = tokio::time::timeout(
            Duration::from_secs(5),
            self.bytes.clone().acquire_many_owned(size),
        )
        .await
        else {
            let text = "others do not read their answers: ask again later\n";
            return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        };
        // The memory is released when the answer has been read, or its reader is gone.
        let chunks = (0..json.len()).step_by(CHUNK).map(move |at| {
            let _room = &room;
            Ok::<_, std::io::Error>(json.slice(at..(at + CHUNK).min(json.len())))
        });
        (
            [(header::CONTENT_TYPE, "application/json")],
            Body::from_stream(tokio_stream::iter(chunks)),
        )
            .into_response()
    }
}

fn failed(error: &dyn std::error::Error) -> Response {
    tracing::error!("an answer: {error}");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

async fn edges(state: Shared, activity: Extension<Activity>) -> Response {
    activity.answered();
    let Some(_turn) = state.turn().await else {
        return stopping();
    };
    match state.edges().await {
        Some(list) => state.room.answer(list).await,
        None => stopping(),
    }
}

async fn flows(state: Shared, activity: Extension<Activity>) -> Response {
    activity.answered();
    let Some(_turn) = state.turn().await else {
        return stopping();
    };
    match state.flows(usize::MAX).await {
        Some(list) => state.room.answer(list).await,
        None => stopping(),
    }
}

/// How much of the node can be seen.
fn watched(kernel: &KernelStatus, coverage: &PodCoverage) -> Watched {
    Watched {
        interfaces: kernel.interfaces.len() as u64,
        interfaces_failed: kernel.not_attached.len() as u64,
        samples_lost: Some(coverage.samples_lost),
        pods: Some(coverage.pods),
        pods_watched: Some(coverage.watched),
    }
}

async fn stats(state: &State) -> Option<engine::Stats> {
    let (reply, answer) = oneshot::channel();
    let _ = state.engine.send(engine::Query::Stats(reply)).await;
    answer.await.ok()
}

/// The attacher's part of the answer; `None` if it has stopped.
async fn kernel(state: &State) -> Option<KernelStatus> {
    let (reply, answer) = oneshot::channel();
    let _ = state.attacher.send(attacher::Command::Status(reply));
    answer.await.ok()
}

async fn status(state: Shared, activity: Extension<Activity>) -> Response {
    activity.answered();
    match state.status().await {
        Some(status) => state.room.answer(status).await,
        None => stopping(),
    }
}

async fn record(state: Shared, activity: Extension<Activity>) -> Response {
    activity.streaming();
    state.record()
}

async fn tap(state: Shared, activity: Extension<Activity>) -> Response {
    activity.streaming();
    state.stream(Some, std::future::pending())
}

//! The node's API on its socket: HTTP/1.1 and JSON.
//!
//! `GET /v1/edges`: an [`EdgeList`]. `GET /v1/tap`: a [`TapLine`] a line for as long as the client
//! listens. `GET /v1/status`: [`Status`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use smol_str::SmolStr;
use tokio::net::UnixListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::{attacher, engine, told};
use crate::clock::now;
use crate::pods::Directory;
use mtls_core::record::{
    EdgeList, FlowRecord, KernelStatus, SCHEMA, Status, TapLine, Time, Watched,
};

/// What a request needs.
pub(super) struct State {
    pub(super) engine: mpsc::Sender<engine::Query>,
    pub(super) attacher: mpsc::Sender<attacher::Query>,
    pub(super) tap: broadcast::Sender<Arc<FlowRecord>>,
    pub(super) node: SmolStr,
    pub(super) directory: Arc<Directory>,
    pub(super) socket: PathBuf,
    pub(super) window: Duration,
    pub(super) started: Instant,
    pub(super) stopped: watch::Receiver<bool>,
}

type Shared = extract::State<Arc<State>>;

/// Answers until told to stop.
pub(super) async fn serve(listener: UnixListener, state: State) {
    let mut stopped = state.stopped.clone();
    let app = Router::new()
        .route("/v1/edges", get(edges))
        .route("/v1/tap", get(tap))
        .route("/v1/status", get(status))
        .with_state(Arc::new(state));
    let served = axum::serve(listener, app).with_graceful_shutdown(async move {
        told(&mut stopped).await;
    });
    if let Err(error) = served.await {
        tracing::error!("the socket: {error}");
    }
}

/// The daemon is on its way out.
fn stopping() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping\n").into_response()
}

async fn edges(state: Shared) -> Response {
    let (reply, answer) = oneshot::channel();
    let _ = state.engine.send(engine::Query::Edges(reply)).await;
    let Ok(items) = answer.await else {
        return stopping();
    };
    let Some(kernel) = kernel(&state).await else {
        return stopping();
    };
    Json(EdgeList {
        schema: SCHEMA,
        node: Some(state.node.clone()),
        generated: Time::from_nanos(now()),
        window_seconds: state.window.as_secs(),
        watched: Watched {
            interfaces: kernel.interfaces.len() as u64,
            interfaces_failed: kernel.not_attached.len() as u64,
            ..Watched::default()
        },
        items,
    })
    .into_response()
}

/// The attacher's part of the answer; `None` when it has stopped.
async fn kernel(state: &State) -> Option<KernelStatus> {
    let (reply, answer) = oneshot::channel();
    let _ = state.attacher.send(attacher::Query::Status(reply)).await;
    answer.await.ok()
}

async fn status(state: Shared) -> Response {
    let (reply, answer) = oneshot::channel();
    let _ = state.engine.send(engine::Query::Stats(reply)).await;
    let Ok((flows, edges)) = answer.await else {
        return stopping();
    };
    let Some(kernel) = kernel(&state).await else {
        return stopping();
    };
    let generated = Time::from_nanos(now());
    Json(Status {
        schema: SCHEMA,
        node: Some(state.node.clone()),
        generated,
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        uptime_seconds: state.started.elapsed().as_secs(),
        socket: state.socket.display().to_string(),
        window_seconds: state.window.as_secs(),
        kernel,
        flows,
        edges,
        sources: state.directory.health(),
        exemptions: state.directory.declared().list(generated),
    })
    .into_response()
}

async fn tap(state: Shared) -> Response {
    let mut events = state.tap.subscribe();
    let mut stopped = state.stopped.clone();
    let node = state.node.clone();
    // The body's own little queue: a client that does not read holds up nobody else.
    let (lines, body) = mpsc::channel::<Result<Bytes, std::io::Error>>(64);
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = told(&mut stopped) => break,
                () = lines.closed() => break,
            };
            let line = match event {
                Ok(flow) => TapLine::Flow(flow),
                Err(RecvError::Lagged(missed)) => TapLine::missed(Some(node.clone()), missed),
                Err(RecvError::Closed) => break,
            };
            let Ok(mut json) = serde_json::to_vec(&line) else {
                continue;
            };
            json.push(b'\n');
            if lines.send(Ok(json.into())).await.is_err() {
                break;
            }
        }
    });
    (
        [(header::CONTENT_TYPE, "application/jsonl")],
        Body::from_stream(ReceiverStream::new(body)),
    )
        .into_response()
}

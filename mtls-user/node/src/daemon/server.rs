//! The node's API on its socket: HTTP/1.1 and JSON.
//!
//! `GET /v1/edges`: an array of [`EdgeRow`](crate::edges::EdgeRow)s. `GET /v1/tap`: one JSON
//! object a line for as long as the client listens. `GET /v1/status`: [`Status`].

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
use tokio::net::UnixListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::status::Status;
use super::{attacher, engine, told};
use crate::pods::Directory;

/// What a request needs.
pub(super) struct State {
    pub(super) engine: mpsc::Sender<engine::Query>,
    pub(super) attacher: mpsc::Sender<attacher::Query>,
    pub(super) tap: broadcast::Sender<Bytes>,
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
    match answer.await {
        Ok(rows) => Json(rows).into_response(),
        Err(_) => stopping(),
    }
}

async fn status(state: Shared) -> Response {
    let (reply, answer) = oneshot::channel();
    let _ = state.engine.send(engine::Query::Stats(reply)).await;
    let Ok((flows, edges)) = answer.await else {
        return stopping();
    };
    let (reply, answer) = oneshot::channel();
    let _ = state.attacher.send(attacher::Query::Status(reply)).await;
    let Ok(kernel) = answer.await else {
        return stopping();
    };
    Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        uptime: state.started.elapsed().as_secs(),
        socket: state.socket.display().to_string(),
        window: state.window.as_secs(),
        kernel,
        flows,
        edges,
        sources: state.directory.health(),
    })
    .into_response()
}

async fn tap(state: Shared) -> Response {
    let mut events = state.tap.subscribe();
    let mut stopped = state.stopped.clone();
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
                Ok(line) => line,
                Err(RecvError::Lagged(missed)) => format!("{{\"missed\":{missed}}}\n").into(),
                Err(RecvError::Closed) => break,
            };
            if lines.send(Ok(line)).await.is_err() {
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

//! The part of the Kubernetes API that is used here, with traffic counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// The daemons' port.
pub(crate) const PORT: u16 = 9_847;

/// The scripted API, and its counters.
#[derive(Default)]
pub(crate) struct Server {
    nodes: usize,
    /// Bytes forwarded, both ways.
    pub(crate) bytes: AtomicU64,
    /// Requests by the client of the cluster.
    pub(crate) requests: AtomicU64,
    pub(crate) forwards: AtomicU64,
    /// Requests by the daemons, about the client.
    pub(crate) reviews: AtomicU64,
}

impl Server {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            nodes,
            ..Self::default()
        }
    }

    /// The address at which it listens from now on.
    pub(crate) async fn start(self: Arc<Self>) -> Result<SocketAddr> {
        let app = Router::new()
            .route("/apis/apps/v1/namespaces/mtls/daemonsets", get(daemonsets))
            .route("/api/v1/namespaces/mtls/pods", get(pods))
            .route(
                "/api/v1/namespaces/mtls/serviceaccounts/mtls-viewer/token",
                post(token),
            )
            .route(
                "/api/v1/namespaces/mtls/pods/{pod}/portforward",
                get(forward),
            )
            .route(
                "/apis/authentication.k8s.io/v1/tokenreviews",
                post(token_review),
            )
            .route(
                "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                post(access_review),
            )
            .with_state(self);
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
        let address = listener.local_addr().context("where it listens")?;
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(address)
    }
}

fn note(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

type Shared = State<Arc<Server>>;

async fn daemonsets(server: Shared) -> Json<Value> {
    note(&server.requests);
    Json(
        json!({"apiVersion": "apps/v1", "kind": "DaemonSetList", "metadata": {}, "items": [{
            "metadata": {"name": "mtls", "uid": "u"},
            "spec": {"selector": {}, "template": {"spec": {"containers": [
                {"name": "mtls", "ports": [{"name": "api", "containerPort": PORT}]}]}}},
            "status": {"desiredNumberScheduled": server.nodes, "currentNumberScheduled": server.nodes,
                "numberMisscheduled": 0, "numberReady": server.nodes},
        }]}),
    )
}

/// In pages, like the API server.
async fn pods(server: Shared, request: Request) -> Json<Value> {
    note(&server.requests);
    let query = request.uri().query().unwrap_or_default();
    let of = |name: &str| {
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(name));
        pair.and_then(|value| value.parse::<usize>().ok())
    };
    let first = of("continue=").unwrap_or(0);
    let end = (first + of("limit=").unwrap_or(server.nodes)).min(server.nodes);
    let next = if end < server.nodes {
        end.to_string()
    } else {
        String::new()
    };
    let pod = |node: usize| {
        json!({
            "metadata": {"name": format!("mtls-{node}"), "namespace": "mtls", "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "mtls", "uid": "u",
                "controller": true}]},
            "spec": {"nodeName": super::edges::node_name(node), "containers": []},
            "status": {"phase": "Running"},
        })
    };
    let items: Vec<_> = (first..end).map(pod).collect();
    Json(
        json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"continue": next},
        "items": items}),
    )
}

async fn token(server: Shared) -> (StatusCode, Json<Value>) {
    note(&server.requests);
    let made = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "metadata": {}, "spec": {}, "status": {"token": "t"}});
    (StatusCode::CREATED, Json(made))
}

async fn token_review(server: Shared, review: Json<Value>) -> (StatusCode, Json<Value>) {
    let user = json!({"username": "viewer"});
    server.review(
        review.0,
        json!({"authenticated": true, "audiences": ["mtls"], "user": user}),
    )
}

async fn access_review(server: Shared, review: Json<Value>) -> (StatusCode, Json<Value>) {
    server.review(review.0, json!({"allowed": true}))
}

impl Server {
    fn review(&self, mut review: Value, status: Value) -> (StatusCode, Json<Value>) {
        note(&self.reviews);
        review["status"] = status;
        (StatusCode::CREATED, Json(review))
    }
}

/// `pods/portforward` over a WebSocket: each message begins with its channel, 0 for data and 1 for
/// errors, and the first message of each channel is the port.
async fn forward(
    server: Shared,
    Path(pod): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Response<Body> {
    note(&server.requests);
    note(&server.forwards);
    let node = pod.strip_prefix("mtls-").and_then(|node| node.parse().ok());
    let (Some(node), Some(key)) = (node, headers.get(header::SEC_WEBSOCKET_KEY)) else {
        let response = Response::builder().status(StatusCode::BAD_REQUEST);
        return response.body(Body::empty()).expect("a response");
    };
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
        if let Err(error) = carry(&server, node, request).await {
            eprintln!("forwarding to node {node}: {error:#}");
        }
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .header(header::SEC_WEBSOCKET_PROTOCOL, "v4.channel.k8s.io");
    response.body(Body::empty()).expect("a response")
}

async fn carry(server: &Server, node: usize, request: Request) -> Result<()> {
    let upgraded = hyper::upgrade::on(request).await.context("upgrade")?;
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (mut out, mut inward) = socket.split();
    let [low, high] = PORT.to_le_bytes();
    for channel in [0, 1] {
        out.send(Message::binary(vec![channel, low, high])).await?;
    }
    let stream = TcpStream::connect(super::address(node)).await;
    let (mut read, mut write) = stream.context("connect to the daemon")?.into_split();
    let count = |n: usize| server.bytes.fetch_add(n as u64, Ordering::Relaxed);
    let to_pod = async {
        while let Some(Ok(message)) = inward.next().await {
            match message {
                Message::Binary(data) if data.first() == Some(&0) => {
                    count(data.len());
                    write.write_all(&data[1..]).await?;
                }
                Message::Close(_) => break,
                _ => {}
            }
        }
        anyhow::Ok(())
    };
    let from_pod = async {
        loop {
            // As the kubelet copies it.
            let mut data = vec![0; 32 << 10];
            let n = read.read(&mut data[1..]).await?;
            if n == 0 {
                break;
            }
            data.truncate(n + 1);
            count(n + 1);
            out.send(Message::binary(data)).await?;
        }
        out.close().await?;
        anyhow::Ok(())
    };
    tokio::select! {
        // The client has what it needs, and is gone.
        done = to_pod => done,
        done = from_pod => done,
    }
}

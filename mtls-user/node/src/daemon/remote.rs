//! Answers callers from outside the node: the same records as on the socket, as far as the
//! Kubernetes API permits.
//!
//! It listens only on the node's loopback interface, which `pods/portforward` reaches. The
//! connection is unencrypted, because the API server encrypts the way to the kubelet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use mtls_core::record::FlowRecord;
use serde::Deserialize;
use smol_str::SmolStr;
use tokio::net::TcpListener;
use tokio::sync::SemaphorePermit;

use super::connections::{Activity, Clients, wait_after};
use super::server::{self, stopping};
use crate::api::{self, Access, Refused, Resource, Scope};

/// How often listening is retried if the port is in use.
const AGAIN: Duration = Duration::from_secs(5);
/// How often the permission of a tap's reader is checked again.
const STILL: Duration = Duration::from_secs(10);

struct Shared {
    access: Access,
    state: Arc<server::State>,
}

impl Shared {
    /// What the caller may see of a list, with permission to create one; or else the error
    /// response.
    async fn admit(
        &self,
        token: &Token,
        resource: Resource,
        namespace: Option<&str>,
        activity: &Activity,
    ) -> Result<(Scope, SemaphorePermit<'_>), Response> {
        let scope = self.access.scope(&token.0, resource, namespace).await;
        let scope = scope.map_err(refused)?;
        activity.answered();
        let turn = self.state.turn().await.ok_or_else(stopping)?;
        Ok((scope, turn))
    }
}

/// The caller's token, if the API server accepts it.
#[derive(Clone)]
struct Token(Arc<str>);

/// Parameters of the query string.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    namespace: Option<SmolStr>,
    /// How many connections may be reported, with the edges or individually.
    connections: Option<u32>,
}

/// Serves until it is aborted.
pub(super) async fn serve(
    address: SocketAddr,
    access: Access,
    state: Arc<server::State>,
) -> anyhow::Result<()> {
    let shared = Arc::new(Shared { access, state });
    let app = Router::new()
        .route("/v1/edges", get(edges))
        .route("/v1/flows", get(flows))
        .route("/v1/tap", get(tap))
        .route("/v1/status", get(status))
        .fallback(|| async { StatusCode::NOT_FOUND })
        // Before anything else: an unauthorised caller does not even learn which paths exist.
        .layer(from_fn_with_state(shared.clone(), authenticated))
        .with_state(shared);
    let listener = listen(address).await;
    let mut clients = Clients::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => clients.add(async { Ok(stream) }, &app),
            Err(error) => wait_after("the API", &error).await,
        }
    }
}

/// If another process has the port, the daemon continues to work.
async fn listen(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => tracing::error!("--api {address}: {error}; it is tried again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn authenticated(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(token) = token(request.headers()) else {
        return refused(Refused::Unauthenticated);
    };
    if let Err(why) = shared.access.authenticate(&token).await {
        return refused(why);
    }
    request.extensions_mut().insert(Token(token.into()));
    next.run(request).await
}

/// RFC 6750 §2.1: one header, one token.
fn token(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn refused(why: Refused) -> Response {
    match why {
        Refused::Unauthenticated => {
            let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, ask).into_response()
        }
        Refused::Forbidden => StatusCode::FORBIDDEN.into_response(),
        Refused::Unknown => {
            let text = "the Kubernetes API cannot be asked whether you may see this\n";
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        Refused::Busy => StatusCode::TOO_MANY_REQUESTS.into_response(),
    }
}

async fn edges(
    State(shared): State<Arc<Shared>>,
    Extension(activity): Extension<Activity>,
    Extension(token): Extension<Token>,
    Query(asked): Query<Asked>,
) -> Response {
    let namespace = asked.namespace.as_deref();
    let admitted = shared.admit(&token, Resource::Edges, namespace, &activity);
    let (scope, _turn) = match admitted.await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    let state = &shared.state;
    let most = asked.connections.unwrap_or(0) as usize;
    let Some(all) = state.connections(most).await else {
        return stopping();
    };
    state
        .room
        .answer(match (&scope, namespace) {
            (Scope::Namespace(own), _) => api::edges(all, |edge| api::edge(edge, own)),
            (Scope::Cluster, None) => all,
            (Scope::Cluster, Some(wanted)) => {
                // A caller who may see everything also sees how much of it is watched.
                let watched = all.edges.watched;
                let mut some = api::edges(all, |edge| {
                    let ends = [edge.src.namespace(), edge.dst.namespace()];
                    ends.contains(&Some(wanted)).then(|| edge.clone())
                });
                some.edges.watched = watched;
                some
            }
        })
        .await
}

async fn flows(
    State(shared): State<Arc<Shared>>,
    Extension(activity): Extension<Activity>,
    Extension(token): Extension<Token>,
    Query(asked): Query<Asked>,
) -> Response {
    let namespace = asked.namespace.as_deref();
    let admitted = shared.admit(&token, Resource::Flows, namespace, &activity);
    let (scope, _turn) = match admitted.await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    let state = &shared.state;
    let most = asked.connections.map_or(usize::MAX, |most| most as usize);
    let Some(mut list) = state.flows(most).await else {
        return stopping();
    };
    match (&scope, namespace) {
        (Scope::Namespace(own), _) => {
            let seen = list.items.iter().filter_map(|flow| api::flow(flow, own));
            list.items = seen.collect();
            list.watched = list.watched.map(api::watched);
        }
        (Scope::Cluster, None) => {}
        (Scope::Cluster, Some(wanted)) => list.items.retain(|flow| {
            let ends = [flow.src.namespace(), flow.dst.namespace()];
            ends.contains(&Some(wanted))
        }),
    }
    state.room.answer(list).await
}

async fn status(
    State(shared): State<Arc<Shared>>,
    Extension(activity): Extension<Activity>,
    Extension(token): Extension<Token>,
) -> Response {
    match shared.access.scope(&token.0, Resource::Status, None).await {
        Ok(_) => activity.answered(),
        Err(why) => return refused(why),
    }
    match shared.state.status().await {
        Some(status) => shared.state.room.answer(status).await,
        None => stopping(),
    }
}

async fn tap(
    State(shared): State<Arc<Shared>>,
    Extension(activity): Extension<Activity>,
    Extension(token): Extension<Token>,
    Query(asked): Query<Asked>,
) -> Response {
    let namespace = asked.namespace;
    let scope = shared
        .access
        .scope(&token.0, Resource::Taps, namespace.as_deref())
        .await;
    let scope = match scope {
        Ok(scope) => scope,
        Err(why) => return refused(why),
    };
    activity.streaming();
    let (of, wanted) = (scope.clone(), namespace.clone());
    let see = move |flow: Arc<FlowRecord>| match (&of, &wanted) {
        (Scope::Namespace(own), _) => api::flow(&flow, own).map(Arc::new),
        (Scope::Cluster, None) => Some(flow),
        (Scope::Cluster, Some(wanted)) => {
            let ends = [flow.src.namespace(), flow.dst.namespace()];
            ends.contains(&Some(wanted.as_str())).then_some(flow)
        }
    };
    let state = shared.state.clone();
    let until = async move {
        loop {
            tokio::time::sleep(STILL).await;
            let access = &shared.access;
            let now = access.scope(&token.0, Resource::Taps, namespace.as_deref());
            if now.await.as_ref() != Ok(&scope) {
                return;
            }
        }
    };
    state.stream(see, until)
}

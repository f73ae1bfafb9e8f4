//! `mtls ui`: a page on localhost with the graph, the table, an edge's explanation and the tap.
//!
//! Nothing can be written by it, and only who has the address with its token is answered.

mod answer;
mod api;
mod ask;
mod guard;
mod live;
mod query;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::select::Filter;
use crate::source::Source;
use guard::Guard;

/// How long a request may take to be written, its most bytes, and most connections at a time.
const REQUEST: Duration = Duration::from_secs(10);
const LONGEST: usize = 16 << 10;
const CLIENTS: usize = 128;

/// The page, listening.
pub(crate) struct Page {
    listener: TcpListener,
    app: Router,
    address: String,
}

/// What every request needs.
struct State {
    source: Source,
    /// What was asked for on the command line: more than this is never shown.
    filter: Filter,
    answers: answer::Answers,
    streams: Arc<Semaphore>,
}

impl Page {
    /// Listens on this machine alone, on any port where it is 0.
    pub(crate) async fn listen(source: Source, filter: Filter, port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("listen on 127.0.0.1:{port}"))?;
        let own = listener.local_addr()?;
        let guard = Arc::new(Guard::new(own.port())?);
        let address = format!("http://{own}/{}/", guard.token());
        // Asked once before it is shown, so that a missing daemon is a plain message.
        let answers = answer::Answers::new(&source).await?;
        let state = Arc::new(State {
            source,
            filter,
            answers,
            streams: Arc::new(Semaphore::new(live::MOST)),
        });
        Ok(Self {
            listener,
            app: app(state, guard),
            address,
        })
    }

    /// Where it is, with the token.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Answers until it is called off.
    pub(crate) async fn serve(self) -> anyhow::Result<()> {
        let turns = Arc::new(Semaphore::new(CLIENTS));
        loop {
            let (stream, _) = self.listener.accept().await.context("listen")?;
            // Whoever comes too many is not answered.
            let Ok(turn) = turns.clone().try_acquire_owned() else {
                continue;
            };
            let app = TowerToHyperService::new(self.app.clone());
            tokio::spawn(async move {
                let _turn = turn;
                // Who is too slow or goes away is gone; nobody is to be told.
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(REQUEST)
                    .max_buf_size(LONGEST)
                    .serve_connection(TokioIo::new(stream), app)
                    .await;
            });
        }
    }
}

fn app(state: Arc<State>, guard: Arc<Guard>) -> Router {
    Router::new()
        .route("/{token}/", get(api::index))
        .route("/{token}/app.js", get(api::script))
        .route("/{token}/style.css", get(api::style))
        .route("/{token}/api/edges", get(api::edges))
        .route("/{token}/api/graph.svg", get(api::graph))
        .route("/{token}/api/explain", get(api::explain))
        .route("/{token}/api/coverage", get(api::coverage))
        .route("/{token}/api/events", get(live::events))
        .route("/{token}/api/tap", get(live::tap))
        .with_state(state)
        .layer(from_fn_with_state(guard, guard::guard))
}

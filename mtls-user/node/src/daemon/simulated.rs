//! The API of daemons that watch nothing: `cargo xtask bench cluster` queries many of them.
//!
//! Callers are authorised, and answers are written and sent, by the same code as in a real daemon;
//! only the answers of the engine and the attacher come from elsewhere.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use mtls_core::record::identities::Identities;
use mtls_core::record::{EdgeRecord, EdgeStats, EngineStats, FlowStats, History, KernelStatus};
use smol_str::SmolStr;
use tokio::sync::{broadcast, mpsc, watch};

use super::{attacher, engine, exporter, remote, server, witness};
use crate::api::Access;
use crate::pods::Directory;

/// Edges, and at most this many of their connections.
pub type Edges = Box<dyn Fn(usize) -> (Vec<EdgeRecord>, Identities) + Send>;

/// Daemons that share a stand-in for their attachers.
pub struct Daemons {
    attacher: Sender<attacher::Command>,
}

impl Default for Daemons {
    fn default() -> Self {
        let (attacher, commands) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for command in commands {
                if let attacher::Command::Status(reply) = command {
                    let _ = reply.send(KernelStatus::default());
                }
            }
        });
        Self { attacher }
    }
}

impl Daemons {
    /// Adds a daemon, which answers on `address` as `node` until it is aborted.
    pub fn serve(
        &self,
        address: SocketAddr,
        access: Access,
        node: SmolStr,
        edges: Edges,
    ) -> impl Future<Output = anyhow::Result<()>> + Send + 'static {
        let (engine, mut asked) = mpsc::channel(1);
        let (going_on, stopped) = watch::channel(false);
        let state = server::State {
            engine,
            attacher: self.attacher.clone(),
            tap: broadcast::channel(1).0,
            recording: broadcast::channel(1).0,
            node,
            directory: Arc::new(Directory::default()),
            socket: PathBuf::new(),
            window: Duration::from_mins(10),
            started: Instant::now(),
            stopped,
            room: server::Room::default(),
            queues: exporter::Queues::default(),
            tallies: witness::Tallies::default(),
        };
        let engine = async move {
            while let Some(query) = asked.recv().await {
                // Making up edges takes longer than an asynchronous task may.
                tokio::task::block_in_place(|| answer(query, &edges));
            }
        };
        async move {
            // Its end would be the daemon's.
            let _going_on = going_on;
            tokio::join!(remote::serve(address, access, Arc::new(state)), engine).0
        }
    }
}

/// The engine's answer; the requester may be gone.
fn answer(query: engine::Query, edges: &Edges) {
    match query {
        engine::Query::Edges(reply) => drop(reply.send(edges(0).0)),
        engine::Query::Connections(most, reply) => drop(reply.send(edges(most))),
        engine::Query::Flows(reply) => drop(reply.send((Vec::new(), History::default()))),
        engine::Query::Stats(reply) => drop(reply.send(engine::Stats {
            flows: [FlowStats::default(); 2],
            edges: EdgeStats::default(),
            engine: EngineStats::default(),
            lost: 0,
        })),
        engine::Query::Metrics(reply) => drop(reply.send(None)),
    }
}

//! What `mtls status` is told; its JSON.

use serde::{Deserialize, Serialize};

pub use super::latency::LatencySummary;
use crate::edges::EdgeStats;
use crate::kernel::{Attached, Counters, ProgramStats};
use crate::pods::SourceHealth;
use mtls_core::flow::FlowStats;

/// The kernel's side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KernelStatus {
    /// Interfaces that are watched.
    pub interfaces: Vec<Attached>,
    /// Interfaces that should be but cannot, each with the reason.
    pub not_attached: Vec<(String, String)>,
    /// From the news of an interface to the programs on it.
    pub attach: LatencySummary,
    /// Segments by what became of them.
    pub counters: Counters,
    /// Each program's runs and their time, while they were measured: for ten seconds after the
    /// start, then for one a minute.
    pub programs: Vec<ProgramStats>,
}

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds it has run.
    pub uptime: u64,
    /// Where it answers.
    pub socket: String,
    /// Seconds for which a closed connection stays listed.
    pub window: u64,
    /// The kernel's side.
    pub kernel: KernelStatus,
    /// Connections.
    pub flows: FlowStats,
    /// Edges.
    pub edges: EdgeStats,
    /// Where names come from.
    pub sources: Vec<SourceHealth>,
}

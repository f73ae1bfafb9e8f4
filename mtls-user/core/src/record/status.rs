//! What `mtls status` and `mtls doctor` are given.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::word::vocabulary;
use super::{Loss, SCHEMA, Time, Word};

/// The daemon's state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Status {
    /// Version of the schema.
    pub schema: u32,
    /// The node.
    pub node: Option<SmolStr>,
    /// When it was made.
    pub generated: Time,
    /// Version of the daemon.
    pub version: SmolStr,
    /// Its process.
    pub pid: u32,
    /// For how long it has run.
    pub uptime_seconds: u64,
    /// Where it answers.
    pub socket: String,
    /// Seconds for which a closed connection stays listed.
    pub window_seconds: u64,
    /// How much can be seen.
    pub coverage: PodCoverage,
    /// The thread that reads samples.
    pub engine: EngineStats,
    /// The kernel's side.
    pub kernel: KernelStatus,
    /// Connections.
    pub flows: FlowStats,
    /// Flows of datagrams.
    pub datagrams: FlowStats,
    /// Edges.
    pub edges: EdgeStats,
    /// Where names come from.
    pub sources: Vec<SourceHealth>,
    /// The exemptions that the operator has declared.
    pub exemptions: Vec<Declared>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            node: None,
            generated: Time::default(),
            version: SmolStr::default(),
            pid: 0,
            uptime_seconds: 0,
            socket: String::new(),
            window_seconds: 0,
            coverage: PodCoverage::default(),
            engine: EngineStats::default(),
            kernel: KernelStatus::default(),
            flows: FlowStats::default(),
            datagrams: FlowStats::default(),
            edges: EdgeStats::default(),
            sources: Vec::new(),
            exemptions: Vec::new(),
        }
    }
}

/// The kernel's side of the daemon.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KernelStatus {
    /// Interfaces that are watched.
    pub interfaces: Vec<Interface>,
    /// Interfaces that should be and cannot, and are tried again.
    pub not_attached: Vec<NotAttached>,
    /// Interfaces that look like a pod's and lead to the network; they are not watched.
    pub uplinks: Vec<Uplink>,
    /// Interfaces that are waiting for their turn.
    pub waiting: u64,
    /// From the making of an interface, as the kernel stamped it, to the programs on it.
    pub attach: LatencySummary,
    /// Segments by what became of them.
    pub counters: BTreeMap<SmolStr, u64>,
    /// Each program's runs and their time, while they were measured.
    pub programs: Vec<ProgramStats>,
}

/// An interface that is watched.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Interface {
    /// Its index.
    pub ifindex: u32,
    /// Its name when it was attached to.
    pub name: SmolStr,
    /// How: `tcx` or `clsact`.
    pub mode: SmolStr,
    /// Since when.
    pub since: Option<Time>,
    /// Programs of others that run ahead of ours, and may end a packet's way before we see it.
    pub behind: Vec<String>,
    /// Samples lost on it since it was attached to, by reason.
    pub lost: BTreeMap<Word<Loss>, u64>,
    /// SYN, FIN and RST segments of its pod that no receiver takes: another interface's connection, an
    /// unexpected sequence number, or a wrong checksum. Many are a sign of forged packets.
    pub ignored: u64,
}

/// An interface that should be watched and cannot.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NotAttached {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// Why not, beginning with the error's name where there is one.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// How much of the node's pods is watched.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PodCoverage {
    /// Pods with an interface on this node, as far as a source knows of them.
    pub pods: u64,
    /// Of those: pods whose interface is watched.
    pub watched: u64,
    /// Of those: the others, at most 100 of them, and why.
    pub unwatched: Vec<UnwatchedPod>,
    /// Of those by namespace, at most 1,000 namespaces.
    pub namespaces: Vec<NamespaceCoverage>,
    /// Samples that were lost within the window.
    pub samples_lost: u64,
}

/// How much of a namespace's pods is watched, and for how long it has been.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NamespaceCoverage {
    /// The namespace.
    pub namespace: SmolStr,
    /// Its pods with an interface that is watched or should be.
    pub pods: u64,
    /// Of those: pods whose interface is watched.
    pub watched: u64,
    /// Since when the first of them has been watched; null where none is.
    pub since_first: Option<Time>,
    /// Since when every one of them has been watched; null where none is.
    pub since_last: Option<Time>,
}

impl NamespaceCoverage {
    /// Adds a pod that has been watched since then, or that is not.
    pub fn add(&mut self, since: Option<Time>) {
        self.and(&Self {
            pods: 1,
            watched: u64::from(since.is_some()),
            since_first: since,
            since_last: since,
            ..Self::default()
        });
    }

    /// Adds what another node has of the same namespace.
    pub fn and(&mut self, other: &Self) {
        self.pods += other.pods;
        self.watched += other.watched;
        let first = [self.since_first, other.since_first];
        self.since_first = first.into_iter().flatten().min();
        self.since_last = self.since_last.max(other.since_last);
    }
}

/// A pod that is not watched.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(default)]
pub struct UnwatchedPod {
    /// Its namespace.
    pub namespace: SmolStr,
    /// Its name.
    pub name: SmolStr,
    /// Why not.
    pub reason: String,
}

/// An interface that leads to the network although it is a veth, and is not watched.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Uplink {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// How it is known.
    pub reason: String,
}

/// The thread that reads samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EngineStats {
    /// The longest time in microseconds that it spent on anything before it could read again.
    pub longest_pause_us: u64,
    /// Events of the kernel program that it could make nothing of.
    pub malformed: u64,
    /// The ring buffer that it reads them from.
    pub ring: RingStats,
}

/// How full the ring buffer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RingStats {
    /// Its size in bytes.
    pub bytes: u64,
    /// Bytes that wait to be read.
    pub waiting: u64,
    /// The most that ever waited when it was about to be read.
    pub peak: u64,
}

/// Percentiles over the latest 1,024 attachments, in microseconds from the interface's creation, or
/// from the daemon's start where that was later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LatencySummary {
    /// How many there ever were.
    pub count: u64,
    /// Median.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// Longest.
    pub max_us: u64,
}

/// What running one kernel program has cost.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProgramStats {
    /// Its name.
    pub name: String,
    /// The kernel's number for it.
    pub id: u32,
    /// Times it ran since measuring began.
    pub run_count: u64,
    /// Nanoseconds that took.
    pub run_time_ns: u64,
    /// Its length, once translated by the kernel.
    pub instructions: u32,
    /// Instructions that the verifier walked through; Linux 5.16 and later.
    pub verified_instructions: Option<u32>,
}

/// Sizes and counts of the flow table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FlowStats {
    /// Connections in the table, ended ones that linger included.
    pub tracked: usize,
    /// Connections ever opened.
    pub seen: u64,
    /// … that were given a verdict from evidence.
    pub classified: u64,
    /// … that ended without one.
    pub undecided: u64,
    /// … that were two halves, merged across an address translation.
    pub joined: u64,
    /// … that were forgotten because the table was full.
    pub evicted: u64,
    /// … that went on although they had ended.
    pub reopened: u64,
    /// Resets that their receiver cannot have taken: at another sequence number than the expected.
    pub resets_ignored: u64,
    /// Segments that came out of another interface than their sender's, or were for it.
    pub spoofed: u64,
    /// Segments with a wrong checksum, which no receiver takes.
    pub damaged: u64,
    /// Segments that belong to no known connection and open none.
    pub stray: u64,
}

/// Sizes of the edge table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EdgeStats {
    /// Edges of the window.
    pub edges: usize,
    /// Open connections counted in them.
    pub open_connections: usize,
    /// Edges forgotten because the table was full.
    pub evicted: u64,
}

/// How a source of names is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SourceHealth {
    /// `netns`, `file`, …
    pub name: String,
    /// Entries that hold now.
    pub entries: usize,
    /// The last good answer; null before the first.
    pub updated: Option<Time>,
    /// What went wrong since; the entries are as they were then.
    pub error: Option<String>,
}

/// An exemption that the operator has declared.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Declared {
    /// The servers' namespace; null for any.
    pub namespace: Option<SmolStr>,
    /// The servers' workload, service or pod; null for any.
    pub workload: Option<SmolStr>,
    /// The servers' port; null for any.
    pub port: Option<u16>,
    /// Why.
    pub reason: SmolStr,
    /// When it ends; null for never.
    pub until: Option<Time>,
    /// It is past its date, and exempts nothing any more.
    pub expired: bool,
}

vocabulary! {
    /// How a check of `mtls doctor` ended.
    CheckState or Ok {
        /// As it should be.
        Ok = "ok",
        /// Works, with less.
        Warn = "warn",
        /// The daemon will not start.
        Fail = "fail",
    }
}

/// One thing that `mtls doctor` has looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it is.
    pub state: Word<CheckState>,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub fix: Option<String>,
}

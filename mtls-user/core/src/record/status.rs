//! The output of `mtls status` and `mtls doctor`.

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
    /// Its process id.
    pub pid: u32,
    /// For how long it has run.
    pub uptime_seconds: u64,
    /// The path of its socket.
    pub socket: String,
    /// Seconds for which a closed connection stays listed.
    pub window_seconds: u64,
    /// How much can be seen.
    pub coverage: PodCoverage,
    /// What the daemon itself uses.
    pub process: ProcessStats,
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
            process: ProcessStats::default(),
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
    /// Interfaces that should be watched but could not be attached to; this is retried.
    pub not_attached: Vec<NotAttached>,
    /// Interfaces that look like a pod's but lead to the network; they are not watched.
    pub uplinks: Vec<Uplink>,
    /// Interfaces that are waiting to be attached.
    pub waiting: u64,
    /// Time from the creation of an interface, as recorded by the kernel, to the programs being
    /// attached.
    pub attach: LatencySummary,
    /// Segments by outcome.
    pub counters: BTreeMap<SmolStr, u64>,
    /// Each program's runs and their duration, while they were measured.
    pub programs: Vec<ProgramStats>,
}

/// An interface that is watched.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Interface {
    /// Its index.
    pub ifindex: u32,
    /// Its name when it was attached.
    pub name: SmolStr,
    /// How it was attached: `tcx` or `clsact`.
    pub mode: SmolStr,
    /// Since when.
    pub since: Option<Time>,
    /// Other programs that run before ours, and may drop or redirect a packet before we see it.
    pub behind: Vec<String>,
    /// Samples lost on it since it was attached to, by reason.
    pub lost: BTreeMap<Word<Loss>, u64>,
    /// SYN, FIN and RST segments from its pod that no receiver accepts: another interface's
    /// connection, an unexpected sequence number, or a wrong checksum. Many of them suggest forged
    /// packets.
    pub ignored: u64,
}

/// An interface that should be watched but could not be attached to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NotAttached {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// The error, beginning with its name if there is one.
    pub reason: String,
    /// Number of attempts.
    pub attempts: u32,
}

/// How many of the node's pods are watched.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PodCoverage {
    /// Pods with an interface on this node, as far as a source knows them.
    pub pods: u64,
    /// Of those: pods whose interface is watched.
    pub watched: u64,
    /// Of those: the others, at most 100 of them, with reasons.
    pub unwatched: Vec<UnwatchedPod>,
    /// The same by namespace, for at most 1,000 namespaces.
    pub namespaces: Vec<NamespaceCoverage>,
    /// Samples that were lost within the window.
    pub samples_lost: u64,
}

/// How many of a namespace's pods are watched, and since when.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NamespaceCoverage {
    /// The namespace.
    pub namespace: SmolStr,
    /// Its pods with an interface that is watched or should be.
    pub pods: u64,
    /// Of those: pods whose interface is watched.
    pub watched: u64,
    /// Since when the first of them has been watched; null if none is.
    pub since_first: Option<Time>,
    /// Since when all of them have been watched; null if none is.
    pub since_last: Option<Time>,
}

impl NamespaceCoverage {
    /// Adds a pod that has been watched since then, or is not watched.
    pub fn add(&mut self, since: Option<Time>) {
        self.and(&Self {
            pods: 1,
            watched: u64::from(since.is_some()),
            since_first: since,
            since_last: since,
            ..Self::default()
        });
    }

    /// Adds another node's counts for the same namespace.
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

/// A veth that leads to the network, and is therefore not watched.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Uplink {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// How it was recognised.
    pub reason: String,
}

/// The thread that reads samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EngineStats {
    /// The longest time in microseconds during which it was busy with other work.
    pub longest_pause_us: u64,
    /// Events of the kernel program that could not be decoded.
    pub malformed: u64,
    /// The ring buffer that it reads them from.
    pub ring: RingStats,
}

/// The daemon's own use of the machine; the kernel programs run on top of it.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProcessStats {
    /// CPU time since its start, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

/// How full the ring buffer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RingStats {
    /// Its size in bytes.
    pub bytes: u64,
    /// Bytes waiting to be read.
    pub waiting: u64,
    /// The most bytes that ever waited at the start of a read.
    pub peak: u64,
}

/// Percentiles over the latest 1,024 attachments, in microseconds from the interface's creation, or
/// from the daemon's start if that was later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LatencySummary {
    /// Number of attachments ever made.
    pub count: u64,
    /// Median.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// Longest.
    pub max_us: u64,
}

/// The cost of running one kernel program.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProgramStats {
    /// Its name.
    pub name: String,
    /// The kernel's ID of the program.
    pub id: u32,
    /// Number of runs since measuring began.
    pub run_count: u64,
    /// Total duration in nanoseconds.
    pub run_time_ns: u64,
    /// Its length after translation by the kernel.
    pub instructions: u32,
    /// Instructions that the verifier processed; Linux 5.16 and later.
    pub verified_instructions: Option<u32>,
}

/// Sizes and counts of the flow table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FlowStats {
    /// Connections in the table, including recently ended ones.
    pub tracked: usize,
    /// All connections seen.
    pub seen: u64,
    /// … with a verdict based on evidence.
    pub classified: u64,
    /// … that ended without such a verdict.
    pub undecided: u64,
    /// … that were merged from two halves seen before and after an address translation.
    pub joined: u64,
    /// … that were evicted because the table was full.
    pub evicted: u64,
    /// … that continued after they appeared to have ended.
    pub reopened: u64,
    /// RSTs that their receiver cannot have accepted: not at the expected sequence number.
    pub resets_ignored: u64,
    /// Segments that left another interface than their sender's, or were on their way to it.
    pub spoofed: u64,
    /// Segments with a wrong checksum, which no receiver accepts.
    pub damaged: u64,
    /// Segments that belong to no known connection and do not open one.
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
    /// Edges evicted because the table was full.
    pub evicted: u64,
}

/// The state of a source of names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SourceHealth {
    /// `netns`, `file`, …
    pub name: String,
    /// Current entries.
    pub entries: usize,
    /// Time of the last good answer; null before the first.
    pub updated: Option<Time>,
    /// The error since then; the entries are those of the last good answer.
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
    /// When it expires; null for never.
    pub until: Option<Time>,
    /// Whether it has expired, so that it no longer exempts anything.
    pub expired: bool,
}

vocabulary! {
    /// The result of a check of `mtls doctor`.
    CheckState or Ok {
        /// As it should be.
        Ok = "ok",
        /// Works, with less.
        Warn = "warn",
        /// The daemon will not start.
        Fail = "fail",
    }
}

/// One check of `mtls doctor`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// The result.
    pub state: Word<CheckState>,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub fix: Option<String>,
}

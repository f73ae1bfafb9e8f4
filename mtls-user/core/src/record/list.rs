//! The envelopes of lists.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{EdgeRecord, FlowRecord, SCHEMA, Time};

/// A list, with its node and time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct List<T> {
    /// Version of the schema.
    pub schema: u32,
    /// The node that it comes from; null if none, as for a capture.
    #[serde(default)]
    pub node: Option<SmolStr>,
    /// When it was made.
    pub generated: Time,
    /// The elements.
    pub items: Vec<T>,
}

impl<T> List<T> {
    /// A list created now.
    pub fn new(node: Option<SmolStr>, generated: Time, items: Vec<T>) -> Self {
        Self {
            schema: SCHEMA,
            node,
            generated,
            items,
        }
    }
}

/// The flows of captures.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CaptureList {
    /// The flows.
    #[serde(flatten)]
    pub list: List<FlowRecord>,
    /// What was not inspected of the captures.
    #[serde(default)]
    pub not_looked_at: NotLookedAt,
}

/// Packets of captures that do not belong to any reported flow.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NotLookedAt {
    /// All packets, including those of the flows.
    pub packets: u64,
    /// Packets that were not inspected, by kind (`not_ip`, `icmp`, `sctp`, `other_ip`, `encrypted`,
    /// `tunnel`, `fragments`, `short`, `malformed`, `link_type`).
    pub skipped: BTreeMap<SmolStr, u64>,
    /// Segments that their receiver drops because of a wrong checksum.
    pub wrong_checksum: u64,
    /// Link types that are not supported.
    pub link_types: BTreeSet<u16>,
    /// Files that could not be read, or not to their end.
    pub unreadable: Vec<String>,
}

/// How much of a node's traffic can be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Watched {
    /// Interfaces that are watched.
    pub interfaces: u64,
    /// Interfaces that should be watched but cannot be.
    pub interfaces_failed: u64,
    /// Samples that were lost within the window, whatever the reason; null if that is not known.
    pub samples_lost: Option<u64>,
    /// Pods of the node, if a source knows all of them.
    pub pods: Option<u64>,
    /// Pods of the node whose interface is watched.
    pub pods_watched: Option<u64>,
}

impl Watched {
    /// For several nodes together; null if one of them does not know.
    pub fn sum(all: &(impl Iterator<Item = Self> + Clone)) -> Self {
        let sum = |part: fn(&Self) -> Option<u64>| {
            all.clone().try_fold(0, |sum, one| Some(sum + part(&one)?))
        };
        Self {
            interfaces: all.clone().map(|one| one.interfaces).sum(),
            interfaces_failed: all.clone().map(|one| one.interfaces_failed).sum(),
            samples_lost: sum(|watched| watched.samples_lost),
            pods: sum(|watched| watched.pods),
            pods_watched: sum(|watched| watched.pods_watched),
        }
    }
}

/// A node that did not answer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SilentNode {
    /// Its name.
    pub node: SmolStr,
    /// Why it did not answer.
    pub reason: String,
}

/// Which nodes answered a query to all of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Nodes {
    /// How many answered.
    pub answered: u64,
    /// Those that did not answer, by name.
    pub silent: Vec<SilentNode>,
    /// Number of nodes without a daemon, whose names are not known.
    pub missing: u64,
}

impl Nodes {
    /// Whether every node answered.
    pub fn all(&self) -> bool {
        self.silent.is_empty() && self.missing == 0
    }
}

/// The edges of a node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EdgeList {
    /// Version of the schema.
    pub schema: u32,
    /// The node.
    #[serde(default)]
    pub node: Option<SmolStr>,
    /// When it was made.
    pub generated: Time,
    /// Seconds for which a closed connection counts.
    #[serde(default)]
    pub window_seconds: u64,
    /// Which nodes answered, if all were queried; null for a single node.
    #[serde(default)]
    pub nodes: Option<Nodes>,
    /// How much could be seen.
    #[serde(default)]
    pub watched: Watched,
    /// The edges.
    pub items: Vec<EdgeRecord>,
}

/// How far back a node remembers connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct History {
    /// The most connections of the window that the node remembers.
    pub capacity: u64,
    /// Connections of the window that were dropped for lack of space, oldest first.
    pub forgotten: u64,
    /// From this time on, every ended connection is included; null if nothing is remembered.
    pub since: Option<Time>,
}

/// The connections of a node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FlowList {
    /// Version of the schema.
    pub schema: u32,
    /// The node; null if none, as for a capture.
    #[serde(default)]
    pub node: Option<SmolStr>,
    /// When it was made.
    pub generated: Time,
    /// Seconds for which a closed connection counts; 0 for a capture.
    #[serde(default)]
    pub window_seconds: u64,
    /// Which nodes answered, if all were queried; null for a single node.
    #[serde(default)]
    pub nodes: Option<Nodes>,
    /// How much could be seen; null for a capture.
    #[serde(default)]
    pub watched: Option<Watched>,
    /// How far back it reaches; null for a capture, which is complete.
    #[serde(default)]
    pub history: Option<History>,
    /// The connections, the latest last.
    pub items: Vec<FlowRecord>,
}

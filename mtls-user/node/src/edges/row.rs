//! One edge as it is told: the daemon's JSON and the row of the table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use mtls_core::record::Verdict;

/// One edge. The first fields are those of `linkerd viz edges -o json`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EdgeRow {
    /// The client's workload.
    pub src: SmolStr,
    /// Its namespace.
    pub src_namespace: SmolStr,
    /// The server's workload.
    pub dst: SmolStr,
    /// Its namespace.
    pub dst_namespace: SmolStr,
    /// The client's identity, as the wire showed it.
    pub client_id: Option<SmolStr>,
    /// The server's identity, as the wire showed it.
    pub server_id: Option<SmolStr>,
    /// Why the worst flow is not TLS, when it is plaintext.
    pub no_tls_reason: Option<SmolStr>,
    /// Every flow that carried data was mutual TLS.
    pub secured: bool,
    /// The worst verdict among the flows.
    pub verdict: Verdict,
    /// The reason of that verdict.
    pub reason: SmolStr,
    /// Flows of the window per verdict.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Flows that are open now.
    pub open: u64,
    /// Nanoseconds since the Unix epoch.
    pub first_seen: u64,
    /// Nanoseconds since the Unix epoch.
    pub last_seen: u64,
    /// What the client is: `pod`, `deployment`, `service`, `node`, `external`, `unknown`.
    pub src_kind: SmolStr,
    /// What the server is.
    pub dst_kind: SmolStr,
    /// The client's service account, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_service_account: Option<SmolStr>,
    /// The server's service account, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst_service_account: Option<SmolStr>,
    /// Seconds since the names were last known to be right, when their source is out of reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<u64>,
}

/// Sizes of the edge table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EdgeStats {
    /// Edges of the window.
    pub edges: usize,
    /// Open flows counted in them.
    pub open_flows: usize,
    /// Edges forgotten because the table was full.
    pub evicted: u64,
}

/// The verdict that names an edge: the worst of the flows that carried data, else of all.
///
/// A failed handshake and an empty connection expose nothing, so they do not spoil an edge; but an
/// edge of which nothing else is known is not called secure on their account either.
pub(super) fn worst(verdicts: &BTreeMap<Verdict, u64>) -> Verdict {
    let carried = |v: &&Verdict| !matches!(v, Verdict::Failed | Verdict::NoData);
    verdicts
        .keys()
        .find(carried)
        .or_else(|| verdicts.keys().next())
        .copied()
        .unwrap_or(Verdict::Unobserved)
}

//! The edges of simulated nodes: a client's node and the next one, which has its servers, see the
//! same connections.

use mtls_core::record::identities::{Alike, Identities};
use mtls_core::record::{
    Cause, Coverage, EdgeRecord, Kind, Mark, Peer, Reporter, Span, Tally, Time, Transport, Verdict,
    Workload,
};
use smol_str::{SmolStr, format_smolstr};

/// Different edges of the cluster: 1,000 workloads that connect to 50 others each.
const DISTINCT: usize = 50_000;
/// Connections of an edge on one pair of nodes.
const CONNECTIONS: u64 = 5;

/// The size of the cluster.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    /// Per node, half of them seen at the client.
    pub(crate) edges: usize,
}

/// As Kubernetes calls it.
pub(crate) fn node_name(node: usize) -> SmolStr {
    format_smolstr!(
        "ip-10-{}-{}.eu-west-1.compute.internal",
        node / 250,
        node % 250
    )
}

impl Shape {
    /// All connections.
    pub(crate) fn connections(self) -> u64 {
        (self.nodes * (self.edges / 2)) as u64 * CONNECTIONS
    }

    /// How many connections of each node the client requests.
    pub(crate) fn connections_asked(self) -> usize {
        ((2 << 20) / self.nodes.max(1)).clamp(1 << 10, 1 << 16)
    }

    /// What a node answers.
    pub(crate) fn node(self, node: usize, most: usize) -> (Vec<EdgeRecord>, Identities) {
        let mut all = Vec::with_capacity(self.edges);
        let mut items = Vec::with_capacity(self.edges);
        let before = (node + self.nodes - 1) % self.nodes;
        for (client, reporter) in [(node, Reporter::Source), (before, Reporter::Destination)] {
            for nth in 0..self.edges / 2 {
                let which = (client * 37 + nth * (2 * DISTINCT / self.edges).max(1)) % DISTINCT;
                items.push(Alike {
                    edge: all.len() as u32,
                    exempt: false,
                    what: Verdict::Mtls.as_str().into(),
                    ids: (0..CONNECTIONS)
                        .map(|n| scattered(((client * self.edges + nth) as u64) << 8 | n))
                        .collect(),
                });
                all.push(edge(which, node, reporter));
            }
        }
        // The smallest ids, as in a daemon.
        let mut ids: Vec<u64> = items
            .iter()
            .flat_map(|one| one.ids.iter().copied())
            .collect();
        let below = (ids.len() > most).then(|| *ids.select_nth_unstable(most).1);
        if let Some(below) = below {
            for one in &mut items {
                one.ids.retain(|id| *id < below);
            }
            items.retain(|one| !one.ids.is_empty());
        }
        (all, Identities { below, items })
    }
}

/// A digest, like real ids (SplitMix64).
fn scattered(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn workload(number: usize, port: Option<u16>) -> Peer {
    Peer {
        ip: None,
        port,
        workload: Some(Workload {
            name: format_smolstr!("checkout-service-{number}"),
            namespace: format_smolstr!("team-{}-production", number % 50),
            kind: Kind::Deployment.into(),
            service_account: Some(format_smolstr!("checkout-service-{number}")),
            ..Workload::default()
        }),
    }
}

fn edge(which: usize, node: usize, reporter: Reporter) -> EdgeRecord {
    let (src, dst) = (which % 1_000, (which / 50 + which * 7 + 1) % 1_000);
    let tally = |value: SmolStr| {
        let mut tally = Tally::default();
        tally.add(&value, CONNECTIONS);
        tally
    };
    let identity = |number: usize| {
        tally(format_smolstr!(
            "spiffe://cluster.local/ns/team-{}-production/sa/checkout-service-{number}",
            number % 50
        ))
    };
    let now = Time::from_nanos(1_800_000_000_000_000_000 + which as u64);
    EdgeRecord {
        node: Some(node_name(node)),
        reporter: Some(reporter.into()),
        transport: Transport::Tcp.into(),
        src: workload(src, None),
        dst: workload(dst, Some(8_443 + (which / 1_000) as u16)),
        mark: Some(Mark::Mutual.into()),
        verdict: Some(Verdict::Mtls.into()),
        cause: Some(Cause::Other.into()),
        reason: Some("both sides sent a certificate".into()),
        connections: CONNECTIONS,
        open_connections: 1,
        verdict_counts: [(Verdict::Mtls.into(), CONNECTIONS)].into(),
        cause_counts: [(Cause::Other.into(), CONNECTIONS)].into(),
        verdict_seen: [(
            Verdict::Mtls.into(),
            Span {
                first_seen: now,
                last_seen: now,
            },
        )]
        .into(),
        coverage: Coverage {
            complete: CONNECTIONS,
            ..Coverage::default()
        },
        protocols: tally("tls".into()),
        tls_versions: tally("1.3".into()),
        ciphers: tally("TLS_AES_256_GCM_SHA384".into()),
        groups: tally("X25519MLKEM768".into()),
        client_identities: identity(src),
        server_identities: identity(dst),
        first_seen: now,
        last_seen: now,
        ..EdgeRecord::default()
    }
}

//! Merges what several sources know about one pod: the container runtime has its address first,
//! Kubernetes knows its owner and its service account.

use super::{Entry, Source};
use mtls_core::record::Kind;

/// Whether both are about the same pod, and not about a later one with the same name.
pub(super) fn same_pod(a: &Entry, b: &Entry) -> bool {
    a.workload.pod.is_some()
        && a.workload.pod == b.workload.pod
        && a.workload.namespace == b.workload.namespace
        && (a.uid.is_empty() || b.uid.is_empty() || a.uid == b.uid)
}

/// `claim` with its own addresses, and everything else from the source that knows it best.
pub(super) fn merged(claim: &Entry, source: Source, others: &[(Source, &Entry)]) -> Entry {
    let mut known: Vec<_> = [(source, claim)]
        .into_iter()
        .chain(others.iter().copied())
        .collect();
    known.sort_by_key(|(source, _)| authority(*source));
    let mut best = Entry {
        addresses: claim.addresses.clone(),
        ports: claim.ports.clone(),
        links: claim.links.clone(),
        since: claim.since,
        ..known[0].1.clone()
    };
    for (_, other) in &known[1..] {
        fill(&mut best, other);
    }
    best
}

/// Lower values for sources that know more about a pod besides its address.
fn authority(source: Source) -> u8 {
    match source {
        Source::Kubernetes => 0,
        Source::Cri => 1,
        Source::File => 2,
        Source::Netns => 3,
        Source::Services => 4,
        Source::Node => 5,
        Source::Namespaces => 6,
        Source::Policies => 7,
    }
}

/// Fills in what `best` lacks from `other`.
fn fill(best: &mut Entry, other: &Entry) {
    if best.workload.kind == Kind::Pod && other.workload.kind != Kind::Pod {
        best.workload.kind.clone_from(&other.workload.kind);
        best.workload.name.clone_from(&other.workload.name);
    }
    if best.workload.service_account.is_none() {
        best.workload
            .service_account
            .clone_from(&other.workload.service_account);
    }
    if best.uid.is_empty() {
        best.uid.clone_from(&other.uid);
    }
    let (facts, others) = (&mut best.facts, &other.facts);
    if facts.labels.is_empty() {
        facts.labels.clone_from(&others.labels);
    }
    if facts.node.is_none() {
        facts.node.clone_from(&others.node);
    }
    if facts.mesh.is_none() {
        facts.mesh.clone_from(&others.mesh);
    }
    if facts.inbound.is_empty() {
        facts.inbound.clone_from(&others.inbound);
    }
    facts.host_network |= others.host_network;
}

//! `mtls check --strict-ready`: what would break if a namespace took mutual TLS alone, as Istio's
//! STRICT or Linkerd's `all-authenticated` does.

use std::collections::BTreeMap;

use mtls_core::classify::CLAIMED_PROBE;
use mtls_core::record::{
    EdgeList, EdgeRecord, Exempt, Finding, GateFinding, GateReport, Level, NamespaceCoverage,
    Status, Transport, Verdict, Word,
};

use super::{Enough, conclude, found, reason, seconds};

/// What breaks on the servers' side of `namespaces`; of all, where there are none. `statuses` are those
/// of the daemons, where one was asked.
pub(crate) fn ready(
    list: &EdgeList,
    namespaces: &[String],
    statuses: &[Status],
    enough: Enough,
) -> GateReport {
    let mut report = GateReport {
        node: list.node.clone(),
        generated: list.generated,
        seconds: seconds(list, enough.since),
        watched: (list.window_seconds > 0).then_some(list.watched),
        ..GateReport::default()
    };
    let within = |namespace: Option<&str>| {
        namespaces.is_empty() || namespaces.iter().any(|name| namespace == Some(name))
    };
    let mut watched = BTreeMap::<_, NamespaceCoverage>::new();
    for own in statuses
        .iter()
        .flat_map(|status| &status.coverage.namespaces)
    {
        if within(Some(&own.namespace)) {
            let all = watched.entry(&own.namespace).or_default();
            all.namespace.clone_from(&own.namespace);
            all.and(own);
        }
    }
    report.namespaces = watched.into_values().collect();
    let edges = list.items.iter();
    for edge in edges.filter(|edge| within(edge.dst.namespace())) {
        let connections = edge.verdict_counts.values().sum::<u64>();
        let items = breaks(edge);
        // Of some edges, only what no mesh would break was seen.
        if connections == 0 && items.is_empty() {
            continue;
        }
        report.edges += 1;
        report.connections += connections;
        report.items.extend(items);
    }
    conclude(report, list, enough)
}

fn breaks(edge: &EdgeRecord) -> Vec<GateFinding> {
    let mut items = Vec::new();
    for (verdict, n) in &edge.verdict_counts {
        let (level, finding) = match verdict.known() {
            Some(Verdict::Mtls | Verdict::Failed | Verdict::NoData) => continue,
            Some(Verdict::Plaintext) => (Level::Violation, Finding::Plaintext),
            Some(Verdict::Opaque) => (Level::Violation, Finding::NotTls),
            Some(Verdict::Tls) => (Level::Violation, Finding::OneWay),
            _ => (Level::Undecided, Finding::NotSeen),
        };
        let mut reason = reason(edge, verdict);
        if reason == CLAIMED_PROBE {
            reason.push_str(", and its address is not known to be the node's");
        }
        items.push(found(edge, level, finding, Some(verdict), Some(*n), reason));
    }
    for (class, n) in &edge.exempt_counts {
        // Both meshes let the kubelet's probes through, and what carried nothing has nothing to lose.
        let said = match class.known() {
            Some(Exempt::KubeletProbe | Exempt::Refused | Exempt::NoData) => continue,
            // No mesh takes datagrams.
            Some(Exempt::Dns) if edge.transport == Transport::Udp => continue,
            Some(Exempt::Dns) => "plaintext DNS",
            Some(Exempt::Scrape) => "metrics scraped in plaintext",
            Some(Exempt::Declared) => "exempted by your file, which the mesh does not know",
            None => "exempt for a reason that this version does not know",
        };
        let level = class_level(class);
        items.push(found(
            edge,
            level,
            Finding::Plaintext,
            None,
            Some(*n),
            said.to_owned(),
        ));
    }
    items
}

fn class_level(class: &Word<Exempt>) -> Level {
    match class.known() {
        Some(_) => Level::Violation,
        None => Level::Undecided,
    }
}

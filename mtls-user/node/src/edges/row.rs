//! One edge as it is reported.

use smol_str::SmolStr;

use mtls_core::record::{
    EdgeRecord, Expectation, Kind, Mark, Outcome, Peer, Span, Tally, Word, Workload, severity,
};

use super::Edge;
use super::class::{Class, Details, Seen};

impl Edge {
    pub(super) fn record(&self, node: Option<&SmolStr>) -> EdgeRecord {
        let mut record = EdgeRecord {
            node: node.cloned(),
            reporter: self.key.reporter.clone(),
            transport: self.key.transport.clone(),
            src: peer(&self.src, None),
            dst: peer(&self.dst, (self.key.port != 0).then_some(self.key.port)),
            ..EdgeRecord::default()
        };
        let mut span = None::<Span>;
        let mut worst = None::<&Class>;
        let mut least = None::<&Expectation>;
        let mut exposed = None::<Mark>;
        for (_, class) in &self.classes {
            let n = class.window.count();
            if n == 0 {
                continue;
            }
            add(&mut record, class, n);
            span.get_or_insert(class.span).widen(class.span);
            if class.profile.exempt.is_some() {
                continue;
            }
            if worst.is_none_or(|worst| precedes(class, worst)) {
                worst = Some(class);
            }
            exposed = [exposed, class.profile.mark()].into_iter().flatten().min();
            if let Some(expectation) = &class.expectation
                && least.is_none_or(|least| rank(expectation) < rank(least))
            {
                least = Some(expectation);
            }
        }
        let span = span.unwrap_or_default();
        record.first_seen = span.first_seen;
        record.last_seen = span.last_seen;
        if let Some(worst) = worst {
            record.verdict = Some(worst.profile.verdict.clone());
            record.cause = Some(worst.profile.cause.clone());
            record.reason = Some(worst.reason.clone());
            // Failed handshakes alone are not a good sign either.
            record.mark = Some(exposed.unwrap_or(Mark::Unknown).into());
        }
        record.expectation = least.cloned();
        record
    }
}

/// Counts `n` connections of a class.
fn add(record: &mut EdgeRecord, class: &Class, n: u64) {
    let profile = &class.profile;
    record.connections += n;
    record.open_connections += class.window.open();
    match profile.seen {
        Seen::Complete => record.coverage.complete += n,
        Seen::Partial => record.coverage.partial += n,
        Seen::Unobserved => record.coverage.unobserved += n,
    }
    record.mismatches += if profile.mismatch { n } else { 0 };
    if let Some(exempt) = &profile.exempt {
        *record.exempt_counts.entry(exempt.clone()).or_default() += n;
    } else {
        let verdict = &profile.verdict;
        *record.verdict_counts.entry(verdict.clone()).or_default() += n;
        *record
            .cause_counts
            .entry(profile.cause.clone())
            .or_default() += n;
        let seen = record.verdict_seen.entry(verdict.clone());
        seen.or_insert(class.span).widen(class.span);
    }
    tally(record, profile.details.as_ref(), n);
}

fn tally(record: &mut EdgeRecord, details: Option<&Details>, n: u64) {
    let Some(details) = details else {
        record.protocols.other += n;
        return;
    };
    record.protocols.add(&details.protocol, n);
    let tallies: [(&mut Tally, &Option<SmolStr>); 5] = [
        (&mut record.tls_versions, &details.version),
        (&mut record.ciphers, &details.cipher),
        (&mut record.groups, &details.group),
        (&mut record.client_identities, &details.client_identity),
        (&mut record.server_identities, &details.server_identity),
    ];
    for (tally, value) in tallies {
        if let Some(value) = value {
            tally.add(value, n);
        }
    }
}

/// Whether `class`, rather than `worst`, determines the edge's verdict.
fn precedes(class: &Class, worst: &Class) -> bool {
    let this = severity(&class.profile.verdict);
    let that = severity(&worst.profile.verdict);
    this < that || this == that && class.span.last_seen > worst.span.last_seen
}

fn rank(expectation: &Expectation) -> Outcome {
    expectation.outcome.known().unwrap_or(Outcome::Worse)
}

/// An end of an edge. Its address is reported if it has no other name.
fn peer(workload: &Workload, port: Option<u16>) -> Peer {
    let is_address = matches!(workload.kind, Word::Known(Kind::External | Kind::Unknown));
    Peer {
        ip: is_address.then(|| workload.name.parse().ok()).flatten(),
        port,
        workload: Some(workload.clone()),
    }
}

/// Eviction order when the table is full: the lowest first. Edges with plaintext are evicted last,
/// so that they cannot be displaced by edges without.
pub(super) fn worth(edge: &Edge) -> u8 {
    let marks = edge.classes.iter().map(|(_, class)| class.profile.mark());
    let is_external = [&edge.src, &edge.dst]
        .into_iter()
        .any(|end| end.kind == Kind::External);
    match marks.flatten().min() {
        None => 0,
        Some(Mark::Mutual) => 1,
        Some(Mark::Clear) => 5,
        Some(_) if is_external => 2,
        Some(Mark::OneWay) => 3,
        Some(Mark::Unknown) => 4,
    }
}

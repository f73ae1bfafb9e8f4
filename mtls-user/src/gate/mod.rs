//! The gate of `mtls check`: edges held against rules. It passes only on what was seen.

mod ready;
mod report;
mod rules;

#[cfg(test)]
mod tests;

use mtls_core::record::{
    EdgeList, EdgeRecord, Finding, Gate, GateFinding, GateReport, Level, Time, Verdict, Word,
};

use crate::output::count;
pub(crate) use ready::ready;
pub(crate) use report::{Report, write};
pub(crate) use rules::{Require, Rules, Version};

/// How much has to be seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enough {
    /// So many connections.
    pub(crate) flows: u64,
    /// Whether it may pass although pods were not watched, or connections not seen whole.
    pub(crate) partial: bool,
    /// Only what was seen from then on counts.
    pub(crate) since: Option<Time>,
}

/// Holds the edges against the rules.
pub(crate) fn check(list: &EdgeList, rules: &Rules, enough: Enough) -> GateReport {
    let mut report = GateReport {
        node: list.node.clone(),
        generated: list.generated,
        seconds: seconds(list, enough.since),
        watched: (list.window_seconds > 0).then_some(list.watched),
        ..GateReport::default()
    };
    for edge in &list.items {
        let connections = counted(edge, enough.since).map(|(_, n)| n).sum::<u64>();
        if connections == 0 {
            continue;
        }
        report.edges += 1;
        report.connections += connections;
        judge(edge, rules, enough, list.generated, &mut report.items);
    }
    conclude(report, list, enough)
}

/// What a report comes to, by what it has found and by what was seen.
fn conclude(mut report: GateReport, list: &EdgeList, enough: Enough) -> GateReport {
    report.items.sort_by_key(|item| item.level.clone());
    let has = |level: Level| report.items.iter().any(|item| item.level == level);
    if report.connections < enough.flows.max(1) {
        report.not_enough.push(format!(
            "{} seen; the minimum is {} (--min-flows)",
            count(report.connections, "connection"),
            enough.flows.max(1)
        ));
    }
    if has(Level::Undecided) {
        let n = report
            .items
            .iter()
            .filter(|item| item.level == Level::Undecided);
        report.not_enough.push(match n.count() {
            1 => "whether 1 edge meets the rules is unknown".to_owned(),
            n => format!("whether {n} edges meet the rules is unknown"),
        });
    }
    if !enough.partial {
        report.not_enough.extend(blind(list));
    }
    report.outcome = if has(Level::Violation) {
        Gate::Violation
    } else if report.not_enough.is_empty() {
        Gate::Pass
    } else {
        Gate::NotEnough
    }
    .into();
    report
}

/// What of the node could not be seen.
fn blind(list: &EdgeList) -> Vec<String> {
    let watched = list.watched;
    let mut blind = Vec::new();
    if let Some(nodes) = list.nodes.as_ref().filter(|nodes| !nodes.all()) {
        let silent = nodes.silent.len() as u64 + nodes.missing;
        let nodes = count(silent, "node");
        blind.push(format!("{nodes} did not answer, or have no daemon"));
    }
    if list.window_seconds == 0 {
        return blind;
    }
    if watched.interfaces_failed > 0 {
        blind.push(format!(
            "{} could not be watched (mtls status)",
            count(watched.interfaces_failed, "interface")
        ));
    }
    if let (Some(pods), Some(seen)) = (watched.pods, watched.pods_watched)
        && seen < pods
    {
        let all = count(pods, "pod");
        blind.push(format!(
            "{} of {all} not watched (mtls status)",
            pods - seen
        ));
    }
    if let Some(lost) = watched.samples_lost.filter(|lost| *lost > 0) {
        blind.push(format!("{} lost (mtls status)", count(lost, "sample")));
    }
    blind
}

fn seconds(list: &EdgeList, since: Option<Time>) -> u64 {
    match since {
        None => list.window_seconds,
        Some(since) => {
            let span = list.generated.as_nanos().saturating_sub(since.as_nanos());
            span / 1_000_000_000
        }
    }
}

/// The verdicts that count, with their numbers: a connection may have been seen before `since` too.
fn counted(
    edge: &EdgeRecord,
    since: Option<Time>,
) -> impl Iterator<Item = (&Word<Verdict>, u64)> + use<'_> {
    let recent = move |verdict: &Word<Verdict>| {
        let seen = edge.verdict_seen.get(verdict);
        since.is_none_or(|since| seen.is_none_or(|seen| seen.last_seen >= since))
    };
    let counts = edge.verdict_counts.iter();
    counts
        .filter(move |(verdict, _)| recent(verdict))
        .map(|(verdict, n)| (verdict, *n))
}

fn judge(
    edge: &EdgeRecord,
    rules: &Rules,
    enough: Enough,
    now: Time,
    items: &mut Vec<GateFinding>,
) {
    let (require, least) = rules.of(edge, now);
    let first = items.len();
    if require == Require::Any {
        return;
    }
    if require == Require::Deny {
        let n = counted(edge, enough.since).map(|(_, n)| n).sum();
        let reason = "no rule allows this connection".to_owned();
        items.push(found(
            edge,
            Level::Violation,
            Finding::Denied,
            None,
            Some(n),
            reason,
        ));
    } else {
        for (verdict, n) in counted(edge, enough.since) {
            if let Some((level, finding)) = weigh(verdict, require) {
                let reason = reason(edge, verdict);
                items.push(found(edge, level, finding, Some(verdict), Some(n), reason));
            }
        }
        whole(edge, enough, items);
        versions(edge, least, items);
    }
    match rules.exemption(edge) {
        Some(Ok(reason)) => {
            for item in &mut items[first..] {
                item.level = Level::Exempted.into();
                item.exemption = Some(reason.to_string());
            }
        }
        Some(Err(reason)) => {
            for item in &mut items[first..] {
                item.reason = format!("{}; its exemption has expired ({reason})", item.reason);
            }
        }
        None => {}
    }
}

/// What connections of a verdict come to; `None` where they are as required, or exposed nothing.
fn weigh(verdict: &Word<Verdict>, require: Require) -> Option<(Level, Finding)> {
    let tls_will_do = require == Require::Tls;
    match verdict.known() {
        Some(Verdict::Plaintext) => Some((Level::Violation, Finding::Plaintext)),
        Some(Verdict::Opaque) => Some((Level::Violation, Finding::NotTls)),
        Some(Verdict::Tls) if !tls_will_do => Some((Level::Violation, Finding::OneWay)),
        Some(Verdict::TlsUnproven) if !tls_will_do => Some((Level::Undecided, Finding::NotSeen)),
        Some(
            Verdict::Mtls | Verdict::Tls | Verdict::TlsUnproven | Verdict::Failed | Verdict::NoData,
        ) => None,
        Some(Verdict::Unobserved) | None => Some((Level::Undecided, Finding::NotSeen)),
    }
}

/// Connections that were not seen whole may have carried something else before or after.
fn whole(edge: &EdgeRecord, enough: Enough, items: &mut Vec<GateFinding>) {
    let missing = edge.coverage.partial;
    if missing > 0 && !enough.partial {
        let reason = "not seen from their start, or samples of them were lost".to_owned();
        items.push(found(
            edge,
            Level::Undecided,
            Finding::NotSeen,
            None,
            Some(missing),
            reason,
        ));
    }
}

fn versions(edge: &EdgeRecord, least: Option<Version>, items: &mut Vec<GateFinding>) {
    let Some(least) = least else { return };
    let mut unknown = edge.tls_versions.other;
    for (text, n) in &edge.tls_versions.values {
        match Version::read(text) {
            Some(version) if version >= least => {}
            Some(_) => {
                let reason = format!("TLS {text} is older than the minimum");
                let (level, finding) = (Level::Violation, Finding::OldTls);
                items.push(found(edge, level, finding, None, Some(*n), reason));
            }
            None => unknown += n,
        }
    }
    let of = |verdict: Verdict| edge.verdict_counts.get(&verdict.into()).copied();
    let tls = [Verdict::Mtls, Verdict::Tls, Verdict::TlsUnproven];
    let tls: u64 = tls.into_iter().filter_map(of).sum();
    let known: u64 = edge.tls_versions.values.values().sum();
    unknown = unknown.max(tls.saturating_sub(known));
    if unknown > 0 {
        let reason = "the TLS version is unknown".to_owned();
        items.push(found(
            edge,
            Level::Undecided,
            Finding::NotSeen,
            None,
            Some(unknown),
            reason,
        ));
    }
}

/// In the words of the edge where they are about this verdict.
fn reason(edge: &EdgeRecord, verdict: &Word<Verdict>) -> String {
    match &edge.reason {
        Some(reason) if edge.verdict.as_ref() == Some(verdict) => reason.to_string(),
        _ => verdict.known().map_or_else(
            || verdict.to_string(),
            |verdict| {
                use mtls_core::record::Vocabulary;
                verdict.meaning().trim_end_matches('.').to_owned()
            },
        ),
    }
}

fn found(
    edge: &EdgeRecord,
    level: Level,
    finding: Finding,
    verdict: Option<&Word<Verdict>>,
    connections: Option<u64>,
    reason: String,
) -> GateFinding {
    let seen = verdict.and_then(|verdict| edge.verdict_seen.get(verdict));
    GateFinding {
        level: level.into(),
        finding: finding.into(),
        src: edge.src.clone(),
        dst: edge.dst.clone(),
        transport: edge.transport.clone(),
        connections,
        verdict: verdict.cloned(),
        reason,
        exemption: None,
        last_seen: seen.map_or(edge.last_seen, |seen| seen.last_seen),
    }
}

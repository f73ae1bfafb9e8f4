//! What was seen, and what was not.

use mtls_core::record::Coverage;

use super::Report;
use crate::output::{safe, safe_long};

/// A line of a table of two columns.
pub(super) type Fact = (String, String);

/// Of the connections: so many, of so many.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "none".into();
    }
    // Rounded down, so that nothing is whole that is not.
    let tenths = u128::from(part) * 1000 / u128::from(whole);
    format!("{part} of {whole} ({}.{} %)", tenths / 10, tenths % 10)
}

/// How much was seen, in numbers.
pub(super) fn facts(report: &Report) -> Vec<Fact> {
    let list = &report.edges;
    let watched = list.watched;
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = Vec::new();
    if let Some(nodes) = &list.nodes {
        let silent = nodes.silent.len() as u64;
        let all = nodes.answered + silent + nodes.missing;
        facts.push(fact("Nodes that answered", share(nodes.answered, all)));
    } else if let Some(node) = &list.node {
        facts.push(fact("Node", safe(node).into_owned()));
    }
    let is_of_daemons = list.window_seconds > 0 || !report.statuses.is_empty();
    if is_of_daemons {
        facts.push(fact(
            "Pods watched",
            match (watched.pods_watched, watched.pods) {
                (Some(seen), Some(pods)) => share(seen, pods),
                _ => "not known: no source names all pods".into(),
            },
        ));
        facts.push(fact(
            "Interfaces watched",
            match watched.interfaces_failed {
                0 => watched.interfaces.to_string(),
                failed => format!("{}; {failed} NOT WATCHED", watched.interfaces),
            },
        ));
    }
    let mut seen = Coverage::default();
    let mut connections = 0;
    for edge in &list.items {
        connections += edge.connections;
        seen.complete += edge.coverage.complete;
        seen.partial += edge.coverage.partial;
        seen.unobserved += edge.coverage.unobserved;
    }
    facts.push(fact(
        "Connections seen from start to end, or to now, without a loss",
        share(seen.complete, connections),
    ));
    facts.push(fact("Connections seen in part", seen.partial.to_string()));
    facts.push(fact(
        "Connections of which nothing can be determined",
        seen.unobserved.to_string(),
    ));
    facts.push(fact(
        "Samples lost in the window",
        match watched.samples_lost {
            Some(lost) => lost.to_string(),
            None if is_of_daemons => "not known".into(),
            None => "does not apply: this is no answer of a daemon".into(),
        },
    ));
    if let Some(history) = report.flows.as_ref().and_then(|flows| flows.history) {
        facts.push(fact(
            "Connections forgotten for want of room",
            history.forgotten.to_string(),
        ));
    }
    facts
}

/// What was not seen in this window, and could have been.
pub(super) fn gaps(report: &Report) -> Vec<String> {
    let mut gaps = Vec::new();
    if report.edges.items.is_empty() {
        gaps.push("No connection was seen. Nothing follows from that.".to_owned());
    }
    if let Some(nodes) = &report.edges.nodes {
        for silent in &nodes.silent {
            let (node, reason) = (safe(&silent.node), safe_long(&silent.reason));
            gaps.push(format!("Node {node} did not answer: {reason}"));
        }
        if nodes.missing > 0 {
            gaps.push(format!("{} nodes have no daemon", nodes.missing));
        }
    }
    if report.flows.is_none() {
        gaps.push(
            "The connections were not available one by one: the evidence is that of the edges."
                .into(),
        );
    }
    if report.statuses.is_empty() {
        gaps.push(if report.edges.window_seconds > 0 {
            "The state of the daemons was not available: what they did not watch is known by number only.".into()
        } else {
            "This was read from a file: what was not captured is not in it.".into()
        });
    }
    for status in &report.statuses {
        let node = status.node.as_deref().unwrap_or("this node");
        let node = safe(node);
        for pod in &status.coverage.unwatched {
            let (namespace, name) = (safe(&pod.namespace), safe(&pod.name));
            let reason = safe_long(&pod.reason);
            gaps.push(format!(
                "{node}: pod {namespace}/{name} is not watched: {reason}"
            ));
        }
        for one in &status.kernel.not_attached {
            let (name, reason) = (safe(&one.name), safe_long(&one.reason));
            gaps.push(format!("{node}: interface {name} is not watched: {reason}"));
        }
        for one in &status.kernel.uplinks {
            let (name, reason) = (safe(&one.name), safe_long(&one.reason));
            gaps.push(format!("{node}: interface {name} is left out: {reason}"));
        }
        for source in &status.sources {
            if let Some(error) = &source.error {
                let (name, error) = (safe(&source.name), safe_long(error));
                gaps.push(format!(
                    "{node}: names from {name} may be out of date: {error}"
                ));
            }
        }
        let uptime = status.uptime_seconds;
        if status.window_seconds > uptime {
            gaps.push(format!(
                "{node}: the daemon has run for {uptime} s only, which is less than the window"
            ));
        }
        for (count, what) in [
            (
                status.edges.evicted,
                "edges were forgotten: the table was full",
            ),
            (
                status.flows.evicted,
                "connections were forgotten: the table was full",
            ),
            (
                status.engine.malformed,
                "events of the kernel program made no sense",
            ),
        ] {
            if count > 0 {
                gaps.push(format!("{node}: {count} {what}"));
            }
        }
    }
    gaps
}

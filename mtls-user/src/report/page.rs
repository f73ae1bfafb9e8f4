//! The page: what the template is filled with.

use std::collections::BTreeMap;

use anyhow::Context;
use askama::Template;
use mtls_core::record::{Exempt, Mark, SCHEMA, Tally, Word};

use super::coverage::{self, Fact};
use super::matrix::{Matrix, matrix};
use super::method::{self, Measured};
use super::write::File;
use super::{Report, is_finding};
use crate::graph;
use crate::output::{Style, edge_cells, safe, safe_long, took};

/// Most edges that the page lists; the files have all.
const MOST_EDGES: usize = 2_000;
/// The page's style; the policy names its sum.
const STYLE: &str = include_str!("../../templates/report.css");

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    style: &'a str,
    policy: String,
    made: String,
    verdict: (&'static str, String),
    summary: Vec<(&'static str, &'static str, usize)>,
    scope: Vec<Fact>,
    coverage: Vec<Fact>,
    gaps: Vec<String>,
    matrix: Matrix,
    graph: &'a str,
    graph_note: String,
    edges: Vec<Edge>,
    more_edges: usize,
    findings: Vec<Finding>,
    more_findings: usize,
    inventory: Vec<(&'static str, Vec<(String, u64)>)>,
    certificates: Vec<Certificate>,
    exempt: Vec<(String, u64)>,
    declared: Vec<Declared>,
    limits: Vec<String>,
    measured: Vec<Measured>,
    worst: String,
    versions: Vec<Fact>,
    files: &'a [File],
}

/// A row of the table.
struct Edge {
    class: &'static str,
    cells: [String; 9],
    /// Of what is explained below: where.
    finding: Option<usize>,
}

/// Something that is not mutual TLS.
struct Finding {
    number: usize,
    class: &'static str,
    words: &'static str,
    title: String,
    parts: Vec<(&'static str, Vec<String>)>,
    id: Option<String>,
}

/// A certificate that was seen.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Certificate {
    name: String,
    side: &'static str,
    issuer: String,
    key: String,
    until: String,
}

/// An exemption that was declared.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Declared {
    what: String,
    reason: String,
    until: String,
    expired: bool,
}

/// The page; `files` are those beside it.
pub(super) fn page(
    report: &Report,
    graph: &graph::Graph,
    files: &[File],
) -> anyhow::Result<String> {
    let edges = &report.edges.items;
    let count = |mark: Mark| {
        let marked = edges.iter();
        marked.filter(|edge| edge.mark == Some(mark.into())).count()
    };
    let marks = [Mark::Clear, Mark::OneWay, Mark::Unknown, Mark::Mutual];
    let summary = marks.map(|mark| {
        let word = Word::from(mark);
        (
            graph::class(Some(&word)),
            graph::words(Some(&word)),
            count(mark),
        )
    });
    let (measured, worst) = method::measured();
    let page = Page {
        style: STYLE,
        policy: policy(),
        made: second(report.made),
        verdict: verdict(report),
        summary: summary.to_vec(),
        scope: scope(report),
        coverage: coverage::facts(report),
        gaps: coverage::gaps(report),
        matrix: matrix(edges),
        graph: &graph.svg,
        graph_note: note(graph),
        edges: rows(report),
        more_edges: edges.len().saturating_sub(MOST_EDGES),
        findings: findings(report),
        more_findings: report.more_findings,
        inventory: inventory(report),
        certificates: certificates(report),
        exempt: exempt(report),
        declared: declared(report),
        limits: method::limits(),
        measured,
        worst,
        versions: versions(report),
        files,
    };
    page.render().context("make the page")
}

/// Nothing but the page's own style: no script, no address.
fn policy() -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let sum = base64::prelude::BASE64_STANDARD.encode(sha2::Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{sum}'; base-uri 'none'; form-action 'none'")
}

fn second(time: mtls_core::record::Time) -> String {
    let text = time.to_string();
    let whole = text.split(['.', 'Z']).next().unwrap_or_default();
    format!("{} UTC", whole.replace('T', " "))
}

/// What it comes to, in a sentence that claims no more than was seen.
fn verdict(report: &Report) -> (&'static str, String) {
    let edges = &report.edges.items;
    let judged = edges.iter().filter(|edge| edge.mark.is_some()).count();
    let open = edges.iter().filter(|edge| is_finding(edge)).count();
    let clear = Some(Mark::Clear.into());
    let is_whole = coverage::gaps(report).is_empty();
    if judged == 0 {
        let text = "No connection that counts was seen: nothing is known of whether this traffic is mutual TLS.";
        return ("unknown", text.into());
    }
    if open > 0 {
        let class = if edges.iter().any(|edge| edge.mark == clear) {
            "clear"
        } else {
            "one-way"
        };
        return (
            class,
            format!("{open} of {judged} edges are not, or are not known to be, mutual TLS."),
        );
    }
    let text = format!("All {judged} edges that were seen are mutual TLS.");
    if is_whole {
        ("mutual", text)
    } else {
        (
            "unknown",
            format!("{text} Not everything was seen: see Coverage."),
        )
    }
}

fn scope(report: &Report) -> Vec<Fact> {
    let list = &report.edges;
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![fact("Asked", safe_long(&report.source))];
    let filters = if report.is_of_all {
        "none: everything that was seen"
    } else {
        "as in the command: what they leave out is not in this report"
    };
    facts.push(fact("Filters", filters.into()));
    facts.push(fact(
        "Command",
        format!("mtls {}", safe_long(&report.command)),
    ));
    facts.push(fact("Answered at", second(list.generated)));
    if list.window_seconds > 0 {
        facts.push(fact(
            "Window",
            format!("the last {} before that", took(list.window_seconds)),
        ));
    }
    let first = list.items.iter().map(|edge| edge.first_seen).min();
    let last = list.items.iter().map(|edge| edge.last_seen).max();
    if let (Some(first), Some(last)) = (first, last) {
        facts.push(fact(
            "Traffic seen",
            format!("{} to {}", second(first), second(last)),
        ));
    }
    let connections: u64 = list.items.iter().map(|edge| edge.connections).sum();
    facts.push(fact(
        "Connections",
        format!("{connections}, on {} edges", list.items.len()),
    ));
    facts
}

fn note(graph: &graph::Graph) -> String {
    let mut parts = Vec::<String>::new();
    if graph.by_namespace {
        parts.push("There are too many workloads for a picture: each box is a namespace.".into());
    }
    if graph.left_out > 0 {
        parts.push(format!(
            "{} boxes are left out; those with the worst edges are drawn.",
            graph.left_out
        ));
    }
    parts.join(" ")
}

fn rows(report: &Report) -> Vec<Edge> {
    let now = report.edges.generated.as_nanos();
    let mut number = 0;
    let rows = report.edges.items.iter().take(MOST_EDGES).map(|edge| {
        let explained = is_finding(edge) && number < report.findings.items.len();
        number += usize::from(explained);
        Edge {
            class: graph::class(edge.mark.as_ref()),
            cells: edge_cells(edge, Style::Unicode, now),
            finding: explained.then_some(number),
        }
    });
    rows.collect()
}

fn findings(report: &Report) -> Vec<Finding> {
    let explained = report.findings.items.iter().enumerate();
    explained
        .map(|(at, one)| {
            let edge = one.edge.as_ref();
            let mark = edge.and_then(|edge| edge.mark.as_ref());
            let id = one.flow.as_ref().and_then(|flow| flow.id.as_deref());
            let lines = |lines: &[String]| -> Vec<String> {
                lines.iter().map(|line| safe_long(line)).collect()
            };
            let parts = [
                ("Evidence", lines(&one.evidence)),
                ("Not seen", lines(&one.not_seen)),
                ("What would change the verdict", lines(&one.would_change)),
                ("What to do next", lines(&one.next)),
            ];
            Finding {
                number: at + 1,
                class: graph::class(mark),
                words: graph::words(mark),
                title: safe_long(&one.summary),
                parts: parts
                    .into_iter()
                    .filter(|(_, lines)| !lines.is_empty())
                    .collect(),
                id: id.map(|id| safe(id).into_owned()),
            }
        })
        .collect()
}

fn inventory(report: &Report) -> Vec<(&'static str, Vec<(String, u64)>)> {
    let all = |of: fn(&mtls_core::record::EdgeRecord) -> &Tally| {
        let mut counts = BTreeMap::<String, u64>::new();
        for edge in &report.edges.items {
            let tally = of(edge);
            for (value, n) in &tally.values {
                *counts.entry(safe(value).into_owned()).or_default() += n;
            }
            if tally.other > 0 {
                *counts.entry("others".to_owned()).or_default() += tally.other;
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        counts
    };
    let kinds = [
        ("Protocol", all(|edge| &edge.protocols)),
        ("TLS version", all(|edge| &edge.tls_versions)),
        ("Cipher suite", all(|edge| &edge.ciphers)),
        ("Key exchange", all(|edge| &edge.groups)),
        ("Client identity", all(|edge| &edge.client_identities)),
        ("Server identity", all(|edge| &edge.server_identities)),
    ];
    let kinds = kinds.into_iter();
    kinds.filter(|(_, counts)| !counts.is_empty()).collect()
}

fn certificates(report: &Report) -> Vec<Certificate> {
    let flows = report.flows.iter().flat_map(|flows| &flows.items);
    let mut all = std::collections::BTreeSet::new();
    for tls in flows.filter_map(|flow| flow.tls.as_deref()) {
        for (side, certificate) in [("client", &tls.client_cert), ("server", &tls.server_cert)] {
            let Some(certificate) = certificate else {
                continue;
            };
            let name = certificate
                .spiffe_id
                .as_deref()
                .unwrap_or(&certificate.subject);
            all.insert(Certificate {
                name: safe(name).into_owned(),
                side,
                issuer: safe(&certificate.issuer).into_owned(),
                key: safe(&certificate.key).into_owned(),
                until: second(certificate.not_after),
            });
        }
    }
    all.into_iter().collect()
}

fn exempt(report: &Report) -> Vec<(String, u64)> {
    let mut counts = BTreeMap::<&Word<Exempt>, u64>::new();
    for (class, n) in report
        .edges
        .items
        .iter()
        .flat_map(|edge| &edge.exempt_counts)
    {
        *counts.entry(class).or_default() += n;
    }
    let words = counts.into_iter();
    words
        .map(|(class, n)| (crate::output::exempt(class).into_owned(), n))
        .collect()
}

fn declared(report: &Report) -> Vec<Declared> {
    let all = report.statuses.iter().flat_map(|status| &status.exemptions);
    let all: std::collections::BTreeSet<_> = all
        .map(|one| {
            let any = |text: Option<&str>| {
                text.map_or_else(|| "any".to_owned(), |text| safe(text).into_owned())
            };
            let port = one.port.map_or("any".into(), |port| port.to_string());
            Declared {
                what: format!(
                    "namespace {}, workload {}, port {port}",
                    any(one.namespace.as_deref()),
                    any(one.workload.as_deref())
                ),
                reason: safe_long(&one.reason),
                until: one.until.map_or("no end".into(), second),
                expired: one.expired,
            }
        })
        .collect();
    all.into_iter().collect()
}

fn versions(report: &Report) -> Vec<Fact> {
    let mut facts = vec![
        (
            "mtls, which made this report".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
        ("Schema of the JSON".to_owned(), SCHEMA.to_string()),
    ];
    for status in &report.statuses {
        let node = status.node.as_deref().unwrap_or("this node");
        facts.push((
            format!("Daemon of {}", safe(node)),
            safe(&status.version).into_owned(),
        ));
    }
    facts
}

//! The gate's answer, for people and for pipelines.

use std::fmt::Write as _;

use mtls_core::record::{
    Finding, Gate, GateFinding, GateReport, Level, NamespaceCoverage, Vocabulary,
};
use quick_junit::{NonSuccessKind, Report as JUnit, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use crate::output::{Screen, Sheet, ago, count, end_path, json, safe, took};

/// How it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Report {
    /// For people.
    Text,
    /// The document.
    Json,
    /// JUnit's XML: a test case for each finding.
    Junit,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Annotations of GitHub Actions.
    Github,
}

/// Writes the answer.
pub(crate) fn write(report: &GateReport, format: Report) -> anyhow::Result<String> {
    Ok(match format {
        Report::Text => text(report),
        Report::Json => json(report, true)?,
        Report::Junit => junit(report)?,
        Report::Sarif => json(&sarif(report), true)?,
        Report::Github => github(report),
    })
}

/// `shop/deployment/web → data/statefulset/pg:5432`.
fn edge(item: &GateFinding, arrow: &str) -> String {
    let port = item.dst.port;
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    format!(
        "{} {arrow} {}{port}",
        end_path(&item.src),
        end_path(&item.dst)
    )
}

fn times(item: &GateFinding) -> String {
    item.connections
        .map_or_else(|| "connections".into(), |n| count(n, "connection"))
}

fn outcome(report: &GateReport) -> &'static str {
    match report.outcome.known() {
        Some(Gate::Pass) => "PASS",
        Some(Gate::Violation) => "VIOLATION",
        Some(Gate::NotEnough) | None => "NOT ENOUGH SEEN",
    }
}

fn summary(report: &GateReport) -> String {
    let mut line = format!("{}: ", outcome(report));
    // Writing to a String cannot fail.
    let broken = report.items.iter();
    let broken = broken.filter(|item| item.level == Level::Violation);
    let broken: std::collections::HashSet<_> = broken.map(|item| edge(item, "")).collect();
    match broken.len() {
        0 => {}
        1 => line.push_str("1 edge breaks the rules; "),
        n => {
            let _ = write!(line, "{n} edges break the rules; ");
        }
    }
    let _ = write!(
        line,
        "checked {} on {}",
        count(report.connections, "connection"),
        count(report.edges, "edge")
    );
    if report.seconds > 0 {
        let _ = write!(line, ", last {}", took(report.seconds));
    }
    if let Some(watched) = &report.watched
        && let (Some(pods), Some(seen)) = (watched.pods, watched.pods_watched)
    {
        let _ = write!(line, "; {seen} of {pods} pods watched");
    }
    line
}

/// `shop: 3 of 4 pods watched, the first for 2h, all 3 for 8m20s`.
fn watched(report: &GateReport, one: &NamespaceCoverage) -> String {
    let now = report.generated.as_nanos();
    let mut line = format!(
        "{}: {} of {} pods watched",
        safe(&one.namespace),
        one.watched,
        one.pods
    );
    let (Some(first), Some(last)) = (one.since_first, one.since_last) else {
        return line;
    };
    // Writing to a String cannot fail.
    let _ = if ago(first, now) == ago(last, now) {
        write!(line, ", for {}", ago(last, now))
    } else {
        let (first, last) = (ago(first, now), ago(last, now));
        write!(
            line,
            ", the first for {first}, all {} for {last}",
            one.watched
        )
    };
    if now.saturating_sub(last.as_nanos()) / 1_000_000_000 < report.seconds {
        let _ = write!(line, ": shorter than the {} checked", took(report.seconds));
    }
    line
}

fn text(report: &GateReport) -> String {
    let mut sheet = Sheet::new(vec!["LEVEL", "FROM", "TO", "PORT", "CONNS", "LAST", "WHY"]);
    for item in &report.items {
        let why = match &item.exemption {
            Some(reason) => format!("{} (exempted: {})", safe(&item.reason), safe(reason)),
            None => safe(&item.reason).into_owned(),
        };
        let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        sheet.row(
            vec![
                safe(item.level.as_str()).into_owned(),
                end_path(&item.src),
                end_path(&item.dst),
                number(item.dst.port.map(Into::into)),
                number(item.connections),
                ago(item.last_seen, report.generated.as_nanos()),
                why,
            ],
            None,
        );
    }
    for why in &report.not_enough {
        let _ = writeln!(sheet.below, "not enough: {}", safe(why));
    }
    for namespace in &report.namespaces {
        let _ = writeln!(sheet.below, "{}", watched(report, namespace));
    }
    let _ = writeln!(sheet.below, "{}", summary(report));
    sheet.text(true, Screen::of_stdout())
}

fn junit(report: &GateReport) -> anyhow::Result<String> {
    let mut suite = TestSuite::new("mtls check");
    let mut case = |name: String, trouble: Option<(&str, String)>| {
        let status = match trouble {
            None => TestCaseStatus::success(),
            Some((kind, message)) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status
                    .set_type(safe(kind).into_owned())
                    .set_message(message);
                status
            }
        };
        suite.add_test_case(TestCase::new(name, status));
    };
    for item in &report.items {
        let message = format!("{}: {}", times(item), safe(&item.reason));
        let is_fine = item.level == Level::Exempted;
        let trouble = (!is_fine).then(|| (item.finding.as_str(), message));
        case(edge(item, "->"), trouble);
    }
    for why in &report.not_enough {
        case(
            "enough was seen".into(),
            Some(("not-enough", safe(why).into_owned())),
        );
    }
    case(
        summary(report),
        (report.outcome != Gate::Pass).then(|| ("outcome", outcome(report).to_owned())),
    );
    let mut junit = JUnit::new("mtls");
    junit.add_test_suite(suite);
    Ok(junit.to_string()?)
}

/// A rule that stands for what cannot be determined at all.
const NOT_ENOUGH: &str = "not-enough";

fn sarif(report: &GateReport) -> Value {
    let rules = Finding::ALL.iter().map(|finding| {
        json!({
            "id": finding.as_str(),
            "shortDescription": { "text": finding.meaning() },
        })
    });
    let also = json!({
        "id": NOT_ENOUGH,
        "shortDescription": { "text": "Not enough was seen for a pass." },
    });
    let results = report.items.iter().map(|item| {
        let level = match item.level.known() {
            Some(Level::Violation) => "error",
            Some(Level::Exempted) => "note",
            _ => "warning",
        };
        let text = format!(
            "{}: {}: {}",
            edge(item, "->"),
            times(item),
            safe(&item.reason)
        );
        let mut result = json!({
            "ruleId": item.finding.as_str(),
            "level": level,
            "message": { "text": text },
            "locations": [{ "logicalLocations": [{
                "fullyQualifiedName": edge(item, "->"), "kind": "resource",
            }] }],
        });
        if let Some(reason) = &item.exemption {
            let justification = safe(reason);
            result["suppressions"] =
                json!([{ "kind": "external", "justification": justification }]);
        }
        result
    });
    let missing = report.not_enough.iter().map(
        |why| json!({ "ruleId": NOT_ENOUGH, "level": "error", "message": { "text": safe(why) } }),
    );
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "mtls",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.chain([also]).collect::<Vec<_>>(),
            } },
            "results": results.chain(missing).collect::<Vec<_>>(),
        }],
    })
}

/// <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>
fn github(report: &GateReport) -> String {
    let message = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let property = |text: &str| message(text).replace(':', "%3A").replace(',', "%2C");
    let mut out = String::new();
    for item in &report.items {
        let command = match item.level.known() {
            Some(Level::Violation) => "error",
            Some(Level::Exempted) => "notice",
            _ => "warning",
        };
        let text = format!("{}: {}", times(item), safe(&item.reason));
        let (title, text) = (property(&edge(item, "->")), message(&text));
        let _ = writeln!(out, "::{command} title={title}::{text}");
    }
    for why in &report.not_enough {
        let _ = writeln!(
            out,
            "::error title=mtls check::not enough was seen: {}",
            message(&safe(why))
        );
    }
    let _ = writeln!(out, "{}", summary(report));
    out
}

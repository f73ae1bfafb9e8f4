//! Edges out of the metrics that some server has kept: the same record as a daemon gives, with what
//! metrics cannot know left out.

mod query;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use mtls_core::record::{
    Cause, Coverage, EdgeList, EdgeRecord, Exempt, Expectation, Kind, Mark, Outcome, Peer,
    Reporter, SCHEMA, Span, Time, Verdict, Watched, Word, Workload,
};
use query::{Sample, Server};

/// What a table of the past lacks.
const LACKS: &str = "from metrics: numbers of connections are as of the last scrapes; reasons, protocols and identities are \
     not in them";

/// The labels of an edge that have to do with who it is.
const ENDS: &str = "source_namespace, source_workload, destination_namespace, destination_workload, \
     destination_port, transport";
/// Those of what its connections are like.
const LIKE: &str = "verdict, exempt, outcome, mark";

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Question {
    /// Where.
    pub(crate) url: String,
    /// The end of the time that is looked at.
    pub(crate) at: Time,
    /// How long it is.
    pub(crate) window: Duration,
    /// Lines of `NAME: VALUE`.
    pub(crate) headers: Vec<String>,
    /// A file with a bearer token.
    pub(crate) token: Option<std::path::PathBuf>,
}

/// What was counted of connections with the same labels.
#[derive(Default)]
struct Row {
    counted: f64,
    open: f64,
    first_seen: f64,
    last_seen: f64,
    source: bool,
    destination: bool,
}

type Labels = BTreeMap<String, String>;

/// Asks for the edges of all nodes that the server has metrics of.
pub(super) async fn edges(question: &Question) -> anyhow::Result<EdgeList> {
    let token = question.token.as_ref().map(|path| {
        std::fs::read_to_string(path)
            .with_context(|| format!("--prometheus-token-file {}", path.display()))
    });
    let token = token.transpose()?;
    let token = token.as_deref().map(str::trim);
    let server = Server::new(&question.url, &question.headers, token)?;
    let end = question.at.as_nanos() as f64 / 1e9;
    let window = question.window.as_secs().max(1);
    let ask = async |query: String| server.ask(&query, end).await;
    let by = format!("by (reporter, {ENDS}, {LIKE})");
    let mut rows = BTreeMap::<Labels, Row>::new();
    // Of two ends that counted the same connections, the one counts that saw more.
    let mut each = |samples: Vec<Sample>, take: fn(&mut Row, f64)| {
        for mut sample in samples {
            let reporter = sample.labels.remove("reporter");
            let row = rows.entry(sample.labels).or_default();
            row.source |= reporter.as_deref() == Some("source");
            row.destination |= reporter.as_deref() == Some("destination");
            take(row, sample.value);
        }
    };
    let connections = counted("mtls_edge_connections_total", &by, window);
    each(ask(connections).await?, |row, n| {
        row.counted = row.counted.max(n);
    });
    let last = format!("mtls_edge_last_seen_timestamp_seconds[{window}s]");
    let latest = format!("max {by} (max_over_time({last}))");
    each(ask(latest).await?, |row, time| {
        row.last_seen = row.last_seen.max(time);
    });
    let earliest = format!("min {by} (min_over_time({last}))");
    each(ask(earliest).await?, |row, time| {
        let known = row.first_seen > 0.0;
        row.first_seen = if known {
            row.first_seen.min(time)
        } else {
            time
        };
    });
    let open = format!("sum {by} (mtls_edge_open_connections)");
    each(ask(open).await?, |row, n| row.open = row.open.max(n));
    let start = end - window as f64;
    // An edge has series for a day after its last connection.
    rows.retain(|_, row| row.last_seen >= start || row.open > 0.0);
    let mut items = EdgeRecord::fold(rows.iter().map(|(labels, row)| record(labels, row, start)));
    let by = format!("by (reporter, {ENDS})");
    for sample in ask(counted("mtls_identity_mismatches_total", &by, window)).await? {
        let key = record(&sample.labels, &Row::default(), start).key();
        for edge in items.iter_mut().filter(|edge| edge.key() == key) {
            edge.mismatches = edge.mismatches.max(sample.value.round() as u64);
        }
    }
    let one = async |query: &str| -> anyhow::Result<Option<u64>> {
        let samples = ask(query.to_owned()).await?;
        Ok(samples.first().map(|sample| sample.value.round() as u64))
    };
    let lost = format!("sum(increase(mtls_samples_lost_total[{window}s]))");
    let interfaces = one("sum(mtls_interfaces{state=\"attached\"})").await?;
    anyhow::ensure!(
        interfaces.is_some() || !items.is_empty(),
        "{} has no metrics of mtls at that time: is `mtls daemon --metrics` scraped?",
        question.url
    );
    eprintln!("mtls: {LACKS}");
    Ok(EdgeList {
        nodes: None,
        schema: SCHEMA,
        node: None,
        generated: question.at,
        window_seconds: window,
        watched: Watched {
            interfaces: interfaces.unwrap_or_default(),
            interfaces_failed: one("sum(mtls_interfaces{state=\"failed\"})")
                .await?
                .unwrap_or_default(),
            samples_lost: one(&lost).await?,
            pods: one("sum(mtls_pods)").await?,
            pods_watched: one("sum(mtls_pods{watched=\"true\"})").await?,
        },
        items,
    })
}

/// How often something was counted within the window: without the guesses of `increase()`, but for a
/// counter that began anew, and with the first value of a series that began within it.
fn counted(metric: &str, by: &str, window: u64) -> String {
    let range = format!("{metric}[{window}s]");
    let anew = format!("(increase({range}) and resets({range}) > 0)");
    let grown = format!("(max_over_time({range}) - {metric} offset {window}s)");
    format!("sum {by} ({anew} or {grown} or max_over_time({range}))")
}

fn record(labels: &Labels, row: &Row, start: f64) -> EdgeRecord {
    let label = |name: &str| labels.get(name).map_or("", String::as_str);
    let verdict = Word::<Verdict>::from(label("verdict"));
    let is_exempt = !label("exempt").is_empty();
    // Something is there, however little it has grown.
    let connections = row.counted.max(row.open).round().max(1.0) as u64;
    let time = |seconds: f64| Time::from_nanos((seconds.max(0.0) * 1e9) as u64);
    let span = Span {
        first_seen: time(row.first_seen.max(start)),
        last_seen: time(row.last_seen.max(start)),
    };
    // What was seen whole is known of mutual TLS alone, by its mark.
    let mark = Word::<Mark>::from(label("mark"));
    let coverage = Coverage {
        complete: if mark == Mark::Mutual { connections } else { 0 },
        unobserved: if verdict == Verdict::Unobserved {
            connections
        } else {
            0
        },
        partial: 0,
    };
    let mut record = EdgeRecord {
        reporter: Reporter::of(row.source, row.destination),
        transport: label("transport").into(),
        src: peer(label("source_namespace"), label("source_workload"), None),
        dst: peer(
            label("destination_namespace"),
            label("destination_workload"),
            label("destination_port").parse().ok(),
        ),
        connections,
        open_connections: row.open.round() as u64,
        coverage,
        first_seen: span.first_seen,
        last_seen: span.last_seen,
        ..EdgeRecord::default()
    };
    if is_exempt {
        let class = Word::<Exempt>::from(label("exempt"));
        record.exempt_counts.insert(class, connections);
        return record;
    }
    // Failed handshakes alone show nothing good, and have no mark of their own.
    record.mark = Some(match mark {
        Word::Known(mark) => mark.into(),
        Word::Other(_) => Mark::Unknown.into(),
    });
    record.cause = Some(Cause::Other.into());
    record.verdict_counts.insert(verdict.clone(), connections);
    record.verdict_seen.insert(verdict.clone(), span);
    record.verdict = Some(verdict);
    record.expectation = Some(Expectation {
        outcome: Word::<Outcome>::from(label("outcome")),
        ..Expectation::default()
    });
    record
}

/// Metrics have no kinds but of what stands for many addresses.
fn peer(namespace: &str, name: &str, port: Option<u16>) -> Peer {
    let kind = match (namespace, name) {
        ("", "external") => Kind::External.into(),
        ("", "unknown") => Kind::Unknown.into(),
        _ => "workload".into(),
    };
    Peer {
        ip: None,
        port,
        workload: Some(Workload {
            name: name.into(),
            namespace: namespace.into(),
            kind,
            ..Workload::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(verdict: &str, exempt: &str, mark: &str) -> Labels {
        [
            ("source_namespace", "shop"),
            ("source_workload", "web"),
            ("destination_namespace", ""),
            ("destination_workload", "external"),
            ("destination_port", "443"),
            ("transport", "tcp"),
            ("verdict", verdict),
            ("exempt", exempt),
            ("outcome", "nothing-expected"),
            ("mark", mark),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into()
    }

    #[test]
    fn nothing_good_is_made_of_what_metrics_do_not_say() {
        let row = Row {
            last_seen: 2_000.0,
            ..Row::default()
        };
        let mark = |verdict, mark| {
            let record = record(&labels(verdict, "", mark), &row, 1_000.0);
            assert_eq!(record.connections, 1);
            record.mark
        };
        assert_eq!(mark("mtls", "mutual"), Some(Mark::Mutual.into()));
        for word in ["unknown", "", "of a later version"] {
            assert_eq!(mark("mtls", word), Some(Mark::Unknown.into()));
        }
        assert_eq!(mark("plaintext", "clear"), Some(Mark::Clear.into()));
        assert_eq!(mark("mtls", "clear"), Some(Mark::Clear.into()));
        let exempt = record(&labels("plaintext", "scrape", ""), &row, 1_000.0);
        assert_eq!((exempt.mark, exempt.verdict), (None, None));
        assert_eq!(exempt.exempt_counts[&Exempt::Scrape.into()], 1);
    }

    #[test]
    fn rows_of_an_edge_are_one_edge_named_by_the_worst() {
        let row = |counted| Row {
            counted,
            last_seen: 2_000.0,
            destination: true,
            ..Row::default()
        };
        let folded = EdgeRecord::fold([
            record(&labels("mtls", "", "mutual"), &row(7.2), 1_000.0),
            record(&labels("plaintext", "", "clear"), &row(0.0), 1_000.0),
            record(&labels("plaintext", "declared", ""), &row(3.0), 1_000.0),
        ]);
        let [edge] = folded.as_slice() else {
            panic!("{folded:#?}")
        };
        assert_eq!(edge.verdict, Some(Verdict::Plaintext.into()));
        assert_eq!(edge.mark, Some(Mark::Clear.into()));
        assert_eq!(edge.connections, 11);
        assert_eq!(edge.dst.kind(), Some(Kind::External));
        assert_eq!(edge.dst.port, Some(443));
    }
}

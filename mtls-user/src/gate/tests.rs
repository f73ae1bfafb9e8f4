//! The gate passes only on what was seen.

use insta::assert_snapshot;
use mtls_core::record::{
    Coverage, EdgeList, EdgeRecord, Exempt, Gate, Kind, Level, Mark, NamespaceCoverage, Peer,
    SCHEMA, Span, Status, Tally, Time, Verdict, Watched, Workload,
};

use super::*;

const STRICT: Enough = Enough {
    flows: 1,
    partial: false,
    since: None,
};

fn peer(namespace: &str, name: &str, port: Option<u16>) -> Peer {
    Peer {
        ip: None,
        port,
        workload: Some(Workload {
            name: name.into(),
            namespace: namespace.into(),
            kind: Kind::Deployment.into(),
            ..Workload::default()
        }),
    }
}

fn edge(to: &str, port: u16, verdicts: &[(Verdict, u64)]) -> EdgeRecord {
    let n = verdicts.iter().map(|(_, n)| n).sum();
    let span = Span {
        first_seen: Time::from_seconds(10),
        last_seen: Time::from_seconds(90),
    };
    EdgeRecord {
        src: peer("shop", "web", None),
        dst: peer("data", to, Some(port)),
        mark: Some(Mark::Clear.into()),
        verdict: verdicts.first().map(|(verdict, _)| (*verdict).into()),
        reason: Some("as it was \u{1b}[31mseen: 100%,\nreally".into()),
        connections: n,
        verdict_counts: verdicts.iter().map(|(v, n)| ((*v).into(), *n)).collect(),
        verdict_seen: verdicts.iter().map(|(v, _)| ((*v).into(), span)).collect(),
        coverage: Coverage {
            complete: n,
            ..Coverage::default()
        },
        tls_versions: Tally {
            values: [("1.3".into(), n)].into(),
            other: 0,
        },
        last_seen: span.last_seen,
        ..EdgeRecord::default()
    }
}

fn list(items: Vec<EdgeRecord>) -> EdgeList {
    EdgeList {
        nodes: None,
        schema: SCHEMA,
        node: Some("node-1".into()),
        generated: Time::from_seconds(100),
        window_seconds: 600,
        watched: Watched {
            interfaces: 3,
            pods: Some(3),
            pods_watched: Some(3),
            samples_lost: Some(0),
            ..Watched::default()
        },
        items,
    }
}

fn outcome(list: &EdgeList, rules: &Rules, enough: Enough) -> Gate {
    check(list, rules, enough).outcome.known().unwrap()
}

fn good() -> EdgeList {
    list(vec![edge("cart", 8443, &[(Verdict::Mtls, 5)])])
}

fn rules(require: Require) -> Rules {
    Rules::new(require, None)
}

#[test]
fn only_what_was_seen_passes() {
    let mtls = rules(Require::Mtls);
    assert_eq!(outcome(&good(), &mtls, STRICT), Gate::Pass);
    assert_eq!(outcome(&list(Vec::new()), &mtls, STRICT), Gate::NotEnough);
    let more = Enough { flows: 6, ..STRICT };
    assert_eq!(outcome(&good(), &mtls, more), Gate::NotEnough);
    // What was not watched could have been anything.
    let mut blind = good();
    blind.watched.pods_watched = Some(2);
    assert_eq!(outcome(&blind, &mtls, STRICT), Gate::NotEnough);
    let partial = Enough {
        partial: true,
        ..STRICT
    };
    assert_eq!(outcome(&blind, &mtls, partial), Gate::Pass);
    let mut silent = good();
    silent.nodes = Some(mtls_core::record::Nodes {
        missing: 1,
        ..Default::default()
    });
    assert_eq!(outcome(&silent, &mtls, STRICT), Gate::NotEnough);
    let mut failed = good();
    failed.watched.interfaces_failed = 1;
    assert_eq!(outcome(&failed, &mtls, STRICT), Gate::NotEnough);
    let mut lost = good();
    lost.watched.samples_lost = Some(1);
    assert_eq!(outcome(&lost, &mtls, STRICT), Gate::NotEnough);
    let mut late = good();
    late.items[0].coverage = Coverage {
        complete: 4,
        partial: 1,
        unobserved: 0,
    };
    assert_eq!(outcome(&late, &mtls, STRICT), Gate::NotEnough);
    // Probes alone show nothing.
    let mut probes = good();
    probes.items[0].verdict_counts.clear();
    probes.items[0].exempt_counts = [(Exempt::KubeletProbe.into(), 5)].into();
    assert_eq!(outcome(&probes, &mtls, STRICT), Gate::NotEnough);
}

#[test]
fn each_verdict_against_each_requirement() {
    use Gate::{NotEnough, Pass, Violation};
    for (verdict, mtls, tls) in [
        (Verdict::Mtls, Pass, Pass),
        (Verdict::Tls, Violation, Pass),
        (Verdict::TlsUnproven, NotEnough, Pass),
        (Verdict::Plaintext, Violation, Violation),
        (Verdict::Opaque, Violation, Violation),
        (Verdict::Unobserved, NotEnough, NotEnough),
        (Verdict::Failed, Pass, Pass),
    ] {
        let list = list(vec![
            edge("cart", 8443, &[(Verdict::Mtls, 5)]),
            edge("pg", 5432, &[(verdict, 1)]),
        ]);
        assert_eq!(
            outcome(&list, &rules(Require::Mtls), STRICT),
            mtls,
            "{verdict}"
        );
        assert_eq!(
            outcome(&list, &rules(Require::Tls), STRICT),
            tls,
            "{verdict}"
        );
        assert_eq!(
            outcome(&list, &rules(Require::Any), STRICT),
            Pass,
            "{verdict}"
        );
        assert_eq!(outcome(&list, &rules(Require::Deny), STRICT), Violation);
    }
    let mut later = good();
    later.items[0].verdict_counts = [("quantum-safe".into(), 1)].into();
    assert_eq!(outcome(&later, &rules(Require::Tls), STRICT), NotEnough);
}

#[test]
fn an_old_or_an_unknown_version_does_not_pass() {
    let least = Rules::new(Require::Mtls, Some("1.2".parse().unwrap()));
    assert_eq!(outcome(&good(), &least, STRICT), Gate::Pass);
    let mut old = good();
    old.items[0].tls_versions.values = [("1.3".into(), 4), ("1.1".into(), 1)].into();
    assert_eq!(outcome(&old, &least, STRICT), Gate::Violation);
    let mut unknown = good();
    unknown.items[0].tls_versions.values = [("1.3".into(), 4)].into();
    assert_eq!(outcome(&unknown, &least, STRICT), Gate::NotEnough);
}

#[test]
fn only_what_is_new_counts_when_it_waits() {
    let clear = list(vec![
        edge("pg", 5432, &[(Verdict::Plaintext, 1)]),
        edge("cart", 8443, &[(Verdict::Mtls, 5)]),
    ]);
    let since = |second| Enough {
        since: Some(Time::from_seconds(second)),
        ..STRICT
    };
    assert_eq!(
        outcome(&clear, &rules(Require::Mtls), since(80)),
        Gate::Violation
    );
    assert_eq!(
        outcome(&clear, &rules(Require::Mtls), since(95)),
        Gate::NotEnough
    );
}

fn mixed() -> EdgeList {
    list(vec![
        edge("cart", 8443, &[(Verdict::Mtls, 5)]),
        edge("pg", 5432, &[(Verdict::Plaintext, 8), (Verdict::Mtls, 1)]),
        edge("search", 8443, &[(Verdict::TlsUnproven, 1)]),
    ])
}

#[test]
fn exemptions_are_shown_and_end() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text =
        "exemptions:\n- {namespace: data, workload: pg, reason: ticket 4711, until: 1970-01-01}\n";
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    let mut allowed = rules(Require::Mtls);
    allowed.allow(file.path(), Time::from_seconds(0)).unwrap();
    let report = check(&mixed(), &allowed, STRICT);
    assert_eq!(report.outcome.known(), Some(Gate::NotEnough));
    let exempted = report
        .items
        .iter()
        .find(|item| item.level == Level::Exempted);
    assert_eq!(exempted.unwrap().exemption.as_deref(), Some("ticket 4711"));
    let mut over = rules(Require::Mtls);
    over.allow(file.path(), Time::from_seconds(100_000))
        .unwrap();
    let report = check(&mixed(), &over, STRICT);
    assert_eq!(report.outcome.known(), Some(Gate::Violation));
    assert!(report.items[0].reason.contains("has expired"), "{report:?}");
}

#[test]
fn strict_would_break_what_is_not_mutual() {
    let mut all = mixed();
    all.items[0].exempt_counts =
        [(Exempt::Scrape.into(), 3), (Exempt::KubeletProbe.into(), 9)].into();
    let report = ready(&all, &["data".into()], &[], STRICT);
    let found: Vec<_> = report
        .items
        .iter()
        .map(|item| (item.level.as_str(), item.connections.unwrap()))
        .collect();
    assert_eq!(
        found,
        [("violation", 3), ("violation", 8), ("undecided", 1)]
    );
    assert_eq!(
        ready(&all, &["ops".into()], &[], STRICT).outcome.known(),
        Some(Gate::NotEnough)
    );
    assert_eq!(
        ready(&good(), &["data".into()], &[], STRICT)
            .outcome
            .known(),
        Some(Gate::Pass)
    );
}

/// A client that calls itself a probe gives the same answer everywhere: in clear, and not known to be one.
#[test]
fn what_calls_itself_a_probe_is_no_probe_for_that() {
    let mut claimed = list(vec![edge("cart", 8080, &[(Verdict::Plaintext, 1)])]);
    claimed.items[0].reason = Some(mtls_core::classify::CLAIMED_PROBE.into());
    let report = ready(&claimed, &[], &[], STRICT);
    assert_eq!(report.outcome.known(), Some(Gate::Violation));
    let reason = &report.items[0].reason;
    assert!(reason.contains("calls itself") && reason.contains("not known to be the node's"));
    assert!(!reason.contains("by nature"), "{reason}");
    // Of the kubelet itself it is exempt, and breaks nothing.
    let mut probe = good();
    probe.items[0].exempt_counts = [(Exempt::KubeletProbe.into(), 9)].into();
    let report = ready(&probe, &[], &[], STRICT);
    assert_eq!(report.outcome.known(), Some(Gate::Pass));
}

#[test]
fn strict_ready_says_how_much_of_the_namespace_was_watched_and_how_long() {
    let status = |since: i64, unwatched: u64| {
        let mut own = NamespaceCoverage {
            namespace: "data".into(),
            ..NamespaceCoverage::default()
        };
        own.add(Some(Time::from_seconds(since)));
        own.pods += unwatched;
        let other = NamespaceCoverage {
            namespace: "ops".into(),
            ..own.clone()
        };
        let mut status = Status::default();
        status.coverage.namespaces = vec![own, other];
        status
    };
    let told = |statuses: &[Status]| {
        let report = ready(&good(), &["data".into()], statuses, STRICT);
        let text = write(&report, Report::Text).unwrap();
        let line = text.lines().find(|line| line.starts_with("data: "));
        (line.map(str::to_owned), report.namespaces.len())
    };
    let looked_back = "shorter than the 10m checked";
    assert_eq!(told(&[]), (None, 0));
    assert_eq!(
        told(&[status(40, 0)]),
        (
            Some(format!("data: 1 of 1 pods watched, for 1m: {looked_back}")),
            1
        )
    );
    let two = format!("data: 2 of 3 pods watched, the first for 1m, all 2 for 10s: {looked_back}");
    assert_eq!(told(&[status(40, 0), status(90, 1)]), (Some(two), 1));
    let mut unwatched = status(40, 0);
    unwatched.coverage.namespaces[0] = NamespaceCoverage {
        namespace: "data".into(),
        pods: 1,
        ..NamespaceCoverage::default()
    };
    let none = Some("data: 0 of 1 pods watched".to_owned());
    assert_eq!(told(&[unwatched]), (none, 1));
}

#[test]
fn what_the_gate_writes() {
    let report = check(&mixed(), &rules(Require::Mtls), STRICT);
    for (name, format) in [
        ("gate_text", Report::Text),
        ("gate_json", Report::Json),
        ("gate_sarif", Report::Sarif),
        ("gate_github", Report::Github),
    ] {
        let text = write(&report, format).unwrap();
        assert!(!text.contains('\u{1b}'), "{name}");
        assert_snapshot!(name, text);
    }
    let junit = write(&report, Report::Junit).unwrap();
    assert!(!junit.contains('\u{1b}'));
    assert_snapshot!("gate_junit", junit);
    let json = write(&report, Report::Json).unwrap();
    assert_eq!(serde_json::from_str::<GateReport>(&json).unwrap(), report);
    // One command of GitHub's a line, whatever was on the wire.
    let github = write(&report, Report::Github).unwrap();
    let last = github.lines().count() - 1;
    assert!(
        github.lines().take(last).all(|line| line.starts_with("::")),
        "{github}"
    );
}

/// What reads a format says whether it is one: the schema of OASIS, and a reader of JUnit's XML. A format
/// that is added has to say here what reads it.
#[test]
fn every_format_is_read_by_who_it_is_for() {
    use clap::ValueEnum as _;
    let schema = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/schemas/sarif/sarif-2.1.0.schema.json"
    );
    let schema = std::fs::read_to_string(schema).unwrap();
    // Its pattern for languages has a bracket too many, which no regular expression has.
    let schema = schema.replace("{2}]?$", "{2}$");
    let schema = serde_json::from_str(&schema).unwrap();
    let sarif = jsonschema::draft7::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let mut all = mixed();
    all.items[0].exempt_counts = [(Exempt::Scrape.into(), 3)].into();
    let nothing = check(&list(Vec::new()), &rules(Require::Mtls), STRICT);
    for report in [
        check(&all, &rules(Require::Mtls), STRICT),
        check(&good(), &rules(Require::Mtls), STRICT),
        ready(&all, &["data".into()], &[], STRICT),
        nothing,
    ] {
        for format in Report::value_variants() {
            let text = write(&report, *format).unwrap();
            match format {
                Report::Text => assert!(text.lines().any(|line| line.contains(": "))),
                Report::Json => {
                    assert_eq!(serde_json::from_str::<GateReport>(&text).unwrap(), report);
                }
                Report::Junit => {
                    let read = quick_junit::Report::deserialize_from_str(&text).unwrap();
                    let failed = report.outcome != Gate::Pass;
                    assert_eq!(read.failures + read.errors > 0, failed, "{text}");
                    assert!(read.tests > 0, "{text}");
                }
                Report::Sarif => {
                    let read = serde_json::from_str(&text).unwrap();
                    let wrong: Vec<_> = sarif
                        .iter_errors(&read)
                        .map(|error| format!("{}: {error}", error.instance_path()))
                        .collect();
                    assert!(wrong.is_empty(), "{wrong:#?}");
                    let mut wrong = read;
                    wrong["runs"][0]["results"] = "none".into();
                    assert!(!sarif.is_valid(&wrong));
                }
                Report::Github => assert!(text.lines().count() > 0),
            }
        }
    }
}

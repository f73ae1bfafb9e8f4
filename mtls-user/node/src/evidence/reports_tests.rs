use super::*;
use mtls_core::record::{Exempt, Expectation, Expected, Origin, Peer, Verdict as Seen, Workload};

fn pod(name: &str) -> Pod {
    Pod {
        namespace: "shop".into(),
        name: format!("{name}-0").into(),
        uid: format!("00000000-0000-4000-8000-{:0>12}", name.len()).into(),
    }
}

fn peer(name: &str) -> Peer {
    Peer {
        port: Some(8080),
        workload: Some(Workload {
            name: name.into(),
            namespace: "shop".into(),
            pod: Some(format!("{name}-0").into()),
            ..Workload::default()
        }),
        ..Peer::default()
    }
}

fn flow(src: &str, dst: &str, verdict: Seen, outcome: Outcome) -> FlowRecord {
    FlowRecord {
        src: peer(src),
        dst: peer(dst),
        verdict: verdict.into(),
        origin: Origin::Syn.into(),
        reason: "as it was \u{1b}seen".into(),
        expectation: Some(Expectation {
            expected: (outcome != Outcome::NothingExpected).then(|| Expected::Mtls.into()),
            outcome: outcome.into(),
            ..Expectation::default()
        }),
        ..FlowRecord::default()
    }
}

fn book() -> Book {
    let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let client = Client::try_from(config).unwrap();
    Book::new(client, Flavour::OpenReports, "n1".into())
}

fn due(book: &mut Book, pods: &[Pod], flows: Vec<FlowRecord>) -> Vec<(Pod, Value)> {
    let flows: Vec<_> = flows.into_iter().map(Arc::new).collect();
    book.due(pods, &flows)
}

#[tokio::test]
async fn each_edge_of_a_pod_has_a_result_the_worst_first() {
    let mut exempt = flow("probe", "db", Seen::Plaintext, Outcome::AsExpected);
    exempt.exempt = Some(Exempt::KubeletProbe.into());
    let flows = vec![
        flow("api", "db", Seen::Mtls, Outcome::AsExpected),
        flow("web", "db", Seen::Mtls, Outcome::AsExpected),
        flow("web", "db", Seen::Plaintext, Outcome::Worse),
        flow("db", "far", Seen::Tls, Outcome::NothingExpected),
        flow("old", "db", Seen::TlsUnproven, Outcome::Undecided),
        exempt,
        flow("others", "elsewhere", Seen::Plaintext, Outcome::Worse),
    ];
    let reports = due(&mut book(), &[pod("db")], flows);
    let [(_, report)] = &reports[..] else {
        panic!("{reports:?}")
    };
    let results = report["results"].as_array().unwrap();
    let told: Vec<_> = results
        .iter()
        .map(|one| {
            let property = |key: &str| one["properties"][key].as_str().unwrap();
            let word = |key: &str| one[key].as_str().unwrap();
            (
                word("result"),
                word("severity"),
                property("direction"),
                property("source"),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("fail", "high", "in", "shop/web"),
            ("warn", "low", "out", "shop/db"),
            ("error", "low", "in", "shop/old"),
            ("pass", "info", "in", "shop/api"),
            ("skip", "info", "in", "shop/probe"),
        ]
    );
    let summary = json!({"fail": 1, "warn": 1, "error": 1, "pass": 1, "skip": 1});
    assert_eq!(report["summary"], summary);
    assert_eq!(report["metadata"]["ownerReferences"][0]["name"], "db-0");
    assert!(!report.to_string().contains("\\u001b"), "{report}");
}

#[tokio::test]
async fn only_what_is_different_is_due() {
    let mut book = book();
    let pods = [pod("db"), pod("web2")];
    let flows = || vec![flow("web", "db", Seen::Mtls, Outcome::AsExpected)];
    let first = due(&mut book, &pods, flows());
    assert_eq!(first.len(), 2, "one of each pod, be it empty");
    for (pod, report) in first {
        book.written.insert(pod, report);
    }
    assert!(due(&mut book, &pods, flows()).is_empty());
    let worse = vec![flow("web", "db", Seen::Plaintext, Outcome::Worse)];
    assert_eq!(due(&mut book, &pods, worse).len(), 1);
    assert!(due(&mut book, &[], flows()).is_empty());
    assert!(book.written.is_empty(), "a pod that is gone is forgotten");
    let mut of_a_file = pod("db");
    of_a_file.uid = "0123456789abcdef0123456789abcdef".into();
    assert!(due(&mut book, &[of_a_file], flows()).is_empty());
}

#[tokio::test]
async fn a_report_is_bounded() {
    let flows = (0..5_000)
        .map(|n| flow(&format!("web{n}"), "db", Seen::Plaintext, Outcome::Worse))
        .collect();
    let reports = due(&mut book(), &[pod("db")], flows);
    let report = &reports[0].1;
    assert_eq!(report["results"].as_array().unwrap().len(), MAX_RESULTS);
    assert_eq!(report["summary"]["fail"], 5_000);
    let left_out = &report["metadata"]["annotations"]["mtls.internal/left-out"];
    assert_eq!(left_out, "4900");
    assert!(report.to_string().len() < 100_000);
}

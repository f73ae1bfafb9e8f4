use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use super::*;
use mtls_core::record::{
    Cause, CertificateInfo, Event, Exempt, FlowRecord, Kind as Who, Mismatch, Origin, Peer,
    Reporter, Side, Status, Time, TlsInfo, Verdict, Workload,
};

const SECOND: u64 = 1_000_000_000;

fn end(name: &str, kind: Who) -> Peer {
    Peer {
        ip: Some(IpAddr::from([10, 0, 0, 1])),
        port: Some(5432),
        workload: Some(Workload {
            name: name.into(),
            namespace: "shop".into(),
            kind: kind.into(),
            ..Workload::default()
        }),
    }
}

fn flow(number: u64, event: Event, verdict: Verdict) -> FlowRecord {
    FlowRecord {
        event: Some(event.into()),
        connection: Some(number),
        reporter: Some(Reporter::Both.into()),
        src: end("web", Who::Deployment),
        dst: end("db", Who::StatefulSet),
        verdict: verdict.into(),
        origin: Origin::Syn.into(),
        first_seen: Time::from_nanos(SECOND),
        last_seen: Time::from_nanos(SECOND + number * SECOND),
        ..FlowRecord::default()
    }
}

fn page(meter: &Meter, format: Format) -> String {
    encode(meter.snapshot(), Status::default(), Vec::new(), format).unwrap()
}

/// The value of the only series with this name and all of these labels.
fn value(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let has = |line: &str| {
        let mut labels = labels.iter();
        labels.all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")))
    };
    let prefixes = [format!("{name}{{"), format!("{name} ")];
    let mut lines = page
        .lines()
        .filter(|line| prefixes.iter().any(|it| line.starts_with(it)) && has(line));
    let line = lines.next()?;
    assert_eq!(lines.next(), None, "{name} {labels:?}");
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn each_connection_is_counted_once_at_each_end() {
    let mut meter = Meter::new(100);
    for number in 1..=7 {
        meter.observe(&flow(number, Event::Opened, Verdict::Unobserved));
        // What is known first about one end is known about the other a moment later.
        let mut first = flow(number, Event::Classified, Verdict::Mtls);
        first.reporter = Some(Reporter::Source.into());
        meter.observe(&first);
        meter.observe(&flow(number, Event::Updated, Verdict::Mtls));
        if number > 2 {
            meter.observe(&flow(number, Event::Closed, Verdict::Mtls));
        }
    }
    let page = page(&meter, Format::Text);
    for reporter in ["source", "destination"] {
        let labels = [
            ("reporter", reporter),
            ("source_namespace", "shop"),
            ("source_workload", "web"),
            ("destination_workload", "db"),
            ("destination_port", "5432"),
            ("transport", "tcp"),
            ("verdict", "mtls"),
            ("exempt", ""),
            ("outcome", "nothing-expected"),
            ("mark", "mutual"),
        ];
        let get = |name: &str| value(&page, name, &labels);
        assert_eq!(get("mtls_edge_connections_total"), Some(7.0));
        assert_eq!(get("mtls_edge_open_connections"), Some(2.0));
        assert_eq!(get("mtls_edge_last_seen_timestamp_seconds"), Some(8.0));
        let again = "mtls_metrics_recounted_connections_total";
        assert_eq!(value(&page, again, &[("reporter", reporter)]), Some(0.0));
    }
    // Their labels while nothing was known about them are not reported.
    assert!(!page.contains("verdict=\"unobserved\""), "{page}");
}

#[test]
fn a_connection_that_turns_out_to_be_something_else_is_counted_as_that_and_said_to_be() {
    let mut meter = Meter::new(100);
    meter.observe(&flow(1, Event::Classified, Verdict::Mtls));
    meter.observe(&flow(1, Event::Revised, Verdict::Plaintext));
    meter.observe(&flow(1, Event::Closed, Verdict::Plaintext));
    let page = page(&meter, Format::Text);
    let get = |name, verdict| {
        let labels = [("reporter", "destination"), ("verdict", verdict)];
        value(&page, name, &labels)
    };
    let connections = "mtls_edge_connections_total";
    assert_eq!(get(connections, "mtls"), Some(1.0));
    assert_eq!(get(connections, "plaintext"), Some(1.0));
    let again = "mtls_metrics_recounted_connections_total";
    let again = value(&page, again, &[("reporter", "destination")]);
    assert_eq!(again, Some(1.0));
    let open = "mtls_edge_open_connections";
    assert_eq!((get(open, "mtls"), get(open, "plaintext")), (None, None));
}

#[test]
fn what_is_exempt_is_no_plaintext_of_the_edge_and_no_downgrade() {
    let mut meter = Meter::new(100);
    meter.observe(&flow(1, Event::Closed, Verdict::Mtls));
    let mut probe = flow(2, Event::Closed, Verdict::Plaintext);
    probe.exempt = Some(Exempt::KubeletProbe.into());
    meter.observe(&probe);
    let page = page(&meter, Format::Text);
    let labels = [("reporter", "source"), ("verdict", "plaintext")];
    let name = "mtls_edge_connections_total";
    let exempt = [labels[0], labels[1], ("exempt", "kubelet-probe")];
    assert_eq!(value(&page, name, &exempt), Some(1.0));
    assert_eq!(
        value(&page, name, &[labels[0], labels[1], ("exempt", "")]),
        None
    );
    assert!(!page.contains("mtls_downgrades_total{"), "{page}");
}

#[test]
fn a_downgrade_is_counted_when_it_happens_and_not_for_every_connection_after_it() {
    let mut meter = Meter::new(100);
    let verdicts = [
        Verdict::Plaintext,
        Verdict::Mtls,
        Verdict::Tls,
        Verdict::Plaintext,
        Verdict::Mtls,
        Verdict::Failed,
        Verdict::Plaintext,
    ];
    for (number, verdict) in (1..).zip(verdicts) {
        meter.observe(&flow(number, Event::Closed, verdict));
    }
    let page = page(&meter, Format::Text);
    let labels = [("reporter", "destination"), ("destination_workload", "db")];
    let get = |name| value(&page, name, &labels);
    assert_eq!(get("mtls_downgrades_total"), Some(2.0));
    assert_eq!(get("mtls_downgrade_last_seen_timestamp_seconds"), Some(8.0));
}

#[test]
fn what_was_not_seen_whole_is_no_mutual_tls_and_a_secret_in_clear_is_clear() {
    let mut meter = Meter::new(100);
    let mut part = flow(1, Event::Closed, Verdict::Mtls);
    part.lost = true;
    meter.observe(&part);
    let mut secret = flow(2, Event::Closed, Verdict::Mtls);
    secret.cause = Cause::SecretInClear.into();
    meter.observe(&secret);
    let page = page(&meter, Format::Text);
    let get = |mark| {
        let labels = [("reporter", "source"), ("verdict", "mtls"), ("mark", mark)];
        value(&page, "mtls_edge_connections_total", &labels)
    };
    let marks = [get("mutual"), get("unknown"), get("clear")];
    assert_eq!(marks, [None, Some(1.0), Some(1.0)]);
}

#[test]
fn handshakes_certificates_and_identities_are_told() {
    let mut meter = Meter::new(100);
    let with = |number, not_after, cipher: &str| {
        let certificate = CertificateInfo {
            not_after: Time::from_seconds(not_after),
            ..CertificateInfo::default()
        };
        let mut flow = flow(number, Event::Classified, Verdict::Mtls);
        flow.tls = Some(Box::new(TlsInfo {
            version: Some("1.2".into()),
            cipher: Some(cipher.into()),
            group: Some("x25519".into()),
            server_cert: Some(Box::new(certificate)),
            ..TlsInfo::default()
        }));
        flow
    };
    for (number, not_after) in [(1, 9_000_000), (2, 5_000_000)] {
        meter.observe(&with(number, not_after, "AES"));
        meter.observe(&flow(number, Event::Closed, Verdict::Mtls));
    }
    let get = |page: &str| {
        let labels = [("workload", "db"), ("side", "server")];
        value(page, "mtls_certificate_expiry_timestamp_seconds", &labels)
    };
    assert_eq!(get(&page(&meter, Format::Text)), Some(5_000_000.0));
    // It was replaced: for two hours, only the other one was presented.
    meter.observe(&with(7_201, 9_000_000, "AES"));
    meter.expire(8_000 * SECOND);
    assert_eq!(get(&page(&meter, Format::Text)), Some(9_000_000.0));
    let mut imposter = flow(9_000, Event::Classified, Verdict::Mtls);
    imposter.mismatches = vec![Mismatch {
        side: Side::Server.into(),
        seen: "spiffe://x/ns/shop/sa/other".into(),
        expected: "spiffe://x/ns/shop/sa/db".into(),
        pod: "shop/db-0".into(),
    }];
    meter.observe(&imposter);
    imposter.event = Some(Event::Closed.into());
    meter.observe(&imposter);
    let told = page(&meter, Format::Text);
    let destination = ("reporter", "destination");
    let mismatches = value(&told, "mtls_identity_mismatches_total", &[destination]);
    assert_eq!(mismatches, Some(1.0));
    let aes = [destination, ("version", "1.2"), ("cipher", "AES")];
    assert_eq!(value(&told, "mtls_handshakes_total", &aes), Some(3.0));
    // Ciphers are chosen by the peer.
    for number in 0..10_000 {
        meter.observe(&with(20_000 + number, 1, &format!("0x{number:04x}")));
    }
    let told = page(&meter, Format::Text);
    assert!(told.matches("mtls_handshakes_total{").count() <= 257 * 2);
    let rest = [destination, ("cipher", "other")];
    assert_eq!(
        value(&told, "mtls_handshakes_total", &rest),
        Some(10_000.0 - 255.0)
    );
}

#[test]
fn a_hundred_thousand_invented_peers_cost_no_more_than_their_share() {
    const LIMIT: usize = 1_000;
    let mut meter = Meter::new(LIMIT);
    let invented = 100_000;
    let mut number = 0;
    let mut observe = |meter: &mut Meter, src: Peer, dst: Peer| {
        number += 1;
        let mut flow = flow(number, Event::Closed, Verdict::Plaintext);
        (flow.src, flow.dst) = (src, dst);
        meter.observe(&flow);
    };
    let target = |n: u32| {
        let mut target = end("?", Who::Unknown);
        target.ip = Some(IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        target.workload.as_mut().unwrap().name = target.ip.unwrap().to_string().into();
        target.port = Some(n as u16);
        target
    };
    let hostile = || end("hostile", Who::Pod);
    for n in 0..invented {
        observe(&mut meter, hostile(), target(n));
    }
    let told = page(&meter, Format::Text);
    let edges = value(&told, "mtls_metrics_edges", &[]).unwrap();
    assert_eq!(edges as usize, LIMIT / 8, "one workload has its share");
    let overflow = value(&told, "mtls_metrics_overflow_connections_total", &[]).unwrap();
    assert!(overflow > 99_000.0);
    let destination = ("reporter", "destination");
    let labels = [destination, ("source_workload", "other")];
    let connections = "mtls_edge_connections_total";
    assert_eq!(value(&told, connections, &labels), Some(overflow));

    // The others still have room, and what does not fit is reported under `other`.
    observe(&mut meter, end("web", Who::Pod), end("db", Who::Pod));
    let told = page(&meter, Format::Text);
    let labels = [destination, ("destination_workload", "db")];
    assert_eq!(value(&told, connections, &labels), Some(1.0));
    for n in 0..invented {
        let src = end(&format!("pod-{n}"), Who::Pod);
        observe(&mut meter, src, target(n));
    }
    let told = page(&meter, Format::Text);
    let edges = value(&told, "mtls_metrics_edges", &[]).unwrap();
    assert_eq!(edges as usize, LIMIT);
    let series = told.lines().filter(|line| line.starts_with(connections));
    let counts = series.filter(|line| line.contains("reporter=\"destination\""));
    let counts = counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    assert_eq!(counts.sum::<f64>() as u32, 2 * invented + 1);
    assert!(told.len() < LIMIT * 2_000, "{} bytes", told.len());

    // A day later there is room again.
    meter.expire(u64::from(2 * invented) * SECOND + 2 * 86_400 * SECOND);
    let told = page(&meter, Format::Text);
    assert_eq!(value(&told, "mtls_metrics_edges", &[]), Some(0.0));
}

#[test]
fn names_of_others_cannot_write_lines() {
    let mut meter = Meter::new(100);
    let mut hostile = flow(1, Event::Closed, Verdict::Plaintext);
    let name = "a\"} 1\nmtls_pods{watched=\"true\"} 99\n\u{1b}[2J\\";
    hostile.src.workload.as_mut().unwrap().name = name.into();
    meter.observe(&hostile);
    for format in [Format::Text, Format::OpenMetrics] {
        let told = page(&meter, format);
        assert!(!told.contains("\nmtls_pods{watched=\"true\"} 99"), "{told}");
        assert!(!told.contains('\u{1b}'));
        assert!(
            told.contains(r#"source_workload="a\"} 1\\u{a}mtls_pods"#),
            "{told}"
        );
    }
}

#[test]
fn the_page_has_what_the_catalogue_names_and_nothing_else() {
    let mut meter = Meter::new(100);
    meter.observe(&flow(1, Event::Classified, Verdict::Mtls));
    let text = page(&meter, Format::Text);
    let typed: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let wanted: Vec<_> = CATALOG
        .iter()
        .map(|metric| format!("{} {}", metric.series(), metric.kind.as_str()))
        .collect();
    assert_eq!(typed, wanted);
    let open = page(&meter, Format::OpenMetrics);
    assert!(open.ends_with("# EOF\n"));
    assert!(
        open.contains("# TYPE mtls_edge_connections counter\n"),
        "{open}"
    );
}

/// `MTLS_DOCS=write` writes the table.
#[test]
fn the_documentation_lists_every_metric() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- metrics -->\n", "<!-- end of metrics -->\n");
    let (head, rest) = text.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    let mut table = String::from("| metric | kind | labels | |\n|---|---|---|---|\n");
    for metric in CATALOG {
        let labels: Vec<_> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} |",
            metric.series(),
            metric.kind.as_str(),
            labels.join(", "),
            metric.help
        );
    }
    let wanted = format!("{head}{begin}{table}{end}{tail}");
    if std::env::var("MTLS_DOCS").is_ok_and(|it| it == "write") {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        wanted,
        "run `cargo xtask docs` with MTLS_DOCS=write"
    );
}

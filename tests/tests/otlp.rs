//! Records of edge changes, as JSON lines and by OTLP to a real Collector.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mtls_tests::collector::{self, GRPC, HTTP};
use mtls_tests::daemon::Daemon;
use mtls_tests::http::{self, until};
use mtls_tests::prometheus::METRICS;
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use nix::sys::signal::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_downgrade_is_a_line_with_what_was_seen() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let path = scene.node.files().join("events.jsonl");
    let events = path.to_str().context("a path")?;
    let args = [
        "--events",
        events,
        "--otlp-interval",
        "1s",
        "--cluster",
        "test",
    ];
    let daemon = Daemon::start_with(&scene.node, &args)?;
    let addr = at(scene.db.v4(), 8443);
    let mutual = scene.serve(&scene.db, addr, &["--mode", "mtls"])?;
    scene.connect(&scene.web, addr, &["--mode", "mtls", "--tls", "1.2"])?;
    daemon.await_counts("web", "db", &[("mtls", 1)])?;
    drop(mutual);
    let _clear = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    scene.connect(&scene.web, addr, &["--mode", "plain-http"])?;
    let find = |event: &str| {
        until(PATIENCE, event, || {
            let text = std::fs::read_to_string(&path)?;
            let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
            Ok(lines?.into_iter().find(|line| line["event"] == event))
        })
    };
    let new = find("mtls.edge.new")?;
    for (key, wanted) in [
        ("source.k8s.namespace.name", "shop"),
        ("source.k8s.workload.name", "web"),
        ("destination.k8s.workload.name", "db"),
        ("network.transport", "tcp"),
        ("tls.protocol.version", "1.2"),
        ("mtls.verdict", "mtls"),
        ("mtls.mark", "mutual"),
        ("mtls.evidence", "certificates"),
        (
            "mtls.client.identity",
            "spiffe://cluster.local/ns/shop/sa/web",
        ),
        ("k8s.cluster.name", "test"),
        ("service.name", "mtls"),
        ("severity", "INFO"),
    ] {
        assert_eq!(new[key], wanted, "{key} of {new:#}");
    }
    assert_eq!(new["destination.port"], 8443);
    assert!(new["tls.server.not_after"].is_string(), "{new:#}");
    let downgrade = find("mtls.edge.downgrade")?;
    assert_eq!(downgrade["mtls.verdict"], "plaintext");
    assert_eq!(downgrade["mtls.verdict.before"], "mtls");
    assert_eq!(downgrade["severity"], "ERROR");
    let summary = find("mtls.edge.summary")?;
    assert!(
        summary["mtls.connections"].as_u64() >= Some(1),
        "{summary:#}"
    );
    Ok(())
}

/// Reads the Collectors' output until it contains what is expected.
struct Sink {
    posted: Receiver<Value>,
    records: Vec<Value>,
    metrics: Vec<String>,
}

impl Sink {
    fn until(&mut self, what: &str, good: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !good(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(posted) = self.posted.recv_timeout(left) else {
                bail!("{what} did not arrive in {:#?}", self.records);
            };
            self.records.extend(collector::records(&posted));
            self.metrics.extend(collector::metrics(&posted));
        }
        Ok(())
    }

    /// Ports of the new edges.
    fn new_ports(&self) -> Vec<u64> {
        let new = self
            .records
            .iter()
            .filter(|it| it["event"] == "mtls.edge.new");
        // OTLP's JSON has 64-bit integers as strings.
        let port = |record: &Value| record["destination.port"].as_str()?.parse().ok();
        let mut ports: Vec<u64> = new.filter_map(port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

#[test]
fn nothing_is_lost_while_a_collector_is_away_or_hangs() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Collector]) {
        return Ok(());
    }
    for (url, protocol) in [(GRPC, "grpc"), (HTTP, "http")] {
        let scene = Scene::new()?;
        let mut sink = Sink {
            posted: collector::sink()?,
            records: Vec::new(),
            metrics: Vec::new(),
        };
        let (url, metrics) = (format!("http://{url}"), METRICS.to_string());
        let args = [
            "--otlp",
            &url,
            "--otlp-protocol",
            protocol,
            "--otlp-metrics",
        ];
        let args = [&args[..], &["--otlp-interval", "1s", "--metrics", &metrics]].concat();
        let daemon = Daemon::start_with(&scene.node, &args)?;
        let mut servers = Vec::new();
        let mut talk = |ports: std::ops::Range<u16>| -> Result<()> {
            for port in ports {
                let addr = at(scene.db.v4(), port);
                servers.push(scene.serve(&scene.db, addr, &["--mode", "plain-http"])?);
                scene.connect(&scene.web, addr, &["--mode", "plain-http"])?;
            }
            let n = servers.len() as u64;
            daemon.await_counts("web", "db", &[("plaintext", n)])?;
            Ok(())
        };
        let ports = |end: u64| (8000..end).collect::<Vec<_>>();
        // No Collector is running yet.
        talk(8000..8003)?;
        let first = collector::start(&scene.node)?;
        sink.until("what waited", |sink| sink.new_ports() == ports(8003))?;
        sink.until("metrics", |sink| {
            sink.metrics
                .iter()
                .any(|name| name == "mtls_edge_connections")
        })?;
        // It is killed, and another one started.
        drop(first);
        talk(8003..8006)?;
        let second = collector::start(&scene.node)?;
        sink.until("what happened between", |sink| {
            sink.new_ports() == ports(8006)
        })?;
        // It hangs, and the daemon does not.
        second.signal(Signal::SIGSTOP)?;
        talk(8006..8009)?;
        let begun = Instant::now();
        assert_eq!(daemon.edges()?.len(), 9);
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        second.signal(Signal::SIGCONT)?;
        sink.until("what happened meanwhile", |sink| {
            sink.new_ports() == ports(8009)
        })?;
        let page = http::get(METRICS, "/metrics", &[])?;
        let dropped = "mtls_exported_records_total{outlet=\"otlp\",result=\"dropped\"} 0";
        assert!(page.contains(dropped), "{page}");
        let record = sink
            .records
            .iter()
            .find(|it| it["event"] == "mtls.edge.new");
        let record = record.context("a record")?;
        assert_eq!(record["source.k8s.workload.name"], "web");
        assert_eq!(record["severity"], "WARN");
    }
    Ok(())
}

#[test]
fn a_full_queue_costs_the_oldest_and_says_so() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let metrics = METRICS.to_string();
    // Something accepts connections there, and never answers.
    let nobody = std::net::TcpListener::bind("127.0.0.1:4317")?;
    let args = ["--otlp", "http://127.0.0.1:4317", "--otlp-queue", "2"];
    let daemon = Daemon::start_with(&scene.node, &[&args[..], &["--metrics", &metrics]].concat())?;
    let mut servers = Vec::new();
    for port in 8000..8006 {
        let addr = at(scene.db.v4(), port);
        servers.push(scene.serve(&scene.db, addr, &["--mode", "plain-http"])?);
        scene.connect(&scene.web, addr, &["--mode", "plain-http"])?;
    }
    daemon.await_counts("web", "db", &[("plaintext", 6)])?;
    until(PATIENCE, "the page says what was dropped", || {
        let page = http::get(METRICS, "/metrics", &[])?;
        let has = |line: &str| page.lines().any(|it| it == line);
        let dropped = has("mtls_exported_records_total{outlet=\"otlp\",result=\"dropped\"} 4");
        let queued = has("mtls_exported_records_queued{outlet=\"otlp\"} 2");
        Ok((dropped && queued).then_some(()))
    })?;
    drop(nobody);
    Ok(())
}

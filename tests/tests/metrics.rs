//! The daemon's metrics, scraped by a real Prometheus; tests of the shipped rules, alerts and
//! dashboard with the scraped data.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mtls_tests::daemon::{Daemon, mtls, mtls_with};
use mtls_tests::http::{self, until};
use mtls_tests::pki::dns_name;
use mtls_tests::process::Process;
use mtls_tests::prometheus::{self as prom, HOOK, METRICS, PROGRAMS, Prometheus};
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

fn serving(scene: &Scene, more: &[&str]) -> Result<Daemon> {
    let address = METRICS.to_string();
    let args = [&["--metrics", &address][..], more].concat();
    Daemon::start_with(&scene.node, &args)
}

/// The value of the series with this name and these labels in a page.
fn value(page: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let is_it = |line: &&str| {
        let named = line
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']));
        named && labels.iter().all(|label| line.contains(label))
    };
    page.lines().find(is_it)?.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn what_was_seen_is_on_the_page_and_the_page_is_as_prometheus_wants_it() -> Result<()> {
    if !runs_here(&[Need::Root, PROGRAMS]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = serving(&scene, &[])?;
    let (mutual, clear) = (at(scene.db.v4(), 8443), at(scene.db.v4(), 8080));
    let _mutual = scene.serve(&scene.db, mutual, &["--mode", "mtls"])?;
    let _clear = scene.serve(&scene.db, clear, &["--mode", "plain-http"])?;
    let twelve = ["--mode", "mtls", "--tls", "1.2", "--connections", "3"];
    scene.connect(&scene.web, mutual, &twelve)?;
    scene.connect(&scene.web, mutual, &["--mode", "mtls"])?;
    scene.connect(&scene.web, clear, &["--mode", "plain-http"])?;
    scene.probe(clear)?;
    daemon.await_counts("web", "db", &[("mtls", 4), ("plaintext", 1)])?;
    let page = http::get(METRICS, "/metrics", &[])?;
    for reporter in ["reporter=\"source\"", "reporter=\"destination\""] {
        let edge = [
            reporter,
            "source_namespace=\"shop\",source_workload=\"web\"",
            "destination_namespace=\"shop\",destination_workload=\"db\"",
        ];
        let count = |port: u16, verdict| {
            let port = format!("destination_port=\"{port}\"");
            let labels = [&edge[..], &[&port, verdict, "exempt=\"\""]].concat();
            value(&page, "mtls_edge_connections_total", &labels)
        };
        assert_eq!(count(8443, "verdict=\"mtls\""), Some(4.0), "{page}");
        assert_eq!(count(8080, "verdict=\"plaintext\""), Some(1.0), "{page}");
        let handshakes = [reporter, "version=\"1.2\""];
        assert_eq!(
            value(&page, "mtls_handshakes_total", &handshakes),
            Some(3.0)
        );
    }
    // A probe is seen only at the pod's end, and raises no alert.
    let probe = ["exempt=\"kubelet-probe\"", "verdict=\"plaintext\""];
    let connections = "mtls_edge_connections_total";
    assert_eq!(value(&page, connections, &probe), Some(1.0), "{page}");
    for (name, labels, wanted) in [
        ("mtls_pods", "watched=\"true\"", 2.0),
        ("mtls_interfaces", "state=\"attached\"", 2.0),
        ("mtls_metrics_edges", "", 3.0),
    ] {
        assert_eq!(value(&page, name, &[labels]), Some(wanted), "{name}");
    }
    for side in ["client", "server"] {
        let side = format!("side=\"{side}\"");
        let expiry = value(&page, "mtls_certificate_expiry_timestamp_seconds", &[&side]);
        assert!(expiry.is_some_and(|at| at > 1.7e9), "{page}");
    }
    for nothing in ["mtls_identity_mismatches_total{", "mtls_downgrades_total{"] {
        assert!(!page.contains(nothing), "{page}");
    }
    let mut check = Command::new("promtool");
    check.args(["check", "metrics"]);
    let mut check = Process::with_input(check, page.as_bytes())?;
    let status = check.wait(PATIENCE)?;
    assert!(status.success(), "{}\n{page}", check.told());
    assert_eq!(check.told(), "stdout:\n\nstderr:\n");
    Ok(())
}

#[test]
fn metrics_are_served_by_tls_to_whoever_has_the_token() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Programs(&["curl"])]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let own = scene.pki.identity("db")?;
    let token = scene.node.files().join("token");
    std::fs::write(&token, "a-token-of-some-length\n")?;
    let path = |path: &std::path::Path| path.to_str().context("a path").map(str::to_owned);
    let (cert, key, token) = (path(&own.cert)?, path(&own.key)?, path(&token)?);
    let args = ["--metrics-cert", &cert, "--metrics-key", &key];
    let _daemon = serving(
        &scene,
        &[&args[..], &["--metrics-token-file", &token]].concat(),
    )?;
    let host = dns_name("db");
    let ask = |token: &str| -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--write-out", "%{http_code}"]);
        curl.arg("--cacert").arg(&scene.pki.ca);
        curl.args(["--connect-to", &format!("{host}:9488:{METRICS}")]);
        curl.args(["--header", &format!("Authorization: Bearer {token}")]);
        curl.arg(format!("https://{host}:9488/metrics"));
        Process::start(curl)?.succeed(PATIENCE)
    };
    let good = ask("a-token-of-some-length")?;
    assert!(
        good.contains("mtls_build_info{version=") && good.ends_with("200"),
        "{good}"
    );
    let bad = ask("a-token-of-some-other")?;
    assert!(!bad.contains("mtls_") && bad.ends_with("401"), "{bad}");
    assert!(http::get(METRICS, "/metrics", &[]).is_err(), "in clear");
    Ok(())
}

/// The shipped rules.
fn shipped() -> Result<String> {
    Ok(std::fs::read_to_string(prom::shipped().join("rules.yml"))?)
}

#[test]
fn a_second_in_clear_makes_an_alert_that_ends_again() -> Result<()> {
    if !runs_here(&[Need::Root, PROGRAMS]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = serving(&scene, &[])?;
    let posted = http::receiver(HOOK)?;
    let _alertmanager = prom::alertmanager(&scene.node)?;
    let _prometheus = Prometheus::start(&scene.node, &prom::hurried(&shipped()?)?)?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    let begun = Instant::now();
    scene.connect(&scene.web, addr, &["--mode", "plain-http"])?;
    daemon.await_counts("web", "db", &[("plaintext", 1)])?;
    let next = |status: &str| -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let post = posted
                .recv_timeout(left)
                .with_context(|| format!("no alert is {status}"))?;
            let alert = &post["alerts"][0];
            if alert["labels"]["alertname"] == "MtlsPlaintext" && alert["status"] == status {
                return Ok(alert.clone());
            }
        }
    };
    let alert = next("firing")?;
    let fired = begun.elapsed();
    assert_eq!(alert["labels"]["source_workload"], "web");
    assert_eq!(alert["labels"]["destination_workload"], "db");
    assert_eq!(alert["labels"]["severity"], "warning");
    let summary = "Plaintext: web (shop) to db (shop), port 8080";
    assert_eq!(alert["annotations"]["summary"], summary);
    // A scrape, an evaluation, and the delivery through Alertmanager.
    assert!(fired < Duration::from_secs(10), "after {fired:?}");
    next("resolved")?;
    Ok(())
}

#[test]
fn more_edges_than_series_are_counted_together_and_make_an_alert() -> Result<()> {
    if !runs_here(&[Need::Root, PROGRAMS]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    // One workload gets an eighth of it: one edge.
    let daemon = serving(&scene, &["--metrics-edges", "8"])?;
    let prometheus = Prometheus::start(&scene.node, &prom::hurried(&shipped()?)?)?;
    until(PATIENCE, "the first scrape", || {
        let scraped = prometheus.query("mtls_metrics_overflow_connections_total == 0")?;
        Ok((!scraped.is_empty()).then_some(()))
    })?;
    let ports = 8080..8090;
    for port in ports.clone() {
        let addr = at(scene.db.v4(), port);
        let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
        scene.connect(&scene.web, addr, &["--mode", "plain-http"])?;
    }
    until(PATIENCE, "every connection", || {
        let all = daemon.edges()?.len() == ports.len();
        Ok(all.then_some(()))
    })?;
    let firing = "ALERTS{alertname=\"MtlsEdgesOverflow\", alertstate=\"firing\"}";
    until(PATIENCE, "the alert", || {
        Ok((!prometheus.query(firing)?.is_empty()).then_some(()))
    })?;
    let page = http::get(METRICS, "/metrics", &[])?;
    let edges = value(&page, "mtls_metrics_edges", &[]);
    assert!(edges.is_some_and(|n| n <= 8.0), "{page}");
    let other = ["reporter=\"destination\"", "destination_workload=\"other\""];
    let together = value(&page, "mtls_edge_connections_total", &other);
    assert!(together >= Some(1.0), "{page}");
    // The ring buffer's fill level is reported with the daemon's state.
    let size = value(&page, "mtls_ring_size_bytes", &[]);
    let most = value(&page, "mtls_ring_waiting_bytes", &["when=\"most\""]);
    assert!(
        size >= Some(4_096.0) && most > Some(0.0) && most <= size,
        "{page}"
    );
    Ok(())
}

/// The picture in the documentation has the panels that the dashboard has now.
#[test]
fn the_picture_of_the_dashboard_is_current() -> Result<()> {
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dashboard.svg");
    let picture = std::fs::read_to_string(picture)?;
    let dashboard = std::fs::read_to_string(prom::shipped().join("dashboard.json"))?;
    let dashboard: Value = serde_json::from_str(&dashboard)?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    let title = "class=\"title\">";
    assert_eq!(picture.matches(title).count(), panels.len());
    for panel in panels {
        let name = panel["title"].as_str().context("a title")?;
        let drawn = picture.contains(&format!("{title}{name}</text>"));
        assert!(drawn, "no panel {name}: run cargo xtask docs --dashboard");
    }
    Ok(())
}

#[test]
fn every_panel_of_the_dashboard_has_data_and_edges_come_from_the_same_server() -> Result<()> {
    if !runs_here(&[Need::Root, PROGRAMS]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = serving(&scene, &[])?;
    let prometheus = Prometheus::start(&scene.node, &shipped()?)?;
    let (mutual, clear, raw) = (
        at(scene.db.v4(), 8443),
        at(scene.db.v4(), 8080),
        at(scene.db.v4(), 9000),
    );
    let _mutual = scene.serve(&scene.db, mutual, &["--mode", "mtls"])?;
    let _clear = scene.serve(&scene.db, clear, &["--mode", "plain-http"])?;
    let _raw = scene.serve(&scene.db, raw, &["--mode", "raw"])?;
    // A rate needs two scrapes: the second round comes after the first was scraped.
    for round in 1..=2 {
        scene.connect(&scene.web, mutual, &["--mode", "mtls", "--tls", "1.2"])?;
        scene.connect(&scene.web, mutual, &["--mode", "mtls"])?;
        scene.connect(&scene.web, clear, &["--mode", "plain-http"])?;
        scene.connect(&scene.web, raw, &["--mode", "raw"])?;
        let counts = [("mtls", 2 * round), ("plaintext", round), ("opaque", round)];
        daemon.await_counts("web", "db", &counts)?;
        until(PATIENCE, "the round is scraped", || {
            let all = prometheus.query(&format!(
                "sum(mtls_edge_connections_total{{reporter=\"destination\"}}) == {} unless on() mtls_edge_open_connections",
                4 * round
            ))?;
            Ok((!all.is_empty()).then_some(()))
        })?;
    }
    let dashboard = std::fs::read_to_string(prom::shipped().join("dashboard.json"))?;
    let dashboard: Value = serde_json::from_str(&dashboard)?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    ensure!(panels.len() >= 15, "{} panels", panels.len());
    for panel in panels {
        for target in panel["targets"].as_array().context("targets")? {
            let query = target["expr"].as_str().context("a query")?;
            let query = [
                ("$__range_s", "60"),
                ("$__range", "1m"),
                ("$__rate_interval", "1m"),
                ("$namespace", ".*"),
                ("$job", ".*"),
            ]
            .iter()
            .fold(query.to_owned(), |query, (name, value)| {
                query.replace(name, value)
            });
            ensure!(!query.contains('$'), "{query}");
            let data = prometheus.query(&query)?;
            let finite = |sample: &Value| {
                let value = sample["value"][1]
                    .as_str()
                    .and_then(|text| text.parse().ok());
                value.is_some_and(f64::is_finite)
            };
            ensure!(
                !data.is_empty() && data.iter().all(finite),
                "{}: {query} has no data: {data:?}",
                panel["title"]
            );
        }
    }
    // The dashboard's first panel.
    let share = prometheus.query("mtls:pods_watched:ratio")?;
    assert_eq!(share[0]["value"][1], "1");
    the_same_edges_come_from_prometheus(&daemon)
}

fn the_same_edges_come_from_prometheus(daemon: &Daemon) -> Result<()> {
    let url = format!("http://{}/", prom::PROMETHEUS);
    let ask = |args: &[&str]| mtls([&["edges", "--prometheus", &url][..], args].concat());
    // If no daemon answers, the server in the environment variable is queried.
    let none = [
        "edges",
        "--socket",
        "/nonexistent/mtls.sock",
        "--since",
        "1h",
        "-o",
        "json",
    ];
    let second = mtls_with(none, &[("MTLS_PROMETHEUS", &url)])?;
    ensure!(second.code == Some(0), "{second:?}");
    assert!(
        second.err.contains("server of MTLS_PROMETHEUS"),
        "{second:?}"
    );
    let list: Value = serde_json::from_str(&second.out)?;
    assert!(
        list["items"]
            .as_array()
            .is_some_and(|items| !items.is_empty())
    );
    // Some servers are behind a path, some require a tenant's name.
    let answer = ask(&[
        "--since",
        "1h",
        "-o",
        "json",
        "--prometheus-header",
        "X-Scope-OrgID: a",
    ])?;
    ensure!(answer.code == Some(0), "{answer:?}");
    assert!(answer.err.contains("from metrics"), "{answer:?}");
    let list: Value = serde_json::from_str(&answer.out)?;
    let told = |edges: &[Value]| -> Vec<_> {
        let paths = [
            "/src/namespace",
            "/src/name",
            "/dst/name",
            "/dst/port",
            "/transport",
        ];
        let rest = [
            "/mark",
            "/verdict",
            "/verdict_counts",
            "/mismatches",
            "/open_connections",
        ];
        let all = paths.iter().chain(&rest);
        let mut told: Vec<Vec<_>> = edges
            .iter()
            .map(|edge| {
                all.clone()
                    .map(|path| edge.pointer(path).cloned())
                    .collect()
            })
            .collect();
        told.sort_by_key(|edge| format!("{edge:?}"));
        told
    };
    let items = list["items"].as_array().context("items")?;
    assert_eq!(told(items), told(&daemon.edges()?));
    assert_eq!(list["watched"]["pods_watched"], 2);
    assert_eq!(list["window_seconds"], 3_600);
    let table = ask(&[])?.out;
    assert!(
        table.contains("✗ plaintext") && table.contains("✓ mTLS"),
        "{table}"
    );
    // Without any data, nothing may be called secure.
    let before = ask(&["--at", "2020-01-01T00:00:00Z"])?;
    assert_eq!(before.code, Some(1), "{before:?}");
    assert!(
        before.err.contains("no metrics of mtls at that time"),
        "{before:?}"
    );
    let nobody = mtls(["edges", "--prometheus", "http://127.0.0.1:1"])?;
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    Ok(())
}

#[test]
fn the_rules_fire_and_do_not_fire_as_their_tests_say() -> Result<()> {
    if !runs_here(&[PROGRAMS]) {
        return Ok(());
    }
    let promtool = |args: &[&str]| -> Result<String> {
        let mut command = Command::new("promtool");
        command.args(args).current_dir(prom::shipped());
        Process::start(command)?.succeed(PATIENCE)
    };
    promtool(&["check", "rules", "rules.yml"])?;
    promtool(&["test", "rules", "rules.test.yml"])?;
    // Each alert has a test in which it fires, one in which it does not, and a runbook.
    let read = |name: &str| std::fs::read_to_string(prom::shipped().join(name));
    let (rules, tests) = (read("rules.yml")?, read("rules.test.yml")?);
    let alerts: Vec<_> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    ensure!(alerts.len() >= 15, "{alerts:?}");
    for alert in alerts {
        let named = format!("alertname: {alert}\n");
        let outcomes: Vec<_> = tests
            .split(&named)
            .skip(1)
            .map(|rest| rest.trim_start().starts_with("exp_alerts: []"))
            .collect();
        ensure!(
            outcomes.contains(&true),
            "{alert} has no test in which it does not fire"
        );
        ensure!(
            outcomes.contains(&false),
            "{alert} has no test in which it fires"
        );
        let page = prom::shipped().join(format!("../../docs/runbooks/{alert}.md"));
        let page = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        for part in [
            &format!("# {alert}\n"),
            "## What it means\n",
            "## What to do\n",
        ] {
            ensure!(page.contains(part), "{alert}'s page lacks {part}");
        }
        ensure!(rules.contains(&format!("runbook_url: docs/runbooks/{alert}.md\n")));
    }
    Ok(())
}

//! What the nodes export: alerts through a real Prometheus, Events and policy reports.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mtls_tests::nodes::{Nodes, items, until};
use mtls_tests::process::Process;
use mtls_tests::prometheus::hurried;
use serde_json::{Value, json};

use super::costs::requests;
use super::shop::{CALLS, SHOP, client};
use super::{CHART, cluster, install, run_client};

/// Seconds during which writes are observed.
const WATCHED: u64 = 70;

/// Starts a program on node1 that listens on its loopback interface, and waits for it.
fn start(nodes: &Nodes, program: &str, args: &[String], port: u16) -> Result<Process> {
    let mut command = nodes.command("node1", program)?;
    command.args(args);
    let process = Process::start(command)?;
    until(program, || ask(nodes, port, "/-/ready").map(Some)).with_context(|| process.told())?;
    Ok(process)
}

/// The response of a server on node1's loopback interface.
fn ask(nodes: &Nodes, port: u16, path: &str) -> Result<String> {
    let url = format!("http://127.0.0.1:{port}{path}");
    nodes.run("node1", "curl", &["-sf", "-g", "-m", "5", &url])
}

/// The rules that the chart creates for the Prometheus Operator, with the times of a test.
fn rules(nodes: &Nodes) -> Result<String> {
    let made = nodes.helm(&[
        "template",
        "mtls",
        CHART,
        "--set",
        "metrics.enabled=true,metrics.rules.enabled=true",
        "--show-only",
        "templates/prometheusrule.yaml",
    ])?;
    let (_, spec) = made.split_once("\nspec:\n").context("no rules")?;
    let lines = spec.lines().map(|line| line.strip_prefix("  "));
    let lines: Vec<_> = lines.map(Option::unwrap_or_default).collect();
    hurried(&lines.join("\n"))
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn a_moment_in_clear_makes_an_alert_that_ends_again() -> Result<()> {
    let nodes = cluster()?;
    install(nodes, &["--set", "metrics.enabled=true"])?;
    let dir = nodes.file("prometheus");
    // Remains of an earlier run must not be found again.
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    let path = |name: &str| dir.join(name).display().to_string();
    std::fs::write(dir.join("rules.yml"), rules(nodes)?)?;
    let targets = ["node1", "node2"].map(|node| {
        let at = format!("10.55.0.1{}:9488", &node[4..]);
        json!({"targets": [at], "labels": {"node": node}})
    });
    let config = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [path("rules.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:9093"]}]}]},
        "scrape_configs": [{"job_name": "mtls", "static_configs": targets}],
    });
    std::fs::write(dir.join("prometheus.yml"), config.to_string())?;
    let routes = json!({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]});
    std::fs::write(dir.join("alertmanager.yml"), routes.to_string())?;
    let alertmanager = [
        format!("--config.file={}", path("alertmanager.yml")),
        format!("--storage.path={}", path("alerts")),
        "--web.listen-address=127.0.0.1:9093".into(),
        "--cluster.listen-address=".into(),
    ];
    let alertmanager = start(nodes, "prometheus-alertmanager", &alertmanager, 9093)?;
    let prometheus = [
        format!("--config.file={}", path("prometheus.yml")),
        format!("--storage.tsdb.path={}", path("tsdb")),
        "--web.listen-address=127.0.0.1:9090".into(),
    ];
    let prometheus = start(nodes, "prometheus", &prometheus, 9090)?;
    until("both daemons to be scraped", || {
        let up: Value = serde_json::from_str(&ask(nodes, 9090, "/api/v1/query?query=sum(up)")?)?;
        Ok((up["data"]["result"][0]["value"][1] == "2").then_some(()))
    })?;

    assert_eq!(run_client(nodes, "blip", "http plain")?, 1);
    let over = Instant::now();
    let alert = || -> Result<Option<Value>> {
        let alerts: Value = serde_json::from_str(&ask(nodes, 9093, "/api/v2/alerts?active=true")?)?;
        let mut alerts = alerts.as_array().into_iter().flatten();
        let ours = |alert: &&Value| {
            alert["labels"]["alertname"] == "MtlsPlaintext"
                && alert["labels"]["source_workload"] == "blip"
        };
        Ok(alerts.find(ours).cloned())
    };
    let fired = until("the alert", alert)?;
    let after = over.elapsed();
    println!(
        "an alert {} ms after one connection in clear was over",
        after.as_millis()
    );
    // A scrape, an evaluation, and the delivery to Alertmanager.
    ensure!(after < Duration::from_secs(10), "after {after:?}");
    assert_eq!(
        fired["labels"]["destination_workload"], "plain",
        "{fired:#}"
    );
    assert_eq!(fired["labels"]["severity"], "warning");
    assert_eq!(
        fired["annotations"]["summary"],
        "Plaintext: blip (shop) to plain (shop), port 8080"
    );
    until("its end", || Ok(alert()?.is_none().then_some(())))?;
    for (name, process) in [
        ("prometheus", prometheus),
        ("prometheus-alertmanager", alertmanager),
    ] {
        // By its full name, which is longer than the kernel's.
        nodes.run("node1", "pkill", &["-f", &format!("^{name} --")])?;
        drop(process);
    }
    Ok(())
}

/// The pods that have an Event with this reason, in order.
fn on(events: &Value, reason: &str) -> Vec<String> {
    let of_it = items(events).filter(|event| event["reason"] == reason);
    let pods = of_it.filter_map(|event| event["regarding"]["name"].as_str());
    let mut pods: Vec<_> = pods.map(str::to_owned).collect();
    pods.sort();
    pods
}

/// The one pod of a Deployment.
fn pod_of(nodes: &Nodes, app: &str) -> Result<String> {
    let pods = nodes.get(&["get", "pods", "-n", SHOP, "-l", &format!("app={app}")])?;
    let name = pods["items"][0]["metadata"]["name"].as_str();
    Ok(name.with_context(|| format!("no pod of {app}"))?.to_owned())
}

/// The CRD of reports, and the servers whose edges clients make worse or better.
fn ground(nodes: &Nodes) -> Result<()> {
    let definition = std::env::var("MTLS_OPENREPORTS_CRD").context("no definition of reports")?;
    nodes.kubectl(&["apply", "-f", &definition])?;
    nodes.apply(include_str!("evidence.yaml"))?;
    for server in ["fading", "strict"] {
        nodes.rolled_out(SHOP, &format!("deployment/{server}"))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn pods_have_events_and_reports_of_their_edges() -> Result<()> {
    let nodes = cluster()?;
    ground(nodes)?;
    let values = "kubernetes.events=true,kubernetes.policyReports=openreports";
    let often = "extraArgs={--policy-reports-interval=5s}";
    install(nodes, &["--set", values, "--set", often])?;
    let script = "mtls13 fading; sleep 2; tls fading; http strict";
    assert_eq!(run_client(nodes, "worse", script)?, 3);

    let (fading, strict) = (pod_of(nodes, "fading")?, pod_of(nodes, "strict")?);
    let mut last = Value::Null;
    let events = until("Events on both pods", || {
        let events = nodes.get(&["get", "events.v1.events.k8s.io", "-n", SHOP])?;
        let of = |reason| on(&events, reason);
        last = json!([of("MutualTLSDowngraded"), of("PlaintextNotExpected")]);
        let wanted = json!([[fading, "worse"], [strict, "worse"]]);
        Ok((last == wanted).then_some(events))
    })
    .with_context(|| format!("{last}"))?;
    for event in items(&events).filter(|event| event["reason"] == "MutualTLSDowngraded") {
        let note = event["note"].as_str().unwrap_or_default();
        let starts = "No longer mutual TLS: shop/worse to shop/fading, port 8443/tcp";
        ensure!(note.starts_with(starts), "{event:#}");
        // Each daemon writes about the pods of its own node.
        let node = if event["regarding"]["name"] == "worse" {
            "node1"
        } else {
            "node2"
        };
        assert_eq!(event["reportingInstance"], node, "{event:#}");
    }
    let described = nodes.kubectl(&["describe", "pod", "worse", "-n", SHOP])?;
    ensure!(described.contains("MutualTLSDowngraded"), "{described}");

    let report = || -> Result<Option<Value>> {
        let reports = nodes.get(&["get", "reports.openreports.io", "-n", SHOP])?;
        Ok(items(&reports)
            .find(|report| report["scope"]["name"] == "worse")
            .cloned())
    };
    let mut last = Value::Null;
    until("a report of both edges", || {
        last = report()?.unwrap_or_default();
        let summary = &last["summary"];
        Ok((summary["fail"] == 1 && summary["warn"] == 1).then_some(()))
    })
    .with_context(|| format!("{last:#}"))?;
    nodes.kubectl(&["delete", "pod", "worse", "-n", SHOP])?;
    until("the report to go with its pod", || {
        Ok(report()?.is_none().then_some(()))
    })?;
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn what_events_and_reports_cost() -> Result<()> {
    let nodes = cluster()?;
    ground(nodes)?;
    let values = "kubernetes.events=true,kubernetes.policyReports=openreports";
    install(nodes, &["--set", values])?;
    let script = format!("{CALLS}\nwhile :; do mtls13 fading; tls fading; http strict; done");
    nodes.apply(&client("noisy", &script).to_string())?;
    until("the first Event of it", || {
        let events = nodes.get(&["get", "events.v1.events.k8s.io", "-n", SHOP])?;
        let of = on(&events, "MutualTLSDowngraded");
        Ok(of.contains(&"noisy".to_owned()).then_some(()))
    })?;
    let before = written(nodes)?;
    std::thread::sleep(Duration::from_secs(WATCHED));
    let after = written(nodes)?;
    nodes.kubectl(&["delete", "pod", "noisy", "-n", SHOP])?;
    println!(
        "in {WATCHED} s with a pod whose two edges change all the time, the daemons have written:"
    );
    let mut most = 0;
    for (what, count) in &after {
        let n = count - before.get(what).unwrap_or(&0);
        let hourly = u64::from(n) * 3_600 / WATCHED;
        println!("  {n:4}  {what} ({hourly} an hour)");
        most = most.max(hourly);
    }
    // Two series of Events per pod, and a report of each pod, once a minute each.
    ensure!(most > 0, "nothing was written: {after:?}");
    ensure!(most <= 60 * 6, "{most} an hour");
    Ok(())
}

/// The daemons' writes to the API, with their counts.
fn written(nodes: &Nodes) -> Result<BTreeMap<String, u32>> {
    let mut asked = requests(nodes)?;
    asked.retain(|what, _| what.ends_with(" events") || what.ends_with(" reports"));
    Ok(asked)
}

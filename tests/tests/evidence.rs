//! What the daemon writes to a real kube-apiserver: Events and policy reports. `cargo xtask
//! apiserver` runs this.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mtls_tests::cluster::{Cluster, documented_role, object};
use mtls_tests::daemon::Daemon;
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(1);
const HTTP: [&str; 2] = ["--mode", "plain-http"];
const MTLS: [&str; 2] = ["--mode", "mtls"];
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";
const REPORTS: &str = "/apis/openreports.io/v1alpha1/namespaces/shop/reports";

/// The permissions that the chart grants besides those for names.
const GRANTS: &str = "
  - apiGroups: [events.k8s.io]
    resources: [events]
    verbs: [create, patch]
  - apiGroups: [openreports.io]
    resources: [reports]
    verbs: [create, patch]
";

struct Ground {
    daemon: Daemon,
    cluster: Cluster,
    scene: Scene,
}

impl Ground {
    /// The pods `web` and `db` of namespace `shop`, whose connections should all be mutual TLS.
    fn new(args: &[&str], role: &str) -> Result<Self> {
        let scene = Scene::new()?;
        let cluster = Cluster::start(&scene.node)?;
        cluster.grant(role)?;
        cluster.apply("/api/v1/nodes", &object("v1", "Node", "n1"))?;
        let mut shop = object("v1", "Namespace", "shop");
        shop["metadata"]["annotations"] = json!({"mtls.internal/expect": "mtls"});
        cluster.apply("/api/v1/namespaces", &shop)?;
        let accounts = "/api/v1/namespaces/shop/serviceaccounts";
        cluster.apply(accounts, &object("v1", "ServiceAccount", "default"))?;
        for (name, pod) in [("web", &scene.web), ("db", &scene.db)] {
            let ip = pod.v4().to_string();
            cluster.run_pod("shop", object("v1", "Pod", name), &ip)?;
        }
        cluster.define("openreports.io", "Report", "reports", "v1alpha1")?;
        if let Some(path) = std::env::var_os("MTLS_OPENREPORTS_CRD") {
            // The real CRD, which rejects invalid objects.
            let text = std::fs::read_to_string(path).context("read the definition of reports")?;
            cluster.apply_yaml(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/reports.openreports.io",
                &text,
            )?;
        }
        let config = cluster.kubeconfig()?.display().to_string();
        let nowhere = scene.node.empty_dir()?;
        let mut all = vec!["--netns-dir", &nowhere, "--no-cri"];
        all.extend(["--kubeconfig", &config, "--node-name", "n1"]);
        all.extend(args);
        let daemon = Daemon::start_over(&scene.node, &all)?;
        let ground = Self {
            daemon,
            cluster,
            scene,
        };
        ground.until("two pods", |ground| {
            let status = ground.daemon.status()?;
            let sources = status["sources"].as_array().context("no sources")?.clone();
            let entries = |name: &str| {
                let source = sources.iter().find(|one| one["name"] == name);
                source.and_then(|one| one["entries"].as_u64()).unwrap_or(0)
            };
            Ok((entries("kubernetes") == 2 && entries("namespaces") > 0).then_some(()))
        })?;
        Ok(ground)
    }

    /// The result of `find`, repeated until there is one.
    fn until<T>(&self, what: &str, find: impl Fn(&Self) -> Result<Option<T>>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = find(self)? {
                return Ok(found);
            }
            let log = self.daemon.log();
            ensure!(Instant::now() < deadline, "no {what}\n{log}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn exchange(&self, port: u16, mode: &[&str]) -> Result<()> {
        let addr = at(self.scene.db.v4(), port);
        let _server = self.scene.serve(&self.scene.db, addr, mode)?;
        let tap = self.daemon.tap()?;
        let port = self.scene.connect(&self.scene.web, addr, mode)?[0]
            .local
            .port();
        tap.find(|flow| flow["src"]["port"] == port && flow["event"] == "closed")?;
        Ok(())
    }

    fn items(&self, path: &str) -> Result<Vec<Value>> {
        let list = self.cluster.get(path)?;
        Ok(list["items"].as_array().context("no items")?.clone())
    }

    /// The Events with a reason, by their pod.
    fn events(&self, reason: &str) -> Result<Vec<Value>> {
        let mut events = self.items(EVENTS)?;
        events.retain(|event| event["reason"] == reason);
        events.sort_by_key(|event| event["regarding"]["name"].to_string());
        Ok(events)
    }
}

#[test]
#[ignore = "needs a kube-apiserver; run `cargo xtask apiserver`"]
fn a_pod_has_events_of_what_became_worse() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let role = format!("{}{GRANTS}", documented_role()?.trim_end());
    let ground = Ground::new(&["--kubernetes-events"], &role)?;
    ground.exchange(8443, &MTLS)?;
    assert!(ground.items(EVENTS)?.is_empty(), "all is well");

    for _ in 0..3 {
        ground.exchange(8080, &HTTP)?;
    }
    let events = ground.until("Events of plaintext", |ground| {
        let events = ground.events("PlaintextNotExpected")?;
        Ok((events.len() == 2).then_some(events))
    })?;
    for (event, pod, other) in [(&events[0], "db", "web"), (&events[1], "web", "db")] {
        let of = ground
            .cluster
            .get(&format!("/api/v1/namespaces/shop/pods/{pod}"))?;
        let regarding = &event["regarding"];
        assert_eq!(regarding["name"], pod, "{event:#}");
        assert_eq!(regarding["kind"], "Pod");
        assert_eq!(regarding["uid"], of["metadata"]["uid"]);
        assert_eq!(event["related"]["name"], other);
        assert_eq!(event["type"], "Warning");
        assert_eq!(event["reportingInstance"], "n1");
        let note = event["note"].as_str().unwrap_or_default();
        assert!(
            note.starts_with(
                "Plaintext where mutual TLS is expected: shop/web to shop/db, port 8080/tcp"
            ),
            "{note}"
        );
    }

    // The edge to port 8443 was mutual.
    ground.exchange(8443, &HTTP)?;
    let events = ground.until("Events of a downgrade", |ground| {
        let events = ground.events("MutualTLSDowngraded")?;
        Ok((events.len() == 2).then_some(events))
    })?;
    assert_eq!(events[0]["series"], Value::Null);
    // Repeatedly: a series, and no further Event.
    for _ in 0..5 {
        ground.exchange(8443, &MTLS)?;
        ground.exchange(8443, &HTTP)?;
    }
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(ground.events("MutualTLSDowngraded")?.len(), 2);
    assert_eq!(ground.events("PlaintextNotExpected")?.len(), 2);
    let series = |ground: &Ground| -> Result<Option<()>> {
        let events = ground.events("MutualTLSDowngraded")?;
        let counts: Vec<_> = events
            .iter()
            .map(|one| one["series"]["count"].as_i64())
            .collect();
        Ok((counts == [Some(6), Some(6)]).then_some(()))
    };
    let deadline = Instant::now() + Duration::from_secs(90);
    while series(&ground)?.is_none() {
        let events = ground.events("MutualTLSDowngraded")?;
        ensure!(Instant::now() < deadline, "no series: {events:#?}");
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

#[test]
#[ignore = "needs a kube-apiserver; run `cargo xtask apiserver`"]
fn a_pod_has_a_report_of_its_edges() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let role = format!("{}{GRANTS}", documented_role()?.trim_end());
    let args = [
        "--policy-reports",
        "openreports",
        "--policy-reports-interval",
        "1s",
    ];
    let ground = Ground::new(&args, &role)?;
    ground.until("empty reports", |ground| {
        let reports = ground.items(REPORTS)?;
        Ok((reports.len() == 2).then_some(()))
    })?;
    ground.exchange(8443, &MTLS)?;
    ground.exchange(8080, &HTTP)?;
    let db = ground.cluster.get("/api/v1/namespaces/shop/pods/db")?;
    let uid = db["metadata"]["uid"].as_str().context("no uid")?;
    let path = format!("{REPORTS}/mtls-{uid}");
    let report = ground.until("report of both edges", |ground| {
        let report = ground.cluster.get(&path)?;
        Ok((report["results"].as_array().map(Vec::len) == Some(2)).then_some(report))
    })?;
    let owner = &report["metadata"]["ownerReferences"][0];
    assert_eq!(owner["kind"], "Pod", "{report:#}");
    assert_eq!(owner["uid"], uid);
    assert_eq!(report["scope"]["name"], "db");
    assert_eq!(report["summary"]["fail"], 1);
    assert_eq!(report["summary"]["pass"], 1);
    let told: Vec<_> = report["results"]
        .as_array()
        .context("results")?
        .iter()
        .map(|one| {
            (
                one["result"].clone(),
                one["rule"].clone(),
                one["properties"]["port"].clone(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (json!("fail"), json!("mtls"), json!("8080")),
            (json!("pass"), json!("mtls"), json!("8443")),
        ]
    );
    // Unchanged reports are not written again.
    let version = &report["metadata"]["resourceVersion"];
    ground.exchange(8080, &HTTP)?;
    std::thread::sleep(Duration::from_secs(3));
    let same = ground.cluster.get(&path)?;
    assert_eq!(same["metadata"]["resourceVersion"], *version);
    Ok(())
}

#[test]
#[ignore = "needs a kube-apiserver; run `cargo xtask apiserver`"]
fn without_permission_nothing_is_written_and_it_is_said_why() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let args = ["--kubernetes-events", "--policy-reports", "openreports"];
    let ground = Ground::new(&args, documented_role()?)?;
    ground.exchange(8080, &HTTP)?;
    for what in [
        "an Event was not written",
        "a policy report was not written",
    ] {
        ground.until(what, |ground| {
            let log = ground.daemon.log();
            let line = log.lines().find(|line| line.contains(what));
            Ok(line.filter(|line| line.contains("grant")).map(drop))
        })?;
    }
    assert!(ground.items(EVENTS)?.is_empty());
    ground.exchange(8080, &HTTP)
}

//! Names from a real kube-apiserver. Building one takes a quarter of an hour and more, so this is
//! run where there is one: `MTLS_KUBE_APISERVER=… cargo test --test cluster -- --ignored`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mtls_tests::cluster::Cluster;
use mtls_tests::daemon::Daemon;
use mtls_tests::scene::{Scene, at};
use serde_json::{Value, json};

const HTTP: [&str; 2] = ["--mode", "plain-http"];

fn await_source(daemon: &Daemon, name: &str, good: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let status = daemon.status()?;
        let sources = status["sources"].as_array().context("no sources")?;
        let source = sources.iter().find(|source| source["name"] == name);
        if let Some(source) = source.filter(|source| good(source)) {
            return Ok(source.clone());
        }
        ensure!(
            Instant::now() < deadline,
            "{name}: {sources:#?}\n{}",
            daemon.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A pod as a controller makes it for this node, running as its kubelet says.
fn run(cluster: &Cluster, name: &str, owner: Option<&str>, ip: &str) -> Result<()> {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "spec": {"nodeName": "n1", "serviceAccountName": "shop-sa",
            "containers": [{"name": "app", "image": "x"}]},
    });
    if let Some(owner) = owner {
        pod["metadata"]["labels"]["pod-template-hash"] = "7d9c5b".into();
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1",
            "kind": "ReplicaSet", "controller": true, "uid": "r",
            "name": format!("{owner}-7d9c5b")}]);
    }
    cluster.apply("/api/v1/namespaces/shop/pods", &pod)?;
    let status = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]});
    cluster.set_status("shop", name, &status)
}

#[test]
#[ignore = "needs a kube-apiserver: MTLS_KUBE_APISERVER"]
fn a_real_api_server() -> Result<()> {
    let scene = Scene::new()?;
    let mut cluster = Cluster::start(&scene.node)?;
    cluster.apply(
        "/api/v1/namespaces",
        &json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}}}),
    )?;
    run(
        &cluster,
        "web-7d9c5b-x2x4z",
        Some("web"),
        &scene.web.v4().to_string(),
    )?;
    let config = cluster.kubeconfig()?.display().to_string();
    let args = [
        "--netns-dir",
        "/nonexistent",
        "--no-cri",
        "--kubeconfig",
        &config,
    ];
    let daemon = Daemon::start_over(&scene.node, &[&args[..], &["--node-name", "n1"]].concat())?;
    await_source(&daemon, "kubernetes", |source| source["entries"] == 1)?;
    // What comes after the list comes by the watch.
    run(&cluster, "db", None, &scene.db.v4().to_string())?;
    await_source(&daemon, "kubernetes", |source| source["entries"] == 2)?;
    let tap = daemon.tap()?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &HTTP)?;
    let request = || -> Result<Value> {
        let port = scene.connect(&scene.web, addr, &HTTP)?[0].local.port();
        tap.find(|flow| flow["src"]["port"] == port && flow["event"] == "closed")
    };
    std::thread::sleep(Duration::from_millis(300));
    let flow = request()?;
    assert_eq!(flow["src"]["name"], "web", "{flow:#}");
    assert_eq!(flow["src"]["kind"], "deployment");
    assert_eq!(flow["dst"]["name"], "db");
    assert_eq!(flow["dst"]["service_account"], "shop-sa");
    let note = flow["notes"][0].as_str().unwrap_or_default();
    assert!(note.contains("started-before-injection"), "{flow:#}");
    // The API server's own Service and its endpoint are there from the start.
    await_source(&daemon, "services", |source| {
        source["entries"].as_u64() >= Some(1)
    })?;

    cluster.down();
    await_source(&daemon, "kubernetes", |source| {
        source["error"] != Value::Null
    })?;
    let flow = request()?;
    assert_eq!(flow["src"]["name"], "web");
    assert!(flow["src"]["stale"].is_u64(), "{flow:#}");
    cluster.up()?;
    await_source(&daemon, "kubernetes", |source| {
        source["error"] == Value::Null
    })?;
    cluster.delete("/api/v1/namespaces/shop/pods/db")?;
    await_source(&daemon, "kubernetes", |source| source["entries"] == 1)?;

    // One permission less is one source less, and the others go on.
    cluster.grant(&["pods", "namespaces", "endpointslices"])?;
    cluster.down();
    cluster.up()?;
    let source = await_source(&daemon, "services", |source| {
        source["error"]
            .as_str()
            .is_some_and(|error| error.contains("grant"))
    })?;
    assert!(
        source["error"]
            .as_str()
            .is_some_and(|error| error.starts_with("services: "))
    );
    await_source(&daemon, "kubernetes", |source| {
        source["error"] == Value::Null
    })?;
    Ok(())
}

//! Expectations from annotations and from mesh policies in a real kube-apiserver. `cargo xtask
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
const ISTIO: &str = "/apis/security.istio.io/v1/namespaces/shop/peerauthentications";
const LINKERD: &str = "/apis/policy.linkerd.io";

/// The pod `web`, which is in no mesh, and `db`, which has a mesh proxy; no proxy is running, so
/// that the test determines what they exchange.
struct Ground {
    daemon: Daemon,
    cluster: Cluster,
    scene: Scene,
}

impl Ground {
    fn new(proxy: &str, prepare: impl FnOnce(&Cluster) -> Result<()>) -> Result<Self> {
        let scene = Scene::new()?;
        let cluster = Cluster::start(&scene.node)?;
        cluster.apply("/api/v1/nodes", &object("v1", "Node", "n1"))?;
        cluster.apply("/api/v1/namespaces", &object("v1", "Namespace", "shop"))?;
        let accounts = "/api/v1/namespaces/shop/serviceaccounts";
        cluster.apply(accounts, &object("v1", "ServiceAccount", "default"))?;
        prepare(&cluster)?;
        cluster.run_pod(
            "shop",
            object("v1", "Pod", "web"),
            &scene.web.v4().to_string(),
        )?;
        let mut db = object("v1", "Pod", "db");
        db["metadata"]["labels"] = json!({"app": "db"});
        db["spec"]["containers"] = json!([{"name": "app", "image": "x",
            "ports": [{"name": "http", "containerPort": 8080}]}, {"name": proxy, "image": "x"}]);
        cluster.run_pod("shop", db, &scene.db.v4().to_string())?;
        let config = cluster.kubeconfig()?.display().to_string();
        let nowhere = scene.node.empty_dir()?;
        let mut args = vec!["--netns-dir", &nowhere, "--no-cri"];
        args.extend(["--kubeconfig", &config, "--node-name", "n1"]);
        let daemon = Daemon::start_over(&scene.node, &args)?;
        let ground = Self {
            daemon,
            cluster,
            scene,
        };
        ground.await_source("kubernetes", |source| source["entries"] == 2)?;
        Ok(ground)
    }

    fn await_source(&self, name: &str, good: impl Fn(&Value) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.daemon.status()?;
            let sources = status["sources"].as_array().context("no sources")?;
            if sources.iter().any(|one| one["name"] == name && good(one)) {
                return Ok(());
            }
            let log = self.daemon.log();
            ensure!(Instant::now() < deadline, "{name}: {sources:#?}\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The expectation for one plaintext request, repeated until the daemon has the API's current
    /// state.
    fn await_expectation(&self, outcome: &str, cause: &str, reason: &str) -> Result<()> {
        let addr = at(self.scene.db.v4(), 8080);
        let _server = self.scene.serve(&self.scene.db, addr, &HTTP)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tap = self.daemon.tap()?;
            let port = self.scene.connect(&self.scene.web, addr, &HTTP)?[0]
                .local
                .port();
            let flow = tap.find(|flow| flow["src"]["port"] == port && flow["event"] == "closed")?;
            let told = &flow["expectation"];
            if told["outcome"] == outcome
                && told["cause"] == cause
                && told["reason"].as_str().unwrap_or_default().contains(reason)
            {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{outcome} {cause} {reason}: {told:#}\n{}",
                self.daemon.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn annotate_db(&self, text: &str) -> Result<()> {
        let mut db = object("v1", "Pod", "db");
        db["metadata"]["annotations"] = json!({"mtls.internal/expect": text});
        let path = "/api/v1/namespaces/shop/pods/db";
        self.cluster.merge(path, &db)
    }
}

fn peer_authentication(mode: &str) -> Value {
    let mut made = object("security.istio.io/v1", "PeerAuthentication", "default");
    made["spec"] = json!({"mtls": {"mode": mode}});
    made
}

#[test]
#[ignore = "needs a kube-apiserver; run `cargo xtask apiserver`"]
fn istios_policy_and_the_operators_annotation_say_what_is_expected() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let ground = Ground::new("istio-proxy", |cluster| {
        cluster.define(
            "security.istio.io",
            "PeerAuthentication",
            "peerauthentications",
            "v1",
        )
    })?;
    ground.await_source("policies", |source| source["error"] == Value::Null)?;
    ground.await_expectation("worse", "peer-not-in-mesh", "shop/web, is in no mesh")?;
    ground
        .cluster
        .apply(ISTIO, &peer_authentication("PERMISSIVE"))?;
    ground.await_source("policies", |source| source["entries"] == 1)?;
    let permissive = "PeerAuthentication shop/default is PERMISSIVE";
    ground.await_expectation("nothing-expected", "policy", permissive)?;
    ground
        .cluster
        .apply(ISTIO, &peer_authentication("STRICT"))?;
    let strict = "PeerAuthentication shop/default is STRICT";
    ground.await_expectation("worse", "peer-not-in-mesh", strict)?;
    ground
        .cluster
        .apply(ISTIO, &peer_authentication("DISABLE"))?;
    ground.await_expectation("as-expected", "policy", "is DISABLE")?;

    ground.annotate_db("any,8080=mtls")?;
    let own = "pod shop/db is annotated mtls.internal/expect: 8080=mtls";
    ground.await_expectation("worse", "annotated", own)?;
    let table = ground.daemon.ask(&["edges", "-o", "wide"])?.out;
    assert!(table.contains(&format!("worse: {own}")), "{table}");
    let table = ground.daemon.ask(&["flows", "-o", "wide"])?.out;
    assert!(table.contains(&format!("worse: {own}")), "{table}");
    let edge = ground.daemon.await_edge("web", "db", |_| true)?;
    assert_eq!(edge["expectation"]["expected"], "mtls", "{edge:#}");
    assert_eq!(edge["expectation"]["outcome"], "worse", "{edge:#}");

    ground.annotate_db("any")?;
    ground.await_expectation("nothing-expected", "annotated", "expect: any")?;
    let mut shop = object("v1", "Namespace", "shop");
    shop["metadata"]["annotations"] = json!({"mtls.internal/expect": "plaintext"});
    ground.cluster.apply("/api/v1/namespaces", &shop)?;
    ground.cluster.delete(&format!("{ISTIO}/default"))?;
    // The pod's own annotation takes precedence over its namespace's.
    ground.await_expectation("nothing-expected", "annotated", "expect: any")?;
    ground.annotate_db("9=any")?;
    ground.await_expectation("as-expected", "annotated", "namespace shop is annotated")
}

#[test]
#[ignore = "needs a kube-apiserver; run `cargo xtask apiserver`"]
fn linkerds_policies_say_what_is_expected() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let group = "policy.linkerd.io";
    let ground = Ground::new("linkerd-proxy", |cluster| {
        // One version that is tried second, and one kind that does not exist.
        cluster.define(group, "Server", "servers", "v1beta2")?;
        let plural = "authorizationpolicies";
        cluster.define(group, "AuthorizationPolicy", plural, "v1alpha1")
    })?;
    ground.await_source("policies", |source| source["error"] == Value::Null)?;
    ground.await_expectation("worse", "peer-not-in-mesh", "shop/web, is in no mesh")?;
    let mut server = object("policy.linkerd.io/v1beta2", "Server", "db-http");
    server["spec"] = json!({"podSelector": {"matchLabels": {"app": "db"}}, "port": "http"});
    ground.cluster.apply(
        &format!("{LINKERD}/v1beta2/namespaces/shop/servers"),
        &server,
    )?;
    let strict = "Server shop/db-http lets in only who is authenticated by mutual TLS";
    ground.await_expectation("worse", "peer-not-in-mesh", strict)?;
    let kind = "AuthorizationPolicy";
    let mut policy = object("policy.linkerd.io/v1alpha1", kind, "lan");
    policy["spec"] = json!({
        "targetRef": {"group": group, "kind": "Server", "name": "db-http"},
        "requiredAuthenticationRefs": [
            {"group": group, "kind": "NetworkAuthentication", "name": "lan"}],
    });
    let policies = format!("{LINKERD}/v1alpha1/namespaces/shop/authorizationpolicies");
    ground.cluster.apply(&policies, &policy)?;
    let open = "Server shop/db-http lets in who is not authenticated";
    ground.await_expectation("nothing-expected", "policy", open)
}

#[test]
#[ignore = "needs a kube-apiserver; run `cargo xtask apiserver`"]
fn policies_that_may_not_be_read_cost_nothing_but_themselves() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let role = documented_role()?;
    let (less, _) = role
        .split_once("  - apiGroups: [security.istio.io")
        .context("the documented role has no policies")?;
    let ground = Ground::new("istio-proxy", |cluster| cluster.grant(less))?;
    let refused = |source: &Value| {
        let error = source["error"].as_str().unwrap_or_default();
        error.starts_with("peerauthentications: ") && error.contains("grant")
    };
    ground.await_source("policies", refused)?;
    ground.await_expectation("worse", "peer-not-in-mesh", "shop/web, is in no mesh")
}

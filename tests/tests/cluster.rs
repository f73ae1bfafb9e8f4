//! Names from a real kube-apiserver. Building one takes a quarter of an hour or more, so only
//! `cargo xtask apiserver` runs this.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mtls_tests::cluster::{Cluster, documented_role, object};
use mtls_tests::daemon::Daemon;
use mtls_tests::netns::{Pod, ip};
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use serde_json::{Value, json};

const HTTP: [&str; 2] = ["--mode", "plain-http"];
const SHOP: &str = "/api/v1/namespaces/shop";
const SERVICE: &str = "10.96.0.50";

/// Two pods of this node that the API knows, one that it does not, and the daemon. No kubelet and
/// no controller is running: the test writes what these would write.
struct Ground {
    daemon: Daemon,
    cluster: Cluster,
    far: Pod,
    scene: Scene,
}

impl Ground {
    fn new() -> Result<Self> {
        let scene = Scene::new()?;
        let far = scene.node.pod("shop", "far")?;
        let cluster = Cluster::start(&scene.node)?;
        cluster.apply("/api/v1/nodes", &object("v1", "Node", "n1"))?;
        let mut shop = object("v1", "Namespace", "shop");
        shop["metadata"]["labels"] = json!({"istio-injection": "enabled"});
        cluster.apply("/api/v1/namespaces", &shop)?;
        for account in ["web-sa", "db-sa"] {
            let account = object("v1", "ServiceAccount", account);
            cluster.apply(&format!("{SHOP}/serviceaccounts"), &account)?;
        }
        deploy(&cluster, &scene.web.v4().to_string())?;
        let config = cluster.kubeconfig()?.display().to_string();
        let nowhere = scene.node.empty_dir()?;
        let mut args = vec!["--netns-dir", &nowhere, "--no-cri"];
        args.extend(["--kubeconfig", &config, "--node-name", "n1"]);
        let daemon = Daemon::start_over(&scene.node, &args)?;
        Ok(Self {
            daemon,
            cluster,
            far,
            scene,
        })
    }

    fn await_source(&self, name: &str, good: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let status = self.daemon.status()?;
            let sources = status["sources"].as_array().context("no sources")?;
            let source = sources.iter().find(|source| source["name"] == name);
            if let Some(source) = source.filter(|source| good(source)) {
                return Ok(source.clone());
            }
            let log = self.daemon.log();
            ensure!(Instant::now() < deadline, "{name}: {sources:#?}\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn await_pods(&self, count: usize) -> Result<()> {
        let good = |source: &Value| source["entries"] == count && source["error"] == Value::Null;
        self.await_source("kubernetes", good)?;
        Ok(())
    }

    /// One request from `web` to a server in `pod`, and the report on it.
    fn request(&self, pod: &Pod, addr: SocketAddr) -> Result<Value> {
        let tap = self.daemon.tap()?;
        let _server = self.scene.serve(pod, addr, &HTTP)?;
        let port = self.scene.connect(&self.scene.web, addr, &HTTP)?[0]
            .local
            .port();
        tap.find(|flow| flow["src"]["port"] == port && flow["event"] == "closed")
    }

    fn request_db(&self) -> Result<Value> {
        let db = &self.scene.db;
        self.request(db, at(db.v4(), 8080))
    }
}

/// Creates an object in `shop`, with its owner if it has one.
fn make(cluster: &Cluster, path: &str, mut made: Value, owner: Option<&Value>) -> Result<Value> {
    if let Some(owner) = owner {
        made["metadata"]["ownerReferences"] = json!([{
            "apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": true,
            "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        }]);
    }
    cluster.apply(path, &made)
}

/// A pod that runs on this node.
fn run(cluster: &Cluster, mut pod: Value, owner: Option<&Value>, ip: &str) -> Result<()> {
    let name = pod["metadata"]["name"]
        .as_str()
        .context("no name")?
        .to_owned();
    pod["spec"]["nodeName"] = "n1".into();
    pod["spec"]["containers"] = json!([{"name": "app", "image": "x"}]);
    make(cluster, &format!("{SHOP}/pods"), pod, owner)?;
    let status = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]});
    cluster.set_status("shop", &name, &status)
}

/// The Deployment `web`, its ReplicaSet, and that one's pod.
fn deploy(cluster: &Cluster, ip: &str) -> Result<()> {
    let labels = json!({"app": "web", "pod-template-hash": "7d9c5b"});
    let template = json!({"metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": "x"}]}});
    let spec = json!({"selector": {"matchLabels": labels}, "template": template});
    let sets = "/apis/apps/v1/namespaces/shop";
    let mut deployment = object("apps/v1", "Deployment", "web");
    deployment["spec"] = spec.clone();
    let deployment = make(cluster, &format!("{sets}/deployments"), deployment, None)?;
    let mut set = object("apps/v1", "ReplicaSet", "web-7d9c5b");
    set["spec"] = spec;
    let set = make(
        cluster,
        &format!("{sets}/replicasets"),
        set,
        Some(&deployment),
    )?;
    let mut pod = object("v1", "Pod", "web-7d9c5b-x2x4z");
    pod["metadata"]["labels"] = labels;
    pod["spec"] = json!({"serviceAccountName": "web-sa"});
    run(cluster, pod, Some(&set), ip)
}

/// The Service `database`, whose endpoints are the pod `db` and one on another node.
fn serve(ground: &Ground) -> Result<()> {
    let mut service = object("v1", "Service", "database");
    service["spec"] = json!({"clusterIP": SERVICE, "ports": [{"port": 80, "targetPort": 8080}]});
    ground
        .cluster
        .apply(&format!("{SHOP}/services"), &service)?;
    let mut slice = object("discovery.k8s.io/v1", "EndpointSlice", "database-x1");
    slice["metadata"]["labels"] = json!({"kubernetes.io/service-name": "database"});
    slice["addressType"] = "IPv4".into();
    slice["endpoints"] =
        json!([{"addresses": [ground.scene.db.v4()]}, {"addresses": [ground.far.v4()]}]);
    slice["ports"] = json!([{"port": 8080}]);
    let slices = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
    ground.cluster.apply(slices, &slice)?;
    // Besides the API server's own Service and its endpoint, which exist from the start.
    ground.await_source("services", |source| source["entries"] == 4)?;
    Ok(())
}

#[test]
#[ignore = "needs a kube-apiserver; run `cargo xtask apiserver`"]
fn the_documented_role_is_enough_for_every_name() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let ground = Ground::new()?;
    ground.await_pods(1)?;
    // What comes after the list comes through the watch.
    let mut db = object("v1", "Pod", "db");
    db["spec"] = json!({"serviceAccountName": "db-sa"});
    run(&ground.cluster, db, None, &ground.scene.db.v4().to_string())?;
    ground.await_pods(2)?;
    serve(&ground)?;
    for source in ["kubernetes", "services", "namespaces"] {
        ground.await_source(source, |source| source["error"] == Value::Null)?;
    }

    let flow = ground.request_db()?;
    assert_eq!(flow["src"]["pod"], "web-7d9c5b-x2x4z", "{flow:#}");
    let cause = &flow["expectation"]["cause"];
    assert_eq!(*cause, "started-before-injection", "{flow:#}");
    let edge = ground.daemon.await_edge("web", "db", |_| true)?;
    for (field, value) in [
        ("/src/namespace", "shop"),
        ("/src/kind", "deployment"),
        ("/src/service_account", "web-sa"),
        ("/dst/namespace", "shop"),
        ("/dst/kind", "pod"),
        ("/dst/service_account", "db-sa"),
    ] {
        assert_eq!(
            edge.pointer(field),
            Some(&json!(value)),
            "{field} of {edge:#}"
        );
    }

    // An endpoint on another node has its Service's name, and so has the Service's own address.
    ground.request(&ground.far, at(ground.far.v4(), 8080))?;
    ground
        .far
        .enter(|| ip(&format!("addr add {SERVICE}/32 dev lo\n")))??;
    ip(&format!("route add {SERVICE}/32 via {}\n", ground.far.v4()))?;
    ground.request(&ground.far, at(SERVICE.parse()?, 80))?;
    // An edge for each port: the endpoint's own, and the Service's.
    for port in [8080, 80] {
        let of_port =
            |edge: &Value| edge["dst"]["name"] == "database" && edge["dst"]["port"] == port;
        let edges = ground.daemon.edges()?;
        let edge = edges.iter().find(|edge| of_port(edge));
        let edge = edge.with_context(|| format!("nothing at {port}: {edges:#?}"))?;
        assert_eq!(edge["src"]["name"], "web", "{edge:#}");
        assert_eq!(edge["dst"]["kind"], "service", "{edge:#}");
        assert_eq!(edge["dst"]["namespace"], "shop");
        assert_eq!(edge["verdict_counts"], json!({"plaintext": 1}), "{edge:#}");
    }
    assert_eq!(ground.daemon.edges()?.len(), 3);
    let table = ground.daemon.ask(&["edges", "-o", "wide"])?;
    assert!(table.out.contains("web-sa"), "{}", table.out);
    Ok(())
}

#[test]
#[ignore = "needs a kube-apiserver; run `cargo xtask apiserver`"]
fn names_outlive_the_api_server_and_follow_it_again() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let mut ground = Ground::new()?;
    ground.await_pods(1)?;
    ground.cluster.down();
    ground.await_source("kubernetes", |source| source["error"] != Value::Null)?;
    let flow = ground.request_db()?;
    assert_eq!(flow["verdict"], "plaintext", "{flow:#}");
    assert_eq!(flow["src"]["name"], "web");
    assert!(flow["src"]["stale_seconds"].is_u64(), "{flow:#}");
    let edges = ground.daemon.edges()?;
    assert!(edges[0]["src"]["stale_seconds"].is_u64(), "{edges:#?}");
    let table = ground.daemon.ask(&["status"])?.out;
    let line = table.lines().find(|line| line.starts_with("kubernetes"));
    let line = line.context("status says nothing of Kubernetes")?;
    assert!(line.contains("stale since"), "{line}");

    ground.cluster.up()?;
    for source in ["kubernetes", "services", "namespaces"] {
        ground.await_source(source, |source| source["error"] == Value::Null)?;
    }
    let mut db = object("v1", "Pod", "db");
    db["spec"] = json!({"serviceAccountName": "db-sa"});
    run(&ground.cluster, db, None, &ground.scene.db.v4().to_string())?;
    ground.await_pods(2)?;
    let flow = ground.request_db()?;
    assert_eq!(flow["dst"]["name"], "db", "{flow:#}");
    assert_eq!(flow["src"]["stale_seconds"], Value::Null, "{flow:#}");
    ground.cluster.delete(&format!("{SHOP}/pods/db"))?;
    ground.await_pods(1)
}

#[test]
#[ignore = "needs a kube-apiserver; run `cargo xtask apiserver`"]
fn one_permission_less_is_one_source_less() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let mut ground = Ground::new()?;
    ground.await_pods(1)?;
    let role = documented_role()?;
    let less = role.replace("services, ", "");
    assert_ne!(less, role);
    ground.cluster.grant(&less)?;
    // The permission for an open watch is not checked again.
    ground.cluster.down();
    ground.cluster.up()?;
    let refused = |source: &Value| {
        let error = source["error"].as_str().unwrap_or_default();
        error.starts_with("services: ") && error.contains("grant")
    };
    ground.await_source("services", refused)?;
    ground.await_pods(1)?;
    ground.await_source("namespaces", |source| source["error"] == Value::Null)?;
    Ok(())
}

//! Names from the Kubernetes API, with and without faults.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mtls_tests::apiserver::{ApiServer, pod};
use mtls_tests::daemon::Daemon;
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);
const HTTP: [&str; 2] = ["--mode", "plain-http"];
const NODE: &str = "n1";

/// Two pods whose names only the API knows, and the daemon that queries it.
struct Ground {
    daemon: Daemon,
    api: ApiServer,
    scene: Scene,
}

impl Ground {
    fn new(args: &[&str], prepare: impl FnOnce(&ApiServer, &Scene)) -> Result<Self> {
        let scene = Scene::new()?;
        let api = ApiServer::start()?;
        prepare(&api, &scene);
        let config = api.kubeconfig(scene.node.files())?;
        let config = config.display().to_string();
        // Without the names of network namespaces: all names come from the API.
        let nowhere = scene.node.empty_dir()?;
        let standard = ["--netns-dir", &nowhere, "--no-cri", "--kubeconfig", &config];
        let daemon = Daemon::start_over(&scene.node, &[&standard, args].concat())?;
        Ok(Self { daemon, api, scene })
    }

    fn of_both(args: &[&str]) -> Result<Self> {
        Self::new(args, |api, scene| {
            api.apply(
                "pods",
                pod("shop", "web", NODE, &scene.web.v4().to_string()),
            );
            api.apply("pods", pod("shop", "db", NODE, &scene.db.v4().to_string()));
        })
    }

    /// The status of a source, once it satisfies `good`.
    fn await_source(&self, name: &str, good: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.daemon.status()?;
            let sources = status["sources"].as_array().context("no sources")?;
            let source = sources.iter().find(|source| source["name"] == name);
            if let Some(source) = source.filter(|source| good(source)) {
                return Ok(source.clone());
            }
            ensure!(
                Instant::now() < deadline,
                "{name}: {sources:#?}\n{}",
                self.daemon.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn await_pods(&self, count: usize) -> Result<()> {
        let good = |source: &Value| source["entries"] == count && source["error"] == Value::Null;
        self.await_source("kubernetes", good).map(|_| ())
    }

    /// One request from `web` to `db`, and the report on it.
    fn request(&self) -> Result<Value> {
        let tap = self.daemon.tap()?;
        let addr = at(self.scene.db.v4(), 8080);
        let _server = self.scene.serve(&self.scene.db, addr, &HTTP)?;
        let port = self.scene.connect(&self.scene.web, addr, &HTTP)?[0]
            .local
            .port();
        tap.find(|flow| flow["src"]["port"] == port && flow["event"] == "closed")
    }
}

#[test]
fn pods_have_owners_accounts_and_meshes() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let ground = Ground::of_both(&["--node-name", NODE])?;
    ground.await_pods(2)?;
    let flow = ground.request()?;
    assert_eq!(flow["src"]["name"], "web", "{flow:#}");
    assert_eq!(flow["src"]["kind"], "deployment");
    assert_eq!(flow["src"]["pod"], "web-7d9c5b-x2x4z");
    assert_eq!(flow["dst"]["service_account"], "db-sa");
    assert_eq!(flow["notes"], json!([]));
    // The namespace is put into a mesh: these pods started before.
    ground.api.apply(
        "namespaces",
        json!({"metadata": {"name": "shop", "annotations": {"linkerd.io/inject": "enabled"}}}),
    );
    ground.await_source("namespaces", |source| source["entries"] == 1)?;
    std::thread::sleep(Duration::from_millis(200));
    let flow = ground.request()?;
    let expectation = &flow["expectation"];
    assert_eq!(expectation["outcome"], "worse", "{flow:#}");
    assert_eq!(expectation["cause"], "started-before-injection");
    let reason = expectation["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("shop/web"), "{flow:#}");
    let asked = ground.api.asked();
    assert_eq!(asked.lists["pods"], 1, "{asked:?}");
    assert!(!asked.lists.contains_key("replicasets"), "{asked:?}");
    let query = &asked.queries["pods"];
    assert!(query.contains("spec.nodeName"), "{query}");
    Ok(())
}

#[test]
fn an_identity_that_is_not_the_pods_is_noted() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let ground = Ground::of_both(&["--node-name", NODE])?;
    ground.await_pods(2)?;
    let (web, db) = (&ground.scene.web, &ground.scene.db);
    let addr = at(db.v4(), 8443);
    let _server = ground.scene.serve(db, addr, &["--mode", "mtls"])?;
    let tap = ground.daemon.tap()?;
    let mismatches = || -> Result<Value> {
        let args = ["--mode", "mtls", "--tls", "1.2"];
        let port = ground.scene.connect(web, addr, &args)?[0].local.port();
        let flow = tap.find(|flow| flow["src"]["port"] == port && flow["event"] == "closed")?;
        assert_eq!(flow["verdict"], "mtls", "{flow:#}");
        Ok(flow["mismatches"].clone())
    };
    // Their certificates are for the accounts `web` and `db`, but their pods run as others.
    let expected = json!([
        {
            "side": "server", "seen": "shop/db", "expected": "shop/db-sa",
            "pod": "shop/db-7d9c5b-x2x4z",
        },
        {
            "side": "client", "seen": "shop/web", "expected": "shop/web-sa",
            "pod": "shop/web-7d9c5b-x2x4z",
        },
    ]);
    assert_eq!(mismatches()?, expected);
    for (name, ip) in [("web", web.v4()), ("db", db.v4())] {
        let mut object = pod("shop", name, NODE, &ip.to_string());
        object["spec"]["serviceAccountName"] = name.into();
        ground.api.apply("pods", object);
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(mismatches()?, json!([]));
    Ok(())
}

#[test]
fn pods_come_and_go() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let ground = Ground::of_both(&["--node-name", NODE])?;
    ground.await_pods(2)?;
    let ip = ground.scene.web.v4().to_string();
    ground.api.delete("pods", pod("shop", "web", NODE, &ip));
    ground.api.apply("pods", pod("shop", "heir", NODE, &ip));
    ground
        .api
        .apply("pods", pod("shop", "elsewhere", "n2", "10.9.9.9"));
    ground.await_pods(2)?;
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(ground.request()?["src"]["name"], "heir");
    Ok(())
}

#[test]
fn a_service_has_its_name_where_its_other_half_is_not_seen() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let ground = Ground::of_both(&["--node-name", NODE])?;
    let ip = ground.scene.db.v4().to_string();
    // As far as this node knows, the pod behind it is on another one.
    ground.api.delete("pods", pod("shop", "db", NODE, &ip));
    ground.api.apply(
        "services",
        json!({"metadata": {"name": "database", "namespace": "shop"},
            "spec": {"clusterIP": ip, "ports": [{"port": 8080}]}}),
    );
    ground.await_source("services", |source| source["entries"] == 1)?;
    ground.await_pods(1)?;
    let flow = ground.request()?;
    // The pod's name may be kept for earlier traffic; this is later.
    assert_eq!(flow["dst"]["name"], "database", "{flow:#}");
    assert_eq!(flow["dst"]["kind"], "service");
    Ok(())
}

#[test]
fn names_outlive_an_outage_and_say_so() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let ground = Ground::of_both(&["--node-name", NODE])?;
    ground.await_pods(2)?;
    ground.api.fail(|faults| faults.down = true);
    ground.await_source("kubernetes", |source| source["error"] != Value::Null)?;
    let flow = ground.request()?;
    assert_eq!(flow["src"]["name"], "web");
    assert!(flow["src"]["stale_seconds"].is_u64(), "{flow:#}");
    assert_eq!(flow["verdict"], "plaintext", "classification goes on");
    ground.api.fail(|faults| faults.down = false);
    ground.await_pods(2)?;
    assert_eq!(ground.request()?["src"]["stale_seconds"], Value::Null);
    Ok(())
}

#[test]
fn dropped_watches_are_taken_up_where_they_were() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let ground = Ground::of_both(&["--node-name", NODE])?;
    ground.await_pods(2)?;
    for n in 0..3 {
        ground.api.drop_watches();
        ground
            .api
            .apply("pods", pod("shop", &format!("more{n}"), NODE, "10.8.0.1"));
        ground.await_pods(3 + n)?;
    }
    let asked = ground.api.asked();
    assert_eq!(
        asked.lists["pods"], 1,
        "nothing was listed again: {asked:?}"
    );
    assert!(asked.watches["pods"] <= 8, "{asked:?}");
    Ok(())
}

#[test]
fn an_expired_version_is_a_new_list() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let ground = Ground::of_both(&["--node-name", NODE])?;
    ground.await_pods(2)?;
    ground.api.fail(|faults| faults.expired = Some("pods"));
    ground
        .api
        .apply("pods", pod("shop", "third", NODE, "10.8.0.1"));
    ground.await_pods(3)?;
    ground.api.fail(|faults| faults.gone = Some("pods"));
    ground
        .api
        .apply("pods", pod("shop", "fourth", NODE, "10.8.0.2"));
    ground.await_pods(4)?;
    let asked = ground.api.asked();
    assert_eq!(asked.lists["pods"], 3, "{asked:?}");
    assert_eq!(asked.lists["services"], 1, "{asked:?}");
    Ok(())
}

#[test]
fn an_overloaded_server_is_given_the_time_that_it_asks_for() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let began = Instant::now();
    let ground = Ground::new(&["--node-name", NODE], |api, scene| {
        api.apply(
            "pods",
            pod("shop", "web", NODE, &scene.web.v4().to_string()),
        );
        // Each of the four lists twice.
        api.fail(|faults| faults.too_many = 8);
    })?;
    ground.await_pods(1)?;
    assert!(
        began.elapsed() > Duration::from_secs(1),
        "it asked to be left alone"
    );
    let asked = ground.api.asked();
    let lists: u32 = asked.lists.values().sum();
    assert!(lists <= 16, "{asked:?}");
    Ok(())
}

#[test]
fn a_slow_list_keeps_nobody_waiting() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let ground = Ground::new(&["--node-name", NODE], |api, scene| {
        api.apply(
            "pods",
            pod("shop", "web", NODE, &scene.web.v4().to_string()),
        );
        api.fail(|faults| faults.slow = Duration::from_secs(12));
    })?;
    let flow = ground.request()?;
    assert_eq!(flow["verdict"], "plaintext", "{flow:#}");
    let source = ground.await_source("kubernetes", |source| source["error"] != Value::Null)?;
    let error = source["error"].as_str().unwrap_or_default();
    assert!(error.contains("no answer for 10 s"), "{error}");
    ground.await_pods(1)
}

#[test]
fn a_malformed_object_costs_itself_alone() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let ground = Ground::new(&["--node-name", NODE], |api, scene| {
        api.apply(
            "pods",
            pod("shop", "web", NODE, &scene.web.v4().to_string()),
        );
        let mut odd = pod("shop", "odd", NODE, "10.8.0.9");
        odd["spec"]["containers"] = json!("none");
        api.apply("pods", odd);
        api.apply(
            "pods",
            json!({"metadata": {"name": 7}, "spec": {"nodeName": NODE}}),
        );
    })?;
    ground.await_pods(1)?;
    let mut odd = pod("shop", "odder", NODE, "10.8.0.9");
    odd["metadata"]["labels"] = json!([1, 2]);
    ground.api.apply("pods", odd);
    ground.api.apply(
        "pods",
        pod("shop", "db", NODE, &ground.scene.db.v4().to_string()),
    );
    ground.await_pods(2)?;
    let asked = ground.api.asked();
    assert_eq!(asked.lists["pods"], 1, "{asked:?}");
    Ok(())
}

#[test]
fn without_a_node_name_it_says_what_to_do() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let ground = Ground::of_both(&[])?;
    let source = ground.await_source("kubernetes", |source| source["error"] != Value::Null)?;
    let error = source["error"].as_str().unwrap_or_default();
    assert!(error.contains("--node-name"), "{error}");
    Ok(())
}

/// The cost of ten thousand pods for the API server and the daemon; the numbers are for the
/// documentation, the limits detect regressions.
#[test]
fn ten_thousand_pods_of_a_cluster() -> Result<()> {
    const PODS: usize = 10_000;
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let ground = Ground::new(&["--cluster-names"], |_, _| {})?;
    ground.await_source("kubernetes", |source| source["updated"].is_string())?;
    let before = memory(ground.daemon.pid())?;
    let asked = ground.api.asked();
    ground.api.fail(|faults| faults.down = true);
    for n in 0..PODS {
        let ip = format!("10.{}.{}.{}", 100 + n / 62_500, n / 250 % 250, n % 250 + 1);
        let node = format!("n{}", n % 100);
        ground
            .api
            .apply("pods", pod("load", &format!("pod{n}"), &node, &ip));
    }
    ground.api.fail(|faults| {
        faults.down = false;
        faults.expired = Some("pods");
    });
    let began = Instant::now();
    ground.await_pods(PODS)?;
    let now = ground.api.asked();
    let after = memory(ground.daemon.pid())?;
    let lists = now.lists["pods"] - asked.lists["pods"];
    println!(
        "{PODS} pods: {lists} list requests, {} MiB of answers, {} MiB of memory, {:?}",
        (now.bytes - asked.bytes) >> 20,
        (after - before) >> 20,
        began.elapsed()
    );
    assert!(after - before < 200 << 20, "{} MiB", (after - before) >> 20);
    Ok(())
}

/// Resident memory of a process, in bytes.
fn memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .context("no VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kib << 10)
}

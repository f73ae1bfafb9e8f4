//! Names from a real container runtime: containerd, runc and the bridge CNI plug-in.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mtls_tests::apiserver::{self, ApiServer};
use mtls_tests::cri::{Runtime, Sandbox};
use mtls_tests::daemon::Daemon;
use mtls_tests::netns::{Place, enter, ip};
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
const NEEDS: [Need; 2] = [Need::Root, Need::Containerd];
const HTTP: [&str; 2] = ["--mode", "plain-http"];

/// Waits until something in the pod listens on `port`. The attempts stay within the pod.
fn await_listener(pod: &Sandbox, port: u16) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while enter(pod.net(), || TcpStream::connect((pod.ips[0], port)))?.is_err() {
        ensure!(Instant::now() < deadline, "nothing listens on port {port}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Makes a request from within a pod, whatever the response; returns the client's port.
fn ask(pod: &Sandbox, addr: SocketAddr) -> Result<u16> {
    enter(pod.net(), || {
        let mut stream = TcpStream::connect(addr)?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: db\r\nconnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new())?;
        Ok(stream.local_addr()?.port())
    })?
}

/// The status of the container runtime source, once it satisfies `good`.
fn await_source(daemon: &Daemon, good: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = daemon.status()?;
        let sources = status["sources"].as_array().context("no sources")?;
        let cri = sources.iter().find(|source| source["name"] == "cri");
        if let Some(cri) = cri.filter(|cri| good(cri)) {
            return Ok(cri.clone());
        }
        ensure!(Instant::now() < deadline, "{sources:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn pods_have_the_names_and_workloads_that_their_labels_tell() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut runtime = Runtime::start(&scene.node)?;
    let daemon = Daemon::start(&scene.node)?;
    let tap = daemon.tap()?;
    let hash = [("pod-template-hash", "7d9c"), ("app", "web")];
    let web = runtime.pod_with("shop", "web-7d9c-x2x4z", &hash, &[])?;
    let index = [("apps.kubernetes.io/pod-index", "0")];
    let db = runtime.pod_with("data", "db-0", &index, &[])?;
    // A real container, whose name says what it is.
    db.container("linkerd-proxy", &["httpd", "-f", "-p", "8080"])?;
    await_listener(&db, 8080)?;
    // Its response is a 404, which is enough.
    web.container("wget", &["wget", &format!("http://{}:8080/x", db.ips[0])])?;
    let flow =
        tap.find(|flow| flow["dst"]["ip"] == json!(db.ips[0]) && flow["event"] == "closed")?;
    assert_eq!(flow["verdict"], "plaintext", "{flow:#}");
    assert_eq!(flow["src"]["name"], "web");
    assert_eq!(flow["src"]["kind"], "deployment");
    assert_eq!(flow["src"]["namespace"], "shop");
    assert_eq!(flow["src"]["pod"], "web-7d9c-x2x4z");
    assert_eq!(flow["dst"]["name"], "db");
    assert_eq!(flow["dst"]["kind"], "statefulset");
    assert_eq!(flow["dst"]["pod"], "db-0");
    // The server has a mesh proxy, the client has none. A container appears after its pod, and a
    // runtime without events is queried only every few seconds.
    let expected = json!({
        "expected": "mtls",
        "outcome": "worse",
        "cause": "peer-not-in-mesh",
        "reason": "the client, shop/web-7d9c-x2x4z, is in no mesh",
    });
    let deadline = Instant::now() + PATIENCE;
    loop {
        let port = ask(&web, at(db.ips[0], 8080))?;
        let flow = tap.find(|flow| flow["src"]["port"] == port && flow["event"] == "closed")?;
        if flow["expectation"] == expected {
            break;
        }
        ensure!(Instant::now() < deadline, "{flow:#}");
        std::thread::sleep(Duration::from_millis(200));
    }
    daemon.await_edge("web", "db", |edge| edge["dst"]["namespace"] == "data")?;
    let source = await_source(&daemon, |source| source["entries"] == 2)?;
    assert_eq!(source["error"], Value::Null);
    Ok(())
}

#[test]
fn the_first_flow_of_a_young_pod_has_its_name() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut runtime = Runtime::start(&scene.node)?;
    let daemon = Daemon::start(&scene.node)?;
    let tap = daemon.tap()?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &HTTP)?;
    for n in 0..5 {
        let name = format!("young{n}");
        let pod = runtime.pod("shop", &name)?;
        std::thread::sleep(Duration::from_millis(200));
        let port = scene.connect(&pod, addr, &HTTP)?[0].local.port();
        // Whatever is reported about it first.
        let flow = tap.find(|flow| flow["src"]["port"] == port)?;
        assert_eq!(flow["src"]["name"], name, "{flow:#}");
        assert_eq!(flow["dst"]["name"], "db");
    }
    Ok(())
}

#[test]
fn an_address_used_again_at_once_has_its_new_pods_name() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut runtime = Runtime::start(&scene.node)?;
    runtime.give_only("10.44.7.7".parse()?)?;
    let daemon = Daemon::start(&scene.node)?;
    let tap = daemon.tap()?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &HTTP)?;
    for n in 0..4 {
        let name = format!("heir{n}");
        let pod = runtime.pod("shop", &name)?;
        assert_eq!(pod.ips[0], "10.44.7.7".parse::<IpAddr>()?);
        let port = scene.connect(&pod, addr, &HTTP)?[0].local.port();
        let flow = tap.find(|flow| flow["src"]["port"] == port && flow["event"] == "closed")?;
        assert_eq!(flow["src"]["name"], name, "{flow:#}");
    }
    for n in 0..4 {
        daemon.await_edge(&format!("heir{n}"), "db", |_| true)?;
    }
    Ok(())
}

#[test]
fn without_the_runtime_names_are_stale_and_with_it_again_they_are_not() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut runtime = Runtime::start(&scene.node)?;
    let daemon = Daemon::start(&scene.node)?;
    let tap = daemon.tap()?;
    let web = runtime.pod("shop", "worker")?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &HTTP)?;
    let told = |pod: &Sandbox| -> Result<Value> {
        let port = scene.connect(pod, addr, &HTTP)?[0].local.port();
        tap.find(|flow| flow["src"]["port"] == port && flow["event"] == "closed")
    };
    let flow = told(&web)?;
    assert_eq!(flow["src"]["name"], "worker");
    assert_eq!(flow["src"]["stale_seconds"], Value::Null);

    runtime.pause()?;
    let source = await_source(&daemon, |source| source["error"] != Value::Null)?;
    let error = source["error"].as_str().unwrap_or_default();
    assert!(error.contains("containerd.sock"), "{error}");
    let flow = told(&web)?;
    assert_eq!(flow["src"]["name"], "worker");
    assert!(flow["src"]["stale_seconds"].is_u64(), "{flow:#}");
    assert_eq!(
        flow["dst"]["stale_seconds"],
        Value::Null,
        "its name is from elsewhere"
    );
    daemon.await_edge("worker", "db", |edge| edge["src"]["stale_seconds"].is_u64())?;

    runtime.resume()?;
    await_source(&daemon, |source| source["error"] == Value::Null)?;
    assert_eq!(told(&web)?["src"]["stale_seconds"], Value::Null);
    let late = runtime.pod("shop", "late")?;
    assert_eq!(told(&late)?["src"]["name"], "late");
    Ok(())
}

#[test]
fn a_hundred_pods() -> Result<()> {
    const PODS: usize = 100;
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut runtime = Runtime::start(&scene.node)?;
    let daemon = Daemon::start(&scene.node)?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &HTTP)?;
    let began = Instant::now();
    let pods = (0..PODS)
        .map(|n| runtime.pod("load", &format!("pod{n:03}")))
        .collect::<Result<Vec<_>>>()?;
    println!("{PODS} pods in {:?}", began.elapsed());
    await_source(&daemon, |source| source["entries"] == PODS)?;
    daemon.await_interfaces(PODS + 2)?;
    for pod in &pods {
        scene.connect(pod, addr, &HTTP)?;
    }
    daemon.await_edge("pod099", "db", |_| true)?;
    let edges = daemon.edges()?;
    let named = edges
        .iter()
        .filter(|edge| edge["src"]["namespace"] == "load");
    assert_eq!(named.count(), PODS, "{edges:#?}");
    Ok(())
}

#[test]
fn a_second_interface_is_its_pods_too() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut runtime = Runtime::start(&scene.node)?;
    let daemon = Daemon::start(&scene.node)?;
    let tap = daemon.tap()?;
    let pod = runtime.pod("shop", "two-faced")?;
    await_source(&daemon, |source| source["entries"] == 1)?;
    // As Multus would add one to a running pod, in a network that the runtime does not know.
    ip("link add extra0 type veth peer name net1\n\
        addr add 10.77.0.1/24 dev extra0\n\
        link set extra0 up\n")?;
    ip(&format!("link set net1 netns {}\n", pod.pid))?;
    enter(pod.net(), || {
        ip("addr add 10.77.0.2/24 dev net1\nlink set net1 up\n")
    })??;
    let addr = at("10.77.0.2".parse()?, 8080);
    let _server = scene.serve(&pod, addr, &HTTP)?;
    daemon.await_interfaces(4)?;
    let node = scene.probe(addr)?;
    let port = node[0].local.port();
    let flow = tap.find(|flow| flow["src"]["port"] == port && flow["event"] == "closed")?;
    assert_eq!(flow["dst"]["name"], "two-faced", "{flow:#}");
    // A request from the node itself, like the kubelet's.
    assert_eq!(flow["src"]["kind"], "node");
    assert_eq!(flow["exempt"]["class"], "kubelet-probe");
    Ok(())
}

#[test]
fn a_pod_that_no_source_knows_is_told_by_its_interface() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut runtime = Runtime::start(&scene.node)?;
    let daemon = Daemon::start_with(&scene.node, &["--no-cri"])?;
    let tap = daemon.tap()?;
    let pod = runtime.pod("shop", "stranger")?;
    daemon.await_interfaces(3)?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &HTTP)?;
    let port = scene.connect(&pod, addr, &HTTP)?[0].local.port();
    let flow = tap.find(|flow| flow["src"]["port"] == port && flow["event"] == "closed")?;
    assert_eq!(flow["src"]["kind"], "unknown", "{flow:#}");
    let note = flow["notes"][0].as_str().unwrap_or_default();
    let expected = format!("unknown-pod: {} is behind interface veth", pod.ips[0]);
    assert!(note.starts_with(&expected), "{note}");
    Ok(())
}

#[test]
fn runtime_and_api_complete_each_other_and_flows_outlive_both() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut runtime = Runtime::start(&scene.node)?;
    let api = ApiServer::start()?;
    let config = api.kubeconfig(scene.node.files())?.display().to_string();
    let args = ["--kubeconfig", &config, "--node-name", "n1"];
    let daemon = Daemon::start_with(&scene.node, &args)?;
    let tap = daemon.tap()?;
    let pod = runtime.pod("shop", "worker-7d9c5b-x2x4z")?;
    let mut object = apiserver::pod("shop", "worker", "n1", &pod.ips[0].to_string());
    // The first pod that this runtime has made.
    object["metadata"]["uid"] = "uid-1".into();
    api.apply("pods", object);
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &HTTP)?;
    let told = || -> Result<Value> {
        let port = scene.connect(&pod, addr, &HTTP)?[0].local.port();
        tap.find(|flow| flow["src"]["port"] == port && flow["event"] == "closed")
    };
    let deadline = Instant::now() + PATIENCE;
    while told()?["src"]["service_account"] != "worker-sa" {
        ensure!(Instant::now() < deadline, "{:#}", told()?);
    }
    let flow = told()?;
    assert_eq!(flow["src"]["name"], "worker", "{flow:#}");
    assert_eq!(flow["src"]["kind"], "deployment");
    assert_eq!(flow["src"]["stale_seconds"], Value::Null);

    api.fail(|faults| faults.down = true);
    runtime.pause()?;
    await_source(&daemon, |source| source["error"] != Value::Null)?;
    let deadline = Instant::now() + PATIENCE;
    while !told()?["src"]["stale_seconds"].is_u64() {
        ensure!(Instant::now() < deadline, "{:#}", told()?);
    }
    let flow = told()?;
    assert_eq!(flow["verdict"], "plaintext", "{flow:#}");
    assert_eq!(flow["src"]["name"], "worker");
    assert_eq!(flow["src"]["service_account"], "worker-sa");
    daemon.await_edge("worker", "db", |edge| edge["src"]["stale_seconds"].is_u64())?;
    let table = daemon.ask(&["status"])?;
    assert!(table.out.contains("stale since"), "{}", table.out);
    runtime.resume()
}

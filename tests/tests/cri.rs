//! Names from a real container runtime: containerd, runc and the bridge CNI plugin.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use mtls_tests::containerd::{Containerd, Sandbox};
use mtls_tests::daemon::Daemon;
use mtls_tests::netns::Node;
use mtls_tests::process::Process;
use mtls_tests::skip::{Need, runs_here};

const PATIENCE: Duration = Duration::from_secs(20);
const NEEDS: [Need; 2] = [Need::Root, Need::Containerd];

/// A node with containerd, and the daemon that asks it.
struct Ground {
    daemon: Daemon,
    containerd: Containerd,
    node: Node,
}

impl Ground {
    fn new() -> Result<Self> {
        let node = Node::new()?;
        let containerd = Containerd::start(&node)?;
        let daemon = watch(&node, &containerd)?;
        Ok(Self {
            daemon,
            containerd,
            node,
        })
    }
}

fn watch(node: &Node, containerd: &Containerd) -> Result<Daemon> {
    let endpoint = format!("unix://{}", containerd.socket().display());
    Daemon::start_with(node, &["--cri-endpoint", &endpoint])
}

/// A web server in a pod.
fn serve(pod: &Sandbox) -> Result<Process> {
    let mut server = Command::new("busybox");
    server.args(["httpd", "-f", "-p", "8080", "-h", "/nonexistent"]);
    let server = pod.start(server)?;
    pod.await_listener(8080)?;
    Ok(server)
}

/// One request from a pod to another; the answer is a 404, which is an answer.
fn request(from: &Sandbox, to: &Sandbox) -> Result<()> {
    let mut client = Command::new("busybox");
    client.args(["wget", "-q", "-O", "-", &format!("http://{}:8080/", to.ip())]);
    let mut client = from.start(client)?;
    client.wait(PATIENCE)?;
    let told = client.err.text();
    anyhow::ensure!(told.contains("404"), "{told}");
    Ok(())
}

#[test]
fn pods_of_a_real_runtime_have_their_names_and_workloads() -> Result<()> {
    if !runs_here(&NEEDS) {
        return Ok(());
    }
    let mut ground = Ground::new()?;
    let hash = [("pod-template-hash", "7d9c"), ("app", "web")];
    let web = ground.containerd.pod_with("shop", "web-7d9c-x2x4z", &hash, &[])?;
    let index = [("apps.kubernetes.io/pod-index", "0")];
    let db = ground.containerd.pod_with("data", "db-0", &index, &[])?;
    assert_eq!(db.addresses.len(), 2, "both families");
    // A real container, whose name says what it is.
    ground.containerd.container(&db, "linkerd-proxy", &["/bin/httpd", "-f", "-p", "8080"])?;
    db.await_listener(8080)?;
    let tap = ground.daemon.tap()?;
    request(&web, &db)?;
    let edge = ground
        .daemon
        .await_edge("web", "db", |edge| edge["verdict"] == "plaintext")?;
    assert_eq!(edge["src_namespace"], "shop");
    assert_eq!(edge["src_kind"], "deployment");
    assert_eq!(edge["dst_namespace"], "data");
    assert_eq!(edge["dst_kind"], "statefulset");
    let flow = tap.find(|flow| flow["dst"]["name"] == "db")?;
    assert_eq!(flow["src"]["pod"], "web-7d9c-x2x4z");
    assert_eq!(flow["dst"]["pod"], "db-0");
    // The server has a mesh's proxy, the client has none.
    assert_eq!(
        flow["notes"][0],
        "expected-mtls: peer-not-in-mesh: the client, shop/web-7d9c-x2x4z"
    );
    let status = ground.daemon.status()?;
    let source = source(&status, "cri")?;
    assert_eq!(source["entries"], 2);
    assert_eq!(source["error"], serde_json::Value::Null);
    Ok(())
}

fn source<'a>(status: &'a serde_json::Value, name: &str) -> Result<&'a serde_json::Value> {
    let sources = status["sources"].as_array().context("no sources")?;
    sources
        .iter()
        .find(|source| source["name"] == name)
        .with_context(|| format!("no source {name} in {sources:?}"))
}

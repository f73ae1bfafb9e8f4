//! A cluster of many nodes, queried by `kubectl mtls edges -A`. `cargo xtask bench cluster` runs
//! it.
//!
//! The client is the program itself, in a process of its own. Each node's daemon has the real API,
//! on its own loopback address, with edges that are generated on request. The Kubernetes API is
//! scripted: it lists the daemons, accepts every token, and forwards ports.

mod api;
mod edges;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mtls_core::record::identities::NodeEdges;
use mtls_core::record::{EdgeList, Joiner, Nodes, SCHEMA, Time, Watched};
use mtls_node::api::Access;
use mtls_node::daemon::simulated::Daemons;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use edges::Shape;

/// The requirements for a table of 1,000 nodes.
const MOST_TIME: Duration = Duration::from_secs(5);
const MOST_MERGING: Duration = Duration::from_secs(2);
const MOST_MEMORY: f64 = 400.0;

/// The address of a node's daemon.
fn address(node: usize) -> SocketAddr {
    let [high, low] = (node as u16 + 1).to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(127, 1, high, low).into(), api::PORT)
}

/// `--NAME VALUE`.
fn arg(name: &str) -> Option<String> {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    args.nth(1)
}

fn number(name: &str, otherwise: usize) -> Result<usize> {
    let text = arg(name);
    text.map_or(Ok(otherwise), |text| {
        text.parse().with_context(|| format!("{name} {text}"))
    })
}

fn main() -> Result<()> {
    let shape = Shape {
        nodes: number("--nodes", 1_000)?,
        edges: number("--edges", 2_000)?,
    };
    let program = PathBuf::from(arg("--mtls").context("--mtls names the program")?);
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    let asked = runtime.block_on(ask(shape, program))?;
    runtime.shutdown_background();
    let merged = merge(shape)?;
    asked.print(shape, &merged);
    Ok(())
}

/// The cost of a query to all nodes.
struct Asked {
    time: Duration,
    /// CPU time of the client, on all cores.
    cpu: Duration,
    /// Peak resident memory, in MB.
    memory: f64,
    /// Bytes through the API server.
    bytes: u64,
    requests: u64,
    forwards: u64,
    reviews: u64,
    rows: usize,
    connections: u64,
}

async fn ask(shape: Shape, program: PathBuf) -> Result<Asked> {
    let server = Arc::new(api::Server::new(shape.nodes));
    let at = server.clone().start().await?;
    let config = kube::Config::new(format!("http://{at}").parse().context("an address")?);
    let client = kube::Client::try_from(config).context("a client of the script")?;
    let daemons = Daemons::default();
    for node in 0..shape.nodes {
        let edges = Box::new(move |most| shape.node(node, most));
        let access = Access::of(client.clone());
        let served = daemons.serve(address(node), access, edges::node_name(node), edges);
        tokio::spawn(async move { served.await.expect("a daemon that answers") });
    }
    let work = tempfile::tempdir().context("a directory")?;
    let kubeconfig = work.path().join("kubeconfig");
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{at}")}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    std::fs::write(&kubeconfig, config.to_string()).context("write the kubeconfig")?;
    let answer = work.path().join("answer.json");
    let run = tokio::task::spawn_blocking(move || one(&program, &kubeconfig, &answer));
    let (time, cpu, memory, list) = run.await.context("ask")??;
    let items = list["items"].as_array().context("no edges")?;
    ensure!(
        list["nodes"]["answered"] == shape.nodes,
        "not every node answered: {}",
        list["nodes"]
    );
    ensure!(
        items.iter().all(|edge| edge["reporter"] == "both"),
        "an edge of one side alone"
    );
    let connections = items.iter().filter_map(|edge| edge["connections"].as_u64());
    let count = |one: &std::sync::atomic::AtomicU64| one.load(Ordering::Relaxed);
    Ok(Asked {
        time,
        cpu,
        memory,
        bytes: count(&server.bytes),
        requests: count(&server.requests),
        forwards: count(&server.forwards),
        reviews: count(&server.reviews),
        rows: items.len(),
        connections: connections.sum(),
    })
}

/// Queries once; returns the time, the client's CPU time and memory, and its answer.
fn one(
    program: &Path,
    kubeconfig: &Path,
    answer: &Path,
) -> Result<(Duration, Duration, f64, Value)> {
    let out = std::fs::File::create(answer).context("a file for the answer")?;
    let begun = Instant::now();
    let output = Command::new(program)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--daemon-namespace", "mtls", "edges", "-A", "-o", "json"])
        .stdout(out)
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("start {}", program.display()))?;
    let time = begun.elapsed();
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // The only child process so far.
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("ask for its usage")?;
    let seconds = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64)
    };
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    let list = std::fs::read(answer).context("read the answer")?;
    let list = serde_json::from_slice(&list).context("understand the answer")?;
    Ok((time, cpu, usage.max_rss() as f64 / 1e3, list))
}

/// The parts of the client's work, one after the other on one core.
struct Merged {
    reading: Duration,
    merging: Duration,
    bytes: u64,
}

fn merge(shape: Shape) -> Result<Merged> {
    let mut joiner = Joiner::default();
    let (mut reading, mut merging) = (Duration::ZERO, Duration::ZERO);
    let mut bytes = 0;
    for node in 0..shape.nodes {
        let (items, identities) = shape.node(node, shape.connections_asked());
        let edges = EdgeList {
            schema: SCHEMA,
            node: Some(edges::node_name(node)),
            generated: Time::default(),
            window_seconds: 600,
            nodes: None,
            watched: Watched::default(),
            items,
        };
        let text = serde_json::to_vec(&NodeEdges { edges, identities })?;
        bytes += text.len() as u64;
        let begun = Instant::now();
        let answer: NodeEdges = serde_json::from_slice(&text)?;
        reading += begun.elapsed();
        let begun = Instant::now();
        joiner.add(answer);
        merging += begun.elapsed();
    }
    let begun = Instant::now();
    let list = joiner.finish(Nodes::default());
    merging += begun.elapsed();
    ensure!(!list.items.is_empty(), "nothing came of it");
    Ok(Merged {
        reading,
        merging,
        bytes,
    })
}

impl Asked {
    fn print(&self, shape: Shape, merged: &Merged) {
        let met = |met: bool| if met { "met" } else { "NOT MET" };
        let row = |what: &str, value: String, wanted: &str| {
            println!("{what:<34}{value:>14}  {wanted}");
        };
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        println!("{} nodes with {} edges each", shape.nodes, shape.edges);
        let nodes = shape.nodes as u64;
        row("rows of the table", self.rows.to_string(), "");
        let real = shape.connections();
        row(
            "connections, counted / real",
            format!("{:.4}", self.connections as f64 / real as f64),
            "",
        );
        row(
            "time, daemons on the same cores",
            seconds(self.time),
            &format!("≤ 5 s: {}", met(self.time <= MOST_TIME)),
        );
        row("CPU time of the asker", seconds(self.cpu), "");
        row("  reading answers, one core", seconds(merged.reading), "");
        row(
            "  merging, one core",
            seconds(merged.merging),
            &format!("≤ 2 s: {}", met(merged.merging <= MOST_MERGING)),
        );
        row(
            "memory of the asker",
            format!("{:.0} MB", self.memory),
            &format!("≤ 400 MB: {}", met(self.memory <= MOST_MEMORY)),
        );
        let mb = |bytes: u64| format!("{:.2} MB", bytes as f64 / 1e6);
        row("an answer, uncompressed", mb(merged.bytes / nodes), "");
        row("over the API server, a node", mb(self.bytes / nodes), "");
        row("over the API server, all", mb(self.bytes), "");
        row("requests of the asker", self.requests.to_string(), "");
        row("  of these, port-forwards", self.forwards.to_string(), "");
        row("reviews, by the daemons", self.reviews.to_string(), "");
    }
}

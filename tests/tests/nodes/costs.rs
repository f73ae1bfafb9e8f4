//! The daemons' costs in the cluster, printed and compared with the chart's limits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mtls_tests::nodes::{MTLS, Nodes, items};
use serde_json::Value;

use super::asked::everywhere;
use super::cluster;

/// Seconds of measurement.
const WATCHED: u64 = 20;
/// Queries of all nodes, to average the cost.
const QUESTIONS: u32 = 20;

/// Milliseconds of CPU time that a process of a node has used, according to the node.
fn cpu(nodes: &Nodes, node: &str, pid: &str) -> Result<f64> {
    let stat = nodes.run(node, "cat", &[&format!("/proc/{pid}/stat")])?;
    // After the name, which may contain anything: proc_pid_stat(5), in hundredths of a second.
    let (_, stat) = stat.rsplit_once(") ").context("an odd stat")?;
    let field = |at: usize| stat.split(' ').nth(at)?.parse::<f64>().ok();
    let (user, system) = (field(11), field(12));
    Ok(10.0 * (user.context("no utime")? + system.context("no stime")?))
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn what_it_costs() -> Result<()> {
    let nodes = cluster()?;
    let mut before = Vec::new();
    for node in ["node1", "node2"] {
        let pid = nodes.run(node, "pgrep", &["-x", "mtls"])?;
        let pid = pid.lines().next().context("no daemon")?.to_owned();
        before.push((node, cpu(nodes, node, &pid)?, pid));
    }
    std::thread::sleep(Duration::from_secs(WATCHED));
    for (node, before, pid) in before {
        let cpu = (cpu(nodes, node, &pid)? - before) / WATCHED as f64;
        let file = |name: &str| nodes.run(node, "cat", &[&format!("/proc/{pid}/{name}")]);
        let field = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?.trim();
            line.split(' ').next()?.parse::<f64>().ok()
        };
        let memory = field(&file("smaps_rollup")?, "Pss:").context("no Pss")? / 1024.0;
        let peak = field(&file("status")?, "VmHWM:").context("no VmHWM")? / 1024.0;
        println!(
            "{node}: the daemon has {memory:.1} MiB (PSS; {peak:.1} MiB resident at most) and takes \
             {cpu:.1} milli-CPU"
        );
        // The chart's limit, with a margin.
        ensure!(peak < 256.0 * 0.75, "{peak} MiB of 256");
    }
    let asked = requests(nodes)?;
    println!("requests to the API server so far, all daemons since the first:");
    for (what, count) in &asked {
        println!("  {count:4}  {what}");
    }
    // Only what the role permits, and at least one list or watch of each resource.
    for resource in ["pods", "services", "namespaces", "endpointslices"] {
        ensure!(
            asked.keys().any(|key| key.ends_with(resource)),
            "{resource} was not asked for"
        );
    }
    // Names are listed and watched; callers are authenticated and authorised.
    let is_known = |key: &String| {
        let is_review = REVIEWS.iter().any(|review| key.ends_with(review));
        is_review || key.contains(": list ") || key.contains(": watch ")
    };
    ensure!(asked.keys().all(is_known), "{asked:?}");
    let daemons = nodes.get(&["get", "pods", "-n", MTLS])?;
    ensure!(items(&daemons).count() == 2);
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn what_a_question_costs() -> Result<()> {
    let nodes = cluster()?;
    let server = nodes.run("node1", "cat", &["/run/pids/kube-apiserver"])?;
    let server = server.trim();
    let reviews = |asked: &BTreeMap<String, u32>| -> u32 {
        let all = asked.iter();
        let reviews = all.filter(|(key, _)| REVIEWS.iter().any(|review| key.ends_with(review)));
        reviews.map(|(_, count)| count).sum()
    };
    let (before, cpu_before) = (reviews(&requests(nodes)?), cpu(nodes, "node1", server)?);
    let begun = Instant::now();
    for _ in 0..QUESTIONS {
        everywhere(nodes)?;
    }
    let time = begun.elapsed() / QUESTIONS;
    let cpu = (cpu(nodes, "node1", server)? - cpu_before) / f64::from(QUESTIONS);
    let asked = f64::from(reviews(&requests(nodes)?) - before) / f64::from(QUESTIONS);
    println!(
        "a question to both nodes takes {} ms, and {cpu:.0} ms of the API server's CPU; the daemons make \
         {asked:.1} reviews of the caller",
        time.as_millis()
    );
    // Each daemon asks who owns the token, and what the owner may do.
    assert!((asked - 4.0).abs() < 0.1, "{asked} reviews");
    Ok(())
}

/// The daemons' requests about callers.
const REVIEWS: [&str; 2] = ["create tokenreviews", "create subjectaccessreviews"];

/// The daemons' requests to the API server with their counts: `node1: watch pods`.
pub(super) fn requests(nodes: &Nodes) -> Result<BTreeMap<String, u32>> {
    let log =
        std::fs::read_to_string(nodes.file("log/node1/audit.log")).context("read the audit log")?;
    let mut asked = BTreeMap::default();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line)?;
        let node = event["user"]["extra"]["authentication.kubernetes.io/node-name"][0].as_str();
        let resource = event["objectRef"]["resource"].as_str().unwrap_or("?");
        let verb = event["verb"].as_str().unwrap_or("?");
        let node = node.unwrap_or("?");
        *asked
            .entry(format!("{node}: {verb} {resource}"))
            .or_default() += 1;
    }
    Ok(asked)
}

//! The chart, installed on a real two-node Kubernetes cluster, with real pods that communicate
//! through Services. `cargo xtask test --cluster` starts the cluster and runs these tests, one
//! after the other.

mod asked;
mod chart;
mod cookbook;
mod costs;
mod datagrams;
mod evidence;
mod shop;
mod verbs;

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mtls_tests::nodes::{MTLS, Nodes, edge, items, until};
use serde_json::Value;

use shop::{CALLS, SHOP, client};

/// The chart.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/chart");
/// Connections of each kind by each path.
const N: u64 = 5;

/// The cluster with the chart and the shop in it, set up by the first test.
fn cluster() -> Result<&'static Nodes> {
    static READY: OnceLock<std::result::Result<Nodes, String>> = OnceLock::new();
    let ready = READY.get_or_init(|| open().map_err(|error| format!("{error:#}")));
    ready.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn open() -> Result<Nodes> {
    let nodes = Nodes::new()?;
    nodes.kubectl(&["create", "namespace", MTLS])?;
    let label = "pod-security.kubernetes.io/enforce=privileged";
    // The second label is how `kubectl mtls` finds the daemons.
    let found = "mtls.internal/daemons=true";
    nodes.kubectl(&["label", "namespace", MTLS, label, found])?;
    install(&nodes, &[]).with_context(|| nodes.pods(MTLS))?;
    shop::open(&nodes)?;
    Ok(nodes)
}

/// Installs or upgrades the chart, and waits for its daemons.
fn install(nodes: &Nodes, args: &[&str]) -> Result<()> {
    let upgrade = ["upgrade", "--install", MTLS, CHART, "-n", MTLS];
    // Two nodes at a time are all there are.
    let fixed = ["--wait", "--timeout", "100s"];
    nodes.helm(&[&upgrade[..], &fixed, args].concat())?;
    Ok(())
}

/// Runs a client's script to its end; returns how many connections were answered.
fn run_client(nodes: &Nodes, name: &str, script: &str) -> Result<u64> {
    nodes.apply(&client(name, &format!("{CALLS}\n{script}")).to_string())?;
    until(&format!("the pod {name} to be done"), || {
        let log = nodes.kubectl(&["logs", "-n", SHOP, name])?;
        let answered = log.lines().filter(|line| *line == "answered").count() as u64;
        Ok(log.lines().any(|line| line == "done").then_some(answered))
    })
}

/// The number of an edge's connections per verdict, as JSON.
fn verdicts(edges: &[Value], src: &str, dst: &str) -> Result<Value> {
    let edge = edge(edges, src, dst).with_context(|| {
        let known = edges
            .iter()
            .map(|edge| format!("{} → {}", edge["src"]["name"], edge["dst"]["name"]));
        format!(
            "no edge {src} → {dst} among {}",
            known.collect::<Vec<_>>().join(", ")
        )
    })?;
    Ok(edge["verdict_counts"].clone())
}

/// Waits until an edge has exactly these verdicts.
fn expect(nodes: &Nodes, node: &str, src: &str, dst: &str, wanted: &Value) -> Result<()> {
    let mut last = Value::Null;
    let found = until(&format!("{src} → {dst} on {node}"), || {
        last = verdicts(&nodes.edges(node)?, src, dst)?;
        Ok((last == *wanted).then_some(()))
    });
    found.with_context(|| format!("{last} instead of {wanted}"))
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn every_connection_is_what_it_is_on_both_nodes_and_counted_once() -> Result<()> {
    let nodes = cluster()?;
    for (way, suffix) in [
        ("by-cluster-ip", ""),
        ("by-headless", "-headless"),
        ("by-ipv6", "-ipv6"),
    ] {
        let script = format!(
            "for i in $(seq {N}); do mtls13 mutual{suffix}; mtls12 mutual{suffix}; mtls13 near{suffix}
             tls single{suffix}; http plain{suffix}; mail mail{suffix}; done"
        );
        assert_eq!(
            run_client(nodes, way, &script)?,
            6 * N,
            "{way}: not all were answered"
        );
        for node in ["node1", "node2"] {
            // Which pod is behind a Service, its clients' node does not see: the Service names the edge.
            let called = if (way, node) == ("by-ipv6", "node1") {
                suffix
            } else {
                ""
            };
            let far = [
                ("mutual", "mtls", 2 * N),
                ("single", "tls", N),
                ("plain", "plaintext", N),
                ("mail", "plaintext", N),
            ];
            for (server, verdict, count) in far {
                let wanted = serde_json::json!({verdict: count});
                let server = format!("{server}{called}");
                expect(nodes, node, way, &server, &wanted).context(node)?;
            }
        }
        // Both ends are on node1: it sees each of these connections twice.
        expect(nodes, "node1", way, "near", &serde_json::json!({"mtls": N}))?;
        let edges = nodes.edges("node2")?;
        let mail = edge(&edges, way, "mail").context("no edge to the mail server")?;
        let reason = mail["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("asked for TLS"), "{reason}");
    }
    let six = asked::connections(nodes, "by-ipv6", "plain")?;
    ensure!(!six.is_empty(), "no connection by IPv6");
    for flow in &six {
        let ip = flow["dst"]["ip"].as_str().unwrap_or_default();
        ensure!(ip.starts_with("fd00:244:"), "{flow:#}");
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn node_ports_lead_to_their_service_and_other_nodes_have_names() -> Result<()> {
    let nodes = cluster()?;
    let script = format!(
        "for i in $(seq {N}); do for ip in 10.55.0.11 10.55.0.12; do
         call http://$ip:30080/; done; done"
    );
    assert_eq!(run_client(nodes, "by-node-port", &script)?, 2 * N);
    let all = serde_json::json!({"plaintext": 2 * N});
    expect(nodes, "node1", "by-node-port", "ported", &all)?;
    // The clients' addresses were translated to the nodes' on the way.
    let half = serde_json::json!({"plaintext": N});
    expect(nodes, "node2", "node1", "ported", &half)?;
    expect(nodes, "node2", "node2", "ported", &half)?;
    let edges = nodes.edges("node2")?;
    let from_node1 = edge(&edges, "node1", "ported").context("no edge")?;
    assert_eq!(from_node1["src"]["kind"], "node");
    // In the combined answer, each is one connection again, from the pod that made it.
    until("what the client made, and nothing of the nodes", || {
        let edges = asked::everywhere(nodes)?;
        let of = |src: &str| edge(&edges, src, "ported").map(|edge| &edge["verdict_counts"]);
        let once = of("by-node-port") == Some(&all);
        Ok((once && of("node1").is_none() && of("node2").is_none()).then_some(()))
    })?;
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn the_way_to_the_other_node_is_no_pods_and_the_status_says_so() -> Result<()> {
    let nodes = cluster()?;
    for node in ["node1", "node2"] {
        let status = nodes.status(node)?;
        let uplinks = &status["kernel"]["uplinks"];
        assert_eq!(uplinks[0]["name"], "eth0", "{status}");
        assert_eq!(uplinks[1], Value::Null);
        let watched = status["kernel"]["interfaces"]
            .as_array()
            .context("no interfaces")?;
        ensure!(!watched.is_empty(), "nothing is watched on {node}");
        ensure!(!watched.iter().any(|interface| interface["name"] == "eth0"));
        assert_eq!(status["kernel"]["not_attached"], serde_json::json!([]));
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn a_connection_through_a_service_is_told_of_once() -> Result<()> {
    let nodes = cluster()?;
    let pod = nodes.daemon("node1")?;
    let mut tap = nodes.command("node1", "kubectl")?;
    tap.args([
        "exec", "-n", MTLS, &pod, "--", "mtls", "tap", "-o", "jsonl", "--for", "25s",
    ]);
    let mut tap = mtls_tests::process::Process::start(tap)?;
    let script = format!("for i in $(seq {N}); do mtls13 mutual; mtls13 near; http plain; done");
    assert_eq!(run_client(nodes, "told-once", &script)?, 3 * N);
    let told = tap.succeed(Duration::from_mins(1))?;
    let mut events: std::collections::BTreeMap<String, Vec<String>> =
        std::collections::BTreeMap::default();
    for line in told.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        // Besides the connections, there are DNS queries for their servers' addresses.
        if event["src"]["name"] == "told-once" && event["transport"] == "tcp" {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let what = format!("{} {}", text(&event["event"]), text(&event["verdict"]));
            events.entry(text(&event["id"])).or_default().push(what);
        }
    }
    assert_eq!(events.len() as u64, 3 * N, "{events:?}");
    for (id, events) in &events {
        let news = events.iter().filter(|event| !event.starts_with("closed"));
        let first = events.first().map(String::as_str).unwrap_or_default();
        ensure!(
            matches!(first, "classified mtls" | "classified plaintext"),
            "{id}: {events:?}"
        );
        ensure!(
            !news.clone().any(|event| event.starts_with("revised")),
            "{id}: {events:?}"
        );
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn without_the_runtimes_socket_every_pod_of_a_node_is_known_to_be_watched() -> Result<()> {
    let nodes = cluster()?;
    for node in ["node1", "node2"] {
        until(&format!("every pod of {node} to be watched"), || {
            let on = format!("spec.nodeName={node},status.phase=Running");
            let pods = nodes.get(&["get", "pods", "-A", "--field-selector", &on])?;
            let own = items(&pods).filter(|pod| pod["spec"]["hostNetwork"] != true);
            let own = own.count();
            let coverage = &nodes.status(node)?["coverage"];
            let seen = [&coverage["pods"], &coverage["watched"]];
            if own > 0 && seen.iter().all(|n| **n == own) {
                assert_eq!(coverage["unwatched"], serde_json::json!([]));
                return Ok(Some(()));
            }
            anyhow::bail!("{own} pods, and {coverage}")
        })?;
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn probes_are_told_from_what_pods_say() -> Result<()> {
    let nodes = cluster()?;
    nodes.apply(include_str!("probed.yaml"))?;
    // By HTTP; and by a bare connection to a TLS server, which answers with an alert, to one that
    // sends a greeting, and to one that sends nothing.
    let servers = ["probed", "probed-tls", "probed-greeting", "probed-silent"];
    for server in servers {
        nodes.rolled_out(SHOP, &format!("deployment/{server}"))?;
    }
    let seen = |edges: &[Value], to: &str| {
        let probes = edge(edges, "node2", to)?;
        probes["exempt_counts"]["kubelet-probe"].as_u64()
    };
    until("probes of every server", || {
        let edges = nodes.edges("node2")?;
        let all = servers.iter().all(|to| seen(&edges, to) > Some(2));
        Ok(all.then_some(()))
    })?;
    // At any moment of a probe.
    for _ in 0..20 {
        let edges = nodes.edges("node2")?;
        for server in servers {
            let probes = edge(&edges, "node2", server).context("no edge")?;
            assert_eq!(probes["src"]["kind"], "node");
            assert_eq!(probes["mark"], Value::Null, "{probes:#}");
            assert_eq!(
                probes["verdict_counts"],
                serde_json::json!({}),
                "{probes:#}"
            );
            let exempt = probes["exempt_counts"].as_object().context("no counts")?;
            // One that was just opened has not yet shown that it sends nothing.
            let open = probes["open_connections"].as_u64();
            let others = exempt.iter().filter(|(class, _)| *class != "kubelet-probe");
            for (class, count) in others {
                ensure!(class == "no-data" && count.as_u64() <= open, "{probes:#}");
            }
        }
    }
    Ok(())
}

/// Checks that every edge of the shop is between named ends, with the right verdict.
fn nothing_wrong(nodes: &Nodes, after: &str) -> Result<()> {
    for node in ["node1", "node2"] {
        for edge in nodes.edges(node)? {
            // DNS queries go to a process of the node, over UDP.
            if edge["src"]["name"] != "busy" || edge["transport"] != "tcp" {
                continue;
            }
            let kind = edge["dst"]["kind"].as_str().unwrap_or_default();
            ensure!(
                matches!(kind, "deployment" | "service"),
                "{node}, after {after}: {edge}"
            );
            let allowed: &[&str] = match edge["dst"]["name"].as_str() {
                Some("mutual") => &["mtls"],
                Some("plain") => &["plaintext"],
                _ => continue,
            };
            // What was not seen from its start, or ended without data, says so.
            let honest = ["tls-unproven", "failed", "no-data", "unobserved"];
            for verdict in edge["verdict_counts"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, _)| key)
            {
                ensure!(
                    allowed.contains(&verdict.as_str()) || honest.contains(&verdict.as_str()),
                    "{node}, after {after}: {edge}"
                );
            }
        }
    }
    Ok(())
}

/// Waits until `busy` has made connections that were counted after this call, on both nodes.
fn goes_on(nodes: &Nodes, after: &str) -> Result<()> {
    let counted = |node: &str| -> Result<u64> {
        let edges = nodes.edges(node)?;
        let count = |dst: &str, verdict: &str| {
            edge(&edges, "busy", dst).and_then(|edge| edge["verdict_counts"][verdict].as_u64())
        };
        Ok(count("mutual", "mtls")
            .unwrap_or(0)
            .min(count("plain", "plaintext").unwrap_or(0)))
    };
    for node in ["node1", "node2"] {
        let before = counted(node)?;
        until(&format!("traffic on {node} after {after}"), || {
            Ok((counted(node)? > before).then_some(()))
        })?;
    }
    nothing_wrong(nodes, after)
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn nothing_wrong_is_told_whatever_ends_and_starts_again() -> Result<()> {
    let nodes = cluster()?;
    let script = format!("{CALLS}\nwhile :; do mtls13 mutual; http plain; sleep 0.2; done");
    nodes.apply(&client("busy", &script).to_string())?;
    goes_on(nodes, "the start")?;

    for server in ["mutual", "plain"] {
        nodes.kubectl(&[
            "rollout",
            "restart",
            "-n",
            SHOP,
            &format!("deployment/{server}"),
        ])?;
        nodes.rolled_out(SHOP, &format!("deployment/{server}"))?;
    }
    goes_on(nodes, "a rollout")?;

    let pod = nodes.daemon("node2")?;
    nodes.run("node2", "pkill", &["-KILL", "-x", "mtls"])?;
    until("the killed daemon to start again", || {
        let pod = nodes.get(&["get", "pod", "-n", MTLS, &pod])?;
        let state = &pod["status"]["containerStatuses"][0];
        Ok((state["restartCount"] == 1 && state["ready"] == true).then_some(()))
    })?;
    goes_on(nodes, "a killed daemon")?;

    for part in ["kubelet", "containerd"] {
        nodes.kill("node2", part)?;
        goes_on(nodes, &format!("a killed {part}"))?;
    }

    nodes.freeze("node1", "kube-apiserver", true)?;
    std::thread::sleep(Duration::from_mins(1));
    nodes.freeze("node1", "kube-apiserver", false)?;
    until("the API server", || {
        Ok(nodes.kubectl(&["get", "--raw", "/readyz"]).ok())
    })?;
    goes_on(nodes, "a minute without the API server")?;

    let before = nodes.daemon("node1")?;
    install(nodes, &["--set", "window=11m"])?;
    assert_ne!(
        nodes.daemon("node1")?,
        before,
        "the upgrade changed nothing"
    );
    goes_on(nodes, "helm upgrade")?;
    for node in ["node1", "node2"] {
        assert_eq!(nodes.status(node)?["window_seconds"], 660);
    }
    nodes.kubectl(&["delete", "pod", "busy", "-n", SHOP])?;
    Ok(())
}

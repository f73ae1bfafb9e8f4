//! The other verbs of `kubectl mtls`: individual connections, the check, and labels.

use anyhow::{Context, Result, ensure};
use mtls_tests::nodes::{Nodes, edge, items, until};
use serde_json::Value;

use super::asked::{admin, plugin, stderr};
use super::shop::SHOP;
use super::{N, cluster, run_client};

/// The plug-in's answer to a query about the shop.
fn ask(nodes: &Nodes, args: &[&str]) -> Result<Value> {
    let shop = ["-n", SHOP, "-o", "json"];
    let output = plugin(nodes, &admin(nodes), &[args, &shop].concat())?;
    ensure!(output.status.success(), "{args:?}: {}", stderr(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn connections_are_listed_once_selected_by_label_and_held_against_rules() -> Result<()> {
    let nodes = cluster()?;
    let script = format!("for i in $(seq {N}); do mtls13 mutual; http plain; mtls12 near; done");
    assert_eq!(run_client(nodes, "verbs", &script)?, 3 * N);

    let between = |to: &str| ask(nodes, &["flows", "--from", "verbs", "--to", to]);
    for (to, verdict) in [("mutual", "mtls"), ("plain", "plaintext"), ("near", "mtls")] {
        let list = until(&format!("{N} connections to {to}"), || {
            let list = between(to)?;
            let ended = items(&list).filter(|flow| flow["closed"] == true).count();
            Ok((ended as u64 == N).then_some(list))
        })?;
        assert_eq!(items(&list).count() as u64, N, "{list:#}");
        assert_eq!(list["nodes"]["answered"], 2, "{list:#}");
        for flow in items(&list) {
            assert_eq!(flow["verdict"], verdict, "{flow:#}");
            assert_eq!(flow["reporter"], "both", "{flow:#}");
            assert_eq!(flow["dst"]["kind"], "deployment", "{flow:#}");
            assert_eq!(flow["notes"], serde_json::json!([]), "{flow:#}");
        }
    }

    // Of the client alone; of a server with its clients; of nobody.
    let own = ask(nodes, &["edges", "-l", "app=verbs"])?;
    for edge in items(&own) {
        assert_eq!(edge["src"]["name"], "verbs", "{edge:#}");
    }
    let servers: Vec<Value> = items(&ask(nodes, &["edges", "-l", "app in (mutual,near)"])?)
        .cloned()
        .collect();
    ensure!(edge(&servers, "verbs", "mutual").is_some(), "{servers:#?}");
    ensure!(edge(&servers, "verbs", "near").is_some(), "{servers:#?}");
    ensure!(edge(&servers, "verbs", "plain").is_none(), "{servers:#?}");
    let nobody = ["edges", "-n", SHOP, "-l", "app=nobody"];
    let nobody = plugin(nodes, &admin(nodes), &nobody)?;
    let told = stderr(&nobody);
    ensure!(told.contains("no pod in shop has the labels"), "{told}");
    let wrong = plugin(nodes, &admin(nodes), &["edges", "-l", "app in ("])?;
    ensure!(!wrong.status.success() && wrong.stdout.is_empty());

    for (to, code) in [("mutual", 0), ("plain", 1), ("nowhere", 4)] {
        let gate = [
            "check",
            "--accept-partial",
            "-n",
            SHOP,
            "-l",
            "app=verbs",
            "--to",
            to,
        ];
        let gate = plugin(nodes, &admin(nodes), &gate)?;
        let said = String::from_utf8_lossy(&gate.stdout).into_owned() + &stderr(&gate);
        assert_eq!(gate.status.code(), Some(code), "{to}: {said}");
        ensure!(said.contains("2 of 2 nodes answered"), "{said}");
    }
    Ok(())
}

/// A server on its node's host network, and the API server.
const HOSTED: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: hosted, namespace: shop}
spec:
  selector: {matchLabels: {app: hosted}}
  template:
    metadata: {labels: {app: hosted}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 1
      nodeSelector: {kubernetes.io/hostname: node1}
      containers:
      - name: httpd
        image: localhost/busybox:1
        imagePullPolicy: Never
        command: [httpd, -f, -p, "9080", -h, /www]
        ports: [{containerPort: 9080}]
"#;

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn what_is_in_a_nodes_network_is_named_by_its_port() -> Result<()> {
    let nodes = cluster()?;
    nodes.apply(HOSTED)?;
    nodes.rolled_out(SHOP, "deployment/hosted")?;
    let script = format!(
        "for i in $(seq {N}); do call http://10.55.0.11:9080/; call http://10.55.0.11:10256/healthz
         call -k https://10.96.0.1/; call -k https://10.55.0.11:6443/; done"
    );
    assert_eq!(run_client(nodes, "to-hosts", &script)?, 4 * N);
    let edges = until("what went to the node's network", || {
        let edges = nodes.edges("node1")?;
        // There are two of the API server's, because it was called at its Service's port and at its
        // own.
        let n = |dst: &str| {
            let ours = edges
                .iter()
                .filter(|edge| edge["src"]["name"] == "to-hosts");
            let ours = ours.filter(|edge| edge["dst"]["name"] == dst);
            ours.filter_map(|edge| edge["connections"].as_u64())
                .sum::<u64>()
        };
        let seen = [n("hosted"), n("node1"), n("kubernetes")];
        Ok((seen == [N, N, 2 * N]).then_some(edges))
    })
    .with_context(|| format!("{:#?}", nodes.edges("node1")))?;
    for (name, kind, mark) in [
        ("hosted", "deployment", "clear"),
        ("node1", "node", "clear"),
        ("kubernetes", "service", "one-way"),
    ] {
        let edge = edge(&edges, "to-hosts", name).context("no edge")?;
        assert_eq!(edge["dst"]["kind"], kind, "{edge:#}");
        assert_eq!(edge["mark"], mark, "{edge:#}");
    }
    Ok(())
}

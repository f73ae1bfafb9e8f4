//! `kubectl mtls`: the whole cluster with one query, for callers with permission.

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mtls_tests::nodes::{MTLS, Nodes, edge, items, until};
use serde_json::{Value, json};

use super::shop::{CALLS, SHOP, client};
use super::{N, cluster, install, run_client};

/// A namespace of another tenant.
const TENANT: &str = "tenant";
/// The port of the daemons' API.
const API: &str = "http://127.0.0.1:9847";

/// Runs the plug-in on node1 as kubectl finds it, with a kubeconfig.
pub(super) fn plugin(nodes: &Nodes, kubeconfig: &str, args: &[&str]) -> Result<Output> {
    let mut command = nodes.command("node1", "kubectl")?;
    command.arg("mtls").args(args).env("KUBECONFIG", kubeconfig);
    command.output().context("start kubectl mtls")
}

pub(super) fn admin(nodes: &Nodes) -> String {
    nodes.file("pki/admin.kubeconfig").display().to_string()
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The edges in an answer that all nodes gave.
fn edges(output: &Output) -> Result<Vec<Value>> {
    ensure!(output.status.success(), "{}", stderr(output));
    ensure!(
        stderr(output).contains("2 of 2 nodes answered"),
        "{}",
        stderr(output)
    );
    let mut list: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(list["nodes"]["answered"], 2);
    match list["items"].take() {
        Value::Array(edges) => Ok(edges),
        other => anyhow::bail!("edges are no array: {other}"),
    }
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn asked_of_the_cluster_n_connections_are_n() -> Result<()> {
    let nodes = cluster()?;
    let script = format!(
        "for i in $(seq {N}); do mtls13 mutual; mtls12 mutual-headless; mtls13 near; tls single
         http plain-headless; mail mail; done"
    );
    assert_eq!(run_client(nodes, "asked", &script)?, 6 * N);
    let wanted = [
        ("mutual", json!({"mtls": 2 * N}), "mutual"),
        ("near", json!({"mtls": N}), "mutual"),
        ("single", json!({"tls": N}), "one-way"),
        ("plain", json!({"plaintext": N}), "clear"),
        ("mail", json!({"plaintext": N}), "clear"),
    ];
    let mut last = Vec::new();
    until("every connection once", || {
        let output = plugin(nodes, &admin(nodes), &["edges", "-A", "-o", "json"])?;
        last = edges(&output)?;
        Ok(wanted
            .iter()
            .all(|(server, counts, _)| {
                edge(&last, "asked", server).is_some_and(|edge| edge["verdict_counts"] == *counts)
            })
            .then_some(()))
    })
    .with_context(|| format!("{last:#?}"))?;
    for (server, _, mark) in &wanted {
        let edge = edge(&last, "asked", server).context("no edge")?;
        assert_eq!(edge["mark"], *mark, "{edge}");
        assert_eq!(edge["dst"]["kind"], "deployment", "{edge}");
        assert_eq!(edge["reporter"], "both", "{edge}");
        assert_eq!(edge["disagreements"], json!({}), "{edge}");
    }
    // Besides the connections, there are DNS queries for their servers' addresses.
    let ours = last.iter().filter(|edge| edge["src"]["name"] == "asked");
    let ours: Vec<_> = ours.filter(|edge| edge["transport"] == "tcp").collect();
    assert_eq!(ours.len(), wanted.len(), "{ours:#?}");
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn a_node_that_does_not_answer_is_named_and_every_verb_asks_the_cluster() -> Result<()> {
    let nodes = cluster()?;
    let kubeconfig = admin(nodes);
    let ask = |args: &[&str]| plugin(nodes, &kubeconfig, args);
    // As soon as both are ready after the previous test.
    for node in ["node1", "node2"] {
        nodes.daemon(node)?;
    }
    let status = ask(&["status", "-o", "json"])?;
    ensure!(status.status.success(), "{}", stderr(&status));
    let list: Value = serde_json::from_slice(&status.stdout)?;
    let statuses = list["items"].as_array().context("no list")?;
    let names: Vec<_> = statuses.iter().map(|one| one["node"].clone()).collect();
    assert_eq!(names, ["node1", "node2"]);
    let table = ask(&["status"])?;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    for node in ["node1", "node2"] {
        let heading = format!("node {node}\nmtls ");
        ensure!(table.contains(&heading), "{table}");
    }
    let doctor = ask(&["doctor"])?;
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(doctor.status.success(), "{told}");
    ensure!(told.contains("2 of 2 nodes answered"), "{told}");
    let table = ask(&["edges", "-A"])?;
    ensure!(String::from_utf8_lossy(&table.stdout).contains("edges"));

    nodes.run("node2", "pkill", &["-STOP", "-x", "mtls"])?;
    let partial = ask(&["edges", "-A", "-o", "json", "--node-timeout", "3"]);
    nodes.run("node2", "pkill", &["-CONT", "-x", "mtls"])?;
    let partial = partial?;
    assert_eq!(partial.status.code(), Some(4), "{}", stderr(&partial));
    let told = stderr(&partial);
    ensure!(
        told.contains("1 of 2 nodes answered; node2: timed out"),
        "{told}"
    );
    let list: Value = serde_json::from_slice(&partial.stdout)?;
    assert_eq!(list["nodes"]["silent"][0]["node"], "node2");

    let wrong = ask(&["edges", "-A", "--daemon-namespace", "kube-system"])?;
    ensure!(
        stderr(&wrong).contains("no daemons in the namespace kube-system"),
        "{}",
        stderr(&wrong)
    );
    Ok(())
}

/// The edges of the whole cluster.
pub(super) fn everywhere(nodes: &Nodes) -> Result<Vec<Value>> {
    edges(&plugin(
        nodes,
        &admin(nodes),
        &["edges", "-A", "-o", "json"],
    )?)
}

/// The connections between two workloads of the shop.
pub(super) fn connections(nodes: &Nodes, from: &str, to: &str) -> Result<Vec<Value>> {
    let ask = [
        "flows", "-n", SHOP, "--from", from, "--to", to, "-o", "json",
    ];
    let asked = plugin(nodes, &admin(nodes), &ask)?;
    let list: Value = serde_json::from_slice(&asked.stdout)?;
    Ok(items(&list).cloned().collect())
}

/// A kubeconfig of a user with only the permissions that the chart grants.
fn tenant(nodes: &Nodes) -> Result<String> {
    let text = nodes.kubectl(&["config", "view", "--raw", "-o", "json"])?;
    let mut config: Value = serde_json::from_str(&text)?;
    config["users"][0]["user"]["as"] = TENANT.into();
    let path = nodes.file("tenant.kubeconfig");
    std::fs::write(&path, config.to_string())?;
    Ok(path.display().to_string())
}

/// `curl` within a node; returns the status and the body.
fn get(nodes: &Nodes, node: &str, path: &str, more: &[&str]) -> Result<(String, String)> {
    let url = format!("{API}{path}");
    let fixed = [
        "-s",
        "-m",
        "20",
        "-g",
        "--path-as-is",
        "-w",
        "\n%{http_code}",
        &url,
    ];
    let mut command: Command = nodes.command(node, "curl")?;
    let output = command.args(fixed).args(more).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, code) = text.rsplit_once('\n').context("no status")?;
    Ok((code.to_owned(), body.to_owned()))
}

fn token(nodes: &Nodes, namespace: &str, audience: Option<&str>) -> Result<String> {
    let audience = audience.map(|audience| format!("--audience={audience}"));
    let mut args = vec!["create", "token", "mtls-viewer", "-n", namespace];
    args.extend(audience.as_deref());
    let token = nodes.kubectl(&args)?;
    Ok(format!("Authorization: Bearer {}", token.trim()))
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn a_tenant_sees_its_own_namespace_and_of_others_a_name() -> Result<()> {
    let nodes = cluster()?;
    nodes.kubectl(&["create", "namespace", TENANT])?;
    let mut pod = client(
        "renter",
        &format!("{CALLS}\nwhile :; do http plain.{SHOP}; sleep 0.5; done"),
    );
    pod["metadata"]["namespace"] = TENANT.into();
    // There are no certificates there.
    pod["spec"]["volumes"] = json!([]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([]);
    nodes.apply(&pod.to_string())?;
    // And the shop's own traffic, during the whole test.
    let script = format!("{CALLS}\nwhile :; do http plain; mtls13 mutual; sleep 0.2; done");
    nodes.apply(&client("shopper", &script).to_string())?;
    let viewers = json!([{"namespace": TENANT, "subjects": [{"kind": "User", "name": TENANT,
        "apiGroup": "rbac.authorization.k8s.io"}]}]);
    install(
        nodes,
        &["--set-json", &format!("viewers.namespaces={viewers}")],
    )?;

    let kubeconfig = tenant(nodes)?;
    let place = ["--daemon-namespace", MTLS];
    let ask = |args: &[&str]| plugin(nodes, &kubeconfig, &[args, &place].concat());
    let seen = until("the tenant's own edge", || {
        let seen = edges(&ask(&["edges", "-n", TENANT, "-o", "json"])?)?;
        Ok(edge(&seen, "renter", "plain").is_some().then_some(seen))
    })?;
    for edge in &seen {
        let ends = [&edge["src"]["namespace"], &edge["dst"]["namespace"]];
        ensure!(ends.iter().any(|end| *end == TENANT), "{edge}");
        let text = edge.to_string();
        ensure!(!text.contains(SHOP) && !text.contains("shopper"), "{text}");
    }
    let own = edge(&seen, "renter", "plain").context("no edge")?;
    assert_eq!(own["src"]["namespace"], TENANT);
    assert_eq!(own["dst"]["namespace"], Value::Null);
    assert_eq!(own["mark"], "clear");
    let tap = ask(&["tap", "-n", TENANT, "-o", "jsonl", "--for", "6s"])?;
    let told = String::from_utf8_lossy(&tap.stdout).into_owned();
    ensure!(told.contains("renter"), "{told}\n{}", stderr(&tap));
    ensure!(
        !told.contains("shopper") && !told.contains("\"shop\""),
        "{told}"
    );

    for args in [
        &["edges", "-A"][..],
        &["edges", "-n", SHOP],
        &["tap", "-A", "--for", "1s"],
        &["status"],
    ] {
        let refused = ask(args)?;
        ensure!(!refused.status.success(), "{args:?}");
        ensure!(refused.stdout.is_empty(), "{args:?}: {:?}", refused.stdout);
    }

    // The same token, without using the plug-in.
    let token = token(nodes, TENANT, Some("mtls"))?;
    let fine = get(
        nodes,
        "node1",
        "/v1/edges?namespace=tenant",
        &["-H", &token],
    )?;
    assert_eq!(fine.0, "200", "{}", fine.1);
    ensure!(
        fine.1.contains("renter") && !fine.1.contains("shopper"),
        "{}",
        fine.1
    );
    let paths = [
        "/v1/edges",
        "/v1/edges?namespace=",
        "/v1/edges?namespace=shop",
        "/v1/edges?namespace=*",
        "/v1/edges?namespace=tenant&namespace=shop",
        "/v1/edges?namespace=shop&namespace=tenant",
        "/v1/edges?namespace=tenant%26namespace%3Dshop",
        "/v1/edges?namespace=tenant%00shop",
        "/v1/edges?namespace=tenant,shop",
        "/v1/edges?Namespace=tenant",
        "/v1/edges/?namespace=tenant",
        "/v1/edges/../edges",
        "//v1/edges",
        "/v1/tap?namespace=shop",
        "/v1/tap",
        "/v1/status",
        "/v1/status?namespace=tenant",
        "/",
    ];
    let headers = [
        "X-Remote-User: admin",
        "Impersonate-User: admin",
        "Host: kubernetes",
        "X-Forwarded-Uri: /v1/edges?namespace=tenant",
        "X-HTTP-Method-Override: GET",
    ];
    for node in ["node1", "node2"] {
        for path in paths {
            let mut more = vec!["-H", &*token];
            more.extend(headers.iter().flat_map(|header| ["-H", header]));
            let (code, body) = get(nodes, node, path, &more)?;
            ensure!(
                matches!(&*code, "400" | "403" | "404"),
                "{path}: {code}\n{body}"
            );
            ensure!(!body.contains(SHOP), "{path}: {body}");
        }
    }
    let twice = ["-H", &*token, "-H", "Authorization: Bearer x"];
    assert_eq!(
        get(nodes, "node1", "/v1/edges?namespace=tenant", &twice)?.0,
        "401"
    );
    for pod in [("renter", TENANT), ("shopper", SHOP)] {
        nodes.kubectl(&["delete", "pod", pod.0, "-n", pod.1])?;
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn without_a_token_nothing_is_told_and_without_the_api_server_nobody_is_let_in() -> Result<()> {
    let nodes = cluster()?;
    // A process on the node's network, like any pod with `hostNetwork`.
    for path in [
        "/",
        "/v1/edges",
        "/v1/status",
        "/v1/tap",
        "/metrics",
        "/v1/none",
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let told = get(nodes, "node1", path, &["-X", method])?;
            assert_eq!(told, ("401".to_owned(), String::new()), "{method} {path}");
        }
    }
    // Invalid tokens, and tokens for another audience.
    let other = token(nodes, MTLS, None)?;
    for wrong in [
        "Authorization: Bearer x",
        "Authorization: Basic eDp4",
        &other,
    ] {
        let told = get(nodes, "node1", "/v1/edges", &["-H", wrong])?;
        assert_eq!(told, ("401".to_owned(), String::new()), "{wrong}");
    }
    // Nothing is reachable except from the node itself.
    let outside = nodes
        .command("node2", "curl")?
        .args(["-s", "-m", "3", "http://10.55.0.11:9847/v1/edges"])
        .output()?;
    assert_eq!(outside.status.code(), Some(7), "not refused: {outside:?}");

    let viewer = token(nodes, MTLS, Some("mtls"))?;
    let ask = || get(nodes, "node2", "/v1/status", &["-H", &viewer]);
    assert_eq!(ask()?.0, "200");
    nodes.freeze("node1", "kube-apiserver", true)?;
    // Answers are cached for ten seconds, and no longer.
    std::thread::sleep(Duration::from_secs(11));
    let closed = ask();
    nodes.freeze("node1", "kube-apiserver", false)?;
    let closed = closed?;
    assert_eq!(closed.0, "503");
    ensure!(!closed.1.contains("node2"), "{}", closed.1);
    until("the API server", || Ok((ask()?.0 == "200").then_some(())))
}

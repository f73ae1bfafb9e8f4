//! The documentation's cluster commands, run on a cluster; and the verbs that produce pages.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mtls_tests::browser::Browser;
use mtls_tests::docs::{Block, blocks, rewritten, shapes};
use mtls_tests::nodes::{Nodes, edge, items, until};
use mtls_tests::process::Process;
use serde_json::Value;

use super::asked::{admin, plugin, stderr};
use super::shop::{CALLS, client, namespace};
use super::{N, cluster};

/// The namespace in the pages' commands.
const STORE: &str = "store";
const PAGES: [&str; 3] = ["README.md", "docs/cookbook.md", "docs/cluster.md"];
const PROMPT: &str = "    $ kubectl mtls ";

/// The servers in the pages, and their client's connections, once both nodes have seen them and
/// every pod of the cluster is watched.
fn store(nodes: &Nodes) -> Result<()> {
    if nodes.kubectl(&["get", "pod", "web", "-n", STORE]).is_err() {
        namespace(nodes, STORE)?;
        nodes.apply(include_str!("store.yaml"))?;
        for server in ["cart", "search", "legacy"] {
            nodes.rolled_out(STORE, &format!("deployment/{server}"))?;
        }
        let script = format!(
            "{CALLS}\nfor i in $(seq {N}); do mtls13 cart; mtls12 cart; tls search; http legacy; done"
        );
        let mut web = client("web", &script);
        web["metadata"]["namespace"] = STORE.into();
        nodes.apply(&web.to_string())?;
    }
    until("every connection of the store", || {
        let asked = plugin(nodes, &admin(nodes), &["edges", "-n", STORE, "-o", "json"])?;
        let list: Value = serde_json::from_slice(&asked.stdout)?;
        let edges: Vec<Value> = items(&list).cloned().collect();
        let n = |dst: &str| edge(&edges, "web", dst)?["connections"].as_u64();
        let all = [n("cart"), n("search"), n("legacy")] == [Some(2 * N), Some(N), Some(N)];
        let pods = list["watched"]["pods"].as_u64().context("no pods")?;
        let all = all && list["watched"]["pods_watched"] == pods;
        let joined = edges
            .iter()
            .all(|edge| edge["transport"] != "tcp" || edge["reporter"] == "both");
        Ok((all && joined).then_some(()))
    })
}

/// The output of a block's command, including the final lines on standard error.
fn printed(nodes: &Nodes, block: &Block) -> Result<Vec<String>> {
    let mut command = nodes.command("node1", "sh")?;
    command.args(["-c", &format!("kubectl mtls {} 2>&1", block.command)]);
    command.env("LC_ALL", "C.UTF-8");
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_answer = match output.status.code() {
        Some(0) => true,
        // A violation.
        Some(1) => block.command.starts_with("check "),
        _ => false,
    };
    ensure!(is_answer, "{text}");
    Ok(text
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn the_pages_show_what_a_cluster_answers() -> Result<()> {
    let nodes = cluster()?;
    store(nodes)?;
    let write = std::env::var_os("MTLS_DOCS").is_some_and(|value| value == "write");
    for page in PAGES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
        let mut text = std::fs::read_to_string(&path)?;
        let blocks = blocks(&text, PROMPT);
        ensure!(!blocks.is_empty(), "{page} asks nothing of a cluster");
        for block in blocks.iter().rev() {
            let printed = printed(nodes, block)
                .with_context(|| format!("{page}: `kubectl mtls {}`", block.command))?;
            if write {
                text = rewritten(&text, block, &printed);
            } else {
                assert_eq!(
                    shapes(&block.lines),
                    shapes(&printed),
                    "{page}: `kubectl mtls {}` prints something else now: run it with MTLS_DOCS=write",
                    block.command
                );
            }
        }
        if write {
            std::fs::write(&path, text)?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn a_report_of_the_cluster_is_whole() -> Result<()> {
    let nodes = cluster()?;
    store(nodes)?;
    let dir = nodes.file("report");
    let _ = std::fs::remove_dir_all(&dir);
    let to = dir.display().to_string();
    let made = plugin(nodes, &admin(nodes), &["report", &to, "-n", STORE])?;
    ensure!(made.status.success(), "{}", stderr(&made));
    ensure!(
        stderr(&made).contains("2 of 2 nodes answered"),
        "{}",
        stderr(&made)
    );
    let sums = [
        "-c",
        &format!("cd {to} && sha256sum --check --strict SHA256SUMS"),
    ];
    nodes.run("node1", "sh", &sums)?;
    let read =
        |name: &str| std::fs::read_to_string(dir.join(name)).with_context(|| name.to_owned());
    let page = read("report.html")?;
    for text in [
        "legacy",
        "search",
        "cart",
        "node1",
        "node2",
        "unencrypted http/1.1",
    ] {
        ensure!(page.contains(text), "the page says nothing of {text}");
    }
    let edges: Value = serde_json::from_str(&read("edges.json")?)?;
    let edges: Vec<Value> = items(&edges).cloned().collect();
    for (server, count, mark) in [
        ("cart", 2 * N, "mutual"),
        ("search", N, "one-way"),
        ("legacy", N, "clear"),
    ] {
        let edge = edge(&edges, "web", server).with_context(|| server.to_owned())?;
        assert_eq!(edge["connections"], count, "{edge:#}");
        assert_eq!(edge["mark"], mark, "{edge:#}");
    }
    Ok(())
}

/// Opens the page in a browser on node1: all edges, a filter, and the explanation of the worst one.
fn in_a_browser(nodes: &Nodes, address: &str) -> Result<()> {
    nodes.join_network("node1")?;
    let mut browser = Browser::start()?;
    browser.open(address)?;
    let rows = "document.querySelectorAll('#edges tbody tr').length";
    browser.wait(&format!("{rows} == 3"))?;
    browser.wait("document.querySelector('#edges tbody').innerText.includes('legacy')")?;
    browser.wait("document.querySelectorAll('#graph .line').length == 3")?;
    browser.screenshot("ui-cluster")?;
    browser.click("input[name=q]")?;
    browser.write("search")?;
    browser.wait(&format!("{rows} == 1"))?;
    browser.click("#edges tbody tr button")?;
    let steps = "document.querySelector('#steps').innerText";
    browser.wait(&format!(
        "{steps}.includes('did not request a client certificate')"
    ))?;
    browser.screenshot("ui-cluster-explanation")?;
    let complaints = browser.complaints()?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn the_page_on_localhost_and_the_live_screen_show_the_cluster() -> Result<()> {
    let nodes = cluster()?;
    store(nodes)?;
    let mut ui: Command = nodes.command("node1", "kubectl")?;
    ui.args(["mtls", "ui", "--no-open", "-n", STORE]);
    ui.env("KUBECONFIG", admin(nodes));
    let ui = Process::start(ui)?;
    let address = |line: &str| line.starts_with("http://").then(|| line.trim().to_owned());
    let address = ui.out.find(Duration::from_secs(20), address);
    let address = address.with_context(|| ui.told())?;
    let get = |path: &str| {
        nodes.run(
            "node1",
            "curl",
            &["-sf", "-m", "30", &format!("{address}{path}")],
        )
    };
    ensure!(get("")?.contains("<title>"), "no page");
    let list: Value = serde_json::from_str(&get("api/edges")?)?;
    let text = list.to_string();
    for server in ["cart", "search", "legacy"] {
        ensure!(
            text.contains(&format!("\"{server}\"")),
            "{server} is missing: {text}"
        );
    }
    ensure!(!text.contains("\"shop\""), "another namespace: {text}");
    // A thread of its own, as the browser runs in the node's network.
    std::thread::scope(|scope| {
        let seen = scope.spawn(|| in_a_browser(nodes, &address));
        seen.join()
            .unwrap_or_else(|_| bail!("the browser's thread panicked"))
    })?;

    // A terminal of 100 by 30, on which `q` is pressed after a while.
    let screen = "stty cols 100 rows 30; exec kubectl mtls top -n store";
    let script = format!("(sleep 6; printf q) | script -qec '{screen}' /dev/null");
    let mut top = nodes.command("node1", "sh")?;
    top.args(["-c", &script])
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8");
    let shown = Process::start(top)?.succeed(Duration::from_mins(1))?;
    for server in ["cart", "search", "legacy"] {
        ensure!(shown.contains(server), "{server} is missing: {shown:?}");
    }
    Ok(())
}

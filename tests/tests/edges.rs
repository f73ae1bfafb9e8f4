//! The edges: names, counts, and the worst flow first.

use std::collections::BTreeSet;

use anyhow::Result;
use mtls_tests::daemon::Daemon;
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use serde_json::json;

#[test]
fn the_worst_flow_names_the_edge_and_the_mix_is_shown() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let (secure, clear) = (at(scene.db.v4(), 8443), at(scene.db.v4(), 8080));
    let _secure = scene.serve(&scene.db, secure, &["--mode", "mtls"])?;
    let _clear = scene.serve(&scene.db, clear, &["--mode", "plain-http"])?;
    scene.connect(
        &scene.web,
        secure,
        &["--mode", "mtls", "--connections", "9"],
    )?;
    let edge = daemon.await_edge("web", "db", |edge| edge["verdict_counts"]["mtls"] == 9)?;
    assert_eq!(edge["mark"], "mutual", "{edge:#}");

    scene.connect(&scene.web, clear, &["--mode", "plain-http"])?;
    let edges = daemon.await_counts("web", "db", &[("plaintext", 1), ("mtls", 9)])?;
    let [clear, mutual] = edges.as_slice() else {
        panic!("an edge for each port: {edges:#?}");
    };
    assert_eq!(
        (&clear["dst"]["port"], &clear["mark"]),
        (&json!(8080), &json!("clear"))
    );
    assert_eq!(
        (&mutual["dst"]["port"], &mutual["mark"]),
        (&json!(8443), &json!("mutual"))
    );
    assert_eq!(
        mutual["coverage"],
        json!({ "complete": 9, "partial": 0, "unobserved": 0 })
    );
    assert_eq!(mutual["reporter"], "both");
    assert_eq!(mutual["tls_versions"]["values"], json!({ "1.3": 9 }));

    let table = daemon.ask(&["edges"])?.out;
    let mut lines = table.lines();
    let header: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    let columns = "NAMESPACE FROM TO PORT STATUS TLS CONNS LAST WHY";
    assert_eq!(header.join(" "), columns);
    // The worst first.
    for wanted in [
        "shop web db 8080 ✗ plaintext - 1",
        "shop web db 8443 ✓ mTLS 1.3 9",
    ] {
        let row: Vec<_> = lines.next().unwrap().split_whitespace().collect();
        assert!(row.join(" ").starts_with(wanted), "{row:?}");
    }
    let summary = lines.next().unwrap();
    assert!(
        summary.ends_with("2 edges, 1 mTLS, 1 plaintext; 2 of 2 pods watched"),
        "{summary}"
    );
    assert_eq!(lines.next(), None);
    Ok(())
}

#[test]
fn each_pair_is_there_once_with_its_own_verdict() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let admin = scene.node.pod("ops", "admin")?;
    let lone = scene.node.pod("", "lone")?;
    let daemon = Daemon::start(&scene.node)?;
    let addr = at(scene.db.v6(), 8443);
    let back = at(scene.web.v6(), 8080);
    let _db = scene.serve(&scene.db, addr, &["--mode", "mtls"])?;
    let _web = scene.serve(&scene.web, back, &["--mode", "plain-http"])?;
    for _ in 0..2 {
        scene.connect(&scene.web, addr, &["--mode", "mtls", "--requests", "5"])?;
        scene.connect(&admin, addr, &["--mode", "mtls", "--tls", "1.2"])?;
        scene.connect(&lone, back, &["--mode", "plain-http"])?;
        scene.connect(&scene.db, back, &["--mode", "plain-http"])?;
    }
    for (src, dst, verdict) in [
        ("web", "db", "mtls"),
        ("admin", "db", "mtls"),
        ("lone", "web", "plaintext"),
        ("db", "web", "plaintext"),
    ] {
        let edge = daemon.await_edge(src, dst, |edge| {
            edge["verdict_counts"] == json!({ verdict: 2 })
        })?;
        assert_eq!(edge["verdict"], verdict);
        assert_eq!(edge["src"]["kind"], "pod");
        let namespace = match src {
            "admin" => json!("ops"),
            "lone" => json!(null),
            _ => json!("shop"),
        };
        assert_eq!(edge["src"]["namespace"], namespace);
    }
    let edges = daemon.edges()?;
    let pairs: BTreeSet<_> = edges
        .iter()
        .map(|edge| {
            let keys = ["/src/namespace", "/src/name", "/dst/namespace", "/dst/name"];
            keys.map(|key| edge.pointer(key).map(ToString::to_string))
        })
        .collect();
    assert_eq!(pairs.len(), edges.len(), "{edges:#?}");
    assert_eq!(edges.len(), 4);

    // The same, a line each; and of one namespace only.
    let lines = daemon.ask(&["edges", "-o", "jsonl"])?.out;
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    assert_eq!(lines, edges);
    let ops = daemon.ask(&["edges", "-n", "ops", "-o", "jsonl"])?.out;
    assert_eq!(ops.lines().count(), 1, "{ops}");
    let wide = daemon.ask(&["edges", "-o", "wide"])?.out;
    let header: Vec<_> = wide.lines().next().unwrap().split_whitespace().collect();
    for column in [
        "CLIENT_ID",
        "SERVER_ID",
        "STATUS",
        "COMPLETE",
        "FIRST",
        "LAST",
    ] {
        assert!(header.contains(&column), "{wide}");
    }
    assert!(
        wide.contains("spiffe://cluster.local/ns/shop/sa/admin"),
        "{wide}"
    );
    Ok(())
}

#[test]
fn a_closed_connection_stays_listed_for_the_window() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start_with(&scene.node, &["--window", "3s"])?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    scene.connect(&scene.web, addr, &["--mode", "plain-http"])?;
    daemon.await_edge("web", "db", |edge| edge["open_connections"] == 0)?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(daemon.edges()?.len(), 1);
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(daemon.edges()?.len(), 0);
    Ok(())
}

#[test]
fn a_file_names_what_no_namespace_does() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let file = scene.node.files().join("pods");
    std::fs::write(
        &file,
        format!("{} kube-system/kubelet kubelet\n", scene.node.v4()),
    )?;
    let nowhere = scene.node.empty_dir()?;
    let args = ["--pods", file.to_str().unwrap(), "--netns-dir", &nowhere];
    let daemon = Daemon::start_over(&scene.node, &args)?;
    let addr = at(scene.db.v4(), 8080);
    let _server = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    scene.probe(addr)?;
    let edge = daemon.await_edge("kubelet", &scene.db.v4().to_string(), |edge| {
        edge["open_connections"] == 0
    })?;
    assert_eq!(edge["src"]["namespace"], "kube-system");
    assert_eq!(edge["dst"]["kind"], "unknown");
    Ok(())
}

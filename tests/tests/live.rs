//! Queries of a daemon that take time: changes, observation for a minute, and recordings.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use mtls_tests::bin;
use mtls_tests::daemon::{Daemon, mtls, run};
use mtls_tests::process::Process;
use mtls_tests::scene::{Scene, at};
use mtls_tests::skip::{Need, runs_here};
use nix::sys::signal::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
/// Delay between the connection of a client and its request.
const LISTENS: Duration = Duration::from_millis(500);

/// Starts `mtls ARGS` with this daemon.
fn start(daemon: &Daemon, args: &[&str]) -> Result<Process> {
    let mut command = Command::new(bin::mtls()?);
    command.args(args).arg("--socket").arg(daemon.socket());
    command.env("LC_ALL", "C.UTF-8");
    let process = Process::start(command)?;
    std::thread::sleep(LISTENS);
    Ok(process)
}

#[test]
fn watched_edges_are_printed_when_they_come_and_when_they_change() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let addr = at(scene.db.v4(), 8443);
    let server = scene.serve(&scene.db, addr, &["--mode", "mtls"])?;
    let watch = start(&daemon, &["edges", "--watch", "-o", "jsonl"])?;
    scene.connect(&scene.web, addr, &["--mode", "mtls"])?;
    let seen = |verdict: &str| {
        let verdict = verdict.to_owned();
        watch.out.find(PATIENCE, move |line| {
            let edge: Value = serde_json::from_str(line).ok()?;
            (edge["verdict"] == verdict && edge["dst"]["name"] == "db").then_some(())
        })
    };
    seen("mtls").with_context(|| watch.told())?;
    // The same port, and worse.
    drop(server);
    let _clear = scene.serve(&scene.db, addr, &["--mode", "plain-http"])?;
    scene.connect(&scene.web, addr, &["--mode", "plain-http"])?;
    seen("plaintext").with_context(|| watch.told())?;
    // Only edges were printed.
    for line in watch.out.all() {
        serde_json::from_str::<Value>(&line).with_context(|| line.clone())?;
    }
    Ok(())
}

#[test]
fn a_gate_that_waits_judges_what_it_saw_meanwhile() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let (clear, secure) = (at(scene.db.v4(), 8080), at(scene.db.v4(), 8443));
    let _clear = scene.serve(&scene.db, clear, &["--mode", "plain-http"])?;
    let _secure = scene.serve(&scene.db, secure, &["--mode", "mtls"])?;
    // Connections that ended before the check began do not count.
    scene.connect(&scene.web, clear, &["--mode", "plain-http"])?;
    daemon.await_counts("web", "db", &[("plaintext", 1)])?;
    let args = ["check", "--for", "3s", "-o", "json"];
    let mut waits = start(&daemon, &args)?;
    scene.connect(&scene.web, secure, &["--mode", "mtls"])?;
    let code = waits.wait(PATIENCE)?.code();
    assert_eq!(code, Some(0), "{}", waits.told());
    let mut waits = start(&daemon, &args)?;
    scene.connect(&scene.web, clear, &["--mode", "plain-http"])?;
    let code = waits.wait(PATIENCE)?.code();
    assert_eq!(code, Some(1), "{}", waits.told());
    // Nothing at all is not enough.
    let mut waits = start(&daemon, &args)?;
    let code = waits.wait(PATIENCE)?.code();
    assert_eq!(code, Some(4), "{}", waits.told());
    Ok(())
}

/// The result of `mtls classify` on a file: verdict and port of each connection.
fn classified(file: &Path) -> Result<Vec<(String, u64)>> {
    let file = file.to_str().context("a path that is text")?;
    let answer = mtls(["classify", "-o", "jsonl", file])?;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let flows = answer.out.lines().map(|line| {
        let flow: Value = serde_json::from_str(line)?;
        let verdict = flow["verdict"].as_str().context("a verdict")?;
        Ok((
            verdict.to_owned(),
            flow["dst"]["port"].as_u64().context("a port")?,
        ))
    });
    let mut flows: Vec<_> = flows.collect::<Result<_>>()?;
    flows.sort();
    flows.dedup();
    Ok(flows)
}

fn tshark(file: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(args);
    let answer = run(command)?;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    Ok(answer.out)
}

#[test]
fn a_recording_is_opened_by_tshark_and_classified_as_the_traffic_was() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Tshark]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let servers = [("mtls", 8443), ("tls", 8444), ("plain-http", 8080)];
    let mut running = Vec::new();
    for (mode, port) in servers {
        running.push(scene.serve(&scene.db, at(scene.db.v4(), port), &["--mode", mode])?);
    }
    let file = scene.node.files().join("all.pcapng");
    let closed = scene.node.files().join("tls.pcapng");
    let path = file.to_str().context("a path that is text")?;
    let other = closed.to_str().context("a path that is text")?;
    let record = ["record", "--for", "60s", "-w"];
    let mut with = start(&daemon, &[&record[..], &[path, "--payload"]].concat())?;
    let mut without = start(&daemon, &[&record[..], &[other]].concat())?;
    for (mode, port) in servers {
        scene.connect(&scene.web, at(scene.db.v4(), port), &["--mode", mode])?;
    }
    daemon.await_counts("web", "db", &[("mtls", 1), ("tls", 1), ("plaintext", 1)])?;
    std::thread::sleep(LISTENS);
    for recorder in [&mut with, &mut without] {
        recorder.signal(Signal::SIGINT)?;
        let code = recorder.wait(PATIENCE)?.code();
        assert_eq!(code, Some(0), "{}", recorder.told());
    }
    let of = |verdict: &str, port| (verdict.to_owned(), port);
    let expected = [of("mtls", 8443), of("plaintext", 8080), of("tls", 8444)];
    assert_eq!(classified(&file)?, expected, "{}", with.told());
    // Plaintext has only headers there, and therefore no useful verdict.
    let rest: Vec<_> = classified(&closed)?;
    assert!(
        rest.contains(&expected[0]) && rest.contains(&expected[2]),
        "{rest:?}"
    );
    assert!(
        !rest
            .iter()
            .any(|(verdict, port)| *port == 8080 && verdict != "unobserved"),
        "{rest:?}"
    );
    let bytes = std::fs::read(&closed)?;
    assert!(!bytes.windows(4).any(|word| word == b"GET "));
    assert!(std::fs::read(&file)?.windows(4).any(|word| word == b"GET "));
    // tshark finds the hellos, the comments and the names.
    let hellos = tshark(
        &file,
        &[
            "-Y",
            "tls.handshake.type==1",
            "-T",
            "fields",
            "-e",
            "tcp.dstport",
        ],
    )?;
    let hellos: std::collections::BTreeSet<_> = hellos.lines().map(str::trim).collect();
    assert_eq!(hellos.into_iter().collect::<Vec<_>>(), ["8443", "8444"]);
    let comments = tshark(
        &file,
        &["-Y", "frame.comment", "-T", "fields", "-e", "frame.comment"],
    )?;
    for part in [
        "shop/pod/web to shop/pod/db:8443: mtls (evidence: handshake-shape)",
        "plaintext",
    ] {
        assert!(comments.contains(part), "{part}: {comments}");
    }
    let names = tshark(&file, &["-N", "n", "-T", "fields", "-e", "ip.src_host"])?;
    assert!(names.contains("shop/pod/web"), "{names}");
    let wrong = tshark(&file, &["-Y", "_ws.malformed"])?;
    assert_eq!(wrong, "", "malformed packets");
    Ok(())
}

#[test]
fn an_inventory_of_a_node_counts_what_its_pods_agreed_on() -> Result<()> {
    if !runs_here(&[Need::Root]) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let daemon = Daemon::start(&scene.node)?;
    let (new, old) = (at(scene.db.v4(), 8443), at(scene.db.v4(), 8444));
    let _new = scene.serve(&scene.db, new, &["--mode", "mtls"])?;
    let _old = scene.serve(&scene.db, old, &["--mode", "mtls"])?;
    scene.connect(&scene.web, new, &["--mode", "mtls"])?;
    scene.connect(&scene.web, old, &["--mode", "mtls", "--tls", "1.2"])?;
    daemon.await_counts("web", "db", &[("mtls", 2)])?;
    let answer = daemon.ask(&["inventory", "--policy", "modern", "-o", "json"])?;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let made: Value = serde_json::from_str(&answer.out)?;
    assert_eq!(
        (&made["connections"], &made["tls_connections"]),
        (&2.into(), &2.into()),
        "{made:#}"
    );
    let hidden = &made["not_visible"];
    assert_eq!(
        (&hidden["certificates"], &hidden["groups"]),
        (&1.into(), &1.into()),
        "{made:#}"
    );
    // With TLS 1.2, both certificates are included, each with its owner.
    let shown = made["certificates"].as_array().context("certificates")?;
    let mut shown: Vec<_> = shown
        .iter()
        .map(|seen| seen["shown_by"][0]["role"].as_str().unwrap_or("?"))
        .collect();
    shown.sort_unstable();
    assert_eq!(shown, ["client", "server"], "{made:#}");
    let items = made["items"].as_array().context("items")?;
    let of = |port: u64| {
        items
            .iter()
            .find(|item| item["port"] == port)
            .context("an item")
    };
    assert!(
        of(8443)?["groups_offered"]["values"]
            .as_object()
            .is_some_and(|all| !all.is_empty())
    );
    let below = of(8444)?["below"].as_array().context("below")?;
    assert!(
        below
            .iter()
            .any(|one| one["aspect"] == "tls-version" && one["value"] == "1.2"),
        "{below:?}"
    );
    Ok(())
}

#[test]
fn a_directory_of_namespaces_that_is_not_there_is_an_error() -> Result<()> {
    for wrong in ["/nonexistent", "/etc/hostname"] {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("mtls.sock");
        let answer = run(Daemon::command(&socket, &["--netns-dir", wrong])?)?;
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(
            answer.err.contains("--netns-dir") && answer.err.contains(wrong),
            "{answer:?}"
        );
        assert!(!socket.exists());
    }
    Ok(())
}

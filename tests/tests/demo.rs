//! The demo as a newcomer meets it, and the capture that stands in for it where there is no root.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mtls_tests::daemon::mtls;
use mtls_tests::process::Process;
use mtls_tests::skip::{Need, runs_here};
use nix::sys::signal::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// Of the demo's pairs, what `mtls edges` says: source, destination, mark, verdict.
const PAIRS: [[&str; 4]; 6] = [
    ["batch", "cart", "✓", "mTLS (2)"],
    ["batch", "db", "✓", "mTLS (2)"],
    ["web", "cart", "✓", "mTLS (2)"],
    ["web", "db", "✓", "mTLS (2)"],
    ["web", "legacy", "✗", "plaintext (2)"],
    ["web", "search", "!", "TLS, server only (2)"],
];

#[test]
fn the_capture_that_is_shipped_shows_every_kind_of_connection() -> Result<()> {
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/data/demo.pcap");
    assert!(std::fs::metadata(capture)?.len() < 64 * 1024);
    let answer = mtls(["classify", "-o", "json", capture])?;
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let list: Value = serde_json::from_str(&answer.out)?;
    assert_eq!(list["schema"], 2);
    let flows = list["items"].as_array().context("no list")?;
    let mut told: Vec<_> = flows
        .iter()
        .map(|flow| {
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            let version = text(&flow["tls"]["version"]);
            [text(&flow["verdict"]), text(&flow["evidence"]), version]
        })
        .collect();
    told.sort();
    let wanted = [
        ["mtls", "certificates", "1.2"],
        ["mtls", "certificates", "1.2"],
        ["mtls", "handshake-shape", "1.3"],
        ["mtls", "handshake-shape", "1.3"],
        ["plaintext", "first-bytes", "-"],
        ["plaintext", "first-bytes", "-"],
        ["tls", "handshake-shape", "1.3"],
    ];
    assert_eq!(told, wanted);
    Ok(())
}

#[test]
fn the_demo_shows_each_pair_once_with_the_right_verdict() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let began = Instant::now();
    let out = Process::start(demo("whole"))?.succeed(PATIENCE)?;
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    let table = out
        .split("==> mtls edges\n")
        .nth(1)
        .and_then(|rest| rest.split("\n\n").next())
        .with_context(|| format!("no edges in:\n{out}"))?;
    let mut rows: Vec<Vec<_>> = table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    let summary = rows.pop().context("no summary")?.join(" ");
    let counts = "6 edges, 4 mutual, 1 server only, 1 in clear, 2 exempt connections";
    assert!(summary.contains(counts), "{summary}");
    for [src, dst, mark, verdict] in PAIRS {
        let is_it = |row: &&Vec<&str>| {
            row[..2] == [src, dst] && row[3..].join(" ") == format!("shop shop {mark} {verdict}")
        };
        let found = rows.iter().filter(is_it).count();
        assert_eq!(found, 1, "{src} {dst} {verdict} in\n{table}");
    }
    // And the probes, whose source is named after the machine.
    assert_eq!(rows.len(), PAIRS.len() + 1, "{table}");
    let probes = rows.iter().find(|row| row[0].starts_with("node/"));
    let probes = probes.with_context(|| format!("no probes in\n{table}"))?;
    let wanted = ["cart", "8080", "-", "shop", "-", "kubelet", "probe", "(2)"];
    assert_eq!(probes[1..], wanted);
    left_behind("whole")
}

#[test]
fn ctrl_c_ends_the_demo_and_all_that_it_started() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    for moment in [100, 400, 900, 1_500] {
        let name = format!("stopped-at-{moment}");
        let mut demo = Process::start(demo(&name))?;
        std::thread::sleep(Duration::from_millis(moment));
        demo.signal(Signal::SIGINT)?;
        demo.wait(PATIENCE)?;
        left_behind(&name)?;
    }
    Ok(())
}

/// The demo, with a name that all of its processes inherit.
fn demo(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mtls-demo"));
    command.env("MTLS_DEMO_TEST", mark(name));
    command
}

fn mark(name: &str) -> String {
    format!("{name}-of-{}", std::process::id())
}

/// An error when processes of the demo of that name live on.
fn left_behind(name: &str) -> Result<()> {
    let mark = format!("MTLS_DEMO_TEST={}", mark(name));
    let of_the_demo = |dir: &Path| {
        let environment = std::fs::read(dir.join("environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        variables.any(|variable| variable == mark.as_bytes())
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut left = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let dir = entry?.path();
            if of_the_demo(&dir) {
                left.push(std::fs::read_to_string(dir.join("comm")).unwrap_or_default());
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        assert!(Instant::now() < deadline, "left behind: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

//! The demo as a newcomer sees it, and the capture that replaces it without root access.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mtls_tests::daemon::mtls;
use mtls_tests::process::Process;
use mtls_tests::skip::{Need, runs_here};
use nix::sys::signal::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// The expected edges of the demo: source, destination, mark, verdict.
const PAIRS: [&str; 6] = [
    "shop web legacy 8080 ✗ plaintext - 2",
    "shop web search 8443 ! TLS, server only 1.3 2",
    "shop batch cart 8443 ✓ mTLS 1.3 2",
    "shop batch db 8443 ✓ mTLS 1.2 2",
    "shop web cart 8443 ✓ mTLS 1.3 2",
    "shop web db 8443 ✓ mTLS 1.2 2",
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
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let rows: Vec<String> = table.lines().skip(1).map(line).collect();
    for pair in PAIRS {
        let found = rows.iter().filter(|row| row.starts_with(pair)).count();
        assert_eq!(found, 1, "{pair} in\n{table}");
    }
    let [hidden, summary] = &rows[PAIRS.len()..] else {
        bail!("more or fewer lines than expected in\n{table}");
    };
    assert_eq!(hidden, "2 kubelet probes hidden (--all)");
    let counts = "6 edges, 4 mTLS, 1 server only, 1 plaintext; 6 of 6 pods watched";
    assert!(summary.ends_with(counts), "{summary}");
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

/// What a newcomer does after the demo: keep it open, and query its daemon from another terminal.
#[test]
fn the_demo_can_be_kept_open_and_queried() -> Result<()> {
    if !runs_here(&[Need::Root, Need::Openssl]) {
        return Ok(());
    }
    let mut command = demo("kept");
    command.arg("--keep");
    let mut demo = Process::start(command)?;
    let socket = demo
        .out
        .find(PATIENCE, |line| {
            let socket = line.trim().strip_prefix("export MTLS_SOCKET=")?;
            Some(socket.to_owned())
        })
        .with_context(|| demo.told())?;
    for round in 0..2 {
        let answer = mtls(["edges", "-o", "name", "--socket", &socket])?;
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let names: Vec<_> = answer.out.lines().collect();
        assert!(
            names.contains(&"shop/pod/web shop/pod/search:8443"),
            "{names:?}"
        );
        // Another round of connections comes by itself.
        if round == 0 {
            let tap = ["tap", "-o", "jsonl", "--max", "1", "--socket", &socket];
            let answer = mtls(tap)?;
            assert_eq!(answer.out.lines().count(), 1, "{answer:?}");
        }
    }
    demo.signal(Signal::SIGINT)?;
    let status = demo.wait(PATIENCE)?;
    assert!(status.success(), "{}", demo.told());
    assert!(!Path::new(&socket).exists(), "{socket} is left behind");
    left_behind("kept")
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

/// An error if processes of the demo with that name are still running.
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

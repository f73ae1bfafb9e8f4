//! `cargo xtask bench top`: how long `mtls top` takes from a key press to the end of the resulting
//! frame, with 10,000 edges on a 160x50 terminal.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mtls_core::record::{
    EdgeList, EdgeRecord, Kind, Mark, Peer, SCHEMA, Time, Verdict, Watched, Workload,
};
use serde::Serialize;

use crate::bin;

/// How many edges there are.
const EDGES: u16 = 10_000;
/// The slowest acceptable frame.
const BOUND: Duration = Duration::from_millis(60);
/// Every frame appears within this time.
const PATIENCE: Duration = Duration::from_mins(1);
/// The end of a frame: the end of a synchronised update.
const END: &[u8] = b"\x1b[?2026l";
/// The actions and their keys, each awaited.
const ACTIONS: [(&str, &str); 5] = [
    ("move", "jjjjjjjjjjjjjjjjjjjjkkkkkkkkkkkkkkkkkkkk"),
    ("jump", "GgGgGgGgGgGgGgGgGgGg"),
    ("sort", "ssssssssssssssssssrrrr"),
    ("verdicts", "1122334455112233445511223344"),
    (
        "filter",
        "/web-1 !9\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}cart-77 shop",
    ),
];

/// A row of the report, in milliseconds.
#[derive(Serialize)]
struct Row {
    action: &'static str,
    frames: usize,
    median_ms: f64,
    longest_ms: f64,
}

/// Measures, and prints a table or JSON; fails if a frame took longer than 60 ms.
pub fn run(json: bool) -> Result<()> {
    let work = std::env::temp_dir().join(format!("mtls-bench-top-{}", std::process::id()));
    std::fs::create_dir_all(&work)?;
    let file = work.join("edges.json");
    std::fs::write(&file, serde_json::to_vec(&edges())?)?;
    let rows = measure(&file);
    let _ = std::fs::remove_dir_all(&work);
    let rows = rows?;
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("| {EDGES} edges at 160x50 | frames | median | longest |\n|---|---|---|---|");
        for row in &rows {
            let Row { action, frames, .. } = row;
            let (median, longest) = (row.median_ms, row.longest_ms);
            println!("| {action} | {frames} | {median:.1} ms | {longest:.1} ms |");
        }
    }
    let longest = rows.iter().map(|row| row.longest_ms).fold(0.0, f64::max);
    ensure!(
        longest <= BOUND.as_secs_f64() * 1e3,
        "a frame took {longest:.1} ms: {} ms are allowed",
        BOUND.as_millis()
    );
    Ok(())
}

fn measure(file: &Path) -> Result<Vec<Row>> {
    // util-linux' `script` provides a terminal.
    let mtls = bin::mtls()?;
    let line = format!(
        "stty rows 50 cols 160; exec '{}' top --from '{}'",
        mtls.display(),
        file.display()
    );
    let mut script = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("run `script`, of Debian's bsdutils")?;
    let rows = press(&mut script);
    // It has ended with `q`, or will be ended.
    let _ = script.kill();
    script.wait()?;
    rows
}

fn press(script: &mut Child) -> Result<Vec<Row>> {
    let mut keys = script.stdin.take().context("a pipe")?;
    let frames = frames(script.stdout.take().context("a pipe")?);
    frames.recv_timeout(PATIENCE).context("no first frame")?;
    let mut rows = Vec::new();
    for (action, pressed) in ACTIONS {
        let mut took = Vec::new();
        for key in pressed.chars() {
            let begun = Instant::now();
            keys.write_all(key.to_string().as_bytes())?;
            keys.flush()?;
            let shown = frames.recv_timeout(PATIENCE);
            let shown = shown.with_context(|| format!("no frame after {key:?} of {action}"))?;
            took.push(shown.saturating_duration_since(begun).as_secs_f64() * 1e3);
        }
        took.sort_by(f64::total_cmp);
        rows.push(Row {
            action,
            frames: took.len(),
            median_ms: took[took.len() / 2],
            longest_ms: took[took.len() - 1],
        });
    }
    keys.write_all(b"\rq")?;
    Ok(rows)
}

/// When each frame ended.
fn frames(mut screen: impl Read + Send + 'static) -> Receiver<Instant> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut tail = Vec::new();
        let mut buffer = vec![0; 65_536];
        while let Ok(n @ 1..) = screen.read(&mut buffer) {
            let now = Instant::now();
            tail.extend_from_slice(&buffer[..n]);
            while let Some(at) = tail.windows(END.len()).position(|part| part == END) {
                tail.drain(..at + END.len());
                if sender.send(now).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

fn edges() -> EdgeList {
    let peer = |name: String, port| Peer {
        ip: None,
        port,
        workload: Some(Workload {
            name: name.into(),
            namespace: "shop".into(),
            kind: Kind::Deployment.into(),
            ..Workload::default()
        }),
    };
    let marks = [
        (Mark::Mutual, Verdict::Mtls),
        (Mark::Clear, Verdict::Plaintext),
        (Mark::OneWay, Verdict::Tls),
        (Mark::Unknown, Verdict::TlsUnproven),
    ];
    let items = (0..EDGES).map(|n| {
        let (mark, verdict) = marks[usize::from(n) % marks.len()];
        EdgeRecord {
            node: Some("node-1".into()),
            src: peer(format!("web-{}", n % 200), None),
            dst: peer(format!("cart-{}", n / 200), Some(8000 + n % 7)),
            mark: Some(mark.into()),
            verdict: Some(verdict.into()),
            reason: Some("client sent a certificate (inferred from its length)".into()),
            connections: u64::from(n % 97) + 1,
            verdict_counts: [(verdict.into(), u64::from(n % 97) + 1)].into(),
            last_seen: Time::from_nanos(u64::from(n) * 1_000_000_000),
            ..EdgeRecord::default()
        }
    });
    EdgeList {
        schema: SCHEMA,
        node: Some("node-1".into()),
        generated: Time::from_nanos(u64::from(EDGES) * 1_000_000_000),
        window_seconds: 600,
        nodes: None,
        watched: Watched::default(),
        items: items.collect(),
    }
}

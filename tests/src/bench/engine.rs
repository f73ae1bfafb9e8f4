//! `cargo xtask bench engine`: whether anything delays the thread that reads samples. It compares
//! the same load alone and with possible causes of delay: rebuilding the names of 10,000 pods,
//! queries, a burst of interfaces.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde::Serialize;

use super::load::{Generator, Load};
use crate::daemon::Daemon;
use crate::netns::ip;
use crate::scene::Scene;

/// How long each row's load lasts.
const TIME: Duration = Duration::from_secs(10);
/// Pods that have names.
const PODS: u32 = 10_000;
/// How often the names are rebuilt.
const RENAME: Duration = Duration::from_millis(500);
/// How often `status` and `edges` are each queried.
const ASK: Duration = Duration::from_millis(20);
/// Interfaces created at once, in the middle of the load.
const VETHS: usize = 300;
/// The daemon reads the last samples within this time.
const REST: Duration = Duration::from_millis(500);

/// What happens during the load.
#[derive(Clone, Copy, Default)]
struct Beside {
    names: bool,
    questions: bool,
    veths: bool,
}

/// A row of the report.
#[derive(Serialize)]
struct Row {
    beside: &'static str,
    connections: u64,
    seen: u64,
    samples: u64,
    lost: u64,
    longest_pause_ms: f64,
    names_built: u64,
    answers: usize,
    answer_median_ms: Option<f64>,
    answer_longest_ms: Option<f64>,
}

/// Measures, and prints a table or JSON.
pub fn run(json: bool) -> Result<()> {
    let crowd = u16::try_from(std::thread::available_parallelism()?.get())?;
    let mut rows = Vec::new();
    for (name, beside) in [
        ("nothing", Beside::default()),
        (
            "names of 10,000 pods",
            Beside {
                names: true,
                ..Beside::default()
            },
        ),
        (
            "100 questions/s",
            Beside {
                questions: true,
                ..Beside::default()
            },
        ),
        (
            "300 interfaces",
            Beside {
                veths: true,
                ..Beside::default()
            },
        ),
        (
            "all of it",
            Beside {
                names: true,
                questions: true,
                veths: true,
            },
        ),
    ] {
        eprintln!("beside the load: {name}");
        rows.push(measure(name, beside, crowd)?);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!(
        "{:<22}{:>8}{:>8}{:>9}{:>6}{:>10}{:>7}{:>9}{:>10}{:>11}",
        "BESIDE THE LOAD",
        "CONNS",
        "SEEN",
        "SAMPLES",
        "LOST",
        "PAUSE MS",
        "NAMES",
        "ANSWERS",
        "MEDIAN MS",
        "LONGEST MS"
    );
    let ms = |value: Option<f64>| value.map_or_else(|| "-".into(), |ms| format!("{ms:.1}"));
    for row in &rows {
        println!(
            "{:<22}{:>8}{:>8}{:>9}{:>6}{:>10.1}{:>7}{:>9}{:>10}{:>11}",
            row.beside,
            row.connections,
            row.seen,
            row.samples,
            row.lost,
            row.longest_pause_ms,
            row.names_built,
            row.answers,
            ms(row.answer_median_ms),
            ms(row.answer_longest_ms)
        );
    }
    Ok(())
}

fn measure(name: &'static str, beside: Beside, crowd: u16) -> Result<Row> {
    let scene = Scene::new()?;
    let generator = Generator::start(&scene.web, &scene.db, &scene.pki, crowd)?;
    let pods = scene.node.files().join("pods");
    std::fs::write(&pods, names())?;
    let pods = pods.to_str().context("a path that is no text")?;
    let daemon = Daemon::start_with(&scene.node, &["--no-cri", "--pods", pods])?;
    let into = scene.web.netns().display().to_string();
    let socket = daemon.socket().to_owned();
    let over = AtomicBool::new(false);
    let (done, names_built, mut answers) = std::thread::scope(|scope| {
        let names = scope.spawn(|| if beside.names { rename(&over) } else { Ok(0) });
        let askers = ["/v1/status", "/v1/edges"].map(|path| {
            let (socket, over) = (&socket, &over);
            scope.spawn(move || {
                if beside.questions {
                    ask(socket, path, ASK, over)
                } else {
                    Ok(Vec::new())
                }
            })
        });
        let veths = scope.spawn(|| if beside.veths { burst(&into) } else { Ok(()) });
        let done = generator.run(Load::Connect(crowd), TIME);
        over.store(true, Ordering::Relaxed);
        let mut answers = Vec::new();
        for asker in askers {
            answers.extend(joined(asker.join())?);
        }
        joined(veths.join())?;
        anyhow::Ok((done?, joined(names.join())?, answers))
    })?;
    std::thread::sleep(REST);
    let status = daemon.status()?;
    let count = |pointer: &str| {
        let value = status.pointer(pointer).and_then(serde_json::Value::as_u64);
        value.with_context(|| format!("no {pointer} in the status"))
    };
    let lost = ["ring_full", "map_full", "unreadable", "over_share"]
        .map(|reason| count(&format!("/kernel/counters/lost_{reason}")));
    let row = Row {
        beside: name,
        connections: done.connections,
        seen: count("/flows/seen")?,
        samples: count("/kernel/counters/sampled")?,
        lost: lost.into_iter().sum::<Result<u64>>()?,
        longest_pause_ms: count("/engine/longest_pause_us")? as f64 / 1e3,
        names_built,
        answers: answers.len(),
        answer_median_ms: {
            answers.sort_by(f64::total_cmp);
            answers.get(answers.len() / 2).copied()
        },
        answer_longest_ms: answers.last().copied(),
    };
    let ended = daemon.stop(Signal::SIGTERM)?;
    ensure!(ended.success(), "the daemon ended with {ended}");
    Ok(row)
}

pub(super) fn joined<T>(result: std::thread::Result<Result<T>>) -> Result<T> {
    result.map_err(|_| anyhow::anyhow!("a thread panicked"))?
}

/// A file of names for `--pods`.
fn names() -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for pod in 0..PODS {
        let [.., high, low] = pod.to_be_bytes();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "10.200.{high}.{low} bench/pod-{pod} account-{pod}");
    }
    text
}

/// Gives the node an address and removes it again: all names are rebuilt each time.
fn rename(over: &AtomicBool) -> Result<u64> {
    let mut built = 0;
    while !over.load(Ordering::Relaxed) {
        let verb = ["add", "del"][built as usize % 2];
        ip(&format!("addr {verb} 10.201.0.1/32 dev lo\n"))?;
        built += 1;
        std::thread::sleep(RENAME);
    }
    Ok(built)
}

/// Queries repeatedly, every `each`; returns the milliseconds that each answer took.
pub(super) fn ask(
    socket: &Path,
    path: &str,
    each: Duration,
    over: &AtomicBool,
) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let mut stream = UnixStream::connect(socket).context("connect to the daemon")?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: mtls\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let good = answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200");
        ensure!(good, "{path}: {}", String::from_utf8_lossy(&answer));
        took.push(asked.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(each.saturating_sub(asked.elapsed()));
    }
    Ok(took)
}

/// Creates this many interfaces at once that lead to a pod.
fn burst(into: &str) -> Result<()> {
    std::thread::sleep(TIME / 2);
    let line = |n| format!("link add vb{n} type veth peer name b{n} netns {into}\n");
    ip(&(0..VETHS).map(line).collect::<String>())
}

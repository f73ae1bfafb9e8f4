//! `cargo xtask bench flood`: what a hostile pod can do by volume alone. Each flood runs next to
//! the connections of two other pods; measured are the effects on these, on queries, and on memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde::Serialize;

use super::cgroup::Group;
use super::engine::{ask, joined};
use super::load::Generator;
use super::usage;
use crate::daemon::Daemon;
use crate::flood::{Flood, Flooder};
use crate::scene::Scene;

/// Interval between connections of the other pods.
const EACH: Duration = Duration::from_millis(5);
/// How often `status` and `edges` are each queried.
const ASK: Duration = Duration::from_millis(250);
/// How long they continue after the flood.
const AFTER: Duration = Duration::from_secs(2);
/// The daemon reads the last samples within this time.
const REST: Duration = Duration::from_secs(3);

/// The requirements: the share of the others' connections that are classified, bytes, milliseconds.
const SHARE: f64 = 0.99;
const MEMORY: u64 = 150 << 20;
const ANSWER_MS: f64 = 200.0;
const END_MS: f64 = 2_000.0;

/// Name, kind, number, and most per second.
const FLOODS: [(&str, Flood, u32, u32); 5] = [
    ("SYNs", Flood::Syns, 1_000_000, 100_000),
    ("hellos", Flood::Hellos, 400_000, 40_000),
    ("destinations", Flood::Destinations, 100_000, 10_000),
    ("half hellos", Flood::HalfHellos, 50_000, 5_000),
    ("half messages", Flood::HalfMessages, 50_000, 5_000),
];

/// A row of the report.
#[derive(Serialize)]
struct Row {
    flood: &'static str,
    sent: u32,
    seconds: f64,
    /// Connections of the other two pods, and how many of them were classified.
    others: u64,
    classified: u64,
    edges: u64,
    /// Samples lost, and connections evicted from the kernel's table.
    lost: u64,
    evicted: u64,
    /// Resident memory.
    peak_bytes: u64,
    /// What the kernel charges to the daemon's control group: in addition, the BPF maps and the
    /// page cache; in which the ring is counted once, although it is mapped twice.
    charged_bytes: Option<u64>,
    status_ms: Times,
    edges_ms: Times,
    end_ms: f64,
    /// Whether all requirements are met.
    met: bool,
}

/// How long answers took.
#[derive(Serialize)]
struct Times {
    median: f64,
    longest: f64,
}

impl Times {
    fn of(mut all: Vec<f64>) -> Result<Self> {
        all.sort_by(f64::total_cmp);
        let median = *all.get(all.len() / 2).context("no answer")?;
        let longest = *all.last().context("no answer")?;
        Ok(Self { median, longest })
    }
}

/// Measures, and prints a table or JSON.
pub fn run(json: bool) -> Result<()> {
    let mut rows = Vec::new();
    for flood in FLOODS {
        eprintln!("flood: {}", flood.0);
        rows.push(measure(flood)?);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!(
        "{:<15}{:>8}{:>6}{:>8}{:>12}{:>7}{:>8}{:>9}{:>9}{:>12}{:>16}{:>16}{:>8}  MET",
        "FLOOD",
        "SENT",
        "S",
        "OTHERS",
        "CLASSIFIED",
        "EDGES",
        "LOST",
        "EVICTED",
        "PEAK MB",
        "CHARGED MB",
        "STATUS MS",
        "EDGES MS",
        "END MS"
    );
    for row in &rows {
        let times = |times: &Times| format!("{:.0} … {:.0}", times.median, times.longest);
        println!(
            "{:<15}{:>8}{:>6.1}{:>8}{:>11.2}%{:>7}{:>8}{:>9}{:>9.1}{:>12}{:>16}{:>16}{:>8.0}  {}",
            row.flood,
            row.sent,
            row.seconds,
            row.others,
            100.0 * row.classified as f64 / row.others as f64,
            row.edges,
            row.lost,
            row.evicted,
            row.peak_bytes as f64 / 1e6,
            row.charged_bytes
                .map_or_else(|| "-".into(), |bytes| format!("{:.1}", bytes as f64 / 1e6)),
            times(&row.status_ms),
            times(&row.edges_ms),
            row.end_ms,
            if row.met { "yes" } else { "no" }
        );
    }
    println!(
        "wanted: {:.0} % of the others' connections classified, {} MB, answers within {ANSWER_MS} ms \
         (median … longest), the end within {END_MS} ms",
        SHARE * 100.0,
        MEMORY / 1_000_000,
    );
    Ok(())
}

/// Samples lost, and connections evicted from the kernel's table, according to a status.
pub(super) fn lost_and_evicted(status: &serde_json::Value) -> [u64; 2] {
    let counters = &status["kernel"]["counters"];
    let sum = |names: &[&str]| -> u64 {
        let all = names.iter().filter_map(|name| counters[name].as_u64());
        all.sum()
    };
    [
        sum(&[
            "lost_ring_full",
            "lost_map_full",
            "lost_unreadable",
            "lost_over_share",
        ]),
        sum(&["evicted", "evicted_unanswered"]),
    ]
}

fn measure((name, flood, count, rate): (&'static str, Flood, u32, u32)) -> Result<Row> {
    let scene = Scene::new()?;
    let evil = scene.node.pod("shop", "evil")?;
    let generator = Generator::start(&scene.web, &scene.db, &scene.pki, 1)?;
    let mut flooder = Flooder::new(&evil, &scene.db)?;
    let group = Group::new();
    let start = || Daemon::start_with(&scene.node, &["--no-cri"]);
    let daemon = match &group {
        Some(group) => group.start(start)?,
        None => start()?,
    };
    let socket = daemon.socket().to_owned();
    let over = AtomicBool::new(false);
    let (took, others, [status, edges]) = std::thread::scope(|scope| {
        let askers = ["/v1/status", "/v1/edges"].map(|path| {
            let (socket, over) = (&socket, &over);
            scope.spawn(move || ask(socket, path, ASK, over))
        });
        let flood = scope.spawn(move || {
            std::thread::sleep(AFTER / 2);
            flooder.send(flood, count, rate)
        });
        let others = (|| -> Result<u64> {
            let mut others = 0;
            let mut until = None;
            while until.is_none_or(|until| Instant::now() < until) {
                let begun = Instant::now();
                generator.one()?;
                others += 1;
                if until.is_none() && flood.is_finished() {
                    until = Some(Instant::now() + AFTER);
                }
                std::thread::sleep(EACH.saturating_sub(begun.elapsed()));
            }
            Ok(others)
        })();
        over.store(true, Ordering::Relaxed);
        let [status, edges] = askers.map(|asker| joined(asker.join()));
        anyhow::Ok((joined(flood.join())?, others?, [status?, edges?]))
    })?;
    std::thread::sleep(REST);
    let (list, told) = (daemon.edges()?, daemon.status()?);
    let [lost, evicted] = lost_and_evicted(&told);
    let classified: u64 = list
        .iter()
        .filter(|edge| edge["src"]["name"] == "web" && edge["dst"]["name"] == "db")
        .filter_map(|edge| edge["verdict_counts"]["plaintext"].as_u64())
        .sum();
    let peak_bytes = usage::peak(daemon.pid())?;
    let charged_bytes = group.as_ref().map(Group::peak).transpose()?;
    let begun = Instant::now();
    let ended = daemon.stop(Signal::SIGTERM)?;
    let end_ms = begun.elapsed().as_secs_f64() * 1e3;
    ensure!(ended.success(), "the daemon ended with {ended}");
    let (status_ms, edges_ms) = (Times::of(status)?, Times::of(edges)?);
    let met = classified as f64 >= SHARE * others as f64
        && peak_bytes <= MEMORY
        && status_ms.longest <= ANSWER_MS
        && edges_ms.longest <= ANSWER_MS
        && end_ms <= END_MS;
    Ok(Row {
        flood: name,
        sent: count,
        seconds: took.as_secs_f64(),
        others,
        classified,
        edges: list.len() as u64,
        lost,
        evicted,
        peak_bytes,
        charged_bytes,
        status_ms,
        edges_ms,
        end_ms,
        met,
    })
}

//! `cargo xtask soak`: real connections of every kind for as long as requested, while the daemon is
//! stopped, killed and flooded, and interfaces appear and disappear. The peers know what each
//! connection was; any different report by the daemon is an error.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use super::flood::lost_and_evicted;
use super::load::{Clients, Kind};
use super::usage;
use crate::daemon::Daemon;
use crate::flood::{Flood, Flooder};
use crate::scene::Scene;

/// How long one row's load lasts.
const ROUND: Duration = Duration::from_secs(12);
/// How long the daemon is stopped in the middle of it.
const STOPPED: Duration = Duration::from_secs(4);
/// Interfaces created and removed in one round.
const VETHS: usize = 20;
/// Frames of a flood.
const FLOOD: u32 = 200_000;
const FLOOD_RATE: u32 = 40_000;
/// The daemon has reported everything within this time after the end of a load.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections without a reported sample appear within this time.
const LATE: Duration = Duration::from_secs(5);
/// Most memory of the daemon, in bytes, and how much a warmed-up daemon may gain.
const MEMORY: u64 = 150 << 20;
const GROWTH: f64 = 1.3;

/// What happens during the load of one round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Beside {
    Nothing,
    Stop,
    Flood,
    Churn,
    /// The daemon is killed under load, and the next one sees the open connections midstream.
    Kill,
}

const ROUNDS: [(Beside, &str); 5] = [
    (Beside::Nothing, "nothing"),
    (Beside::Stop, "stopped for 4 s"),
    (Beside::Flood, "a flood"),
    (Beside::Churn, "interfaces"),
    (Beside::Kill, "killed"),
];

/// Errors found in one round.
#[derive(Default)]
struct Found {
    /// Connections of all kinds according to the peers, and as listed by the daemon.
    made: u64,
    listed: u64,
    /// Listed with a wrong verdict.
    wrong: u64,
    /// Not listed, or without a verdict.
    missing: u64,
    unknown: u64,
    /// What the daemon reports as possibly missed.
    lost: u64,
}

/// Runs for this long; returns an error if the daemon was wrong even once.
pub fn run(time: Duration) -> Result<()> {
    let scene = Scene::new()?;
    let evil = scene.node.pod("shop", "evil")?;
    let clients = Clients::start(&scene.web, &scene.db, &scene.pki)?;
    let mut flooder = Flooder::new(&evil, &scene.db)?;
    let mut daemon = start(&scene)?;
    println!(
        "{:<17}{:>8}{:>8}{:>7}{:>9}{:>9}{:>8}{:>9}",
        "BESIDE THE LOAD", "MADE", "LISTED", "WRONG", "MISSING", "UNKNOWN", "LOST", "RSS MB"
    );
    let begun = Instant::now();
    let mut total = Found::default();
    let mut warm = None;
    let mut failures = Vec::new();
    for (beside, name) in ROUNDS.into_iter().cycle() {
        if begun.elapsed() >= time {
            break;
        }
        if beside == Beside::Kill {
            daemon = killed(&scene, &clients, daemon)?;
            warm = None;
            continue;
        }
        let found = round(&scene, &clients, &daemon, &mut flooder, beside)?;
        let rss = usage::Usage::of(daemon.pid())?.rss;
        println!(
            "{name:<17}{:>8}{:>8}{:>7}{:>9}{:>9}{:>8}{:>9.1}",
            found.made,
            found.listed,
            found.wrong,
            found.missing,
            found.unknown,
            found.lost,
            rss as f64 / 1e6
        );
        if found.wrong > 0 {
            failures.push(format!(
                "{name}: {} connections are listed wrongly",
                found.wrong
            ));
        }
        if found.missing + found.unknown > found.lost {
            failures.push(format!(
                "{name}: {} connections are missing and {} have no verdict, but only {} losses were counted\n{}",
                found.missing,
                found.unknown,
                found.lost,
                undecided(&daemon)?
            ));
        }
        if usage::peak(daemon.pid())? > MEMORY {
            failures.push(format!(
                "{name}: more than {} MB of memory",
                MEMORY / 1_000_000
            ));
        }
        // What a flood leaves behind disappears with the window; rounds without one are compared.
        if beside == Beside::Nothing {
            let before = *warm.get_or_insert(rss);
            if rss as f64 > before as f64 * GROWTH {
                failures.push(format!(
                    "{name}: memory has grown from {before} to {rss} bytes"
                ));
            }
        }
        total.made += found.made;
        total.wrong += found.wrong;
        total.missing += found.missing;
        total.unknown += found.unknown;
        total.lost += found.lost;
    }
    let ended = daemon.stop(Signal::SIGTERM)?;
    ensure!(ended.success(), "the daemon ended with {ended}");
    println!(
        "{} connections in {:.0} s: {} wrong, {} missing, {} without a verdict, {} losses counted",
        total.made,
        begun.elapsed().as_secs_f64(),
        total.wrong,
        total.missing,
        total.unknown,
        total.lost
    );
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    Ok(())
}

/// The latest connections without a verdict.
fn undecided(daemon: &Daemon) -> Result<String> {
    let answer = daemon.ask(&[
        "flows",
        "--verdict",
        "unknown",
        "--last",
        "3",
        "-o",
        "jsonl",
    ])?;
    Ok(answer.out)
}

fn start(scene: &Scene) -> Result<Daemon> {
    // Nothing may leave the window before it has been compared.
    Daemon::start_with(&scene.node, &["--no-cri", "--window", "2h"])
}

/// One row: load with a disturbance, and what the daemon reports about it.
fn round(
    scene: &Scene,
    clients: &Clients,
    daemon: &Daemon,
    flooder: &mut Flooder,
    beside: Beside,
) -> Result<Found> {
    let before = told(daemon)?;
    let over = AtomicBool::new(false);
    let made = Kind::ALL.map(|_| AtomicU64::new(0));
    std::thread::scope(|scope| -> Result<()> {
        let load = scope.spawn(|| clients.run(&over, &made));
        let begun = Instant::now();
        std::thread::sleep(ROUND / 4);
        let done = match beside {
            Beside::Nothing | Beside::Kill => Ok(()),
            Beside::Stop => stopped(daemon),
            Beside::Flood => flooder.send(Flood::Syns, FLOOD, FLOOD_RATE).map(drop),
            Beside::Churn => churn(scene),
        };
        std::thread::sleep(ROUND.saturating_sub(begun.elapsed()));
        over.store(true, Ordering::Relaxed);
        let load = load.join();
        done?;
        load.map_err(|_| anyhow::anyhow!("a client panicked"))?
    })?;
    let made = made.map(AtomicU64::into_inner);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let after = told(daemon)?;
        let found = compare(made, &before, &after);
        let settled = found.missing + found.unknown + found.wrong == 0 && after.open == 0;
        if settled || Instant::now() > deadline {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The daemon is not running for a while.
fn stopped(daemon: &Daemon) -> Result<()> {
    let pid = Pid::from_raw(daemon.pid().cast_signed());
    signal::kill(pid, Signal::SIGSTOP).context("stop the daemon")?;
    std::thread::sleep(STOPPED);
    signal::kill(pid, Signal::SIGCONT).context("let the daemon go on")
}

/// Pods appear and disappear.
fn churn(scene: &Scene) -> Result<()> {
    for _ in 0..VETHS {
        drop(scene.node.pod("shop", "passing")?);
    }
    Ok(())
}

/// The daemon is killed under load, and another one started; when this returns, it has seen the end
/// of the load.
fn killed(scene: &Scene, clients: &Clients, daemon: Daemon) -> Result<Daemon> {
    let over = AtomicBool::new(false);
    let made = Kind::ALL.map(|_| AtomicU64::new(0));
    let next = std::thread::scope(|scope| -> Result<Daemon> {
        let load = scope.spawn(|| clients.run(&over, &made));
        std::thread::sleep(Duration::from_secs(1));
        let next = daemon.stop(Signal::SIGKILL).and_then(|_| start(scene));
        std::thread::sleep(Duration::from_secs(1));
        over.store(true, Ordering::Relaxed);
        let load = load.join();
        load.map_err(|_| anyhow::anyhow!("a client panicked"))??;
        next
    })?;
    // Midstream connections have ended, and belong to no round.
    let deadline = Instant::now() + PATIENCE;
    while told(&next)?.open > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(200));
    }
    // The scan of the kernel's table has found the connections without a reported sample.
    std::thread::sleep(LATE);
    Ok(next)
}

/// What a daemon has reported so far about the connections between the two pods.
struct Told {
    /// By kind: connections of each verdict.
    counts: [Vec<(String, u64)>; Kind::ALL.len()],
    open: u64,
    lost: u64,
}

fn told(daemon: &Daemon) -> Result<Told> {
    let (edges, status) = (daemon.edges()?, daemon.status()?);
    let of = |kind: Kind| {
        edges.iter().filter(move |edge| {
            edge["src"]["name"] == "web"
                && edge["dst"]["name"] == "db"
                && edge["dst"]["port"].as_u64() == Some(kind.port().into())
        })
    };
    let open = |edge: &Value| edge["open_connections"].as_u64().unwrap_or(0);
    Ok(Told {
        counts: Kind::ALL.map(|kind| {
            of(kind)
                .filter_map(|edge| edge["verdict_counts"].as_object())
                .flatten()
                .map(|(verdict, n)| (verdict.clone(), n.as_u64().unwrap_or(0)))
                .collect()
        }),
        open: Kind::ALL.into_iter().flat_map(of).map(open).sum(),
        lost: lost_and_evicted(&status).into_iter().sum(),
    })
}

/// What the daemon has reported since, compared with what the peers know.
fn compare(made: [u64; Kind::ALL.len()], before: &Told, after: &Told) -> Found {
    let mut found = Found {
        lost: after.lost - before.lost,
        ..Found::default()
    };
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        let count = |told: &Told, wanted: &dyn Fn(&str) -> bool| -> u64 {
            let all = told.counts[at].iter();
            all.filter(|(verdict, _)| wanted(verdict))
                .map(|(_, n)| n)
                .sum()
        };
        let since = |wanted: &dyn Fn(&str) -> bool| {
            count(after, wanted).saturating_sub(count(before, wanted))
        };
        let unknown = |verdict: &str| ["unobserved", "tls-unproven"].contains(&verdict);
        let listed = since(&|_| true);
        found.made += made[at];
        found.listed += listed;
        found.unknown += since(&unknown);
        found.wrong += since(&|verdict| verdict != kind.verdict() && !unknown(verdict))
            + listed.saturating_sub(made[at]);
        found.missing += made[at].saturating_sub(listed);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(plain: &[(&str, u64)], lost: u64) -> Told {
        let plain = plain.iter().map(|(v, n)| ((*v).to_owned(), *n)).collect();
        Told {
            counts: [plain, Vec::new(), Vec::new()],
            open: 0,
            lost,
        }
    }

    #[test]
    fn what_is_wrong_missing_and_unknown_is_told_apart() {
        let before = told(&[("plaintext", 5)], 1);
        let after = told(&[("plaintext", 9), ("mtls", 1), ("unobserved", 2)], 4);
        let found = compare([8, 0, 0], &before, &after);
        let Found {
            listed,
            wrong,
            missing,
            unknown,
            lost,
            ..
        } = found;
        assert_eq!((listed, wrong, missing, unknown, lost), (7, 1, 1, 2, 3));
        // One too many is as wrong as another verdict.
        assert_eq!(compare([6, 0, 0], &before, &after).wrong, 2);
    }
}

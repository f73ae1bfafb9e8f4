//! `cargo xtask bench node`: the same traffic between the same two pods, alternating with and
//! without the daemon, and the daemon's resource usage.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::load::{Done, Generator, Load};
use super::report::{self, Report, TapDelay, Traffic, Wanted};
use super::scraper::Scraper;
use super::usage::Usage;
use crate::census;
use crate::daemon::Daemon;
use crate::prometheus::METRICS;
use crate::scene::Scene;

/// How long each measurement lasts.
const TIME: Duration = Duration::from_millis(600);
/// After start-up, the daemon has the kernel measure its programs for ten seconds, which costs more
/// than the programs themselves. The benchmark is about the time after that; until then, the node
/// is idle.
const SETTLE: Duration = Duration::from_millis(10_500);
/// The daemon reads the last samples within this time after the end of a load.
const REST: Duration = Duration::from_millis(100);
/// Requests on the idle node whose tap lines are timed.
const TAPPED: usize = 20;

/// What is measured, in the order of the report.
struct Loads(Vec<(&'static str, &'static str, Load, Option<Wanted>)>);

impl Loads {
    fn new(crowd: u16) -> Self {
        let connect = Some(Wanted::AtLeast(0.97));
        Self(vec![
            ("bulk", "GB/s", Load::Bulk, Some(Wanted::AtLeast(0.99))),
            ("connect", "conn/s", Load::Connect(1), connect),
            (
                "connect, all cores",
                "conn/s",
                Load::Connect(crowd),
                connect,
            ),
            (
                "connect, TLS 1.3 mutual",
                "conn/s",
                Load::ConnectTls(1),
                connect,
            ),
            ("keep-alive", "req/s", Load::KeepAlive, None),
            (
                "UDP request/response",
                "req/s",
                Load::Datagrams,
                Some(Wanted::AtLeast(0.97)),
            ),
            (
                "QUIC bulk",
                "GB/s",
                Load::QuicBulk,
                Some(Wanted::AtLeast(0.97)),
            ),
        ])
    }
}

/// The measurements of one load, pair by pair.
#[derive(Default)]
struct Pairs {
    bare: Vec<Done>,
    attached: Vec<Done>,
}

/// What runs beside the traffic.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Daemon,
    /// A daemon whose metrics are scraped every second.
    Scraped,
}

/// What runs beside the traffic at present.
enum Running {
    Nothing,
    Daemon(Daemon),
    Scraped(Daemon, Scraper),
}

impl Running {
    fn is(&self, beside: Beside) -> bool {
        matches!(
            (self, beside),
            (Self::Nothing, Beside::Nothing)
                | (Self::Daemon(_), Beside::Daemon)
                | (Self::Scraped(..), Beside::Scraped)
        )
    }

    fn daemon(&self) -> Option<&Daemon> {
        match self {
            Self::Nothing => None,
            Self::Daemon(daemon) | Self::Scraped(daemon, _) => Some(daemon),
        }
    }

    fn start(beside: Beside, scene: &Scene, idle: &mut report::Daemon) -> Result<Self> {
        Ok(match beside {
            Beside::Nothing => Self::Nothing,
            Beside::Daemon => Self::Daemon(settled(scene, &["--no-cri"], idle)?),
            Beside::Scraped => {
                let address = METRICS.to_string();
                let daemon = settled(scene, &["--no-cri", "--metrics", &address], idle)?;
                Self::Scraped(daemon, Scraper::start())
            }
        })
    }

    fn stop(self) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Daemon(daemon) => stop(daemon),
            Self::Scraped(daemon, scraper) => {
                scraper.stop()?;
                stop(daemon)
            }
        }
    }
}

/// Measures, and prints a table or JSON. `scraped`: compares a daemon whose metrics are scraped
/// with one that has none, instead of a daemon with none at all.
pub fn run(pairs: u32, scraped: bool, json: bool) -> Result<()> {
    let sides = if scraped {
        [Beside::Daemon, Beside::Scraped]
    } else {
        [Beside::Nothing, Beside::Daemon]
    };
    let cores = std::thread::available_parallelism()?.get();
    let crowd = u16::try_from(2 * cores)?;
    let scene = Scene::new()?;
    let generator = Generator::start(&scene.web, &scene.db, &scene.pki, crowd)?;
    let loads = Loads::new(crowd).0;
    for &(.., load, _) in &loads {
        generator.run(load, TIME / 2)?;
    }
    let mut measured: Vec<Pairs> = loads.iter().map(|_| Pairs::default()).collect();
    let mut busy: Vec<report::Daemon> = loads.iter().map(|_| report::Daemon::default()).collect();
    let mut idle = report::Daemon::default();
    let mut running = Running::Nothing;
    for pair in 0..pairs {
        eprintln!("pair {} of {pairs}", pair + 1);
        // The order alternates, so that drift favours neither, and the daemon runs for two rounds
        // in a row.
        for second in [pair % 2 == 1, pair % 2 == 0] {
            let beside = sides[usize::from(second)];
            if !running.is(beside) {
                running.stop()?;
                // The daemon's usage is that of the second side.
                let mut other = report::Daemon::default();
                let idle = if second { &mut idle } else { &mut other };
                running = Running::start(beside, &scene, idle)?;
            }
            ensure_attached(&scene, beside != Beside::Nothing)?;
            for (number, &(.., load, _)) in loads.iter().enumerate() {
                let (pairs, busy) = (&mut measured[number], &mut busy[number]);
                match running.daemon().filter(|_| second) {
                    Some(daemon) => {
                        let done = watch(daemon, busy, || generator.run(load, TIME))?;
                        pairs.attached.push(done);
                    }
                    None => pairs.bare.push(generator.run(load, TIME)?),
                }
            }
        }
    }
    running.stop()?;
    eprintln!("delay of the tap");
    let tap = tap_delay(&scene, &generator)?;
    let mut traffic = Vec::new();
    for (&(name, unit, load, wanted), pairs) in loads.iter().zip(&measured) {
        let bytes = matches!(load, Load::Bulk | Load::QuicBulk);
        let scale = if bytes { 1e-9 } else { 1.0 };
        traffic.push(compare(name, unit, wanted, pairs, |done| {
            Some(done.rate * scale)
        })?);
        if load == Load::KeepAlive {
            for (share, wanted) in [(0.5, None), (0.99, Some(Wanted::AtMost(1.02)))] {
                let name = format!("{name}, p{:.0}", share * 100.0);
                let percentile = |done: &Done| done.percentile(share);
                traffic.push(compare(&name, "µs", wanted, pairs, percentile)?);
            }
        }
    }
    idle.load = "nothing".into();
    let rounds = f64::from(pairs);
    for (row, &(name, ..)) in busy.iter_mut().zip(&loads) {
        name.clone_into(&mut row.load);
        row.average(rounds);
    }
    // The daemon was started for every second round.
    idle.average(f64::from(pairs.div_ceil(2)));
    let daemon: Vec<_> = std::iter::once(idle).chain(busy).collect();
    Report {
        scraped,
        pairs,
        seconds: TIME.as_secs_f64(),
        cores,
        lost: daemon.iter().map(report::Daemon::lost).sum(),
        traffic,
        daemon,
        tap,
    }
    .print(json)
}

impl report::Daemon {
    /// Converts sums over this many measurements to means.
    fn average(&mut self, measurements: f64) {
        self.cpu_share /= measurements;
        self.wakeups_per_second /= measurements;
        self.samples_per_second /= measurements;
    }
}

/// Starts the daemon, and waits until it has settled while idle.
fn settled(scene: &Scene, args: &[&str], idle: &mut report::Daemon) -> Result<Daemon> {
    let daemon = Daemon::start_with(&scene.node, args)?;
    std::thread::sleep(TIME);
    watch(&daemon, idle, || {
        std::thread::sleep(SETTLE.saturating_sub(TIME));
        Ok(Done::default())
    })?;
    Ok(daemon)
}

fn stop(daemon: Daemon) -> Result<()> {
    let status = daemon.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "the daemon ended with {status}");
    Ok(())
}

/// A comparison of two runs without the daemon would be misleading.
fn ensure_attached(scene: &Scene, attached: bool) -> Result<()> {
    for pod in [&scene.web, &scene.db] {
        let programs = census::tcx(&pod.veth())?;
        ensure!(
            programs == [usize::from(attached); 2],
            "{} has {programs:?} programs, ours should be attached: {attached}",
            pod.veth()
        );
    }
    Ok(())
}

/// Adds the daemon's usage during `work` to a row, and the outcomes of its samples.
fn watch(
    daemon: &Daemon,
    row: &mut report::Daemon,
    work: impl FnOnce() -> Result<Done>,
) -> Result<Done> {
    let status = daemon.status()?;
    let before = Usage::of(daemon.pid())?;
    let start = Instant::now();
    let done = work()?;
    let seconds = start.elapsed().as_secs_f64();
    std::thread::sleep(REST);
    let after = Usage::of(daemon.pid())?;
    let now = daemon.status()?;
    let more = |part: &str, name: &str| -> Result<u64> {
        let pointer = format!("/{part}/{name}");
        let count = |status: &serde_json::Value| {
            let value = status.pointer(&pointer).and_then(serde_json::Value::as_u64);
            value.with_context(|| format!("no {pointer} in the status"))
        };
        Ok(count(&now)?.saturating_sub(count(&status)?))
    };
    row.connections += done.connections;
    row.seen += more("flows", "seen")? + more("datagrams", "seen")?;
    row.samples_per_second += more("kernel/counters", "sampled")? as f64 / seconds;
    row.lost_ring_full += more("kernel/counters", "lost_ring_full")?;
    row.lost_map_full += more("kernel/counters", "lost_map_full")?;
    row.lost_unreadable += more("kernel/counters", "lost_unreadable")?;
    row.lost_over_share += more("kernel/counters", "lost_over_share")?;
    row.cpu_share += after.cpu_share(&before);
    row.wakeups_per_second += after.wakeups_per_second(&before);
    row.rss_bytes = row.rss_bytes.max(after.rss);
    Ok(done)
}

fn compare(
    name: &str,
    unit: &'static str,
    wanted: Option<Wanted>,
    pairs: &Pairs,
    value: impl Fn(&Done) -> Option<f64>,
) -> Result<Traffic> {
    let values = |runs: &[Done]| -> Result<Vec<f64>> {
        let values: Option<Vec<_>> = runs.iter().map(&value).collect();
        values.context("a measurement without a request")
    };
    let (bare, attached) = (values(&pairs.bare)?, values(&pairs.attached)?);
    let ratios: Vec<_> = attached.iter().zip(&bare).map(|(a, b)| a / b).collect();
    let ratio = quantile(&ratios, 0.5);
    Ok(Traffic {
        measure: name.to_owned(),
        unit,
        bare: quantile(&bare, 0.5),
        attached: quantile(&attached, 0.5),
        ratio,
        quartiles: [quantile(&ratios, 0.25), quantile(&ratios, 0.75)],
        wanted,
        met: wanted.map(|wanted| wanted.met(ratio)),
        runs: bare
            .into_iter()
            .zip(attached)
            .map(<[f64; 2]>::from)
            .collect(),
    })
}

/// The value below which this share of the values is, interpolated if necessary.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * sorted.len().saturating_sub(1) as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or(f64::NAN);
    let (low, high) = (at(place.floor()), at(place.ceil()));
    low + (high - low) * place.fract()
}

fn tap_delay(scene: &Scene, generator: &Generator) -> Result<TapDelay> {
    let daemon = Daemon::start_with(&scene.node, &["--no-cri"])?;
    let tap = daemon.tap()?;
    let mut delays = Vec::new();
    for _ in 0..TAPPED {
        std::thread::sleep(Duration::from_millis(150));
        let (port, sent) = generator.one()?;
        tap.find(|line| line["event"] == "classified" && line["src"]["port"] == port)?;
        delays.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    stop(daemon)?;
    Ok(TapDelay {
        samples: TAPPED,
        median_ms: quantile(&delays, 0.5),
        longest_ms: quantile(&delays, 1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_lie_between_the_values() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert!((quantile(&values, 0.5) - 2.5).abs() < 1e-9);
        assert!((quantile(&values, 0.0) - 1.0).abs() < 1e-9);
        assert!((quantile(&values, 1.0) - 4.0).abs() < 1e-9);
        assert!((quantile(&values, 0.25) - 1.75).abs() < 1e-9);
    }
}

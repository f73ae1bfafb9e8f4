//! `cargo xtask docs --dashboard`: the Grafana dashboard's panels as a picture, with data from a real
//! daemon and a real Prometheus. Grafana itself is not needed.

mod draw;
mod svg;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use mtls_tests::daemon::Daemon;
use mtls_tests::prometheus::{self as prom, METRICS, Prometheus};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::shop::Shop;
use crate::{NODE, step};

/// For how long the pods connect to each other.
const TIME: Duration = Duration::from_secs(75);
/// The variables of the dashboard's queries; Grafana sets them by the time range that is shown.
const VARIABLES: [(&str, &str); 5] = [
    ("$__range_s", "60"),
    ("$__range", "1m"),
    ("$__rate_interval", "10s"),
    ("$namespace", ".*"),
    ("$job", ".*"),
];

/// A query of a panel, with its answer: now, and over the last minute.
struct Answer {
    legend: String,
    now: Vec<Value>,
    lately: Vec<Value>,
}

/// Writes the picture.
pub(crate) fn paint(to: &Path) -> Result<()> {
    step(NODE);
    let shop = Shop::open()?;
    step("mtls daemon, and Prometheus");
    let daemon = Daemon::start_with(shop.node(), &["--metrics", &METRICS.to_string()])?;
    let rules = std::fs::read_to_string(prom::shipped().join("rules.yml"))?;
    let prometheus = Prometheus::start(shop.node(), &rules)?;
    step("connections for a minute");
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < TIME {
        shop.round()?;
        // More and fewer of them, so that the lines have a shape.
        round += 1;
        std::thread::sleep(Duration::from_millis(200 * (1 + round / 8 % 4)));
    }
    std::thread::sleep(Duration::from_secs(2));
    let dashboard = std::fs::read_to_string(prom::shipped().join("dashboard.json"))?;
    let dashboard: Value = serde_json::from_str(&dashboard)?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut answered = Vec::new();
    for panel in panels {
        let targets = panel["targets"].as_array().context("targets")?;
        let answers = targets.iter().map(|target| ask(&prometheus, target, now));
        answered.push((panel, answers.collect::<Result<Vec<_>>>()?));
    }
    std::fs::write(to, draw::dashboard(&answered, now)?)
        .with_context(|| format!("write {}", to.display()))?;
    daemon.stop(Signal::SIGTERM)?;
    println!("wrote {}", to.display());
    Ok(())
}

fn ask(prometheus: &Prometheus, target: &Value, now: u64) -> Result<Answer> {
    let query = target["expr"].as_str().context("a query")?;
    let query = VARIABLES
        .iter()
        .fold(query.to_owned(), |query, (name, value)| {
            query.replace(name, value)
        });
    Ok(Answer {
        legend: target["legendFormat"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        now: prometheus.query(&query)?,
        lately: prometheus.range(&query, now - 60, now)?,
    })
}

//! The results of `bench node`, as a table or as JSON.

use serde::Serialize;

/// All results.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The daemon is compared with itself: its metrics are scraped every second, or it has none.
    pub(super) scraped: bool,
    /// Pairs of measurements, and how long each lasted.
    pub(super) pairs: u32,
    pub(super) seconds: f64,
    pub(super) cores: usize,
    pub(super) traffic: Vec<Traffic>,
    pub(super) daemon: Vec<Daemon>,
    pub(super) tap: TapDelay,
    /// Samples lost in the whole run.
    pub(super) lost: u64,
}

/// A measure of the traffic, without and with `mtls`.
#[derive(Debug, Serialize)]
pub(super) struct Traffic {
    pub(super) measure: String,
    pub(super) unit: &'static str,
    /// Medians.
    pub(super) bare: f64,
    pub(super) attached: f64,
    /// Median of the pairs' ratios, attached to bare, with the lower and upper quartiles.
    pub(super) ratio: f64,
    pub(super) quartiles: [f64; 2],
    /// The required ratio.
    pub(super) wanted: Option<Wanted>,
    pub(super) met: Option<bool>,
    /// Each measurement, pair by pair: bare, attached.
    pub(super) runs: Vec<[f64; 2]>,
}

/// A bound of a ratio.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

impl Wanted {
    pub(super) fn met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
        }
    }
}

/// The daemon under one load, all measurements together.
#[derive(Debug, Default, Serialize)]
pub(super) struct Daemon {
    pub(super) load: String,
    /// Connections made, and how many of them the daemon reported.
    pub(super) connections: u64,
    pub(super) seen: u64,
    /// Samples received per second.
    pub(super) samples_per_second: f64,
    /// Of one core.
    pub(super) cpu_share: f64,
    /// The maximum over all measurements.
    pub(super) rss_bytes: u64,
    pub(super) wakeups_per_second: f64,
    /// Samples lost, by reason.
    pub(super) lost_ring_full: u64,
    pub(super) lost_map_full: u64,
    pub(super) lost_unreadable: u64,
    pub(super) lost_over_share: u64,
}

impl Daemon {
    pub(super) fn lost(&self) -> u64 {
        self.lost_ring_full + self.lost_map_full + self.lost_unreadable + self.lost_over_share
    }
}

/// From a request on an idle node to its line of `mtls tap`, in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct TapDelay {
    pub(super) samples: usize,
    pub(super) median_ms: f64,
    pub(super) longest_ms: f64,
}

impl Report {
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        let sides = if self.scraped {
            ["UNSCRAPED", "SCRAPED"]
        } else {
            ["BARE", "ATTACHED"]
        };
        println!(
            "{:<26} {:>8} {:>10} {:>10} {:>7} {:>15} {:>8}  MET",
            "TRAFFIC", "UNIT", sides[0], sides[1], "RATIO", "QUARTILES", "WANTED"
        );
        for row in &self.traffic {
            let wanted = row.wanted.map_or(String::new(), |wanted| match wanted {
                Wanted::AtLeast(bound) => format!("≥ {bound:.2}"),
                Wanted::AtMost(bound) => format!("≤ {bound:.2}"),
            });
            let met = row.met.map_or("", |met| if met { "yes" } else { "no" });
            let [low, high] = row.quartiles;
            println!(
                "{:<26} {:>8} {:>10.2} {:>10.2} {:>7.3} {:>15} {wanted:>8}  {met}",
                row.measure,
                row.unit,
                row.bare,
                row.attached,
                row.ratio,
                format!("{low:.3} … {high:.3}"),
            );
        }
        println!(
            "\n{:<26} {:>8} {:>8} {:>10} {:>7} {:>7} {:>11} {:>5}",
            "DAEMON UNDER", "CONNS", "SEEN", "SAMPLES/S", "CPU %", "RSS MB", "WAKE-UPS/S", "LOST"
        );
        for row in &self.daemon {
            println!(
                "{:<26} {:>8} {:>8} {:>10.0} {:>7.1} {:>7.1} {:>11.1} {:>5}",
                row.load,
                row.connections,
                row.seen,
                row.samples_per_second,
                row.cpu_share * 100.0,
                row.rss_bytes as f64 / 1e6,
                row.wakeups_per_second,
                row.lost(),
            );
        }
        println!(
            "\nfrom a request to its line of `mtls tap`, idle node: median {:.1} ms, longest {:.1} ms \
             of {}\nsamples lost in the whole run: {}; {} pairs of {} s each, {} cores",
            self.tap.median_ms,
            self.tap.longest_ms,
            self.tap.samples,
            self.lost,
            self.pairs,
            self.seconds,
            self.cores
        );
        Ok(())
    }
}

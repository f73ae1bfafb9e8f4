//! A running process's resource usage, from `/proc`.

use std::time::Instant;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// A reading of a process's counters.
pub(super) struct Usage {
    at: Instant,
    cpu_seconds: f64,
    wakeups: u64,
    /// Resident memory, in bytes.
    pub(super) rss: u64,
}

impl Usage {
    /// Reads them.
    pub(super) fn of(pid: u32) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            cpu_seconds: cpu_seconds(pid)?,
            wakeups: wakeups(pid)?,
            rss: field(&format!("/proc/{pid}/status"), "VmRSS:")? * 1_024,
        })
    }

    /// Share of one core used since `earlier`.
    pub(super) fn cpu_share(&self, earlier: &Self) -> f64 {
        (self.cpu_seconds - earlier.cpu_seconds) / self.seconds(earlier)
    }

    /// How many times per second one of its threads was woken, since `earlier`.
    pub(super) fn wakeups_per_second(&self, earlier: &Self) -> f64 {
        self.wakeups.saturating_sub(earlier.wakeups) as f64 / self.seconds(earlier)
    }

    fn seconds(&self, earlier: &Self) -> f64 {
        (self.at - earlier.at).as_secs_f64()
    }
}

/// Peak resident memory, in bytes.
pub(super) fn peak(pid: u32) -> Result<u64> {
    Ok(field(&format!("/proc/{pid}/status"), "VmHWM:")? * 1_024)
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("read CPU times")?;
    // The name, in parentheses, may contain anything; user and system time are fields 14 and 15.
    let after = stat.rsplit_once(") ").context("no name")?.1;
    let fields: Vec<_> = after.split(' ').collect();
    let ticks: u64 = fields
        .get(11..13)
        .context("no CPU times")?
        .iter()
        .map(|field| field.parse::<u64>())
        .sum::<Result<_, _>>()?;
    let hertz = sysconf(SysconfVar::CLK_TCK)?.context("the clock ticks at no known rate")?;
    Ok(ticks as f64 / hertz as f64)
}

fn wakeups(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).context("list threads")? {
        let status = task?.path().join("status");
        // A thread that has just ended is gone.
        sum += field(&status.to_string_lossy(), "voluntary_ctxt_switches:").unwrap_or(0);
    }
    Ok(sum)
}

/// The number after `name` at the beginning of a line.
fn field(path: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.and_then(|value| value.split_ascii_whitespace().next());
    value
        .with_context(|| format!("no {name} in {path}"))?
        .parse()
        .with_context(|| format!("read {name} in {path}"))
}

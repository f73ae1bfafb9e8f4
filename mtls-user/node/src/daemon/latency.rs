//! The time from learning about an interface to receiving samples from it.

use std::collections::VecDeque;
use std::time::Duration;

use mtls_core::record::LatencySummary;

/// Attachments remembered.
const KEPT: usize = 1_024;

/// The latest durations.
#[derive(Debug, Default)]
pub(super) struct Latency {
    count: u64,
    kept: VecDeque<u64>,
}

impl Latency {
    pub(super) fn add(&mut self, took: Duration) {
        self.count += 1;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(took.as_micros() as u64);
    }

    pub(super) fn summary(&self) -> LatencySummary {
        let mut sorted: Vec<_> = self.kept.iter().copied().collect();
        sorted.sort_unstable();
        let at = |share: f64| {
            let last = sorted.len().saturating_sub(1);
            sorted
                .get((last as f64 * share).ceil() as usize)
                .copied()
                .unwrap_or(0)
        };
        LatencySummary {
            count: self.count,
            p50_us: at(0.5),
            p99_us: at(0.99),
            max_us: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_the_latest() {
        let mut latency = Latency::default();
        assert_eq!(latency.summary(), LatencySummary::default());
        for us in 1..=2_000 {
            latency.add(Duration::from_micros(us));
        }
        let s = latency.summary();
        assert_eq!((s.count, s.max_us), (2_000, 2_000));
        assert!((1_480..=1_500).contains(&s.p50_us), "{s:?}");
        assert!((1_985..=2_000).contains(&s.p99_us), "{s:?}");
    }
}

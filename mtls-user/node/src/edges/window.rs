//! Counts of flows per verdict over a sliding window, in constant space.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mtls_core::record::Verdict;

/// The window moves in this many steps: a closed flow is forgotten at most one step late.
const STEPS: u64 = 30;

type Counts = [u64; Verdict::ALL.len()];

/// How many flows had which verdict: the open ones, and those that closed within the window.
#[derive(Debug)]
pub(super) struct Window {
    step: u64,
    open: Counts,
    /// Closed flows by step of the clock, oldest first; at most `STEPS + 1` of them.
    closed: VecDeque<(u64, Counts)>,
}

impl Window {
    pub(super) fn new(span: Duration) -> Self {
        let step = (span.as_nanos() as u64 / STEPS).max(1);
        Self {
            step,
            open: Counts::default(),
            closed: VecDeque::new(),
        }
    }

    pub(super) fn enter(&mut self, verdict: Verdict) {
        self.open[verdict as usize] += 1;
    }

    pub(super) fn leave(&mut self, verdict: Verdict) {
        self.open[verdict as usize] = self.open[verdict as usize].saturating_sub(1);
    }

    pub(super) fn close(&mut self, verdict: Verdict, time: u64) {
        let at = time / self.step;
        // Events of several interfaces arrive a little out of order: an older one joins the newest step.
        if self.closed.back().is_none_or(|(last, _)| *last < at) {
            self.closed.push_back((at, Counts::default()));
        }
        if let Some((_, counts)) = self.closed.back_mut() {
            counts[verdict as usize] += 1;
        }
        self.advance(time);
    }

    pub(super) fn advance(&mut self, now: u64) {
        let oldest = (now / self.step).saturating_sub(STEPS);
        while self.closed.front().is_some_and(|(at, _)| *at < oldest) {
            self.closed.pop_front();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.iter().all(|n| *n == 0)
    }

    pub(super) fn open(&self) -> u64 {
        self.open.iter().sum()
    }

    pub(super) fn counts(&self) -> BTreeMap<Verdict, u64> {
        let mut sum = self.open;
        for (_, counts) in &self.closed {
            for (total, n) in sum.iter_mut().zip(counts) {
                *total += n;
            }
        }
        Verdict::ALL
            .into_iter()
            .map(|v| (v, sum[v as usize]))
            .filter(|(_, n)| *n > 0)
            .collect()
    }
}

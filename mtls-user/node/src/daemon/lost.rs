//! Lost samples, summed over the window.

use std::collections::VecDeque;
use std::time::Duration;

/// The window moves in this many steps.
const STEPS: u64 = 60;

/// How many samples were lost, and when.
pub(super) struct Lost {
    step: u64,
    /// By step of the clock, oldest first; at most `STEPS + 1` of them.
    counts: VecDeque<(u64, u64)>,
}

impl Lost {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            step: (window.as_nanos() as u64 / STEPS).max(1),
            counts: VecDeque::new(),
        }
    }

    pub(super) fn add(&mut self, now: u64, lost: u64) {
        let at = now / self.step;
        match self.counts.back_mut() {
            Some((last, count)) if *last == at => *count += lost,
            _ => self.counts.push_back((at, lost)),
        }
        self.forget(now);
    }

    /// The number in the window that ends now.
    pub(super) fn within(&mut self, now: u64) -> u64 {
        self.forget(now);
        self.counts.iter().map(|(_, count)| count).sum()
    }

    fn forget(&mut self, now: u64) {
        let oldest = (now / self.step).saturating_sub(STEPS);
        while self.counts.front().is_some_and(|(at, _)| *at < oldest) {
            self.counts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_window_has_passed_is_forgotten() {
        const SECOND: u64 = 1_000_000_000;
        let mut lost = Lost::new(Duration::from_mins(1));
        lost.add(100 * SECOND, 3);
        lost.add(100 * SECOND + 1, 4);
        lost.add(130 * SECOND, 5);
        assert_eq!(lost.within(150 * SECOND), 12);
        assert_eq!(lost.within(170 * SECOND), 5);
        assert_eq!(lost.within(1_000 * SECOND), 0);
    }
}

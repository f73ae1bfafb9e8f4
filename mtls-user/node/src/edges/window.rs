//! Counts of connections over a sliding window, in constant space.

use std::collections::VecDeque;
use std::time::Duration;

/// The window advances in this many steps: a closed connection is dropped at most one step late.
const STEPS: u64 = 30;

/// How long the window is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step(u64);

impl Step {
    /// A window of length `span`.
    pub(super) fn of(span: Duration) -> Self {
        Self((span.as_nanos() as u64 / STEPS).max(1))
    }

    /// How long the window is, in nanoseconds.
    pub(super) fn window(self) -> u64 {
        self.0 * STEPS
    }

    fn at(self, time: u64) -> u64 {
        time / self.0
    }
}

/// The number of connections: the open ones, and those that closed within the window.
#[derive(Debug, Default)]
pub(super) struct Window {
    open: u64,
    /// Closed ones per clock step, oldest first; at most `STEPS + 1` entries.
    closed: VecDeque<(u64, u64)>,
}

impl Window {
    pub(super) fn enter(&mut self) {
        self.open += 1;
    }

    pub(super) fn leave(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// A connection that is not counted as open closed at `time` (nanoseconds since the Unix
    /// epoch).
    pub(super) fn close(&mut self, time: u64, step: Step) {
        let at = step.at(time);
        // Events of several interfaces arrive slightly out of order: an older one is added to the
        // newest step.
        match self.closed.back_mut() {
            Some((last, count)) if *last >= at => *count += 1,
            _ => self.closed.push_back((at, 1)),
        }
        self.advance(time, step);
    }

    /// Drops what has left the window.
    pub(super) fn advance(&mut self, now: u64, step: Step) {
        let oldest = step.at(now).saturating_sub(STEPS);
        while self.closed.front().is_some_and(|(at, _)| *at < oldest) {
            self.closed.pop_front();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open == 0 && self.closed.is_empty()
    }

    pub(super) fn open(&self) -> u64 {
        self.open
    }

    /// Open and closed ones.
    pub(super) fn count(&self) -> u64 {
        self.open + self.closed.iter().map(|(_, n)| n).sum::<u64>()
    }
}

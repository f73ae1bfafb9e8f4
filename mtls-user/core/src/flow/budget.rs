//! The memory of undecided flows: bounded, whoever opens them.
//!
//! A flow that is decided takes a few hundred bytes; one that is not may hold the start of both
//! streams. A pod that opens many and never completes a handshake must not exhaust the observer's
//! memory. If the bound is exceeded, the oldest undecided flows are evicted, those that nobody has
//! answered first: a flood then costs other pods nothing.

use std::collections::VecDeque;

/// Answered flows that are passed over, at most, to find one to evict.
const PASSED_OVER: usize = 8;
/// Stale entries that are always tolerated.
const SLACK: usize = 1_024;

/// What a flow holds is rounded up to this many bytes, so that two bytes of it say how much that is.
pub(super) const UNIT: usize = 64;

/// This many bytes in [`UNIT`]s.
pub(super) fn units(bytes: usize) -> u16 {
    bytes.div_ceil(UNIT).try_into().unwrap_or(u16::MAX)
}

/// An undecided flow: its slot, and its serial number, as slots are reused.
pub(super) type Entry = (u32, u64);

/// The memory of a table's undecided flows.
#[derive(Debug)]
pub(super) struct Budget {
    /// The bound, in [`UNIT`]s.
    limit: usize,
    /// What the flows hold at present, in the same, and how many of them hold something.
    held: usize,
    flows: usize,
    /// Oldest first; some have been decided since.
    order: VecDeque<Entry>,
}

impl Budget {
    /// `limit` in bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit / UNIT,
            held: 0,
            flows: 0,
            order: VecDeque::new(),
        }
    }

    /// What undecided flows hold at present, in bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held * UNIT
    }

    /// The flow of `entry` holds `now` [`UNIT`]s, and held `before`. `is_current`: whether the flow of
    /// another entry still exists and holds something.
    pub(super) fn change(
        &mut self,
        entry: Entry,
        before: u16,
        now: u16,
        is_current: impl Fn(Entry) -> bool,
    ) {
        self.held = self.held - usize::from(before) + usize::from(now);
        match (before, now) {
            (0, 1..) => {
                self.flows += 1;
                if self.order.len() >= 2 * self.flows + SLACK {
                    self.order.retain(|entry| is_current(*entry));
                }
                self.order.push_back(entry);
            }
            (1.., 0) => self.flows -= 1,
            _ => {}
        }
    }

    /// The flow to evict next, while the bound is exceeded. `is_answered`: whether both sides of the
    /// flow were heard; `None` if it is gone or holds nothing.
    pub(super) fn excess(&mut self, is_answered: impl Fn(Entry) -> Option<bool>) -> Option<u32> {
        let mut passed_over = 0;
        while self.held > self.limit {
            let entry = self.order.pop_front()?;
            match is_answered(entry) {
                None => {}
                Some(true) if passed_over < PASSED_OVER => {
                    passed_over += 1;
                    self.order.push_back(entry);
                }
                Some(_) => return Some(entry.0),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_that_nobody_answered_go_first_and_the_oldest_of_them() {
        let mut budget = Budget::new(300 * UNIT);
        for flow in 0..4 {
            budget.change((flow, 0), 0, 100, |_| true);
        }
        // Flow 0 is answered, flow 1 is gone.
        let is_answered = |(at, _)| (at != 1).then_some(at == 0);
        assert_eq!(budget.excess(is_answered), Some(2));
        budget.change((2, 0), 100, 0, |_| true);
        assert_eq!(budget.excess(is_answered), None);
        budget.change((3, 0), 100, 1_000, |_| true);
        assert_eq!(budget.excess(is_answered), Some(3));
        budget.change((3, 0), 1_000, 0, |_| true);
        budget.change((0, 0), 100, 1_000, |_| true);
        assert_eq!(budget.excess(is_answered), Some(0), "there is no other");
    }

    #[test]
    fn entries_of_decided_flows_do_not_pile_up() {
        let mut budget = Budget::new(300 * UNIT);
        budget.change((0, 0), 0, 1, |_| true);
        for serial in 1..1_000_000 {
            budget.change((1, serial), 0, 100, |(at, _)| at == 0);
            budget.change((1, serial), 100, 0, |(at, _)| at == 0);
        }
        assert!(budget.order.len() <= 2 * SLACK, "{}", budget.order.len());
        assert_eq!((budget.held, budget.flows), (1, 1));
    }
}

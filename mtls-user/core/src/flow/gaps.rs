//! Payload missing from a capture: parts of a stream that were skipped and have not arrived.

use crate::classify::Side;

/// Gaps remembered per side; beyond that, it is unknown whether all were filled.
const GAPS: usize = 32;

/// Missing parts of both streams. Created when something is missing.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    sides: [Vec<(u64, u64)>; 2],
    too_many: bool,
}

impl Gaps {
    /// Bytes from `start` to `end` were skipped.
    pub(super) fn open(&mut self, side: Side, start: u64, end: u64) {
        let gaps = &mut self.sides[side as usize];
        if gaps.len() < GAPS {
            gaps.push((start, end));
        } else {
            self.too_many = true;
        }
    }

    /// Bytes from `start` to `end` have arrived.
    pub(super) fn fill(&mut self, side: Side, start: u64, end: u64) {
        let gaps = &mut self.sides[side as usize];
        for at in (0..gaps.len()).rev() {
            let (from, to) = gaps[at];
            if start >= to || end <= from {
                continue;
            }
            gaps.swap_remove(at);
            for (from, to) in [(from, start), (end, to)] {
                if from < to {
                    self.too_many |= gaps.len() == GAPS;
                    gaps.truncate(GAPS - 1);
                    gaps.push((from, to));
                }
            }
        }
    }

    /// Whether nothing is missing.
    pub(super) fn is_empty(&self) -> bool {
        !self.too_many && self.sides.iter().all(Vec::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_close_in_any_order() {
        let mut gaps = Gaps::default();
        gaps.open(Side::Client, 100, 200);
        gaps.open(Side::Client, 300, 400);
        gaps.fill(Side::Server, 0, 1_000);
        gaps.fill(Side::Client, 140, 160);
        gaps.fill(Side::Client, 90, 141);
        assert!(!gaps.is_empty());
        gaps.fill(Side::Client, 159, 350);
        gaps.fill(Side::Client, 350, 399);
        assert!(!gaps.is_empty(), "one byte");
        gaps.fill(Side::Client, 399, 400);
        assert!(gaps.is_empty());
    }

    #[test]
    fn more_than_are_remembered_stay_open() {
        let mut gaps = Gaps::default();
        for i in 0..100 {
            gaps.open(Side::Server, 10 * i, 10 * i + 5);
        }
        gaps.fill(Side::Server, 0, 10_000);
        assert!(!gaps.is_empty());
        let mut gaps = Gaps::default();
        gaps.open(Side::Server, 0, 1_000);
        for i in 0..100 {
            gaps.fill(Side::Server, 10 * i + 1, 10 * i + 2);
        }
        assert!(gaps.sides[1].len() <= GAPS && !gaps.is_empty());
    }
}

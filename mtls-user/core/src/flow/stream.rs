//! One direction of a connection: from 32-bit sequence numbers to positions in a stream.

use std::num::NonZeroU32;

/// In so many nanoseconds a pod sends less than the 4 GiB after which sequence numbers repeat, up
/// to 10 Gbit/s: of a longer silence between two samples, how much was sent cannot be told.
const WRAP: u64 = 3_000_000_000;
/// Times are kept in units of 2^20 ns, about a millisecond.
const TICK: u32 = 20;

/// What is known of one side's stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stream {
    /// The furthest position seen.
    pub(super) next: u64,
    isn: u32,
    /// Sequence number of position 0.
    base: u32,
    /// When `next` last moved, in ticks; the least bit is set.
    at: Option<NonZeroU32>,
    start: Start,
    /// The FIN was seen.
    pub(super) fin: bool,
    /// Sequence numbers may have gone round unseen.
    wrapped: bool,
}

/// What is known of a stream's first sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Start {
    #[default]
    Unknown,
    /// Position 0 is the first one met.
    Settled,
    /// The SYN was seen (by us or by the kernel).
    Seen,
}

impl Stream {
    /// Initial sequence number, where the SYN was seen.
    pub(super) fn isn(&self) -> Option<u32> {
        (self.start == Start::Seen).then_some(self.isn)
    }

    /// The SYN's sequence number became known.
    pub(super) fn begin(&mut self, isn: u32) {
        match self.start {
            Start::Seen => return,
            Start::Unknown => self.base = isn.wrapping_add(1),
            // Positions given out already stay what they are.
            Start::Settled => {}
        }
        self.isn = isn;
        self.start = Start::Seen;
    }

    /// Without a SYN, the first sequence number met is position 0.
    pub(super) fn settle(&mut self, seq: u32) {
        if self.start == Start::Unknown {
            self.base = seq;
            self.start = Start::Settled;
        }
    }

    /// The position of `seq`, taken to be the one nearest to the furthest seen; negative before 0.
    pub(super) fn position(&self, seq: u32) -> Option<i64> {
        if self.start == Start::Unknown {
            return None;
        }
        let near = self.base.wrapping_add(self.next as u32);
        Some(self.next as i64 + i64::from(seq.wrapping_sub(near) as i32))
    }

    /// Everything up to `end` has been seen to be sent.
    pub(super) fn reach(&mut self, end: u64, time: u64, sampled: bool) {
        self.next = self.next.max(end);
        if !sampled {
            return;
        }
        // Ticks go round after seven weeks, far beyond any flow's silence.
        let now = (time >> TICK) as u32 | 1;
        let passed = self.at.map_or(0, |at| now.wrapping_sub(at.get()) as i32);
        self.wrapped |= passed > (WRAP >> TICK) as i32;
        if passed >= 0 {
            self.at = NonZeroU32::new(now);
        }
    }

    /// Payload bytes of the stream, where they can be told. Of a flow that is sampled they are
    /// known when it ends.
    pub(super) fn bytes(&self, sampled: bool) -> Option<u64> {
        let whole = !sampled || (self.fin && !self.wrapped && self.start == Start::Seen);
        whole.then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_go_on_where_sequence_numbers_wrap() {
        let mut s = Stream::default();
        s.begin(u32::MAX - 10);
        assert_eq!(s.position(u32::MAX - 9), Some(0));
        s.reach(10, 1, false);
        assert_eq!(s.position(5), Some(15));
        s.reach(3_000_000_000, 2, false);
        s.reach(5_000_000_000, 3, false);
        let seq = (u32::MAX - 9).wrapping_add(5_000_000_007_u64 as u32);
        assert_eq!(s.position(seq), Some(5_000_000_007));
        // A keep-alive's byte lies before.
        assert_eq!(s.position(seq.wrapping_sub(8)), Some(4_999_999_999));
    }

    #[test]
    fn bytes_of_a_long_silence_are_not_claimed() {
        let mut s = Stream::default();
        s.begin(0);
        s.reach(100, 1_000, true);
        assert_eq!(s.bytes(true), None, "still open");
        s.fin = true;
        assert_eq!(s.bytes(true), Some(100));
        s.reach(200, 1_000 + WRAP - (1 << TICK), true);
        s.reach(150, 2_000, true);
        assert_eq!(s.bytes(true), Some(200));
        s.reach(300, 1_000 + 2 * WRAP + (1 << TICK), true);
        assert_eq!(s.bytes(true), None);
    }
}

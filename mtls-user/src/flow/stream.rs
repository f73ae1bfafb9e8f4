//! One direction of a connection: from 32-bit sequence numbers to positions in a stream.

/// In so many nanoseconds a pod sends less than the 4 GiB after which sequence numbers repeat, up
/// to 10 Gbit/s: of a longer silence between two samples, how much was sent cannot be told.
const WRAP: u64 = 3_000_000_000;

/// What is known of one side's stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stream {
    /// Initial sequence number, where the SYN was seen (by us or by the kernel).
    pub(super) isn: Option<u32>,
    /// Sequence number of position 0.
    base: Option<u32>,
    /// The furthest position seen.
    pub(super) next: u64,
    /// Position of the FIN.
    pub(super) fin: Option<u64>,
    /// When `next` last moved; nanoseconds.
    at: u64,
    /// Sequence numbers may have gone round unseen.
    wrapped: bool,
}

impl Stream {
    /// The SYN's sequence number became known.
    pub(super) fn begin(&mut self, isn: u32) {
        if self.isn.is_none() {
            self.isn = Some(isn);
            // Positions given out already stay what they are.
            self.base.get_or_insert(isn.wrapping_add(1));
        }
    }

    /// Without a SYN, the first sequence number met is position 0.
    pub(super) fn settle(&mut self, seq: u32) {
        self.base.get_or_insert(seq);
    }

    /// The position of `seq`, taken to be the one nearest to the furthest seen; negative before 0.
    pub(super) fn position(&self, seq: u32) -> Option<i64> {
        let base = self.base?;
        let near = base.wrapping_add(self.next as u32);
        Some(self.next as i64 + i64::from(seq.wrapping_sub(near) as i32))
    }

    /// Everything up to `end` has been seen to be sent.
    pub(super) fn reach(&mut self, end: u64, time: u64, sampled: bool) {
        if sampled && self.at != 0 && time.saturating_sub(self.at) > WRAP {
            self.wrapped = true;
        }
        self.next = self.next.max(end);
        self.at = self.at.max(time);
    }

    /// Payload bytes of the stream, where they can be told. Of a flow that is sampled they are
    /// known when it ends.
    pub(super) fn bytes(&self, sampled: bool) -> Option<u64> {
        let whole = !sampled || (self.fin.is_some() && !self.wrapped && self.isn.is_some());
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
        s.fin = Some(100);
        assert_eq!(s.bytes(true), Some(100));
        s.reach(200, 1_000 + WRAP + 1, true);
        assert_eq!(s.bytes(true), None);
    }
}

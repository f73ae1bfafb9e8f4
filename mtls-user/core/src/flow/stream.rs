//! One direction of a connection: converts 32-bit sequence numbers to stream positions.

use std::num::NonZeroU32;

/// In this many nanoseconds, a pod sends less than the 4 GiB after which sequence numbers repeat,
/// at up to 10 Gbit/s. After a longer silence between two samples, it cannot be determined how much
/// was sent.
const WRAP: u64 = 3_000_000_000;
/// Times are kept in units of 2^20 ns, about a millisecond.
const TICK: u32 = 20;
/// How far a segment may be ahead of what was seen: windows of this size are in use, and observers
/// lose this many segments …
const AHEAD: u64 = 64 << 20;
/// … plus this many bytes per elapsed tick: 10 Gbit/s.
const PER_TICK: u64 = 1_310_720;
/// How far before the first byte seen a reordered segment of an older connection may be.
const BEHIND: i64 = 1 << 20;

/// The state of one side's stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stream {
    /// The furthest position seen.
    pub(super) next: u64,
    isn: u32,
    /// Sequence number of position 0.
    base: u32,
    /// The last sequence number that the other side acknowledged.
    acked: u32,
    /// See [`Second`].
    second: u32,
    /// When `next` last moved, in ticks; the lowest bit is always set.
    at: Option<NonZeroU32>,
    /// Flags: the constants below, a [`Start`] and a [`Second`].
    bits: u8,
}

/// The FIN was seen.
const FIN: u8 = 1 << 0;
const HAS_ACKED: u8 = 1 << 1;
/// The other side's FIN or RST acknowledged that it received nothing.
const CONFIRMED_EMPTY: u8 = 1 << 2;
/// Sequence numbers may have wrapped around unseen.
const WRAPPED: u8 = 1 << 3;
/// Positions of the [`Start`] and the [`Second`]: two bits each.
const START_AT: u8 = 4;
const SECOND_AT: u8 = 6;

/// What is known of a stream's first sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Start {
    #[default]
    Unknown = 0,
    /// Position 0 is the first one seen.
    Settled = 1,
    /// The SYN was seen (by us or by the kernel).
    Seen = 2,
}

/// What a second sequence number is that may be position 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Second {
    #[default]
    None = 0,
    /// Of the same stream: two SYN-ACKs, or numbers seen before and after a firewall rewrites them.
    Alias = 1,
    /// Of a later connection between the same ends, if there is one: its SYN was seen, but may be
    /// forged (RFC 5961 §4).
    Pending = 2,
}

/// The position of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Near {
    /// At this position; negative before the first one.
    Here(i64),
    /// In the connection of the latest SYN.
    Pending,
    /// Too far from everything that was seen to belong to this stream.
    Far,
}

impl Stream {
    fn has(&self, bit: u8) -> bool {
        self.bits & bit != 0
    }

    fn note(&mut self, bit: u8, value: bool) {
        self.bits = self.bits & !bit | if value { bit } else { 0 };
    }

    fn start(&self) -> Start {
        match self.bits >> START_AT & 3 {
            0 => Start::Unknown,
            1 => Start::Settled,
            _ => Start::Seen,
        }
    }

    fn set_start(&mut self, start: Start) {
        self.bits = self.bits & !(3 << START_AT) | (start as u8) << START_AT;
    }

    fn second_is(&self) -> Second {
        match self.bits >> SECOND_AT {
            0 => Second::None,
            1 => Second::Alias,
            _ => Second::Pending,
        }
    }

    fn set_second(&mut self, second: u32, kind: Second) {
        self.second = second;
        self.bits = self.bits & !(3 << SECOND_AT) | (kind as u8) << SECOND_AT;
    }

    /// The FIN was seen.
    pub(super) fn fin(&self) -> bool {
        self.has(FIN)
    }

    pub(super) fn set_fin(&mut self, fin: bool) {
        self.note(FIN, fin);
    }

    /// The other side's FIN or RST acknowledged that it received nothing.
    pub(super) fn is_confirmed_empty(&self) -> bool {
        self.has(CONFIRMED_EMPTY)
    }

    /// Initial sequence number, if the SYN was seen.
    pub(super) fn isn(&self) -> Option<u32> {
        (self.start() == Start::Seen).then_some(self.isn)
    }

    /// The start of the stream is known, even if only as the first byte seen.
    pub(super) fn has_base(&self) -> bool {
        self.start() != Start::Unknown
    }

    /// The SYN's sequence number has become known.
    pub(super) fn begin(&mut self, isn: u32) {
        match self.start() {
            Start::Seen => return,
            // Positions that were already handed out do not change.
            Start::Settled if self.next > 0 => {}
            Start::Unknown | Start::Settled => self.base = isn.wrapping_add(1),
        }
        self.isn = isn;
        self.set_start(Start::Seen);
    }

    /// A second SYN or SYN-ACK of the same connection, with another number.
    pub(super) fn begin_again(&mut self, isn: u32) {
        self.set_second(isn.wrapping_add(1), Second::Alias);
    }

    /// The SYN of what may be another connection.
    pub(super) fn expect_other(&mut self, isn: u32) {
        if self.second_is() != Second::Alias {
            self.set_second(isn.wrapping_add(1), Second::Pending);
        }
    }

    /// Initial sequence number of what may be another connection.
    pub(super) fn pending(&self) -> Option<u32> {
        (self.second_is() == Second::Pending).then(|| self.second.wrapping_sub(1))
    }

    /// Whether `ack` acknowledges the SYN and nothing more.
    pub(super) fn is_syn_acked_by(&self, ack: u32) -> bool {
        self.start() == Start::Seen
            && (ack == self.isn.wrapping_add(1)
                || self.second_is() == Second::Alias && ack == self.second)
    }

    /// Without a SYN, the first sequence number seen is position 0.
    pub(super) fn settle(&mut self, seq: u32) {
        if self.start() == Start::Unknown {
            self.base = seq;
            self.set_start(Start::Settled);
        }
    }

    /// The first byte has another number than the SYN implied: it was rewritten on the way.
    pub(super) fn rebase(&mut self, seq: u32) {
        self.set_second(self.base, Second::Alias);
        self.base = seq;
    }

    /// The position of `seq` that is nearest to the furthest position seen; negative before 0.
    fn position(&self, seq: u32, base: u32) -> i64 {
        let near = base.wrapping_add(self.next as u32);
        self.next as i64 + i64::from(seq.wrapping_sub(near) as i32)
    }

    /// The position of `seq` in a stream whose start is known.
    pub(super) fn locate(&self, seq: u32, time: u64) -> Near {
        let position = self.position(seq, self.base);
        if self.is_near(position, time) && self.second_is() != Second::Alias {
            return Near::Here(position);
        }
        match self.second_is() {
            Second::None => Near::Far,
            Second::Pending => {
                let ahead = u64::from(seq.wrapping_sub(self.second));
                if ahead <= AHEAD {
                    Near::Pending
                } else {
                    Near::Far
                }
            }
            Second::Alias => {
                let other = self.position(seq, self.second);
                let distance = |position: i64| position.abs_diff(self.next as i64);
                let nearest = if distance(other) < distance(position) {
                    other
                } else {
                    position
                };
                if self.is_near(nearest, time) {
                    Near::Here(nearest)
                } else {
                    Near::Far
                }
            }
        }
    }

    fn is_near(&self, position: i64, time: u64) -> bool {
        match self.start() {
            Start::Unknown => true,
            // The SYN itself, or a keep-alive before any data.
            Start::Seen if position < 0 => position >= -1,
            Start::Settled if position < 0 => position > -BEHIND,
            _ => {
                let ahead = (position as u64).saturating_sub(self.next);
                ahead <= AHEAD || {
                    let passed = u64::from(self.passed(time).unsigned_abs());
                    ahead <= AHEAD + passed * PER_TICK
                }
            }
        }
    }

    /// Ticks since `next` last moved.
    fn passed(&self, time: u64) -> i32 {
        let now = (time >> TICK) as u32 | 1;
        // Ticks wrap around after seven weeks, far longer than any flow is idle.
        self.at.map_or(0, |at| now.wrapping_sub(at.get()) as i32)
    }

    /// Everything up to `end` is known to have been sent.
    pub(super) fn reach(&mut self, end: u64, time: u64, sampled: bool) {
        self.next = self.next.max(end);
        let passed = self.passed(time);
        if sampled && passed > (WRAP >> TICK) as i32 {
            self.note(WRAPPED, true);
        }
        if passed >= 0 {
            self.at = NonZeroU32::new((time >> TICK) as u32 | 1);
        }
    }

    /// The other side acknowledged up to `ack`, which is at `position`.
    pub(super) fn acknowledge(&mut self, ack: u32, position: i64, ends: bool) {
        self.acked = ack;
        self.note(HAS_ACKED, true);
        if ends {
            let empty = position == 0 || position == 1 && self.fin() && self.next == 0;
            self.note(CONFIRMED_EMPTY, empty);
        }
    }

    /// Whether a RST at `seq` is at the number that the receiver expects (RFC 9293 §3.5.2): after
    /// everything that was sent, or at the last number that it acknowledged. `None` if that cannot
    /// be determined, because not everything that was sent was seen.
    pub(super) fn expects(&self, seq: u32, time: u64) -> Option<bool> {
        let Near::Here(position) = self.locate(seq, time) else {
            return Some(false);
        };
        let next = self.next as i64;
        if position == next
            || self.fin() && position == next + 1
            || self.has(HAS_ACKED) && seq == self.acked
        {
            return Some(true);
        }
        let acked = if self.has(HAS_ACKED) {
            self.position(self.acked, self.base)
        } else {
            0
        };
        (position < acked).then_some(false)
    }

    /// `seq` is after everything that was seen to be sent.
    pub(super) fn is_beyond(&self, seq: u32, time: u64) -> bool {
        matches!(self.locate(seq, time), Near::Here(at) if at > self.next as i64)
    }

    /// The side's own FIN, or the other's last acknowledgement, proves that it carried nothing.
    pub(super) fn is_proven_empty(&self) -> bool {
        self.next == 0 && self.start() == Start::Seen && (self.fin() || self.is_confirmed_empty())
    }

    /// Payload bytes of the stream, if they can be determined. For a sampled flow, they are known
    /// when it ends, or when the other side's last acknowledgement says that there are none.
    pub(super) fn bytes(&self, sampled: bool) -> Option<u64> {
        let ended = self.fin() && !self.has(WRAPPED) && self.start() == Start::Seen;
        let whole = !sampled || ended || self.is_proven_empty();
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
        assert_eq!(s.locate(u32::MAX - 9, 0), Near::Here(0));
        s.reach(10, 1, false);
        assert_eq!(s.locate(5, 0), Near::Here(15));
        s.reach(3_000_000_000, 2, false);
        s.reach(5_000_000_000, 3, false);
        let seq = (u32::MAX - 9).wrapping_add(5_000_000_007_u64 as u32);
        assert_eq!(s.locate(seq, 0), Near::Here(5_000_000_007));
        // A keep-alive's byte is before that.
        assert_eq!(s.locate(seq.wrapping_sub(8), 0), Near::Here(4_999_999_999));
    }

    #[test]
    fn bytes_of_a_long_silence_are_not_claimed() {
        let mut s = Stream::default();
        s.begin(0);
        s.reach(100, 1_000, true);
        assert_eq!(s.bytes(true), None, "still open");
        s.set_fin(true);
        assert_eq!(s.bytes(true), Some(100));
        s.reach(200, 1_000 + WRAP - (1 << TICK), true);
        s.reach(150, 2_000, true);
        assert_eq!(s.bytes(true), Some(200));
        s.reach(300, 1_000 + 2 * WRAP + (1 << TICK), true);
        assert_eq!(s.bytes(true), None);
    }

    #[test]
    fn what_cannot_be_of_the_stream_is_far() {
        let mut s = Stream::default();
        s.begin(999);
        s.reach(500, 1, false);
        assert_eq!(s.locate(1_500, 2), Near::Here(500));
        assert_eq!(s.locate(1_500 + (1 << 30), 2), Near::Far);
        // The distance that 10 Gbit/s cover in one second.
        assert_eq!(
            s.locate(1_500 + (1 << 30), 1_000_000_000),
            Near::Here(500 + (1 << 30))
        );
        assert_eq!(s.locate(900, 2), Near::Far, "before the SYN");
    }

    #[test]
    fn a_reset_is_expected_at_one_place() {
        let mut s = Stream::default();
        s.begin(999);
        s.reach(500, 1, false);
        assert_eq!(s.expects(1_500, 2), Some(true));
        assert_eq!(s.expects(1_501, 2), None, "a byte may have been missed");
        assert_eq!(s.expects(1_501 + (1 << 30), 2), Some(false));
        s.acknowledge(1_400, 400, false);
        assert_eq!(s.expects(1_400, 2), Some(true));
        assert_eq!(s.expects(1_300, 2), Some(false));
        s.set_fin(true);
        assert_eq!(s.expects(1_501, 2), Some(true));
    }

    #[test]
    fn numbers_rewritten_on_the_way_mean_the_same_positions() {
        let mut s = Stream::default();
        s.begin(1_000);
        s.begin_again(3_000_000_000);
        s.reach(10, 1, false);
        assert_eq!(s.locate(1_011, 2), Near::Here(10));
        assert_eq!(s.locate(3_000_000_011, 2), Near::Here(10));
        assert!(s.is_syn_acked_by(3_000_000_001) && s.is_syn_acked_by(1_001));
    }
}

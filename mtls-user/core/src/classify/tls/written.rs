//! Which of the client's records were written together: those in one segment.
//!
//! A client writes its whole flight at once, and application data afterwards. A record that begins
//! in the segment in which the previous one ends was therefore written together with it, unless the
//! sender's kernel joined two writes, as it does while it may not send. The opposite proves nothing:
//! a segment may end anywhere.

use smallvec::SmallVec;

use crate::classify::Piece;

/// How many segments are remembered: an old one can only matter if segments are reordered.
const SEGMENTS: usize = 4;

/// The client's latest segments, and what they show.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Where each begins and ends, as far as it was seen.
    segments: SmallVec<[(u64, u64); SEGMENTS]>,
    /// How many records follow the first one, each known to have been written with the previous one.
    more: usize,
}

impl Written {
    /// A piece of the client's stream.
    pub(super) fn piece(&mut self, piece: &Piece<'_>) {
        if self.segments.len() == SEGMENTS {
            self.segments.remove(0);
        }
        let start = piece.offset.saturating_sub(piece.inside.into());
        let end = piece.offset.saturating_add(piece.len.into());
        self.segments.push((start, end));
    }

    /// A record of the client's flight begins at `at`, after `before` others.
    pub(super) fn record(&mut self, before: usize, at: u64) {
        let spans = |(start, end): &(u64, u64)| *start < at && at < *end;
        if before == self.more + 1 && self.segments.iter().any(spans) {
            self.more = before;
        }
    }

    /// Another flight follows.
    pub(super) fn forget(&mut self) {
        self.more = 0;
    }

    /// How many records of the flight, from the first one on, are known to have been written together.
    pub(super) fn together(&self) -> usize {
        self.more + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u64, len: u32, inside: bool) -> Piece<'static> {
        Piece {
            offset,
            len,
            bytes: &[],
            ack: None,
            time: 0,
            inside,
        }
    }

    #[test]
    fn a_record_at_the_start_of_a_segment_may_have_been_written_later() {
        let mut written = Written::default();
        written.piece(&piece(100, 227, false));
        written.record(0, 100);
        written.piece(&piece(327, 300, false));
        written.record(1, 327);
        assert_eq!(written.together(), 1);
        written.record(2, 400);
        assert_eq!(written.together(), 1, "the second one was not");
        written.forget();
        // The kernel delivers the start of each record.
        written.piece(&piece(800, 100, false));
        written.piece(&piece(900, 37, true));
        written.record(0, 800);
        written.record(1, 900);
        assert_eq!(written.together(), 2);
        written.record(2, 1_000);
        assert_eq!(written.together(), 2);
        written.forget();
        written.record(1, 5_000);
        assert_eq!(written.together(), 1, "not seen");
    }
}

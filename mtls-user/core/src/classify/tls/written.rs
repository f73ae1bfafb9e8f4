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
    together: bool,
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

    /// The second record of the client's flight begins at `at`.
    pub(super) fn second(&mut self, at: u64) {
        let spans = |(start, end): &(u64, u64)| *start < at && at < *end;
        self.together |= self.segments.iter().any(spans);
    }

    /// Another flight follows.
    pub(super) fn forget(&mut self) {
        self.together = false;
    }

    /// Whether the first two records of the flight are known to have been written together.
    pub(super) fn is_together(&self) -> bool {
        self.together
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
        written.piece(&piece(327, 300, false));
        written.second(327);
        assert!(!written.is_together());
        // The kernel delivers the start of each record.
        written.piece(&piece(900, 37, true));
        written.second(900);
        assert!(written.is_together());
        written.forget();
        assert!(!written.is_together());
        written.second(5_000);
        assert!(!written.is_together(), "not seen");
    }
}

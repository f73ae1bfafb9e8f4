//! Bytes that arrive in pieces: in any order, repeatedly, and with other boundaries each time.
//!
//! They take as much memory as has arrived, wherever a piece claims to belong: a datagram of a few
//! bytes can place them at the end of a long message.

use smallvec::SmallVec;

/// Non-adjacent pieces that are kept; Chrome splits a hello into fewer than twenty.
const PIECES: usize = 64;

/// The same position was sent twice with different bytes: which of them the peer accepted is
/// unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Conflict;

/// What has arrived.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Positions and bytes, in order; no two touch.
    pieces: SmallVec<[(usize, Vec<u8>); 1]>,
}

fn end((at, piece): &(usize, Vec<u8>)) -> usize {
    at + piece.len()
}

impl Pieces {
    /// Adds bytes at a position; false if there are too many pieces to keep them.
    pub(super) fn add(&mut self, start: usize, bytes: &[u8]) -> Result<bool, Conflict> {
        if bytes.is_empty() {
            return Ok(true);
        }
        let stop = start + bytes.len();
        for piece in &self.pieces {
            let (from, to) = (start.max(piece.0), stop.min(end(piece)));
            if from < to && bytes[from - start..to - start] != piece.1[from - piece.0..to - piece.0]
            {
                return Err(Conflict);
            }
        }
        let first = self.pieces.partition_point(|piece| end(piece) < start);
        let last = self.pieces.partition_point(|(at, _)| *at <= stop);
        if first == last {
            let room = self.pieces.len() < PIECES;
            if room {
                self.pieces.insert(first, (start, bytes.to_vec()));
            }
            return Ok(room);
        }
        // One piece of all that it touches.
        let mut joined = if self.pieces[first].0 <= start {
            let mut joined = std::mem::take(&mut self.pieces[first]);
            append(&mut joined, start, bytes);
            joined
        } else {
            (start, bytes.to_vec())
        };
        for (at, piece) in &self.pieces[first..last] {
            append(&mut joined, *at, piece);
        }
        self.pieces.drain(first..last);
        self.pieces.insert(first, joined);
        Ok(true)
    }

    /// Memory that is held, in bytes.
    pub(super) fn held(&self) -> usize {
        let pieces = self.pieces.iter();
        pieces
            .map(|(_, bytes)| size_of::<(usize, Vec<u8>)>() + bytes.capacity())
            .sum()
    }

    /// The bytes from the beginning up to the first gap.
    pub(super) fn start(&self) -> &[u8] {
        match self.pieces.first() {
            Some((0, bytes)) => bytes,
            _ => &[],
        }
    }
}

/// Appends what `bytes` at `at` has beyond the end of `joined`.
fn append(joined: &mut (usize, Vec<u8>), at: usize, bytes: &[u8]) {
    if let Some(more) = bytes.get(end(joined).saturating_sub(at)..) {
        joined.1.extend_from_slice(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_order_and_other_boundaries(
            spans in proptest::collection::vec((0_usize..200, 1_usize..60), 1..40),
        ) {
            let whole: Vec<u8> = (0..=255).collect();
            let (mut pieces, mut have) = (Pieces::default(), [false; 260]);
            for (at, len) in spans {
                let to = (at + len).min(whole.len());
                prop_assert_eq!(pieces.add(at, &whole[at..to]), Ok(true));
                have[at..to].fill(true);
                let known = have.iter().take_while(|have| **have).count();
                prop_assert_eq!(pieces.start(), &whole[..known]);
            }
            let kept: usize = pieces.pieces.iter().map(|(_, bytes)| bytes.len()).sum();
            prop_assert_eq!(kept, have.iter().filter(|have| **have).count());
            prop_assert!(pieces.pieces.windows(2).all(|two| end(&two[0]) < two[1].0));
        }
    }

    #[test]
    fn two_stories_are_a_conflict() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.add(0, &[1, 2, 3]), Ok(true));
        assert_eq!(pieces.add(2, &[9, 4]), Err(Conflict));
        assert_eq!(pieces.start(), [1, 2, 3]);
    }

    /// A position costs nothing, and the number of pieces is limited.
    #[test]
    fn memory_is_what_arrived() {
        let mut pieces = Pieces::default();
        pieces.add(32_000, &[1]).unwrap();
        assert_eq!(pieces.pieces[0].1.capacity(), 1);
        assert!(pieces.held() < 64);
        for at in 0..10_000 {
            pieces.add(2 * at + 1, &[1]).unwrap();
        }
        assert_eq!(pieces.pieces.len(), PIECES);
        assert_eq!(pieces.add(0, &[1]), Ok(true), "the start is still taken");
    }
}

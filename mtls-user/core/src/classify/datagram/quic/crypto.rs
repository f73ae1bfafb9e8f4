//! One direction's CRYPTO stream, reassembled from frames in any order (RFC 9000 §19.6).

use smallvec::SmallVec;

/// The longest stream that is reassembled, in bytes: two ClientHellos with post-quantum keys and a
/// session ticket take some 6,000.
const MAX: usize = 32 << 10;
/// Non-adjacent pieces; Chrome splits a hello into fewer than twenty.
const PIECES: usize = 64;

/// One direction's stream.
#[derive(Debug, Default)]
pub(super) struct Crypto {
    data: Vec<u8>,
    /// The available ranges, in order and not touching.
    have: SmallVec<[(usize, usize); 4]>,
    /// The same position was sent twice with different bytes: it is unknown which the peer
    /// accepted.
    pub(super) conflict: bool,
}

impl Crypto {
    /// Adds a frame; true if more of the stream's start is available than before.
    pub(super) fn add(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let Some(start) = usize::try_from(offset).ok().filter(|at| *at <= MAX) else {
            return false;
        };
        let end = start + bytes.len();
        if bytes.is_empty() || end > MAX {
            return false;
        }
        for &(from, to) in &self.have {
            let (from, to) = (from.max(start), to.min(end));
            if from < to && self.data[from..to] != bytes[from - start..to - start] {
                self.conflict = true;
                return false;
            }
        }
        let before = self.start().len();
        let first = self.have.partition_point(|(_, to)| *to < start);
        let last = self.have.partition_point(|(from, _)| *from <= end);
        if first == last && self.have.len() == PIECES {
            return false;
        }
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[start..end].copy_from_slice(bytes);
        let merged = self.have[first..last]
            .iter()
            .fold((start, end), |(a, b), (from, to)| {
                (a.min(*from), b.max(*to))
            });
        self.have.drain(first..last);
        self.have.insert(first, merged);
        self.start().len() > before
    }

    /// Memory that is held, in bytes.
    pub(super) fn held(&self) -> usize {
        self.data.capacity()
    }

    /// The bytes from the start of the stream up to the first gap.
    pub(super) fn start(&self) -> &[u8] {
        match self.have.first() {
            Some((0, end)) => &self.data[..*end],
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_and_twice() {
        let whole: Vec<u8> = (0..200).collect();
        let pieces = [(150, 50), (0, 10), (100, 60), (5, 50), (0, 10), (50, 55)];
        let mut crypto = Crypto::default();
        for (at, len) in pieces {
            crypto.add(at as u64, &whole[at..at + len]);
        }
        assert_eq!(crypto.start(), whole);
        assert_eq!(crypto.have.len(), 1);
    }

    #[test]
    fn two_stories_are_a_conflict() {
        let mut crypto = Crypto::default();
        assert!(crypto.add(0, &[1, 2, 3]));
        assert!(!crypto.add(2, &[9, 4]));
        assert!(crypto.conflict);
        assert_eq!(crypto.start(), [1, 2, 3]);
    }

    #[test]
    fn bounded() {
        let mut crypto = Crypto::default();
        assert!(!crypto.add(u64::MAX, &[1]));
        assert!(!crypto.add(MAX as u64, &[1]));
        for at in 0..MAX as u64 / 2 {
            crypto.add(2 * at + 1, &[1]);
        }
        assert_eq!(crypto.have.len(), PIECES);
        assert!(crypto.add(0, &[1]), "the start is still taken");
    }
}

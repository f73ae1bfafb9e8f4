//! One direction's CRYPTO stream, reassembled from frames in any order (RFC 9000 §19.6).

use crate::classify::datagram::pieces::Pieces;

/// The longest stream that is reassembled, in bytes: two ClientHellos with post-quantum keys and a
/// session ticket take some 6,000.
const MAX: usize = 32 << 10;

/// One direction's stream.
#[derive(Debug, Default)]
pub(super) struct Crypto {
    pieces: Pieces,
    /// The same position was sent twice with different bytes.
    pub(super) conflict: bool,
}

impl Crypto {
    /// Adds a frame.
    pub(super) fn add(&mut self, offset: u64, bytes: &[u8]) {
        let within = usize::try_from(offset)
            .ok()
            .filter(|at| at.saturating_add(bytes.len()) <= MAX);
        if let Some(start) = within.filter(|_| !bytes.is_empty()) {
            self.conflict |= self.pieces.add(start, bytes).is_err();
        }
    }

    /// Memory that is held, in bytes.
    pub(super) fn held(&self) -> usize {
        self.pieces.held()
    }

    /// The bytes from the start of the stream up to the first gap.
    pub(super) fn start(&self) -> &[u8] {
        self.pieces.start()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded() {
        let mut crypto = Crypto::default();
        crypto.add(u64::MAX, &[1]);
        crypto.add(MAX as u64, &[1]);
        for at in 0..=MAX as u64 {
            crypto.add(at, &[1, 1]);
        }
        assert_eq!(crypto.start().len(), MAX);
        assert!(!crypto.conflict);
        crypto.add(7, &[2]);
        assert!(crypto.conflict);
    }
}

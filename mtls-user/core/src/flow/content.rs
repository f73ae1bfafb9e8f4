//! Digests of stream contents, so that conflicting contents for the same positions are noticed,
//! whichever of them the receiver accepted.

use std::hash::{BuildHasher, Hasher};

use crate::classify::Side;

/// Each block of this many bytes has a digest; every segment of at least twice that length minus
/// one is compared.
const BLOCK: u64 = 8;
/// Bytes at a stream's start that are covered: hellos and certificates are within.
const REACH: u64 = 8 << 10;
/// A block that was not completely seen. One of the 255 digests stands for two values.
const NONE: u8 = 0;

/// Digests of the start of both streams.
#[derive(Debug, Default)]
pub(super) struct Content {
    blocks: [Vec<u8>; 2],
}

impl Content {
    /// Records bytes at `offset`; false if they differ from what was there before.
    pub(super) fn add(
        &mut self,
        seed: &impl BuildHasher,
        side: Side,
        offset: u64,
        bytes: &[u8],
    ) -> bool {
        let mut same = true;
        let blocks = &mut self.blocks[side as usize];
        for (at, digest) in digests(seed, offset, bytes) {
            if blocks.len() <= at {
                blocks.resize(at + 1, NONE);
            }
            same &= blocks[at] == NONE || blocks[at] == digest;
            blocks[at] = digest;
        }
        same
    }

    /// Memory that is held, in bytes.
    pub(super) fn held(&self) -> usize {
        self.blocks.iter().map(Vec::capacity).sum()
    }

    /// Whether bytes at `offset` match what was seen there, as far as that is known.
    pub(super) fn agrees(
        &self,
        seed: &impl BuildHasher,
        side: Side,
        offset: u64,
        bytes: &[u8],
    ) -> bool {
        let blocks = &self.blocks[side as usize];
        digests(seed, offset, bytes).all(|(at, digest)| {
            blocks
                .get(at)
                .is_none_or(|known| *known == NONE || *known == digest)
        })
    }
}

/// The digests of the blocks that lie within `bytes`, with their numbers. Each table has its own
/// seed, so that a sender cannot construct two blocks with the same digest.
fn digests(
    seed: &impl BuildHasher,
    offset: u64,
    bytes: &[u8],
) -> impl Iterator<Item = (usize, u8)> {
    let skip = offset.wrapping_neg() % BLOCK;
    let first = offset.saturating_add(skip) / BLOCK;
    let inside = bytes.get(skip as usize..).unwrap_or_default();
    let (blocks, _) = inside.as_chunks::<{ BLOCK as usize }>();
    (first..REACH / BLOCK).zip(blocks).map(|(at, block)| {
        let mut state = seed.build_hasher();
        state.write_u64(u64::from_ne_bytes(*block));
        (at as usize, ((state.finish() >> 56) as u8).max(1))
    })
}

#[cfg(test)]
mod tests {
    use foldhash::fast::FixedState;

    use super::*;

    #[test]
    fn other_bytes_at_the_same_place_are_noticed_in_every_segmentation() {
        let seed = FixedState::default();
        let real: Vec<u8> = (0..400).map(|i| (i * 7) as u8).collect();
        let forged: Vec<u8> = real.iter().map(|b| b ^ 0x5a).collect();
        for n in 2 * BLOCK as usize - 1..200 {
            let mut content = Content::default();
            assert!(content.add(&seed, Side::Client, 0, &real[..300]));
            for (i, piece) in real.chunks(n).enumerate() {
                assert!(content.add(&seed, Side::Client, (i * n) as u64, piece));
            }
            let whole = forged[..300].chunks_exact(n);
            let noticed = whole.enumerate().map(|(i, piece)| {
                assert!(content.agrees(&seed, Side::Server, (i * n) as u64, piece));
                !content.agrees(&seed, Side::Client, (i * n) as u64, piece)
            });
            // One block in 255 has the same digest by chance.
            assert!(
                noticed.filter(|noticed| *noticed).count() * 10 >= 300 / n * 9,
                "{n}"
            );
        }
    }

    #[test]
    fn only_the_start_is_kept() {
        let (seed, mut content) = (FixedState::default(), Content::default());
        content.add(&seed, Side::Client, 0, &vec![1; 100_000]);
        content.add(&seed, Side::Client, u64::MAX, &[1; 100]);
        assert_eq!(content.blocks[0].len() as u64, REACH / BLOCK);
    }
}

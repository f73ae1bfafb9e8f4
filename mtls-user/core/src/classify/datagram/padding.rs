//! Whether padding explains the lengths of what a client encrypted.
//!
//! A client may pad its packets (QUIC) or records (DTLS 1.3) by a rule: to a least size, to a
//! multiple of a block, or both (picoquic's `padding_minsize` and `padding_multiple`). Its Finished
//! may then be as long as a certificate. But if so, either nothing is shorter, or the lengths of
//! any two are equal or differ by at least the padding of that Finished. Lengths that contradict
//! both exclude such a rule.

use smallvec::SmallVec;

/// Number of different lengths that are remembered.
const KEPT: usize = 16;
/// Packets that are padded to the same size differ by no more than this: packet numbers take one to
/// four bytes.
const NUMBER: u16 = 3;

/// The different lengths of a client's packets or records of one kind, in order.
#[derive(Debug, Default)]
pub(super) struct Lengths(SmallVec<[u16; 4]>);

impl Lengths {
    pub(super) fn add(&mut self, length: u16) {
        if let Err(at) = self.0.binary_search(&length) {
            // The shortest are the ones that exclude padding.
            self.0.insert(at, length);
            self.0.truncate(KEPT);
        }
    }

    fn shortest(&self) -> Option<u16> {
        self.0.first().copied()
    }

    /// Two lengths that differ, but by less than a block of this size.
    fn differ_within(&self, block: u16) -> bool {
        self.0.windows(2).any(|two| {
            let difference = two[1] - two[0];
            difference > NUMBER && difference + NUMBER < block
        })
    }

    /// All packets were padded to the size of the one with this length.
    fn all_like(&self, length: u16) -> bool {
        self.0.iter().all(|other| other.abs_diff(length) <= NUMBER)
    }
}

impl FromIterator<u16> for Lengths {
    fn from_iter<T: IntoIterator<Item = u16>>(lengths: T) -> Self {
        let mut all = Self::default();
        lengths.into_iter().for_each(|length| all.add(length));
        all
    }
}

/// Whether no rule pads something of at most `most` bytes to `length`. `handshake`, `data`: lengths
/// of what the client sent in its handshake, including this one, and later. `repeated`: there was
/// more than this one in the handshake.
pub(super) fn is_excluded(
    length: u16,
    most: u16,
    handshake: &Lengths,
    data: &Lengths,
    repeated: bool,
) -> bool {
    // If it was padded to a multiple of a block, the block is longer than this.
    let block = length.saturating_sub(most);
    let is_shorter = |other: u16| other + NUMBER < length;
    let no_least = [handshake, data]
        .iter()
        .any(|lengths| lengths.shortest().is_some_and(is_shorter));
    let no_block = [handshake, data]
        .iter()
        .any(|lengths| lengths.differ_within(block));
    // A client that pads only its handshake, to one size.
    let handshake_alike = repeated && handshake.all_like(length);
    no_least && no_block && !handshake_alike
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The longest packet with a Finished of a suite with SHA-256.
    const MOST: u16 = 96;

    fn lengths(all: &[u16]) -> Lengths {
        all.iter().copied().collect()
    }

    proptest! {
        /// Packets of any contents and packet numbers, padded to any least size and any block.
        #[test]
        fn a_client_that_pads_by_one_rule_is_never_mutual(
            finished in 56_u16..=MOST,
            handshake in proptest::collection::vec((20_u16..100, 0_u16..=NUMBER), 0..5),
            data in proptest::collection::vec((20_u16..1200, 0_u16..=NUMBER), 0..20),
            least in 0_u16..1200,
            block in 1_u16..1200,
            id in 0_u16..=20,
            number in 0_u16..=NUMBER,
        ) {
            let pad = |n: u16| least + n.saturating_sub(least).div_ceil(block) * block;
            // Without the packet number, whose length the client chooses afterwards.
            let own = pad(finished - NUMBER) + number;
            prop_assume!(own > MOST);
            let others = handshake.iter().map(|(n, number)| pad(*n) + number);
            let all: Lengths = others.chain([own]).collect();
            // A short header counts, whereas only the Length field of a long one does.
            let data = data.iter().map(|(n, number)| 1 + id + pad(*n) + number).collect();
            prop_assert!(!is_excluded(own, MOST, &all, &data, !handshake.is_empty()));
        }
    }

    #[test]
    fn ordinary_lengths_exclude_it() {
        let data = lengths(&[29, 40]);
        assert!(is_excluded(603, MOST, &lengths(&[603]), &data, false));
        // Nothing is shorter, or all differences are multiples of one block.
        for data in [
            &[][..],
            &[40],
            &[603, 640],
            &[600],
            &[41, 43],
            &[96, 603, 1110],
        ] {
            let excluded = is_excluded(603, MOST, &lengths(&[603]), &lengths(data), false);
            assert!(!excluded, "{data:?}");
        }
        // All Handshake packets are as long as this one.
        assert!(!is_excluded(603, MOST, &lengths(&[603, 604]), &data, true));
        assert!(is_excluded(603, MOST, &lengths(&[24, 603]), &data, true));
    }
}

//! Whether padding explains the lengths of a client's records (RFC 8446 §5.4).
//!
//! A client that pads fills each record's content and type byte up to a multiple of a block, up to
//! the record size limit; the block may be any number (OpenSSL's `-record_padding`). A Finished can
//! be padded to the length of a certificate this way, but then no record of the client is shorter,
//! and every longer one is a multiple of the same block, except for one at the limit. Padding of
//! random length by a client that wants to deceive cannot be detected.

/// The AEAD's tag; lengths are normalised as if every suite had a sixteen-byte tag.
const TAG: u16 = 16;
/// Content and type byte of a Finished with SHA-256 and with SHA-384.
const FINISHED: [u16; 2] = [32 + 4 + 1, 48 + 4 + 1];
/// A padded Finished of at least this length is one block long.
pub(super) const ONE_BLOCK: u16 = 150;

fn inner(len: u16) -> u16 {
    len.saturating_sub(TAG)
}

/// Whether the first record, of at least [`ONE_BLOCK`] bytes, cannot be a Finished that was padded
/// by the same rule as the others.
pub(super) fn is_excluded(records: &[u16]) -> bool {
    let Some((&first, others)) = records.split_first() else {
        return false;
    };
    let longest = others.iter().copied().max().unwrap_or(0);
    others.iter().any(|&len| {
        let cut_off = len.saturating_add(1) >= longest;
        len < first || !inner(len).is_multiple_of(inner(first).max(1)) && !cut_off
    })
}

/// Whether all records have the lengths that padding to one block gives, the first being a
/// Finished.
pub(super) fn explains(records: &[u16]) -> bool {
    let first = records.first().map_or(0, |len| inner(*len));
    let mut blocks = (1..=first).filter(|block| first.is_multiple_of(*block));
    blocks.any(|block| {
        let as_long = |finished: &u16| finished.next_multiple_of(block) == first;
        FINISHED.iter().any(as_long) && records.iter().all(|len| inner(*len).is_multiple_of(block))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A record as OpenSSL pads it: content and type byte up to a multiple of `block`, but at most
    /// to `limit`, the fragment length (`tls13_add_record_padding`).
    fn padded(content: u16, block: u16, limit: u16) -> u16 {
        let len = content + 1;
        let room = limit.saturating_sub(len);
        len + (len.next_multiple_of(block) - len).min(room) + TAG
    }

    proptest! {
        /// Any block, any limit, any content: a Finished that is as long as a certificate is never
        /// taken for one, whatever the client sends afterwards.
        #[test]
        fn a_padded_finished_is_never_excluded(
            block in 1..6000_u16,
            limit in 64..16_385_u16,
            finished in prop::sample::select(vec![36_u16, 52, 8, 44, 60]),
            rest in prop::collection::vec(1..16_384_u16, 0..12),
        ) {
            let first = padded(finished, block, limit);
            prop_assume!(first >= ONE_BLOCK);
            let mut records = vec![first];
            for content in rest {
                let (full, last) = (content / limit, content % limit);
                let whole = (0..full).map(|_| padded(limit, block, limit));
                records.extend(whole);
                records.extend((last > 0).then(|| padded(last, block, limit)));
            }
            for seen in 1..=records.len() {
                prop_assert!(!is_excluded(&records[..seen]), "{:?}", &records[..seen]);
            }
        }

        /// Shorter ones too, where only a raw key must be ruled out.
        #[test]
        fn a_padded_finished_is_explained(
            block in 1..200_u16,
            finished in prop::sample::select(vec![36_u16, 52]),
            rest in prop::collection::vec(1..2000_u16, 0..6),
        ) {
            let padded = |content| padded(content, block, u16::MAX);
            let mut records = vec![padded(finished)];
            records.extend(rest.into_iter().map(padded));
            prop_assert!(explains(&records), "{records:?}");
        }
    }

    #[test]
    fn what_no_block_explains() {
        // A certificate, CertificateVerify, a Finished: shorter records follow.
        assert!(is_excluded(&[887, 281, 53]));
        assert!(is_excluded(&[887, 96]));
        // Longer ones that are not multiples; the longest may be a full record.
        assert!(!is_excluded(&[887, 1300]));
        assert!(is_excluded(&[887, 1300, 2000]));
        assert!(!is_excluded(&[887, 16401, 16401]));
        assert!(!is_excluded(&[887]) && !is_excluded(&[887, 887]));
        assert!(!explains(&[121, 97, 69]));
    }
}

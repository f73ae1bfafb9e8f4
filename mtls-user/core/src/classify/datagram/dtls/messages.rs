//! One side's unencrypted handshake messages, reassembled from fragments in any order, possibly
//! retransmitted with other fragment boundaries (RFC 6347 §4.2.3).

use smallvec::SmallVec;

use crate::classify::datagram::pieces::Pieces;
use crate::wire::dtls::Fragment;

/// The longest message that is reassembled, in bytes.
const MAX: u32 = 32 << 10;
/// Incomplete messages at a time. A flight has at most five.
const UNDER_WAY: usize = 8;
/// Message numbers that are tracked: a handshake has fewer than ten messages per side.
const NUMBERS: u16 = 64;

/// One side's messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    under_way: SmallVec<[Partial; 1]>,
    /// The numbers of completed messages, as a bit set.
    done: u64,
    /// The same position was sent twice with different bytes.
    pub(super) conflict: bool,
}

#[derive(Debug)]
struct Partial {
    kind: u8,
    sequence: u16,
    /// Bytes of the whole message.
    len: u32,
    pieces: Pieces,
}

impl Messages {
    /// Memory that is held, in bytes.
    pub(super) fn held(&self) -> usize {
        let under_way = self.under_way.iter();
        under_way
            .map(|message| size_of::<Partial>() + message.pieces.held())
            .sum()
    }

    /// Adds a fragment; shows the message that it completes, with its type and number.
    pub(super) fn add(&mut self, fragment: Fragment<'_>, show: impl FnOnce(u8, u16, &[u8])) {
        if fragment.sequence >= NUMBERS || self.done >> fragment.sequence & 1 != 0 {
            return;
        }
        if fragment.data.len() == fragment.len as usize {
            self.done |= 1 << fragment.sequence;
            self.under_way.retain(|p| p.sequence != fragment.sequence);
            show(fragment.kind, fragment.sequence, fragment.data);
            return;
        }
        if fragment.len > MAX {
            return;
        }
        let known = self
            .under_way
            .iter()
            .position(|p| p.sequence == fragment.sequence);
        let at = match known {
            Some(at) => at,
            None if self.under_way.len() == UNDER_WAY => return,
            None => {
                self.under_way.push(Partial {
                    kind: fragment.kind,
                    sequence: fragment.sequence,
                    len: fragment.len,
                    pieces: Pieces::default(),
                });
                self.under_way.len() - 1
            }
        };
        let partial = &mut self.under_way[at];
        if partial.kind != fragment.kind || partial.len != fragment.len {
            self.conflict = true;
            return;
        }
        let start = fragment.offset as usize;
        if partial.pieces.add(start, fragment.data).is_err() {
            self.conflict = true;
        } else if partial.pieces.start().len() == partial.len as usize {
            let partial = self.under_way.swap_remove(at);
            self.done |= 1 << partial.sequence;
            show(partial.kind, partial.sequence, partial.pieces.start());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(sequence: u16, offset: usize, data: &[u8], len: usize) -> Fragment<'_> {
        Fragment {
            kind: 11,
            len: len as u32,
            sequence,
            offset: offset as u32,
            data,
        }
    }

    #[test]
    fn any_order_and_other_pieces() {
        let whole: Vec<u8> = (0..100).collect();
        let mut messages = Messages::default();
        let mut seen = Vec::new();
        for (from, to) in [(60, 100), (0, 20), (0, 20), (10, 50), (40, 70), (0, 30)] {
            messages.add(fragment(3, from, &whole[from..to], 100), |_, n, body| {
                seen.push((n, body.to_vec()));
            });
        }
        assert_eq!(seen, [(3, whole)], "once");
        assert!(messages.under_way.is_empty());
    }

    #[test]
    fn two_stories_are_a_conflict() {
        let mut messages = Messages::default();
        messages.add(fragment(0, 0, &[1, 2], 9), |_, _, _| ());
        messages.add(fragment(0, 1, &[9, 9], 9), |_, _, _| ());
        assert!(messages.conflict);
    }

    #[test]
    fn bounded() {
        let mut messages = Messages::default();
        for n in 0..u16::MAX {
            messages.add(fragment(n, 0, &[1], 30_000), |_, _, _| ());
        }
        messages.add(fragment(60, 0, &[1], 1 << 20), |_, _, _| ());
        assert_eq!(messages.under_way.len(), UNDER_WAY);
    }
}

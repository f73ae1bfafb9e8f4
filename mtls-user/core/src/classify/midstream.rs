//! A stream whose start was not seen. TLS is recognised by record headers that are where the
//! previous headers say, over several segments; plaintext by what cannot be ciphertext. Text that
//! may precede TLS decides nothing.

use smallvec::SmallVec;

use super::Side;
use super::api::Piece;
use super::protocols::{self, frames::Frames};
use crate::wire::text;
use crate::wire::tls::RecordHeader;

/// How many consecutive headers, and from how many pieces, are needed for TLS: a random position
/// looks like a header once in some millions of bytes, and a single segment may be anything.
const RECORDS: u8 = 3;
const PIECES: u8 = 2;
/// How many chains are followed per side at the same time.
const CHAINS: usize = 4;
/// How many pieces are inspected before giving up.
const PATIENCE: u8 = 128;
/// How many bytes of text count, at the start of a piece or in pieces that consist of text.
const TEXT: usize = 48;
/// Weights of text that cannot precede TLS and of other text, and the sum that is enough.
const SURE: u8 = 4;
const UNSURE: u8 = 1;
const ENOUGH: u8 = 8;

#[derive(Clone, Copy, Debug)]
struct Chain {
    /// The position of the next header.
    next: u64,
    records: u8,
    pieces: u8,
}

/// What is followed on both sides.
#[derive(Debug, Default)]
pub(super) struct Midstream {
    chains: [SmallVec<[Chain; CHAINS]>; 2],
    frames: Frames,
    /// The total weight of the text that was seen.
    texts: u8,
    /// Bytes of text pieces that were too short to count on their own.
    short: usize,
    looked: u8,
    /// A protocol whose messages may precede TLS; the sides may be swapped.
    held: Option<(&'static str, bool)>,
    /// The last message asked for TLS.
    asked: bool,
}

/// What the middle of a stream shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    Nothing,
    /// TLS records; the position of this side's next one.
    Tls(u64),
    /// A plaintext protocol; `swapped` if the other side behaves like the client.
    Plain {
        protocol: &'static str,
        swapped: bool,
    },
    /// Readable text.
    Text,
}

impl Midstream {
    /// Inspects a piece.
    pub(super) fn look(&mut self, side: Side, piece: &Piece<'_>) -> Sight {
        if piece.bytes.is_empty() || self.looked >= PATIENCE {
            return Sight::Nothing;
        }
        self.looked += 1;
        let unsure = Side::BOTH
            .iter()
            .any(|side| protocols::may_precede_tls(*side, piece.bytes));
        for swapped in [false, true] {
            let side = if swapped { side.other() } else { side };
            match protocols::name(side, piece.bytes) {
                Some(protocol) if unsure => self.held = Some((protocol, swapped)),
                Some(protocol) => return Sight::Plain { protocol, swapped },
                None => {}
            }
        }
        if unsure {
            // A response may answer what was asked before.
            self.asked |= protocols::asks_for_tls(piece.bytes);
        } else {
            self.asked = false;
        }
        if let Some((protocol, swapped)) = self.frames.look(side, piece.bytes) {
            return Sight::Plain { protocol, swapped };
        }
        if self.counts_as_text(piece.bytes) {
            self.texts += if unsure { UNSURE } else { SURE };
            if self.texts >= ENOUGH {
                return Sight::Text;
            }
        }
        self.follow(side, piece).map_or(Sight::Nothing, Sight::Tls)
    }

    /// Whether there is enough text to count, in this piece or together with earlier short ones.
    fn counts_as_text(&mut self, bytes: &[u8]) -> bool {
        if !text::is_text(&bytes[..bytes.len().min(TEXT)]) {
            self.short = 0;
            return false;
        }
        self.short += bytes.len();
        let counts = self.short >= TEXT;
        if counts {
            self.short = 0;
        }
        counts
    }

    /// The result if nothing else will come. A request for TLS decides nothing.
    pub(super) fn last_look(&self) -> Sight {
        match self.held {
            _ if self.asked => Sight::Nothing,
            Some((protocol, swapped)) => Sight::Plain { protocol, swapped },
            None if self.texts >= 2 * UNSURE => Sight::Text,
            None => Sight::Nothing,
        }
    }

    /// Follows the chains of a side through a piece; returns the position of the next record, once
    /// one is confirmed.
    fn follow(&mut self, side: Side, piece: &Piece<'_>) -> Option<u64> {
        let chains = &mut self.chains[side.index()];
        let end = piece.offset + piece.bytes.len() as u64;
        chains.retain_mut(|chain| chain.advance(piece, end));
        if let Some(proven) = chains
            .iter()
            .find(|c| c.records >= RECORDS && c.pieces >= PIECES)
        {
            return Some(proven.next);
        }
        // Most segments begin with a record; in bulk transfers, records begin anywhere.
        let inside = piece.bytes.windows(3).enumerate().skip(1);
        let starts = inside.filter(|(_, w)| *w == [23, 3, 3]).map(|(i, _)| i);
        for start in std::iter::once(0).chain(starts) {
            if chains.len() == CHAINS {
                break;
            }
            let at = piece.offset + start as u64;
            let known = chains
                .iter()
                .any(|c| c.next == at || c.next > end && start > 0);
            let mut chain = Chain {
                next: at,
                records: 0,
                pieces: 0,
            };
            if !known && chain.advance(piece, end) && chain.records > 0 {
                chains.push(chain);
            }
        }
        None
    }
}

impl Chain {
    /// Follows the headers in the piece. False if one is invalid, or was missed.
    fn advance(&mut self, piece: &Piece<'_>, end: u64) -> bool {
        if self.next >= end {
            return true;
        }
        let mut found = false;
        while self.next < end {
            let Some(at) = self.next.checked_sub(piece.offset) else {
                // Seen before, or missed: only the next header can decide.
                return end <= self.next;
            };
            match RecordHeader::at(&piece.bytes[at as usize..]) {
                Some(Ok(header)) if header.version >= 0x0301 => {
                    self.next += header.size();
                    self.records = self.records.saturating_add(1);
                    found = true;
                }
                _ => return false,
            }
        }
        self.pieces += u8::from(found);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u64, bytes: &[u8]) -> Piece<'_> {
        Piece {
            offset,
            len: bytes.len() as u32,
            bytes,
            ack: None,
            time: 0,
            inside: false,
        }
    }

    fn record(len: u16) -> Vec<u8> {
        let mut out = vec![23, 3, 3];
        out.extend(len.to_be_bytes());
        out.extend((0..len).map(|i| (i.wrapping_mul(40503) >> 7) as u8 | 0x80));
        out
    }

    #[test]
    fn one_lucky_segment_is_not_enough() {
        let mut mid = Midstream::default();
        let three = [record(40), record(50), record(60)].concat();
        assert_eq!(mid.look(Side::Client, &piece(0, &three)), Sight::Nothing);
        let next = three.len() as u64;
        assert_eq!(
            mid.look(Side::Client, &piece(next, &record(70))),
            Sight::Tls(next + 75)
        );
    }

    #[test]
    fn bulk_is_followed_from_the_middle_of_a_record() {
        let mut stream = vec![0xee; 700];
        for _ in 0..6 {
            stream.extend(record(4000));
        }
        let mut mid = Midstream::default();
        let found = stream
            .chunks(1448)
            .enumerate()
            .any(|(i, c)| mid.look(Side::Server, &piece(i as u64 * 1448, c)) != Sight::Nothing);
        assert!(found);
    }

    #[test]
    fn a_chain_that_breaks_is_none() {
        let mut mid = Midstream::default();
        let mut at = 0;
        for _ in 0..20 {
            let mut bytes = record(40);
            bytes.push(0);
            assert_eq!(mid.look(Side::Client, &piece(at, &bytes)), Sight::Nothing);
            at += bytes.len() as u64;
        }
    }

    #[test]
    fn plaintext_in_the_middle() {
        let mut mid = Midstream::default();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(
            mid.look(Side::Client, &piece(9, answer)),
            Sight::Plain {
                protocol: "http/1.1",
                swapped: true
            }
        );
    }
}

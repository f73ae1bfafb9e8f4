//! A stream whose start was not seen: TLS is told by record headers that lie where the header
//! before them says, over several segments; plaintext by what ciphertext cannot look like.

use smallvec::SmallVec;

use super::Side;
use super::api::Piece;
use super::plain;
use crate::wire::text;
use crate::wire::tls::RecordHeader;

/// How many headers in a row, and from how many pieces, make it TLS: a random position looks like
/// a header once in some millions of bytes, and one segment may be anything.
const RECORDS: u8 = 3;
const PIECES: u8 = 2;
/// How many chains are followed per side at once.
const CHAINS: usize = 4;
/// How many pieces are looked at before it is given up.
const PATIENCE: u8 = 128;
/// How many bytes at a piece's start must be text, in how many pieces.
const TEXT: usize = 48;

#[derive(Clone, Copy, Debug)]
struct Chain {
    /// Where the next header must be.
    next: u64,
    records: u8,
    pieces: u8,
}

/// What is followed of both sides.
#[derive(Debug, Default)]
pub(super) struct Midstream {
    chains: [SmallVec<[Chain; CHAINS]>; 2],
    texts: u8,
    looked: u8,
}

/// What the middle of a stream shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    Nothing,
    /// Records; the next one of this side is expected there.
    Tls(u64),
    /// A protocol in plaintext; `swapped` when the other side speaks as the client does.
    Plain {
        protocol: &'static str,
        swapped: bool,
    },
    /// Readable text.
    Text,
}

impl Midstream {
    /// Looks at a piece.
    pub(super) fn look(&mut self, side: Side, piece: &Piece<'_>) -> Sight {
        if piece.bytes.is_empty() || self.looked >= PATIENCE {
            return Sight::Nothing;
        }
        self.looked += 1;
        for swapped in [false, true] {
            let side = if swapped { side.other() } else { side };
            if let Some(protocol) = plain::name(side, piece.bytes) {
                return Sight::Plain { protocol, swapped };
            }
        }
        if piece.bytes.len() >= TEXT && text::is_text(&piece.bytes[..TEXT]) {
            self.texts += 1;
            if self.texts >= PIECES {
                return Sight::Text;
            }
        }
        self.follow(side, piece).map_or(Sight::Nothing, Sight::Tls)
    }

    /// Follows the chains of a side through a piece; where the next record is, once one holds.
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
        // Most segments begin with a record; in bulk, records begin anywhere.
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
    /// Follows the headers that lie in the piece. False when one is none, or was missed.
    fn advance(&mut self, piece: &Piece<'_>, end: u64) -> bool {
        if self.next >= end {
            return true;
        }
        let mut found = false;
        while self.next < end {
            let Some(at) = self.next.checked_sub(piece.offset) else {
                // Seen before, or missed: only what comes next can tell.
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

//! A flow that is done is still looked at: what contradicts the answer revises it.

use super::Side;
use super::api::Piece;
use super::call::Broken;
use super::tls::{Flight, Sealed};
use crate::wire::text;
use crate::wire::tls::{ContentType, RecordHeader};

/// How many bytes at a piece's start must be text to call it so: of random bytes 37 % are, so that
/// 48 in a row happen once in 10^20 pieces.
const TEXT: usize = 48;

/// Where one side's next TLS record must begin.
#[derive(Debug)]
pub(super) struct Watch {
    next: u64,
    /// The start of a header whose rest is in the next segment.
    carried: [u8; RecordHeader::LEN - 1],
    carried_len: u8,
    /// The position is known; it is lost when a segment was not seen.
    aligned: bool,
    sealed: Sealed,
}

/// What a piece showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    /// What was to be expected.
    Nothing,
    /// No TLS.
    Broken(Broken),
    /// The end of a renegotiation: the client's flight that closed it.
    Renegotiated(Flight),
}

impl Watch {
    /// Expects the next record at `next`; `sealed` is what was counted before.
    pub(super) fn new(next: u64, aligned: bool, sealed: Sealed) -> Self {
        Self {
            next,
            carried: [0; 4],
            carried_len: 0,
            aligned,
            sealed,
        }
    }

    /// Looks at a piece.
    pub(super) fn look(&mut self, side: Side, piece: &Piece<'_>) -> Sight {
        let mut bytes = piece.bytes;
        let mut at = piece.offset;
        if !self.aligned {
            return unaligned(side, bytes);
        }
        // Behind what was walked: seen before, or the body of a record that is skipped.
        let expected = self.next + u64::from(self.carried_len);
        if at > expected {
            self.aligned = false;
            return unaligned(side, bytes);
        }
        let mut renegotiated = None;
        let known = (expected - at).min(bytes.len() as u64) as usize;
        bytes = &bytes[known..];
        at += known as u64;
        while at >= self.next + u64::from(self.carried_len) && !bytes.is_empty() {
            let mut header = [0; RecordHeader::LEN];
            let carried = usize::from(self.carried_len);
            header[..carried].copy_from_slice(&self.carried[..carried]);
            let n = bytes.len().min(RecordHeader::LEN - carried);
            header[carried..carried + n].copy_from_slice(&bytes[..n]);
            if carried + n < RecordHeader::LEN {
                self.carried = [header[0], header[1], header[2], header[3]];
                self.carried_len = (carried + n) as u8;
                return Sight::Nothing;
            }
            let Some(header) = RecordHeader::parse(header) else {
                return Sight::Broken(Broken {
                    readable: text::is_text(&bytes[..bytes.len().min(TEXT)]),
                    protocol: super::protocols::name(side, bytes),
                });
            };
            self.carried_len = 0;
            self.next += header.size();
            match header.content {
                ContentType::Handshake => self.sealed.add(header.len, piece.ack),
                ContentType::ChangeCipherSpec => renegotiated = self.sealed.end(piece.ack),
                _ => {}
            }
            let skip = (self.next - at).min(bytes.len() as u64) as usize;
            bytes = &bytes[skip..];
            at += skip as u64;
        }
        match renegotiated {
            Some(flight) if side == Side::Client => Sight::Renegotiated(flight),
            _ => Sight::Nothing,
        }
    }
}

/// Somewhere in the stream: only what ciphertext cannot look like says something.
fn unaligned(side: Side, bytes: &[u8]) -> Sight {
    if bytes.len() >= TEXT && text::is_text(&bytes[..TEXT]) {
        let protocol = super::protocols::name(side, bytes);
        return Sight::Broken(Broken {
            readable: true,
            protocol,
        });
    }
    Sight::Nothing
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

    fn stream() -> Vec<u8> {
        let mut out = Vec::new();
        for len in [300u16, 0, 40] {
            out.extend([23, 3, 3]);
            out.extend(len.to_be_bytes());
            out.extend(std::iter::repeat_n(0xc5, len.into()));
        }
        out.extend(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        out
    }

    #[test]
    fn plaintext_behind_records_is_found_in_every_segmentation() {
        let stream = stream();
        for n in 1..stream.len() {
            let mut watch = Watch::new(0, true, Sealed::default());
            let found = stream
                .chunks(n)
                .enumerate()
                .map(|(i, c)| watch.look(Side::Client, &piece((i * n) as u64, c)))
                .filter(|s| *s != Sight::Nothing)
                .count();
            assert!(found > 0, "in pieces of {n}");
        }
    }

    #[test]
    fn a_missed_segment_ends_the_walk_but_not_the_look() {
        let mut watch = Watch::new(0, true, Sealed::default());
        assert_eq!(
            watch.look(Side::Client, &piece(100, &[23; 60])),
            Sight::Nothing
        );
        assert_eq!(
            watch.look(Side::Client, &piece(0, b"GET / HTTP")),
            Sight::Nothing
        );
        let text = b"POST /a HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl\r\n\r\n";
        assert!(matches!(
            watch.look(Side::Client, &piece(900, text)),
            Sight::Broken(_)
        ));
    }

    #[test]
    fn what_was_seen_before_says_nothing() {
        let mut watch = Watch::new(500, true, Sealed::default());
        assert_eq!(
            watch.look(Side::Client, &piece(0, b"GET / HTTP/1.1\r\n")),
            Sight::Nothing
        );
    }
}

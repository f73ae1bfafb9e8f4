//! A flow that is done is still watched: what contradicts the answer revises it.

use super::Side;
use super::api::Piece;
use super::call::Broken;
use super::readable::Readable;
use super::tls::{Flight, Sealed};
use crate::wire::text;
use crate::wire::tls::record::is_handshake;
use crate::wire::tls::{ContentType, RecordHeader};

/// How many bytes at a piece's start must be text for the piece to count as text: 37 % of random
/// bytes are, so that 48 consecutive ones occur once in 10^20 pieces.
const TEXT: usize = 48;
/// Instead of the number of bytes carried: the position of the next record is unknown.
const LOST: u8 = u8::MAX;

/// The expected position of one side's next TLS record.
#[derive(Debug)]
pub(super) struct Watch {
    next: u64,
    /// The start of a header whose rest is in the next segment.
    carried: [u8; RecordHeader::LEN - 1],
    /// How much of it there is, or [`LOST`] after a segment that was not seen.
    carried_len: u8,
    readable: Readable,
    sealed: Sealed,
}

/// What a piece showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    /// Nothing unexpected.
    Nothing,
    /// Not TLS.
    Broken(Broken),
    /// An unencrypted hello: another session begins.
    Again,
    /// The end of a renegotiation: the client's flight that completed it.
    Renegotiated(Flight),
}

impl Watch {
    /// Expects the next record at `next`; `sealed` is what was counted before.
    pub(super) fn new(next: u64, aligned: bool, sealed: Sealed) -> Self {
        Self {
            next,
            carried: [0; 4],
            carried_len: if aligned { 0 } else { LOST },
            readable: Readable::default(),
            sealed,
        }
    }

    /// Checks a piece.
    pub(super) fn look(&mut self, side: Side, piece: &Piece<'_>) -> Sight {
        let mut bytes = piece.bytes;
        let mut at = piece.offset;
        if self.carried_len == LOST {
            return self.unaligned(side, piece);
        }
        // The rest of a body whose start was in an earlier segment.
        if let Some(broken) = self.readable.read(side, at, bytes, self.next) {
            return Sight::Broken(broken);
        }
        // Before the current position: seen before, or the body of a record that is skipped.
        let expected = self.next + u64::from(self.carried_len);
        if at > expected {
            self.carried_len = LOST;
            return self.unaligned(side, piece);
        }
        let mut renegotiated = None;
        let mut again = false;
        let known = (expected - at).min(bytes.len() as u64) as usize;
        bytes = &bytes[known..];
        at += known as u64;
        while at >= self.next + u64::from(self.carried_len) && !bytes.is_empty() {
            let mut header = [0; RecordHeader::LEN];
            let carried = usize::from(self.carried_len);
            let is_hello = carried == 0 && is_hello(bytes);
            again |= is_hello;
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
            self.readable.begin(header, !is_hello);
            if let Some(broken) = self.readable.read(side, at, bytes, self.next) {
                return Sight::Broken(broken);
            }
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
            _ if again => Sight::Again,
            _ => Sight::Nothing,
        }
    }

    /// At an unknown position: only what cannot be ciphertext is informative.
    fn unaligned(&self, side: Side, piece: &Piece<'_>) -> Sight {
        let bytes = piece.bytes;
        if let Some(Ok(header)) = RecordHeader::at(bytes)
            && header.content == ContentType::ApplicationData
        {
            let mut readable = Readable::default();
            readable.begin(header, true);
            let end = piece.offset.saturating_add(header.size());
            if let Some(broken) = readable.read(side, piece.offset, bytes, end) {
                return Sight::Broken(broken);
            }
        }
        // The first session's hello may be retransmitted.
        if piece.offset >= self.next && is_hello(bytes) {
            return Sight::Again;
        }
        if bytes.len() >= TEXT && text::is_text(&bytes[..TEXT]) {
            let protocol = super::protocols::name(side, bytes);
            return Sight::Broken(Broken {
                readable: true,
                protocol,
            });
        }
        Sight::Nothing
    }
}

/// Whether records begin with an unencrypted hello. In a renegotiation, hellos are encrypted, and one
/// ciphertext in 65,536 begins with the type and the length of a hello.
fn is_hello(bytes: &[u8]) -> bool {
    // No ciphertext is as short as the record of a hello in crumbs.
    let is_version = |version: &[u8]| matches!(version, [3, 0..=3]);
    (is_handshake(bytes, 1) || is_handshake(bytes, 2))
        && (bytes[3..5] < [0, 6][..] || bytes.get(9..11).is_some_and(is_version))
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
    fn readable_bodies_are_found_behind_any_number_of_records() {
        let text = b"POST /login HTTP/1.1\r\nHost: a\r\n\r\nuser=a&password=b&more";
        for ahead in [0, 8, 16] {
            let mut stream = [stream()[..305].repeat(30), vec![23, 3, 3, 0, 99]].concat();
            stream.extend(vec![0x07; ahead]);
            stream.extend(text);
            let mut watch = Watch::new(0, true, Sealed::default());
            let sight = watch.look(Side::Client, &piece(0, &stream));
            assert!(
                matches!(sight, Sight::Broken(Broken { readable: true, .. })),
                "{ahead}: {sight:?}"
            );
            // Even if earlier records were not seen.
            let mut watch = Watch::new(0, true, Sealed::default());
            let last = &stream[305 * 30..];
            let sight = watch.look(Side::Client, &piece(305 * 30, last));
            assert!(matches!(sight, Sight::Broken(_)), "{ahead}: {sight:?}");
        }
    }

    #[test]
    fn a_hello_in_clear_begins_another_session() {
        let hello = [22, 3, 1, 0, 90, 1, 0, 0, 86, 3, 3, 7, 7, 7, 7, 7, 7];
        let stream = [&stream()[..305], &hello].concat();
        let mut watch = Watch::new(0, true, Sealed::default());
        assert_eq!(watch.look(Side::Client, &piece(0, &stream)), Sight::Again);
        let mut watch = Watch::new(0, true, Sealed::default());
        assert_eq!(
            watch.look(Side::Client, &piece(9_000, &hello)),
            Sight::Again
        );
        // A renegotiation's hello is encrypted, as is a Finished, which may begin like a ServerHello.
        for body in [0xa1, 1, 2] {
            let sealed = [22, 3, 3, 0, 90, body, 0, 0, 86, 9, 9, 9, 9, 9, 9, 9, 9];
            let mut watch = Watch::new(0, true, Sealed::default());
            assert_eq!(watch.look(Side::Server, &piece(0, &sealed)), Sight::Nothing);
        }
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

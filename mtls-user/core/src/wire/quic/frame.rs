//! Frames of an Initial packet (RFC 9000 §12.4: no others are allowed there).

use super::header::varint;
use crate::wire::cursor::{Cursor, zeros};

/// One frame, as far as it is needed here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// This many consecutive PADDING frames, of one byte each.
    Padding(usize),
    /// PING.
    Ping,
    /// ACK, with this many ranges.
    Ack(u64),
    /// Handshake bytes with their position.
    Crypto {
        /// Position of the first byte.
        offset: u64,
        /// The bytes.
        data: &'a [u8],
    },
    /// CONNECTION_CLOSE, with its error code.
    Close(u64),
    /// Damage, or a frame that is not allowed in an Initial packet. Nothing follows it.
    Invalid,
}

/// The frames in a packet's payload.
pub fn frames(payload: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut c = Cursor::new(payload);
    let mut done = false;
    std::iter::from_fn(move || {
        if done || c.is_empty() {
            return None;
        }
        let frame = next(&mut c).unwrap_or(Frame::Invalid);
        done = frame == Frame::Invalid;
        Some(frame)
    })
}

fn next<'a>(c: &mut Cursor<'a>) -> Option<Frame<'a>> {
    match varint(c)? {
        0x00 => {
            let more = zeros(c.rest());
            c.take(more)?;
            Some(Frame::Padding(1 + more))
        }
        0x01 => Some(Frame::Ping),
        kind @ (0x02 | 0x03) => {
            let (_largest, _delay) = (varint(c)?, varint(c)?);
            let ranges = varint(c)?;
            varint(c)?;
            // Each takes at least a byte, so a wrong count ends with the payload.
            for _ in 0..ranges {
                let (_gap, _range) = (varint(c)?, varint(c)?);
            }
            if kind == 0x03 {
                for _ in 0..3 {
                    varint(c)?;
                }
            }
            Some(Frame::Ack(ranges.saturating_add(1)))
        }
        0x06 => {
            let offset = varint(c)?;
            let len = usize::try_from(varint(c)?).ok()?;
            let data = c.take(len)?;
            Some(Frame::Crypto { offset, data })
        }
        0x1c => {
            let code = varint(c)?;
            varint(c)?;
            let reason = usize::try_from(varint(c)?).ok()?;
            c.take(reason)?;
            Some(Frame::Close(code))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_of_an_initial() {
        let payload = [
            1, 2, 9, 0, 1, 0, 3, 3, 3, 4, 0, 0, 0, 1, 2, 3, 6, 5, 2, 8, 9, 0, 0, 0, 0x1c, 0x41,
            0x28, 0, 1, b'x',
        ];
        let found: Vec<_> = frames(&payload).collect();
        assert_eq!(
            found,
            [
                Frame::Ping,
                Frame::Ack(2),
                Frame::Ack(1),
                Frame::Crypto {
                    offset: 5,
                    data: &[8, 9]
                },
                Frame::Padding(3),
                Frame::Close(0x128),
            ]
        );
    }

    #[test]
    fn damage_ends_it() {
        for payload in [
            &[8, 1, 1][..],
            &[6, 0, 9, 1],
            &[2, 0, 0, 0xff],
            &[0x1c, 0, 0, 9],
        ] {
            assert_eq!(frames(payload).collect::<Vec<_>>(), [Frame::Invalid]);
        }
    }
}

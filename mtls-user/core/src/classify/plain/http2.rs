//! HTTP/2 with prior knowledge (RFC 9113 §3.3): recognized by its preface, described by the first
//! header blocks of both sides. gRPC is told by its content type.

use super::{Match, starts};
use crate::record::HttpInfo;
use crate::wire::cursor::Cursor;
use crate::wire::text;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest header block that is decoded.
const MAX_BLOCK: usize = 8 << 10;
/// The most frames that are passed on the way to the first header block.
const MAX_FRAMES: usize = 64;

pub(super) fn recognize(client: &[u8], _server: &[u8]) -> Match {
    match starts(client, PREFACE) {
        Match::Yes(_) => Match::Yes("http/2"),
        other => other,
    }
}

/// What the first header block of a side is.
enum Block {
    NotYet,
    Never,
    Is(Vec<u8>),
}

/// Reads the first request into `info`. False while it is not there. `grpc` is set when it is one.
pub(in crate::classify) fn read_request(
    bytes: &[u8],
    info: &mut HttpInfo,
    grpc: &mut bool,
) -> bool {
    let Some(frames) = bytes.get(PREFACE.len()..) else {
        return false;
    };
    match first_block(frames) {
        Block::NotYet => return false,
        Block::Never => {}
        Block::Is(block) => decode(&block, |name, value| {
            let value = || Some(text::clean(value));
            match name {
                b":method" => info.method = value(),
                b":authority" => info.authority = value(),
                b"host" if info.authority.is_none() => info.authority = value(),
                b":path" => {
                    info.path = value().and_then(|p| Some(p.split('?').next()?.into()));
                }
                b"user-agent" => {
                    info.user_agent =
                        value().and_then(|a| Some(a.split([' ', '(']).next()?.into()));
                }
                b"content-type" => {
                    *grpc = value().is_some_and(|v| v.starts_with("application/grpc"));
                }
                _ => {}
            }
        }),
    }
    true
}

/// Reads the first response's status. False while it is not there.
pub(in crate::classify) fn read_response(bytes: &[u8], info: &mut HttpInfo) -> bool {
    match first_block(bytes) {
        Block::NotYet => return false,
        Block::Never => {}
        Block::Is(block) => decode(&block, |name, value| {
            if name == b":status" {
                info.status = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            }
        }),
    }
    true
}

/// The first header block, put together from HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10).
fn first_block(frames: &[u8]) -> Block {
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    const END_HEADERS: u8 = 4;
    let mut c = Cursor::new(frames);
    let mut block: Option<Vec<u8>> = None;
    for _ in 0..MAX_FRAMES {
        let (Some(len), Some(kind), Some(flags), Some(_)) = (c.u24(), c.u8(), c.u8(), c.u32())
        else {
            return Block::NotYet;
        };
        if len > 1 << 14 {
            return Block::Never;
        }
        let Some(payload) = c.take(len as usize) else {
            return Block::NotYet;
        };
        let part = match (kind, &block) {
            (HEADERS, None) => unpadded(payload, flags),
            (CONTINUATION, Some(_)) => Some(payload),
            (_, None) => continue,
            _ => None,
        };
        let Some(part) = part else {
            return Block::Never;
        };
        let block = block.get_or_insert_default();
        block.extend_from_slice(part);
        if block.len() > MAX_BLOCK {
            return Block::Never;
        }
        if flags & END_HEADERS != 0 {
            return Block::Is(std::mem::take(block));
        }
    }
    Block::Never
}

/// A HEADERS payload without padding and priority.
fn unpadded(payload: &[u8], flags: u8) -> Option<&[u8]> {
    let mut c = Cursor::new(payload);
    let padding = if flags & 8 != 0 {
        usize::from(c.u8()?)
    } else {
        0
    };
    if flags & 0x20 != 0 {
        c.take(5)?;
    }
    let n = c.len().checked_sub(padding)?;
    c.take(n)
}

fn decode(block: &[u8], mut show: impl FnMut(&[u8], &[u8])) {
    let mut decoder = fluke_hpack::Decoder::new();
    decoder.set_max_allowed_table_size(4096);
    // An error leaves what was decoded before it, which is all that can be had.
    let _ = decoder.decode_with_cb(whole(block), |name, value| show(&name, &value));
}

/// The fields at the head of a block that are all there (RFC 7541 §6): the decoder panics on a
/// table size update that is not.
fn whole(block: &[u8]) -> &[u8] {
    let mut c = Cursor::new(block);
    let mut end = 0;
    while field(&mut c).is_some() {
        end = block.len() - c.len();
    }
    &block[..end]
}

/// Passes over one representation.
fn field(c: &mut Cursor<'_>) -> Option<()> {
    let (prefix, is_literal) = match c.rest().first()? {
        0x80.. => (7, false),
        0x40.. => (6, true),
        0x20.. => (5, false),
        _ => (4, true),
    };
    let index = integer(c, prefix)?;
    if is_literal {
        if index == 0 {
            string(c)?;
        }
        string(c)?;
    }
    Some(())
}

/// An integer behind so many bits (RFC 7541 §5.1), of at most five bytes, as the decoder has it.
fn integer(c: &mut Cursor<'_>, prefix: u32) -> Option<usize> {
    let mask = 0xff_u8 >> (8 - prefix);
    let mut value = usize::from(c.u8()? & mask);
    if value < usize::from(mask) {
        return Some(value);
    }
    for shift in [0, 7, 14, 21] {
        let next = c.u8()?;
        value += usize::from(next & 127) << shift;
        if next & 128 == 0 {
            return Some(value);
        }
    }
    None
}

fn string(c: &mut Cursor<'_>) -> Option<()> {
    let len = integer(c, 7)?;
    c.take(len).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(block: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        decode(block, |name, _| {
            names.push(String::from_utf8_lossy(name).into_owned());
        });
        names
    }

    #[test]
    fn what_is_whole_is_decoded_wherever_the_block_breaks_off() {
        // GET, a table size update, a literal that is kept, and an index to it.
        let mut block = vec![0x82, 0x3f, 0xe1, 0x1f, 0x40, 3];
        block.extend(b"foo\x03bar");
        block.push(0xbe);
        assert_eq!(names(&block), [":method", "foo", "foo"]);
        for n in 0..block.len() {
            let expected = match n {
                0 => 0,
                13.. => 2,
                _ => 1,
            };
            assert_eq!(names(&block[..n]).len(), expected, "{n} bytes");
        }
    }

    #[test]
    fn a_size_update_that_is_none_ends_the_block() {
        for update in [
            &[0x3f][..],
            &[0x3f, 0xff],
            &[0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0],
        ] {
            let block = [&[0x82], update].concat();
            assert_eq!(names(&block), [":method"]);
        }
    }
}

//! HTTP/2 with prior knowledge (RFC 9113 §3.3): recognized by its preface, described by the first
//! header blocks of both sides. gRPC is told by its content type.

use super::{Match, starts};
use crate::verdict::HttpInfo;
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
    let _ = decoder.decode_with_cb(block, |name, value| show(&name, &value));
}

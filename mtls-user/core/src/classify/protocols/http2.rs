//! HTTP/2 with prior knowledge (RFC 9113 §3.3): recognised by its preface, described by the first
//! header blocks of both sides. gRPC is recognised by its content type.

use super::{First, Match, Recogniser, starts};
use crate::record::HttpInfo;
use crate::wire::cursor::Cursor;
use crate::wire::text;

pub(super) const RECOGNISERS: &[Recogniser] = &[Recogniser::new(First::of(b"P"), http2)];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest header block that is decoded.
const MAX_BLOCK: usize = 8 << 10;
/// The most frames that are skipped before the first header block.
const MAX_FRAMES: usize = 64;

fn http2(client: &[u8], _server: &[u8]) -> Match {
    starts(client, PREFACE).then(Match::Yes("http/2"))
}

/// The largest header table that a side may request: larger ones do not occur, and the limit bounds
/// the output of a block.
const MAX_TABLE: usize = 65_536;

/// Reads the first request into `info`. False while it is missing. Sets `grpc` if it is a gRPC
/// request.
pub(in crate::classify) fn read_request(
    bytes: &[u8],
    info: &mut HttpInfo,
    grpc: &mut bool,
) -> bool {
    let Some(frames) = bytes.get(PREFACE.len()..) else {
        return false;
    };
    let mut blocks = Blocks::new(frames);
    let next = blocks.next(|name, value| {
        let text = || Some(text::clean(value));
        match name {
            b":method" => info.method = text(),
            b":authority" => info.authority = text(),
            b"host" if info.authority.is_none() => info.authority = text(),
            b":path" => info.path = text().and_then(|p| Some(p.split('?').next()?.into())),
            b"user-agent" => {
                info.user_agent = text().and_then(|a| Some(a.split([' ', '(']).next()?.into()));
            }
            b"content-type" => *grpc = is_grpc(value),
            _ => {}
        }
    });
    next != Next::NotYet
}

/// Whether a content type is gRPC's (gRPC over HTTP/2, "Content-Type"): grpc-web is another
/// protocol.
fn is_grpc(value: &[u8]) -> bool {
    let rest = value.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// Reads the status of the first response that is not interim. False while it is missing.
pub(in crate::classify) fn read_response(bytes: &[u8], info: &mut HttpInfo) -> bool {
    let mut blocks = Blocks::new(bytes);
    loop {
        let mut status: Option<u16> = None;
        let next = blocks.next(|name, value| {
            if name == b":status" {
                status = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            }
        });
        info.status = status.or(info.status);
        match next {
            Next::NotYet => return false,
            Next::Read if matches!(status, Some(100..=199)) => {}
            _ => return true,
        }
    }
}

/// The result of reading the next header block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    NotYet,
    Never,
    Read,
}

/// A side's header blocks, reassembled from HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10), and
/// decoded with one table (RFC 7541).
struct Blocks<'a> {
    frames: Cursor<'a>,
    /// How many frames may still be skipped.
    left: usize,
    decoder: loona_hpack::Decoder<'static>,
}

impl<'a> Blocks<'a> {
    fn new(frames: &'a [u8]) -> Self {
        let mut decoder = loona_hpack::Decoder::new();
        decoder.set_max_allowed_table_size(MAX_TABLE);
        Self {
            frames: Cursor::new(frames),
            left: MAX_FRAMES,
            decoder,
        }
    }

    /// Shows the fields of the next block.
    fn next(&mut self, mut show: impl FnMut(&[u8], &[u8])) -> Next {
        const HEADERS: u8 = 1;
        const CONTINUATION: u8 = 9;
        const END_HEADERS: u8 = 4;
        let c = &mut self.frames;
        let mut block: Option<Vec<u8>> = None;
        while self.left > 0 {
            self.left -= 1;
            let (Some(len), Some(kind), Some(flags), Some(_)) = (c.u24(), c.u8(), c.u8(), c.u32())
            else {
                return Next::NotYet;
            };
            if len > 1 << 14 {
                return Next::Never;
            }
            let Some(payload) = c.take(len as usize) else {
                return Next::NotYet;
            };
            let part = match (kind, &block) {
                (HEADERS, None) => unpadded(payload, flags),
                (CONTINUATION, Some(_)) => Some(payload),
                (_, None) => continue,
                _ => None,
            };
            let Some(part) = part else {
                return Next::Never;
            };
            let block = block.get_or_insert_default();
            block.extend_from_slice(part);
            if block.len() > MAX_BLOCK {
                return Next::Never;
            }
            if flags & END_HEADERS != 0 {
                // After an error, the fields decoded before it are all that is available.
                let decoded = self
                    .decoder
                    .decode_with_cb(block, |name, value| show(&name, &value));
                return if decoded.is_ok() {
                    Next::Read
                } else {
                    Next::Never
                };
            }
        }
        Next::Never
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(block: &[u8]) -> Vec<String> {
        let len = (block.len() as u32).to_be_bytes();
        let frame = [&len[1..], &[1, 4, 0, 0, 0, 1], block].concat();
        let mut names = Vec::new();
        Blocks::new(&frame).next(|name, _| {
            names.push(String::from_utf8_lossy(name).into_owned());
        });
        names
    }

    #[test]
    fn what_is_whole_is_decoded_wherever_the_block_breaks_off() {
        // GET, an indexed literal, and a reference to it; before them, a table of 65,536 bytes.
        let mut block = vec![0x3f, 0xe1, 0xff, 0x03, 0x82, 0x40, 3];
        block.extend(b"foo\x03bar");
        block.push(0xbe);
        assert_eq!(names(&block), [":method", "foo", "foo"]);
        for n in 0..block.len() {
            let expected = match n {
                0..5 => 0,
                14.. => 2,
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
            // One byte more than allowed.
            &[0x3f, 0xe2, 0xff, 0x03],
        ] {
            let block = [&[0x82], update, &[0x84]].concat();
            assert_eq!(names(&block), [":method"]);
        }
    }

    #[test]
    fn grpc_by_its_content_type() {
        for (value, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(value.as_bytes()), grpc, "{value}");
        }
    }
}

//! Protocols with length-prefixed messages, in the middle of a stream: a single message may be
//! anything, but several of both sides that fill their segments exactly and answer each other are
//! not.

use super::super::ldap::{self, Message};
use crate::classify::Side;
use crate::wire::cursor::Cursor;
use crate::wire::text;

/// How many segments of each side must consist of whole messages.
const ENOUGH: u8 = 2;
/// How many messages per segment are walked.
const MAX_MESSAGES: usize = 64;

/// The state for one protocol.
struct Walk<'a> {
    side: Side,
    bytes: &'a [u8],
    /// The number of the last request, which its response repeats.
    number: &'a mut Option<u32>,
}

/// The message format of a protocol: whether a segment consists of such messages.
struct Framed {
    name: &'static str,
    fits: fn(&mut Walk<'_>) -> bool,
}

const FRAMED: [Framed; 10] = [
    Framed {
        name: "postgresql",
        fits: postgresql,
    },
    Framed {
        name: "mysql",
        fits: mysql,
    },
    Framed {
        name: "kafka",
        fits: kafka,
    },
    Framed {
        name: "mongodb",
        fits: mongodb,
    },
    Framed {
        name: "amqp",
        fits: amqp,
    },
    Framed {
        name: "ldap",
        fits: ldap,
    },
    Framed {
        name: "tds",
        fits: tds,
    },
    Framed {
        name: "mqtt",
        fits: mqtt,
    },
    Framed {
        name: "nats",
        fits: nats,
    },
    Framed {
        name: "redis",
        fits: redis,
    },
];

/// What was seen of each protocol, for either order of the sides.
#[derive(Debug, Default)]
pub(in crate::classify) struct Frames {
    seen: [[Seen; FRAMED.len()]; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Segments of the client and of the server.
    segments: [u8; 2],
    number: Option<u32>,
}

impl Frames {
    /// Processes a segment; returns the protocol, once it is certain, and whether the sides are
    /// swapped.
    pub(in crate::classify) fn look(
        &mut self,
        side: Side,
        bytes: &[u8],
    ) -> Option<(&'static str, bool)> {
        for (swapped, seen) in [false, true].into_iter().zip(&mut self.seen) {
            let side = if swapped { side.other() } else { side };
            for (framed, seen) in FRAMED.iter().zip(seen) {
                let mut walk = Walk {
                    side,
                    bytes,
                    number: &mut seen.number,
                };
                if (framed.fits)(&mut walk) {
                    let count = &mut seen.segments[side.index()];
                    *count = count.saturating_add(1);
                    if seen.segments.iter().all(|count| *count >= ENOUGH) {
                        return Some((framed.name, swapped));
                    }
                }
            }
        }
        None
    }
}

/// Whether messages fill `bytes` to the end: `next` consumes one, and says whether it is valid.
fn fill(bytes: &[u8], mut next: impl FnMut(&mut Cursor<'_>) -> Option<bool>) -> bool {
    let mut c = Cursor::new(bytes);
    for _ in 0..MAX_MESSAGES {
        if next(&mut c) != Some(true) {
            return false;
        }
        if c.is_empty() {
            return true;
        }
    }
    false
}

/// A type and a length that includes itself; a response ends with "ready for query".
fn postgresql(walk: &mut Walk<'_>) -> bool {
    let kinds: &[u8] = match walk.side {
        Side::Client => b"QPBEDSCXFHpdcf",
        Side::Server => b"RKSZTDC123ntNEIsAdcGHW",
    };
    let whole = fill(walk.bytes, |c| {
        let kind = c.u8()?;
        let len = c.u32()?.checked_sub(4)?;
        c.take(len as usize)?;
        Some(kinds.contains(&kind))
    });
    let ends = match walk.bytes {
        [.., b'Z', 0, 0, 0, 5, b'I' | b'T' | b'E'] => true,
        _ => walk.side == Side::Client,
    };
    whole && ends
}

/// A three-byte length and a sequence number that starts from 0 with each command.
fn mysql(walk: &mut Walk<'_>) -> bool {
    let mut number = u8::from(walk.side == Side::Server);
    let is_answer = walk.side == Side::Server;
    let mut commands = 0;
    fill(walk.bytes, |c| {
        let [a, b, d] = c.take(3)?.try_into().ok()?;
        let count = c.u8()?;
        let body = c.take(u32::from_le_bytes([a, b, d, 0]) as usize)?;
        commands += 1;
        let fits = count == number && (is_answer || commands == 1 && *body.first()? <= 0x1f);
        number = number.wrapping_add(1);
        Some(fits)
    })
}

/// Length, API key, version, a number that the response repeats, the client's name.
fn kafka(walk: &mut Walk<'_>) -> bool {
    let mut c = Cursor::new(walk.bytes);
    let len = c.u32();
    let whole = len.is_some_and(|len| len as usize == c.len());
    match walk.side {
        Side::Client => {
            let (Some(key), Some(version), Some(number)) = (c.u16(), c.u16(), c.u32()) else {
                return false;
            };
            let named = c
                .vec16()
                .is_some_and(|name| !name.is_empty() && text::is_text(name));
            let fits = whole && key < 128 && version <= 20 && named;
            if fits {
                *walk.number = Some(number);
            }
            fits
        }
        // A response may be long.
        Side::Server => {
            let begins = len.is_some_and(|len| len as usize >= c.len());
            begins && c.u32().is_some_and(|number| *walk.number == Some(number))
        }
    }
}

/// Length, a number, the number of the request that is answered, an opcode.
fn mongodb(walk: &mut Walk<'_>) -> bool {
    let mut c = Cursor::new(walk.bytes);
    let (Some(len), Some(number), Some(answers), Some(code)) =
        (c.u32_le(), c.u32_le(), c.u32_le(), c.u32_le())
    else {
        return false;
    };
    let begins = len as usize >= walk.bytes.len() && matches!(code, 1 | 2012 | 2013 | 2004);
    match walk.side {
        Side::Client => {
            let fits = begins && answers == 0;
            if fits {
                *walk.number = Some(number);
            }
            fits
        }
        Side::Server => begins && *walk.number == Some(answers),
    }
}

/// AMQP 0-9-1's frames end with a fixed byte (§4.2.3); those of 1.0 carry a described list (§2.3,
/// part 1 §1.1.2).
fn amqp(walk: &mut Walk<'_>) -> bool {
    let old = fill(walk.bytes, |c| {
        let kind = c.u8()?;
        c.u16()?;
        let len = c.u32()?;
        c.take(len as usize)?;
        Some(matches!(kind, 1..=3 | 8) && c.u8()? == 0xce)
    });
    old || fill(walk.bytes, |c| {
        let size = c.u32()?.checked_sub(8)?;
        let (offset, kind) = (c.u8()?, c.u8()?);
        c.u16()?;
        let body = c.take(size as usize)?;
        let described = body.is_empty() || matches!(body, [0, 0x53, 0x10..=0x18, ..]);
        Some(offset == 2 && kind == 0 && described)
    })
}

/// Requests of one side, and responses with the same numbers from the other.
fn ldap(walk: &mut Walk<'_>) -> bool {
    let mut rest = walk.bytes;
    let mut last = None;
    let mut settles = false;
    while !rest.is_empty() {
        let Message::Of(number, operation, content, size) = ldap::message(rest) else {
            return false;
        };
        if ldap::is_request(operation) != (walk.side == Side::Client) || size > rest.len() {
            return false;
        }
        rest = &rest[size..];
        settles |= !ldap::may_precede_tls(operation, content);
        last = Some(number);
    }
    match walk.side {
        Side::Client => {
            *walk.number = last;
            settles
        }
        Side::Server => last == *walk.number && last.is_some(),
    }
}

/// Type, status, length, process, number, window (MS-TDS §2.2.3.1).
fn tds(walk: &mut Walk<'_>) -> bool {
    fill(walk.bytes, |c| {
        let (kind, status) = (c.u8()?, c.u8()?);
        let size = usize::from(c.u16()?);
        c.take(3)?;
        let window = c.u8()?;
        c.take(size.checked_sub(8)?)?;
        let of_side = match walk.side {
            Side::Client => matches!(kind, 1 | 3 | 6 | 7 | 14),
            Side::Server => kind == 4,
        };
        Some(of_side && status <= 9 && window == 0)
    })
}

/// A type with its flags, and a length with seven bits per byte (MQTT 5 §2.1).
fn mqtt(walk: &mut Walk<'_>) -> bool {
    fill(walk.bytes, |c| {
        let head = c.u8()?;
        let mut len = 0;
        for shift in [0, 7, 14, 21] {
            let byte = c.u8()?;
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let body = c.take(len)?;
        let asked = walk.side == Side::Client;
        Some(match head {
            0x30..=0x3d => {
                let topic = Cursor::new(body).vec16()?;
                !topic.is_empty() && text::is_text(topic)
            }
            0x40 | 0x50 | 0x62 | 0x70 => (2..=4).contains(&len),
            0x82 | 0xa2 => asked && len >= 5,
            0x90 | 0xb0 => !asked && len >= 2,
            0xc0 => asked && len == 0,
            0xd0 => !asked && len == 0,
            _ => false,
        })
    })
}

/// Lines that begin with one of a few keywords.
fn nats(walk: &mut Walk<'_>) -> bool {
    let words: &[&[u8]] = match walk.side {
        Side::Client => &[
            b"PING\r\n",
            b"PONG\r\n",
            b"PUB ",
            b"HPUB ",
            b"SUB ",
            b"UNSUB ",
        ],
        Side::Server => &[
            b"PING\r\n",
            b"PONG\r\n",
            b"MSG ",
            b"HMSG ",
            b"+OK\r\n",
            b"INFO {",
        ],
    };
    walk.bytes.ends_with(b"\r\n") && words.iter().any(|word| walk.bytes.starts_with(word))
}

/// Requests as arrays, and responses that begin with their type and end with a line end.
fn redis(walk: &mut Walk<'_>) -> bool {
    use super::super::{Shape, redis};
    match walk.side {
        Side::Client => redis::array(walk.bytes) == Shape::Yes,
        Side::Server => {
            matches!(walk.bytes, [b'+' | b'-' | b':' | b'$' | b'*', ..])
                && walk.bytes.ends_with(b"\r\n")
        }
    }
}

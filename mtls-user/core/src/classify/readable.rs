//! Readable text inside TLS records: data that is framed as records need not be encrypted.

use super::Side;
use super::call::Broken;
use crate::wire::text;
use crate::wire::tls::{ContentType, RecordHeader};

/// How many bytes of a body must be text: as many as the kernel copies. This many random bytes are
/// all text once in 10^13 records.
const TEXT: usize = 32;
/// After the header, some TLS 1.2 ciphers send 8 or 16 unencrypted bytes.
const AHEAD: [usize; 3] = [0, 8, 16];

/// A side's bodies as far as they are text, across segments and records: a sender may write header
/// and body separately, or only a few bytes per record.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Readable {
    /// Bytes of the latest body that have not been seen. Bytes, so that it needs no alignment.
    left: [u8; 2],
    /// How many bytes up to there are text, or [`BINARY`].
    run: u8,
}

/// Instead of a number: something was seen, or missed, that is not text.
const BINARY: u8 = u8::MAX;

impl Readable {
    /// The body of a record begins. `is_sealed`: it should be encrypted.
    pub(super) fn begin(&mut self, header: RecordHeader, is_sealed: bool) {
        if !is_sealed || header.content == ContentType::ChangeCipherSpec {
            self.run = BINARY;
        } else if self.run == BINARY || self.left() > 0 {
            self.run = 0;
        }
        self.left = header.len.to_ne_bytes();
    }

    fn left(self) -> u16 {
        u16::from_ne_bytes(self.left)
    }

    /// Reads what `bytes` at `offset` contain of the latest body, which ends at `end`: something if
    /// it is readable.
    pub(super) fn read(
        &mut self,
        side: Side,
        offset: u64,
        bytes: &[u8],
        end: u64,
    ) -> Option<Broken> {
        let at = end.checked_sub(self.left().into())?;
        if self.run == BINARY || self.left() == 0 {
            return None;
        }
        let Some(seen) = at.checked_sub(offset) else {
            // Some of it was missed.
            self.run = BINARY;
            return None;
        };
        let body = bytes.get(usize::try_from(seen).ok()?..)?;
        let body = &body[..body.len().min(self.left().into())];
        self.left = (self.left() - body.len() as u16).to_ne_bytes();
        let ahead = if self.run == 0 {
            &AHEAD[..]
        } else {
            &AHEAD[..0]
        };
        let found = ahead.iter().find_map(|ahead| {
            let text = body.get(*ahead..)?;
            (text.len() >= TEXT && text::is_text(&text[..TEXT])).then_some(text)
        });
        if let Some(text) = found {
            return Some(readable(side, text));
        }
        let wanted = TEXT.saturating_sub(self.run.into());
        let run = &body[..body.len().min(wanted)];
        if !run.iter().all(|byte| text::is_ascii(*byte)) {
            self.run = BINARY;
            return None;
        }
        self.run += run.len() as u8;
        (usize::from(self.run) >= TEXT).then(|| readable(side, body))
    }
}

fn readable(side: Side, text: &[u8]) -> Broken {
    Broken {
        readable: true,
        protocol: super::protocols::name(side, text),
    }
}

//! Extracts handshake messages from record bodies: split and merged in every legal way (RFC 8446
//! §5.1).

use crate::wire::cursor::Cursor;

/// The longest message that is reassembled; of longer ones, only the start is shown.
const MAX: usize = 32 << 10;
const HEADER: usize = 4;

/// One handshake message.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// Its type.
    pub(super) kind: u8,
    /// Its body, or the start of it.
    pub(super) body: &'a [u8],
    len: usize,
}

impl<'a> Message<'a> {
    /// The body, if it is complete.
    pub(super) fn complete(&self) -> Option<&'a [u8]> {
        (self.body.len() == self.len).then_some(self.body)
    }
}

/// One side's unencrypted messages, reassembled across records.
#[derive(Debug, Default)]
pub(super) struct Messages {
    partial: Vec<u8>,
    /// Bytes of an oversized message still to come.
    skip: usize,
    /// A body was missed: the start of the next message is unknown.
    poisoned: bool,
}

impl Messages {
    /// Whether no message is incomplete.
    pub(super) fn is_idle(&self) -> bool {
        self.partial.is_empty() && self.skip == 0 && !self.poisoned
    }

    /// Memory that is held, in bytes.
    pub(super) fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// Whether a record's body was missed, with the messages in it.
    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Records that a record's body was missed.
    pub(super) fn poison(&mut self) {
        *self = Self {
            poisoned: true,
            ..Self::default()
        };
    }

    /// Adds a record's body; shows every message that it completes.
    pub(super) fn feed(&mut self, body: &[u8], mut show: impl FnMut(Message<'_>)) {
        if self.poisoned {
            return;
        }
        let skipped = self.skip.min(body.len());
        self.skip -= skipped;
        let body = &body[skipped..];
        if self.partial.is_empty() {
            let left = self.split(body, &mut show);
            self.partial.extend_from_slice(left);
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(body);
            let left = self.split(&partial, &mut show).len();
            partial.drain(..partial.len() - left);
            if !partial.is_empty() {
                self.partial = partial;
            }
        }
    }

    /// Shows the messages in `bytes`; returns the incomplete one at the end.
    fn split<'a>(&mut self, bytes: &'a [u8], show: &mut impl FnMut(Message<'_>)) -> &'a [u8] {
        let mut c = Cursor::new(bytes);
        loop {
            let at = c.rest();
            let (Some(kind), Some(len)) = (c.u8(), c.u24()) else {
                return at;
            };
            let len = len as usize;
            if let Some(body) = c.take(len) {
                show(Message { kind, body, len });
            } else if len > MAX - HEADER {
                show(Message {
                    kind,
                    body: c.rest(),
                    len,
                });
                self.skip = len - c.len();
                return &[];
            } else {
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(records: &[&[u8]]) -> Vec<(u8, usize, bool)> {
        let mut messages = Messages::default();
        let mut out = Vec::new();
        for record in records {
            messages.feed(record, |m| {
                out.push((m.kind, m.body.len(), m.complete().is_some()));
            });
        }
        out
    }

    #[test]
    fn split_and_merged() {
        let bytes = [1, 0, 0, 2, 9, 9, 11, 0, 0, 0, 16, 0, 0, 1, 5];
        let whole = [(1, 2, true), (11, 0, true), (16, 1, true)];
        assert_eq!(seen(&[&bytes]), whole);
        for n in 1..bytes.len() {
            let parts: Vec<&[u8]> = bytes.chunks(n).collect();
            assert_eq!(seen(&parts), whole, "in records of {n}");
        }
    }

    #[test]
    fn an_oversized_message_is_skipped() {
        let mut start = vec![11, 0x01, 0, 0];
        start.extend([0; 16000]);
        let middle = vec![0; 16000];
        let mut end = vec![0; 65536 - 32000];
        end.extend([16, 0, 0, 0]);
        assert_eq!(
            seen(&[&start, &middle, &end]),
            [(11, 16000, false), (16, 0, true)]
        );
    }

    #[test]
    fn nothing_is_shown_after_a_missed_body() {
        let mut messages = Messages::default();
        messages.poison();
        messages.feed(&[1, 0, 0, 0], |_| panic!("the boundary is not known"));
        assert!(!messages.is_idle());
    }
}

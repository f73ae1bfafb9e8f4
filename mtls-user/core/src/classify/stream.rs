//! One side's stream in order: bounded, and copying only what cannot be consumed immediately.

use smallvec::SmallVec;

/// The most bytes held per side.
const MAX_BYTES: usize = 32 << 10;
/// The most separate ranges, and changes of the acknowledgement within them.
const MAX_PARTS: usize = 64;

/// "No acknowledgement": higher than every position.
pub(super) const NO_ACK: u64 = u64::MAX;

/// From `start` on, bytes came in segments that acknowledged the other side up to `ack`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mark {
    start: u64,
    ack: u64,
}

/// Contiguous bytes from the first unconsumed one.
#[derive(Debug)]
pub(super) struct Window<'a> {
    /// Position of `bytes[0]`.
    pub(super) start: u64,
    pub(super) bytes: &'a [u8],
    /// Position of the next known bytes, after a gap.
    pub(super) beyond: Option<(u64, u64)>,
    marks: &'a [Mark],
}

impl Window<'_> {
    /// What the segment with the byte at `position` acknowledged.
    pub(super) fn ack_at(&self, position: u64) -> u64 {
        let at = self.marks.partition_point(|m| m.start <= position);
        at.checked_sub(1).map_or(NO_ACK, |i| self.marks[i].ack)
    }
}

#[derive(Debug)]
struct Stretch {
    start: u64,
    data: Vec<u8>,
    marks: SmallVec<[Mark; 2]>,
}

impl Stretch {
    fn end(&self) -> u64 {
        self.start + self.data.len() as u64
    }

    /// Adds a mark, unless it equals the last one. False if there are too many.
    fn mark(&mut self, mark: Mark) -> bool {
        if self.marks.last().is_some_and(|last| last.ack == mark.ack) {
            return true;
        }
        self.marks.push(mark);
        self.marks.len() <= MAX_PARTS
    }
}

/// The known and unconsumed part of one side's stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// First unconsumed byte.
    pub(super) next: u64,
    /// End of the last byte known to have been on the wire.
    pub(super) seen: u64,
    /// How far the other side has acknowledged.
    pub(super) acked: u64,
    /// The stream's length, once it was closed.
    pub(super) end: Option<u64>,
    /// What the closing segment acknowledged.
    pub(super) end_ack: Option<u64>,
    /// Whether bytes arrived for which there was no room.
    pub(super) overflow: bool,
    held: Vec<Stretch>,
}

impl Stream {
    /// Processes bytes at `offset`. `consume` receives what is contiguous from `next` on, and
    /// returns where to continue: at `start` if that is not enough, or later, even far beyond it.
    pub(super) fn push(
        &mut self,
        offset: u64,
        len: u32,
        bytes: &[u8],
        ack: u64,
        mut consume: impl FnMut(&Window<'_>) -> u64,
    ) {
        if len == 0 {
            return;
        }
        self.seen = self.seen.max(offset.saturating_add(u64::from(len)));
        let Some(end) = offset.checked_add(bytes.len() as u64) else {
            return;
        };
        if end <= self.next {
            return;
        }
        if self.held.is_empty() && offset <= self.next {
            let marks = [Mark { start: offset, ack }];
            self.next = consume(&Window {
                start: self.next,
                bytes: &bytes[(self.next - offset) as usize..],
                beyond: None,
                marks: &marks,
            });
            if self.next < end {
                self.hold(self.next, &bytes[(self.next - offset) as usize..], ack);
            }
            return;
        }
        let start = offset.max(self.next);
        self.hold(start, &bytes[(start - offset) as usize..], ack);
        self.pump(consume);
    }

    /// Passes the held bytes to `consume`, as long as it makes progress.
    pub(super) fn pump(&mut self, mut consume: impl FnMut(&Window<'_>) -> u64) {
        loop {
            let passed = self
                .held
                .iter()
                .take_while(|s| s.end() <= self.next)
                .count();
            self.held.drain(..passed);
            let Some(window) = self.window() else { return };
            let next = consume(&window);
            if next <= self.next {
                return;
            }
            self.next = next;
        }
    }

    /// What is contiguous from `next` on.
    pub(super) fn window(&self) -> Option<Window<'_>> {
        let first = self
            .held
            .first()
            .filter(|s| s.start <= self.next && s.end() > self.next)?;
        Some(Window {
            start: self.next,
            bytes: &first.data[(self.next - first.start) as usize..],
            beyond: self.held.get(1).map(|s| (s.start, s.end())),
            marks: &first.marks,
        })
    }

    /// The bytes that are contiguous from `next` on.
    pub(super) fn prefix(&self) -> &[u8] {
        self.window().map_or(&[], |w| w.bytes)
    }

    /// Whether every byte up to the stream's end was consumed.
    pub(super) fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// Whether bytes are missing that were on the wire.
    pub(super) fn has_hole(&self) -> bool {
        // What the other side has acknowledged is known to have been sent; its last acknowledgement
        // may count the close as one more byte.
        let acked = self
            .end
            .map_or(self.acked.saturating_sub(1), |end| end.min(self.acked));
        self.overflow || self.prefix().len() as u64 + self.next < self.seen.max(acked)
    }

    /// Memory that is held, in bytes.
    pub(super) fn held(&self) -> usize {
        let held = self.held.iter();
        held.map(|stretch| size_of::<Stretch>() + stretch.data.capacity())
            .sum()
    }

    /// Discards the held bytes, which are no longer needed.
    pub(super) fn clear(&mut self) {
        self.held = Vec::new();
    }

    /// Keeps those bytes that are not held yet.
    fn hold(&mut self, mut start: u64, mut data: &[u8], ack: u64) {
        let mut room = MAX_BYTES.saturating_sub(self.held.iter().map(|s| s.data.len()).sum());
        let mut at = self.held.partition_point(|s| s.end() <= start);
        while !data.is_empty() {
            let n = match self.held.get(at) {
                Some(there) if there.start <= start => {
                    let n = (there.end() - start).min(data.len() as u64) as usize;
                    at += 1;
                    n
                }
                there => {
                    let gap = there.map_or(u64::MAX, |s| s.start - start);
                    let n = gap.min(data.len() as u64) as usize;
                    if n > room || !self.insert(at, start, &data[..n], ack) {
                        self.overflow = true;
                        return;
                    }
                    room -= n;
                    at = self.held.partition_point(|s| s.end() <= start + n as u64);
                    n
                }
            };
            start += n as u64;
            data = &data[n..];
        }
    }

    /// Inserts new bytes before the range at `at`, merging adjacent ranges.
    fn insert(&mut self, at: usize, start: u64, data: &[u8], ack: u64) -> bool {
        let before = at.checked_sub(1).filter(|i| self.held[*i].end() == start);
        let index = match before {
            Some(index) => {
                let stretch = &mut self.held[index];
                stretch.data.extend_from_slice(data);
                if !stretch.mark(Mark { start, ack }) {
                    stretch.data.truncate(stretch.data.len() - data.len());
                    stretch.marks.pop();
                    return false;
                }
                index
            }
            None if self.held.len() >= MAX_PARTS => return false,
            None => {
                let mut marks = SmallVec::new();
                marks.push(Mark { start, ack });
                self.held.insert(
                    at,
                    Stretch {
                        start,
                        data: data.to_vec(),
                        marks,
                    },
                );
                at
            }
        };
        let touches = |next: &Stretch| next.start == self.held[index].end();
        if self.held.get(index + 1).is_some_and(touches) {
            let next = self.held.remove(index + 1);
            let stretch = &mut self.held[index];
            stretch.data.extend_from_slice(&next.data);
            for mark in next.marks {
                if !stretch.mark(mark) {
                    // More changes than are kept: the last one stands for the rest.
                    stretch.marks.pop();
                    break;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(stream: &mut Stream, pieces: &[(u64, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (offset, bytes) in pieces {
            stream.push(*offset, bytes.len() as u32, bytes, *offset, |w| {
                out.extend_from_slice(w.bytes);
                w.start + w.bytes.len() as u64
            });
        }
        out
    }

    #[test]
    fn puts_pieces_in_order() {
        let mut s = Stream::default();
        let out = all(
            &mut s,
            &[
                (4, b"efgh"),
                (2, b"cdef"),
                (10, b"kl"),
                (0, b"abc"),
                (7, b"hijk"),
                (1, b"bc"),
            ],
        );
        assert_eq!(out, b"abcdefghijkl");
        assert!(!s.has_hole());
    }

    #[test]
    fn marks_survive_joining() {
        let mut s = Stream::default();
        let stay = |w: &Window<'_>| w.start;
        s.push(3, 3, b"def", 30, stay);
        s.push(6, 3, b"ghi", 60, stay);
        s.push(0, 3, b"abc", 0, stay);
        let w = s.window().unwrap();
        assert_eq!(w.bytes, b"abcdefghi");
        let acks: Vec<_> = (0..9).map(|p| w.ack_at(p)).collect();
        assert_eq!(acks, [0, 0, 0, 30, 30, 30, 60, 60, 60]);
    }

    #[test]
    fn a_consumer_may_skip_what_was_not_seen() {
        let mut s = Stream::default();
        s.push(0, 5, b"head.", NO_ACK, |_| 1000);
        assert_eq!(s.next, 1000);
        s.push(500, 3, b"abc", NO_ACK, |_| panic!("nothing to show"));
        s.push(998, 4, b"yzAB", NO_ACK, |w| {
            assert_eq!((w.start, w.bytes), (1000, &b"AB"[..]));
            w.start
        });
        assert_eq!(s.prefix(), b"AB");
    }

    #[test]
    fn holds_no_more_than_its_bound() {
        let mut s = Stream::default();
        for i in 0..1000u64 {
            s.push(1 + 100 * i, 99, &[0; 99], i, |w| w.start);
        }
        assert!(s.overflow);
        assert!(s.held.len() <= MAX_PARTS);
        let mut s = Stream::default();
        for i in 0..100_000u64 {
            s.push(i, 1, b"x", i, |w| w.start);
        }
        assert!(s.overflow && s.prefix().len() <= MAX_BYTES);
        assert!(s.held[0].marks.len() <= MAX_PARTS);
        s.push(u64::MAX, 10, b"0123456789", 0, |w| w.start);
    }
}

//! Reassembles IP fragments within bounds (RFC 791 §3.2, RFC 8200 §4.5).

use std::collections::VecDeque;

use super::network::Addresses;

/// Incomplete packets held at once, and their total bytes.
const PACKETS: usize = 1_024;
const BYTES: usize = 8 << 20;
/// A packet is given up this many nanoseconds after its first fragment (RFC 8200 §4.5).
const PATIENCE: u64 = 60_000_000_000;
/// The longest packet.
const LONGEST: usize = 65_535;
/// Fragments of one packet.
const PARTS: usize = 128;

/// What the fragments of one packet have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub(super) addresses: Addresses,
    pub(super) id: u32,
    pub(super) protocol: u8,
}

/// One fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) key: Key,
    pub(super) offset: usize,
    pub(super) more: bool,
    pub(super) data: &'a [u8],
    /// The tunnels around it.
    pub(super) depth: u8,
}

/// An incomplete packet.
#[derive(Debug)]
struct Partial {
    key: Key,
    time: u64,
    bytes: Vec<u8>,
    /// Which parts of `bytes` have arrived: start and end.
    parts: Vec<(usize, usize)>,
    end: Option<usize>,
    packets: u64,
    /// Two fragments overlap, or the packet is too long: it is not reassembled (RFC 5722).
    bad: bool,
}

/// Packets that were not reassembled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GivenUp {
    pub(super) addresses: Addresses,
    pub(super) time: u64,
    /// How many fragments of it there were.
    pub(super) packets: u64,
}

/// Fragments whose packets are incomplete.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    waiting: VecDeque<Partial>,
    bytes: usize,
}

impl Fragments {
    /// Processes a fragment; returns the packet's payload when it is complete. Packets that are
    /// given up to make room are added to `lost`.
    pub(super) fn add(
        &mut self,
        fragment: &Fragment<'_>,
        time: u64,
        lost: &mut Vec<GivenUp>,
    ) -> Option<Vec<u8>> {
        self.expire(time, lost);
        let at = self.waiting.iter().position(|it| it.key == fragment.key);
        let at = at.unwrap_or_else(|| {
            self.waiting.push_back(Partial {
                key: fragment.key,
                time,
                bytes: Vec::new(),
                parts: Vec::new(),
                end: None,
                packets: 0,
                bad: false,
            });
            self.waiting.len() - 1
        });
        let partial = &mut self.waiting[at];
        let before = partial.bytes.len();
        partial.add(fragment);
        self.bytes += partial.bytes.len() - before;
        if partial.is_complete() {
            let whole = self.waiting.remove(at)?;
            self.bytes -= whole.bytes.len();
            return Some(whole.bytes);
        }
        while self.waiting.len() > PACKETS || self.bytes > BYTES {
            self.give_up(lost);
        }
        None
    }

    /// Gives up packets that have been incomplete for too long.
    fn expire(&mut self, now: u64, lost: &mut Vec<GivenUp>) {
        while self
            .waiting
            .front()
            .is_some_and(|oldest| now.saturating_sub(oldest.time) > PATIENCE)
        {
            self.give_up(lost);
        }
    }

    /// Gives up everything.
    pub(super) fn drain(&mut self, lost: &mut Vec<GivenUp>) {
        while !self.waiting.is_empty() {
            self.give_up(lost);
        }
    }

    fn give_up(&mut self, lost: &mut Vec<GivenUp>) {
        if let Some(oldest) = self.waiting.pop_front() {
            self.bytes -= oldest.bytes.len();
            lost.push(GivenUp {
                addresses: oldest.key.addresses,
                time: oldest.time,
                packets: oldest.packets,
            });
        }
    }
}

impl Partial {
    fn add(&mut self, fragment: &Fragment<'_>) {
        self.packets += 1;
        let (start, end) = (fragment.offset, fragment.offset + fragment.data.len());
        // A copy of a fragment that has already arrived is not an overlap.
        if self.parts.contains(&(start, end)) && self.bytes[start..end] == *fragment.data {
            return;
        }
        let overlaps = self
            .parts
            .iter()
            .any(|(from, to)| start < *to && end > *from);
        let beyond = self
            .end
            .is_some_and(|known| end > known || !fragment.more && end != known);
        // All but the last contain multiples of eight bytes.
        let odd = fragment.more && !fragment.data.len().is_multiple_of(8);
        let full = end > LONGEST || self.parts.len() == PARTS;
        self.bad |= overlaps || beyond || odd || full || fragment.data.is_empty();
        if self.bad {
            return;
        }
        if !fragment.more {
            self.end = Some(end);
            self.bad |= self.bytes.len() > end;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(fragment.data);
        self.parts.push((start, end));
    }

    fn is_complete(&self) -> bool {
        // They do not overlap.
        let come: usize = self.parts.iter().map(|(start, end)| end - start).sum();
        !self.bad && self.end == Some(come)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(id: u32, offset: usize, data: &[u8], more: bool) -> Fragment<'_> {
        Fragment {
            key: Key {
                addresses: Addresses {
                    src: [1; 16],
                    dst: [2; 16],
                    v6: true,
                },
                id,
                protocol: 6,
            },
            offset,
            more,
            data,
            depth: 0,
        }
    }

    fn all(fragments: &[Fragment<'_>]) -> (Option<Vec<u8>>, Vec<GivenUp>) {
        let (mut table, mut lost, mut whole) = (Fragments::default(), Vec::new(), None);
        for one in fragments {
            whole = whole.or(table.add(one, 1, &mut lost));
        }
        table.drain(&mut lost);
        assert_eq!(table.bytes, 0);
        (whole, lost)
    }

    #[test]
    fn fragments_in_any_order_and_twice() {
        let bytes: Vec<u8> = (0..40).collect();
        let parts = [
            fragment(1, 0, &bytes[..16], true),
            fragment(1, 16, &bytes[16..24], true),
            fragment(1, 24, &bytes[24..], false),
        ];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
            let mut given: Vec<_> = order.iter().map(|i| parts[*i]).collect();
            given.insert(1, given[0]);
            assert_eq!(all(&given).0.as_deref(), Some(&bytes[..]));
        }
        let (whole, lost) = all(&parts[..2]);
        assert_eq!((whole, lost[0].packets), (None, 2));
    }

    #[test]
    fn what_does_not_fit_together_is_given_up() {
        let bytes = [7; 64];
        let last = fragment(1, 32, &bytes[..9], false);
        for bad in [
            fragment(1, 24, &bytes[..16], true),
            fragment(1, 0, &bytes[..12], true),
            fragment(1, 48, &bytes[..8], true),
            fragment(1, 40, &bytes[..8], false),
            fragment(1, 65_528, &bytes[..16], true),
            fragment(1, 0, &[], true),
        ] {
            let rest = fragment(1, 0, &bytes[..32], true);
            let (whole, lost) = all(&[last, bad, rest]);
            assert_eq!((whole, lost.len()), (None, 1), "{bad:?}");
        }
    }

    #[test]
    fn memory_and_patience_are_bounded() {
        let (mut table, mut lost) = (Fragments::default(), Vec::new());
        for id in 0..20_000 {
            table.add(&fragment(id, 60_000, &[0; 8], true), 1, &mut lost);
            assert!(table.waiting.len() <= PACKETS && table.bytes <= BYTES);
        }
        let late = 2 * PATIENCE;
        table.add(&fragment(0, 0, &[0; 8], true), late, &mut lost);
        assert_eq!((table.waiting.len(), lost.len()), (1, 20_000));
    }
}

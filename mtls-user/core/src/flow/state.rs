//! One connection, or one half of it if its addresses are translated.

use super::budget;
use super::content::Content;
use super::gaps::Gaps;
use super::links::Links;
use super::peers::{End, Peers};
use super::stream::Stream;
use crate::classify::{Classifier, Side};
use crate::record::{Origin, Verdict};
use crate::wire::segment::Sum;
use crate::wire::{Endpoint, Segment};

/// Ports from here on are assigned to clients (Linux's `ip_local_port_range`, RFC 6335's dynamic
/// ports).
const EPHEMERAL: u16 = 32_768;
/// Ports below this belong to services (RFC 6335 §6).
const SYSTEM: u16 = 1_024;

/// What a flow's timeout means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Queue {
    /// It is idle for too long.
    Open = 0,
    /// It does not continue after a RST that the receiver may not have accepted, or after a loss
    /// that may have included its end.
    Doubtful = 1,
    /// It does not continue after a RST.
    Ending = 2,
    /// It is closed and can be forgotten.
    Closed = 3,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Flow {
    serial: u64,
    /// Both ends, in the order of [`Peers`].
    ends: [Endpoint; 2],
    /// Which of them opened the connection, according to its first segment.
    client_end: End,
    pub(super) origin: Origin,
    pub(super) streams: [Stream; 2],
    pub(super) classifier: Classifier,
    /// Nanoseconds since the Unix epoch of the first and the last segment.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) links: Links,
    /// What separates it from the connection between the same ends: an [`Apart`].
    pub(super) apart: u32,
    /// The slot of the other half, or [`ALONE`].
    partner: u32,
    pub(super) kept: Option<Box<Kept>>,
    /// The verdict last reported.
    pub(super) reported: Option<Verdict>,
    pub(super) queue: Queue,
    /// Memory that it holds while it is undecided, in units of [`UNIT`](budget::UNIT), as last accounted for.
    pub(super) held: u16,
    /// What was not seen: one bit per [`Unseen`].
    pub(super) unseen: u8,
    /// Notes to report: `NOTE_*`.
    pub(super) notes: u8,
    /// Per side, whether a packet from it was seen, and whether it reset the connection.
    pub(super) heard: [bool; 2],
    pub(super) reset: [bool; 2],
    /// Per side, the kind of its first checksum.
    pub(super) sums: [Sum; 2],
    /// The other half is reported for both.
    pub(super) secondary: bool,
    /// Its pair of initial sequence numbers has been looked up.
    pub(super) paired: bool,
    pub(super) opened: bool,
    /// The end of the connection was seen.
    pub(super) ended: bool,
    /// Sampled by the kernel: not every segment is seen.
    pub(super) sampled: bool,
}

/// There is no other half.
const ALONE: u32 = u32::MAX;

/// State that only some flows have, or only for a while.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The start of both streams, until the verdict is known.
    content: Option<Content>,
    /// What is missing of it in the capture.
    pub(super) gaps: Option<Gaps>,
}

/// Payload followed a close that the receiver must have accepted.
pub(super) const NOTE_REOPENED: u8 = 1 << 0;
/// Its segments left another interface than the one where the connection between these ends is
/// known.
pub(super) const NOTE_SPOOFED: u8 = 1 << 1;
/// Its sequence numbers are not those of the connection between these ends.
pub(super) const NOTE_OTHER_NUMBERS: u8 = 1 << 2;
/// Which side is the client is a guess.
pub(super) const NOTE_DIRECTION: u8 = 1 << 3;
/// Two SYN-ACKs, or SYNs, with different numbers.
pub(super) const NOTE_TWO_STARTS: u8 = 1 << 4;

impl Flow {
    /// A connection whose first segment is `segment`, sent by `sender`. `hint`: which end is the
    /// server, if other connections have shown that.
    pub(super) fn new(
        serial: u64,
        segment: &Segment<'_>,
        peers: Peers<'_>,
        sender: End,
        hint: Option<End>,
    ) -> Self {
        let syn = segment.flags.syn();
        let known = !segment.midstream && (segment.isn.0.is_some() || segment.isn.1.is_some());
        let origin = if syn || known {
            Origin::Syn
        } else {
            Origin::Midstream
        };
        let (server, sure) = match hint {
            // A SYN-ACK is from the server.
            _ if syn => (
                if segment.flags.ack() {
                    sender
                } else {
                    sender.other()
                },
                true,
            ),
            Some(end) => (end, true),
            None => guess(segment, sender),
        };
        Self {
            serial,
            ends: peers.to_owned(),
            client_end: server.other(),
            origin,
            streams: [Stream::default(); 2],
            classifier: Classifier::new(origin),
            first: segment.time,
            last: segment.time,
            links: Links::default(),
            apart: 0,
            partner: ALONE,
            kept: None,
            reported: None,
            queue: Queue::Open,
            held: 0,
            unseen: 0,
            notes: if sure { 0 } else { NOTE_DIRECTION },
            heard: [false; 2],
            reset: [false; 2],
            sums: [Sum::Unknown; 2],
            secondary: false,
            paired: false,
            opened: false,
            ended: false,
            sampled: segment.link != 0,
        }
    }

    /// A unique number for as long as the table exists.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// The slot of the other half.
    pub(super) fn partner(&self) -> Option<u32> {
        (self.partner != ALONE).then_some(self.partner)
    }

    pub(super) fn set_partner(&mut self, partner: Option<u32>) {
        self.partner = partner.unwrap_or(ALONE);
    }

    pub(super) fn take_partner(&mut self) -> Option<u32> {
        let partner = self.partner();
        self.partner = ALONE;
        partner
    }

    /// The start of both streams, as far as it was kept.
    pub(super) fn content(&self) -> Option<&Content> {
        self.kept.as_ref()?.content.as_ref()
    }

    pub(super) fn keep_content(&mut self) -> &mut Content {
        let kept = self.kept.get_or_insert_default();
        kept.content.get_or_insert_default()
    }

    pub(super) fn forget_content(&mut self) {
        self.forget(|kept| kept.content = None);
    }

    pub(super) fn forget(&mut self, what: impl FnOnce(&mut Kept)) {
        if let Some(kept) = &mut self.kept {
            what(kept);
            if kept.content.is_none() && kept.gaps.is_none() {
                self.kept = None;
            }
        }
    }

    /// Memory that it holds while it is undecided, in units of [`UNIT`](budget::UNIT).
    pub(super) fn held(&self) -> u16 {
        match self.classifier.held() {
            0 => 0,
            held => budget::units(held + self.content().map_or(0, Content::held)),
        }
    }

    /// The end that opened the connection.
    pub(super) fn client(&self) -> Endpoint {
        self.ends[self.client_end as usize]
    }

    /// The end that accepted it.
    pub(super) fn server(&self) -> Endpoint {
        self.ends[self.client_end.other() as usize]
    }

    /// The key under which it is found.
    pub(super) fn peers(&self) -> Peers<'_> {
        Peers::again(&self.ends)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue == Queue::Closed
    }

    pub(super) fn side_of(&self, sender: End) -> Side {
        if sender == self.client_end {
            Side::Client
        } else {
            Side::Server
        }
    }

    /// Both initial sequence numbers, the client's first.
    pub(super) fn isns(&self) -> Option<(u32, u32)> {
        Some((self.streams[0].isn()?, self.streams[1].isn()?))
    }

    pub(super) fn stream(&self, side: Side) -> &Stream {
        &self.streams[side as usize]
    }

    /// Records the number of a SYN that was seen before this flow was created.
    pub(super) fn begin(&mut self, side: Side, isn: u32) {
        self.streams[side as usize].begin(isn);
        self.origin = Origin::Syn;
        self.classifier = Classifier::new(Origin::Syn);
    }

    pub(super) fn streams(&mut self, side: Side) -> (&mut Stream, &mut Stream) {
        let [client, server] = &mut self.streams;
        match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        }
    }

    /// No payload of either side was seen.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.iter().all(|stream| stream.next == 0)
    }

    /// `side` reset the connection.
    pub(super) fn note_reset(&mut self, side: Side) {
        self.reset[side as usize] = true;
    }

    /// The side that reset the connection.
    pub(super) fn reset_by(&self) -> Option<Side> {
        Side::BOTH
            .into_iter()
            .find(|side| self.reset[*side as usize])
    }

    /// It continues although it was reset; with payload, that is suspicious.
    pub(super) fn resume(&mut self, strange: bool) {
        self.reset = [false; 2];
        if strange {
            self.notes |= NOTE_REOPENED;
        }
    }

    /// Payload bytes that a side sent, where they can be determined: of one that reset the connection
    /// where its stream begins, none.
    pub(super) fn bytes(&self, side: Side) -> Option<u64> {
        let stream = self.stream(side);
        let is_taken = matches!(self.queue, Queue::Ending | Queue::Closed);
        let left = is_taken && self.reset[side as usize] && stream.next == 0;
        let none = (left && stream.isn().is_some()).then_some(0);
        stream.bytes(self.sampled).or(none)
    }

    /// Both sides have closed their streams.
    pub(super) fn is_finished(&self) -> bool {
        self.streams.iter().all(Stream::fin)
    }
}

/// Which end is the server's, for a connection whose start was not seen, and whether that is
/// certain.
fn guess(segment: &Segment<'_>, sender: End) -> (End, bool) {
    let (src, dst) = (segment.src.port, segment.dst.port);
    let by =
        |is_service: fn(u16) -> bool| (is_service(src) != is_service(dst)).then(|| is_service(src));
    match by(|port| port < EPHEMERAL).or_else(|| by(|port| port < SYSTEM)) {
        Some(true) => (sender, true),
        Some(false) => (sender.other(), true),
        // A client asks first.
        None => (sender.other(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million connections take a few hundred megabytes, whatever happens to them.
    #[test]
    fn a_flow_is_small() {
        let size = size_of::<Flow>();
        assert!(size <= 208, "{size}");
    }
}

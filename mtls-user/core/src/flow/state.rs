//! One connection, or one half of it where its addresses are translated.

use super::peers::{End, Peers};
use super::stream::Stream;
use crate::classify::{Classifier, Side};
use crate::record::{Origin, Verdict};
use crate::wire::{Direction, Endpoint, Segment};

/// Interfaces of one flow, or half of one, that are remembered: a pod's at either end, and some more.
const LINKS: usize = 4;

/// What is known of one connection.
#[derive(Debug)]
pub struct Flow {
    serial: u64,
    /// Both ends, in the order of [`Peers`].
    ends: [Endpoint; 2],
    /// Which of them opened the connection, as far as its first segment told.
    client_end: End,
    pub(super) origin: Origin,
    client_stream: Stream,
    server_stream: Stream,
    pub(super) classifier: Classifier,
    /// Nanoseconds since the Unix epoch of the first and the last segment.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Interfaces it was seen on; zero where there are fewer.
    links: [u32; LINKS],
    /// Which way the client's segments crossed the interface: `Egress` where it is the client's pod.
    pub(super) crossing: Direction,
    /// It was seen at the interface of the client's pod, and of the server's.
    pub(super) seen_at: [bool; 2],
    /// The other half.
    pub(super) partner: Option<u32>,
    /// The verdict last told.
    pub(super) reported: Option<Verdict>,
    /// The other half speaks for this one.
    pub(super) secondary: bool,
    /// Its pair of initial sequence numbers has been looked up.
    pub(super) paired: bool,
    pub(super) opened: bool,
    /// The end of the connection was seen.
    pub(super) ended: bool,
    /// Nothing more is told of it.
    pub(super) closed: bool,
    pub(super) lost: bool,
    /// Sampled by the kernel: not every segment is seen.
    pub(super) sampled: bool,
}

/// Where a segment lies in its sender's stream.
pub(super) struct Placed<'a> {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) bytes: &'a [u8],
    pub(super) ack: Option<u64>,
}

impl Flow {
    /// A connection whose first segment is `segment`, sent by `sender`.
    pub(super) fn new(serial: u64, segment: &Segment<'_>, peers: Peers<'_>, sender: End) -> Self {
        let syn = segment.flags.syn();
        let known = !segment.midstream && (segment.isn.0.is_some() || segment.isn.1.is_some());
        let origin = if syn || known {
            Origin::Syn
        } else {
            Origin::Midstream
        };
        // A SYN-ACK is the server's; without a SYN the service is usually at the lower port.
        let from_client = if syn {
            !segment.flags.ack()
        } else {
            segment.src.port >= segment.dst.port
        };
        let client_end = if from_client { sender } else { sender.other() };
        Self {
            serial,
            ends: peers.to_owned(),
            client_end,
            origin,
            client_stream: Stream::default(),
            server_stream: Stream::default(),
            classifier: Classifier::new(origin),
            first: segment.time,
            last: segment.time,
            links: [0; LINKS],
            crossing: Direction::Unknown,
            seen_at: [false; 2],
            partner: None,
            reported: None,
            secondary: false,
            paired: false,
            opened: false,
            ended: false,
            closed: false,
            lost: false,
            sampled: segment.link != 0,
        }
    }

    /// A number of its own for as long as the table lives.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The end that opened the connection.
    pub(super) fn client(&self) -> Endpoint {
        self.ends[self.client_end as usize]
    }

    /// The end that accepted it.
    pub(super) fn server(&self) -> Endpoint {
        self.ends[self.client_end.other() as usize]
    }

    /// What it is found by.
    pub(super) fn peers(&self) -> Peers<'_> {
        Peers::again(&self.ends)
    }

    /// Interfaces it was seen on.
    pub(super) fn links(&self) -> impl Iterator<Item = u32> {
        self.links.into_iter().filter(|link| *link != 0)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
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
        Some((self.client_stream.isn()?, self.server_stream.isn()?))
    }

    pub(super) fn stream(&self, side: Side) -> &Stream {
        match side {
            Side::Client => &self.client_stream,
            Side::Server => &self.server_stream,
        }
    }

    fn streams(&mut self, side: Side) -> (&mut Stream, &mut Stream) {
        match side {
            Side::Client => (&mut self.client_stream, &mut self.server_stream),
            Side::Server => (&mut self.server_stream, &mut self.client_stream),
        }
    }

    /// `segment` has these ends but is of a later connection: the ports are used again.
    pub(super) fn is_other_connection(&self, side: Side, segment: &Segment<'_>) -> bool {
        let own = self.stream(side).isn();
        if segment.flags.syn() {
            return match own {
                Some(isn) => isn != segment.seq,
                // A server's first SYN of its own is a simultaneous open (RFC 9293 §3.5) or a reply.
                None => self.origin == Origin::Midstream,
            };
        }
        let other = self.stream(side.other()).isn();
        let differs = |known: Option<u32>, said: Option<u32>| matches!((known, said), (Some(a), Some(b)) if a != b);
        differs(own, segment.isn.0) || differs(other, segment.isn.1)
    }

    /// Whether `segment`, already placed, was the last.
    pub(super) fn has_ended(&self, segment: &Segment<'_>) -> bool {
        segment.flags.rst() || (self.client_stream.fin && self.server_stream.fin)
    }

    /// Learns what the headers say, and where the payload lies.
    pub(super) fn place<'a>(&mut self, side: Side, segment: &Segment<'a>) -> Placed<'a> {
        self.first = self.first.min(segment.time);
        self.last = self.last.max(segment.time);
        self.lost |= segment.lost;
        if segment.link != 0 {
            self.crossed(side, segment);
        }
        let sampled = self.sampled;
        let (own, other) = self.streams(side);
        let syn = segment.flags.syn();
        if syn {
            own.begin(segment.seq);
        }
        if let Some(isn) = segment.isn.0 {
            own.begin(isn);
        }
        if let Some(isn) = segment.isn.1 {
            other.begin(isn);
        }
        let seq = segment.seq.wrapping_add(u32::from(syn));
        own.settle(seq);
        let mut ack = None;
        if segment.flags.ack() {
            if syn {
                other.begin(segment.ack.wrapping_sub(1));
            }
            other.settle(segment.ack);
            ack = other
                .position(segment.ack)
                .map(|p| u64::try_from(p).unwrap_or(0));
        }
        // Both sides have a base by now.
        let position = own.position(seq).unwrap_or(0);
        let (offset, skip) = match u64::try_from(position) {
            Ok(offset) => (offset, 0),
            Err(_) => (0, position.unsigned_abs().min(segment.len.into()) as u32),
        };
        let len = segment.len - skip;
        let bytes = segment.payload.get(skip as usize..).unwrap_or_default();
        let end = offset + u64::from(len);
        if !segment.flags.rst() {
            own.reach(end, segment.time, sampled);
        }
        own.fin |= segment.flags.fin();
        Placed {
            offset,
            len,
            bytes,
            ack,
        }
    }

    /// Notes the interface that `segment` was seen on, and which way it crossed it.
    fn crossed(&mut self, side: Side, segment: &Segment<'_>) {
        for known in &mut self.links {
            if *known == 0 {
                *known = segment.link;
            }
            if *known == segment.link {
                break;
            }
        }
        // What a pod sends leaves its interface.
        match segment.direction {
            Direction::Egress => self.seen_at[side.index()] = true,
            Direction::Ingress => self.seen_at[side.other().index()] = true,
            Direction::Unknown => {}
        }
        if self.crossing == Direction::Unknown {
            self.crossing = match (side, segment.direction) {
                (Side::Client, direction) => direction,
                (Side::Server, Direction::Egress) => Direction::Ingress,
                (Side::Server, Direction::Ingress) => Direction::Egress,
                (Side::Server, Direction::Unknown) => Direction::Unknown,
            };
        }
    }
}

//! TLS whose first records are carried in another protocol's packets, and later records are not:
//! each side's packets are unwrapped, and positions are counted without their headers.

use smallvec::SmallVec;

use crate::classify::Side;
use crate::classify::api::Piece;
use crate::classify::protocols::Framing;
use crate::classify::stream::{NO_ACK, Stream};

/// The most packets that a handshake may use, on either side.
const MAX_PACKETS: usize = 64;

/// Both sides' packets.
#[derive(Debug)]
pub(super) struct Wrapped {
    framing: Framing,
    lanes: [Lane; 2],
}

#[derive(Debug)]
struct Lane {
    /// Bytes that arrived and could not be unwrapped yet.
    stream: Stream,
    /// Position of the first packet.
    base: u64,
    /// Position of each packet.
    packets: SmallVec<[u64; 4]>,
    /// No packets any more: plain records.
    bare: bool,
}

/// Bytes outside packets, at a position that does not count the packet headers.
#[derive(Debug)]
pub(super) struct Unwrapped {
    offset: u64,
    len: u32,
    bytes: Vec<u8>,
    ack: Option<u64>,
    time: u64,
}

impl Unwrapped {
    pub(super) fn piece(&self) -> Piece<'_> {
        Piece {
            offset: self.offset,
            len: self.len,
            bytes: &self.bytes,
            ack: self.ack,
            time: self.time,
            inside: false,
        }
    }
}

impl Wrapped {
    /// Memory that is held, in bytes.
    pub(super) fn held(&self) -> usize {
        size_of::<Self>()
            + self
                .lanes
                .iter()
                .map(|lane| lane.stream.held())
                .sum::<usize>()
    }
}

impl Framing {
    /// Bytes of a packet's header.
    fn header(self) -> usize {
        match self {
            Self::Tds => 8,
        }
    }

    /// Size of the packet with this header; `None` if it is not such a packet.
    fn size(self, header: &[u8]) -> Option<usize> {
        match self {
            Self::Tds => {
                let size = usize::from(u16::from_be_bytes([*header.get(2)?, *header.get(3)?]));
                (header[0] == 0x12 && size > self.header()).then_some(size)
            }
        }
    }
}

impl Wrapped {
    /// Packets begin at the current positions of the streams.
    pub(super) fn new(framing: Framing, streams: [Stream; 2]) -> Self {
        let lanes = streams.map(|stream| Lane {
            base: stream.next,
            stream,
            packets: SmallVec::new(),
            bare: false,
        });
        Self { framing, lanes }
    }

    /// Unwraps the contents of a piece.
    pub(super) fn unwrap(&mut self, side: Side, piece: &Piece<'_>) -> Vec<Unwrapped> {
        let ack = piece.ack.map(|ack| self.position(side.other(), ack));
        let lane = &mut self.lanes[side.index()];
        if lane.bare {
            return vec![Unwrapped {
                offset: self.position(side, piece.offset),
                len: piece.len,
                bytes: piece.bytes.to_vec(),
                ack,
                time: piece.time,
            }];
        }
        let mark = ack.unwrap_or(NO_ACK);
        self.take(side, piece.time, |stream, consume| {
            stream.push(piece.offset, piece.len, piece.bytes, mark, consume);
        })
    }

    /// Unwraps what arrived before.
    pub(super) fn start(&mut self, side: Side, time: u64) -> Vec<Unwrapped> {
        self.take(side, time, |stream, consume| stream.pump(consume))
    }

    fn take(
        &mut self,
        side: Side,
        time: u64,
        give: impl FnOnce(&mut Stream, &mut dyn FnMut(&crate::classify::stream::Window<'_>) -> u64),
    ) -> Vec<Unwrapped> {
        let framing = self.framing;
        let Lane {
            stream,
            base,
            packets,
            bare,
        } = &mut self.lanes[side.index()];
        let mut out = Vec::new();
        let mut consume = |window: &crate::classify::stream::Window<'_>| {
            let mut at = 0;
            while let Some(rest) = window.bytes.get(at..).filter(|rest| !rest.is_empty()) {
                let start = window.start + at as u64;
                let offset = start - *base - (packets.len() * framing.header()) as u64;
                let (skip, size) = if *bare || packets.len() >= MAX_PACKETS {
                    (0, rest.len())
                } else if rest.len() < framing.header() && rest[0] == 0x12 {
                    break;
                } else if let Some(size) = framing.size(rest) {
                    if rest.len() < size {
                        break;
                    }
                    packets.push(start);
                    (framing.header(), size)
                } else {
                    *bare = true;
                    (0, rest.len())
                };
                let ack = window.ack_at(start);
                out.push(Unwrapped {
                    offset,
                    len: (size - skip) as u32,
                    bytes: rest[skip..size].to_vec(),
                    ack: (ack != NO_ACK).then_some(ack),
                    time,
                });
                at += size;
            }
            window.start + at as u64
        };
        give(stream, &mut consume);
        out
    }

    /// A position of a side's stream, not counting packet headers.
    pub(super) fn position(&self, side: Side, position: u64) -> u64 {
        let lane = &self.lanes[side.index()];
        let before = lane.packets.partition_point(|start| *start < position);
        let headers = (before * self.framing.header()) as u64;
        position.saturating_sub(lane.base).saturating_sub(headers)
    }
}

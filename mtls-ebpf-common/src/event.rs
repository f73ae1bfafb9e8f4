//! A sample in the ring buffer.

/// Most pieces of a segment that one event carries.
pub const PIECES: usize = 8;
/// Most bytes of the first piece.
pub const CHUNK: u32 = 4096;
/// Most bytes of each other piece: the header of a TLS record, and the first bytes of its body.
pub const SNIPPET: u32 = 5 + BODY;
/// Bytes copied of a record's body, for the first records of application data: as many as the
/// classifier needs to recognise readable text.
pub const BODY: u32 = 32;
/// Most bytes of one event's pieces, plus a spare snippet.
pub const PAYLOAD: usize = CHUNK as usize + PIECES * 64;

/// What every event begins with.
///
/// An event with a segment's payload is a full [`Event`]. All others consist of the head alone: the
/// end of a connection, and reports about packets that cannot be read ([`Head::unread`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Head {
    /// Nanoseconds since boot, including time asleep.
    pub time: u64,
    /// When the connection was first seen, on the same clock.
    pub opened: u64,
    /// Sender; IPv4 as `::ffff:a.b.c.d`.
    pub src: [u8; 16],
    /// Receiver.
    pub dst: [u8; 16],
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's port.
    pub dst_port: u16,
    /// The interface it was seen on.
    pub ifindex: u32,
    /// Sequence number of the first byte of the segment's payload. For datagrams merged by
    /// segmentation offload, the size of each; zero for a single datagram.
    pub seq: u32,
    /// Acknowledgement number in the packet.
    pub ack: u32,
    /// Initial sequence numbers of the sender and the receiver, if `bits` says that they are known.
    pub isn: [u32; 2],
    /// Payload bytes that the segment carried.
    pub len: u32,
    /// Sequence number of the receiver's FIN, if `bits` says that it is known.
    pub fin: u32,
    /// Bytes of all pieces together.
    pub captured: u16,
    /// Further properties: the constants of this module.
    pub bits: u16,
    /// TCP control bits. FIN and RST are set only in the segment's last event.
    pub tcp_flags: u8,
    /// Pieces in use.
    pub pieces: u8,
    /// For a packet that cannot be read, the index of the counter that says why; otherwise zero.
    pub unread: u8,
    /// The IP protocol.
    pub transport: u8,
}

/// The pod is the sender.
pub const EGRESS: u16 = 1 << 0;
/// The connection was already open when it was first seen.
pub const MIDSTREAM: u16 = 1 << 1;
/// A recheck of a direction that was done.
pub const AGAIN: u16 = 1 << 2;
/// Samples of the connection were lost before this one.
pub const LOST: u16 = 1 << 3;
/// The sender's initial sequence number is known.
pub const SENDER_ISN: u16 = 1 << 4;
/// The receiver's initial sequence number is known.
pub const RECEIVER_ISN: u16 = 1 << 5;
/// The sender opened the connection.
pub const SENDER_CLIENT: u16 = 1 << 6;
/// The receiver opened the connection.
pub const RECEIVER_CLIENT: u16 = 1 << 7;
/// The connection's first event: its SYNs have not been reported before.
pub const FIRST: u16 = 1 << 8;
/// The receiver has sent its FIN, at `fin`.
pub const RECEIVER_FIN: u16 = 1 << 9;
/// From another interface than the one where the sender is known: not evidence.
pub const FOREIGN: u16 = 1 << 10;
/// The packet is IPv6, whatever its addresses look like.
pub const V6: u16 = 1 << 11;

/// The first piece is plain payload; all others are parts of records, of which no more will be
/// sampled.
pub const RUN: u16 = 1 << 12;

/// If this event is delivered, the direction is not sampled again until the next recheck.
pub const PAUSED: u16 = 1 << 13;

/// Nothing that the receiver sends was ever seen: what is known about it comes from its sender's
/// packets.
pub const ALONE: u16 = 1 << 14;

/// A part of a segment's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Piece {
    /// Position in the segment's payload.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

/// An event with the bytes of its pieces, one after the other; bytes after the last piece in use
/// are not delivered.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Event {
    /// Sender, receiver, time and interface.
    pub head: Head,
    /// Where the bytes belong.
    pub pieces: [Piece; PIECES],
    /// The bytes.
    pub payload: [u8; PAYLOAD],
}

/// An event as stored in the ring buffer.
#[cfg(feature = "user")]
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Sender, receiver, time and interface.
    pub head: Head,
    /// Where the bytes belong.
    pub pieces: [Piece; PIECES],
    /// The bytes.
    pub payload: &'a [u8],
}

#[cfg(feature = "user")]
impl<'a> View<'a> {
    /// Reads an event; `None` if `bytes` is not one, which would be a bug in the kernel program.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = read::<Head>(bytes)?;
        let (pieces, payload) = if head.pieces == 0 {
            ([Piece::default(); PIECES], rest)
        } else {
            read(rest)?
        };
        let view = Self {
            head,
            pieces,
            payload: payload.get(..head.captured.into())?,
        };
        let used = pieces.get(..head.pieces.into())?;
        let sum: u64 = used.iter().map(|piece| u64::from(piece.len)).sum();
        (sum == u64::from(head.captured)).then_some(view)
    }

    /// The pieces in use: position in the segment's payload, and the bytes.
    pub fn pieces(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let mut rest = self.payload;
        self.pieces
            .iter()
            .take(self.head.pieces.into())
            .map(move |piece| {
                let (bytes, behind) = rest.split_at(rest.len().min(piece.len as usize));
                rest = behind;
                (piece.offset, bytes)
            })
    }
}

#[cfg(feature = "user")]
fn read<T: aya::Pod>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (value, rest) = bytes.split_at_checked(size_of::<T>())?;
    // SAFETY: `value` has the size of `T`, and `T: Pod` is valid whatever the bytes.
    Some((unsafe { value.as_ptr().cast::<T>().read_unaligned() }, rest))
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)` of integers without padding (see the test).
unsafe impl aya::Pod for Head {}
#[cfg(feature = "user")]
// SAFETY: `repr(C)` of integers without padding (see the test).
unsafe impl aya::Pod for Piece {}

#[cfg(test)]
mod tests {
    use super::{Event, Head, PAYLOAD, Piece};

    #[test]
    fn layouts_have_no_padding() {
        assert_eq!(
            size_of::<Head>(),
            2 * 8 + 2 * 16 + 2 * 2 + 7 * 4 + 2 * 2 + 4
        );
        assert_eq!(size_of::<Piece>(), 8);
        assert_eq!(size_of::<Event>(), 88 + 64 + PAYLOAD);
    }
}

//! A sample on its way through the ring buffer.

/// Most record headers that one event carries.
pub const RECORDS: usize = 8;

/// What every event begins with.
///
/// There are two kinds: a head alone, which reports a SYN, FIN or RST; and a full [`Event`], which
/// reports payload and has none of these flags. A segment with both yields both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Head {
    /// Nanoseconds since boot, time asleep included.
    pub time: u64,
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
    /// Sequence number: of the SYN in a head alone, else of the first byte of the segment's payload.
    pub seq: u32,
    /// Acknowledgement number in the packet.
    pub ack: u32,
    /// Initial sequence numbers of the sender and the receiver, where `bits` has them known.
    pub isn: [u32; 2],
    /// Payload bytes that the segment carried.
    pub len: u32,
    /// Position in the payload of the first captured byte.
    pub offset: u32,
    /// Captured bytes.
    pub captured: u32,
    /// What else is known: the constants of this module.
    pub bits: u16,
    /// TCP control bits.
    pub tcp_flags: u8,
    /// Entries of [`Event::records`] in use.
    pub records: u8,
}

/// The pod is the sender.
pub const EGRESS: u16 = 1 << 0;
/// The flow was running when it was first met.
pub const MIDSTREAM: u16 = 1 << 1;
/// A fresh look at a flow that was done.
pub const AGAIN: u16 = 1 << 2;
/// Samples of the flow were lost before this one.
pub const LOST: u16 = 1 << 3;
/// The sender's initial sequence number is known.
pub const SENDER_ISN: u16 = 1 << 4;
/// The receiver's initial sequence number is known.
pub const RECEIVER_ISN: u16 = 1 << 5;

/// The header of a TLS record beyond the captured bytes, or as much of it as this segment holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct RecordHeader {
    /// Position in the segment's payload.
    pub offset: u32,
    /// The bytes.
    pub bytes: [u8; 5],
    /// How many of them are in use.
    pub len: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// An event with room for `N` captured bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Event<const N: usize> {
    /// Who, when, where.
    pub head: Head,
    /// Record headers beyond the captured bytes.
    pub records: [RecordHeader; RECORDS],
    /// The captured bytes.
    pub payload: [u8; N],
}

/// An event as it lies in the ring buffer.
#[cfg(feature = "user")]
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Who, when, where.
    pub head: Head,
    /// Record headers beyond the captured bytes.
    pub records: [RecordHeader; RECORDS],
    /// The captured bytes.
    pub payload: &'a [u8],
    /// A head alone: it reports a SYN, FIN or RST.
    pub control: bool,
}

#[cfg(feature = "user")]
impl<'a> View<'a> {
    /// Reads an event; `None` when `bytes` is none, which would be a fault in the kernel program.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = read::<Head>(bytes)?;
        if rest.is_empty() {
            return (head.captured == 0 && head.records == 0).then_some(Self {
                head,
                records: [RecordHeader::default(); RECORDS],
                payload: &[],
                control: true,
            });
        }
        let (records, rest) = read::<[RecordHeader; RECORDS]>(rest)?;
        let payload = rest.get(..head.captured as usize)?;
        Some(Self {
            head,
            records,
            payload,
            control: false,
        })
    }

    /// The record headers in use: position in the segment's payload, and the bytes.
    pub fn records(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.records
            .iter()
            .take(self.head.records.into())
            .map(|record| {
                let len = usize::from(record.len).min(record.bytes.len());
                (record.offset, &record.bytes[..len])
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
// SAFETY: `repr(C)` of integers without padding (8 + 32 + 4 + 9 * 4 - 4 = 80 bytes, see the test).
unsafe impl aya::Pod for Head {}
#[cfg(feature = "user")]
// SAFETY: `repr(C)` of integers without padding (4 + 5 + 1 + 2 = 12 bytes, see the test).
unsafe impl aya::Pod for RecordHeader {}

#[cfg(test)]
mod tests {
    use super::{Event, Head, RecordHeader};

    #[test]
    fn layouts_have_no_padding() {
        assert_eq!(size_of::<Head>(), 80);
        assert_eq!(size_of::<RecordHeader>(), 12);
        assert_eq!(size_of::<Event<128>>(), 80 + 96 + 128);
        assert_eq!(align_of::<Event<128>>(), 8);
    }
}

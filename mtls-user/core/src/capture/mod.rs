//! Capture formats: pcap, pcapng and snoop, converted to the same
//! [`Segment`](crate::wire::Segment)s as kernel samples.
//!
//! [`Capture`] reads a file, [`Decoder`] turns its packets into segments and counts what it
//! skipped. The formats themselves ([`pcap`], [`pcapng`], [`snoop`]) are pure functions over a
//! prefix of the input, so that they can be tested and fuzzed without a file.

mod fragments;
mod link;
mod network;
pub mod packet;
pub mod pcap;
pub mod pcapng;
pub mod reader;
pub mod skip;
pub mod snoop;
mod tunnel;
mod unmarked;

pub use network::Decoded;
pub use packet::Decoder;
pub use reader::{Capture, Summary};
pub use skip::{Skip, Skips};

/// The most bytes that one packet or block of a capture may claim: far above any link's frame
/// (libpcap's own limit is 256 KiB), and small enough that a damaged length cannot make the
/// reader allocate without bound.
pub const MAX_BLOCK: usize = 16 << 20;

/// What a packet's first bytes are (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: the address family in the byte order of the machine that captured.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP.
    pub const PPP: Self = Self(9);
    /// Raw IP; the number depends on the system, and files should use 101.
    pub const RAW_BSD: Self = Self(12);
    /// Raw IP on OpenBSD.
    pub const RAW_OPENBSD: Self = Self(14);
    /// Raw IP.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: the address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux "cooked" capture.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux "cooked" capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);

    /// Whether [`packet::Decoder`] supports it.
    pub fn is_supported(self) -> bool {
        matches!(
            self,
            Self::NULL
                | Self::ETHERNET
                | Self::PPP
                | Self::RAW_BSD
                | Self::RAW_OPENBSD
                | Self::RAW
                | Self::LOOP
                | Self::LINUX_SLL
                | Self::IPV4
                | Self::IPV6
                | Self::LINUX_SLL2
        )
    }
}

/// One packet as stored in the file.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// What `data` begins with.
    pub link_type: LinkType,
    /// The captured bytes.
    pub data: &'a [u8],
    /// Bytes of the packet on the wire: more than in `data` if a snap length cut it.
    pub original: usize,
}

/// What a format's parser found at the start of its input.
#[derive(Debug)]
pub enum Step<'a> {
    /// A packet, whose record is the first `consumed` bytes of the input.
    Packet {
        /// Bytes to advance by.
        consumed: usize,
        /// The packet.
        packet: Packet<'a>,
    },
    /// Nothing of interest in the next `consumed` bytes.
    Skip {
        /// Bytes to advance by.
        consumed: usize,
    },
    /// At least this many bytes are needed, counted from the start of the input.
    Need(usize),
    /// The bytes are invalid in this format; the next packet cannot be found.
    Corrupt(&'static str),
}

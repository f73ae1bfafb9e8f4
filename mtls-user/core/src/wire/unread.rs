//! What an observer saw and could not read: it says of whom something is not known.

use super::{Direction, Endpoint};

/// Packets between two addresses that are no segments, or a connection that is no longer followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unread {
    /// Nanoseconds since the Unix epoch, of the first one.
    pub time: u64,
    /// The interface that they were seen on (its index).
    pub link: u32,
    /// Which way they crossed it.
    pub direction: Direction,
    /// Sender; port 0 unless it is one connection.
    pub src: Endpoint,
    /// Receiver.
    pub dst: Endpoint,
    /// What they are.
    pub what: What,
}

/// What an [`Unread`] is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum What {
    /// Fragments of IP packets, of whatever protocol: any connection of the pair may have sent them.
    Fragments,
    /// VLAN tags or extension headers beyond those that are followed.
    TooManyHeaders,
    /// A header contradicts itself.
    Malformed,
    /// A tunnel of this name: what it carries is not looked at.
    Tunnel(&'static str),
    /// UDP that the kernel program did not follow.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP or ICMPv6.
    Icmp,
    /// An IP protocol without a name here.
    OtherIp,
    /// The connection gave up its place in the kernel's table to a newer one: what it sends from now
    /// on is seen as of a connection that is met in midstream.
    Evicted,
}

impl What {
    /// TCP may be in there: what was seen of the pair's connections is not all.
    pub fn may_hide_tcp(self) -> bool {
        matches!(
            self,
            Self::Fragments | Self::TooManyHeaders | Self::Malformed | Self::Tunnel(_)
        )
    }

    /// UDP may be in there, likewise.
    pub fn may_hide_udp(self) -> bool {
        self == Self::Udp || self.may_hide_tcp()
    }
}

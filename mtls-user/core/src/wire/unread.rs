//! Packets that an observer saw but could not read: they show whose traffic is not completely
//! known.

use super::{Direction, Endpoint};

/// Unreadable packets between two addresses, or a connection that is no longer followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unread {
    /// Time of the first one, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The interface where they were seen (its index).
    pub link: u32,
    /// Which way they crossed it.
    pub direction: Direction,
    /// Sender; port 0 unless it is about one connection.
    pub src: Endpoint,
    /// Receiver.
    pub dst: Endpoint,
    /// What they are.
    pub what: What,
}

/// What an [`Unread`] is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum What {
    /// Fragments of IP packets, of whatever protocol: any connection between the two addresses may
    /// have sent them.
    Fragments,
    /// VLAN tags or extension headers beyond those that are followed.
    TooManyHeaders,
    /// A header contradicts itself.
    Malformed,
    /// A tunnel with this name: its contents are not inspected.
    Tunnel(&'static str),
    /// UDP that the kernel program did not follow.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP or ICMPv6.
    Icmp,
    /// Another IP protocol.
    OtherIp,
    /// The connection was evicted from the kernel's table by a newer one: what it sends from now on
    /// appears as a midstream connection.
    Evicted,
}

impl What {
    /// It may contain TCP: what was seen of the connections between these addresses may be
    /// incomplete.
    pub fn may_hide_tcp(self) -> bool {
        matches!(
            self,
            Self::Fragments | Self::TooManyHeaders | Self::Malformed | Self::Tunnel(_)
        )
    }

    /// It may contain UDP, with the same consequence.
    pub fn may_hide_udp(self) -> bool {
        self == Self::Udp || self.may_hide_tcp()
    }
}

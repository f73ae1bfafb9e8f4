//! One TCP segment, wherever it was seen: the one type that the kernel's samples and the packets
//! of a capture file both become, and the only thing the flow table takes in.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An address and a port. IPv4 is held IPv4-mapped (RFC 4291 §2.5.5.2), so that a key has one shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The address; IPv4 as `::ffff:a.b.c.d`.
    pub ip: [u8; 16],
    /// The TCP port.
    pub port: u16,
}

impl Endpoint {
    /// The endpoint at `ip` and `port`.
    pub fn new(ip: IpAddr, port: u16) -> Self {
        let ip = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self {
            ip: ip.octets(),
            port,
        }
    }

    /// The address as people write it: IPv4-mapped addresses come back as IPv4.
    pub fn ip(self) -> IpAddr {
        Ipv6Addr::from(self.ip).to_canonical()
    }
}

// Two words instead of the length and the bytes of an array: it is hashed for every packet.
impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.ip));
        state.write_u16(self.port);
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self::new(addr.ip(), addr.port())
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        SocketAddr::new(self.ip(), self.port).fmt(f)
    }
}

/// TCP control bits (RFC 9293 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field is significant.
    pub const ACK: u8 = 0x10;

    /// FIN is set.
    pub fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }
    /// SYN is set.
    pub fn syn(self) -> bool {
        self.0 & Self::SYN != 0
    }
    /// RST is set.
    pub fn rst(self) -> bool {
        self.0 & Self::RST != 0
    }
    /// ACK is set.
    pub fn ack(self) -> bool {
        self.0 & Self::ACK != 0
    }
}

/// Which way a packet crossed a pod's interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Direction {
    /// Sent by the pod (tc ingress of the veth's host end).
    Egress,
    /// On its way to the pod (tc egress of the veth's host end).
    Ingress,
    /// Not known: a capture file does not say.
    #[default]
    Unknown,
}

/// One TCP segment, or the part of it that was captured.
///
/// A sample from the kernel may hold only some of a segment's bytes (the first 1,448, or the five
/// bytes of one TLS record's header in the middle): `seq` is then the sequence number of the first
/// byte *captured*, and holes between samples are normal. Bytes never captured are holes, not zeros.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// The interface it was seen on (its index); 0 where there is none, as in a capture.
    pub link: u32,
    /// Which way it crossed that interface.
    pub direction: Direction,
    /// Sender.
    pub src: Endpoint,
    /// Receiver.
    pub dst: Endpoint,
    /// Sequence number of `payload[0]` (of the SYN itself when SYN is set; data in a SYN starts one later).
    pub seq: u32,
    /// Acknowledgement number; meaningful when the ACK flag is set.
    pub ack: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Payload bytes that the segment carried from `seq` on, captured or not.
    pub len: u32,
    /// The captured bytes, at most `len`.
    pub payload: &'a [u8],
    /// Initial sequence numbers of the sender and the receiver where the observer kept them
    /// (the kernel does; a capture reader leaves them to the flow table).
    pub isn: (Option<u32>, Option<u32>),
    /// The flow was already running when the observer first met it.
    pub midstream: bool,
    /// A fresh look at a flow that was classified before.
    pub again: bool,
    /// Samples of this flow were lost before this one: what is missing proves nothing.
    pub lost: bool,
    /// It came from another interface than its sender is known at: no evidence of what the sender
    /// said.
    pub foreign: bool,
}

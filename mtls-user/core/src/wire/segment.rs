//! One TCP segment, wherever it was seen: the common type of the kernel's samples and the packets
//! of a capture file, and the only input of the flow table.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An address and a port. IPv4 is stored IPv4-mapped (RFC 4291 §2.5.5.2), so that keys have one
/// form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The address; IPv4 as `::ffff:a.b.c.d`.
    pub ip: [u8; 16],
    /// The TCP port.
    pub port: u16,
    /// The address is IPv4-mapped in an IPv6 packet, where it is not allowed (RFC 4291 §2.5.5.2 is
    /// for programs, not for the wire). It differs from the IPv4 address, and is never taken for
    /// it.
    pub mapped_on_wire: bool,
}

impl Endpoint {
    /// The endpoint at `ip` and `port`; an IPv4-mapped address becomes the IPv4 one.
    pub fn new(ip: IpAddr, port: u16) -> Self {
        let ip = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self {
            ip: ip.octets(),
            port,
            mapped_on_wire: false,
        }
    }

    /// The endpoint of an IPv6 packet, its address as it was sent.
    pub fn v6(ip: [u8; 16], port: u16) -> Self {
        Self {
            ip,
            port,
            mapped_on_wire: ip.starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        }
    }

    /// The address, as IPv4 if it is mapped.
    pub fn ip(self) -> IpAddr {
        let ip = Ipv6Addr::from(self.ip);
        if self.mapped_on_wire {
            ip.into()
        } else {
            ip.to_canonical()
        }
    }
}

// Two words instead of an array's length and bytes, because it is hashed for every packet.
impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.ip));
        state.write_u32(u32::from(self.port) << 1 | u32::from(self.mapped_on_wire));
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self::new(addr.ip(), addr.port())
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(end: Endpoint) -> Self {
        Self::new(end.ip(), end.port)
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        SocketAddr::from(*self).fmt(f)
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
    /// Unknown: a capture file does not say.
    #[default]
    Unknown,
}

/// What an observer knows about a segment's checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum<'a> {
    /// Nothing: it did not check, or does not have the whole segment.
    #[default]
    Unknown,
    /// It is wrong: no receiver accepts the segment.
    Wrong,
    /// The whole TCP segment, from which it can be computed on request ([`Segment::sum`]).
    Of(&'a [u8]),
}

/// A segment longer than an Ethernet frame may have been merged from several by a network card that
/// left the first one's checksum in it.
const MERGED: usize = 1_480;

/// The result of checking a checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sum {
    /// Correct (RFC 9293 §3.1).
    Right,
    /// The sum of the pseudo-header alone: the segment was captured before the sender's network
    /// card filled in the rest, or the receiver's card merged it from several.
    Partial,
    /// Zero, which a sender's card may also find there.
    Absent,
    /// Anything else.
    Wrong,
    /// Unknown.
    Unknown,
}

/// One TCP segment, or the part of it that was captured.
///
/// A kernel sample may contain only some of a segment's bytes (the first 1,448, or the five bytes
/// of one TLS record header in the middle): `seq` is then the sequence number of the first byte
/// *captured*, and gaps between samples are normal. Bytes that were never captured are gaps, not
/// zeros.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// The interface where it was seen (its index); 0 if none, as in a capture.
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
    /// What is known about the checksum.
    pub checksum: Checksum<'a>,
    /// Initial sequence numbers of the sender and the receiver, if the observer recorded them (the
    /// kernel does; a capture reader leaves that to the flow table).
    pub isn: (Option<u32>, Option<u32>),
    /// The flow was already open when the observer first saw it.
    pub midstream: bool,
    /// A recheck of a flow that is done.
    pub again: bool,
    /// Samples of this flow were lost before this one: what is missing proves nothing.
    pub lost: bool,
    /// It came from another interface than the one where its sender is known: not evidence of what
    /// the sender sent.
    pub foreign: bool,
    /// Its packet's payload began before it: the kernel delivers only some parts of a packet, each
    /// as a segment.
    pub inside: bool,
}

impl Segment<'_> {
    /// The state of the checksum. This reads the whole segment.
    pub fn sum(&self) -> Sum {
        let tcp = match self.checksum {
            Checksum::Unknown => return Sum::Unknown,
            Checksum::Wrong => return Sum::Wrong,
            Checksum::Of(tcp) => tcp,
        };
        let Some(&[high, low]) = tcp.get(16..18) else {
            return Sum::Unknown;
        };
        // The words of an IPv4 and an IPv6 pseudo-header have the same sum, because a mapped
        // address adds 0xffff, which is zero in ones' complement.
        let addresses = checksum::words(&self.src.ip) + checksum::words(&self.dst.ip) + 6;
        let whole = addresses + tcp.len() as u64;
        let field = u16::from_be_bytes([high, low]);
        let is_partial = |sum| checksum::fold(sum) == field;
        if checksum::fold(whole + checksum::words(tcp)) == 0xffff {
            Sum::Right
        } else if field == 0 {
            Sum::Absent
        } else if is_partial(whole) || is_partial(addresses) {
            Sum::Partial
        } else if tcp.len() > MERGED {
            Sum::Unknown
        } else {
            Sum::Wrong
        }
    }
}

/// The internet checksum (RFC 1071).
mod checksum {
    /// The sum of all words, the last one padded with a zero; at most 2^16 per word.
    pub(super) fn words(bytes: &[u8]) -> u64 {
        let (words, rest) = bytes.as_chunks::<4>();
        // Ones' complement sums may be computed over wider words and folded.
        let sum: u64 = words
            .iter()
            .map(|word| u64::from(u32::from_be_bytes(*word)))
            .sum();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        let sum = sum + u64::from(u32::from_be_bytes(last));
        (sum >> 32) + (sum & 0xffff_ffff)
    }

    /// A sum folded to one word.
    pub(super) fn fold(mut sum: u64) -> u16 {
        while sum >> 16 != 0 {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(tcp: &[u8]) -> Segment<'_> {
        Segment {
            time: 0,
            link: 0,
            direction: Direction::Unknown,
            src: Endpoint::new([127, 0, 0, 1].into(), 40_000),
            dst: Endpoint::new([127, 0, 0, 1].into(), 21_000),
            seq: 0,
            ack: 0,
            flags: TcpFlags(0),
            len: 0,
            payload: &[],
            checksum: Checksum::Of(tcp),
            isn: (None, None),
            midstream: false,
            again: false,
            lost: false,
            foreign: false,
            inside: false,
        }
    }

    #[test]
    fn checksums_are_distinguished() {
        let mut tcp = vec![
            0x9c, 0x40, 0x52, 0x08, 0x22, 0x65, 0xa8, 0xf5, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0,
            0, 0, 7,
        ];
        assert_eq!(segment(&tcp).sum(), Sum::Absent);
        let addresses = 2 * (0x7f00 + 1) + 6_u32;
        for pseudo in [addresses, addresses + tcp.len() as u32] {
            tcp[16..18].copy_from_slice(&(pseudo as u16).to_be_bytes());
            assert_eq!(segment(&tcp).sum(), Sum::Partial);
        }
        tcp[16..18].fill(0);
        let mut sum = addresses + tcp.len() as u32 + (7 << 8);
        sum += tcp[..20]
            .chunks(2)
            .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]))
            .sum::<u32>();
        let sum = (sum >> 16) + (sum & 0xffff);
        tcp[16..18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        assert_eq!(segment(&tcp).sum(), Sum::Right);
        tcp[20] ^= 1;
        assert_eq!(segment(&tcp).sum(), Sum::Wrong);
        assert_eq!(segment(&tcp[..10]).sum(), Sum::Unknown);
    }

    #[test]
    fn a_mapped_address_on_the_wire_is_not_the_ipv4_one() {
        let v4 = Endpoint::new([192, 0, 2, 1].into(), 80);
        let v6 = Endpoint::v6(v4.ip, 80);
        assert_ne!(v4, v6);
        assert_eq!(v4.to_string(), "192.0.2.1:80");
        assert_eq!(v6.to_string(), "[::ffff:192.0.2.1]:80");
        assert_eq!(
            Endpoint::new(v6.ip(), 80),
            v4,
            "a program's address is the IPv4 one"
        );
    }
}

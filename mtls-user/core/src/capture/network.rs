//! IPv4, IPv6 and TCP, and the headers between them.

#![expect(
    clippy::inline_always,
    reason = "a segment handed from function to function is copied each time, right after it was written"
)]

use mtls_ebpf_common::packet::{
    FRAGMENT_V4, FRAGMENT_V6, MAX_EXTENSIONS, extension_len, is_extension, protocol,
};

use super::Skip;
use super::fragments::{Fragment, Key};
use super::link::{self, Network};
use super::{tunnel, unmarked};
use crate::wire::{Checksum, Datagram, Direction, Endpoint, Segment, TcpFlags};

/// Nested tunnels that are followed.
const MAX_DEPTH: u8 = 4;

/// What a packet carries.
#[derive(Clone, Copy, Debug)]
pub enum Decoded<'a> {
    /// TCP.
    Segment(Segment<'a>),
    /// UDP.
    Datagram(Datagram<'a>),
}

/// The result of decoding a packet.
pub(super) enum Found<'a> {
    Whole(Decoded<'a>),
    Fragment(Fragment<'a>),
}

/// Sender and receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Addresses {
    pub(super) src: [u8; 16],
    pub(super) dst: [u8; 16],
    /// Whether they are IPv6 addresses, whatever they look like.
    pub(super) v6: bool,
}

/// What a packet and those inside it have in common.
#[derive(Clone, Copy)]
pub(super) struct Around {
    pub(super) time: u64,
    /// The tunnels around it.
    pub(super) depth: u8,
}

/// A network-layer packet; `original`: its length on the wire, including what follows it.
#[inline(always)]
pub(super) fn packet(
    around: Around,
    kind: Network,
    ip: &[u8],
    original: usize,
) -> Result<Found<'_>, Skip> {
    let version = ip.first().ok_or(Skip::Short)? >> 4;
    match (version, kind) {
        (4, Network::V4 | Network::Either) => ipv4(around, ip, original),
        (6, Network::V6 | Network::Either) => ipv6(around, ip, original),
        (_, Network::Either) => Err(Skip::NotIp),
        _ => Err(Skip::Malformed),
    }
}

#[inline(always)]
fn ipv4(around: Around, ip: &[u8], original: usize) -> Result<Found<'_>, Skip> {
    let head = ip.first_chunk::<20>().ok_or(Skip::Short)?;
    let header = usize::from(head[0] & 0x0f) * 4;
    if header < 20 {
        return Err(Skip::Malformed);
    }
    // A packet handed over by segmentation offload may have a zero length.
    let total = match usize::from(u16::from_be_bytes([head[2], head[3]])) {
        0 => original,
        n => n,
    };
    let length = total.checked_sub(header).ok_or(Skip::Malformed)?;
    let captured = ip.get(header..ip.len().min(total)).ok_or(Skip::Short)?;
    let addresses = Addresses {
        src: mapped([head[12], head[13], head[14], head[15]]),
        dst: mapped([head[16], head[17], head[18], head[19]]),
        v6: false,
    };
    let part = u16::from_be_bytes([head[6], head[7]]);
    if part & FRAGMENT_V4 != 0 {
        let id = u32::from(u16::from_be_bytes([head[4], head[5]]));
        let key = Key {
            addresses,
            id,
            protocol: head[9],
        };
        let (offset, more) = (usize::from(part & 0x1fff) * 8, part & 0x2000 != 0);
        return fragment(around, key, offset, more, captured, length);
    }
    if head[9] == protocol::TCP {
        return tcp(around.time, addresses, captured, length);
    }
    transport(around, addresses, head[9], captured, length)
}

fn ipv6(around: Around, ip: &[u8], original: usize) -> Result<Found<'_>, Skip> {
    let head = ip.first_chunk::<40>().ok_or(Skip::Short)?;
    // Zero is a jumbogram (RFC 2675) or the kernel's own BIG TCP.
    let total = match usize::from(u16::from_be_bytes([head[4], head[5]])) {
        0 => original,
        n => 40 + n,
    };
    let captured = ip.get(..ip.len().min(total)).ok_or(Skip::Short)?;
    let addresses = Addresses {
        src: *head[8..].first_chunk().ok_or(Skip::Short)?,
        dst: *head[24..].first_chunk().ok_or(Skip::Short)?,
        v6: true,
    };
    let (mut at, mut next) = (40, head[6]);
    for _ in 0..=MAX_EXTENSIONS {
        if !is_extension(next) {
            let length = total.checked_sub(at).ok_or(Skip::Malformed)?;
            let rest = captured.get(at..).ok_or(Skip::Short)?;
            return transport(around, addresses, next, rest, length);
        }
        let header = captured.get(at..at + 8).ok_or(Skip::Short)?;
        let (kind, len) = (next, extension_len(next, header[1]) as usize);
        next = header[0];
        at += len;
        let part = u16::from_be_bytes([header[2], header[3]]);
        if kind == protocol::FRAGMENT && part & FRAGMENT_V6 != 0 {
            let key = Key {
                addresses,
                id: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
                protocol: next,
            };
            let length = total.checked_sub(at).ok_or(Skip::Malformed)?;
            let rest = captured.get(at..).ok_or(Skip::Short)?;
            let (offset, more) = (usize::from(part & 0xfff8), part & 1 != 0);
            return fragment(around, key, offset, more, rest, length);
        }
    }
    Err(Skip::Malformed)
}

fn fragment(
    around: Around,
    key: Key,
    offset: usize,
    more: bool,
    captured: &[u8],
    length: usize,
) -> Result<Found<'_>, Skip> {
    // A truncated fragment cannot be reassembled.
    if captured.len() < length {
        return Err(Skip::Short);
    }
    Ok(Found::Fragment(Fragment {
        key,
        offset,
        more,
        data: captured,
        depth: around.depth,
    }))
}

/// The payload of an IP packet, `length` bytes of it.
pub(super) fn transport(
    around: Around,
    addresses: Addresses,
    kind: u8,
    captured: &[u8],
    length: usize,
) -> Result<Found<'_>, Skip> {
    let (at, network) = match kind {
        protocol::TCP => {
            return tcp(around.time, addresses, captured, length);
        }
        protocol::IPV4 => (0, Network::V4),
        protocol::IPV6 => (0, Network::V6),
        protocol::GRE => tunnel::gre(captured)?,
        protocol::MPLS => link::mpls(captured, 0)?,
        protocol::UDP => {
            let head = captured.first_chunk::<8>().ok_or(Skip::Short)?;
            let port = |at| u16::from_be_bytes([head[at], head[at + 1]]);
            if let Some(inside) = tunnel::udp([port(0), port(2)], &captured[8..]) {
                let (at, network) = inside?;
                (8 + at, network)
            } else {
                let (payload, len) = (&captured[8..], length.saturating_sub(8));
                let Some((link_type, inside)) = unmarked::inner(payload, len) else {
                    return udp(around.time, addresses, captured, length);
                };
                let at = payload.len() - inside.len();
                let (start, network) = link::link(inside, link_type)?;
                (8 + at + start, network)
            }
        }
        protocol::ICMP | protocol::ICMPV6 => return Err(Skip::Icmp),
        protocol::SCTP => return Err(Skip::Sctp),
        protocol::ESP => return Err(Skip::Encrypted),
        // The authentication header does not encrypt what follows it.
        protocol::AH if !addresses.v6 => {
            let head = captured.first_chunk::<2>().ok_or(Skip::Short)?;
            let len = extension_len(kind, head[1]) as usize;
            let rest = captured.get(len..).ok_or(Skip::Short)?;
            let length = length.checked_sub(len).ok_or(Skip::Malformed)?;
            return transport(deeper(around)?, addresses, head[0], rest, length);
        }
        _ => return Err(Skip::OtherIp),
    };
    let inside = captured.get(at..).ok_or(Skip::Short)?;
    let original = length.saturating_sub(at);
    packet(deeper(around)?, network, inside, original)
}

fn deeper(around: Around) -> Result<Around, Skip> {
    if around.depth == MAX_DEPTH {
        return Err(Skip::Tunnel);
    }
    Ok(Around {
        depth: around.depth + 1,
        ..around
    })
}

#[inline(always)]
fn tcp(time: u64, addresses: Addresses, tcp: &[u8], length: usize) -> Result<Found<'_>, Skip> {
    let head = tcp.first_chunk::<20>().ok_or(Skip::Short)?;
    let header = usize::from(head[12] >> 4) * 4;
    if header < 20 {
        return Err(Skip::Malformed);
    }
    let len = length.checked_sub(header).ok_or(Skip::Malformed)?;
    // Even if the snap length cuts the options, there is a segment, without captured bytes.
    let payload = tcp.get(header..).unwrap_or_default();
    let [src, dst] = addresses.ends([head[0], head[1], head[2], head[3]]);
    Ok(Found::Whole(Decoded::Segment(Segment {
        time,
        link: 0,
        direction: Direction::Unknown,
        src,
        dst,
        seq: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        ack: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        flags: TcpFlags(head[13]),
        len: u32::try_from(len).map_err(|_| Skip::Malformed)?,
        payload: payload.get(..len).unwrap_or(payload),
        checksum: if tcp.len() == length {
            Checksum::Of(tcp)
        } else {
            Checksum::Unknown
        },
        isn: (None, None),
        midstream: false,
        again: false,
        lost: false,
        foreign: false,
        inside: false,
    })))
}

/// The datagram in `udp`, for which the IP packet has `length` bytes.
fn udp(time: u64, addresses: Addresses, udp: &[u8], length: usize) -> Result<Found<'_>, Skip> {
    let head = udp.first_chunk::<8>().ok_or(Skip::Short)?;
    // Zero means a jumbogram (RFC 2675 §4), or work left to segmentation offload.
    let len = match usize::from(u16::from_be_bytes([head[4], head[5]])) {
        0 => length.checked_sub(8),
        n if n <= length => n.checked_sub(8),
        _ => None,
    };
    let len = len.ok_or(Skip::Malformed)?;
    let payload = udp.get(8..).unwrap_or_default();
    let [src, dst] = addresses.ends([head[0], head[1], head[2], head[3]]);
    Ok(Found::Whole(Decoded::Datagram(Datagram {
        time,
        link: 0,
        direction: Direction::Unknown,
        src,
        dst,
        len: u32::try_from(len).map_err(|_| Skip::Malformed)?,
        payload: payload.get(..len).unwrap_or(payload),
        midstream: false,
        lost: false,
        foreign: false,
        paused: false,
    })))
}

impl Addresses {
    /// Sender and receiver, with both their ports in network byte order.
    #[inline(always)]
    fn ends(self, ports: [u8; 4]) -> [Endpoint; 2] {
        let [a, b, c, d] = ports;
        [(self.src, [a, b]), (self.dst, [c, d])].map(|(ip, port)| {
            let port = u16::from_be_bytes(port);
            if self.v6 {
                Endpoint::v6(ip, port)
            } else {
                Endpoint {
                    ip,
                    port,
                    mapped_on_wire: false,
                }
            }
        })
    }
}

fn mapped(v4: [u8; 4]) -> [u8; 16] {
    (0xffff_0000_0000 | u128::from(u32::from_be_bytes(v4))).to_be_bytes()
}

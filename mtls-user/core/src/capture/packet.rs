//! From a captured packet to a TCP segment or a UDP datagram: link layer, VLAN tags, IPv4 and
//! IPv6, TCP, UDP.
//!
//! Everything is bounds-checked against what was captured, while lengths come from the IP header,
//! so that a snap length shortens a segment's bytes but not its length.

#![expect(
    clippy::inline_always,
    reason = "a segment handed from function to function is copied each time, right after it was written"
)]

use super::{LinkType, Packet, tunnel};
use crate::wire::{Datagram, Direction, Endpoint, Segment, TcpFlags};

/// VLAN tags followed (a customer's within a provider's is two).
const MAX_VLANS: usize = 4;
/// Tunnels followed: a cluster's within a provider's.
const MAX_TUNNELS: usize = 2;
/// IPv6 extension headers followed; RFC 8200 §4.1 wants each at most once, destination options twice.
const MAX_EXTENSIONS: usize = 10;

/// Why a packet is not a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Skip {
    /// Neither IPv4 nor IPv6 (ARP, LLDP, …).
    NotIp,
    /// IP, but neither TCP nor UDP.
    NotTcp,
    /// A fragment of an IP packet: fragments are not put together.
    Fragment,
    /// The capture's snap length, or damage, cut the packet before the end of its TCP header.
    Short,
    /// A header contradicts itself.
    Malformed,
    /// A link type that is not understood.
    LinkType,
}

/// Packets skipped, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Skips {
    /// [`Skip::NotIp`].
    pub not_ip: u64,
    /// [`Skip::NotTcp`].
    pub not_tcp: u64,
    /// [`Skip::Fragment`].
    pub fragments: u64,
    /// [`Skip::Short`].
    pub short: u64,
    /// [`Skip::Malformed`].
    pub malformed: u64,
    /// [`Skip::LinkType`].
    pub link_type: u64,
}

impl Skips {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.not_ip + self.not_tcp + self.fragments + self.short + self.malformed + self.link_type
    }
}

/// Turns packets into segments, and counts those that it could not.
#[derive(Clone, Copy, Default, Debug)]
pub struct Decoder {
    /// Packets that became segments.
    pub segments: u64,
    /// Packets that did not.
    pub skips: Skips,
    /// The last link type that was not understood.
    pub unknown_link_type: Option<LinkType>,
}

impl Decoder {
    /// The TCP segment or UDP datagram in `packet`, if there is one.
    #[inline(always)]
    pub fn decode<'a>(&mut self, packet: &Packet<'a>) -> Option<Decoded<'a>> {
        match decoded(packet) {
            Ok(decoded) => {
                self.segments += 1;
                Some(decoded)
            }
            Err(skip) => {
                let counter = match skip {
                    Skip::NotIp => &mut self.skips.not_ip,
                    Skip::NotTcp => &mut self.skips.not_tcp,
                    Skip::Fragment => &mut self.skips.fragments,
                    Skip::Short => &mut self.skips.short,
                    Skip::Malformed => &mut self.skips.malformed,
                    Skip::LinkType => {
                        self.unknown_link_type = Some(packet.link_type);
                        &mut self.skips.link_type
                    }
                };
                *counter += 1;
                None
            }
        }
    }
}

/// What a packet was found to carry.
#[derive(Clone, Copy, Debug)]
pub enum Decoded<'a> {
    /// TCP.
    Segment(Segment<'a>),
    /// UDP.
    Datagram(Datagram<'a>),
}

/// The TCP segment in `packet`.
#[inline(always)]
pub fn segment<'a>(packet: &Packet<'a>) -> Result<Segment<'a>, Skip> {
    match decoded(packet)? {
        Decoded::Segment(segment) => Ok(segment),
        Decoded::Datagram(_) => Err(Skip::NotTcp),
    }
}

/// The TCP segment or UDP datagram in `packet`, or in a tunnel that encrypts nothing in it.
#[inline(always)]
pub fn decoded<'a>(packet: &Packet<'a>) -> Result<Decoded<'a>, Skip> {
    let mut found = outer(packet)?;
    for _ in 0..MAX_TUNNELS {
        let Decoded::Datagram(datagram) = &found else {
            break;
        };
        let (payload, len) = (datagram.payload, datagram.len as usize);
        let Some((link_type, data)) = tunnel::inner(payload, len) else {
            break;
        };
        found = outer(&Packet {
            time: packet.time,
            link_type,
            data,
            original: len - (payload.len() - data.len()),
        })?;
    }
    Ok(found)
}

#[inline(always)]
fn outer<'a>(packet: &Packet<'a>) -> Result<Decoded<'a>, Skip> {
    let data = packet.data;
    let (start, kind) = match packet.link_type {
        LinkType::ETHERNET => ethertype(data, 12)?,
        LinkType::LINUX_SLL => ethertype(data, 14)?,
        LinkType::LINUX_SLL2 => match ethertype(data, 0)? {
            // The protocol comes first in this header and the packet after its 20 bytes …
            (2, kind) => (20, kind),
            _ => return Err(Skip::Malformed),
        },
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD => (0, Network::Either),
        LinkType::IPV4 => (0, Network::V4),
        LinkType::IPV6 => (0, Network::V6),
        LinkType::NULL | LinkType::LOOP => (4, family(data)?),
        _ => return Err(Skip::LinkType),
    };
    let ip = data.get(start..).ok_or(Skip::Short)?;
    let original = packet.original.saturating_sub(start);
    let version = ip.first().ok_or(Skip::Short)? >> 4;
    match (version, kind) {
        (4, Network::V4 | Network::Either) => ipv4(packet.time, ip, original),
        (6, Network::V6 | Network::Either) => ipv6(packet.time, ip, original),
        (_, Network::Either) => Err(Skip::NotIp),
        _ => Err(Skip::Malformed),
    }
}

#[derive(Clone, Copy)]
enum Network {
    V4,
    V6,
    Either,
}

/// The network protocol named at `at`, VLAN tags passed over, and where its packet begins.
fn ethertype(data: &[u8], mut at: usize) -> Result<(usize, Network), Skip> {
    for _ in 0..=MAX_VLANS {
        let kind = u16_at(data, at).ok_or(Skip::Short)?;
        at += 2;
        match kind {
            0x0800 => return Ok((at, Network::V4)),
            0x86dd => return Ok((at, Network::V6)),
            0x8100 | 0x88a8 | 0x9100 => at += 2,
            _ => return Err(Skip::NotIp),
        }
    }
    Err(Skip::Malformed)
}

/// The address family of a loopback header, in whichever byte order makes sense.
fn family(data: &[u8]) -> Result<Network, Skip> {
    let raw = *data.first_chunk::<4>().ok_or(Skip::Short)?;
    let (le, be) = (u32::from_le_bytes(raw), u32::from_be_bytes(raw));
    match le.min(be) {
        2 => Ok(Network::V4),
        // Linux, and the three BSDs' ideas of AF_INET6.
        10 | 24 | 28 | 30 => Ok(Network::V6),
        _ => Err(Skip::NotIp),
    }
}

#[inline(always)]
fn ipv4(time: u64, ip: &[u8], original: usize) -> Result<Decoded<'_>, Skip> {
    let head = ip.first_chunk::<20>().ok_or(Skip::Short)?;
    let header = usize::from(head[0] & 0x0f) * 4;
    if header < 20 {
        return Err(Skip::Malformed);
    }
    // More fragments, or an offset.
    if u16::from_be_bytes([head[6], head[7]]) & 0x3fff != 0 {
        return Err(Skip::Fragment);
    }
    if !matches!(head[9], 6 | 17) {
        return Err(Skip::NotTcp);
    }
    // A packet handed over by segmentation offload may say zero.
    let total = match usize::from(u16::from_be_bytes([head[2], head[3]])) {
        0 => original,
        n => n,
    };
    let length = total.checked_sub(header).ok_or(Skip::Malformed)?;
    let captured = ip.get(header..ip.len().min(total)).ok_or(Skip::Short)?;
    let src = [head[12], head[13], head[14], head[15]];
    let dst = [head[16], head[17], head[18], head[19]];
    let (src, dst) = (mapped(src), mapped(dst));
    if head[9] == 17 {
        return udp(time, src, dst, captured, length).map(Decoded::Datagram);
    }
    tcp(time, src, dst, captured, length).map(Decoded::Segment)
}

fn ipv6(time: u64, ip: &[u8], original: usize) -> Result<Decoded<'_>, Skip> {
    let head = ip.first_chunk::<40>().ok_or(Skip::Short)?;
    // Zero is a jumbogram (RFC 2675) or the kernel's own BIG TCP.
    let total = match usize::from(u16::from_be_bytes([head[4], head[5]])) {
        0 => original,
        n => 40 + n,
    };
    let captured = ip.get(..ip.len().min(total)).ok_or(Skip::Short)?;
    let mut at = 40;
    let mut next = head[6];
    for _ in 0..MAX_EXTENSIONS {
        match next {
            6 | 17 => {
                let length = total.checked_sub(at).ok_or(Skip::Malformed)?;
                let captured = captured.get(at..).ok_or(Skip::Short)?;
                let src = *head[8..].first_chunk::<16>().ok_or(Skip::Short)?;
                let dst = *head[24..].first_chunk::<16>().ok_or(Skip::Short)?;
                if next == 17 {
                    return udp(time, src, dst, captured, length).map(Decoded::Datagram);
                }
                return tcp(time, src, dst, captured, length).map(Decoded::Segment);
            }
            // Hop-by-hop, routing, destination options, mobility, HIP, shim6: one length rule (RFC 6564).
            0 | 43 | 60 | 135 | 139 | 140 => {
                let extension = captured.get(at..at + 2).ok_or(Skip::Short)?;
                next = extension[0];
                at += (usize::from(extension[1]) + 1) * 8;
            }
            // Authentication counts in words of four (RFC 4302 §2.2).
            51 => {
                let extension = captured.get(at..at + 2).ok_or(Skip::Short)?;
                next = extension[0];
                at += (usize::from(extension[1]) + 2) * 4;
            }
            44 => {
                let extension = captured.get(at..at + 8).ok_or(Skip::Short)?;
                // An "atomic" fragment (RFC 6946) is the whole packet.
                if u16::from_be_bytes([extension[2], extension[3]]) & 0xfff9 != 0 {
                    return Err(Skip::Fragment);
                }
                next = extension[0];
                at += 8;
            }
            _ => return Err(Skip::NotTcp),
        }
    }
    Err(Skip::Malformed)
}

#[inline(always)]
fn tcp(
    time: u64,
    src: [u8; 16],
    dst: [u8; 16],
    tcp: &[u8],
    length: usize,
) -> Result<Segment<'_>, Skip> {
    let head = tcp.first_chunk::<20>().ok_or(Skip::Short)?;
    let header = usize::from(head[12] >> 4) * 4;
    if header < 20 {
        return Err(Skip::Malformed);
    }
    let len = length.checked_sub(header).ok_or(Skip::Malformed)?;
    // Options cut by the snap length still leave a segment without captured bytes.
    let payload = tcp.get(header..).unwrap_or_default();
    Ok(Segment {
        time,
        link: 0,
        direction: Direction::Unknown,
        src: Endpoint {
            ip: src,
            port: u16::from_be_bytes([head[0], head[1]]),
        },
        dst: Endpoint {
            ip: dst,
            port: u16::from_be_bytes([head[2], head[3]]),
        },
        seq: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        ack: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        flags: TcpFlags(head[13]),
        len: u32::try_from(len).map_err(|_| Skip::Malformed)?,
        payload: payload.get(..len).unwrap_or(payload),
        isn: (None, None),
        midstream: false,
        again: false,
        lost: false,
        foreign: false,
    })
}

/// The datagram in `udp`, which an IP packet has `length` bytes for.
fn udp(
    time: u64,
    src: [u8; 16],
    dst: [u8; 16],
    udp: &[u8],
    length: usize,
) -> Result<Datagram<'_>, Skip> {
    let head = udp.first_chunk::<8>().ok_or(Skip::Short)?;
    // Zero is a jumbogram's (RFC 2675 §4), or what segmentation offload has left to do.
    let len = match usize::from(u16::from_be_bytes([head[4], head[5]])) {
        0 => length.checked_sub(8),
        n if n <= length => n.checked_sub(8),
        _ => None,
    };
    let len = len.ok_or(Skip::Malformed)?;
    let payload = udp.get(8..).unwrap_or_default();
    Ok(Datagram {
        time,
        link: 0,
        direction: Direction::Unknown,
        src: Endpoint {
            ip: src,
            port: u16::from_be_bytes([head[0], head[1]]),
        },
        dst: Endpoint {
            ip: dst,
            port: u16::from_be_bytes([head[2], head[3]]),
        },
        len: u32::try_from(len).map_err(|_| Skip::Malformed)?,
        payload: payload.get(..len).unwrap_or(payload),
        midstream: false,
        lost: false,
    })
}

fn mapped(v4: [u8; 4]) -> [u8; 16] {
    (0xffff_0000_0000 | u128::from(u32::from_be_bytes(v4))).to_be_bytes()
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;

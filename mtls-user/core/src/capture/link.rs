//! Link layers: finds the start and the protocol of a packet's network layer.

use mtls_ebpf_common::packet::{ETH, ETH_ARP, ETH_IPV4, ETH_IPV6, MAX_TAGS, is_tag};

use super::{LinkType, Skip};

/// Cisco's metadata with a security group tag.
const CISCO_METADATA: u16 = 0x8909;
const PPPOE_SESSION: u16 = 0x8864;
const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const MACSEC: u16 = 0x88e5;
/// Smaller values are the lengths of IEEE 802.3 frames.
const LEAST_ETHERTYPE: u16 = 0x600;
/// Labels that are followed.
const MAX_LABELS: usize = 8;

/// A network layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Network {
    V4,
    V6,
    /// According to its first four bits.
    Either,
}

/// The start of a packet's network layer, and its protocol.
#[inline]
pub(super) fn link(data: &[u8], link_type: LinkType) -> Result<(usize, Network), Skip> {
    match link_type {
        LinkType::ETHERNET => ethernet(data, 0),
        LinkType::LINUX_SLL => ethertype(data, 14),
        LinkType::LINUX_SLL2 => {
            // In this header the protocol comes first; its payload follows after 20 bytes.
            let kind = u16_at(data, 0).ok_or(Skip::Short)?;
            named(data, kind, 20)
        }
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD => Ok((0, Network::Either)),
        LinkType::IPV4 => Ok((0, Network::V4)),
        LinkType::IPV6 => Ok((0, Network::V6)),
        LinkType::NULL | LinkType::LOOP => Ok((4, family(data)?)),
        LinkType::PPP => ppp(data, 0),
        _ => Err(Skip::LinkType),
    }
}

/// The same for an Ethernet frame at `at`.
#[inline]
pub(super) fn ethernet(data: &[u8], at: usize) -> Result<(usize, Network), Skip> {
    ethertype(data, at + ETH - 2)
}

/// The same after the EtherType at `at`.
#[inline]
fn ethertype(data: &[u8], at: usize) -> Result<(usize, Network), Skip> {
    let kind = u16_at(data, at).ok_or(Skip::Short)?;
    if kind == ETH_IPV4 {
        return Ok((at + 2, Network::V4));
    }
    named(data, kind, at + 2)
}

/// The network layer at `at` in `data`, given by an EtherType; tags are skipped.
pub(super) fn named(data: &[u8], mut kind: u16, mut at: usize) -> Result<(usize, Network), Skip> {
    for _ in 0..=MAX_TAGS {
        let next = match kind {
            ETH_IPV4 => return Ok((at, Network::V4)),
            ETH_IPV6 => return Ok((at, Network::V6)),
            ETH_ARP => return Err(Skip::NotIp),
            MPLS | MPLS_MULTICAST => return mpls(data, at),
            // Version, type and code, session, length (RFC 2516 §4), then PPP.
            PPPOE_SESSION => return ppp(data, at + 6),
            MACSEC => return Err(Skip::Encrypted),
            // Version, number of options, and four bytes per option.
            CISCO_METADATA => at + 2 + 4 * usize::from(*data.get(at + 1).ok_or(Skip::Short)?),
            // A length, and a SNAP header with its own EtherType (RFC 1042).
            ..LEAST_ETHERTYPE => match data.get(at..at + 6).ok_or(Skip::Short)? {
                [0xaa, 0xaa, 3, 0, 0, 0] => at + 6,
                _ => return Err(Skip::NotIp),
            },
            kind if is_tag(kind) => at + 2,
            _ => return Err(Skip::NotIp),
        };
        kind = u16_at(data, next).ok_or(Skip::Short)?;
        at = next + 2;
    }
    Err(Skip::Malformed)
}

/// After a stack of labels (RFC 3032 §2.1), which does not say what follows.
pub(super) fn mpls(data: &[u8], mut at: usize) -> Result<(usize, Network), Skip> {
    for _ in 0..MAX_LABELS {
        let label = data.get(at..at + 4).ok_or(Skip::Short)?;
        at += 4;
        if label[2] & 1 == 0 {
            continue;
        }
        return match data.get(at).ok_or(Skip::Short)? >> 4 {
            4 => Ok((at, Network::V4)),
            6 => Ok((at, Network::V6)),
            // A pseudowire's control word (RFC 4385), usually followed by Ethernet.
            0 => ethernet(data, at + 4),
            _ => Err(Skip::Tunnel),
        };
    }
    Err(Skip::Tunnel)
}

/// PPP (RFC 1661), with or without HDLC's address and control bytes.
fn ppp(data: &[u8], mut at: usize) -> Result<(usize, Network), Skip> {
    if data.get(at..at + 2) == Some(&[0xff, 3]) {
        at += 2;
    }
    // An odd first byte is a compressed protocol field.
    let (protocol, at) = match data.get(at..).ok_or(Skip::Short)? {
        [first, ..] if first & 1 == 1 => (u16::from(*first), at + 1),
        [first, second, ..] => (u16::from_be_bytes([*first, *second]), at + 2),
        _ => return Err(Skip::Short),
    };
    match protocol {
        0x0021 => Ok((at, Network::V4)),
        0x0057 => Ok((at, Network::V6)),
        0x0281 => mpls(data, at),
        _ => Err(Skip::NotIp),
    }
}

/// The address family of a loopback header, in whichever byte order is plausible.
fn family(data: &[u8]) -> Result<Network, Skip> {
    let raw = *data.first_chunk::<4>().ok_or(Skip::Short)?;
    let (le, be) = (u32::from_le_bytes(raw), u32::from_be_bytes(raw));
    match le.min(be) {
        2 => Ok(Network::V4),
        // AF_INET6 on Linux and on the three BSDs.
        10 | 24 | 28 | 30 => Ok(Network::V6),
        _ => Err(Skip::NotIp),
    }
}

pub(super) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))
}

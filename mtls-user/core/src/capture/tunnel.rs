//! Encapsulated packets: finds the packet after a tunnel's header.

use super::Skip;
use super::link::{self, Network, u16_at};

/// VXLAN's port (RFC 7348 §5), and the one that Linux used before it was assigned.
const VXLAN: [u16; 2] = [4789, 8472];
/// Geneve's port (RFC 8926 §3.3).
const GENEVE: u16 = 6081;
/// The port of GTP's user plane (3GPP TS 29.281 §4.4.2.3).
const GTP_U: u16 = 2152;

/// EtherType of an Ethernet frame in a tunnel.
const BRIDGED: u16 = 0x6558;
/// EtherTypes of ERSPAN's types I and II, and III.
const ERSPAN: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;

/// The start of the network layer of a tunnelled packet in a UDP datagram's payload; `None` if the
/// datagram does not belong to a tunnel.
pub(super) fn udp(ports: [u16; 2], payload: &[u8]) -> Option<Result<(usize, Network), Skip>> {
    let [_, dst] = ports;
    if VXLAN.contains(&dst) {
        // The flag for a valid network identifier; the rest is reserved, or belongs to an
        // extension.
        return (payload.first()? & 0x08 != 0).then(|| vxlan(payload));
    }
    match dst {
        // The version.
        GENEVE => (payload.first()? >> 6 == 0).then(|| geneve(payload)),
        // Version 1, GTP, and a tunnelled packet.
        GTP_U => matches!(payload, [0x30..=0x37, 255, ..]).then(|| gtp(payload)),
        _ => None,
    }
}

fn vxlan(payload: &[u8]) -> Result<(usize, Network), Skip> {
    let [flags, _, _, next, ..] = payload else {
        return Err(Skip::Short);
    };
    // With the generic protocol extension, the header says what follows
    // (draft-ietf-nvo3-vxlan-gpe).
    match (flags & 0x04 != 0, next) {
        (false, _) | (true, 3) => link::ethernet(payload, 8),
        (true, 1) => Ok((8, Network::V4)),
        (true, 2) => Ok((8, Network::V6)),
        _ => Err(Skip::Tunnel),
    }
}

fn geneve(payload: &[u8]) -> Result<(usize, Network), Skip> {
    // Options in four-byte words (RFC 8926 §3.4).
    let options = 4 * usize::from(payload[0] & 0x3f);
    let kind = u16_at(payload, 2).ok_or(Skip::Short)?;
    inside(payload, kind, 8 + options)
}

fn gtp(payload: &[u8]) -> Result<(usize, Network), Skip> {
    let mut at = 8;
    // If there is a sequence number, an N-PDU number or extension headers, there is space for all
    // three.
    if payload[0] & 7 != 0 {
        let mut next = *payload.get(11).ok_or(Skip::Short)?;
        at = 12;
        while next != 0 {
            let len = 4 * usize::from(*payload.get(at).ok_or(Skip::Short)?);
            if len == 0 {
                return Err(Skip::Malformed);
            }
            at += len;
            next = *payload.get(at - 1).ok_or(Skip::Short)?;
        }
    }
    Ok((at, Network::Either))
}

/// The start of the network layer after the GRE header (RFC 2784, RFC 2890) at the start of `data`.
pub(super) fn gre(data: &[u8]) -> Result<(usize, Network), Skip> {
    let (flags, kind) = (u16_at(data, 0), u16_at(data, 2));
    let (Some(flags), Some(kind)) = (flags, kind) else {
        return Err(Skip::Short);
    };
    let has = |bit: u16| flags & bit != 0;
    // Version 1 is PPTP, whose PPP is usually compressed and encrypted; source routing is obsolete.
    if flags & 0x4007 != 0 {
        return Err(Skip::Tunnel);
    }
    let words = usize::from(has(0x8000)) + usize::from(has(0x2000)) + usize::from(has(0x1000));
    let at = 4 + 4 * words;
    match kind {
        // Without a sequence number, it is type I, which has no header (draft-foschiano-erspan).
        ERSPAN if !has(0x1000) => link::ethernet(data, at),
        ERSPAN => link::ethernet(data, at + 8),
        ERSPAN_III => {
            let options = data.get(at + 11).ok_or(Skip::Short)? & 1;
            link::ethernet(data, at + 12 + 8 * usize::from(options))
        }
        kind => inside(data, kind, at),
    }
}

fn inside(data: &[u8], kind: u16, at: usize) -> Result<(usize, Network), Skip> {
    if kind == BRIDGED {
        link::ethernet(data, at)
    } else {
        link::named(data, kind, at).map_err(|skip| match skip {
            Skip::NotIp => Skip::Tunnel,
            other => other,
        })
    }
}

//! Unencrypted UDP tunnels on non-standard ports: VXLAN (RFC 7348), Geneve (RFC 8926), GTP-U (3GPP
//! TS 29.281). A capture of a node's uplink contains a CNI's pod traffic inside them.
//!
//! None has a magic number, so the inner packet must prove it: an IPv4 header with a correct
//! checksum, or an IPv6 header whose length matches the packet.

use super::LinkType;

/// Bytes of an Ethernet header without tags.
const ETHERNET: usize = 14;

/// The packet inside `payload`, of which `len` bytes were on the wire, with its link type.
pub(super) fn inner(payload: &[u8], len: usize) -> Option<(LinkType, &[u8])> {
    let (link, at) = match payload {
        // The flag for a network identifier, and the reserved bits.
        [8, 0, 0, 0, _, _, _, 0, ..] => (LinkType::ETHERNET, 8),
        // Version 0 with Ethernet inside.
        [first, flags, 0x65, 0x58, _, _, _, 0, ..]
            if first >> 6 == 0 && flags.trailing_zeros() >= 6 =>
        {
            (LinkType::ETHERNET, 8 + usize::from(first & 0x3f) * 4)
        }
        // Version 1, no lists of options but maybe a sequence number, with a user's packet inside.
        [flags @ (0x30 | 0x32), 255, high, low, ..]
            if usize::from(u16::from_be_bytes([*high, *low])) + 8 == len =>
        {
            (LinkType::RAW, if *flags == 0x30 { 8 } else { 12 })
        }
        _ => return None,
    };
    let packet = payload.get(at..)?;
    let left = len.checked_sub(at)?;
    let ip = match link {
        LinkType::ETHERNET => match packet.get(12..ETHERNET)? {
            [0x08, 0x00] | [0x86, 0xdd] => (packet.get(ETHERNET..)?, left.checked_sub(ETHERNET)?),
            _ => return None,
        },
        _ => (packet, left),
    };
    is_ip(ip.0, ip.1).then_some((link, packet))
}

/// Whether `ip` begins with a packet of at most `len` bytes.
fn is_ip(ip: &[u8], len: usize) -> bool {
    match ip.first().map(|first| first >> 4) {
        Some(4) => {
            let header = ip.get(..usize::from(ip[0] & 15) * 4);
            header.is_some_and(|h| {
                h.len() >= 20
                    && checksum(h) == 0xffff
                    && usize::from(u16::from_be_bytes([h[2], h[3]])) <= len
            })
        }
        Some(6) => ip.get(..40).is_some_and(|h| {
            usize::from(u16::from_be_bytes([h[4], h[5]])) + 40 == len
                && matches!(h[6], 0 | 6 | 17 | 43 | 44 | 58 | 60)
        }),
        _ => false,
    }
}

/// The sum of a header, which is all ones if its checksum is correct (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let mut sum = header.chunks_exact(2).fold(0_u32, |sum, b| {
        sum + u32::from(u16::from_be_bytes([b[0], b[1]]))
    });
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 header followed by 8 bytes.
    fn ip() -> Vec<u8> {
        let mut ip = vec![
            0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        let sum = !checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        ip.extend([0, 53, 0, 54, 0, 8, 0, 0]);
        ip
    }

    fn framed(header: &[u8]) -> Vec<u8> {
        let mut frame = header.to_vec();
        frame.extend([2; 12]);
        frame.extend([8, 0]);
        frame.extend(ip());
        frame
    }

    #[test]
    fn what_is_inside_proves_it() {
        let vxlan = framed(&[8, 0, 0, 0, 0, 0, 7, 0]);
        let geneve = framed(&[1, 0, 0x65, 0x58, 0, 0, 7, 0, 9, 9, 9, 9]);
        let mut gtp = vec![0x30, 255, 0, 28, 0, 0, 0, 5];
        gtp.extend(ip());
        for (tunnel, link, at) in [
            (&vxlan, LinkType::ETHERNET, 8),
            (&geneve, LinkType::ETHERNET, 12),
            (&gtp, LinkType::RAW, 8),
        ] {
            assert_eq!(inner(tunnel, tunnel.len()), Some((link, &tunnel[at..])));
            // With another checksum, it is not a packet.
            let mut damaged = tunnel.clone();
            let end = damaged.len();
            damaged[end - 10] ^= 1;
            assert_eq!(inner(&damaged, end), None);
            for n in 0..tunnel.len() {
                let _ = inner(&tunnel[..n], tunnel.len());
            }
        }
    }
}

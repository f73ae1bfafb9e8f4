//! Packets built by hand, in shapes that no socket of this machine produces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mtls_core::wire::Endpoint;

/// The network header.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ip {
    V4,
    /// With these extension headers.
    V6(&'static [u8]),
}

/// A TCP segment in an Ethernet frame, with a correct TCP checksum; IPv4's is zero, because nothing
/// checks it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    /// EtherTypes of VLAN tags.
    pub(crate) tags: &'static [u16],
    pub(crate) ip: Ip,
    /// Bytes of options.
    pub(crate) ip_options: usize,
    pub(crate) tcp_options: usize,
    /// The fragment field of IPv4, or of IPv6's fragment header.
    pub(crate) fragment: u16,
    pub(crate) proto: u8,
    /// Sent by the end that is otherwise the destination.
    pub(crate) back: bool,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) payload: &'a [u8],
    /// Bytes after the IP packet.
    pub(crate) trailer: usize,
}

impl Default for Packet<'_> {
    fn default() -> Self {
        Self {
            tags: &[],
            ip: Ip::V4,
            ip_options: 0,
            tcp_options: 0,
            fragment: 0,
            proto: 6,
            back: false,
            src_port: 40_000,
            dst_port: 443,
            seq: 1_000_001,
            ack: 2_000_001,
            flags: 0x10,
            payload: b"",
            trailer: 0,
        }
    }
}

impl Packet<'_> {
    fn addresses(&self) -> (IpAddr, IpAddr) {
        let (a, b): (IpAddr, IpAddr) = match self.ip {
            Ip::V4 => (
                Ipv4Addr::new(10, 0, 0, 1).into(),
                Ipv4Addr::new(10, 0, 0, 2).into(),
            ),
            Ip::V6(_) => (
                Ipv6Addr::new(0xfd00, 1, 2, 3, 4, 5, 6, 7).into(),
                Ipv6Addr::new(0xfd00, 1, 2, 3, 4, 5, 6, 8).into(),
            ),
        };
        if self.back { (b, a) } else { (a, b) }
    }

    fn ports(&self) -> (u16, u16) {
        if self.back {
            (self.dst_port, self.src_port)
        } else {
            (self.src_port, self.dst_port)
        }
    }

    /// Sender and receiver.
    pub(crate) fn ends(&self) -> (Endpoint, Endpoint) {
        let ((src, dst), (src_port, dst_port)) = (self.addresses(), self.ports());
        (Endpoint::new(src, src_port), Endpoint::new(dst, dst_port))
    }

    /// For a segment whose checksum field is zero (RFC 9293 §3.1).
    fn checksum(&self, tcp: &[u8]) -> u16 {
        let octets = |ip| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let (src, dst) = self.addresses();
        let whole = [&octets(src), &octets(dst), tcp].concat();
        let mut sum = 6 + tcp.len() as u32;
        for word in whole.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    /// The frame.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut tcp = Vec::new();
        let (src_port, dst_port) = self.ports();
        tcp.extend(src_port.to_be_bytes());
        tcp.extend(dst_port.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.push(((20 + self.tcp_options) << 2) as u8);
        tcp.push(self.flags);
        tcp.extend([0; 6]);
        tcp.extend(vec![1; self.tcp_options]);
        tcp.extend(self.payload);
        let sum = self.checksum(&tcp);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());

        let mut frame = vec![2; 12];
        for tag in self.tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 5]);
        }
        match (self.ip, self.addresses()) {
            (Ip::V4, (IpAddr::V4(src), IpAddr::V4(dst))) => {
                frame.extend([8, 0]);
                let header = 20 + self.ip_options;
                frame.extend([0x40 | (header / 4) as u8, 0]);
                frame.extend(((header + tcp.len()) as u16).to_be_bytes());
                frame.extend([0, 0]);
                frame.extend(self.fragment.to_be_bytes());
                frame.extend([64, self.proto, 0, 0]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
                frame.extend(vec![1; self.ip_options]);
            }
            (Ip::V6(extensions), (IpAddr::V6(src), IpAddr::V6(dst))) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                let mut chain = Vec::new();
                for (at, kind) in extensions.iter().enumerate() {
                    let next = extensions.get(at + 1).copied().unwrap_or(self.proto);
                    match kind {
                        44 => {
                            chain.extend([next, 0]);
                            chain.extend(self.fragment.to_be_bytes());
                            chain.extend([0; 4]);
                        }
                        // Lengths in units of 4 bytes, minus 2; of 8 bytes, minus 1.
                        51 => chain.extend([&[next, 4][..], &[0; 22]].concat()),
                        _ => chain.extend([&[next, 1][..], &[0; 14]].concat()),
                    }
                }
                frame.extend(((chain.len() + tcp.len()) as u16).to_be_bytes());
                frame.push(extensions.first().copied().unwrap_or(self.proto));
                frame.push(64);
                frame.extend(src.octets());
                frame.extend(dst.octets());
                frame.extend(chain);
            }
            _ => unreachable!("both addresses have one family"),
        }
        frame.extend(tcp);
        frame.extend(vec![0; self.trailer]);
        frame
    }
}

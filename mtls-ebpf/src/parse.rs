//! Parses a packet into its TCP segment, or into the signature of its datagram.
//!
//! The common shapes (at most one VLAN tag; IPv4 without options, IPv6 without extension headers;
//! headers in the linear part) are read in place at constant offsets. [`crate::headers`] handles
//! all others, and copies the headers out of the packet.

use aya_ebpf::programs::TcContext;
use mtls_ebpf_common::packet::{self, ETH, IPV4, IPV6, TAG, TCP, protocol};

use crate::{
    datagram::header,
    done::{signature_v4, signature_v6},
};

// In network byte order.
const ETH_P_IP: u16 = packet::ETH_IPV4.to_be();
const ETH_P_IPV6: u16 = packet::ETH_IPV6.to_be();
const ETH_P_ARP: u16 = packet::ETH_ARP.to_be();
const ETH_P_8021Q: u16 = packet::ETH_8021Q.to_be();
const ETH_P_8021AD: u16 = packet::ETH_8021AD.to_be();
/// Bytes of a UDP header.
pub(crate) const UDP: usize = 8;
/// The more-fragments flag, and the offset.
pub(crate) const FRAGMENT: u16 = packet::FRAGMENT_V4.to_be();

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// A TCP segment or a datagram. A datagram has no sequence numbers and no flags; `seq` is the size
/// of the datagrams that segmentation offload has merged.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    /// Addresses in network byte order; IPv4 as `::ffff:a.b.c.d`.
    pub(crate) src: [u64; 2],
    pub(crate) dst: [u64; 2],
    /// Both ports in network byte order.
    pub(crate) ports: u32,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    /// 4 or 6.
    pub(crate) family: u8,
    /// The IP protocol.
    pub(crate) transport: u8,
    /// Bytes of the header. Not padding: that would be copied too, and Linux 5.15 forbids reading
    /// stack memory that was never written.
    pub(crate) header: u8,
    /// Where the payload starts in the packet.
    pub(crate) offset: u32,
    /// Payload bytes.
    pub(crate) len: u32,
    /// Keyed hash of the addresses and ports, in this direction.
    pub(crate) signature: u64,
}

impl Packet {
    /// SYN, FIN or RST: these never take the fast path.
    #[inline(always)]
    pub(crate) fn is_control(&self) -> bool {
        self.flags & (SYN | FIN | RST) != 0
    }

    /// Sender's and receiver's port, in host byte order.
    #[inline(always)]
    pub(crate) fn ports(&self) -> (u16, u16) {
        let ports = u32::from_be(self.ports);
        ((ports >> 16) as u16, ports as u16)
    }

    /// The signature of the other direction.
    #[inline(always)]
    pub(crate) fn signature_back(&self) -> u64 {
        signature(self.family, self.dst, self.src, self.ports.rotate_left(16))
    }
}

/// The signature of one direction of a connection.
#[inline(always)]
pub(crate) fn signature(family: u8, src: [u64; 2], dst: [u64; 2], ports: u32) -> u64 {
    if family == 4 {
        // In a mapped address, these four bytes are the IPv4 address.
        signature_v4(joined(halves(src[1]).1, halves(dst[1]).1), ports)
    } else {
        signature_v6(src, dst, ports)
    }
}

/// The result of parsing a packet of a common shape.
pub(crate) enum Parsed {
    /// A TCP segment.
    Segment(Packet),
    /// A datagram, by its signature (see [`crate::datagram::header`]).
    Datagram(u64),
    /// A pure acknowledgement, or not IP.
    Nothing,
    /// Anything else: [`crate::headers`] parses it.
    Other,
}

/// Parses the common shapes in place; datagrams only if `DATAGRAMS`. A caller that keeps the
/// segment has no use for them, and Linux 5.15 forbids copying a variant that was not completely
/// written.
#[inline(always)]
pub(crate) fn parse<const DATAGRAMS: bool>(ctx: &TcContext) -> Parsed {
    let (data, end) = (ctx.data(), ctx.data_end());
    if data + ETH + TAG > end {
        return Parsed::Other;
    }
    // SAFETY (here and below): the line above has checked these offsets against the end of the
    // packet, as the verifier requires.
    let mut ethertype: u16 = unsafe { load(data, ETH - 2) };
    if ethertype == ETH_P_IP {
        return ipv4::<ETH, DATAGRAMS>(ctx, data, end);
    }
    if ethertype == ETH_P_IPV6 {
        return ipv6::<ETH, DATAGRAMS>(ctx, data, end);
    }
    if ethertype == ETH_P_ARP {
        return Parsed::Nothing;
    }
    if ethertype != ETH_P_8021Q && ethertype != ETH_P_8021AD {
        return Parsed::Other;
    }
    ethertype = unsafe { load(data, ETH + TAG - 2) };
    if ethertype == ETH_P_IP {
        return ipv4::<{ ETH + TAG }, DATAGRAMS>(ctx, data, end);
    }
    if ethertype == ETH_P_IPV6 {
        return ipv6::<{ ETH + TAG }, DATAGRAMS>(ctx, data, end);
    }
    Parsed::Other
}

#[inline(always)]
fn ipv4<const AT: usize, const DATAGRAMS: bool>(
    ctx: &TcContext,
    data: usize,
    end: usize,
) -> Parsed {
    if data + AT + IPV4 + TCP > end {
        return Parsed::Other;
    }
    let (version, fragment, proto): (u8, u16, u8) =
        unsafe { (load(data, AT), load(data, AT + 6), load(data, AT + 9)) };
    if version != 0x45 || fragment & FRAGMENT != 0 {
        return Parsed::Other;
    }
    let addrs: u64 = unsafe { load(data, AT + 12) };
    if proto != protocol::TCP {
        if proto != protocol::UDP || !DATAGRAMS {
            return Parsed::Other;
        }
        let (ports, first) = unsafe { (load(data, AT + IPV4), load(data, AT + IPV4 + UDP)) };
        return Parsed::Datagram(header::marked(signature_v4(addrs, ports), first));
    }
    let total: u16 = unsafe { load(data, AT + 2) };
    let tcp = unsafe { TcpHeader::load(data, AT + IPV4) };
    let total = length(u16::from_be(total).into(), ctx, AT as u32);
    let total = total.wrapping_sub(IPV4 as u32);
    tcp.packet(Addresses::V4(addrs), (AT + IPV4) as u32, total)
}

#[inline(always)]
fn ipv6<const AT: usize, const DATAGRAMS: bool>(
    ctx: &TcContext,
    data: usize,
    end: usize,
) -> Parsed {
    if data + AT + IPV6 + TCP > end {
        return Parsed::Other;
    }
    let (version, next): (u8, u8) = unsafe { (load(data, AT), load(data, AT + 6)) };
    if version >> 4 != 6 {
        return Parsed::Other;
    }
    let (src, dst): ([u64; 2], [u64; 2]) = unsafe {
        (
            [load(data, AT + 8), load(data, AT + 16)],
            [load(data, AT + 24), load(data, AT + 32)],
        )
    };
    if next != protocol::TCP {
        if next != protocol::UDP || !DATAGRAMS {
            return Parsed::Other;
        }
        let (ports, first) = unsafe { (load(data, AT + IPV6), load(data, AT + IPV6 + UDP)) };
        return Parsed::Datagram(header::marked(signature_v6(src, dst, ports), first));
    }
    let total: u16 = unsafe { load(data, AT + 4) };
    let tcp = unsafe { TcpHeader::load(data, AT + IPV6) };
    let total = length(u16::from_be(total).into(), ctx, (AT + IPV6) as u32);
    tcp.packet(Addresses::V6(src, dst), (AT + IPV6) as u32, total)
}

/// A length field; it is 0 in super-packets beyond 64 KiB (BIG TCP), which contain one packet.
#[inline(always)]
pub(crate) fn length(field: u32, ctx: &TcContext, at: u32) -> u32 {
    if field == 0 {
        ctx.len().wrapping_sub(at)
    } else {
        field
    }
}

/// `::ffff:0:0/96` (RFC 4291 §2.5.5.2).
const MAPPED: u32 = 0x0000_ffff_u32.to_be();

#[inline(always)]
pub(crate) fn mapped(addr: u32) -> [u64; 2] {
    [0, joined(MAPPED, addr)]
}

/// The fields of a TCP header that matter here.
pub(crate) struct TcpHeader {
    /// Both, in network byte order.
    ports: u32,
    seq: u32,
    ack: u32,
    offset: u8,
    flags: u8,
}

impl TcpHeader {
    #[inline(always)]
    pub(crate) unsafe fn load(data: usize, at: usize) -> Self {
        unsafe {
            Self {
                ports: load(data, at),
                seq: u32::from_be(load(data, at + 4)),
                ack: u32::from_be(load(data, at + 8)),
                offset: load(data, at + 12),
                flags: load(data, at + 13),
            }
        }
    }

    /// `total`: length of the TCP header and the payload.
    #[inline(always)]
    pub(crate) fn packet(&self, addresses: Addresses, at: u32, total: u32) -> Parsed {
        let header = (self.offset >> 2) as u32 & 0x3c;
        let len = total.wrapping_sub(header);
        // A pure acknowledgement says nothing.
        if len == 0 && self.flags & (SYN | FIN | RST) == 0 {
            return Parsed::Nothing;
        }
        // A negative length has wrapped to far above any packet's size.
        if header < TCP as u32 || len > 1 << 24 {
            return Parsed::Other;
        }
        let ((src, dst), signature, family) = match addresses {
            Addresses::V4(pair) => {
                let (src, dst) = halves(pair);
                let signature = signature_v4(pair, self.ports);
                ((mapped(src), mapped(dst)), signature, 4)
            }
            Addresses::V6(src, dst) => ((src, dst), signature_v6(src, dst, self.ports), 6),
        };
        Parsed::Segment(Packet {
            src,
            dst,
            ports: self.ports,
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            family,
            transport: protocol::TCP,
            header: header as u8,
            offset: at + header,
            len,
            signature,
        })
    }
}

/// Sender and receiver, in network byte order.
#[derive(Clone, Copy)]
pub(crate) enum Addresses {
    V4(u64),
    V6([u64; 2], [u64; 2]),
}

/// The number whose memory holds `first` followed by `second`.
#[inline(always)]
pub(crate) fn joined(first: u32, second: u32) -> u64 {
    if cfg!(target_endian = "little") {
        first as u64 | (second as u64) << 32
    } else {
        (first as u64) << 32 | second as u64
    }
}

/// The two numbers that follow each other in the memory of `pair`.
#[inline(always)]
fn halves(pair: u64) -> (u32, u32) {
    if cfg!(target_endian = "little") {
        (pair as u32, (pair >> 32) as u32)
    } else {
        ((pair >> 32) as u32, pair as u32)
    }
}

/// Loads a value from the packet.
///
/// # Safety
/// `base + at + size_of::<T>()` was checked against the end of the packet.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy>(base: usize, at: usize) -> T {
    unsafe { ((base + at) as *const T).read_unaligned() }
}

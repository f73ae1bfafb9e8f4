//! From a packet to its TCP segment.
//!
//! The common shapes (no VLAN tag, one or two; IPv4 without options, IPv6 without extension
//! headers; headers in the linear part) are read in place at constant offsets. All others go
//! through [`slow`], which copies headers out of the packet.

use aya_ebpf::programs::TcContext;
use mtls_ebpf_common::Counter;

use crate::{
    count::count,
    done::{signature_v4, signature_v6},
};

const ETH_P_IP: u16 = 0x0800_u16.to_be();
const ETH_P_IPV6: u16 = 0x86dd_u16.to_be();
const ETH_P_8021Q: u16 = 0x8100_u16.to_be();
const ETH_P_8021AD: u16 = 0x88a8_u16.to_be();

const ETH: usize = 14;
const TAG: usize = 4;
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: usize = 20;

const PROTO_TCP: u8 = 6;
/// More-fragments, and the offset.
const FRAGMENT: u16 = 0x3fff_u16.to_be();
/// Most extension headers followed; a chain of more is passed by.
const EXTENSIONS: usize = 8;

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// A TCP segment.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    /// Addresses as they lie in the packet; IPv4 as `::ffff:a.b.c.d`.
    pub(crate) src: [u64; 2],
    pub(crate) dst: [u64; 2],
    /// Both ports as they lie in the packet.
    pub(crate) ports: u32,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    /// Zero. Padding is copied too, and Linux 5.15 lets nobody read from the stack what was never
    /// written there.
    pub(crate) reserved: [u8; 3],
    /// Where the payload starts in the packet.
    pub(crate) offset: u32,
    /// Payload bytes.
    pub(crate) len: u32,
    /// Keyed hash of the addresses and ports, in this direction.
    pub(crate) signature: u64,
}

impl Packet {
    /// SYN, FIN or RST: never passed by.
    #[inline(always)]
    pub(crate) fn is_control(&self) -> bool {
        self.flags & (SYN | FIN | RST) != 0
    }

    /// Sender's and receiver's port, in the machine's byte order.
    #[inline(always)]
    pub(crate) fn ports(&self) -> (u16, u16) {
        let ports = u32::from_be(self.ports);
        ((ports >> 16) as u16, ports as u16)
    }

    /// The signature of the other direction.
    #[inline(always)]
    pub(crate) fn signature_back(&self) -> u64 {
        let ports = self.ports.rotate_left(16);
        // Of a mapped address, these four bytes are the IPv4 address.
        let (prefix, src) = halves(self.src[1]);
        if self.src[0] == 0 && prefix == MAPPED {
            let (_, dst) = halves(self.dst[1]);
            signature_v4(joined(dst, src), ports)
        } else {
            signature_v6(self.dst, self.src, ports)
        }
    }
}

/// The segment in `ctx`; `None` for anything but TCP over IP, and for pure acknowledgements.
#[inline(always)]
pub(crate) fn parse(ctx: &TcContext) -> Option<Packet> {
    let (data, end) = (ctx.data(), ctx.data_end());
    if data + ETH + TAG + TAG + 2 > end {
        return None;
    }
    // SAFETY (here and below): the line above has compared these offsets with the packet's end,
    // which the verifier insists on. Loads need no alignment on the machines this is built for.
    let mut ethertype: u16 = unsafe { load(data, ETH - 2) };
    if ethertype == ETH_P_IP {
        return ipv4::<ETH>(ctx, data, end);
    }
    if ethertype == ETH_P_IPV6 {
        return ipv6::<ETH>(ctx, data, end);
    }
    if ethertype != ETH_P_8021Q && ethertype != ETH_P_8021AD {
        return None;
    }
    ethertype = unsafe { load(data, ETH + TAG - 2) };
    if ethertype == ETH_P_IP {
        return ipv4::<{ ETH + TAG }>(ctx, data, end);
    }
    if ethertype == ETH_P_IPV6 {
        return ipv6::<{ ETH + TAG }>(ctx, data, end);
    }
    if ethertype != ETH_P_8021Q {
        return None;
    }
    ethertype = unsafe { load(data, ETH + TAG + TAG - 2) };
    match ethertype {
        ETH_P_IP => slow(ctx, (ETH + TAG + TAG) as u32, 4),
        ETH_P_IPV6 => slow(ctx, (ETH + TAG + TAG) as u32, 6),
        _ => None,
    }
}

#[inline(always)]
fn ipv4<const AT: usize>(ctx: &TcContext, data: usize, end: usize) -> Option<Packet> {
    if data + AT + IPV4 + TCP > end {
        return slow(ctx, AT as u32, 4);
    }
    let (version, fragment, proto): (u8, u16, u8) =
        unsafe { (load(data, AT), load(data, AT + 6), load(data, AT + 9)) };
    if proto != PROTO_TCP {
        return None;
    }
    if version != 0x45 || fragment & FRAGMENT != 0 {
        return slow(ctx, AT as u32, 4);
    }
    let total: u16 = unsafe { load(data, AT + 2) };
    let addrs: u64 = unsafe { load(data, AT + 12) };
    let tcp = unsafe { TcpHeader::load(data, AT + IPV4) };
    let total = length(u16::from_be(total).into(), ctx, AT as u32);
    let total = total.wrapping_sub(IPV4 as u32);
    tcp.packet(Addresses::V4(addrs), (AT + IPV4) as u32, total)
}

#[inline(always)]
fn ipv6<const AT: usize>(ctx: &TcContext, data: usize, end: usize) -> Option<Packet> {
    if data + AT + IPV6 + TCP > end {
        return slow(ctx, AT as u32, 6);
    }
    let next: u8 = unsafe { load(data, AT + 6) };
    if next != PROTO_TCP {
        return if is_extension(next) {
            slow(ctx, AT as u32, 6)
        } else {
            None
        };
    }
    let total: u16 = unsafe { load(data, AT + 4) };
    let (src, dst): ([u64; 2], [u64; 2]) = unsafe {
        (
            [load(data, AT + 8), load(data, AT + 16)],
            [load(data, AT + 24), load(data, AT + 32)],
        )
    };
    let tcp = unsafe { TcpHeader::load(data, AT + IPV6) };
    let total = length(u16::from_be(total).into(), ctx, (AT + IPV6) as u32);
    tcp.packet(Addresses::V6(src, dst), (AT + IPV6) as u32, total)
}

/// A length field; it is 0 in super-segments beyond 64 KiB (BIG TCP), which hold one packet.
#[inline(always)]
fn length(field: u32, ctx: &TcContext, at: u32) -> u32 {
    if field == 0 {
        ctx.len().wrapping_sub(at)
    } else {
        field
    }
}

/// `::ffff:0:0/96` (RFC 4291 §2.5.5.2).
const MAPPED: u32 = 0x0000_ffff_u32.to_be();

#[inline(always)]
fn mapped(addr: u32) -> [u64; 2] {
    [0, joined(MAPPED, addr)]
}

#[inline(always)]
fn is_extension(next: u8) -> bool {
    // Hop-by-hop, routing, fragment, authentication, destination options, mobility, HIP, shim6.
    matches!(next, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)
}

/// The fields of a TCP header that matter here.
struct TcpHeader {
    /// Both, as they lie in the packet.
    ports: u32,
    seq: u32,
    ack: u32,
    offset: u8,
    flags: u8,
}

impl TcpHeader {
    #[inline(always)]
    unsafe fn load(data: usize, at: usize) -> Self {
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
    fn packet(&self, addresses: Addresses, at: u32, total: u32) -> Option<Packet> {
        let header = (self.offset >> 2) as u32 & 0x3c;
        let len = total.wrapping_sub(header);
        // A pure acknowledgement says nothing.
        if len == 0 && self.flags & (SYN | FIN | RST) == 0 {
            return None;
        }
        // A length below zero has wrapped to far above what any packet holds.
        if header < TCP as u32 || len > 1 << 24 {
            count(Counter::Malformed);
            return None;
        }
        let ((src, dst), signature) = match addresses {
            Addresses::V4(pair) => {
                let (src, dst) = halves(pair);
                let signature = signature_v4(pair, self.ports);
                ((mapped(src), mapped(dst)), signature)
            }
            Addresses::V6(src, dst) => ((src, dst), signature_v6(src, dst, self.ports)),
        };
        Some(Packet {
            src,
            dst,
            ports: self.ports,
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            reserved: [0; 3],
            offset: at + header,
            len,
            signature,
        })
    }
}

/// Sender and receiver, as they lie in the packet.
#[derive(Clone, Copy)]
enum Addresses {
    V4(u64),
    V6([u64; 2], [u64; 2]),
}

/// The number that lies in memory where `first` and then `second` lie.
#[inline(always)]
fn joined(first: u32, second: u32) -> u64 {
    if cfg!(target_endian = "little") {
        first as u64 | (second as u64) << 32
    } else {
        (first as u64) << 32 | second as u64
    }
}

/// Two numbers that lie one after the other in memory.
#[inline(always)]
fn halves(pair: u64) -> (u32, u32) {
    if cfg!(target_endian = "little") {
        (pair as u32, (pair >> 32) as u32)
    } else {
        ((pair >> 32) as u32, pair as u32)
    }
}

/// Any shape: two tags, options, extension headers, headers beyond the linear part.
#[inline(always)]
fn slow(ctx: &TcContext, at: u32, version: u8) -> Option<Packet> {
    let mut packet = Packet {
        src: [0; 2],
        dst: [0; 2],
        ports: 0,
        seq: 0,
        ack: 0,
        flags: 0,
        reserved: [0; 3],
        offset: at,
        len: 0,
        signature: 0,
    };
    (slow_into(ctx, version, &mut packet) == 0).then_some(packet)
}

/// [`slow`], as a function of its own; 0 on success. `packet.offset` says where the IP header is.
#[inline(never)]
fn slow_into(ctx: &TcContext, version: u8, packet: &mut Packet) -> u32 {
    let found = if version == 4 {
        slow_ipv4(ctx, packet.offset)
    } else {
        slow_ipv6(ctx, packet.offset)
    };
    match found {
        Some(found) => {
            *packet = found;
            0
        }
        None => 1,
    }
}

#[inline(always)]
fn slow_ipv4(ctx: &TcContext, at: u32) -> Option<Packet> {
    let ip: [u32; IPV4 / 4] = ctx.load(at as usize).ok()?;
    let ip = ip.as_ptr() as usize;
    let (version, proto, fragment, total): (u8, u8, u16, u16) =
        unsafe { (load(ip, 0), load(ip, 9), load(ip, 6), load(ip, 2)) };
    if proto != PROTO_TCP {
        return None;
    }
    if fragment & FRAGMENT != 0 {
        count(Counter::Fragments);
        return None;
    }
    let header = ((version & 0xf) as u32) << 2;
    if version >> 4 != 4 || header < IPV4 as u32 {
        count(Counter::Malformed);
        return None;
    }
    let addresses = Addresses::V4(joined(unsafe { load(ip, 12) }, unsafe { load(ip, 16) }));
    let total = length(u16::from_be(total).into(), ctx, at);
    slow_tcp(ctx, addresses, at + header, total.wrapping_sub(header))
}

#[inline(always)]
fn slow_ipv6(ctx: &TcContext, at: u32) -> Option<Packet> {
    let ip: [u64; IPV6 / 8] = ctx.load(at as usize).ok()?;
    let base = ip.as_ptr() as usize;
    let (mut next, total): (u8, u16) = unsafe { (load(base, 6), load(base, 4)) };
    let mut at = at + IPV6 as u32;
    let mut total = length(u16::from_be(total).into(), ctx, at);
    for _ in 0..EXTENSIONS {
        if next == PROTO_TCP {
            return slow_tcp(
                ctx,
                Addresses::V6([ip[1], ip[2]], [ip[3], ip[4]]),
                at,
                total,
            );
        }
        if !is_extension(next) {
            return None;
        }
        let header: [u8; 8] = ctx.load(at as usize).ok()?;
        let len = match next {
            // The reserved field is zero, so the third byte on is the offset and the flag "more":
            // an "atomic" fragment (both zero, RFC 6946) is a whole packet.
            44 => {
                if header[2] != 0 || header[3] & 0xf9 != 0 {
                    if header[0] == PROTO_TCP {
                        count(Counter::Fragments);
                    }
                    return None;
                }
                8
            }
            51 => (header[1] as u32 + 2) << 2,
            _ => (header[1] as u32 + 1) << 3,
        };
        next = header[0];
        at += len;
        total = total.wrapping_sub(len);
    }
    None
}

#[inline(always)]
fn slow_tcp(ctx: &TcContext, addresses: Addresses, at: u32, total: u32) -> Option<Packet> {
    let Ok(header) = ctx.load::<[u32; TCP / 4]>(at as usize) else {
        count(Counter::Malformed);
        return None;
    };
    let tcp = unsafe { TcpHeader::load(header.as_ptr() as usize, 0) };
    tcp.packet(addresses, at, total)
}

/// Loads a value from the packet.
///
/// # Safety
/// `base + at + size_of::<T>()` was compared with the packet's end.
#[inline(always)]
unsafe fn load<T: Copy>(base: usize, at: usize) -> T {
    unsafe { *((base + at) as *const T) }
}

//! A datagram's header, and the signature of its direction in the fast path's memory.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use mtls_ebpf_common::packet::{ETH, ETH_IPV4, ETH_IPV6, IPV4, IPV6, protocol};

use crate::{
    done::{self, signature_v4, signature_v6},
    maps::Scratch,
    parse::{self, FRAGMENT, UDP, load},
};

/// The datagram is in the scratch.
pub(crate) const GOOD: u32 = 0;
/// No sample is needed.
pub(crate) const PASSED: u32 = 1;
/// Its length contradicts the packet's.
const MALFORMED: u32 = 2;

/// Distinguishes the signatures of datagrams from those of segments between the same ends.
const IS_UDP: u64 = 0x9e37_79b9_7f4a_7c00;
/// Distinguishes datagrams that may begin a handshake from all others.
const IS_OPENER: u64 = 0xc2b2_ae3d_27d4_eb00;

/// Decided by the first byte alone: a QUIC long header (RFC 9000 §17.2), or a DTLS handshake record
/// (RFC 6347 §4.1). They are distinguished on the fast path, because a handshake must be sampled
/// even if its direction is done: an endpoint can have any number of connections over one pair of
/// ports.
#[inline(always)]
pub(crate) fn may_open(first: u8) -> bool {
    first & 0x80 != 0 || first == 22
}

/// The signature of a datagram between these ends (`signature`) that begins with `first`.
#[inline(always)]
pub(crate) fn marked(signature: u64, first: u8) -> u64 {
    let opener = if may_open(first) { IS_OPENER } else { 0 };
    signature ^ IS_UDP ^ opener
}

/// Both signatures of a direction: for datagrams that cannot begin a handshake, and for those that
/// may.
#[inline(always)]
pub(crate) fn both(signature: u64) -> [u64; 2] {
    [signature ^ IS_UDP, signature ^ IS_UDP ^ IS_OPENER]
}

/// The fast path for datagrams of which only the headers are in the linear part: that is how the
/// kernel builds those that segmentation offload will split. Without IP options, extension headers
/// and VLAN tags.
#[inline(always)]
pub(crate) fn is_done(skb: *mut __sk_buff) -> bool {
    let ctx = TcContext::new(skb);
    let (data, end) = (ctx.data(), ctx.data_end());
    if data + ETH + IPV4 + UDP > end {
        return false;
    }
    // SAFETY (here and below): the line above has checked these offsets against the end of the
    // packet, as the verifier requires.
    let ethertype: u16 = unsafe { load(data, ETH - 2) };
    let (signature, payload) = if ethertype == ETH_IPV4.to_be() {
        let (version, fragment, proto): (u8, u16, u8) =
            unsafe { (load(data, ETH), load(data, ETH + 6), load(data, ETH + 9)) };
        if version != 0x45 || fragment & FRAGMENT != 0 || proto != protocol::UDP {
            return false;
        }
        let (addresses, ports) = unsafe { (load(data, ETH + 12), load(data, ETH + IPV4)) };
        (signature_v4(addresses, ports), ETH + IPV4 + UDP)
    } else if ethertype == ETH_IPV6.to_be() && data + ETH + IPV6 + UDP <= end {
        let (version, next): (u8, u8) = unsafe { (load(data, ETH), load(data, ETH + 6)) };
        if version >> 4 != 6 || next != protocol::UDP {
            return false;
        }
        let (src, dst): ([u64; 2], [u64; 2]) = unsafe {
            (
                [load(data, ETH + 8), load(data, ETH + 16)],
                [load(data, ETH + 24), load(data, ETH + 32)],
            )
        };
        let ports = unsafe { load(data, ETH + IPV6) };
        (signature_v6(src, dst, ports), ETH + IPV6 + UDP)
    } else {
        return false;
    };
    // Everything that is in the linear part was checked before.
    data + payload + 1 > end
        && ctx
            .load::<u8>(payload)
            .is_ok_and(|first| done::contains(marked(signature, first)))
}

/// Reads the header at `at`, after the IP header in the scratch; `total`: bytes from there on.
#[inline(never)]
pub(crate) fn read(skb: *mut __sk_buff, scratch: &mut Scratch, at: u32, total: u32) -> u32 {
    let ctx = TcContext::new(skb);
    let Ok(header) = ctx.load::<[u32; UDP / 4]>(at as usize) else {
        return MALFORMED;
    };
    let ports = header[0];
    // The checksum follows the length.
    let len = u16::from_be(first_half(header[1])) as u32;
    // Zero in super-packets beyond 64 KiB; bytes after the datagram are options (RFC 9868).
    let len = if len == 0 { total } else { len };
    if len < UDP as u32 || len > total || total > 1 << 24 {
        return MALFORMED;
    }
    let packet = &mut scratch.packet;
    packet.ports = ports;
    packet.ack = 0;
    packet.flags = 0;
    packet.transport = protocol::UDP;
    packet.header = UDP as u8;
    packet.offset = at.wrapping_add(UDP as u32);
    packet.len = len.wrapping_sub(UDP as u32);
    packet.signature = parse::signature(packet.family, packet.src, packet.dst, ports);
    // SAFETY: the context lives as long as the program runs.
    let size = unsafe { (*skb).gso_size };
    packet.seq = if size < packet.len { size } else { 0 };
    if packet.len == 0 {
        return PASSED;
    }
    let Ok(first) = ctx.load::<u8>(packet.offset as usize) else {
        return MALFORMED;
    };
    // The fast path, for packets of any shape.
    if done::contains(marked(packet.signature, first)) {
        return PASSED;
    }
    GOOD
}

/// The two bytes that come first.
#[inline(always)]
fn first_half(word: u32) -> u16 {
    if cfg!(target_endian = "little") {
        word as u16
    } else {
        (word >> 16) as u16
    }
}

//! Parses packets of any shape: VLAN tags, options, extension headers, headers outside the linear
//! part (as AF_PACKET's TX_RING leaves them). Also classifies packets that are neither segments nor
//! datagrams.
//!
//! Tunnels inside a pod's traffic are counted but not decapsulated, because a pod can write any
//! addresses into an inner header.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use mtls_ebpf_common::{
    Counter,
    packet::{
        ETH, ETH_ARP, ETH_IPV4, ETH_IPV6, FRAGMENT_V6, IPV4, IPV6, MAX_EXTENSIONS, MAX_TAGS, TAG,
        TCP, extension_len, is_extension, is_tag, protocol,
    },
};

use crate::{
    datagram::header,
    done,
    maps::{DATAGRAMS, Scratch, clear},
    parse::{Addresses, FRAGMENT, Parsed, TcpHeader, joined, length, load, mapped},
    unread,
};

/// The packet is a segment, and is in the scratch.
pub(crate) const SEGMENT: u32 = 1;
/// It is a datagram, and is in the scratch.
pub(crate) const DATAGRAM: u32 = 2;
/// It is neither, and was counted if it is worth counting.
pub(crate) const PASSED: u32 = 0;

/// Parses the packet into `scratch.packet`: [`SEGMENT`], [`DATAGRAM`] or [`PASSED`].
#[inline(never)]
pub(crate) fn read(skb: *mut __sk_buff, scratch: &mut Scratch, direction: u16) -> u32 {
    for at in 0..2 {
        clear(&mut scratch.packet.src[at]);
        clear(&mut scratch.packet.dst[at]);
    }
    scratch.packet.ports = 0;
    scratch.packet.family = 0;
    scratch.packet.transport = 0;
    let kind = ethernet(skb, scratch);
    match kind {
        IS_SEGMENT => SEGMENT,
        IS_DATAGRAM => DATAGRAM,
        IS_NOTHING => PASSED,
        kind => unread::packet(skb, scratch, direction, kind),
    }
}

const IS_SEGMENT: u32 = u32::MAX;
const IS_NOTHING: u32 = u32::MAX - 1;
pub(crate) const IS_DATAGRAM: u32 = u32::MAX - 2;

/// One of the three above, or the counter for what the packet is instead.
#[inline(always)]
fn ethernet(skb: *mut __sk_buff, scratch: &mut Scratch) -> u32 {
    let ctx = TcContext::new(skb);
    let mut at = (ETH - 2) as u32;
    for _ in 0..=MAX_TAGS {
        let Ok(ethertype) = ctx.load::<u16>(at as usize) else {
            return IS_NOTHING;
        };
        at += 2;
        scratch.packet.offset = at;
        match u16::from_be(ethertype) {
            ETH_IPV4 => return ipv4(skb, scratch),
            ETH_IPV6 => return ipv6(skb, scratch),
            tag if is_tag(tag) => at += (TAG - 2) as u32,
            0x8847 | 0x8848 => return Counter::Mpls as u32,
            // ARP, LLDP, EAPOL, and 802.3 lengths (spanning tree): none of these carries a pod's
            // data.
            ETH_ARP | 0x88cc | 0x888e | 0..=0x05ff => return IS_NOTHING,
            _ => return Counter::OtherLink as u32,
        }
    }
    Counter::TooManyHeaders as u32
}

#[inline(never)]
fn ipv4(skb: *mut __sk_buff, scratch: &mut Scratch) -> u32 {
    let ctx = TcContext::new(skb);
    let at = scratch.packet.offset;
    let Ok(ip) = ctx.load::<[u32; IPV4 / 4]>(at as usize) else {
        return Counter::Malformed as u32;
    };
    let base = ip.as_ptr() as usize;
    // SAFETY: within the array.
    let (version, proto, fragment, total): (u8, u8, u16, u16) =
        unsafe { (load(base, 0), load(base, 9), load(base, 6), load(base, 2)) };
    let header = ((version & 0xf) as u32) << 2;
    if version >> 4 != 4 || header < IPV4 as u32 {
        return Counter::Malformed as u32;
    }
    scratch.packet.src = mapped(ip[3]);
    scratch.packet.dst = mapped(ip[4]);
    scratch.packet.family = 4;
    scratch.packet.transport = proto;
    if fragment & FRAGMENT != 0 {
        return Counter::Fragments as u32;
    }
    let total = length(u16::from_be(total).into(), &ctx, at);
    let addresses = Addresses::V4(joined(ip[3], ip[4]));
    transport(
        skb,
        scratch,
        addresses,
        at.wrapping_add(header),
        total.wrapping_sub(header),
    )
}

#[inline(never)]
fn ipv6(skb: *mut __sk_buff, scratch: &mut Scratch) -> u32 {
    let ctx = TcContext::new(skb);
    let mut at = scratch.packet.offset;
    let Ok(ip) = ctx.load::<[u64; IPV6 / 8]>(at as usize) else {
        return Counter::Malformed as u32;
    };
    let base = ip.as_ptr() as usize;
    // SAFETY: within the array.
    let (version, mut next, total): (u8, u8, u16) =
        unsafe { (load(base, 0), load(base, 6), load(base, 4)) };
    if version >> 4 != 6 {
        return Counter::Malformed as u32;
    }
    scratch.packet.src = [ip[1], ip[2]];
    scratch.packet.dst = [ip[3], ip[4]];
    scratch.packet.family = 6;
    at = at.wrapping_add(IPV6 as u32);
    let mut total = length(u16::from_be(total).into(), &ctx, at);
    for _ in 0..=MAX_EXTENSIONS {
        if !is_extension(next) {
            scratch.packet.transport = next;
            let addresses = Addresses::V6([ip[1], ip[2]], [ip[3], ip[4]]);
            return transport(skb, scratch, addresses, at, total);
        }
        let Ok(header) = ctx.load::<[u8; 4]>(at as usize) else {
            return Counter::Malformed as u32;
        };
        if next == protocol::FRAGMENT
            && u16::from_be_bytes([header[2], header[3]]) & FRAGMENT_V6 != 0
        {
            return Counter::Fragments as u32;
        }
        let len = extension_len(next, header[1]);
        next = header[0];
        at = at.wrapping_add(len);
        total = total.wrapping_sub(len);
    }
    Counter::TooManyHeaders as u32
}

#[inline(always)]
fn transport(
    skb: *mut __sk_buff,
    scratch: &mut Scratch,
    addresses: Addresses,
    at: u32,
    total: u32,
) -> u32 {
    match scratch.packet.transport {
        protocol::TCP => tcp(skb, scratch, addresses, at, total),
        protocol::UDP => udp(skb, scratch, at, total),
        protocol::SCTP => Counter::Sctp as u32,
        protocol::ICMP | protocol::ICMPV6 => Counter::Icmp as u32,
        protocol::IPV4 | protocol::IPV6 => Counter::IpInIp as u32,
        protocol::GRE => Counter::Gre as u32,
        protocol::ESP => Counter::Esp as u32,
        protocol::MPLS => Counter::Mpls as u32,
        // IGMP, and "no next header".
        2 | 59 => IS_NOTHING,
        _ => Counter::OtherIp as u32,
    }
}

#[inline(always)]
fn tcp(
    skb: *mut __sk_buff,
    scratch: &mut Scratch,
    addresses: Addresses,
    at: u32,
    total: u32,
) -> u32 {
    let Ok(header) = TcContext::new(skb).load::<[u32; TCP / 4]>(at as usize) else {
        return Counter::Malformed as u32;
    };
    // SAFETY: within the array.
    let header = unsafe { TcpHeader::load(header.as_ptr() as usize, 0) };
    match header.packet(addresses, at, total) {
        Parsed::Segment(packet) => {
            scratch.packet = packet;
            // The fast path, for packets of any shape.
            if !packet.is_control() && done::contains(packet.signature) {
                return IS_NOTHING;
            }
            IS_SEGMENT
        }
        Parsed::Nothing => IS_NOTHING,
        Parsed::Datagram(_) | Parsed::Other => Counter::Malformed as u32,
    }
}

/// Tunnels are counted by their ports, and are UDP flows as well.
#[inline(never)]
fn udp(skb: *mut __sk_buff, scratch: &mut Scratch, at: u32, total: u32) -> u32 {
    if DATAGRAMS.load() == 0 {
        let Ok(ports) = TcContext::new(skb).load::<[u16; 2]>(at as usize) else {
            return Counter::Malformed as u32;
        };
        return match u16::from_be(ports[1]) {
            4789 | 8472 => Counter::Vxlan as u32,
            6081 => Counter::Geneve as u32,
            _ => Counter::Udp as u32,
        };
    }
    match header::read(skb, scratch, at, total) {
        header::GOOD => IS_DATAGRAM,
        header::PASSED => IS_NOTHING,
        _ => Counter::Malformed as u32,
    }
}

//! Header constants for both parsers: the kernel program's and the capture reader's.
//!
//! In host byte order; on the wire they are big-endian.

#![expect(
    clippy::inline_always,
    reason = "the kernel program calls functions by itself only where it says so"
)]

/// EtherType of IPv4.
pub const ETH_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETH_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETH_IPV6: u16 = 0x86dd;
/// EtherType of a VLAN tag (IEEE 802.1Q).
pub const ETH_8021Q: u16 = 0x8100;
/// EtherType of a provider VLAN tag (IEEE 802.1ad).
pub const ETH_8021AD: u16 = 0x88a8;
/// EtherType of an outer VLAN tag, as used by switches before 802.1ad.
pub const ETH_QINQ: u16 = 0x9100;

/// Sizes of an Ethernet header, a VLAN tag, and the shortest headers of IPv4, IPv6 and TCP, in
/// bytes.
pub const ETH: usize = 14;
/// See [`ETH`].
pub const TAG: usize = 4;
/// See [`ETH`].
pub const IPV4: usize = 20;
/// See [`ETH`].
pub const IPV6: usize = 40;
/// See [`ETH`].
pub const TCP: usize = 20;

/// VLAN tags that are followed (a customer tag within a provider tag makes two).
pub const MAX_TAGS: usize = 4;
/// IPv6 extension headers that are followed; RFC 8200 §4.1 allows each at most once, destination
/// options twice.
pub const MAX_EXTENSIONS: usize = 10;

/// In IPv4's fragment field: more fragments follow, or this is not the first (RFC 791 §3.1).
pub const FRAGMENT_V4: u16 = 0x3fff;
/// In IPv6's fragment header (RFC 8200 §4.5); if both are zero, it is a whole packet (RFC 6946).
pub const FRAGMENT_V6: u16 = 0xfff9;

/// IP protocols and IPv6 next headers
/// (<https://www.iana.org/assignments/protocol-numbers>).
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP (RFC 2003).
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP (RFC 2473).
    pub const IPV6: u8 = 41;
    /// IPv6's fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Generic routing encapsulation (RFC 2784).
    pub const GRE: u8 = 47;
    /// IPsec ESP (RFC 4303).
    pub const ESP: u8 = 50;
    /// IPsec authentication header (RFC 4302), which does not encrypt the packet.
    pub const AH: u8 = 51;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// MPLS in IP (RFC 4023).
    pub const MPLS: u8 = 137;
}

/// Whether an EtherType is that of a VLAN tag, with another EtherType two bytes further on.
#[inline(always)]
pub const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ETH_8021Q | ETH_8021AD | ETH_QINQ)
}

/// Whether an IPv6 next header is an extension header that is followed by another header:
/// hop-by-hop, routing, fragment, authentication, destination options, mobility, HIP, shim6.
#[inline(always)]
pub const fn is_extension(next: u8) -> bool {
    matches!(next, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)
}

/// Bytes of an extension header with this length field: in units of eight, minus one (RFC 6564);
/// the fragment header has no length, and authentication counts units of four (RFC 4302 §2.2).
#[inline(always)]
pub const fn extension_len(next: u8, field: u8) -> u32 {
    match next {
        protocol::FRAGMENT => 8,
        protocol::AH => (field as u32 + 2) << 2,
        _ => (field as u32 + 1) << 3,
    }
}

//! The kernel program's counters. Nothing is counted on the fast path.
//!
//! A counter is one line in `counters!`: the index here, the field that the daemon reads, and its
//! documentation are generated from it.

/// Calls the macro `$then` with every counter: first those of the node alone, then those that are
/// also counted per interface. Each is a variant of [`Counter`] and the name of a field.
#[macro_export]
macro_rules! counters {
    ($then:ident) => {
        $then! {
            node {
                /// Segments with payload, SYN, FIN or RST, and datagrams with payload, that did not
                /// take the fast path.
                Segments segments,
                /// Of those: delivered to the ring buffer.
                Sampled sampled,
                /// Of those: seen before, or not needed as samples.
                Skipped skipped,
                /// Connections first seen at their SYN.
                Flows flows,
                /// Connections first seen midstream.
                Midstream midstream,
                /// Segments and datagrams sampled in rechecks.
                Again resampled,
                /// Of `segments`: datagrams.
                Datagrams datagrams,
                /// UDP flows seen.
                DatagramFlows datagram_flows,
            }
            interface {
                /// Segments not sampled: the ring buffer was full.
                RingFull lost_ring_full,
                /// Segments not sampled: the flow table had no room, or another CPU held the flow's
                /// lock.
                MapFull lost_map_full,
                /// Segments not sampled: their bytes could not be read from the packet.
                Unreadable lost_unreadable,
                /// Segments not sampled: the interface had used its share of the ring buffer, which
                /// was half full.
                OverShare lost_over_share,
                /// Evicted connections that were open, or had a loss that had not been reported
                /// yet.
                Evicted evicted,
                /// Evicted connections without an answer.
                EvictedUnanswered evicted_unanswered,
                /// Evicted UDP flows.
                EvictedDatagrams evicted_datagrams,
                /// Payload that claims to belong to a connection, but comes from another interface
                /// than its sender's.
                Foreign foreign,
                /// SYN, FIN and RST that no receiver accepts: wrong interface, sequence number or
                /// checksum.
                ControlIgnored control_ignored,
                /// IP fragments.
                Fragments fragments,
                /// Packets whose lengths contradict each other.
                Malformed malformed,
                /// Packets with more VLAN tags or extension headers than are followed.
                TooManyHeaders too_many_headers,
                /// IP in IP (protocols 4 and 41).
                IpInIp ip_in_ip,
                /// GRE.
                Gre gre,
                /// VXLAN (UDP ports 4789 and 8472).
                Vxlan vxlan,
                /// Geneve (UDP port 6081).
                Geneve geneve,
                /// MPLS.
                Mpls mpls,
                /// IPsec's ESP.
                Esp esp,
                /// Frames that are neither IP nor ARP nor any of the above.
                OtherLink other_link,
                /// IP packets of protocols not named here.
                OtherIp other_ip,
                /// UDP that is not followed, because only open connections could have been evicted for
                /// it, or because the kernel is too old: counted once per pair of addresses and recheck
                /// interval.
                Udp udp,
                /// SCTP: counted once per pair of addresses and recheck interval.
                Sctp sctp,
                /// ICMP and ICMPv6: counted once per pair of addresses and recheck interval.
                Icmp icmp,
            }
        }
    };
}

macro_rules! define {
    (
        node { $($(#[doc = $node_doc:literal])* $node:ident $node_field:ident,)* }
        interface { $($(#[doc = $doc:literal])* $variant:ident $field:ident,)* }
    ) => {
        /// Index into the per-CPU array of counters.
        ///
        /// `Segments = Sampled + Skipped + RingFull + MapFull + Unreadable + OverShare` holds at any
        /// quiet moment.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[doc = $node_doc])* $node,)*
            $($(#[doc = $doc])* $variant,)*
        }

        impl Counter {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$node,)* $(Self::$variant,)*];
            /// How many there are.
            pub const COUNT: u32 = Self::ALL.len() as u32;
            /// The first that is counted under the interface as well; so are all after it.
            pub const FIRST_OF_INTERFACE: u32 = [$(Self::$node,)*].len() as u32;
            /// How many are counted under the interface.
            pub const OF_INTERFACE: usize = (Self::COUNT - Self::FIRST_OF_INTERFACE) as usize;
        }
    };
}

counters!(define);

/// What one CPU has counted, and has put into the ring buffer, under one interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Interface {
    /// The counters from [`Counter::FIRST_OF_INTERFACE`] on.
    pub counts: [u64; Counter::OF_INTERFACE],
    /// Bytes put into the ring buffer in `epoch`.
    pub bytes: u32,
    /// Which half of the ring buffer's way that was in.
    pub epoch: u32,
}

impl Interface {
    /// Nothing yet.
    pub const NEW: Self = Self {
        counts: [0; Counter::OF_INTERFACE],
        bytes: 0,
        epoch: 0,
    };
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)` of integers without padding.
unsafe impl aya::Pod for Interface {}

#[cfg(test)]
mod tests {
    use super::{Counter, Interface};

    #[test]
    fn an_index_is_a_position() {
        for (at, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, at);
        }
        assert_eq!(Counter::RingFull as u32, Counter::FIRST_OF_INTERFACE);
        assert_eq!(size_of::<Interface>(), 8 * Counter::OF_INTERFACE + 8);
    }
}

//! Packets that were not inspected, by kind.

use std::fmt::Write;

/// Why a packet is neither a segment nor a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Skip {
    /// Neither IPv4 nor IPv6 (ARP, LLDP, …).
    NotIp,
    /// ICMP, of either version.
    Icmp,
    /// SCTP.
    Sctp,
    /// Another IP protocol.
    OtherIp,
    /// Encrypted below TCP (IPsec ESP, MACsec).
    Encrypted,
    /// A tunnel whose contents are not supported, or that is nested too deeply.
    Tunnel,
    /// A fragment of an IP packet that was never complete.
    Fragment,
    /// The capture's snap length, or damage, cut the packet before the end of its headers.
    Short,
    /// A header contradicts itself.
    Malformed,
    /// An unsupported link type.
    LinkType,
}

impl Skip {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NotIp,
        Self::Icmp,
        Self::Sctp,
        Self::OtherIp,
        Self::Encrypted,
        Self::Tunnel,
        Self::Fragment,
        Self::Short,
        Self::Malformed,
        Self::LinkType,
    ];

    /// The name in JSON, and for people.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::NotIp => ("not_ip", "neither IPv4 nor IPv6"),
            Self::Icmp => ("icmp", "ICMP"),
            Self::Sctp => ("sctp", "SCTP"),
            Self::OtherIp => ("other_ip", "other protocols over IP"),
            Self::Encrypted => ("encrypted", "encrypted below TCP"),
            Self::Tunnel => ("tunnel", "in tunnels that are not understood"),
            Self::Fragment => ("fragments", "incomplete IP fragments"),
            Self::Short => ("short", "cut before the end of their headers"),
            Self::Malformed => ("malformed", "malformed"),
            Self::LinkType => ("link_type", "of a link type that is not understood"),
        }
    }
}

/// Skipped packets, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Skips([u64; Skip::ALL.len()]);

impl Skips {
    /// Counts packets.
    pub(super) fn add(&mut self, skip: Skip, packets: u64) {
        self.0[skip as usize] += packets;
    }

    /// How many there were of one kind.
    pub fn of(&self, skip: Skip) -> u64 {
        self.0[skip as usize]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds the counts of another capture.
    pub fn extend(&mut self, other: &Self) {
        for (own, others) in self.0.iter_mut().zip(other.0) {
            *own += others;
        }
    }

    fn kinds(&self) -> impl Iterator<Item = (Skip, u64)> {
        let counted = Skip::ALL.into_iter().zip(self.0);
        counted.filter(|(_, packets)| *packets > 0)
    }
}

impl std::fmt::Display for Skips {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (skip, packets)) in self.kinds().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            packets.fmt(f)?;
            f.write_char(' ')?;
            f.write_str(skip.names().1)?;
        }
        Ok(())
    }
}

impl Skips {
    /// The counts in JSON form: by name, without zeros.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let name = |(skip, packets): (Skip, u64)| (skip.names().0, packets);
        self.kinds().map(name)
    }
}

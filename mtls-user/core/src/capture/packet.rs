//! Decodes a captured packet into a TCP segment or a UDP datagram: link layer, tags and labels,
//! tunnels, fragments, IPv4 and IPv6.
//!
//! All accesses are checked against the captured bytes, whereas lengths come from the IP header, so
//! that a snap length shortens a segment's bytes but not its length.

#![expect(
    clippy::inline_always,
    reason = "a segment handed from function to function is copied each time, right after it was written"
)]

use super::fragments::{Fragment, Fragments, GivenUp};
use super::network::{Around, Decoded, Found};
use super::{LinkType, Packet, Skip, Skips, link, network};

/// Turns packets into segments and datagrams, and counts those that it cannot decode.
#[derive(Default, Debug)]
pub struct Decoder {
    /// Packets that became segments or datagrams.
    pub segments: u64,
    /// Packets that did not.
    pub skips: Skips,
    /// The last unsupported link type.
    pub unknown_link_type: Option<LinkType>,
    fragments: Fragments,
    given_up: Vec<GivenUp>,
    /// The last reassembled packet.
    whole: Vec<u8>,
}

impl Decoder {
    /// The segment or datagram in `packet`, or in the one that this fragment completes, if there is
    /// one.
    #[inline(always)]
    pub fn decode<'a>(&'a mut self, packet: &Packet<'a>) -> Option<Decoded<'a>> {
        let found = match found(packet) {
            Ok(Found::Whole(decoded)) => Ok(decoded),
            Ok(Found::Fragment(part)) => {
                let lost = &mut self.given_up;
                self.whole = self.fragments.add(&part, packet.time, lost)?;
                inside(&self.whole, packet.time, &part)
            }
            Err(skip) => Err(skip),
        };
        match found {
            Ok(decoded) => {
                self.segments += 1;
                Some(decoded)
            }
            Err(skip) => {
                if skip == Skip::LinkType {
                    self.unknown_link_type = Some(packet.link_type);
                }
                self.skips.add(skip, 1);
                None
            }
        }
    }

    /// Addresses of fragments, since the last call, whose packets will not be complete: both
    /// addresses (IPv4 as `::ffff:a.b.c.d`), and the time.
    pub fn incomplete(&mut self) -> impl Iterator<Item = ([[u8; 16]; 2], u64)> + '_ {
        for lost in &self.given_up {
            self.skips.add(Skip::Fragment, lost.packets);
        }
        let given_up = self.given_up.drain(..);
        given_up.map(|lost| ([lost.addresses.src, lost.addresses.dst], lost.time))
    }

    /// The end of the capture: missing fragments will not arrive.
    pub fn finish(&mut self) {
        self.fragments.drain(&mut self.given_up);
    }
}

/// The segment or datagram in `packet`, or a fragment.
#[inline(always)]
fn found<'a>(packet: &Packet<'a>) -> Result<Found<'a>, Skip> {
    let (start, kind) = link::link(packet.data, packet.link_type)?;
    let ip = packet.data.get(start..).ok_or(Skip::Short)?;
    let original = packet.original.saturating_sub(start);
    let around = Around {
        time: packet.time,
        depth: 0,
    };
    network::packet(around, kind, ip, original)
}

/// The contents of a reassembled packet; `part` is one of its fragments.
#[inline(never)]
fn inside<'a>(whole: &'a [u8], time: u64, part: &Fragment<'_>) -> Result<Decoded<'a>, Skip> {
    let (depth, key) = (part.depth, &part.key);
    let around = Around { time, depth };
    match network::transport(around, key.addresses, key.protocol, whole, whole.len())? {
        Found::Whole(decoded) => Ok(decoded),
        // In a tunnel: fragments of a packet that was itself fragmented.
        Found::Fragment(_) => Err(Skip::Tunnel),
    }
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;

//! Recognises protocols over UDP by the required form of their datagrams: with their own
//! encryption, or in plaintext.
//!
//! *Sure* means a response that echoes its request, a magic number, or a grammar that matches to
//! the last byte in all datagrams seen. What only looks like a protocol counts if nothing else is
//! found. A port is never evidence; it only chooses between names of one format (DNS, mDNS).

mod control;
mod dns;
mod media;
mod telemetry;
mod vpn;

use super::opening::Kept;

/// Whether others can read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Nature {
    /// Everybody on the path can read it.
    Plain,
    /// It uses its own encryption.
    Sealed,
    /// Its headers are unencrypted, and it cannot be determined whether its payload is.
    Unknown,
}

/// A recogniser's answer for the datagrams of both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// It is not this protocol, or not known yet.
    No,
    /// It looks like it.
    Likely(&'static str, Nature),
    /// It is.
    Sure(&'static str, Nature),
}

/// The first datagrams of both sides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Talk<'a> {
    pub(super) client: &'a [Kept],
    pub(super) server: &'a [Kept],
    /// Their ports.
    pub(super) ports: [u16; 2],
}

impl<'a> Talk<'a> {
    /// Every pair of a complete datagram of the client and one of the server.
    fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let (client, server) = (self.client, self.server);
        client
            .iter()
            .flat_map(move |c| server.iter().map(move |s| (&*c.bytes, &*s.bytes)))
    }

    /// All datagrams, and whether each was completely captured.
    fn all(&self) -> impl Iterator<Item = &'a Kept> {
        self.client.iter().chain(self.server)
    }

    /// Whether there is a datagram, and all satisfy `is`.
    fn every(&self, is: impl Fn(&'a Kept) -> bool) -> bool {
        self.all().next().is_some() && self.all().all(is)
    }

    fn has_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }
}

type Recognizer = fn(&Talk<'_>) -> Found;

/// All of them. No datagram matches more than one.
const RECOGNIZERS: &[Recognizer] = &[
    dns::dns,
    vpn::wireguard,
    vpn::disco,
    vpn::ike,
    vpn::openvpn,
    vpn::old_quic,
    control::ntp,
    control::coap,
    control::snmp,
    control::radius,
    control::kerberos,
    control::dhcp,
    control::memberlist,
    control::memcached,
    media::stun,
    media::sip,
    media::ssdp,
    media::rtp,
    telemetry::statsd,
    telemetry::syslog,
    telemetry::gelf,
    telemetry::netflow,
    telemetry::sflow,
    telemetry::jaeger,
];

/// Asks every recogniser, for both assumptions about which side is the client; returns what was
/// found, and whether the sides are swapped.
pub(super) fn identify(talk: &Talk<'_>) -> (Found, bool) {
    let [a, b] = talk.ports;
    let swapped = Talk {
        client: talk.server,
        server: talk.client,
        ports: [b, a],
    };
    let mut best = (Found::No, false);
    for (talk, swap) in [(talk, false), (&swapped, true)] {
        for recognize in RECOGNIZERS {
            match recognize(talk) {
                Found::No => {}
                Found::Likely(..) if best.0 != Found::No => {}
                found @ Found::Likely(..) => best = (found, swap),
                found @ Found::Sure(..) => return (found, swap),
            }
        }
    }
    best
}

/// Two bytes, big-endian.
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))
}

/// Four bytes, big-endian.
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u32::from_be_bytes(*b))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

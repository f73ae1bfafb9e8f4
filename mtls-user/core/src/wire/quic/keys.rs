//! Initial keys: derived from the connection ID that the client chose for the server, so that
//! everybody on the path can derive them (RFC 9001 §5.2; RFC 9369 §3.3 for version 2).
//!
//! A packet that they decrypt is certainly QUIC: its 128-bit tag has been verified.

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::{DirectionalKeys, Keys, Suite};
use smallvec::SmallVec;

use super::header::{ConnectionId, Long, Version};

/// Bytes from the start of the packet number to the sample of header protection (RFC 9001 §5.4.2).
const SAMPLE_AT: usize = 4;

/// The Initial keys of one connection, in one version, for both directions.
pub struct InitialKeys(Keys);

/// Where packets are decrypted. A packet in a datagram of usual size needs no memory of the heap.
pub type Scratch = SmallVec<[u8; 2048]>;

/// Position of a decrypted packet's payload in the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened<'a> {
    /// Its frames.
    pub payload: &'a [u8],
}

impl InitialKeys {
    /// The keys derived from `dcid`: the destination connection ID of the client's first Initial
    /// packet, or of the first one after a Retry.
    pub fn new(version: Version, dcid: &ConnectionId) -> Option<Self> {
        let version = match version {
            Version::V1 => rustls::quic::Version::V1,
            Version::V2 => rustls::quic::Version::V2,
        };
        let suite: Suite = TLS13_AES_128_GCM_SHA256.tls13()?.quic_suite()?;
        Some(Self(suite.keys(
            dcid.as_slice(),
            rustls::Side::Client,
            version,
        )))
    }

    /// The payload of a client's Initial packet, decrypted in `scratch`; `None` if the tag does not
    /// verify, or not all of the packet was captured.
    pub fn open_clients<'s>(
        &self,
        packet: &Long<'_>,
        scratch: &'s mut Scratch,
    ) -> Option<Opened<'s>> {
        open(&self.0.local, packet, scratch)
    }

    /// The same of a server's.
    pub fn open_servers<'s>(
        &self,
        packet: &Long<'_>,
        scratch: &'s mut Scratch,
    ) -> Option<Opened<'s>> {
        open(&self.0.remote, packet, scratch)
    }
}

impl std::fmt::Debug for InitialKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InitialKeys")
    }
}

fn open<'s>(
    keys: &DirectionalKeys,
    packet: &Long<'_>,
    scratch: &'s mut Scratch,
) -> Option<Opened<'s>> {
    if packet.bytes.len() != packet.number_at.checked_add(packet.length)? {
        return None;
    }
    scratch.clear();
    scratch.extend_from_slice(packet.bytes);
    let (header, protected) = scratch.split_at_mut_checked(packet.number_at)?;
    let (number, sampled) = protected.split_at_mut_checked(SAMPLE_AT)?;
    let sample = sampled.get(..keys.header.sample_len())?;
    let first = header.first_mut()?;
    keys.header.decrypt_in_place(sample, first, number).ok()?;
    let number_len = usize::from(*first & 3) + 1;
    // Initial packets are few and numbered from zero, so the truncated number is the whole number.
    let number = number[..number_len]
        .iter()
        .fold(0, |n, b| n << 8 | u64::from(*b));
    let (header, payload) = scratch.split_at_mut_checked(packet.number_at + number_len)?;
    let payload = keys.packet.decrypt_in_place(number, header, payload).ok()?;
    Some(Opened { payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::quic::{Packet, packets};

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect()
    }

    /// The servers' Initial packets of RFC 9001 appendix A.3 and RFC 9369 appendix A.3.
    #[test]
    fn the_published_packets() {
        let dcid = ConnectionId::new(&bytes("8394c8f03e515708")).unwrap();
        for (version, packet) in [
            (
                Version::V1,
                "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee",
            ),
            (
                Version::V2,
                "dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d9b89237bbf87263017915358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2c984c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140",
            ),
        ] {
            let packet = bytes(packet);
            let Some(Packet::Long(long)) = packets(&packet, packet.len()).next() else {
                panic!("no long header")
            };
            assert_eq!(long.version, version);
            let keys = InitialKeys::new(version, &dcid).unwrap();
            let mut scratch = Scratch::new();
            let opened = keys.open_servers(&long, &mut scratch).unwrap();
            // An ACK, and a CRYPTO frame with a ServerHello.
            assert_eq!(opened.payload[..5], [2, 0, 0, 0, 0]);
            assert_eq!(opened.payload[5..10], [6, 0, 0x40, 0x5a, 2]);
            // With other keys, or a flipped bit, nothing decrypts.
            assert!(keys.open_clients(&long, &mut scratch).is_none());
            let mut damaged = packet.clone();
            *damaged.last_mut().unwrap() ^= 1;
            let Some(Packet::Long(long)) = packets(&damaged, damaged.len()).next() else {
                panic!("no long header")
            };
            assert!(keys.open_servers(&long, &mut scratch).is_none());
        }
    }
}

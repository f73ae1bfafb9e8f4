//! Packet headers, and the packets that share a datagram (RFC 9000 §12.2 and §17).

use crate::wire::cursor::{Cursor, zeros};

/// Bytes of the longest connection ID of QUIC versions 1 and 2 (RFC 9000 §17.2).
pub const MAX_CONNECTION_ID: usize = 20;

/// A connection ID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ConnectionId {
    len: u8,
    bytes: [u8; MAX_CONNECTION_ID],
}

impl ConnectionId {
    /// The ID in `bytes`, unless that is longer than [`MAX_CONNECTION_ID`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut id = Self {
            len: bytes.len() as u8,
            ..Self::default()
        };
        id.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(id)
    }

    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// It has no bytes, and identifies nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl std::fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.as_slice() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A supported version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// RFC 9000.
    V1,
    /// RFC 9369.
    V2,
}

impl Version {
    /// The version with that number.
    pub fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            0x6b33_43cf => Some(Self::V2),
            _ => None,
        }
    }
}

/// Kinds of packets with a long header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The hellos.
    Initial,
    /// Early data.
    ZeroRtt,
    /// The rest of the handshake.
    Handshake,
    /// The server requires the client to prove its address.
    Retry,
}

impl Kind {
    /// RFC 9000 table 5; version 2 shifts them by one (RFC 9369 §3.2).
    fn of(version: Version, first: u8) -> Self {
        let shift = match version {
            Version::V1 => 0,
            Version::V2 => 3,
        };
        match ((first >> 4 & 3) + shift) & 3 {
            0 => Self::Initial,
            1 => Self::ZeroRtt,
            2 => Self::Handshake,
            _ => Self::Retry,
        }
    }
}

/// A packet with a long header, of a supported version.
#[derive(Clone, Copy, Debug)]
pub struct Long<'a> {
    /// Its version.
    pub version: Version,
    /// Its kind.
    pub kind: Kind,
    /// Destination connection ID.
    pub dcid: ConnectionId,
    /// Source connection ID.
    pub scid: ConnectionId,
    /// The token is present and not empty (Initial).
    pub has_token: bool,
    /// The Length field: packet number, payload and tag. Zero for a Retry, which has none.
    pub length: usize,
    /// Position of the packet number in `bytes`.
    pub number_at: usize,
    /// The whole packet, as far as it was captured.
    pub bytes: &'a [u8],
}

/// One of the packets of a datagram.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    /// With a long header.
    Long(Long<'a>),
    /// The server does not support the client's version (RFC 8999 §6). Proves nothing.
    Negotiation {
        /// The server's connection ID.
        scid: ConnectionId,
    },
    /// A long header of an unsupported version; the rest of the datagram belongs to it.
    Foreign {
        /// The version.
        version: u32,
        /// The sender's connection ID, if its length is allowed in QUIC versions 1 and 2.
        scid: ConnectionId,
    },
    /// What may be a packet with a short header: the rest of the datagram.
    Short {
        /// Its bytes, as far as they were captured.
        bytes: &'a [u8],
        /// How many there were on the wire.
        len: usize,
    },
    /// The rest of the datagram is not a packet: padding with zeros, or a damaged header.
    Rest {
        /// How many bytes.
        len: usize,
        /// Whether all captured bytes are zero.
        zeros: bool,
    },
}

/// The packets in a datagram of `len` bytes, of which `bytes` were captured.
pub fn packets(bytes: &[u8], len: usize) -> Packets<'_> {
    Packets {
        bytes,
        len: len.max(bytes.len()),
        dcid: None,
    }
}

/// See [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    bytes: &'a [u8],
    len: usize,
    /// Where the first packet goes. Receivers ignore what follows for another connection (RFC 9000
    /// §12.2), so one datagram does not have keys derived for many.
    dcid: Option<ConnectionId>,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        if self.len == 0 {
            return None;
        }
        let (bytes, len) = (self.bytes, self.len);
        let (packet, size) = match bytes.first() {
            Some(first) if first & 0x80 != 0 => match long(bytes, len) {
                Some((Packet::Long(packet), _))
                    if *self.dcid.get_or_insert(packet.dcid) != packet.dcid =>
                {
                    (Packet::Rest { len, zeros: false }, len)
                }
                Some((packet, size)) => (packet, size),
                None => (Packet::Rest { len, zeros: false }, len),
            },
            // A short header is not all zeros; padding is.
            Some(_) if zeros(bytes) < bytes.len() => (Packet::Short { bytes, len }, len),
            Some(_) => (Packet::Rest { len, zeros: true }, len),
            None => (Packet::Rest { len, zeros: false }, len),
        };
        self.bytes = bytes.get(size..).unwrap_or_default();
        self.len = len.saturating_sub(size);
        Some(packet)
    }
}

/// The long header at the start of `bytes`, and how many of `len` bytes its packet takes.
fn long(bytes: &[u8], len: usize) -> Option<(Packet<'_>, usize)> {
    let mut c = Cursor::new(bytes);
    let first = c.u8()?;
    let number = c.u32()?;
    let dcid = c.vec8()?;
    let scid = c.vec8()?;
    if number == 0 {
        let scid = ConnectionId::new(scid)?;
        // A list of versions fills the rest.
        let complete = bytes.len() == len;
        return (!complete || c.len() >= 4 && c.len().is_multiple_of(4))
            .then_some((Packet::Negotiation { scid }, len));
    }
    let Some(version) = Version::of(number) else {
        let scid = ConnectionId::new(scid)?;
        ConnectionId::new(dcid)?;
        return Some((
            Packet::Foreign {
                version: number,
                scid,
            },
            len,
        ));
    };
    let kind = Kind::of(version, first);
    let mut packet = Long {
        version,
        kind,
        dcid: ConnectionId::new(dcid)?,
        scid: ConnectionId::new(scid)?,
        has_token: false,
        length: 0,
        number_at: 0,
        bytes,
    };
    if kind == Kind::Retry {
        // A token, and a tag of 16 bytes.
        return (c.len() > 16 || bytes.len() < len).then_some((Packet::Long(packet), len));
    }
    if kind == Kind::Initial {
        let token = usize::try_from(varint(&mut c)?).ok()?;
        packet.has_token = !c.take(token)?.is_empty();
    }
    packet.length = usize::try_from(varint(&mut c)?).ok()?;
    packet.number_at = bytes.len() - c.len();
    let size = packet.number_at.checked_add(packet.length)?;
    // A packet number, what header protection samples, and a tag (RFC 9001 §5.4.2).
    if size > len || packet.length < 20 {
        return None;
    }
    packet.bytes = &bytes[..bytes.len().min(size)];
    Some((Packet::Long(packet), size))
}

/// A variable-length integer (RFC 9000 §16).
pub fn varint(c: &mut Cursor<'_>) -> Option<u64> {
    let first = c.u8()?;
    let mut value = u64::from(first & 0x3f);
    for _ in 1..1 << (first >> 6) {
        value = value << 8 | u64::from(c.u8()?);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(first: u8, version: u32, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        bytes.extend(version.to_be_bytes());
        bytes.extend([2, 7, 7, 1, 9]);
        bytes.extend(rest);
        bytes
    }

    /// RFC 9000 §16 and appendix A.1.
    #[test]
    fn integers_of_every_size() {
        for (bytes, value) in [
            (&[0x25][..], 37),
            (&[0x40, 0x25], 37),
            (&[0x7b, 0xbd], 15_293),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
                151_288_809_941_952_652,
            ),
        ] {
            assert_eq!(varint(&mut Cursor::new(bytes)), Some(value));
            assert_eq!(varint(&mut Cursor::new(&bytes[..bytes.len() - 1])), None);
        }
    }

    #[test]
    fn packets_share_a_datagram() {
        let mut handshake = vec![0x40, 20];
        handshake.extend([1; 20]);
        let mut datagram = header(0xe0, 1, &handshake);
        let first = datagram.len();
        datagram.extend(header(0xf0, 0x6b33_43cf, &handshake));
        datagram.extend([0x11, 7, 7, 7]);
        let found: Vec<_> = packets(&datagram, datagram.len()).collect();
        let [
            Packet::Long(one),
            Packet::Long(two),
            Packet::Short { len: 4, .. },
        ] = found[..]
        else {
            panic!("{found:?}")
        };
        assert_eq!((one.kind, one.length), (Kind::Handshake, 20));
        assert_eq!((two.version, two.kind), (Version::V2, Kind::Handshake));
        assert_eq!(one.bytes.len(), first);
        assert_eq!(
            (one.dcid.as_slice(), one.scid.as_slice()),
            (&[7, 7][..], &[9][..])
        );
        // Those of another connection are not for this receiver.
        let mut other = datagram[..first].to_vec();
        other[6] ^= 1;
        let mixed = [&datagram[..first], &other].concat();
        assert!(matches!(
            packets(&mixed, mixed.len()).nth(1),
            Some(Packet::Rest { zeros: false, .. })
        ));
        // Zeros after a packet are not a packet.
        datagram.truncate(first);
        datagram.extend([0; 50]);
        assert!(matches!(
            packets(&datagram, datagram.len()).last(),
            Some(Packet::Rest {
                len: 50,
                zeros: true
            })
        ));
    }

    #[test]
    fn version_2_rotates_the_kinds() {
        use Kind::{Handshake, Initial, Retry, ZeroRtt};
        let kinds = |version| [0xc0, 0xd0, 0xe0, 0xf0].map(|first| Kind::of(version, first));
        assert_eq!(kinds(Version::V1), [Initial, ZeroRtt, Handshake, Retry]);
        assert_eq!(kinds(Version::V2), [Retry, Initial, ZeroRtt, Handshake]);
    }

    #[test]
    fn nothing_reaches_beyond_the_datagram() {
        let mut rest = vec![0x40, 40];
        rest.extend([1; 40]);
        let whole = header(0xe0, 1, &rest);
        for n in 0..whole.len() {
            for packet in packets(&whole[..n], n) {
                assert!(!matches!(packet, Packet::Long(_)), "of {n} bytes");
            }
            // If it was only partly captured, the length still says where it ends.
            let cut = packets(&whole[..n], whole.len()).next();
            if n > 12 {
                assert!(
                    matches!(cut, Some(Packet::Long(l)) if l.length == 40),
                    "{n}"
                );
            }
        }
    }
}

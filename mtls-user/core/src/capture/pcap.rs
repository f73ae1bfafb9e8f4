//! The classic capture format (draft-ietf-opsawg-pcap): microseconds or nanoseconds, either byte
//! order, and the Linux variant with longer record headers.

use super::{LinkType, MAX_BLOCK, Packet, Step};

/// Bytes of the file header.
const FILE_HEADER: usize = 24;

/// What the file header said.
#[derive(Clone, Copy, Debug)]
pub struct Pcap {
    swapped: bool,
    /// Nanoseconds per unit of the sub-second field.
    unit: u64,
    record_header: usize,
    link_type: LinkType,
}

impl Pcap {
    /// Whether a file that begins with `magic` is of this format.
    pub fn recognizes(magic: [u8; 4]) -> bool {
        Self::variant(magic).is_some()
    }

    /// Byte order, nanoseconds per unit and record header length, told by the magic number.
    fn variant(magic: [u8; 4]) -> Option<(bool, u64, usize)> {
        Some(match u32::from_le_bytes(magic) {
            0xa1b2_c3d4 => (false, 1_000, 16),
            0xd4c3_b2a1 => (true, 1_000, 16),
            0xa1b2_3c4d => (false, 1, 16),
            0x4d3c_b2a1 => (true, 1, 16),
            // Kuznetzov's: eight more bytes (interface, protocol, packet type) in each record header.
            0xa1b2_cd34 => (false, 1_000, 24),
            0x34cd_b2a1 => (true, 1_000, 24),
            _ => return None,
        })
    }

    /// Parses the file header at the head of `input`; its length comes with it.
    ///
    /// `Err(Step::Need)` when `input` is too short, `Err(Step::Corrupt)` when this is no such file.
    pub fn parse(input: &[u8]) -> Result<(Self, usize), Step<'static>> {
        let Some(header) = input.first_chunk::<FILE_HEADER>() else {
            return Err(Step::Need(FILE_HEADER));
        };
        let magic = [header[0], header[1], header[2], header[3]];
        let Some((swapped, unit, record_header)) = Self::variant(magic) else {
            return Err(Step::Corrupt("not a pcap file"));
        };
        let [.., link] = words(header.last_chunk().unwrap_or(&[0; 16]), swapped);
        let pcap = Self {
            swapped,
            unit,
            record_header,
            // The upper bits say whether frames end with a check sequence; IP's own length cuts that off.
            link_type: LinkType(link as u16),
        };
        Ok((pcap, FILE_HEADER))
    }

    /// What the packets of the file begin with.
    pub fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// The record at the head of `input`.
    pub fn step<'a>(&self, input: &'a [u8]) -> Step<'a> {
        let Some(header) = input.first_chunk() else {
            return Step::Need(self.record_header);
        };
        let [seconds, fraction, captured, original] = words(header, self.swapped);
        let captured = captured as usize;
        if captured > MAX_BLOCK {
            return Step::Corrupt("a packet claims more than 16 MiB");
        }
        let consumed = self.record_header + captured;
        let Some(data) = input.get(self.record_header..consumed) else {
            return Step::Need(consumed);
        };
        let packet = Packet {
            time: u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.unit,
            link_type: self.link_type,
            data,
            // Some writers leave the original length below the captured one.
            original: captured.max(original as usize),
        };
        Step::Packet { consumed, packet }
    }
}

/// Four numbers, little-endian or, `swapped`, big-endian.
fn words(bytes: &[u8; 16], swapped: bool) -> [u32; 4] {
    // All at once, which is far fewer instructions than one by one.
    let all = u128::from_le_bytes(*bytes);
    let word = |shift: u32| {
        let word = (all >> shift) as u32;
        if swapped { word.swap_bytes() } else { word }
    };
    [word(0), word(32), word(64), word(96)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(big_endian: bool, magic: u32, record_header: usize) -> Vec<u8> {
        let n = |v: u32| {
            if big_endian {
                v.to_be_bytes()
            } else {
                v.to_le_bytes()
            }
        };
        let mut f = Vec::new();
        f.extend(n(magic));
        f.extend([0; 12]);
        f.extend(n(65_535));
        f.extend(n(101));
        f.extend(n(7));
        f.extend(n(5));
        f.extend(n(3));
        f.extend(n(1_500));
        f.extend(vec![0; record_header - 16]);
        f.extend(b"abc");
        f
    }

    #[test]
    fn every_variant_reads_alike() {
        for big_endian in [false, true] {
            for (magic, unit, header) in [
                (0xa1b2_c3d4, 1_000, 16),
                (0xa1b2_3c4d, 1, 16),
                (0xa1b2_cd34, 1_000, 24),
            ] {
                let bytes = file(big_endian, magic, header);
                assert!(Pcap::recognizes(*bytes.first_chunk().unwrap()));
                let (pcap, at) = Pcap::parse(&bytes).unwrap();
                assert_eq!(pcap.link_type(), LinkType::RAW);
                let Step::Packet { consumed, packet } = pcap.step(&bytes[at..]) else {
                    panic!("no packet in {bytes:?}");
                };
                assert_eq!(at + consumed, bytes.len());
                assert_eq!(packet.time, 7_000_000_000 + 5 * unit);
                assert_eq!((packet.data, packet.original), (&b"abc"[..], 1_500));
            }
        }
    }

    #[test]
    fn every_truncation_asks_for_more() {
        let bytes = file(false, 0xa1b2_c3d4, 16);
        for end in 0..24 {
            assert!(matches!(Pcap::parse(&bytes[..end]), Err(Step::Need(24))));
        }
        let (pcap, at) = Pcap::parse(&bytes).unwrap();
        for end in at..bytes.len() {
            let Step::Need(n) = pcap.step(&bytes[at..end]) else {
                panic!("a packet from {end}")
            };
            assert!(n > end - at);
        }
    }

    #[test]
    fn a_hostile_length_is_refused() {
        let mut bytes = file(false, 0xa1b2_c3d4, 16);
        bytes[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
        let (pcap, at) = Pcap::parse(&bytes).unwrap();
        assert!(matches!(pcap.step(&bytes[at..]), Step::Corrupt(_)));
    }
}

//! The classic capture format (draft-ietf-opsawg-pcap): microseconds or nanoseconds, either byte
//! order, old versions, and the variants with longer record headers.

use super::{LinkType, MAX_BLOCK, Packet, Step};

/// Bytes of the file header.
const FILE_HEADER: usize = 24;
/// Bytes of a record's header: the usual one; Nokia's with four more bytes; Kuznetzov's with the
/// interface, protocol and packet type; and a later one of his that also has the CPU.
const USUAL: usize = 16;
const NOKIA: usize = 20;
const KUZNETZOV: usize = 24;
const KUZNETZOV_CPU: usize = 28;
/// Number of records that a variant must match.
const RECORDS_TRIED: usize = 4;
/// The longest packet in a matching record.
const LIKELY: usize = 262_144;

/// Information from the file header.
#[derive(Clone, Copy, Debug)]
pub struct Pcap {
    swapped: bool,
    /// Nanoseconds per unit of the sub-second field.
    unit: u64,
    record_header: usize,
    link_type: LinkType,
    /// Up to version 2.2, and sometimes in 2.3, the two lengths are swapped.
    old: bool,
}

impl Pcap {
    /// Whether a file that begins with `magic` has this format.
    pub fn recognizes(magic: [u8; 4]) -> bool {
        Self::variant(magic).is_some()
    }

    /// Byte order, nanoseconds per unit and possible lengths of a record's header, by magic number,
    /// the likeliest length first. The patches that changed the length did not all change the magic
    /// number, so Wireshark tries them in turn as well.
    fn variant(magic: [u8; 4]) -> Option<(bool, u64, &'static [usize])> {
        const ALL: &[usize] = &[USUAL, KUZNETZOV, NOKIA];
        const LONGER: &[usize] = &[KUZNETZOV, KUZNETZOV_CPU];
        Some(match u32::from_le_bytes(magic) {
            0xa1b2_c3d4 => (false, 1_000, ALL),
            0xd4c3_b2a1 => (true, 1_000, ALL),
            0xa1b2_3c4d => (false, 1, &[USUAL]),
            0x4d3c_b2a1 => (true, 1, &[USUAL]),
            0xa1b2_cd34 => (false, 1_000, LONGER),
            0x34cd_b2a1 => (true, 1_000, LONGER),
            _ => return None,
        })
    }

    /// Parses the file header at the start of `input`, and returns its length as well. The records
    /// after it, as far as they are available, show which variant it is.
    ///
    /// `Err(Step::Need)` if `input` is too short, `Err(Step::Corrupt)` if the file does not have
    /// this format.
    pub fn parse(input: &[u8]) -> Result<(Self, usize), Step<'static>> {
        let Some(header) = input.first_chunk::<FILE_HEADER>() else {
            return Err(Step::Need(FILE_HEADER));
        };
        let magic = [header[0], header[1], header[2], header[3]];
        let Some((swapped, unit, lengths)) = Self::variant(magic) else {
            return Err(Step::Corrupt("not a pcap file"));
        };
        let [.., link] = words(header.last_chunk().unwrap_or(&[0; 16]), swapped);
        let minor = [header[6], header[7]];
        let minor = if swapped {
            u16::from_be_bytes(minor)
        } else {
            u16::from_le_bytes(minor)
        };
        let mut pcap = Self {
            swapped,
            unit,
            record_header: lengths[0],
            // The upper bits say whether frames end with a check sequence; IP's own length excludes
            // that.
            link_type: LinkType(link as u16),
            old: minor <= 3,
        };
        let records = &input[FILE_HEADER..];
        if let Some(fitting) = lengths.iter().find(|length| {
            pcap.record_header = **length;
            pcap.fits(records)
        }) {
            pcap.record_header = *fitting;
        } else {
            pcap.record_header = lengths[0];
        }
        Ok((pcap, FILE_HEADER))
    }

    /// Seconds, sub-second units, bytes captured and bytes on the wire.
    fn record(&self, header: &[u8; 16]) -> [u32; 4] {
        let [seconds, fraction, captured, original] = words(header, self.swapped);
        if self.old && captured > original {
            return [seconds, fraction, original, captured];
        }
        [seconds, fraction, captured, original]
    }

    /// Whether the first records are plausible.
    fn fits(&self, mut records: &[u8]) -> bool {
        let mut before = None;
        for _ in 0..RECORDS_TRIED {
            let Some(header) = records.first_chunk() else {
                break;
            };
            let [seconds, fraction, captured, original] = self.record(header);
            let longest = captured.max(original) as usize;
            // A day between two packets is a lot, but some captures have that.
            let leaps = before.is_some_and(|before: u32| before.abs_diff(seconds) > 30 * 86_400);
            if u64::from(fraction) * self.unit >= 1_000_000_000 || longest > LIKELY || leaps {
                return false;
            }
            before = Some(seconds);
            let next = records.get(self.record_header + captured as usize..);
            records = next.unwrap_or_default();
        }
        true
    }

    /// The link type of the file's packets.
    pub fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// The record at the start of `input`.
    pub fn step<'a>(&self, input: &'a [u8]) -> Step<'a> {
        let Some(header) = input.first_chunk() else {
            return Step::Need(self.record_header);
        };
        let [seconds, fraction, captured, original] = self.record(header);
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
            // Some writers store an original length that is less than the captured one.
            original: captured.max(original as usize),
        };
        Step::Packet { consumed, packet }
    }
}

/// Four numbers, little-endian or, if `swapped`, big-endian.
fn words(bytes: &[u8; 16], swapped: bool) -> [u32; 4] {
    // All at once, which takes far fewer instructions than one by one.
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
        version(big_endian, magic, record_header, 4)
    }

    /// A file with one record, of version 2.`minor`.
    fn version(big_endian: bool, magic: u32, record_header: usize, minor: u16) -> Vec<u8> {
        let n = |v: u32| {
            if big_endian {
                v.to_be_bytes()
            } else {
                v.to_le_bytes()
            }
        };
        let mut f = Vec::new();
        f.extend(n(magic));
        let version = u32::from(minor) << 16 | 2;
        f.extend(n(if big_endian {
            version.rotate_left(16)
        } else {
            version
        }));
        f.extend([0; 8]);
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

    /// Several records of one variant, which the magic number alone does not determine.
    #[test]
    fn longer_record_headers_are_found_out() {
        for big_endian in [false, true] {
            for (magic, header) in [
                (0xa1b2_c3d4, USUAL),
                (0xa1b2_c3d4, NOKIA),
                (0xa1b2_c3d4, KUZNETZOV),
                (0xa1b2_cd34, KUZNETZOV),
                (0xa1b2_cd34, KUZNETZOV_CPU),
            ] {
                let mut bytes = file(big_endian, magic, header);
                // The additional header fields are usually not zero.
                let extra = FILE_HEADER + USUAL..FILE_HEADER + header;
                bytes[extra].fill(9);
                let record = bytes[FILE_HEADER..].to_vec();
                for _ in 0..3 {
                    bytes.extend(&record);
                }
                let (pcap, mut at) = Pcap::parse(&bytes).unwrap();
                assert_eq!(pcap.record_header, header, "{magic:x}");
                while at < bytes.len() {
                    let Step::Packet { consumed, packet } = pcap.step(&bytes[at..]) else {
                        panic!("no packet at {at}");
                    };
                    assert_eq!(packet.data, b"abc");
                    at += consumed;
                }
            }
        }
    }

    #[test]
    fn lengths_the_other_way_round() {
        for big_endian in [false, true] {
            let mut bytes = version(big_endian, 0xa1b2_c3d4, USUAL, 2);
            let (captured, original) = bytes[32..40].split_at_mut(4);
            captured.swap_with_slice(original);
            let (pcap, at) = Pcap::parse(&bytes).unwrap();
            let Step::Packet { packet, .. } = pcap.step(&bytes[at..]) else {
                panic!("no packet");
            };
            assert_eq!((packet.data, packet.original), (&b"abc"[..], 1_500));
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

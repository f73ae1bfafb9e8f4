//! The capture format of Solaris' snoop (RFC 1761): big-endian, with microseconds.

use super::{LinkType, MAX_BLOCK, Packet, Step};

/// Bytes of the file header, and of a record's.
const FILE_HEADER: usize = 16;
const RECORD_HEADER: usize = 24;

/// Information from the file header.
#[derive(Clone, Copy, Debug)]
pub struct Snoop {
    link_type: LinkType,
}

impl Snoop {
    /// Whether a file that begins with `magic` has this format.
    pub fn recognizes(magic: [u8; 4]) -> bool {
        magic == *b"snoo"
    }

    /// Parses the file header at the start of `input`, and returns its length as well.
    ///
    /// `Err(Step::Need)` if `input` is too short, `Err(Step::Corrupt)` if the file does not have
    /// this format.
    pub fn parse(input: &[u8]) -> Result<(Self, usize), Step<'static>> {
        let Some(header) = input.first_chunk::<FILE_HEADER>() else {
            return Err(Step::Need(FILE_HEADER));
        };
        if header[..8] != *b"snoop\0\0\0" {
            return Err(Step::Corrupt("not a snoop file"));
        }
        // The numbers of data link types are those of RFC 1761 §4 and of later systems.
        let link_type = match word(header, 12) {
            4 => LinkType::ETHERNET,
            9 | 25 => LinkType::PPP,
            26 => LinkType::RAW,
            // Unsupported; reported for each packet.
            other => LinkType(u16::try_from(other).map_or(u16::MAX, |n| n | 0x8000)),
        };
        Ok((Self { link_type }, FILE_HEADER))
    }

    /// The record at the start of `input`.
    pub fn step<'a>(&self, input: &'a [u8]) -> Step<'a> {
        let Some(header) = input.first_chunk::<RECORD_HEADER>() else {
            return Step::Need(RECORD_HEADER);
        };
        let (original, captured) = (word(header, 0) as usize, word(header, 4) as usize);
        let consumed = word(header, 8) as usize;
        if consumed > MAX_BLOCK {
            return Step::Corrupt("a packet claims more than 16 MiB");
        }
        if consumed < RECORD_HEADER || captured > consumed - RECORD_HEADER {
            return Step::Corrupt("a packet longer than its record");
        }
        let Some(record) = input.get(..consumed) else {
            return Step::Need(consumed);
        };
        let seconds = u64::from(word(header, 16));
        let packet = Packet {
            time: seconds * 1_000_000_000 + u64::from(word(header, 20)) * 1_000,
            link_type: self.link_type,
            data: &record[RECORD_HEADER..RECORD_HEADER + captured],
            original: original.max(captured),
        };
        Step::Packet { consumed, packet }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut f = b"snoop\0\0\0".to_vec();
        for n in [2_u32, 4] {
            f.extend(n.to_be_bytes());
        }
        for n in [1_500_u32, 3, 28, 0, 7, 5] {
            f.extend(n.to_be_bytes());
        }
        f.extend(b"abc\0");
        f
    }

    /// A record that ends before its own header would be read again forever.
    #[test]
    fn a_record_is_as_long_as_its_header_at_least() {
        let bytes = file();
        let (snoop, at) = Snoop::parse(&bytes).unwrap();
        for length in [0, 23] {
            let mut record = bytes[at..].to_vec();
            record[4..8].fill(0);
            record[8..12].copy_from_slice(&u32::to_be_bytes(length));
            assert!(matches!(snoop.step(&record), Step::Corrupt(_)), "{length}");
        }
    }

    #[test]
    fn a_record_with_its_padding() {
        let bytes = file();
        assert!(Snoop::recognizes(*bytes.first_chunk().unwrap()));
        let (snoop, at) = Snoop::parse(&bytes).unwrap();
        let Step::Packet { consumed, packet } = snoop.step(&bytes[at..]) else {
            panic!("no packet");
        };
        assert_eq!(at + consumed, bytes.len());
        assert_eq!(packet.time, 7_000_005_000);
        assert_eq!(packet.link_type, LinkType::ETHERNET);
        assert_eq!((packet.data, packet.original), (&b"abc"[..], 1_500));
    }

    #[test]
    fn every_truncation_asks_for_more() {
        let bytes = file();
        for end in 0..16 {
            assert!(matches!(Snoop::parse(&bytes[..end]), Err(Step::Need(16))));
        }
        let (snoop, at) = Snoop::parse(&bytes).unwrap();
        for end in at..bytes.len() {
            let Step::Need(n) = snoop.step(&bytes[at..end]) else {
                panic!("a packet from {end}")
            };
            assert!(n > end - at);
        }
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        for (field, value) in [(4, 5), (8, 0), (8, 23), (8, u32::MAX), (4, u32::MAX)] {
            let mut bytes = file();
            bytes[16 + field..20 + field].copy_from_slice(&u32::to_be_bytes(value));
            let (snoop, at) = Snoop::parse(&bytes).unwrap();
            assert!(
                matches!(snoop.step(&bytes[at..]), Step::Corrupt(_)),
                "{field}"
            );
        }
        assert!(matches!(Snoop::parse(&[0; 64]), Err(Step::Corrupt(_))));
    }
}

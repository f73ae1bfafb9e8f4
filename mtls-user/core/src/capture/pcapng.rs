//! The newer capture format (draft-ietf-opsawg-pcapng): blocks, several interfaces each with its
//! own clock resolution, several sections each with its own byte order.

use super::{LinkType, MAX_BLOCK, Packet, Step};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Interfaces per section; more means damage.
const MAX_INTERFACES: usize = 65_536;

/// The clock of an interface: how to convert its 64-bit time stamps to nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// Nanoseconds per unit.
    Multiply(u64),
    /// Units per nanosecond.
    Divide(u64),
    /// Units are seconds divided by two to this power.
    Binary(u32),
}

impl Clock {
    /// From option `if_tsresol`: the top bit chooses the base, the rest is a negative exponent.
    fn from_resolution(resolution: u8) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        if resolution & 0x80 != 0 {
            Self::Binary(exponent.min(63))
        } else if exponent <= 9 {
            Self::Multiply(10u64.pow(9 - exponent))
        } else {
            Self::Divide(10u64.checked_pow(exponent - 9).unwrap_or(u64::MAX))
        }
    }

    fn nanoseconds(self, units: u64) -> u64 {
        match self {
            Self::Multiply(by) => units.saturating_mul(by),
            Self::Divide(by) => units / by,
            Self::Binary(exponent) => {
                let scaled = (u128::from(units) * 1_000_000_000) >> exponent;
                u64::try_from(scaled).unwrap_or(u64::MAX)
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link_type: LinkType,
    snap_length: u32,
    clock: Clock,
    /// Option `if_tsoffset`, in nanoseconds.
    offset: i64,
}

/// State of a file's current section.
#[derive(Debug, Default)]
pub struct PcapNg {
    big_endian: bool,
    in_section: bool,
    interfaces: Vec<Interface>,
    /// Simple packets have no time; the last one seen is the best approximation.
    last_time: u64,
}

impl PcapNg {
    /// Whether a file that begins with `magic` has this format.
    pub fn recognizes(magic: [u8; 4]) -> bool {
        u32::from_le_bytes(magic) == SECTION_HEADER
    }

    /// The block at the start of `input`.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        let Some(head) = input.first_chunk::<12>() else {
            return Step::Need(12);
        };
        // The section header's type is the same in both byte orders; its body says which one
        // applies.
        if head[..4] == SECTION_HEADER.to_le_bytes() {
            let magic = [head[8], head[9], head[10], head[11]];
            match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
                (BYTE_ORDER_MAGIC, _) => self.big_endian = false,
                (_, BYTE_ORDER_MAGIC) => self.big_endian = true,
                _ => return Step::Corrupt("a section header without its byte-order magic"),
            }
            self.in_section = true;
            self.interfaces.clear();
        } else if !self.in_section {
            return Step::Corrupt("not a pcapng file");
        }
        let kind = self.u32(head, 0);
        let length = self.u32(head, 4) as usize;
        if length < 12 || !length.is_multiple_of(4) {
            return Step::Corrupt("a block with an impossible length");
        }
        if length > MAX_BLOCK {
            return Step::Corrupt("a block claims more than 16 MiB");
        }
        let Some(body) = input.get(8..length - 4) else {
            return Step::Need(length);
        };
        if input.len() < length {
            return Step::Need(length);
        }
        self.block(kind, body, length)
    }

    fn block<'a>(&mut self, kind: u32, body: &'a [u8], consumed: usize) -> Step<'a> {
        let (interface, units, header, captured, original) = match kind {
            INTERFACE => {
                if self.interfaces.len() >= MAX_INTERFACES {
                    return Step::Corrupt("more than 65,536 interfaces in one section");
                }
                self.interfaces.push(self.interface(body));
                return Step::Skip { consumed };
            }
            ENHANCED_PACKET => {
                let units = (u64::from(self.u32(body, 4)) << 32) | u64::from(self.u32(body, 8));
                (
                    self.u32(body, 0) as usize,
                    Some(units),
                    20,
                    self.u32(body, 12),
                    self.u32(body, 16),
                )
            }
            OBSOLETE_PACKET => {
                let units = (u64::from(self.u32(body, 4)) << 32) | u64::from(self.u32(body, 8));
                let interface = usize::from(self.u16(body, 0));
                (
                    interface,
                    Some(units),
                    20,
                    self.u32(body, 12),
                    self.u32(body, 16),
                )
            }
            SIMPLE_PACKET => {
                let original = self.u32(body, 0);
                let snap = self.interfaces.first().map_or(0, |i| i.snap_length);
                let room = body.len().saturating_sub(4) as u32;
                let snap = if snap == 0 { room } else { snap.min(room) };
                (0, None, 4, original.min(snap), original)
            }
            _ => return Step::Skip { consumed },
        };
        let Some(&Interface {
            link_type,
            clock,
            offset,
            ..
        }) = self.interfaces.get(interface)
        else {
            return Step::Corrupt("a packet of an interface that was never described");
        };
        let Some(data) = body
            .get(header..)
            .and_then(|rest| rest.get(..captured as usize))
        else {
            return Step::Corrupt("a packet longer than its block");
        };
        if let Some(units) = units {
            self.last_time = clock.nanoseconds(units).saturating_add_signed(offset);
        }
        let packet = Packet {
            time: self.last_time,
            link_type,
            data,
            original: original.max(captured) as usize,
        };
        Step::Packet { consumed, packet }
    }

    fn interface(&self, body: &[u8]) -> Interface {
        let mut interface = Interface {
            link_type: LinkType(self.u16(body, 0)),
            snap_length: self.u32(body, 4),
            clock: Clock::Multiply(1_000),
            offset: 0,
        };
        let mut options = body.get(8..).unwrap_or_default();
        while let Some(head) = options.first_chunk::<4>() {
            let (code, length) = (self.u16(head, 0), usize::from(self.u16(head, 2)));
            let Some(value) = options.get(4..4 + length) else {
                break;
            };
            match (code, value) {
                (0, _) => break,
                (9, [resolution, ..]) => interface.clock = Clock::from_resolution(*resolution),
                (14, [_, _, _, _, _, _, _, _]) => {
                    let raw: [u8; 8] = value.try_into().unwrap_or_default();
                    let seconds = if self.big_endian {
                        i64::from_be_bytes(raw)
                    } else {
                        i64::from_le_bytes(raw)
                    };
                    interface.offset = seconds.saturating_mul(1_000_000_000);
                }
                _ => {}
            }
            options = options
                .get(4 + length.next_multiple_of(4)..)
                .unwrap_or_default();
        }
        interface
    }

    /// The field at `at`; zero past the end, which the caller's length checks rule out where it
    /// matters.
    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        let raw = bytes
            .get(at..)
            .and_then(|b| b.first_chunk::<4>())
            .copied()
            .unwrap_or_default();
        if self.big_endian {
            u32::from_be_bytes(raw)
        } else {
            u32::from_le_bytes(raw)
        }
    }

    fn u16(&self, bytes: &[u8], at: usize) -> u16 {
        let raw = bytes
            .get(at..)
            .and_then(|b| b.first_chunk::<2>())
            .copied()
            .unwrap_or_default();
        if self.big_endian {
            u16::from_be_bytes(raw)
        } else {
            u16::from_le_bytes(raw)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Writer {
        big_endian: bool,
        out: Vec<u8>,
    }

    impl Writer {
        fn n32(&self, v: u32) -> [u8; 4] {
            if self.big_endian {
                v.to_be_bytes()
            } else {
                v.to_le_bytes()
            }
        }
        fn n16(&self, v: u16) -> [u8; 2] {
            if self.big_endian {
                v.to_be_bytes()
            } else {
                v.to_le_bytes()
            }
        }
        fn block(&mut self, kind: u32, body: &[u8]) {
            let padded = body.len().next_multiple_of(4);
            let length = self.n32(padded as u32 + 12);
            let kind = self.n32(kind);
            self.out.extend(kind);
            self.out.extend(length);
            self.out.extend(body);
            self.out.resize(self.out.len() + padded - body.len(), 0);
            self.out.extend(length);
        }
        fn section(&mut self) {
            let mut body = self.n32(BYTE_ORDER_MAGIC).to_vec();
            body.extend(self.n16(1));
            body.extend(self.n16(0));
            body.extend([0xff; 8]);
            self.block(SECTION_HEADER, &body);
        }
        fn interface(&mut self, link: u16, resolution: Option<u8>) {
            let mut body = self.n16(link).to_vec();
            body.extend([0; 6]);
            if let Some(resolution) = resolution {
                body.extend(self.n16(9));
                body.extend(self.n16(1));
                body.extend([resolution, 0, 0, 0]);
            }
            self.block(INTERFACE, &body);
        }
        fn packet(&mut self, interface: u32, units: u64, data: &[u8]) {
            let mut body = Vec::new();
            for v in [
                interface,
                (units >> 32) as u32,
                units as u32,
                data.len() as u32,
                1_500,
            ] {
                body.extend(self.n32(v));
            }
            body.extend(data);
            self.block(ENHANCED_PACKET, &body);
        }
    }

    fn packets(bytes: &[u8]) -> Vec<(u64, u16, Vec<u8>)> {
        let (mut reader, mut at, mut out) = (PcapNg::default(), 0, Vec::new());
        while at < bytes.len() {
            match reader.step(&bytes[at..]) {
                Step::Packet { consumed, packet } => {
                    out.push((packet.time, packet.link_type.0, packet.data.to_vec()));
                    at += consumed;
                }
                Step::Skip { consumed } => at += consumed,
                other => panic!("{other:?} at {at}"),
            }
        }
        out
    }

    #[test]
    fn several_sections_interfaces_and_clocks() {
        let mut w = Writer {
            big_endian: false,
            out: Vec::new(),
        };
        for big_endian in [false, true] {
            w.big_endian = big_endian;
            w.section();
            w.interface(1, None);
            w.interface(101, Some(9));
            w.interface(113, Some(0x80 | 1));
            w.packet(0, 5, b"a");
            w.packet(1, 5, b"bcdef");
            w.packet(2, 5, b"");
            w.block(0xbad, b"custom");
            w.block(
                SIMPLE_PACKET,
                &[w.n32(2).to_vec(), b"xyzw".to_vec()].concat(),
            );
        }
        let one = vec![
            (5_000, 1, b"a".to_vec()),
            (5, 101, b"bcdef".to_vec()),
            (2_500_000_000, 113, vec![]),
            (2_500_000_000, 1, b"xy".to_vec()),
        ];
        assert_eq!(packets(&w.out), [one.clone(), one].concat());
    }

    #[test]
    fn every_truncation_asks_for_more() {
        let mut w = Writer {
            big_endian: false,
            out: Vec::new(),
        };
        w.section();
        let first = w.out.len();
        w.interface(1, Some(6));
        let second = w.out.len();
        w.packet(0, 1, b"abc");
        for (from, to) in [(0, first), (first, second), (second, w.out.len())] {
            for end in from..to {
                let mut reader = PcapNg::default();
                let mut at = 0;
                while at < from {
                    let Step::Skip { consumed } = reader.step(&w.out[at..]) else {
                        panic!("{at}")
                    };
                    at += consumed;
                }
                let Step::Need(n) = reader.step(&w.out[from..end]) else {
                    panic!("{end}")
                };
                assert!(n > end - from);
            }
        }
    }

    #[test]
    fn damage_is_named_not_followed() {
        let mut w = Writer {
            big_endian: false,
            out: Vec::new(),
        };
        w.section();
        let start = w.out.len();
        w.packet(9, 1, b"abc");
        let mut reader = PcapNg::default();
        assert!(matches!(reader.step(&w.out), Step::Skip { .. }));
        assert!(matches!(reader.step(&w.out[start..]), Step::Corrupt(_)));
        let mut long = w.out[start..].to_vec();
        long[4..8].copy_from_slice(&0x7fff_fff0u32.to_le_bytes());
        assert!(matches!(reader.step(&long), Step::Corrupt(_)));
        assert!(matches!(PcapNg::default().step(&[0; 64]), Step::Corrupt(_)));
    }

    #[test]
    fn clocks_of_every_resolution() {
        assert_eq!(Clock::from_resolution(6).nanoseconds(3), 3_000);
        assert_eq!(Clock::from_resolution(0).nanoseconds(3), 3_000_000_000);
        assert_eq!(Clock::from_resolution(12).nanoseconds(3_000), 3);
        assert_eq!(
            Clock::from_resolution(0x80 | 32).nanoseconds(1 << 32),
            1_000_000_000
        );
        for resolution in 0..=255 {
            let _ = Clock::from_resolution(resolution).nanoseconds(u64::MAX);
        }
    }
}

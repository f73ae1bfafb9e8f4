//! A sample as the IP packets that a reader of captures expects: headers made anew, payload as it was.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use mtls_core::record::Sample;
use mtls_core::wire::TcpFlags;

/// Longest payload of one packet, so that its length fits its header.
const LONGEST: usize = 65_000;
const TCP: u8 = 6;
const UDP: u8 = 17;
const TTL: u8 = 64;
/// Don't fragment (RFC 791 §3.1).
const DONT_FRAGMENT: u16 = 0x4000;
/// IPv6, no traffic class, no flow label (RFC 8200 §3).
const VERSION_6: u32 = 6 << 28;
const WINDOW: u16 = 0xffff;

/// A packet, as far as it is kept.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    /// Its length on the wire.
    pub(super) length: u32,
}

/// The packets that stand for a sample of which these parts are kept. A part that follows what is not
/// kept has a packet of its own: positions in the stream stay as they were. Such a packet begins one
/// byte early, within a record that is encrypted, because its first record did not begin a segment,
/// and that matters (`mtls_core::classify::Piece::inside`). `before`: the byte before a sample of which that is true.
pub(super) fn packets(sample: &Sample, kept: &[Range<usize>], before: u8) -> Vec<Packet> {
    let whole = (sample.len as usize).max(sample.payload.len());
    if sample.udp {
        // A datagram is never several.
        let end = kept.first().map_or(0, |range| range.end);
        let udp = udp(sample, &sample.payload[..end], whole.min(LONGEST));
        return vec![udp];
    }
    // Where packets begin, and up to where each is kept.
    let mut begins = vec![(0, 0)];
    for range in kept {
        let (start, end) = (range.start, range.end);
        if start == 0 {
            begins[0].1 = end;
        } else {
            begins.push((start, end));
        }
    }
    // What precedes the first record is in clear, and no part of a record.
    let is_inside = |n: usize| n > 0 && (n > 1 || begins[0].1 > 0);
    let ends = (1..begins.len()).map(|n| begins[n].0 - usize::from(is_inside(n)));
    let ends: Vec<_> = ends.chain([whole]).collect();
    let byte = |at: usize| sample.payload.get(at).copied().unwrap_or_default();
    let mut cut = Vec::new();
    for (n, ((mut start, kept), end)) in begins.iter().copied().zip(ends).enumerate() {
        let mut early = start.checked_sub(1).filter(|_| is_inside(n));
        loop {
            let stop = end.min(start + LONGEST);
            cut.push((early.take().map(byte), start, kept.clamp(start, stop), stop));
            if stop >= end {
                break;
            }
            start = stop;
        }
    }
    if sample.inside && whole > 0 {
        cut[0].0 = Some(before);
    }
    let last = cut.len() - 1;
    let each = cut.into_iter().enumerate();
    each.map(|(n, (early, start, kept, stop))| {
        // SYN is in front of the bytes, FIN behind them.
        let mut flags = sample.flags;
        if n > 0 {
            flags &= !TcpFlags::SYN;
        }
        if n < last {
            flags &= !(TcpFlags::FIN | TcpFlags::RST);
        }
        let seq = sample.seq.wrapping_add(start as u32);
        let seq = seq.wrapping_sub(u32::from(early.is_some()));
        // Of what was not captured, nothing is kept.
        let bytes = sample.payload.get(start..kept).unwrap_or_default();
        let bytes: Vec<u8> = early.into_iter().chain(bytes.iter().copied()).collect();
        let length = stop - start + usize::from(early.is_some());
        tcp(sample, seq, &bytes, length, flags)
    })
    .collect()
}

fn tcp(sample: &Sample, seq: u32, kept: &[u8], length: usize, flags: u8) -> Packet {
    let mut header = Vec::with_capacity(20 + kept.len());
    header.extend(sample.src.port().to_be_bytes());
    header.extend(sample.dst.port().to_be_bytes());
    header.extend(seq.to_be_bytes());
    header.extend(sample.ack.to_be_bytes());
    header.extend([5 << 4, flags]);
    header.extend(WINDOW.to_be_bytes());
    header.extend([0; 4]);
    header.extend(kept);
    finish(sample, TCP, header, kept.len(), length, 16)
}

fn udp(sample: &Sample, kept: &[u8], length: usize) -> Packet {
    let mut header = Vec::with_capacity(8 + kept.len());
    header.extend(sample.src.port().to_be_bytes());
    header.extend(sample.dst.port().to_be_bytes());
    header.extend((8 + length as u16).to_be_bytes());
    header.extend([0; 2]);
    header.extend(kept);
    finish(sample, UDP, header, kept.len(), length, 6)
}

/// Puts IP around it; `sum_at`: where the checksum is. A sum is there only of what is kept in full:
/// of the rest, no reader can tell.
fn finish(
    sample: &Sample,
    protocol: u8,
    mut inner: Vec<u8>,
    kept: usize,
    length: usize,
    sum_at: usize,
) -> Packet {
    let inner_length = inner.len() - kept + length;
    if kept == length {
        let sum = checksum(sample.src, sample.dst, protocol, &inner);
        // RFC 768: a sum of zero is none.
        let sum = if protocol == UDP && sum == 0 {
            0xffff
        } else {
            sum
        };
        // What was wrong stays wrong, so that nobody takes it for what it is not.
        let sum = if sample.damaged { sum ^ 0x5555 } else { sum };
        inner[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let mut bytes = Vec::with_capacity(40 + inner.len());
    match (sample.src.ip(), sample.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            bytes.extend([0x45, 0]);
            bytes.extend((20 + inner_length as u16).to_be_bytes());
            bytes.extend([0; 2]);
            bytes.extend(DONT_FRAGMENT.to_be_bytes());
            bytes.extend([TTL, protocol, 0, 0]);
            bytes.extend(src.octets());
            bytes.extend(dst.octets());
            let sum = !folded(words(&bytes));
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (src, dst) => {
            bytes.extend(VERSION_6.to_be_bytes());
            bytes.extend((inner_length as u16).to_be_bytes());
            bytes.extend([protocol, TTL]);
            bytes.extend(octets(src));
            bytes.extend(octets(dst));
        }
    }
    let length = (bytes.len() + inner_length) as u32;
    bytes.append(&mut inner);
    Packet { bytes, length }
}

/// The address in 16 bytes, IPv4 mapped into them.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// RFC 9293 §3.1, with the pseudo-header of the IP that carries it. A mapped address has the sum of the
/// IPv4 one but for its prefix.
fn checksum(src: SocketAddr, dst: SocketAddr, protocol: u8, inner: &[u8]) -> u16 {
    let addresses = match (src.ip(), dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => words(&src.octets()) + words(&dst.octets()),
        (src, dst) => words(&octets(src)) + words(&octets(dst)),
    };
    !folded(addresses + u64::from(protocol) + inner.len() as u64 + words(inner))
}

fn words(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let whole: u64 = pairs
        .iter()
        .map(|pair| u64::from(u16::from_be_bytes(*pair)))
        .sum();
    whole + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

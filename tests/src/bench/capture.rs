//! Large captures made of small ones: the same handshakes between many clients and one server.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

const ETHERNET: usize = 14;
/// Link types of captures.
const LINK_ETHERNET: usize = 1;
const LINK_IP: usize = 101;
/// Of a frame with IPv4 between two invented stations.
const IPV4_HEADER: [u8; ETHERNET] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
const TCP: u8 = 6;
const SYN: u8 = 2;
const ACK: u8 = 16;
const FIN: u8 = 1;
const RST: u8 = 4;

/// One frame of a flow, and whether the client sent it.
#[derive(Clone)]
pub struct Frame {
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// The client sent it.
    pub client: bool,
}

impl Frame {
    /// It ends its sender's stream: FIN or RST is set.
    pub fn ends(&self) -> bool {
        self.bytes
            .get(ETHERNET + 33)
            .is_some_and(|flags| flags & (FIN | RST) != 0)
    }
}

/// The frames of a capture of one flow over IPv4, with or without Ethernet.
pub fn read(path: &Path) -> Result<Vec<Frame>> {
    let file = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let u32_at = |at: usize| {
        file.get(at..at + 4)
            .and_then(|b| b.first_chunk())
            .map(|b| u32::from_le_bytes(*b) as usize)
    };
    ensure!(
        matches!(u32_at(0), Some(0xa1b2_c3d4 | 0xa1b2_3c4d)),
        "{} is no pcap file of this machine's byte order",
        path.display()
    );
    let link: &[u8] = match u32_at(20) {
        Some(LINK_ETHERNET) => &[],
        Some(LINK_IP) => &IPV4_HEADER,
        other => bail!("{} has link type {other:?}", path.display()),
    };
    let mut frames: Vec<Frame> = Vec::new();
    let mut at = 24;
    let mut client = None;
    while let Some(length) = u32_at(at + 8) {
        let captured = file
            .get(at + 16..at + 16 + length)
            .context("the capture breaks off")?;
        let bytes = [link, captured].concat();
        at += 16 + length;
        let source = bytes
            .get(ETHERNET + 12..ETHERNET + 16)
            .context("a short frame")?
            .to_vec();
        let client = client.get_or_insert_with(|| source.clone());
        frames.push(Frame {
            client: source == *client,
            bytes,
        });
    }
    ensure!(!frames.is_empty(), "{} has no packets", path.display());
    Ok(frames)
}

/// A flow of plaintext HTTP: one request, one response.
pub fn http() -> Vec<Frame> {
    let request = b"GET /orders?id=7 HTTP/1.1\r\nhost: web.shop\r\nuser-agent: bench\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let (r, s) = (request.len() as u32, response.len() as u32);
    vec![
        frame(true, 0, 0, SYN, b""),
        frame(false, 0, 1, SYN | ACK, b""),
        frame(true, 1, 1, ACK, b""),
        frame(true, 1, 1, ACK, request),
        frame(false, 1, 1 + r, ACK, response),
        frame(true, 1 + r, 1 + s, ACK | FIN, b""),
        frame(false, 1 + s, 2 + r, ACK | FIN, b""),
        frame(true, 2 + r, 2 + s, ACK, b""),
    ]
}

/// A connection that was opened, without data.
pub fn idle() -> Vec<Frame> {
    vec![
        frame(true, 0, 0, SYN, b""),
        frame(false, 0, 1, SYN | ACK, b""),
        frame(true, 1, 1, ACK, b""),
    ]
}

/// The frames of a flow without those that end it.
pub fn without_end(frames: &[Frame]) -> Vec<Frame> {
    frames
        .iter()
        .filter(|frame| !frame.ends())
        .cloned()
        .collect()
}

/// TCP over IPv4 over Ethernet between 10.0.0.1:40000 and 10.9.9.9:443, with zero checksums.
pub fn frame(client: bool, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Frame {
    let (near, far) = (
        (Ipv4Addr::new(10, 0, 0, 1), 40_000_u16),
        (Ipv4Addr::new(10, 9, 9, 9), 443),
    );
    let (from, to) = if client { (near, far) } else { (far, near) };
    let mut bytes = IPV4_HEADER.to_vec();
    let total = 40 + payload.len() as u16;
    bytes.extend([0x45, 0]);
    bytes.extend(total.to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    bytes.extend(from.0.octets());
    bytes.extend(to.0.octets());
    bytes.extend(from.1.to_be_bytes());
    bytes.extend(to.1.to_be_bytes());
    bytes.extend(seq.wrapping_add(1_000).to_be_bytes());
    bytes.extend(ack.wrapping_add(1_000).to_be_bytes());
    bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(payload);
    Frame { bytes, client }
}

/// A capture being written.
pub struct Writer {
    out: BufWriter<File>,
    time: u64,
    bytes: u64,
}

impl Writer {
    /// Begins a capture at `path`.
    pub fn new(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        out.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0])?;
        Ok(Self {
            out,
            time: 0,
            bytes: 24,
        })
    }

    /// Writes a frame one microsecond after the one before.
    pub fn frame(&mut self, bytes: &[u8]) -> Result<()> {
        self.time += 1;
        let length = bytes.len() as u32;
        let fields = [
            1_700_000_000 + (self.time / 1_000_000) as u32,
            (self.time % 1_000_000) as u32,
            length,
            length,
        ];
        for field in fields {
            self.out.write_all(&field.to_le_bytes())?;
        }
        self.out.write_all(bytes)?;
        self.bytes += 16 + u64::from(length);
        Ok(())
    }

    /// Copies of a flow, each with its own client derived from its number, 64 of them interleaved
    /// at a time.
    pub fn copies(&mut self, frames: &[Frame], numbers: Range<u32>) -> Result<()> {
        let mut first = numbers.start;
        let mut own = Vec::new();
        while first < numbers.end {
            let last = (first + 64).min(numbers.end);
            for frame in frames {
                for copy in first..last {
                    own.clone_from(&frame.bytes);
                    set_apart(&mut own, frame.client, copy);
                    self.frame(&own)?;
                }
            }
            first = last;
        }
        Ok(())
    }

    /// Its size in bytes.
    pub fn finish(mut self) -> Result<u64> {
        self.out.flush()?;
        Ok(self.bytes)
    }
}

/// Gives the client's end an address and a port that only this copy has, and both ends of TCP their
/// own initial sequence numbers: equal ones would make two copies the halves of one connection.
fn set_apart(frame: &mut [u8], client: bool, copy: u32) {
    let [_, a, b, c] = (copy / 50_000 + 1).to_be_bytes();
    let port = ((copy % 50_000) as u16 + 10_000).to_be_bytes();
    let (ip_at, port_at) = if client { (12, 20) } else { (16, 22) };
    // Odd multipliers: no two copies get the same number.
    let (near, far) = (
        copy.wrapping_mul(0x9e37_79b1),
        copy.wrapping_mul(0x85eb_ca6b),
    );
    let (seq, ack) = if client { (near, far) } else { (far, near) };
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(to) = frame.get_mut(ETHERNET + at..ETHERNET + at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    };
    put(ip_at, &[10, a, b, c]);
    put(port_at, &port);
    if frame.get(ETHERNET + 9) != Some(&TCP) {
        return;
    }
    for (at, shift) in [(24, seq), (28, ack)] {
        let number = frame
            .get(ETHERNET + at..)
            .and_then(|bytes| bytes.first_chunk())
            .map(|bytes| u32::from_be_bytes(*bytes));
        if let Some(number) = number {
            let to = ETHERNET + at;
            frame[to..to + 4].copy_from_slice(&number.wrapping_add(shift).to_be_bytes());
        }
    }
}

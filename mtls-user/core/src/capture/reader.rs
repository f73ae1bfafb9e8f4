//! Reads a capture from a file or standard input, plain or compressed, with bounded memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};

use super::pcap::Pcap;
use super::pcapng::PcapNg;
use super::snoop::Snoop;
use super::{MAX_BLOCK, Packet, Step};

/// Bytes read at a time: few enough that they are still cached when they are parsed.
const CHUNK: usize = 1 << 18;

/// Bytes inspected to detect the format.
const HEAD: usize = 1 << 12;

/// How reading a capture ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Packets read.
    pub packets: u64,
    /// Why nothing could be read after some point: the file was truncated or is damaged.
    pub damage: Option<String>,
}

enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
    Snoop(Snoop),
}

impl Format {
    fn step<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        match self {
            Self::Pcap(pcap) => pcap.step(input),
            Self::PcapNg(pcapng) => pcapng.step(input),
            Self::Snoop(snoop) => snoop.step(input),
        }
    }
}

/// A readable capture.
pub struct Capture {
    input: Box<dyn Read>,
    size: Option<u64>,
    consumed: Arc<AtomicU64>,
}

impl Capture {
    /// Opens the file at `path`; `-` is standard input.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            return Self::new(io::stdin(), None).context("read standard input");
        }
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("open {shown}"))?;
        let meta = file.metadata().with_context(|| format!("open {shown}"))?;
        if meta.is_dir() {
            bail!("{shown} is a directory: name the capture files in it");
        }
        let size = meta.is_file().then_some(meta.len());
        Self::new(file, size).with_context(|| format!("read {shown}"))
    }

    /// Reads from `input`, whose expected size is `size` if that is known.
    pub fn new(input: impl Read + 'static, size: Option<u64>) -> anyhow::Result<Self> {
        let consumed = Arc::new(AtomicU64::new(0));
        let mut input = Counted {
            inner: input,
            consumed: consumed.clone(),
        };
        let mut magic = [0; 4];
        let filled = fill(&mut input, &mut magic)?;
        let head = io::Cursor::new(magic[..filled].to_vec());
        let whole = head.chain(input);
        let input: Box<dyn Read> = match magic {
            [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
            [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(whole)?),
            _ => Box::new(whole),
        };
        Ok(Self {
            input,
            size,
            consumed,
        })
    }

    /// Size of the file, if it is one.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Reads every packet; `progress` receives how much of the file has been read.
    ///
    /// For a truncated capture, the packets before the end are still read, and the [`Summary`] says
    /// so. An error means that the file is not a capture or cannot be read.
    pub fn read(
        mut self,
        mut progress: impl FnMut(u64),
        mut each: impl FnMut(&Packet<'_>),
    ) -> anyhow::Result<Summary> {
        let mut buffer = Buffer::default();
        // The first records distinguish variants of a format.
        buffer.fill(&mut self.input, HEAD)?;
        let magic = buffer
            .unread()
            .first_chunk::<4>()
            .copied()
            .context("the file is empty, or too short to be a capture")?;
        let head = buffer.unread();
        let parsed = if Pcap::recognizes(magic) {
            Pcap::parse(head).map(|(pcap, header)| (Format::Pcap(pcap), header))
        } else if Snoop::recognizes(magic) {
            Snoop::parse(head).map(|(snoop, header)| (Format::Snoop(snoop), header))
        } else if PcapNg::recognizes(magic) {
            Ok((Format::PcapNg(PcapNg::default()), 0))
        } else if matches!(magic[0], b'{' | b'[') {
            bail!(
                "it is JSON and no capture: `mtls classify` and `mtls record` read packets, and other verbs (--from) answers that were saved"
            );
        } else {
            bail!(
                "not a capture file (pcap, pcapng or snoop, plain or compressed with gzip or zstd): it begins with the bytes {}",
                magic.map(|byte| format!("{byte:02x}")).join(" ")
            );
        };
        let (mut format, header) = match parsed {
            Ok(parsed) => parsed,
            Err(Step::Corrupt(why)) => bail!("{why}"),
            Err(_) => bail!("the capture breaks off in its file header"),
        };
        let left = buffer.unread().len() - header;
        buffer.keep(left);
        let mut summary = Summary::default();
        loop {
            let mut unread = buffer.unread();
            let needed = loop {
                let consumed = match format.step(unread) {
                    Step::Packet { consumed, packet } => {
                        summary.packets += 1;
                        each(&packet);
                        consumed
                    }
                    Step::Skip { consumed } => consumed,
                    Step::Corrupt(why) => {
                        summary.damage = Some(format!("after {} packets: {why}", summary.packets));
                        return Ok(summary);
                    }
                    Step::Need(bytes) => break bytes,
                };
                unread = unread.get(consumed..).unwrap_or_default();
            };
            let left = unread.len();
            buffer.keep(left);
            // What the formats request is bounded; this guards against bugs in them.
            let needed = needed.clamp(left + 1, MAX_BLOCK * 2);
            progress(self.consumed.load(Ordering::Relaxed));
            let why = match buffer.fill(&mut self.input, needed) {
                Ok(true) => continue,
                Ok(false) if left == 0 => return Ok(summary),
                Ok(false) => "the capture breaks off in the middle of one".to_owned(),
                // Compressed data that is truncated or damaged.
                Err(error) => error.to_string(),
            };
            summary.damage = Some(format!("after {} packets: {why}", summary.packets));
            return Ok(summary);
        }
    }
}

/// Bytes that were read but not used yet.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// All but the last `left` bytes have been used.
    fn keep(&mut self, left: usize) {
        self.start = self.end - left.min(self.end - self.start);
    }

    /// Reads until `wanted` bytes are available; false if the input ends before.
    fn fill(&mut self, input: &mut dyn Read, wanted: usize) -> io::Result<bool> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let size = wanted.max(CHUNK);
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        }
        while self.end < wanted {
            let n = match input.read(&mut self.bytes[self.end..]) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if n == 0 {
                return Ok(false);
            }
            self.end += n;
        }
        Ok(true)
    }
}

/// Counts the bytes read.
struct Counted<R> {
    inner: R,
    consumed: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.consumed.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

fn fill(input: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match input.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn pcap(packets: u32) -> Vec<u8> {
        let mut f = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        f.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0]);
        f.extend(101_u32.to_le_bytes());
        for n in 0..packets {
            for field in [n, 0, 40_000, 40_000] {
                f.extend(u32::to_le_bytes(field));
            }
            f.extend(vec![n as u8; 40_000]);
        }
        f
    }

    fn read(bytes: Vec<u8>) -> anyhow::Result<(Summary, Vec<u64>)> {
        let mut times = Vec::new();
        let capture = Capture::new(io::Cursor::new(bytes), None)?;
        let summary = capture.read(
            |_| {},
            |packet| {
                assert!(
                    packet
                        .data
                        .iter()
                        .all(|b| u64::from(*b) == packet.time / 1_000_000_000)
                );
                times.push(packet.time / 1_000_000_000);
            },
        )?;
        Ok((summary, times))
    }

    #[test]
    fn plain_and_compressed_files_read_alike() {
        let plain = pcap(100);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        for bytes in [plain, gzip.finish().unwrap(), zstd] {
            let (summary, times) = read(bytes).unwrap();
            assert_eq!(summary.damage, None);
            assert_eq!(times, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_capture_that_breaks_off_gives_what_came_before() {
        let mut cut = pcap(3);
        cut.truncate(cut.len() - 1);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&pcap(3)).unwrap();
        let mut gzip = gzip.finish().unwrap();
        gzip.truncate(gzip.len() - 40);
        let (summary, times) = read(cut).unwrap();
        assert_eq!(times.len(), 2);
        assert!(summary.damage.unwrap().contains("breaks off"));
        let (summary, _) = read(gzip).unwrap();
        assert!(summary.damage.is_some());
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        for bytes in [vec![], vec![0xa1], b"GIF89a and so on".to_vec()] {
            assert!(read(bytes).is_err());
        }
    }
}

//! The file: pcapng (<https://ietf-opsawg-wg.github.io/draft-ietf-opsawg-pcap/draft-ietf-opsawg-pcapng.html>).

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use mtls_core::record::Time;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::name_resolution::{
    Ipv4Record, Ipv6Record, NameResolutionBlock, Record,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, PcapError};

use super::packet::Packet;

/// Times are in nanoseconds: 10 to the power of minus 9.
const NANOSECONDS: u8 = 9;

/// Packets with names and comments.
pub(super) struct File<W: Write> {
    writer: PcapNgWriter<Counted<W>>,
    /// Indexes of the node's interfaces, each where the file has it.
    links: Vec<u32>,
    named: HashSet<(IpAddr, String)>,
}

impl<W: Write> File<W> {
    pub(super) fn new(out: W, comment: String) -> io::Result<Self> {
        let section = SectionHeaderBlock {
            options: vec![
                SectionHeaderOption::Comment(Cow::Owned(comment)),
                SectionHeaderOption::UserApplication(Cow::Borrowed(concat!(
                    "mtls ",
                    env!("CARGO_PKG_VERSION")
                ))),
            ],
            ..SectionHeaderBlock::default()
        };
        let out = Counted { out, written: 0 };
        Ok(Self {
            writer: PcapNgWriter::with_section_header(out, section).map_err(failed)?,
            links: Vec::new(),
            named: HashSet::new(),
        })
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.writer.get_ref().written
    }

    /// Says who an address belongs to, once.
    pub(super) fn name(&mut self, ip: IpAddr, name: &str) -> io::Result<()> {
        if !self.named.insert((ip, name.into())) {
            return Ok(());
        }
        let names = vec![Cow::Owned(name.to_owned())];
        let record = match ip {
            IpAddr::V4(ip) => Record::Ipv4(Ipv4Record {
                ip_addr: Cow::Owned(ip.octets().into()),
                names,
            }),
            IpAddr::V6(ip) => Record::Ipv6(Ipv6Record {
                ip_addr: Cow::Owned(ip.octets().into()),
                names,
            }),
        };
        let block = NameResolutionBlock {
            records: vec![record],
            options: Vec::new(),
        };
        self.block(block)
    }

    /// A packet seen on the interface of this index, with a comment where there is one.
    pub(super) fn packet(
        &mut self,
        link: u32,
        time: Time,
        packet: &Packet,
        comment: Option<&str>,
    ) -> io::Result<()> {
        let place = self.links.iter().position(|own| *own == link);
        let place = match place {
            Some(place) => place,
            None => self.interface(link)?,
        };
        let options = comment.map(|text| EnhancedPacketOption::Comment(Cow::Borrowed(text)));
        let block = EnhancedPacketBlock {
            interface_id: place as u32,
            timestamp: Duration::from_nanos(time.as_nanos()),
            original_len: packet.length,
            data: Cow::Borrowed(&packet.bytes),
            options: options.into_iter().collect(),
        };
        self.block(block)
    }

    /// Describes an interface; where the file has it.
    fn interface(&mut self, link: u32) -> io::Result<usize> {
        let name = if link == 0 {
            "capture".to_owned()
        } else {
            format!("interface {link}")
        };
        self.block(InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(name)),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        })?;
        self.links.push(link);
        Ok(self.links.len() - 1)
    }

    fn block<'a>(&mut self, block: impl PcapNgBlock<'a>) -> io::Result<()> {
        self.writer.write_pcapng_block(block).map_err(failed)?;
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<u64> {
        let mut out = self.writer.into_inner();
        out.flush()?;
        Ok(out.written)
    }
}

fn failed(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        error => io::Error::other(error),
    }
}

/// Counts what is written.
struct Counted<W> {
    out: W,
    written: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

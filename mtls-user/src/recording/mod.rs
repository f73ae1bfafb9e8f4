//! Samples of connections as a file that Wireshark opens, with who they are of, what they are and how
//! that is known. `mtls classify` says the same of the file as was said of the connections, as far as
//! their payload is in it.

mod file;
mod packet;
mod redact;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::SocketAddr;

use mtls_core::escape::escape;
use mtls_core::record::{Event, FlowRecord, Peer, Sample, Transport, Word};

use crate::output::end_path;
use crate::select::Filter;

/// Longest comment, in bytes.
const COMMENT: usize = 4_096;
/// Samples that wait for what is said of their connection: so many bytes of them, and so many of one
/// connection. Beyond it those that have waited longest are left out.
const HELD: usize = 64 << 20;
const HELD_OF_ONE: usize = 1 << 20;
/// What a sample takes beside its payload.
const OVERHEAD: usize = 128;

/// How much is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections.
    pub(crate) flows: u64,
    /// Bytes of the file; the connection that goes beyond it is the last.
    pub(crate) bytes: u64,
    /// Payload of what is in clear, too.
    pub(crate) payload: bool,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Summary {
    /// Connections that were written.
    pub(crate) flows: u64,
    /// Packets.
    pub(crate) packets: u64,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Connections of which no sample was there: they began before the recording.
    pub(crate) without_samples: u64,
    /// Samples that were left out, as there were too many to hold.
    pub(crate) left_out: u64,
}

/// Both ends of what was sampled, in a fixed order.
type Pair = (bool, SocketAddr, SocketAddr);

#[derive(Default)]
struct Pending {
    samples: Vec<Sample>,
    held: usize,
    /// When its first sample came, counted in samples.
    since: u64,
}

/// Writes the connections that are asked for.
pub(crate) struct Recorder<W: Write> {
    file: file::File<W>,
    filter: Filter,
    limits: Limits,
    pending: HashMap<Pair, Pending>,
    /// Connections that are asked for and still open, with the last that was said of them.
    open: HashMap<u64, FlowRecord>,
    written: HashSet<u64>,
    held: usize,
    count: u64,
    summary: Summary,
}

fn pair(udp: bool, a: SocketAddr, b: SocketAddr) -> Pair {
    (udp, a.min(b), a.max(b))
}

impl<W: Write> Recorder<W> {
    pub(crate) fn new(out: W, filter: Filter, limits: Limits) -> io::Result<Self> {
        let what = if limits.payload {
            "of TLS the handshakes; what is in clear, with its payload"
        } else {
            "of TLS the handshakes; no payload of what is in clear"
        };
        Ok(Self {
            file: file::File::new(out, format!("recorded by mtls: {what}"))?,
            filter,
            limits,
            pending: HashMap::new(),
            open: HashMap::new(),
            written: HashSet::new(),
            held: 0,
            count: 0,
            summary: Summary::default(),
        })
    }

    /// Takes a sample, which waits for what is said of its connection.
    pub(crate) fn sample(&mut self, sample: Sample) {
        self.count += 1;
        let size = OVERHEAD + sample.payload.len();
        let own = self.pending.entry(pair(sample.udp, sample.src, sample.dst));
        let own = own.or_insert_with(|| Pending {
            since: self.count,
            ..Pending::default()
        });
        if own.held + size > HELD_OF_ONE {
            self.summary.left_out += 1;
            return;
        }
        own.samples.push(sample);
        own.held += size;
        self.held += size;
        if self.held > HELD {
            self.forget();
        }
    }

    /// Leaves out the half that has waited longest.
    fn forget(&mut self) {
        let mut ages: Vec<_> = self.pending.values().map(|own| own.since).collect();
        ages.sort_unstable();
        let middle = ages[ages.len() / 2];
        let (held, summary) = (&mut self.held, &mut self.summary);
        self.pending.retain(|_, own| {
            let stays = own.since > middle;
            if !stays {
                *held -= own.held;
                summary.left_out += own.samples.len() as u64;
            }
            stays
        });
    }

    /// Takes what is said of a connection; false when that was the last that is wanted.
    pub(crate) fn flow(&mut self, flow: &FlowRecord) -> io::Result<bool> {
        let is_over = flow
            .event
            .as_ref()
            .is_none_or(|event| *event == Event::Closed);
        let wanted = self.filter.takes(flow, flow.last_seen);
        match flow.connection {
            Some(number) if !is_over => {
                if wanted {
                    self.open.insert(number, flow.clone());
                } else {
                    self.open.remove(&number);
                }
            }
            number => {
                if let Some(number) = number {
                    self.open.remove(&number);
                }
                let samples = self.take(flow);
                if wanted {
                    self.write(flow, &samples)?;
                }
            }
        }
        // Those that are open are written at the end.
        let all = self.summary.flows + self.open.len() as u64;
        Ok(all < self.limits.flows && self.file.written() < self.limits.bytes)
    }

    /// The samples of a connection, in the order in which they came.
    fn take(&mut self, flow: &FlowRecord) -> Vec<Sample> {
        let udp = matches!(flow.transport, Word::Known(Transport::Udp));
        let address = |peer: &Peer| Some(SocketAddr::new(peer.ip?, peer.port?));
        let ends = address(&flow.src).zip(address(&flow.dst));
        let through = address(&flow.src).zip(flow.service);
        let halves = flow.halves.iter().map(|ends| (ends.src, ends.dst));
        let mut samples = Vec::new();
        for (a, b) in ends.into_iter().chain(through).chain(halves) {
            if let Some(own) = self.pending.remove(&pair(udp, a, b)) {
                self.held -= own.held;
                samples.extend(own.samples);
            }
        }
        samples.sort_by_key(|sample| sample.time);
        samples
    }

    fn write(&mut self, flow: &FlowRecord, samples: &[Sample]) -> io::Result<()> {
        // What comes after a connection was written (its end) belongs to it.
        let is_new = flow
            .connection
            .is_none_or(|number| self.written.insert(number));
        if samples.is_empty() {
            self.summary.without_samples += u64::from(is_new);
            return Ok(());
        }
        self.summary.flows += u64::from(is_new);
        for peer in [&flow.src, &flow.dst] {
            if let (Some(ip), Some(_)) = (peer.ip, &peer.workload) {
                self.file.name(ip, &escape(&end_path(peer), COMMENT))?;
            }
        }
        let mut comment = Some(comment(flow));
        let kept = redact::kept(flow, samples, self.limits.payload);
        for (n, sample) in samples.iter().enumerate() {
            let before = byte_before(sample, &samples[..n]);
            for packet in packet::packets(sample, &kept[n], before) {
                let comment = comment.take();
                self.file
                    .packet(sample.link, sample.time, &packet, comment.as_deref())?;
                self.summary.packets += 1;
            }
        }
        Ok(())
    }

    /// Writes those that are still open, and ends the file.
    pub(crate) fn finish(mut self) -> io::Result<Summary> {
        let mut open: Vec<_> = std::mem::take(&mut self.open).into_values().collect();
        open.sort_by_key(|flow| flow.first_seen);
        for flow in open {
            if self.file.written() >= self.limits.bytes {
                break;
            }
            let samples = self.take(&flow);
            self.write(&flow, &samples)?;
        }
        self.summary.bytes = self.file.finish()?;
        Ok(self.summary)
    }
}

/// Who, what, and how that is known.
fn comment(flow: &FlowRecord) -> String {
    // Writing to a String cannot fail.
    let mut text = format!("{} to ", end_path(&flow.src));
    let server = end_path(&flow.dst);
    let _ = match flow.dst.port {
        // An address of IPv6 has colons of its own.
        Some(port) if server.contains(':') => write!(text, "[{server}]:{port}"),
        Some(port) => write!(text, "{server}:{port}"),
        None => write!(text, "{server}"),
    };
    let _ = write!(text, ": {}", flow.verdict);
    if let Some(evidence) = &flow.evidence {
        let _ = write!(text, " (evidence: {evidence})");
    }
    let _ = write!(text, "; {}; {}", flow.protocol, flow.reason);
    if let Some(id) = &flow.id {
        let _ = write!(text, "; id {id}");
    }
    for note in &flow.notes {
        let _ = write!(text, "; {note}");
    }
    escape(&text, COMMENT).into_owned()
}

/// The byte before a sample, if the previous one of that side ends there.
fn byte_before(sample: &Sample, previous: &[Sample]) -> u8 {
    let last = previous.iter().rfind(|other| other.src == sample.src);
    last.filter(|other| {
        let end = other.seq.wrapping_add(other.payload.len() as u32);
        sample.inside && end == sample.seq
    })
    .and_then(|other| other.payload.last().copied())
    .unwrap_or_default()
}

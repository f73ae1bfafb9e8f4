//! One capture's flows, and when each verdict was reached.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use mtls_core::capture::{Capture, Decoded, Decoder};
use mtls_core::classify::Finding;
use mtls_core::flow::{Event, FlowTable, Limits, View};
use mtls_core::wire::Segment;
use mtls_core::wire::tls::{ContentType, RecordHeader};

/// How much of a flow had been seen.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Payload bytes of both sides.
    pub(crate) bytes: u64,
    /// Nanoseconds since the flow's first packet.
    pub(crate) time: u64,
}

/// A flow.
pub(crate) struct Flow {
    pub(crate) finding: Finding,
    /// When it was decided; none if only its end decided it.
    pub(crate) decided: Option<Seen>,
    /// When the client's first encrypted record began, which used to decide TLS 1.3 alone.
    pub(crate) first_record: Option<Seen>,
}

/// Counters for a flow in progress, by its client's port.
#[derive(Default)]
struct Count {
    seen: Seen,
    start: Option<u64>,
    client: Client,
    decided: Option<Seen>,
    first_record: Option<Seen>,
}

/// The client's stream, as far as it arrived in order.
#[derive(Default)]
struct Client {
    next: Option<u32>,
    stream: Vec<u8>,
    at: usize,
}

impl Client {
    /// Adds a segment; true if it completes the first encrypted record's header.
    fn add(&mut self, segment: &Segment<'_>) -> bool {
        let next = *self.next.get_or_insert(segment.seq);
        if segment.flags.syn() {
            self.next = Some(segment.seq.wrapping_add(1));
            return false;
        }
        if segment.seq != next || segment.payload.is_empty() {
            return false;
        }
        self.next = Some(next.wrapping_add(segment.len));
        self.stream.extend_from_slice(segment.payload);
        while let Some(Ok(header)) = RecordHeader::at(self.stream.get(self.at..).unwrap_or(&[])) {
            self.at += header.size() as usize;
            if header.content == ContentType::ApplicationData {
                self.at = usize::MAX;
                return true;
            }
        }
        false
    }
}

/// The flows of a capture in the order in which they began.
pub(crate) fn read(path: &Path) -> Result<Vec<Flow>> {
    let mut counts: BTreeMap<u16, Count> = BTreeMap::new();
    let mut flows = Vec::new();
    let mut table = FlowTable::new(Limits::default());
    let mut decoder = Decoder::default();
    let mut closed = |event, view: View<'_>| {
        if event == Event::Closed {
            let (client, _) = view.ends();
            flows.push((view.first_seen(), client.port, view.finding()));
        }
    };
    Capture::open(path)?.read(
        |_| {},
        |packet| {
            let Some(Decoded::Segment(segment)) = decoder.decode(packet) else {
                return;
            };
            let ports = [segment.src.port, segment.dst.port];
            let from_client =
                counts.contains_key(&ports[0]) || segment.flags.syn() && !segment.flags.ack();
            let count = counts
                .entry(if from_client { ports[0] } else { ports[1] })
                .or_default();
            let start = *count.start.get_or_insert(segment.time);
            count.seen.bytes += u64::from(segment.len);
            count.seen.time = segment.time.saturating_sub(start);
            if from_client && count.client.add(&segment) {
                count.first_record = Some(count.seen);
            }
            let mut sink = |event, view: View<'_>| {
                if event == Event::Classified {
                    count.decided.get_or_insert(count.seen);
                }
                closed(event, view);
            };
            table.observe(&segment, &mut sink);
        },
    )?;
    table.drain(&mut closed);
    flows.sort_by_key(|(first_seen, ..)| *first_seen);
    let flow = |(_, port, finding)| {
        let count: Count = counts.remove(&port).unwrap_or_default();
        let (decided, first_record) = (count.decided, count.first_record);
        Flow {
            finding,
            decided,
            first_record,
        }
    };
    Ok(flows.into_iter().map(flow).collect())
}

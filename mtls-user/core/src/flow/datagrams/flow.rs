//! One UDP flow: its state, and how it is reported.

use smallvec::SmallVec;
use smol_str::{SmolStr, format_smolstr};

use crate::classify::{DatagramClassifier, Side};
use crate::flow::peers::End;
use crate::flow::{Handle, unread};
use crate::record::{
    Bytes, Ends, FlowRecord, Origin, Peer, Reporter, Time, Transport, Unseen, Verdict,
};
use crate::wire::quic::ConnectionId;
use crate::wire::{Datagram, Direction, Endpoint};

/// Interfaces remembered per flow.
const LINKS: usize = 4;
/// Notes about a flow that is not what it seems.
const SPOOFED: &str = "spoofed: seen at a different interface than the flow with these addresses and ports; it may be forged";
/// Datagrams remembered per flow, to recognise the same one at another interface.
const RECENT: usize = 16;

/// The state of one UDP flow.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) serial: u64,
    pub(super) ends: [Endpoint; 2],
    pub(super) client_end: End,
    pub(super) origin: Origin,
    pub(super) classifier: DatagramClassifier,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Payload bytes of the client and the server.
    bytes: [u64; 2],
    links: SmallVec<[u32; 2]>,
    crossing: Direction,
    /// Whether it was seen at the interface of the client's pod, and of the server's.
    seen_at: [bool; 2],
    pub(super) reported: Option<Verdict>,
    pub(super) opened: bool,
    /// Datagrams seen.
    pub(super) seen: u64,
    /// Memory that it holds while it is undecided, in units of
    /// [`UNIT`](crate::flow::budget::UNIT), as last accounted for.
    pub(super) held: u16,
    /// The kernel takes no more samples of it until its next recheck.
    pub(super) is_paused: bool,
    pub(super) missing: Option<Unseen>,
    sampled: bool,
    /// The connection ID under which it can be found.
    pub(super) id: Option<ConnectionId>,
    /// Earlier addresses of its client.
    pub(super) moved: SmallVec<[Endpoint; 0]>,
    /// The interface that sends datagrams with forged addresses of its ends; zero for a flow that
    /// is what it seems.
    pub(super) apart: u32,
    /// Fingerprints of the latest datagrams of a sampled flow.
    recent: SmallVec<[u64; 4]>,
}

impl Flow {
    pub(super) fn new(
        serial: u64,
        datagram: &Datagram<'_>,
        ends: [Endpoint; 2],
        sender: End,
        apart: u32,
    ) -> Self {
        Self {
            serial,
            ends,
            // The first sender is taken for the client; the content may show otherwise.
            client_end: sender,
            origin: Origin::Midstream,
            classifier: DatagramClassifier::new(),
            first: datagram.time,
            last: datagram.time,
            bytes: [0; 2],
            links: SmallVec::new(),
            crossing: Direction::Unknown,
            seen_at: [false; 2],
            reported: None,
            opened: false,
            seen: 0,
            held: 0,
            is_paused: false,
            missing: None,
            sampled: datagram.link != 0,
            id: None,
            moved: SmallVec::new(),
            apart,
            recent: SmallVec::new(),
        }
    }

    pub(super) fn client(&self) -> Endpoint {
        self.ends[self.client_end as usize]
    }

    pub(super) fn server(&self) -> Endpoint {
        self.ends[self.client_end.other() as usize]
    }

    /// The client and the server, as shown by the content.
    pub(super) fn parties(&self) -> (Endpoint, Endpoint) {
        if self.classifier.client_is_server() {
            (self.server(), self.client())
        } else {
            (self.client(), self.server())
        }
    }

    /// Both sides have sent something.
    pub(super) fn is_answered(&self) -> bool {
        self.bytes.iter().all(|bytes| *bytes > 0)
    }

    /// Whether something of it was not seen.
    pub(super) fn miss(&mut self, what: Unseen) {
        self.missing.get_or_insert(what);
    }

    pub(super) fn side_of(&self, sender: End) -> Side {
        if sender == self.client_end {
            Side::Client
        } else {
            Side::Server
        }
    }

    /// The addresses of both ends, the smaller first.
    pub(super) fn addresses(&self) -> [[u8; 16]; 2] {
        let [a, b] = &self.ends;
        unread::in_order(a.ip, b.ip)
    }

    pub(super) fn is_on(&self, link: u32) -> bool {
        self.links.contains(&link)
    }

    /// Notes where and when a datagram of `side` was seen.
    pub(super) fn note(&mut self, side: Side, datagram: &Datagram<'_>, print: u64) {
        self.first = self.first.min(datagram.time);
        self.last = self.last.max(datagram.time);
        self.seen += 1;
        self.is_paused |= datagram.paused;
        if datagram.lost {
            self.miss(Unseen::Samples);
        }
        self.bytes[side as usize] += u64::from(datagram.len);
        if datagram.link != 0 {
            if self.links.len() < LINKS && !self.links.contains(&datagram.link) {
                self.links.push(datagram.link);
            }
            if self.recent.len() == RECENT {
                self.recent.remove(0);
            }
            self.recent.push(print);
        }
        // A packet that a pod sends leaves its interface.
        match datagram.direction {
            Direction::Egress => self.seen_at[side.index()] = true,
            Direction::Ingress => self.seen_at[side.other().index()] = true,
            Direction::Unknown => {}
        }
        if self.crossing == Direction::Unknown {
            self.crossing = match (side, datagram.direction) {
                (Side::Client, direction) => direction,
                (Side::Server, Direction::Egress) => Direction::Ingress,
                (Side::Server, Direction::Ingress) => Direction::Egress,
                (Side::Server, Direction::Unknown) => Direction::Unknown,
            };
        }
    }

    /// The datagram with this fingerprint was already seen at another interface. It is from `side`,
    /// which is now known to be behind both.
    pub(super) fn is_copy(
        &mut self,
        side: Side,
        datagram: &Datagram<'_>,
        prints: [u64; 2],
    ) -> bool {
        let known = prints.iter().any(|print| self.recent.contains(print));
        if known {
            match datagram.direction {
                Direction::Egress => self.seen_at[side.index()] = true,
                Direction::Ingress => self.seen_at[side.other().index()] = true,
                Direction::Unknown => {}
            }
        }
        known
    }
}

/// A UDP flow as it is reported.
#[derive(Clone, Copy, Debug)]
pub struct DatagramView<'a> {
    slot: u32,
    flow: &'a Flow,
}

impl<'a> DatagramView<'a> {
    pub(super) fn new(slot: u32, flow: &'a Flow) -> Self {
        Self { slot, flow }
    }

    /// The handle with which [`DatagramTable::look_up`](super::DatagramTable::look_up) finds it
    /// again.
    pub fn handle(&self) -> Handle {
        Handle {
            slot: self.slot,
            serial: self.flow.serial,
        }
    }

    /// Its number in [`FlowRecord::connection`]: odd, whereas those of TCP are even.
    pub fn number(&self) -> u64 {
        self.flow.serial << 1 | 1
    }

    /// Its verdict and details.
    pub fn verdict(&self) -> Verdict {
        self.flow.classifier.verdict()
    }

    /// The client and the server.
    pub fn ends(&self) -> (Endpoint, Endpoint) {
        self.flow.parties()
    }

    /// Nanoseconds since the Unix epoch of the first datagram.
    pub fn first_seen(&self) -> u64 {
        self.flow.first
    }

    /// The record that is printed and streamed.
    pub fn record(&self) -> FlowRecord {
        let flow = self.flow;
        let mut finding = flow.classifier.finding();
        let (client, server) = self.ends();
        let (first, second) = if flow.classifier.client_is_server() {
            (1, 0)
        } else {
            (0, 1)
        };
        if let Some(before) = flow.moved.last() {
            let times = flow.moved.len();
            finding.notes.push(format!(
                "migrated: the client's address changed {times} time(s), last from {before}"
            ));
        }
        if flow.apart != 0 {
            finding.notes.push(SPOOFED.to_owned());
        }
        // For a sampled flow, not every datagram is counted.
        let bytes = |n: u64| (!flow.sampled).then_some(n);
        FlowRecord {
            connection: Some(self.number()),
            transport: Transport::Udp.into(),
            reporter: Reporter::of(flow.seen_at[first], flow.seen_at[second]),
            id: flow.id.map(|id| hexadecimal(&id)),
            src: peer(client),
            dst: peer(server),
            verdict: finding.verdict.into(),
            evidence: finding.evidence.map(Into::into),
            cause: finding.cause.into(),
            reason: finding.reason,
            protocol: SmolStr::new_static(finding.protocol),
            origin: flow.origin.into(),
            lost: flow.missing == Some(Unseen::Samples),
            unseen: flow.missing.map(Into::into).into_iter().collect(),
            tls: finding.tls,
            http: finding.http,
            bytes: Bytes {
                client: bytes(flow.bytes[first]),
                server: bytes(flow.bytes[second]),
            },
            first_seen: Time::from_nanos(flow.first),
            last_seen: Time::from_nanos(flow.last),
            links: flow.links.to_vec(),
            halves: flow
                .moved
                .iter()
                .map(|before| Ends {
                    src: (*before).into(),
                    dst: server.into(),
                })
                .collect(),
            notes: finding.notes,
            ..FlowRecord::default()
        }
    }
}

fn hexadecimal(id: &ConnectionId) -> SmolStr {
    format_smolstr!("{id:?}")
}

fn peer(end: Endpoint) -> Peer {
    Peer {
        ip: Some(end.ip()),
        port: Some(end.port),
        workload: None,
    }
}

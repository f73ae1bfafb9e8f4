//! Flows of datagrams: what is sent between two addresses and ports, until both are quiet.
//!
//! UDP has no end to see, so a flow ends when it was idle for a while. A QUIC connection whose
//! client goes on from another address is the same flow where its connection ID shows that.

use std::collections::VecDeque;

use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;
use smol_str::{SmolStr, format_smolstr};

use super::api::Limits;
use super::peers::{End, Peers};
use super::slots::{Hash, Hashed};
use crate::classify::{Context, DatagramClassifier, Gram, Progress, Sessions, Side};
use crate::record::{
    Bytes, Event, FlowRecord, FlowStats, Origin, Peer, Reporter, Time, Transport, Verdict,
};
use crate::wire::quic::ConnectionId;
use crate::wire::{Datagram, Direction, Endpoint};

/// Interfaces of one flow that are remembered.
const LINKS: usize = 4;
/// Addresses from which one connection is followed; after that, it is another flow.
const MOVES: usize = 8;
/// The shortest connection ID that is believed to be a connection's own, in bytes: two of 2^32
/// IDs are alike by chance.
const ID: usize = 4;
/// Flows that are looked at for one that can go when the table is full.
const LOOKS: usize = 8;

/// What is known of one flow of datagrams.
#[derive(Debug)]
struct Flow {
    serial: u64,
    ends: [Endpoint; 2],
    client_end: End,
    origin: Origin,
    classifier: DatagramClassifier,
    first: u64,
    last: u64,
    /// Payload bytes, the client's and the server's.
    bytes: [u64; 2],
    links: SmallVec<[u32; 2]>,
    crossing: Direction,
    /// It was seen at the interface of the client's pod, and of the server's.
    seen_at: [bool; 2],
    reported: Option<Verdict>,
    opened: bool,
    lost: bool,
    sampled: bool,
    /// The connection ID that it is found by.
    id: Option<ConnectionId>,
    /// Where its client was before.
    moved: SmallVec<[Endpoint; 0]>,
}

impl Flow {
    fn client(&self) -> Endpoint {
        self.ends[self.client_end as usize]
    }

    fn server(&self) -> Endpoint {
        self.ends[self.client_end.other() as usize]
    }
}

/// Every flow of datagrams that is known now.
#[derive(Debug)]
pub struct DatagramTable {
    limits: Limits,
    flows: Slab<Flow>,
    by_peers: HashTable<Hashed>,
    by_id: HashTable<Hashed>,
    /// Lengths that connection IDs in `by_id` have had, as a set of bits.
    id_lengths: u32,
    /// By when they were last known to be in use: in order, but not up to date.
    queue: VecDeque<(u64, u32, u64)>,
    hasher: foldhash::fast::RandomState,
    sessions: Sessions,
    serial: u64,
    stats: FlowStats,
}

/// A flow of datagrams, as it is told.
#[derive(Clone, Copy, Debug)]
pub struct DatagramView<'a>(&'a Flow);

impl DatagramTable {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            flows: Slab::new(),
            by_peers: HashTable::new(),
            by_id: HashTable::new(),
            id_lengths: 0,
            queue: VecDeque::new(),
            hasher: foldhash::fast::RandomState::default(),
            sessions: Sessions::new(limits.sessions, limits.inherit),
            serial: 0,
            stats: FlowStats::default(),
        }
    }

    /// Takes in one datagram, and tells `sink` what it changed.
    pub fn observe(
        &mut self,
        datagram: &Datagram<'_>,
        sink: &mut impl FnMut(Event, DatagramView<'_>),
    ) {
        let (peers, sender) = Peers::of(&datagram.src, &datagram.dst);
        let hash = Hash::of(&self.hasher, peers);
        let found = self
            .by_peers
            .find(hash.spread(), |it| {
                it.hash == hash && Peers::again(&self.flows[it.slot as usize].ends) == peers
            })
            .map(|it| it.slot);
        // What was quiet for so long is over, even if nobody has looked since.
        let idle = self.limits.idle_datagrams.as_nanos() as u64;
        let found = found.filter(|at| {
            let last = self.flows[*at as usize].last;
            let over = datagram.time.saturating_sub(last) > idle;
            if over {
                self.close(*at, sink);
            }
            !over
        });
        let at = match found.or_else(|| self.migrated(datagram, peers, hash)) {
            Some(at) => at,
            None => self.open_flow(datagram, peers, sender, hash, sink),
        };
        self.feed(at, sender, datagram, sink);
    }

    fn open_flow(
        &mut self,
        datagram: &Datagram<'_>,
        peers: Peers<'_>,
        sender: End,
        hash: Hash,
        sink: &mut impl FnMut(Event, DatagramView<'_>),
    ) -> u32 {
        self.make_room(sink);
        self.serial += 1;
        let at = self.flows.insert(Flow {
            serial: self.serial,
            ends: peers.to_owned(),
            // Who speaks first asks; what is said shows it where that is not so.
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
            lost: false,
            sampled: datagram.link != 0,
            id: None,
            moved: SmallVec::new(),
        }) as u32;
        self.by_peers
            .insert_unique(hash.spread(), Hashed { hash, slot: at }, |it| {
                it.hash.spread()
            });
        self.queue.push_back((datagram.time, at, self.serial));
        at
    }

    fn feed(
        &mut self,
        at: u32,
        sender: End,
        datagram: &Datagram<'_>,
        sink: &mut impl FnMut(Event, DatagramView<'_>),
    ) {
        let Some(flow) = self.flows.get_mut(at as usize) else {
            return;
        };
        let side = if sender == flow.client_end {
            Side::Client
        } else {
            Side::Server
        };
        flow.first = flow.first.min(datagram.time);
        flow.last = flow.last.max(datagram.time);
        flow.lost |= datagram.lost;
        flow.bytes[side as usize] += u64::from(datagram.len);
        if datagram.link != 0 && flow.links.len() < LINKS && !flow.links.contains(&datagram.link) {
            flow.links.push(datagram.link);
        }
        // What a pod sends leaves its interface.
        match datagram.direction {
            Direction::Egress => flow.seen_at[side.index()] = true,
            Direction::Ingress => flow.seen_at[side.other().index()] = true,
            Direction::Unknown => {}
        }
        if flow.crossing == Direction::Unknown {
            flow.crossing = match (side, datagram.direction) {
                (Side::Client, direction) => direction,
                (Side::Server, Direction::Egress) => Direction::Ingress,
                (Side::Server, Direction::Ingress) => Direction::Egress,
                (Side::Server, Direction::Unknown) => Direction::Unknown,
            };
        }
        let mut context = Context {
            client: flow.client(),
            server: flow.server(),
            sessions: &mut self.sessions,
        };
        let gram = Gram {
            bytes: datagram.payload,
            len: datagram.len as usize,
            time: datagram.time,
        };
        let progress = flow.classifier.datagram(side, gram, &mut context);
        if flow.classifier.is_from_start() && !datagram.midstream {
            flow.origin = Origin::Syn;
        }
        if !flow.opened {
            flow.opened = true;
            self.stats.seen += 1;
            sink(Event::Opened, DatagramView(flow));
        }
        if progress == Progress::Changed {
            let verdict = flow.classifier.verdict();
            let event = match flow.reported {
                None => Event::Classified,
                Some(old) if old == verdict => Event::Updated,
                Some(_) => Event::Revised,
            };
            self.stats.classified += u64::from(flow.reported.is_none());
            flow.reported = Some(verdict);
            sink(event, DatagramView(flow));
        }
        if flow.id.is_none() {
            self.identify(at);
        }
    }

    /// Makes a flow be found by its connection ID as well.
    fn identify(&mut self, at: u32) {
        let flow = &mut self.flows[at as usize];
        let Some(id) = flow
            .classifier
            .connection_id()
            .filter(|id| id.as_slice().len() >= ID)
        else {
            return;
        };
        flow.id = Some(id);
        self.id_lengths |= 1 << id.as_slice().len();
        let hash = Hash::of(&self.hasher, id);
        let hashed = Hashed { hash, slot: at };
        self.by_id
            .insert_unique(hash.spread(), hashed, |it| it.hash.spread());
    }

    /// The connection that goes on with `datagram`, from an address that its client had not before.
    fn migrated(&mut self, datagram: &Datagram<'_>, peers: Peers<'_>, new: Hash) -> Option<u32> {
        // A short header: a connection does not move before its handshake is confirmed (RFC 9000 §9).
        let id = match datagram.payload {
            [first, id @ ..] if first & 0x80 == 0 && self.id_lengths != 0 => id,
            _ => return None,
        };
        let at = (ID..=20).find_map(|n| {
            if self.id_lengths & 1 << n == 0 {
                return None;
            }
            let id = ConnectionId::new(id.get(..n)?)?;
            let hash = Hash::of(&self.hasher, id);
            self.by_id
                .find(hash.spread(), |it| {
                    it.hash == hash && self.flows[it.slot as usize].id == Some(id)
                })
                .map(|it| it.slot)
        })?;
        let flow = &self.flows[at as usize];
        let (client, server) = view(flow).ends();
        // Only a client moves, and to a flow of its own.
        if server != datagram.dst || flow.moved.len() == MOVES {
            return None;
        }
        let old = Hash::of(&self.hasher, Peers::again(&flow.ends));
        if let Ok(entry) = self.by_peers.find_entry(old.spread(), |it| it.slot == at) {
            entry.remove();
        }
        let flow = &mut self.flows[at as usize];
        flow.moved.push(client);
        let swapped = flow.classifier.client_is_server();
        let (_, sender) = Peers::of(&datagram.src, &datagram.dst);
        flow.ends = peers.to_owned();
        flow.client_end = if swapped { sender.other() } else { sender };
        self.by_peers.insert_unique(
            new.spread(),
            Hashed {
                hash: new,
                slot: at,
            },
            |it| it.hash.spread(),
        );
        self.stats.joined += 1;
        Some(at)
    }

    /// Forgets a flow when the table is full.
    fn make_room(&mut self, sink: &mut impl FnMut(Event, DatagramView<'_>)) {
        for look in 0.. {
            if self.flows.len() < self.limits.flows.max(1) {
                return;
            }
            let Some((since, at, serial)) = self.queue.pop_front() else {
                return;
            };
            let Some(flow) = self.flows.get(at as usize).filter(|f| f.serial == serial) else {
                continue;
            };
            if flow.last > since && look < LOOKS {
                self.queue.push_back((flow.last, at, serial));
            } else {
                self.stats.evicted += 1;
                self.close(at, sink);
            }
        }
    }

    /// Settles what can be settled, tells of it, and forgets it.
    fn close(&mut self, at: u32, sink: &mut impl FnMut(Event, DatagramView<'_>)) {
        let Some(flow) = self.flows.get_mut(at as usize) else {
            return;
        };
        let mut context = Context {
            client: flow.client(),
            server: flow.server(),
            sessions: &mut self.sessions,
        };
        flow.classifier.finish(flow.lost, &mut context);
        if flow.reported.is_none() {
            if flow.classifier.finding().evidence.is_some() {
                self.stats.classified += 1;
            } else {
                self.stats.undecided += 1;
            }
        }
        sink(Event::Closed, DatagramView(flow));
        let flow = self.flows.remove(at as usize);
        let by_peers = Hash::of(&self.hasher, Peers::again(&flow.ends));
        if let Ok(entry) = self
            .by_peers
            .find_entry(by_peers.spread(), |it| it.slot == at)
        {
            entry.remove();
        }
        if let Some(id) = flow.id
            && let Ok(entry) = self
                .by_id
                .find_entry(Hash::of(&self.hasher, id).spread(), |it| it.slot == at)
        {
            entry.remove();
        }
    }

    /// Samples were lost on the way from the kernel: what is missing of any flow proves nothing.
    pub fn lost(&mut self) {
        for (_, flow) in &mut self.flows {
            flow.lost = true;
        }
    }

    /// Closes what was quiet too long. `now` in nanoseconds since the Unix epoch.
    pub fn expire(&mut self, now: u64, sink: &mut impl FnMut(Event, DatagramView<'_>)) {
        let idle = self.limits.idle_datagrams.as_nanos() as u64;
        while let Some(&(since, at, serial)) = self.queue.front()
            && now.saturating_sub(since) > idle
        {
            self.queue.pop_front();
            let Some(flow) = self.flows.get(at as usize).filter(|f| f.serial == serial) else {
                continue;
            };
            if now.saturating_sub(flow.last) > idle {
                self.close(at, sink);
            } else {
                self.queue.push_back((flow.last, at, serial));
            }
        }
    }

    /// Closes everything: the end of a capture, or of the daemon.
    pub fn drain(&mut self, sink: &mut impl FnMut(Event, DatagramView<'_>)) {
        let mut all: Vec<_> = self
            .flows
            .iter()
            .map(|(at, flow)| (flow.serial, at as u32))
            .collect();
        all.sort_unstable();
        for (_, at) in all {
            self.close(at, sink);
        }
        self.queue.clear();
    }

    /// Every flow that is not over.
    pub fn open(&self) -> impl Iterator<Item = DatagramView<'_>> {
        self.flows.iter().map(|(_, flow)| DatagramView(flow))
    }

    /// Sizes and counts.
    pub fn stats(&self) -> FlowStats {
        FlowStats {
            tracked: self.flows.len(),
            ..self.stats
        }
    }
}

fn view(flow: &Flow) -> DatagramView<'_> {
    DatagramView(flow)
}

impl DatagramView<'_> {
    /// A number of its own for as long as the table lives.
    pub fn serial(&self) -> u64 {
        self.0.serial
    }

    /// What it is.
    pub fn verdict(&self) -> Verdict {
        self.0.classifier.verdict()
    }

    /// The client and the server.
    pub fn ends(&self) -> (Endpoint, Endpoint) {
        if self.0.classifier.client_is_server() {
            (self.0.server(), self.0.client())
        } else {
            (self.0.client(), self.0.server())
        }
    }

    /// Nanoseconds since the Unix epoch of the first datagram.
    pub fn first_seen(&self) -> u64 {
        self.0.first
    }

    /// The line that is printed and streamed.
    pub fn record(&self) -> FlowRecord {
        let flow = self.0;
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
        // Of a sampled flow, not every datagram is counted.
        let bytes = |n: u64| (!flow.sampled).then_some(n);
        FlowRecord {
            connection: Some(flow.serial << 1 | 1),
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
            lost: flow.lost,
            tls: finding.tls,
            http: finding.http,
            bytes: Bytes {
                client: bytes(flow.bytes[first]),
                server: bytes(flow.bytes[second]),
            },
            first_seen: Time::from_nanos(flow.first),
            last_seen: Time::from_nanos(flow.last),
            links: flow.links.to_vec(),
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

//! All current connections.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::api::Limits;
use super::budget::Budget;
use super::fit::{Apart, Fit};
use super::peers::{End, Peers};
use super::place::Placed;
use super::slots::{Hash, Hashed, Slots};
use super::state::{Flow, NOTE_OTHER_NUMBERS, NOTE_REOPENED, NOTE_SPOOFED, Queue};
use super::view::{Handle, View};
use crate::classify::{Classifier, Context, Piece, Progress, Sessions, Side};
use crate::record::{Event, FlowStats, Origin, Unseen};
use crate::wire::segment::Sum;
use crate::wire::{Checksum, Endpoint, Segment};

/// 2^30 nanoseconds are about a second.
const SECOND: u32 = 30;
/// How long segments that the other side sent before a RST may still arrive after it, in
/// nanoseconds.
pub(super) const GRACE: u64 = 1_000_000_000;
/// Servers remembered, by a hash of their address and port.
const SERVERS: usize = 4_096;

/// All current connections.
#[derive(Debug)]
pub struct FlowTable {
    pub(super) limits: Limits,
    pub(super) slots: Slots,
    /// The memory of undecided connections.
    pub(super) budget: Budget,
    pub(super) hasher: RandomState,
    /// By both initial sequence numbers: the first half for which both are known.
    pub(super) pairs: HashTable<Hashed>,
    /// Pairs of addresses with unread packets, and when that was last reported.
    pub(super) hidden: HashMap<[[u8; 16]; 2], (Unseen, u64)>,
    pub(super) sessions: Sessions,
    /// Servers that have accepted connections recently: shows which side of a midstream connection
    /// is the server.
    servers: Vec<u32>,
    serial: u64,
    pub(super) stats: FlowStats,
}

impl FlowTable {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: Slots::default(),
            budget: Budget::new(limits.undecided),
            hasher: RandomState::default(),
            pairs: HashTable::new(),
            sessions: Sessions::new(limits.sessions, limits.inherit),
            hidden: HashMap::new(),
            servers: Vec::new(),
            serial: 0,
            stats: FlowStats::default(),
        }
    }

    /// Processes one segment, and reports changes to `sink`.
    pub fn observe(&mut self, segment: &Segment<'_>, sink: &mut impl FnMut(Event, View<'_>)) {
        self.route(segment, 0, sink);
    }

    /// Processes a segment of the connection between its ends, or of the separate one for `apart`.
    fn route(&mut self, segment: &Segment<'_>, apart: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        let (peers, sender) = Peers::of(&segment.src, &segment.dst);
        let hash = self.hash(peers, apart);
        let mut isn = None;
        let mut reopens = false;
        if let Some(at) = self.slots.find(hash, peers, apart) {
            let flow = &self.slots[at];
            let side = flow.side_of(sender);
            match flow.fits(side, segment) {
                Fit::Belongs => {
                    self.take(at, side, segment, sink);
                    return self.bound(at, sink);
                }
                Fit::Beside(beside) if apart == 0 => {
                    if segment.foreign {
                        // The kernel did not see it where its sender is known, and it may be
                        // genuine.
                        self.slots[at].miss(Unseen::Samples);
                    }
                    self.stats.spoofed += u64::from(matches!(beside, Apart::Link(_)));
                    return self.route(segment, beside.key(), sink);
                }
                Fit::Stray => {
                    if flow.is_at_home(side, segment) {
                        self.stats.stray += 1;
                    } else {
                        self.stats.spoofed += 1;
                    }
                    return;
                }
                Fit::Begins(number) => isn = number,
                Fit::Reopens => reopens = true,
                Fit::Beside(_) => {}
            }
            if segment.sum() == Sum::Wrong {
                self.stats.damaged += 1;
                return;
            }
            self.close(at, sink);
            self.remove(at, sink);
        }
        if !segment.flags.syn() && segment.len == 0 {
            self.stats.stray += 1;
            return;
        }
        if segment.foreign && apart == 0 {
            self.stats.spoofed += 1;
            return self.route(segment, Apart::Link(segment.link).key(), sink);
        }
        self.make_room(sink);
        self.serial += 1;
        let mut flow = Flow::new(
            self.serial,
            segment,
            peers,
            sender,
            self.server_of(segment, sender),
        );
        let side = flow.side_of(sender);
        if let Some(isn) = isn {
            flow.begin(side, isn);
        }
        if reopens {
            flow.origin = Origin::Midstream;
            flow.classifier = Classifier::new(Origin::Midstream);
            flow.notes |= NOTE_REOPENED;
            self.stats.reopened += 1;
        }
        flow.apart = apart;
        flow.notes |= match apart {
            0 => 0,
            u32::MAX => NOTE_OTHER_NUMBERS,
            _ => NOTE_SPOOFED,
        };
        if let Some(what) = self.is_hidden(&flow) {
            flow.miss(what);
        }
        let at = self.slots.insert(hash, flow);
        self.take(at, side, segment, sink);
        self.bound(at, sink);
    }

    pub(super) fn hash(&self, peers: Peers<'_>, apart: u32) -> Hash {
        if apart == 0 {
            Hash::of(&self.hasher, peers)
        } else {
            Hash::of(&self.hasher, (peers, apart))
        }
    }

    /// The end that has accepted connections recently, if exactly one of them has.
    fn server_of(&self, segment: &Segment<'_>, sender: End) -> Option<End> {
        if self.servers.is_empty() || segment.flags.syn() {
            return None;
        }
        let accepts = |end: &Endpoint| {
            let hash = self.hasher_of(end);
            self.servers[hash as usize % SERVERS] == hash
        };
        match (accepts(&segment.src), accepts(&segment.dst)) {
            (true, false) => Some(sender),
            (false, true) => Some(sender.other()),
            _ => None,
        }
    }

    fn hasher_of(&self, end: &Endpoint) -> u32 {
        use std::hash::BuildHasher;
        self.hasher.hash_one(end) as u32 | 1
    }

    fn note_server(&mut self, server: Endpoint) {
        if self.servers.is_empty() {
            self.servers = vec![0; SERVERS];
        }
        let hash = self.hasher_of(&server);
        self.servers[hash as usize % SERVERS] = hash;
    }

    /// Processes a segment of the flow at `at`.
    fn take(
        &mut self,
        at: u32,
        side: Side,
        segment: &Segment<'_>,
        sink: &mut impl FnMut(Event, View<'_>),
    ) {
        // Order to within a second is enough, so that a busy flow is not moved for every segment.
        if (self.slots[at].last ^ segment.time) >> SECOND != 0 {
            self.slots.touch(at);
        }
        let flow = &mut self.slots[at];
        let flags = segment.flags;
        if segment.checksum == Checksum::Wrong {
            self.stats.damaged += 1;
            return;
        }
        let ends = flags.fin() || flags.rst();
        let matters = !flow.classifier.is_done() && segment.len > 0 || flags.syn() || ends;
        // Once the flow is decided, a wrong checksum can only make it look worse.
        if matters && flow.is_damaged(side, segment.sum()) {
            self.stats.damaged += 1;
            return;
        }
        if flags.rst() {
            return self.reset(at, side, segment, sink);
        }
        if flow.queue != Queue::Open && (segment.len > 0 || flags.syn()) {
            self.resume(at, side, segment);
        }
        let placed = self.slots[at].place(side, segment);
        if !self.slots[at].paired {
            if flags.syn() && flags.ack() {
                let server = self.slots[at].server();
                self.note_server(server);
            }
            self.join(at);
        }
        self.announce(at, placed.len > 0, sink);
        // Most segments only acknowledge.
        if placed.len > 0 || flags.fin() {
            self.feed(at, side, &placed, segment, sink);
        }
    }

    /// Reports that a connection is open, once.
    fn announce(&mut self, at: u32, carries: bool, sink: &mut impl FnMut(Event, View<'_>)) {
        let flow = &mut self.slots[at];
        if !flow.opened && (carries || flow.isns().is_some()) {
            flow.opened = true;
            if !flow.secondary {
                self.stats.seen += 1;
                self.tell(at, Event::Opened, sink);
            }
        }
    }

    fn feed(
        &mut self,
        at: u32,
        side: Side,
        placed: &Placed<'_>,
        segment: &Segment<'_>,
        sink: &mut impl FnMut(Event, View<'_>),
    ) {
        if placed.len > 0 {
            self.compare(at, side, placed, sink);
        }
        let flow = &mut self.slots[at];
        let (client, server) = (flow.client(), flow.server());
        let mut context = Context {
            client,
            server,
            sessions: &mut self.sessions,
        };
        let mut progress = Progress::NeedMore;
        if placed.len > 0 {
            let piece = Piece {
                offset: placed.offset,
                len: placed.len,
                bytes: placed.bytes,
                ack: placed.ack,
                time: segment.time,
                inside: segment.inside,
            };
            progress = flow.classifier.segment(side, piece, &mut context);
        }
        if segment.flags.fin() && flow.stream(side).fin() {
            let end = placed.offset + u64::from(placed.len);
            progress = either(
                progress,
                flow.classifier.fin(side, end, placed.ack, &mut context),
            );
        }
        if flow.classifier.is_done() && flow.partner().is_none() {
            flow.forget_content();
        }
        if progress == Progress::Changed {
            self.report(at, sink);
        }
        let flow = &mut self.slots[at];
        if flow.is_finished() {
            flow.ended = true;
            self.close(at, sink);
        } else if segment.flags.fin() && flow.queue == Queue::Open && !flow.is_heard(side.other()) {
            // The other side's end will not be seen.
            self.slots.enqueue(at, Queue::Doubtful);
        }
    }

    /// A RST: if the receiver accepted it, the connection has ended, unless it continues.
    fn reset(
        &mut self,
        at: u32,
        side: Side,
        segment: &Segment<'_>,
        sink: &mut impl FnMut(Event, View<'_>),
    ) {
        let flow = &mut self.slots[at];
        let queue = match flow.believes_reset(side, segment) {
            Some(true) => Queue::Ending,
            Some(false) => {
                self.stats.resets_ignored += 1;
                // After a FIN, a RST with too low a number may be the answer of an end that is
                // gone.
                let is_ending = Side::BOTH.into_iter().any(|side| flow.stream(side).fin());
                if is_ending && flow.queue == Queue::Open {
                    self.slots.enqueue(at, Queue::Doubtful);
                }
                return;
            }
            None => Queue::Doubtful,
        };
        flow.place(side, segment);
        flow.note_reset(side);
        if flow.queue != Queue::Ending {
            self.slots.enqueue(at, queue);
        }
        if !self.slots[at].paired {
            self.join(at);
        }
        self.announce(at, false, sink);
    }

    /// Payload, or the answer to a SYN, after a RST: unless it was already on its way, it shows
    /// that the RST was not accepted.
    fn resume(&mut self, at: u32, side: Side, segment: &Segment<'_>) {
        let flow = &mut self.slots[at];
        if let Some(by) = flow.reset_by() {
            let end = segment.seq.wrapping_add(segment.len);
            let goes_on = side == by && flow.stream(side).is_beyond(end, segment.time);
            let late = segment.time.saturating_sub(flow.last) > GRACE;
            if !(segment.flags.syn() || goes_on || late) {
                return;
            }
            // The answer to a SYN that was refused before is a new attempt.
            flow.resume(segment.len > 0);
            self.stats.reopened += u64::from(segment.len > 0);
        }
        self.slots.enqueue(at, Queue::Open);
    }

    /// Reports a decision for the half that represents the connection.
    pub(super) fn report(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        let flow = &self.slots[at];
        let at = match (flow.secondary, flow.partner()) {
            (false, _) => at,
            (true, Some(primary)) => primary,
            (true, None) => return,
        };
        if self.slots[at].is_closed() {
            return;
        }
        let verdict = self.view(at).verdict();
        let event = match self.slots[at].reported {
            None => {
                self.stats.classified += 1;
                Event::Classified
            }
            Some(old) if old == verdict => Event::Updated,
            Some(_) => Event::Revised,
        };
        self.slots[at].reported = Some(verdict);
        self.tell(at, event, sink);
    }

    /// Every connection that has not ended, with its other half if it has one.
    pub fn open(&self) -> impl Iterator<Item = View<'_>> {
        self.slots
            .iter()
            .filter(|(_, flow)| !flow.is_closed() && !flow.secondary)
            .map(|(at, _)| self.view(at))
    }

    /// The connection of `handle`, unless it has ended.
    pub fn look_up(&self, handle: Handle) -> Option<View<'_>> {
        let flow = self.slots.get(handle.slot)?;
        let same = flow.serial() == handle.serial && !flow.is_closed() && !flow.secondary;
        same.then(|| self.view(handle.slot))
    }

    /// Sizes and counts.
    pub fn stats(&self) -> FlowStats {
        FlowStats {
            tracked: self.slots.len(),
            ..self.stats
        }
    }

    pub(super) fn view(&self, at: u32) -> View<'_> {
        let flow = &self.slots[at];
        View::new(at, flow, flow.partner().map(|other| &self.slots[other]))
    }

    pub(super) fn tell(&self, at: u32, event: Event, sink: &mut impl FnMut(Event, View<'_>)) {
        sink(event, self.view(at));
    }
}

fn either(a: Progress, b: Progress) -> Progress {
    match (a, b) {
        (Progress::Changed, _) | (_, Progress::Changed) => Progress::Changed,
        (_, b) => b,
    }
}

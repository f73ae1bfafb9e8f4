//! Every connection that is known now.

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::api::{Limits, Loss};
use super::peers::{End, Peers};
use super::slots::{Hash, Hashed, Slots};
use super::state::{
    Apart, Fit, Flow, NOTE_OTHER_NUMBERS, NOTE_REOPENED, NOTE_SPOOFED, Placed, Queue,
};
use super::view::{Handle, View};
use crate::classify::{Classifier, Context, Piece, Progress, Sessions, Side};
use crate::record::{Event, FlowStats, Origin, Unseen};
use crate::wire::segment::Sum;
use crate::wire::{Checksum, Endpoint, Segment};

/// 2^30 nanoseconds are about a second.
const SECOND: u32 = 30;
/// After a reset, what the other side had sent already may still be on its way for so long, in
/// nanoseconds.
const GRACE: u64 = 1_000_000_000;
/// A connection that may have ended unseen is closed when it was quiet for so long, in nanoseconds.
/// One that goes on later is a connection joined on its way, of which less is claimed.
const DOUBT: u64 = 10_000_000_000;
/// Servers remembered, by a hash of their address and port.
const SERVERS: usize = 4_096;

/// Every connection that is known now.
#[derive(Debug)]
pub struct FlowTable {
    limits: Limits,
    pub(super) slots: Slots,
    pub(super) hasher: RandomState,
    /// By both initial sequence numbers: the half that was complete first.
    pub(super) pairs: HashTable<Hashed>,
    sessions: Sessions,
    /// Who has accepted connections lately: tells which side of an older one is the server.
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
            hasher: RandomState::default(),
            pairs: HashTable::new(),
            sessions: Sessions::new(limits.sessions, limits.inherit),
            servers: Vec::new(),
            serial: 0,
            stats: FlowStats::default(),
        }
    }

    /// Takes in one segment, and tells `sink` what it changed.
    pub fn observe(&mut self, segment: &Segment<'_>, sink: &mut impl FnMut(Event, View<'_>)) {
        self.route(segment, 0, sink);
    }

    /// Takes in a segment of the connection between its ends, or of the one `apart` from that.
    fn route(&mut self, segment: &Segment<'_>, apart: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        let (peers, sender) = Peers::of(&segment.src, &segment.dst);
        let hash = self.hash(peers, apart);
        let mut isn = None;
        let mut reopens = false;
        if let Some(at) = self.slots.find(hash, peers, apart) {
            let flow = &self.slots[at];
            let side = flow.side_of(sender);
            match flow.fits(side, segment) {
                Fit::Belongs => return self.take(at, side, segment, sink),
                Fit::Beside(Apart::Link(_)) if apart == 0 && flow.origin == Origin::Midstream => {
                    // A connection that was joined on its way was perhaps first met at the far
                    // interface, so which one its sender is at is not known; what it carries
                    // elsewhere was not seen.
                    self.slots[at].miss(Unseen::Samples);
                    self.stats.spoofed += 1;
                    return;
                }
                Fit::Beside(beside) if apart == 0 => {
                    if segment.foreign {
                        // The kernel did not take it where its sender is known, and it may be real.
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
        let at = self.slots.insert(hash, flow);
        self.take(at, side, segment, sink);
    }

    fn hash(&self, peers: Peers<'_>, apart: u32) -> Hash {
        if apart == 0 {
            Hash::of(&self.hasher, peers)
        } else {
            Hash::of(&self.hasher, (peers, apart))
        }
    }

    /// The end that has accepted connections lately, where exactly one of them has.
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

    /// Forgets a connection when the table is full.
    fn make_room(&mut self, sink: &mut impl FnMut(Event, View<'_>)) {
        if self.slots.len() < self.limits.flows.max(1) {
            return;
        }
        let order = [Queue::Closed, Queue::Ending, Queue::Doubtful, Queue::Open];
        if let Some(oldest) = order.into_iter().find_map(|queue| self.slots.oldest(queue)) {
            self.stats.evicted += u64::from(self.slots[oldest].queue == Queue::Open);
            self.close(oldest, sink);
            self.remove(oldest, sink);
        }
    }

    /// Takes in a segment of the flow at `at`.
    fn take(
        &mut self,
        at: u32,
        side: Side,
        segment: &Segment<'_>,
        sink: &mut impl FnMut(Event, View<'_>),
    ) {
        // In order to within a second is enough, and a busy flow is not moved for every segment.
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
        // Once it is decided, a wrong one can only make it look worse.
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

    /// Tells that a connection is open, once.
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
            };
            progress = flow.classifier.segment(side, piece, &mut context);
        }
        if segment.flags.fin() && flow.stream(side).fin {
            let end = placed.offset + u64::from(placed.len);
            progress = either(
                progress,
                flow.classifier.fin(side, end, placed.ack, &mut context),
            );
        }
        if flow.classifier.is_done() && flow.partner.is_none() {
            flow.content = None;
        }
        if progress == Progress::Changed {
            self.report(at, sink);
        }
        if self.slots[at].is_finished() {
            self.slots[at].ended = true;
            self.close(at, sink);
        }
    }

    /// A RST: of one that the receiver took, the connection is over, unless it goes on.
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

    /// Payload, or a SYN's answer, after a reset: unless it was on its way already, it shows that
    /// the reset was not taken.
    fn resume(&mut self, at: u32, side: Side, segment: &Segment<'_>) {
        let flow = &mut self.slots[at];
        if let Some(by) = flow.reset_by() {
            let end = segment.seq.wrapping_add(segment.len);
            let goes_on = side == by && flow.stream(side).is_beyond(end, segment.time);
            let late = segment.time.saturating_sub(flow.last) > GRACE;
            if !(segment.flags.syn() || goes_on || late) {
                return;
            }
            // An answer to a SYN that was refused before is a new attempt.
            flow.resume(segment.len > 0);
            self.stats.reopened += u64::from(segment.len > 0);
        }
        self.slots.enqueue(at, Queue::Open);
    }

    /// Tells of a decision, on the half that speaks for the connection.
    pub(super) fn report(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        let flow = &self.slots[at];
        let at = match (flow.secondary, flow.partner) {
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

    /// Settles what can be settled, once.
    pub(super) fn close(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        let flow = &mut self.slots[at];
        if flow.is_closed() {
            return;
        }
        let mut context = Context {
            client: flow.client(),
            server: flow.server(),
            sessions: &mut self.sessions,
        };
        if flow.reset_by().is_some() {
            flow.ended = true;
            flow.classifier.rst(&mut context);
        }
        flow.classifier.finish(flow.is_incomplete(), &mut context);
        let speaks = !flow.secondary;
        self.slots.enqueue(at, Queue::Closed);
        self.settle_pair(at, sink);
        if speaks {
            self.tell_closed(at, sink);
        }
    }

    /// Tells that a connection is over, and keeps little of it.
    pub(super) fn tell_closed(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        if !self.slots[at].opened {
            self.slots[at].opened = true;
            self.stats.seen += 1;
        }
        if self.slots[at].reported.is_none() {
            if self.view(at).finding().evidence.is_some() {
                self.stats.classified += 1;
            } else {
                self.stats.undecided += 1;
            }
        }
        self.tell(at, Event::Closed, sink);
        // Nothing more is told of it, and what is left of it is to be small.
        let flow = &mut self.slots[at];
        flow.classifier = Classifier::new(flow.origin);
        flow.content = None;
    }

    pub(super) fn remove(&mut self, at: u32, sink: &mut impl FnMut(Event, View<'_>)) {
        self.release(at, sink);
        let flow = &self.slots[at];
        if let Some(isns) = flow.isns()
            && let Ok(entry) = self
                .pairs
                .find_entry(Hash::of(&self.hasher, isns).spread(), |half| {
                    half.slot == at
                })
        {
            entry.remove();
        }
        let hash = self.hash(flow.peers(), flow.apart);
        self.slots.remove(hash, at);
    }

    /// Something was lost on its way to the table: what is missing of the connections that it may
    /// have been of proves nothing, and their end may have been missed.
    ///
    /// How many connections those are. One whose verdict is known keeps it, as what it stands on
    /// was seen.
    pub fn lost(&mut self, loss: &Loss) -> usize {
        let concerns = |flow: &Flow| {
            let there = flow.first <= loss.until && !flow.is_closed();
            let link = loss
                .link
                .is_none_or(|link| flow.links.iter().any(|l| l == link));
            let [a, b] = [flow.client().ip, flow.server().ip];
            let between = loss
                .between
                .is_none_or(|pair| pair == [a, b] || pair == [b, a]);
            there && link && between
        };
        let all: Vec<u32> = self
            .slots
            .iter()
            .filter(|(_, flow)| concerns(flow))
            .map(|(at, _)| at)
            .collect();
        for at in &all {
            let flow = &mut self.slots[*at];
            if !flow.classifier.is_done() || loss.what == Unseen::Fragments {
                flow.miss(loss.what);
            }
            if loss.what == Unseen::Samples && flow.queue == Queue::Open {
                self.slots.enqueue(*at, Queue::Doubtful);
            }
        }
        all.len()
    }

    /// The connection between `a` and `b` is over, and samples of it were lost, its end among them.
    pub fn ended(&mut self, a: &Endpoint, b: &Endpoint, sink: &mut impl FnMut(Event, View<'_>)) {
        let (peers, _) = Peers::of(a, b);
        if let Some(at) = self.slots.find(self.hash(peers, 0), peers, 0) {
            let flow = &mut self.slots[at];
            flow.miss(Unseen::Samples);
            flow.ended = true;
            self.close(at, sink);
        }
    }

    /// Closes what was quiet too long and forgets what has lingered long enough. `now` as in
    /// [`Segment::time`].
    pub fn expire(&mut self, now: u64, sink: &mut impl FnMut(Event, View<'_>)) {
        let linger = self.limits.linger.as_nanos() as u64;
        let idle = self.limits.idle.as_nanos() as u64;
        let waits = [
            (Queue::Open, idle),
            (Queue::Doubtful, DOUBT.min(idle)),
            (Queue::Ending, GRACE),
            (Queue::Closed, linger),
        ];
        for (queue, wait) in waits {
            while let Some(at) = self.slots.oldest(queue)
                && now.saturating_sub(self.slots[at].last) > wait
            {
                self.close(at, sink);
                // What has ended still swallows its late packets.
                if queue != Queue::Ending {
                    self.remove(at, sink);
                }
            }
        }
    }

    /// Closes everything: the end of a capture, or of the daemon.
    pub fn drain(&mut self, sink: &mut impl FnMut(Event, View<'_>)) {
        let mut all = self.slots.indices();
        all.sort_unstable_by_key(|at| self.slots[*at].serial());
        for at in &all {
            self.close(*at, sink);
        }
        for at in all {
            self.remove(at, sink);
        }
    }

    /// Every connection that has not ended, with its other half where it has one.
    pub fn open(&self) -> impl Iterator<Item = View<'_>> {
        self.slots
            .iter()
            .filter(|(_, flow)| !flow.is_closed() && !flow.secondary)
            .map(|(at, _)| self.view(at))
    }

    /// The connection that `handle` stands for, unless it has ended.
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
        View::new(at, flow, flow.partner.map(|other| &self.slots[other]))
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

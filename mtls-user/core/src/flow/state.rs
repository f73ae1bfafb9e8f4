//! One connection, or one half of it where its addresses are translated.

use super::content::Content;
use super::gaps::Gaps;
use super::links::Links;
use super::peers::{End, Peers};
use super::stream::{Near, Stream};
use crate::classify::{Classifier, Side};
use crate::record::{Cause, Origin, Unseen, Verdict};
use crate::wire::segment::Sum;
use crate::wire::{Endpoint, Segment};

/// A second SYN with another number, so soon after the first and with no answer between them, is
/// the same one, its number rewritten by a firewall on whose both sides the capture was made.
const REWRITTEN_WITHIN: u64 = 100_000_000;
/// A SYN on a connection that was quiet for so long begins another one.
const QUIET: u64 = 60_000_000_000;
/// Ports from here on are given to clients (Linux's `ip_local_port_range`, RFC 6335's dynamic ports).
const EPHEMERAL: u16 = 32_768;
/// Ports below this belong to services (RFC 6335 §6).
const SYSTEM: u16 = 1_024;

/// What a flow waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Queue {
    /// To be quiet for too long.
    Open = 0,
    /// Not to go on after a reset of which it cannot be told whether the receiver took it, or after
    /// a loss that may have taken its end.
    Doubtful = 1,
    /// Not to go on after a reset.
    Ending = 2,
    /// To be forgotten: it is closed.
    Closed = 3,
}

/// What is known of one connection.
#[derive(Debug)]
pub(super) struct Flow {
    serial: u64,
    /// Both ends, in the order of [`Peers`].
    ends: [Endpoint; 2],
    /// Which of them opened the connection, as far as its first segment told.
    client_end: End,
    pub(super) origin: Origin,
    streams: [Stream; 2],
    pub(super) classifier: Classifier,
    /// Nanoseconds since the Unix epoch of the first and the last segment.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) links: Links,
    /// What tells it from the connection with the same ends: an [`Apart`].
    pub(super) apart: u32,
    /// The other half.
    pub(super) partner: Option<u32>,
    /// The start of both streams, until the verdict is known.
    pub(super) content: Option<Box<Content>>,
    /// What a capture lacks of it.
    gaps: Option<Box<Gaps>>,
    /// The verdict last told.
    pub(super) reported: Option<Verdict>,
    pub(super) queue: Queue,
    /// What was not seen: one bit per [`Unseen`].
    unseen: u8,
    /// What is to be noted: `NOTE_*`.
    pub(super) notes: u8,
    /// Per side, whether a packet of it was seen, and whether it reset the connection.
    heard: [bool; 2],
    reset: [bool; 2],
    /// Per side, what its first checksum was.
    sums: [Sum; 2],
    /// The other half speaks for this one.
    pub(super) secondary: bool,
    /// Its pair of initial sequence numbers has been looked up.
    pub(super) paired: bool,
    pub(super) opened: bool,
    /// The end of the connection was seen.
    pub(super) ended: bool,
    /// Sampled by the kernel: not every segment is seen.
    pub(super) sampled: bool,
}

/// Payload followed an end that the receiver must have taken.
pub(super) const NOTE_REOPENED: u8 = 1 << 0;
/// Its segments came out of another interface than the connection with these ends is known at.
pub(super) const NOTE_SPOOFED: u8 = 1 << 1;
/// Its sequence numbers are not those of the connection with these ends.
pub(super) const NOTE_OTHER_NUMBERS: u8 = 1 << 2;
/// Which side is the client is a guess.
pub(super) const NOTE_DIRECTION: u8 = 1 << 3;
/// Two SYN-ACKs, or SYNs, with different numbers.
pub(super) const NOTE_TWO_STARTS: u8 = 1 << 4;

/// Why segments are not taken to be of the connection with their ends, but of one beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Apart {
    /// They came out of this interface, which is not their sender's.
    Link(u32),
    /// Their sequence numbers are of another connection.
    Numbers,
}

impl Apart {
    /// As part of a flow's key; zero is the connection itself, and no interface's index is that large.
    pub(super) fn key(self) -> u32 {
        match self {
            Self::Link(link) => link,
            Self::Numbers => u32::MAX,
        }
    }
}

/// What a segment is to the connection with its ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// A part of it.
    Belongs,
    /// The start of another one, or a part of one whose SYN this number belongs to.
    Begins(Option<u32>),
    /// It goes on after it was closed.
    Reopens,
    /// Something else with the same ends.
    Beside(Apart),
    /// No evidence of anything.
    Stray,
}

/// Where a segment lies in its sender's stream.
pub(super) struct Placed<'a> {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) bytes: &'a [u8],
    pub(super) ack: Option<u64>,
}

impl Flow {
    /// A connection whose first segment is `segment`, sent by `sender`. `hint`: which end is the
    /// server, where that is known from other connections.
    pub(super) fn new(
        serial: u64,
        segment: &Segment<'_>,
        peers: Peers<'_>,
        sender: End,
        hint: Option<End>,
    ) -> Self {
        let syn = segment.flags.syn();
        let known = !segment.midstream && (segment.isn.0.is_some() || segment.isn.1.is_some());
        let origin = if syn || known {
            Origin::Syn
        } else {
            Origin::Midstream
        };
        let (server, sure) = match hint {
            // A SYN-ACK is the server's.
            _ if syn => (
                if segment.flags.ack() {
                    sender
                } else {
                    sender.other()
                },
                true,
            ),
            Some(end) => (end, true),
            None => guess(segment, sender),
        };
        Self {
            serial,
            ends: peers.to_owned(),
            client_end: server.other(),
            origin,
            streams: [Stream::default(); 2],
            classifier: Classifier::new(origin),
            first: segment.time,
            last: segment.time,
            links: Links::default(),
            apart: 0,
            partner: None,
            content: None,
            gaps: None,
            reported: None,
            queue: Queue::Open,
            unseen: 0,
            notes: if sure { 0 } else { NOTE_DIRECTION },
            heard: [false; 2],
            reset: [false; 2],
            sums: [Sum::Unknown; 2],
            secondary: false,
            paired: false,
            opened: false,
            ended: false,
            sampled: segment.link != 0,
        }
    }

    /// A number of its own for as long as the table lives.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// The end that opened the connection.
    pub(super) fn client(&self) -> Endpoint {
        self.ends[self.client_end as usize]
    }

    /// The end that accepted it.
    pub(super) fn server(&self) -> Endpoint {
        self.ends[self.client_end.other() as usize]
    }

    /// What it is found by.
    pub(super) fn peers(&self) -> Peers<'_> {
        Peers::again(&self.ends)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue == Queue::Closed
    }

    pub(super) fn side_of(&self, sender: End) -> Side {
        if sender == self.client_end {
            Side::Client
        } else {
            Side::Server
        }
    }

    /// Both initial sequence numbers, the client's first.
    pub(super) fn isns(&self) -> Option<(u32, u32)> {
        Some((self.streams[0].isn()?, self.streams[1].isn()?))
    }

    pub(super) fn stream(&self, side: Side) -> &Stream {
        &self.streams[side as usize]
    }

    /// Notes the number of a SYN that was seen before this flow was made.
    pub(super) fn begin(&mut self, side: Side, isn: u32) {
        self.streams[side as usize].begin(isn);
        self.origin = Origin::Syn;
        self.classifier = Classifier::new(Origin::Syn);
    }

    fn streams(&mut self, side: Side) -> (&mut Stream, &mut Stream) {
        let [client, server] = &mut self.streams;
        match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        }
    }

    /// The segment can be its sender's: it was seen where that side is known at, by us and by the
    /// kernel.
    pub(super) fn is_at_home(&self, side: Side, segment: &Segment<'_>) -> bool {
        let foreign = segment.foreign && self.apart == 0;
        !foreign && self.links.allow(side, segment.link, segment.direction)
    }

    /// No payload was seen, of either side.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.iter().all(|stream| stream.next == 0)
    }

    /// What a segment is to this connection.
    pub(super) fn fits(&self, side: Side, segment: &Segment<'_>) -> Fit {
        let (own, other) = (self.stream(side), self.stream(side.other()));
        let flags = segment.flags;
        let at_home = self.is_at_home(side, segment);
        if self.is_closed() {
            return self.after_the_end(side, segment);
        }
        if flags.syn() && !flags.ack() {
            return self.fits_syn(side, segment, at_home);
        }
        if !at_home {
            let pending =
                own.pending().is_some() && own.locate(segment.seq, segment.time) == Near::Pending;
            return match segment.len {
                0 => Fit::Stray,
                _ if pending => Fit::Begins(own.pending()),
                _ => Fit::Beside(Apart::Link(segment.link)),
            };
        }
        if flags.syn() {
            let acks_other = other
                .pending()
                .is_some_and(|isn| segment.ack == isn.wrapping_add(1));
            return if acks_other {
                Fit::Begins(None)
            } else if own.isn() == Some(segment.seq)
                || other.isn().is_none() && self.origin == Origin::Syn
                || matches!(other.locate(segment.ack, segment.time), Near::Here(at) if at >= 0 && at as u64 <= other.next)
            {
                Fit::Belongs
            } else if self.origin == Origin::Midstream {
                Fit::Begins(None)
            } else {
                Fit::Stray
            };
        }
        // A reset is looked at when it is taken in; a bare acknowledgement moves nothing.
        if !own.has_base() || flags.rst() || segment.len == 0 && !flags.fin() {
            return Fit::Belongs;
        }
        match own.locate(segment.seq, segment.time) {
            Near::Here(_) => Fit::Belongs,
            Near::Pending => Fit::Begins(own.pending()),
            Near::Far if self.is_another(side, segment) => Fit::Begins(None),
            Near::Far if own.next == 0 => Fit::Belongs,
            Near::Far if segment.len == 0 => Fit::Stray,
            Near::Far => Fit::Beside(Apart::Numbers),
        }
    }

    /// The kernel knows other initial sequence numbers.
    fn is_another(&self, side: Side, segment: &Segment<'_>) -> bool {
        let differs = |known: Option<u32>, said: Option<u32>| matches!((known, said), (Some(a), Some(b)) if a != b);
        differs(self.stream(side).isn(), segment.isn.0)
            || differs(self.stream(side.other()).isn(), segment.isn.1)
    }

    fn fits_syn(&self, side: Side, segment: &Segment<'_>, at_home: bool) -> Fit {
        let (own, other) = (self.stream(side), self.stream(side.other()));
        if at_home && own.isn() == Some(segment.seq) {
            return Fit::Belongs;
        }
        // A server's first SYN of its own is a simultaneous open (RFC 9293 §3.5).
        if at_home && own.isn().is_none() && self.origin == Origin::Syn {
            return Fit::Belongs;
        }
        let passed = segment.time.saturating_sub(self.last);
        if !at_home && own.isn() == Some(segment.seq) {
            Fit::Stray
        } else if segment.len > 0 || passed > QUIET || self.queue == Queue::Ending {
            Fit::Begins(None)
        } else if own.isn().is_some() && other.isn().is_none() && self.is_empty() {
            // Unanswered so far.
            if at_home && passed < REWRITTEN_WITHIN {
                Fit::Belongs
            } else {
                Fit::Begins(None)
            }
        } else {
            // To be confirmed by its answer, or by data: it may be forged.
            Fit::Belongs
        }
    }

    /// What may come behind a close: late copies of what was sent before, or another connection.
    fn after_the_end(&self, side: Side, segment: &Segment<'_>) -> Fit {
        let (own, other) = (self.stream(side), self.stream(side.other()));
        let flags = segment.flags;
        if flags.syn() {
            let again = own.isn() == Some(segment.seq);
            // The same SYN again opens a connection that was refused before, if it is answered now
            // (RFC 9293 §3.5.1).
            let answers = flags.ack() && !again && other.is_syn_acked_by(segment.ack);
            return if again || flags.ack() && !answers && other.isn().is_some() {
                Fit::Stray
            } else {
                Fit::Begins(None)
            };
        }
        if segment.len == 0 {
            return Fit::Stray;
        }
        match own.locate(segment.seq, segment.time) {
            Near::Here(at) if at + i64::from(segment.len) <= own.next as i64 => Fit::Stray,
            Near::Pending => Fit::Begins(own.pending()),
            Near::Here(_) if !self.is_another(side, segment) => Fit::Reopens,
            _ => Fit::Begins(None),
        }
    }

    /// Learns what the headers say, and where the payload lies.
    pub(super) fn place<'a>(&mut self, side: Side, segment: &Segment<'a>) -> Placed<'a> {
        self.first = self.first.min(segment.time);
        self.last = self.last.max(segment.time);
        self.heard[side as usize] = true;
        if segment.lost {
            self.miss(Unseen::Samples);
        }
        if segment.link != 0 {
            self.links.note(side, segment.link, segment.direction);
        }
        let flags = segment.flags;
        if flags.syn() {
            self.place_syn(side, segment);
        }
        let (sampled, midstream) = (self.sampled, self.origin == Origin::Midstream);
        let time = segment.time;
        let (own, other) = self.streams(side);
        for (stream, isn) in [(&mut *own, segment.isn.0), (&mut *other, segment.isn.1)] {
            if let Some(isn) = isn {
                stream.begin(isn);
            }
        }
        let seq = segment.seq.wrapping_add(u32::from(flags.syn()));
        let carries = segment.len > 0 || flags.fin();
        if carries || midstream {
            own.settle(seq);
        }
        let rewritten = carries && own.next == 0 && own.locate(seq, time) == Near::Far;
        if rewritten {
            own.rebase(seq);
        }
        let other_start = flags.syn() && own.pending() == Some(segment.seq);
        let here = match own.locate(seq, time) {
            Near::Here(position) if own.has_base() && !other_start => Some(position),
            _ => None,
        };
        let mut ack = None;
        if flags.ack() && (here.is_some() || !own.has_base() && other.has_base()) {
            other.settle(segment.ack);
            if let Near::Here(position) = other.locate(segment.ack, time) {
                let ends = flags.fin() || flags.rst();
                other.acknowledge(segment.ack, position, ends);
                ack = Some(u64::try_from(position).unwrap_or(0));
            }
        }
        let position = here.unwrap_or(0);
        let (offset, skip) = match u64::try_from(position) {
            Ok(offset) => (offset, 0),
            Err(_) => (0, position.unsigned_abs().min(segment.len.into()) as u32),
        };
        let len = segment.len - skip;
        let bytes = segment.payload.get(skip as usize..).unwrap_or_default();
        if carries && !flags.rst() && here.is_some() {
            let end = offset + u64::from(len);
            let before = own.next;
            own.reach(end, time, sampled);
            // What comes behind a FIN shows that it was none.
            let ignored = own.fin && own.next > before;
            own.fin = own.fin && !ignored || flags.fin() && end == own.next;
            if ignored {
                self.notes |= NOTE_REOPENED;
            }
            if !sampled {
                self.account(side, before, offset, end);
            }
        }
        if rewritten {
            self.notes |= NOTE_TWO_STARTS;
        }
        Placed {
            offset,
            len,
            bytes,
            ack,
        }
    }

    fn place_syn(&mut self, side: Side, segment: &Segment<'_>) {
        let empty = self.is_empty();
        let at_home = self.is_at_home(side, segment);
        let midstream = self.origin == Origin::Midstream;
        let (own, other) = self.streams(side);
        if segment.flags.ack() {
            other.begin(segment.ack.wrapping_sub(1));
        }
        match own.isn() {
            None if midstream && !segment.flags.ack() => own.expect_other(segment.seq),
            None => own.begin(segment.seq),
            Some(isn) if isn == segment.seq => {}
            Some(_) if segment.flags.ack() || empty && at_home && other.isn().is_none() => {
                own.begin_again(segment.seq);
                self.notes |= NOTE_TWO_STARTS;
            }
            Some(_) => own.expect_other(segment.seq),
        }
    }

    /// Keeps account of what a capture lacks: the stream was seen up to `before`.
    fn account(&mut self, side: Side, before: u64, offset: u64, end: u64) {
        if offset > before {
            self.gaps.get_or_insert_default().open(side, before, offset);
        } else if offset < before
            && let Some(gaps) = &mut self.gaps
        {
            gaps.fill(side, offset, end);
            if gaps.is_empty() {
                self.gaps = None;
            }
        }
    }

    /// Whether a segment with this checksum was dropped by its receiver. Where the side's checksums
    /// are filled in behind the capture, or were changed after it, none of them says anything.
    pub(super) fn is_damaged(&mut self, side: Side, sum: Sum) -> bool {
        let known = &mut self.sums[side as usize];
        if *known == Sum::Unknown {
            *known = sum;
        }
        match *known {
            Sum::Right => matches!(sum, Sum::Wrong | Sum::Absent),
            Sum::Partial => sum == Sum::Wrong,
            Sum::Absent | Sum::Wrong | Sum::Unknown => false,
        }
    }

    /// Whether the receiver of a RST has taken it (RFC 9293 §3.5.2, RFC 5961 §3.2); `None` when that
    /// cannot be told.
    pub(super) fn believes_reset(&self, side: Side, segment: &Segment<'_>) -> Option<bool> {
        let (own, other) = (self.stream(side), self.stream(side.other()));
        if !own.has_base() {
            // A refusal acknowledges the SYN.
            let acks = segment.flags.ack()
                && other.isn().is_some()
                && matches!(other.locate(segment.ack, segment.time), Near::Here(at) if at >= 0);
            return Some(acks);
        }
        own.expects(segment.seq, segment.time)
    }

    /// `side` reset the connection.
    pub(super) fn note_reset(&mut self, side: Side) {
        self.reset[side as usize] = true;
    }

    /// The side that reset the connection.
    pub(super) fn reset_by(&self) -> Option<Side> {
        Side::BOTH
            .into_iter()
            .find(|side| self.reset[*side as usize])
    }

    /// It goes on although it was reset; with payload, that is strange.
    pub(super) fn resume(&mut self, strange: bool) {
        self.reset = [false; 2];
        if strange {
            self.notes |= NOTE_REOPENED;
        }
    }

    /// Both sides have closed their streams.
    pub(super) fn is_finished(&self) -> bool {
        self.streams.iter().all(|stream| stream.fin)
    }

    /// Something of it was not seen.
    pub(super) fn miss(&mut self, what: Unseen) {
        self.unseen |= 1 << what as u8;
    }

    /// What of it was not seen, as far as that is known.
    pub(super) fn unseen(&self) -> impl Iterator<Item = Unseen> {
        let mut bits = self.unseen;
        if self.origin == Origin::Midstream {
            bits |= 1 << Unseen::Start as u8;
        }
        if self.gaps.is_some() {
            bits |= 1 << Unseen::Bytes as u8;
        }
        if !(self.heard[0] && self.heard[1]) {
            bits |= 1 << Unseen::Direction as u8;
        }
        Unseen::ALL
            .into_iter()
            .filter(move |what| bits & 1 << *what as u8 != 0)
    }

    /// Two contents were seen for the same bytes.
    pub(super) fn is_contested(&self) -> bool {
        self.unseen & 1 << Unseen::Conflict as u8 != 0
    }

    /// Samples of it may be missing, so that what is missing proves nothing.
    pub(super) fn is_incomplete(&self) -> bool {
        let proving_nothing = [Unseen::Samples, Unseen::Fragments, Unseen::Conflict];
        proving_nothing
            .iter()
            .any(|what| self.unseen & 1 << *what as u8 != 0)
    }

    /// Why what is missing of it proves nothing.
    pub(super) fn why_incomplete(&self) -> Option<Why> {
        if self.unseen & 1 << Unseen::Fragments as u8 != 0 {
            let words = "its packets came in fragments, which hide the payload";
            Some((Cause::Fragmented, words))
        } else {
            let words = "samples of this flow were lost";
            self.is_incomplete().then_some((Cause::SamplesLost, words))
        }
    }

    /// Why a connection without payload carried none, where that is proven: a close or an
    /// acknowledgement of each side says so. Otherwise why it is not.
    pub(super) fn emptiness(&self) -> Result<Why, Why> {
        let [client, server] = &self.streams;
        if let Some(why) = self.why_incomplete() {
            return Err(why);
        }
        if client.next > 0 || server.next > 0 {
            let words = "it carried bytes, and none of them was seen";
            return Err((Cause::PayloadNotSeen, words));
        }
        if self.origin == Origin::Midstream {
            let words = "opened before mtls started, and no payload was seen";
            return Err((Cause::StartNotSeen, words));
        }
        if !server.has_base() && client.confirmed_empty && self.reset[1] {
            return Ok((Cause::ConnectionRefused, "server refused the connection"));
        }
        if client.isn().is_none() || server.isn().is_none() {
            return Err((Cause::Unanswered, "no answer to its SYN was seen"));
        }
        if !self.is_closed() {
            return Ok((Cause::NoPayload, "no payload so far"));
        }
        let proven = |side: Side| {
            let stream = self.stream(side);
            let silent = self.reset[side as usize] || !self.sampled;
            stream.is_proven_empty() || silent && self.ended && stream.next == 0
        };
        if proven(Side::Client) && proven(Side::Server) {
            let words = "both sides closed without a byte of payload";
            Ok((Cause::NoPayload, words))
        } else if self.ended {
            let words = "no payload was seen, and its end does not say that there was none";
            Err((Cause::EndNotSeen, words))
        } else {
            Err((Cause::EndNotSeen, "no payload was seen, nor its end"))
        }
    }
}

/// A reason, as a word and in words.
pub(super) type Why = (Cause, &'static str);

/// Which end is the server's of a connection whose start was not seen, and whether that is sure.
fn guess(segment: &Segment<'_>, sender: End) -> (End, bool) {
    let (src, dst) = (segment.src.port, segment.dst.port);
    let by =
        |is_service: fn(u16) -> bool| (is_service(src) != is_service(dst)).then(|| is_service(src));
    match by(|port| port < EPHEMERAL).or_else(|| by(|port| port < SYSTEM)) {
        Some(true) => (sender, true),
        Some(false) => (sender.other(), true),
        // A client asks first.
        None => (sender.other(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million connections are a few hundred megabytes, whatever becomes of them.
    #[test]
    fn a_flow_is_small() {
        let size = size_of::<Flow>();
        assert!(size <= 240, "{size}");
    }
}

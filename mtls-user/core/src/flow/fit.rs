//! How a segment relates to the connection between its ends: part of it, the start of another one,
//! or not evidence.

use super::state::{Flow, Queue};
use super::stream::Near;
use crate::classify::Side;
use crate::record::Origin;
use crate::wire::Segment;

/// A second SYN with another number, this soon after the first and without an answer in between, is
/// the same SYN whose number a firewall has rewritten, in a capture taken on both sides of it.
const REWRITTEN_WITHIN: u64 = 100_000_000;
/// A SYN on a connection that has been idle for this long begins another one.
const QUIET: u64 = 60_000_000_000;

/// Why segments do not belong to the connection between their ends, but to a separate one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Apart {
    /// They came from this interface, which is not their sender's.
    Link(u32),
    /// Their sequence numbers belong to another connection.
    Numbers,
}

impl Apart {
    /// As part of a flow's key; zero is the connection itself, and no interface index is that
    /// large.
    pub(super) fn key(self) -> u32 {
        match self {
            Self::Link(link) => link,
            Self::Numbers => u32::MAX,
        }
    }
}

/// How a segment relates to the connection between its ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// Part of it.
    Belongs,
    /// The start of another connection, or part of one whose SYN has this number.
    Begins(Option<u32>),
    /// The connection continues after it was closed.
    Reopens,
    /// Something else between the same ends.
    Beside(Apart),
    /// Not evidence of anything.
    Stray,
}

impl Flow {
    /// Whether the segment can be its sender's: it was seen where that side is known, by us and by
    /// the kernel.
    pub(super) fn is_at_home(&self, side: Side, segment: &Segment<'_>) -> bool {
        let foreign = segment.foreign && self.apart == 0;
        !foreign && self.links.allow(side, segment.link, segment.direction)
    }

    /// How a segment relates to this connection.
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
        // A RST is checked when it is processed; a pure acknowledgement changes nothing.
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
        // A SYN from a server is a simultaneous open (RFC 9293 §3.5).
        if at_home && own.isn().is_none() && self.origin == Origin::Syn {
            return Fit::Belongs;
        }
        let passed = segment.time.saturating_sub(self.last);
        if !at_home && own.isn() == Some(segment.seq) {
            Fit::Stray
        } else if segment.len > 0 || passed > QUIET || self.queue == Queue::Ending {
            Fit::Begins(None)
        } else if own.isn().is_some() && other.isn().is_none() && self.is_empty() {
            // No answer so far.
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

    /// What may follow a close: late copies of earlier segments, or another connection.
    fn after_the_end(&self, side: Side, segment: &Segment<'_>) -> Fit {
        let (own, other) = (self.stream(side), self.stream(side.other()));
        let flags = segment.flags;
        if flags.syn() {
            let again = own.isn() == Some(segment.seq);
            // The same SYN again opens a connection that was refused before, if it is answered this
            // time (RFC 9293 §3.5.1).
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
            // The kernel delivers nothing twice, except in a recheck: this was missing before.
            Near::Here(at)
                if at + i64::from(segment.len) <= own.next as i64
                    && (segment.again || !self.sampled) =>
            {
                Fit::Stray
            }
            Near::Pending => Fit::Begins(own.pending()),
            Near::Here(_) if !self.is_another(side, segment) => Fit::Reopens,
            _ => Fit::Begins(None),
        }
    }

    /// Whether the receiver accepted a RST (RFC 9293 §3.5.2, RFC 5961 §3.2); `None` if that cannot
    /// be determined.
    pub(super) fn believes_reset(&self, side: Side, segment: &Segment<'_>) -> Option<bool> {
        let (own, other) = (self.stream(side), self.stream(side.other()));
        if !own.has_base() {
            // A RST that refuses a SYN acknowledges it.
            let acks = segment.flags.ack()
                && other.isn().is_some()
                && matches!(other.locate(segment.ack, segment.time), Near::Here(at) if at >= 0);
            return Some(acks);
        }
        own.expects(segment.seq, segment.time)
    }
}

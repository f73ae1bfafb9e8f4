//! Interprets a segment's headers, and finds the position of its payload.

use super::state::{Flow, NOTE_REOPENED, NOTE_TWO_STARTS};
use super::stream::Near;
use crate::classify::Side;
use crate::record::{Origin, Unseen};
use crate::wire::Segment;
use crate::wire::segment::Sum;

/// The position of a segment in its sender's stream.
pub(super) struct Placed<'a> {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) bytes: &'a [u8],
    pub(super) ack: Option<u64>,
}

impl Flow {
    /// Updates the state from the headers, and returns the payload's position.
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
            // Data after a FIN shows that the FIN was not genuine.
            let ignored = own.fin() && own.next > before;
            own.set_fin(own.fin() && !ignored || flags.fin() && end == own.next);
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

    /// Records gaps in a capture: the stream was seen up to `before`.
    fn account(&mut self, side: Side, before: u64, offset: u64, end: u64) {
        if offset > before {
            let kept = self.kept.get_or_insert_default();
            let gaps = kept.gaps.get_or_insert_default();
            gaps.open(side, before, offset);
        } else if offset < before {
            self.forget(|kept| {
                if let Some(gaps) = &mut kept.gaps {
                    gaps.fill(side, offset, end);
                    if gaps.is_empty() {
                        kept.gaps = None;
                    }
                }
            });
        }
    }

    /// Whether a segment with this checksum was dropped by its receiver. If the side's checksums
    /// are filled in after the capture point, or were changed before it, they prove nothing.
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
}

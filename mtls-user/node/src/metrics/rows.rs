//! The connections of an edge with the same labels, counted at each end.

use std::sync::Arc;

use smallvec::SmallVec;

use super::labels::{Labels, Sides, known};
use mtls_core::record::{Exempt, FlowRecord, Mark, Outcome, Verdict, Word};

/// Most rows per edge: beyond this, an edge's connections are not distinguished.
pub(super) const MAX_ROWS: usize = 32;

/// The labels that the connections of a row share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Likeness {
    pub(super) verdict: Verdict,
    pub(super) exempt: Option<Exempt>,
    pub(super) outcome: Outcome,
    /// Its mark; none if it is exempt or exposed nothing.
    pub(super) mark: Option<Mark>,
}

impl Likeness {
    pub(super) fn of(flow: &FlowRecord) -> Self {
        let exempt = flow.exempt.as_ref().map(|exempt| &exempt.class);
        let outcome = flow.expectation.as_ref().map(|e| &e.outcome);
        Self {
            // The daemon's own records have no words of later versions. If there were one, nothing
            // would be claimed about it, and it would not be exempt.
            verdict: known(&flow.verdict, Verdict::Unobserved),
            exempt: exempt.and_then(Word::known),
            outcome: outcome.map_or(Outcome::NothingExpected, |o| known(o, Outcome::Worse)),
            mark: flow.mark(),
        }
    }
}

/// The counts at one end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) connections: u64,
    pub(super) open: u64,
    /// The daemon's time; 0 if there was none.
    pub(super) last_seen: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) like: Likeness,
    pub(super) at: [Count; Sides::NAMES.len()],
}

/// An event on an edge, at one end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Happened {
    pub(super) count: u64,
    pub(super) last: u64,
}

pub(super) type Happenings = [Happened; Sides::NAMES.len()];

pub(super) fn note(happenings: &mut Happenings, sides: Sides, time: u64) {
    for side in sides.each() {
        happenings[side].count += 1;
        happenings[side].last = happenings[side].last.max(time);
    }
}

#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) labels: Arc<Labels>,
    pub(super) rows: SmallVec<[Row; 1]>,
    /// Its latest connection was mutual TLS.
    pub(super) is_mutual: bool,
    pub(super) downgrades: Happenings,
    pub(super) mismatches: Happenings,
    /// Handshakes of TLS 1.1 and earlier.
    pub(super) old_tls: Happenings,
    pub(super) last_seen: u64,
}

impl Edge {
    pub(super) fn new(labels: Labels) -> Self {
        Self {
            labels: Arc::new(labels),
            rows: SmallVec::new(),
            is_mutual: false,
            downgrades: Happenings::default(),
            mismatches: Happenings::default(),
            old_tls: Happenings::default(),
            last_seen: 0,
        }
    }

    /// The row in which connections like this are counted; `None` if there is no room.
    pub(super) fn row(&mut self, like: Likeness) -> Option<usize> {
        let is_there = self.rows.iter().any(|row| row.like == like);
        (is_there || self.rows.len() < MAX_ROWS).then(|| self.any_row(like))
    }

    /// The same, limited only by the vocabularies: some 200 rows.
    pub(super) fn any_row(&mut self, like: Likeness) -> usize {
        if let Some(at) = self.rows.iter().position(|row| row.like == like) {
            return at;
        }
        self.rows.push(Row {
            like,
            at: Default::default(),
        });
        self.rows.len() - 1
    }

    pub(super) fn is_open(&self) -> bool {
        let mut counts = self.rows.iter().flat_map(|row| row.at);
        counts.any(|count| count.open > 0)
    }
}

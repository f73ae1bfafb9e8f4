//! Checks an edge's summary against its own counts.
//!
//! An answer may come from a later version with words that this one does not know, or from a file
//! that somebody has edited: nothing good is assumed that its own counts do not support.

use super::{Cause, EdgeRecord, Mark, Tally};

impl EdgeRecord {
    /// Corrects a mark that is better than the worst verdict counted, or that this version does not
    /// know: it is limited to [`Mark::Unknown`].
    pub fn vouch(&mut self) {
        let Some(mark) = &self.mark else {
            return;
        };
        let said = mark.known().unwrap_or(Mark::Unknown);
        let counted = self.verdict_counts.iter().filter(|(_, n)| **n > 0);
        // It is not known here which connections were completely seen: that is up to whoever
        // counted them.
        let worst = counted
            .filter_map(|(verdict, _)| Mark::of(verdict, &Cause::Other.into(), true))
            .chain([said])
            .min();
        self.mark = worst.map(Into::into);
    }

    /// The sum of all its counts; `None` if it overflows, which no node has counted.
    pub fn counts(&self) -> Option<u64> {
        let tallies = [
            &self.protocols,
            &self.tls_versions,
            &self.ciphers,
            &self.groups,
            &self.client_identities,
            &self.server_identities,
        ];
        let of = |tally: &Tally| -> Vec<u64> {
            tally
                .values
                .values()
                .copied()
                .chain([tally.other])
                .collect()
        };
        let coverage = self.coverage;
        [
            self.connections,
            self.open_connections,
            coverage.complete,
            coverage.partial,
            coverage.unobserved,
            self.mismatches,
        ]
        .into_iter()
        .chain(self.verdict_counts.values().copied())
        .chain(self.cause_counts.values().copied())
        .chain(self.exempt_counts.values().copied())
        .chain(self.disagreements.values().copied())
        .chain(tallies.into_iter().flat_map(of))
        .try_fold(0, u64::checked_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Change, EdgeChange, Verdict, Word};

    fn edge(mark: Word<Mark>, verdict: Word<Verdict>) -> EdgeRecord {
        let mut edge = EdgeRecord {
            mark: Some(mark),
            verdict: Some(verdict.clone()),
            verdict_counts: [(verdict, 1)].into(),
            connections: 1,
            ..EdgeRecord::default()
        };
        edge.vouch();
        edge
    }

    #[test]
    fn no_mark_is_better_than_what_was_counted() {
        let later = || Word::Other("newmark".into());
        let good = Word::from(Mark::Mutual);
        let mark = |mark, verdict| edge(mark, verdict).mark.unwrap();
        assert_eq!(mark(good.clone(), Verdict::Mtls.into()), Mark::Mutual);
        assert_eq!(mark(good.clone(), Verdict::Plaintext.into()), Mark::Clear);
        assert_eq!(mark(good.clone(), Verdict::Tls.into()), Mark::OneWay);
        assert_eq!(mark(good.clone(), Word::Other("new".into())), Mark::Unknown);
        assert_eq!(mark(later(), Verdict::Mtls.into()), Mark::Unknown);
        assert_eq!(mark(later(), Verdict::Plaintext.into()), Mark::Clear);
        // A mark that is worse than the counts stays: a password in cleartext, or a connection seen
        // in part.
        assert_eq!(mark(Mark::Clear.into(), Verdict::Mtls.into()), Mark::Clear);
        let before = edge(good, Verdict::Mtls.into());
        let after = edge(later(), Verdict::Mtls.into());
        let change = EdgeChange::of(Some(&before), Some(&after)).unwrap();
        assert_eq!(change.change, Change::Worse);
    }

    #[test]
    fn counts_beyond_a_number_are_nobodys() {
        let mut edge = edge(Mark::Mutual.into(), Verdict::Mtls.into());
        assert_eq!(edge.counts(), Some(2));
        edge.coverage.complete = u64::MAX;
        assert_eq!(edge.counts(), None);
    }
}

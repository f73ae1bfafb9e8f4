//! What can be filtered: edges and flows.

use mtls_core::record::{EdgeRecord, FlowRecord, Peer, Tally, Time};

use super::Wanted;

/// How much of a record is as asked: of the connections of an edge it can be some.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Share {
    /// None of it.
    None,
    /// Some of it, or that cannot be determined.
    Some,
    /// All of it.
    All,
}

impl Share {
    /// Of what is one thing.
    pub(super) fn of(all: bool) -> Self {
        if all { Self::All } else { Self::None }
    }

    /// `hits` of `total`.
    fn count(hits: u64, total: u64) -> Self {
        match hits {
            0 => Self::None,
            hits if hits >= total => Self::All,
            _ => Self::Some,
        }
    }
}

/// A record that can be asked for.
pub(crate) trait Subject {
    /// The client and the server.
    fn ends(&self) -> (&Peer, &Peer);
    /// When it was last seen.
    fn last_seen(&self) -> Time;
    /// How much of it speaks a protocol that is asked for.
    fn protocol(&self, asked: &dyn Fn(&str) -> bool) -> Share;
    /// How much of it is what is asked for.
    fn verdict(&self, wanted: Wanted) -> Share;
}

impl Subject for FlowRecord {
    fn ends(&self) -> (&Peer, &Peer) {
        (&self.src, &self.dst)
    }

    fn last_seen(&self) -> Time {
        self.last_seen
    }

    fn protocol(&self, asked: &dyn Fn(&str) -> bool) -> Share {
        Share::of(asked(&self.protocol))
    }

    fn verdict(&self, wanted: Wanted) -> Share {
        Share::of(match wanted {
            Wanted::Verdict(verdict) => self.verdict == verdict,
            Wanted::Mark(mark) => self.mark() == Some(mark),
        })
    }
}

impl Subject for EdgeRecord {
    fn ends(&self) -> (&Peer, &Peer) {
        (&self.src, &self.dst)
    }

    fn last_seen(&self) -> Time {
        self.last_seen
    }

    fn protocol(&self, asked: &dyn Fn(&str) -> bool) -> Share {
        let Tally { values, other } = &self.protocols;
        let hits = values.iter().filter(|(name, _)| asked(name));
        let hits = hits.map(|(_, n)| n).sum();
        match Share::count(hits, values.values().sum()) {
            // Beyond what an edge tells apart, there may be any.
            _ if *other > 0 => Share::Some,
            share => share,
        }
    }

    fn verdict(&self, wanted: Wanted) -> Share {
        match wanted {
            // What is exempt has a verdict too, which an edge does not count.
            Wanted::Verdict(verdict) => {
                let hits = self.verdict_counts.iter();
                let hits = hits.filter(|(own, _)| **own == verdict);
                Share::count(hits.map(|(_, n)| n).sum(), self.connections)
            }
            Wanted::Mark(mark) => Share::of(self.mark.as_ref().is_some_and(|own| *own == mark)),
        }
    }
}

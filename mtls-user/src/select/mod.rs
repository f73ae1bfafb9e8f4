//! Which records are asked for: the same filters for every verb.
//!
//! Values of one filter are alternatives; several filters have all to be met. An edge is many
//! connections: it is shown when any of them can be one that is asked for, so that a filter never
//! hides what it does not name.

mod end;
mod nothing;
mod subject;
mod typed;
mod word;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use end::End;
use mtls_core::record::Time;
use subject::Share;
pub(crate) use subject::Subject;
pub(crate) use typed::Typed;
pub(crate) use word::{Ports, Wanted};

/// One thing that a record can be asked for.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Test {
    /// One end is in this namespace.
    Namespace(String),
    /// The client.
    From(End),
    /// The server.
    To(End),
    /// One end, whichever.
    Either(End),
    /// One is the client and the other the server, whichever.
    Between(End, End),
    /// The server's port.
    Port(Ports),
    /// What is spoken.
    Protocol(String),
    /// What it is.
    Verdict(Wanted),
}

/// All filters of a question.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Filter {
    /// Groups of alternatives: of each group one has to be met.
    pub(crate) all: Vec<Vec<Test>>,
    /// None of these may be met.
    pub(crate) not: Vec<Test>,
    /// Last seen no longer ago than this.
    pub(crate) since: Option<Since>,
    /// Only so many of the latest.
    pub(crate) last: Option<usize>,
}

/// A point in time, or how long ago that was when the answer was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Since {
    /// So long before the answer.
    Ago(Duration),
    /// At this time.
    At(Time),
}

impl Since {
    /// The point in time, of an answer made at `generated`.
    pub(crate) fn time(self, generated: Time) -> Time {
        match self {
            Self::At(time) => time,
            Self::Ago(ago) => {
                let ago = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
                Time::from_nanos(generated.as_nanos().saturating_sub(ago))
            }
        }
    }
}

impl Test {
    fn share(&self, subject: &impl Subject) -> Share {
        let (src, dst) = subject.ends();
        match self {
            Self::Namespace(name) => Share::of(
                [src, dst]
                    .iter()
                    .any(|end| end.namespace() == Some(name.as_str())),
            ),
            Self::Either(end) => Share::of(end.is(src) || end.is(dst)),
            Self::From(end) => Share::of(end.is(src)),
            Self::To(end) => Share::of(end.is(dst)),
            Self::Between(one, other) => {
                Share::of((one.is(src) && other.is(dst)) || (one.is(dst) && other.is(src)))
            }
            Self::Port(ports) => Share::of(dst.port.is_some_and(|port| ports.contains(port))),
            Self::Protocol(name) => subject.protocol(&|protocol| word::is_protocol(name, protocol)),
            Self::Verdict(wanted) => subject.verdict(*wanted),
        }
    }
}

impl Filter {
    /// Whether it takes everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.iter().all(Vec::is_empty)
            && self.not.is_empty()
            && self.since.is_none()
            && self.last.is_none()
    }

    /// Whether a record of an answer made at `generated` is asked for; how many of the latest is
    /// not looked at here.
    pub(crate) fn takes(&self, subject: &impl Subject, generated: Time) -> bool {
        let since = self.since.map(|since| since.time(generated));
        since.is_none_or(|since| subject.last_seen() >= since)
            && self.all.iter().all(|group| {
                group.is_empty() || group.iter().any(|test| test.share(subject) != Share::None)
            })
            && self
                .not
                .iter()
                .all(|test| test.share(subject) != Share::All)
    }

    /// Leaves those that are asked for, in their order.
    pub(crate) fn apply<T: Subject>(&self, items: &mut Vec<T>, generated: Time) {
        items.retain(|item| self.takes(item, generated));
        let Some(spare) = self.last.and_then(|last| items.len().checked_sub(last)) else {
            return;
        };
        let mut oldest: Vec<_> = (0..items.len()).collect();
        oldest.sort_by_key(|at| items[*at].last_seen());
        oldest.truncate(spare);
        let oldest: std::collections::HashSet<_> = oldest.into_iter().collect();
        let mut at = 0..;
        items.retain(|_| at.next().is_none_or(|at| !oldest.contains(&at)));
    }

    /// Whether it asks for a pod or an address, which edges between workloads do not tell apart.
    pub(crate) fn asks_for_pods(&self) -> bool {
        let tests = self.all.iter().flatten().chain(&self.not);
        tests.into_iter().any(|test| match test {
            Test::From(end) | Test::To(end) | Test::Either(end) => end.is_of_a_pod(),
            Test::Between(one, other) => one.is_of_a_pod() || other.is_of_a_pod(),
            _ => false,
        })
    }
}

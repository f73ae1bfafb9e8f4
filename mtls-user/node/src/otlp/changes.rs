//! Detects reportable changes of edges.

use std::collections::HashMap;

use mtls_core::record::{EdgeKey, Event, FlowRecord, Mark, Verdict, Word};

use super::Notice;

/// Most edges remembered; when there are more, all are treated as new again.
const MAX: usize = 65_536;
/// Least time between two records of one kind for one edge, in nanoseconds.
const PAUSE: u64 = 1_000_000_000;

/// What was last reported about an edge.
struct State {
    mark: Option<Mark>,
    verdict: Word<Verdict>,
    changed: u64,
    downgraded: u64,
    mismatched: u64,
    /// The last connection with a mismatch.
    mismatch: Option<u64>,
}

/// Detects changes in the events of flows.
#[derive(Default)]
pub struct Changes {
    edges: HashMap<EdgeKey, State>,
    /// Changes that followed others of their kind too quickly.
    suppressed: u64,
}

impl Changes {
    /// The changes in an event. `flow` has wall-clock times.
    pub fn observe(&mut self, flow: &FlowRecord) -> Vec<Notice> {
        let mut news = Vec::new();
        let closed = flow.event == Some(Event::Closed.into());
        let open_question = flow.verdict == Verdict::Unobserved || flow.verdict == Verdict::NoData;
        if flow.exempt.is_some() || open_question && !closed {
            return news;
        }
        let key = flow.edge_key();
        let mark = flow.mark();
        let time = flow.last_seen.as_nanos();
        if self.edges.len() >= MAX && !self.edges.contains_key(&key) {
            self.edges.clear();
        }
        let suppressed = &mut self.suppressed;
        let mut is_due = |last: &mut u64| {
            let due = *last == 0 || time >= last.saturating_add(PAUSE);
            if due {
                *last = time;
            } else {
                *suppressed += 1;
            }
            due
        };
        let state = self.edges.entry(key).or_insert_with(|| {
            news.push(Notice::of_flow("mtls.edge.new", flow));
            State {
                mark,
                verdict: flow.verdict.clone(),
                changed: 0,
                downgraded: 0,
                mismatched: 0,
                mismatch: None,
            }
        });
        if state.verdict != flow.verdict || state.mark != mark {
            let lost = matches!(mark, Some(Mark::Clear | Mark::OneWay));
            let (event, last) = if state.mark == Some(Mark::Mutual) && lost {
                ("mtls.edge.downgrade", &mut state.downgraded)
            } else {
                ("mtls.edge.changed", &mut state.changed)
            };
            if is_due(last) {
                let notice = Notice::of_flow(event, flow);
                news.push(notice.with("mtls.verdict.before", state.verdict.as_str()));
            }
            state.verdict.clone_from(&flow.verdict);
            state.mark = mark;
        }
        if !flow.mismatches.is_empty() && state.mismatch != flow.connection {
            state.mismatch = flow.connection;
            if is_due(&mut state.mismatched) {
                news.push(Notice::of_flow("mtls.identity.mismatch", flow));
            }
        }
        news
    }

    /// Changes that were omitted because they followed others of their kind too quickly.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtls_core::record::{Exempt, Origin, Peer, Time, Workload};

    fn flow(number: u64, verdict: Verdict, seconds: i64) -> FlowRecord {
        let peer = |name: &str| Peer {
            workload: Some(Workload {
                name: name.into(),
                namespace: "shop".into(),
                ..Workload::default()
            }),
            ..Peer::default()
        };
        FlowRecord {
            event: Some(Event::Closed.into()),
            connection: Some(number),
            src: peer("web"),
            dst: peer("db"),
            verdict: verdict.into(),
            origin: Origin::Syn.into(),
            last_seen: Time::from_seconds(seconds),
            ..FlowRecord::default()
        }
    }

    #[test]
    fn what_is_news_is_told_once() {
        let mut changes = Changes::default();
        let mut exempt = flow(9, Verdict::Plaintext, 1);
        exempt.exempt = Some(Exempt::KubeletProbe.into());
        assert_eq!(changes.observe(&exempt), []);
        for (number, verdict, seconds, wanted) in [
            (1, Verdict::Mtls, 1, Some("mtls.edge.new")),
            (2, Verdict::Mtls, 2, None),
            (3, Verdict::Plaintext, 2, Some("mtls.edge.downgrade")),
            (4, Verdict::Plaintext, 3, None),
            (5, Verdict::Mtls, 4, Some("mtls.edge.changed")),
            (6, Verdict::Tls, 9, Some("mtls.edge.downgrade")),
        ] {
            let news = changes.observe(&flow(number, verdict, seconds));
            let events: Vec<_> = news.iter().map(|notice| notice.event).collect();
            assert_eq!(events, Vec::from_iter(wanted), "{number}");
        }
        assert_eq!(changes.suppressed(), 0);
    }

    #[test]
    fn an_edge_that_flickers_is_no_flood_and_its_edges_are_bounded() {
        let mut changes = Changes::default();
        let mut told = 0;
        for number in 0..10_000 {
            let verdict = [Verdict::Mtls, Verdict::Plaintext][number as usize % 2];
            let second = 1 + number as i64 / 1_000;
            told += changes.observe(&flow(number, verdict, second)).len();
        }
        assert!(told < 25, "{told}");
        assert!(changes.suppressed() > 9_000);
        for number in 0..100_000 {
            let mut flow = flow(number, Verdict::Mtls, 1);
            flow.dst.port = Some((number % 65_536) as u16);
            flow.src.workload.as_mut().unwrap().name = format!("pod-{}", number / 1_000).into();
            changes.observe(&flow);
        }
        assert!(changes.edges.len() <= MAX);
    }
}

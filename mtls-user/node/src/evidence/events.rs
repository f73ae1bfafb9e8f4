//! Events (`events.k8s.io/v1`) on pods, with the conventions of client-go: repetitions are a series
//! of one Event, and the number per pod is limited.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::json;
use smol_str::SmolStr;

use super::Pod;
use super::object::{related, title};
use mtls_core::escape::escape;
use mtls_core::record::{
    EdgeKey, Event as Happening, Expected, FlowRecord, Mark, Outcome, Verdict, Word,
};

/// Most edges remembered; when there are more, all are treated as new again.
const MAX_EDGES: usize = 65_536;
/// Most concurrent series.
const MAX_SERIES: usize = 512;
/// After this long without a repetition, in nanoseconds, the next one is a new series: client-go's
/// value.
const QUIET: u64 = 360_000_000_000;
/// Least time between two updates of a series.
const PAUSE: u64 = 60_000_000_000;
/// Longest note, in bytes; the API allows 1,024.
const MAX_NOTE: usize = 1_000;

/// A reason for an Event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Finding {
    /// An edge that was mutual TLS carries plaintext or server-only TLS.
    Downgrade,
    /// The first plaintext of an edge that is expected to be mutual TLS.
    Plaintext,
}

impl Finding {
    /// The Event's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Downgrade => "MutualTLSDowngraded",
            Self::Plaintext => "PlaintextNotExpected",
        }
    }

    fn note(self, flow: &FlowRecord) -> String {
        let what = match self {
            Self::Downgrade => "No longer mutual TLS",
            Self::Plaintext => "Plaintext where mutual TLS is expected",
        };
        let port = flow.dst.port.unwrap_or_default();
        let (src, dst) = (title(&flow.src), title(&flow.dst));
        let transport = flow.transport.as_str();
        let expected = flow.expectation.as_ref().and_then(|it| it.reason.as_ref());
        let expected = expected.map_or_else(String::new, |reason| format!("; {reason}"));
        let note = format!(
            "{what}: {src} to {dst}, port {port}/{transport}: {}{expected}",
            flow.reason
        );
        escape(&note, MAX_NOTE).into_owned()
    }
}

/// Detects reasons for Events in the events of flows.
#[derive(Default)]
pub struct Find {
    edges: HashMap<EdgeKey, State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    is_mutual: bool,
    was_told: bool,
}

impl Find {
    /// The reason for an Event in an event of a flow, if there is one.
    pub fn observe(&mut self, flow: &FlowRecord) -> Option<Finding> {
        let closed = flow.event == Some(Happening::Closed.into());
        let open_question = flow.verdict == Verdict::Unobserved || flow.verdict == Verdict::NoData;
        if flow.exempt.is_some() || open_question && !closed {
            return None;
        }
        let key = flow.edge_key();
        if self.edges.len() >= MAX_EDGES && !self.edges.contains_key(&key) {
            self.edges.clear();
        }
        let state = self.edges.entry(key).or_default();
        let before = *state;
        let mark = flow.mark();
        match mark {
            Some(Mark::Mutual) => state.is_mutual = true,
            Some(Mark::Clear | Mark::OneWay) => state.is_mutual = false,
            _ => {}
        }
        let lost = matches!(mark, Some(Mark::Clear | Mark::OneWay));
        if before.is_mutual && lost {
            state.was_told = true;
            return Some(Finding::Downgrade);
        }
        let expectation = flow.expectation.as_ref();
        let is_worse = expectation.is_some_and(|it| {
            it.outcome == Outcome::Worse
                && it.expected.as_ref().and_then(Word::known) == Some(Expected::Mtls)
        });
        if mark == Some(Mark::Clear) && is_worse && !before.was_told {
            state.was_told = true;
            return Some(Finding::Plaintext);
        }
        None
    }
}

/// The identity of a series.
type Key = (Pod, Finding, Option<(SmolStr, SmolStr)>);

struct Series {
    name: String,
    count: i32,
    seen: u64,
    written: u64,
    /// Whether something happened that is not written yet.
    is_behind: bool,
}

/// Writes Events.
pub struct Recorder {
    client: Client,
    node: SmolStr,
    series: HashMap<Key, Series>,
}

impl Recorder {
    /// Writes as the daemon of `node`.
    pub fn new(client: Client, node: SmolStr) -> Self {
        Self {
            client,
            node,
            series: HashMap::new(),
        }
    }

    /// Counts a repetition in the current series, if there is one; returns whether there is.
    pub fn again(&mut self, pod: &Pod, finding: Finding, flow: &FlowRecord, now: u64) -> bool {
        let Some(series) = self.series.get_mut(&key(pod, finding, flow)) else {
            return false;
        };
        if now > series.seen + QUIET {
            return false;
        }
        series.count = series.count.saturating_add(1);
        series.seen = now;
        series.is_behind = true;
        true
    }

    /// Writes the first Event of a series.
    pub async fn write(
        &mut self,
        pod: &Pod,
        finding: Finding,
        flow: &FlowRecord,
        now: u64,
    ) -> Result<(), Error> {
        let time = Timestamp::now();
        let name = format!("{}.{:x}", pod.name, time.as_nanosecond());
        let event = self.event(pod, finding, flow, &name, time);
        let events: Api<Event> = Api::namespaced(self.client.clone(), &pod.namespace);
        events.create(&PostParams::default(), &event).await?;
        self.series.retain(|_, series| now <= series.seen + QUIET);
        if self.series.len() < MAX_SERIES {
            let first = Series {
                name,
                count: 1,
                seen: now,
                written: now,
                is_behind: false,
            };
            self.series.insert(key(pod, finding, flow), first);
        }
        Ok(())
    }

    fn event(
        &self,
        pod: &Pod,
        finding: Finding,
        flow: &FlowRecord,
        name: &str,
        time: Timestamp,
    ) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some(pod.namespace.to_string()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(time)),
            reporting_controller: Some("mtls.internal/daemon".into()),
            reporting_instance: Some(self.node.to_string()),
            action: Some("Observed".into()),
            reason: Some(finding.reason().into()),
            type_: Some("Warning".into()),
            note: Some(finding.note(flow)),
            regarding: Some(pod.reference()),
            related: other(pod, flow),
            ..Event::default()
        }
    }

    /// Updates series that have continued; returns how many were written, and how many could not
    /// be.
    pub async fn catch_up(&mut self, now: u64) -> (u64, u64) {
        let (mut sent, mut failed) = (0, 0);
        let mut gone = Vec::new();
        for (key, series) in &mut self.series {
            if !series.is_behind || now < series.written + PAUSE {
                continue;
            }
            let patch = json!({"series": EventSeries {
                count: series.count,
                last_observed_time: MicroTime(Timestamp::now()),
            }});
            let events: Api<Event> = Api::namespaced(self.client.clone(), &key.0.namespace);
            let params = PatchParams::default();
            match events
                .patch(&series.name, &params, &Patch::Merge(&patch))
                .await
            {
                Ok(_) => {
                    sent += 1;
                    series.written = now;
                    series.is_behind = false;
                }
                Err(error) => {
                    failed += 1;
                    tracing::debug!("an Event's series: {error}");
                    // It may have expired; the next repetition is a new one.
                    gone.push(key.clone());
                }
            }
        }
        for key in gone {
            self.series.remove(&key);
        }
        (sent, failed)
    }
}

/// The other end, if it is a pod.
fn other(pod: &Pod, flow: &FlowRecord) -> Option<ObjectReference> {
    related(if pod.is(&flow.src) {
        &flow.dst
    } else {
        &flow.src
    })
}

fn key(pod: &Pod, finding: Finding, flow: &FlowRecord) -> Key {
    let other = other(pod, flow).map(|other| {
        let text = |part: Option<String>| SmolStr::from(part.unwrap_or_default());
        (text(other.namespace), text(other.name))
    });
    (pod.clone(), finding, other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtls_core::record::{Exempt, Expectation, Origin, Peer, Workload};

    fn flow(verdict: Verdict, expected: Option<Expected>) -> FlowRecord {
        let peer = |name: &str| Peer {
            port: Some(5432),
            workload: Some(Workload {
                name: name.into(),
                namespace: "shop".into(),
                pod: Some(format!("{name}-0").into()),
                ..Workload::default()
            }),
            ..Peer::default()
        };
        let outcome = match (expected, verdict) {
            (None, _) => Outcome::NothingExpected,
            (_, Verdict::Mtls) => Outcome::AsExpected,
            _ => Outcome::Worse,
        };
        FlowRecord {
            event: Some(Happening::Classified.into()),
            src: peer("web"),
            dst: peer("db"),
            verdict: verdict.into(),
            origin: Origin::Syn.into(),
            reason: "a startup packet \u{1b}[2J".into(),
            expectation: Some(Expectation {
                expected: expected.map(Into::into),
                outcome: outcome.into(),
                reason: Some("somebody said so".into()),
                ..Expectation::default()
            }),
            ..FlowRecord::default()
        }
    }

    #[test]
    fn a_downgrade_and_the_first_unexpected_plaintext_are_found() {
        let mtls = Some(Expected::Mtls);
        let mut exempt = flow(Verdict::Plaintext, mtls);
        exempt.exempt = Some(Exempt::KubeletProbe.into());
        let mut find = Find::default();
        assert_eq!(find.observe(&exempt), None);
        for (verdict, expected, finding) in [
            (Verdict::Unobserved, mtls, None),
            (Verdict::Plaintext, None, None),
            (Verdict::Plaintext, Some(Expected::Tls), None),
            (Verdict::Plaintext, mtls, Some(Finding::Plaintext)),
            (Verdict::Plaintext, mtls, None),
            (Verdict::Mtls, mtls, None),
            (Verdict::TlsUnproven, mtls, None),
            (Verdict::Tls, None, Some(Finding::Downgrade)),
            (Verdict::Plaintext, None, None),
            (Verdict::Mtls, None, None),
            (Verdict::Plaintext, None, Some(Finding::Downgrade)),
        ] {
            let found = find.observe(&flow(verdict, expected));
            assert_eq!(found, finding, "{verdict} {expected:?}");
        }
    }

    #[test]
    fn a_note_says_what_was_seen_and_is_harmless() {
        let mut seen = flow(Verdict::Plaintext, Some(Expected::Mtls));
        let note = Finding::Plaintext.note(&seen);
        assert_eq!(
            note,
            "Plaintext where mutual TLS is expected: shop/web to shop/db, port 5432/tcp: a startup \
             packet \\u{1b}[2J; somebody said so"
        );
        seen.reason = "x".repeat(5_000).into();
        assert!(Finding::Downgrade.note(&seen).len() <= 1_024);
    }

    #[test]
    fn edges_are_bounded() {
        let mut find = Find::default();
        for number in 0..100_000_u32 {
            let mut seen = flow(Verdict::Mtls, None);
            seen.src.workload.as_mut().unwrap().name = format!("pod-{number}").into();
            find.observe(&seen);
        }
        assert!(find.edges.len() <= MAX_EDGES);
    }
}

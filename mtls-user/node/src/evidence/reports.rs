//! Policy reports: one for each pod of this node, owned by it, with one result for each of its
//! edges.
//!
//! `openreports.io/v1alpha1` and its predecessor `wgpolicyk8s.io/v1alpha2` have the same structure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Client, Error};
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::Pod;
use super::object::title;
use mtls_core::escape::escape;
use mtls_core::record::{EdgeKey, FlowRecord, Mark, Outcome, Time, Word};

/// Most results in one report; omitted ones are the best, and are counted.
const MAX_RESULTS: usize = 100;
/// Longest message of a result, in bytes.
const MAX_MESSAGE: usize = 512;

/// Which of the two is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    /// `openreports.io/v1alpha1`.
    OpenReports,
    /// `wgpolicyk8s.io/v1alpha2`.
    WgPolicy,
}

impl Flavour {
    fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::OpenReports => ("openreports.io", "v1alpha1", "Report", "reports"),
            Self::WgPolicy => (
                "wgpolicyk8s.io",
                "v1alpha2",
                "PolicyReport",
                "policyreports",
            ),
        };
        ApiResource {
            group: group.into(),
            version: version.into(),
            api_version: format!("{group}/{version}"),
            kind: kind.into(),
            plural: plural.into(),
        }
    }
}

/// A result; ordered with the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    Fail,
    Warn,
    Error,
    Pass,
    Skip,
}

impl Verdict {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Fail, "fail"),
        (Self::Warn, "warn"),
        (Self::Error, "error"),
        (Self::Pass, "pass"),
        (Self::Skip, "skip"),
    ];

    /// The result for a flow: `fail` is worse than expected, `warn` is not mutual TLS without an
    /// expectation, `error` is unknown, `skip` is exempt.
    fn of(flow: &FlowRecord) -> Self {
        let outcome = flow.expectation.as_ref().and_then(|it| it.outcome.known());
        match (flow.mark(), outcome) {
            (None, _) => Self::Skip,
            (_, Some(Outcome::Worse)) => Self::Fail,
            (Some(Mark::Unknown), _) => Self::Error,
            (_, Some(Outcome::AsExpected | Outcome::Better)) | (Some(Mark::Mutual), _) => {
                Self::Pass
            }
            (Some(Mark::Clear | Mark::OneWay), _) => Self::Warn,
        }
    }

    fn word(self) -> &'static str {
        let all = Self::ALL.iter().find(|(one, _)| *one == self);
        all.map_or("error", |(_, word)| word)
    }

    fn severity(self, mark: Option<Mark>) -> &'static str {
        match (self, mark) {
            (Self::Fail, _) => "high",
            (Self::Warn, Some(Mark::Clear)) => "medium",
            (Self::Warn | Self::Error, _) => "low",
            (Self::Pass | Self::Skip, _) => "info",
        }
    }
}

/// The reports that were written, so that only changed ones are written again.
pub struct Book {
    flavour: Flavour,
    client: Client,
    node: SmolStr,
    written: HashMap<Pod, Value>,
}

impl Book {
    /// Nothing has been written yet.
    pub fn new(client: Client, flavour: Flavour, node: SmolStr) -> Self {
        Self {
            flavour,
            client,
            node,
            written: HashMap::new(),
        }
    }

    /// The reports to write: those of `pods` that differ from the written ones.
    pub fn due(&mut self, pods: &[Pod], flows: &[Arc<FlowRecord>]) -> Vec<(Pod, Value)> {
        self.written.retain(|pod, _| pods.contains(pod));
        let mut by_pod: HashMap<(&str, &str), Vec<&FlowRecord>> = HashMap::new();
        for flow in flows {
            for peer in [&flow.src, &flow.dst] {
                let who = peer.workload.as_ref();
                let pod = who.and_then(|who| Some((who.namespace.as_str(), who.pod.as_deref()?)));
                if let Some(pod) = pod {
                    by_pod.entry(pod).or_default().push(flow);
                }
            }
        }
        let own = pods.iter().filter(|pod| is_uid(&pod.uid));
        own.filter_map(|pod| {
            let flows = by_pod.get(&(pod.namespace.as_str(), pod.name.as_str()));
            let report = self.report(pod, flows.map_or(&[][..], Vec::as_slice));
            (self.written.get(pod) != Some(&report)).then(|| (pod.clone(), report))
        })
        .collect()
    }

    /// Writes one, and remembers that it was written.
    pub async fn write(&mut self, pod: Pod, report: Value) -> Result<(), Error> {
        let resource = self.flavour.resource();
        let reports: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &pod.namespace, &resource);
        let params = PatchParams::apply("mtls").force();
        let mut object = report.clone();
        stamp(
            &mut object,
            Time::from_nanos(crate::clock::wall(crate::clock::now())),
        );
        reports
            .patch(&name(&pod), &params, &Patch::Apply(&object))
            .await?;
        self.written.insert(pod, report);
        Ok(())
    }

    fn report(&self, pod: &Pod, flows: &[&FlowRecord]) -> Value {
        let mut edges: BTreeMap<EdgeKey, (Verdict, &FlowRecord)> = BTreeMap::new();
        for flow in flows {
            let verdict = Verdict::of(flow);
            let worst = edges.entry(flow.edge_key()).or_insert((verdict, flow));
            if verdict < worst.0 {
                *worst = (verdict, flow);
            }
        }
        let mut sorted: Vec<_> = edges.into_values().collect();
        // Equal ones remain in the order of their names.
        sorted.sort_by_key(|(verdict, _)| *verdict);
        let count = |one| sorted.iter().filter(|(verdict, _)| *verdict == one).count();
        let summary: BTreeMap<_, _> = Verdict::ALL
            .into_iter()
            .map(|(one, word)| (word, count(one)))
            .collect();
        let results: Vec<_> = sorted
            .iter()
            .take(MAX_RESULTS)
            .map(|(verdict, flow)| result(pod, *verdict, flow))
            .collect();
        let resource = self.flavour.resource();
        json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": name(pod),
                "namespace": pod.namespace,
                "labels": {"app.kubernetes.io/managed-by": "mtls"},
                "annotations": {
                    "mtls.internal/node": self.node,
                    "mtls.internal/left-out": (sorted.len() - results.len()).to_string(),
                },
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": pod.name,
                    "uid": pod.uid}],
            },
            "scope": pod.reference(),
            "summary": summary,
            "results": results,
        })
    }
}

fn result(pod: &Pod, verdict: Verdict, flow: &FlowRecord) -> Value {
    let direction = if pod.is(&flow.dst) { "in" } else { "out" };
    let expectation = flow.expectation.as_ref();
    let expected = expectation.and_then(|it| it.reason.as_ref());
    let expected = expected.map_or_else(String::new, |reason| format!("; {reason}"));
    let message = format!("{}: {}{expected}", flow.verdict, flow.reason);
    let text = |text: &str| escape(text, MAX_MESSAGE).into_owned();
    let port = flow.dst.port.unwrap_or_default();
    json!({
        "source": "mtls",
        "category": "Encryption in transit",
        "policy": "mutual-tls",
        "rule": expectation
            .and_then(|it| it.expected.as_ref())
            .map_or("nothing-expected", Word::as_str),
        "result": verdict.word(),
        "severity": verdict.severity(flow.mark()),
        "scored": verdict != Verdict::Warn,
        "message": text(&message),
        "properties": {
            "direction": direction,
            "source": text(&title(&flow.src)),
            "destination": text(&title(&flow.dst)),
            "port": port.to_string(),
            "transport": flow.transport.as_str(),
            "verdict": flow.verdict.as_str(),
            "outcome": expectation.map_or("nothing-expected", |it| it.outcome.as_str()),
        },
    })
}

/// The time of the result, which is not part of the comparison.
fn stamp(report: &mut Value, time: Time) {
    let seconds = time.as_nanos() / 1_000_000_000;
    for result in report["results"].as_array_mut().into_iter().flatten() {
        result["timestamp"] = json!({"seconds": seconds, "nanos": 0});
    }
}

fn name(pod: &Pod) -> String {
    format!("mtls-{}", pod.uid)
}

/// Whether the API has a pod with this id: a static pod has a different id there, and an object
/// owned by an unknown id would be deleted immediately.
fn is_uid(uid: &str) -> bool {
    uid.len() == 36 && uid.bytes().filter(|byte| *byte == b'-').count() == 4
}

#[cfg(test)]
#[path = "reports_tests.rs"]
mod tests;

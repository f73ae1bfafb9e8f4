//! Writes to the Kubernetes API: Events and policy reports.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::{Client, Error};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;

use super::parts::Parts;
use super::{engine, server};
use crate::clock::now;
use crate::evidence::{Book, Find, Finding, Flavour, Limiter, Pod, Recorder, Written};
use crate::metrics::Outlet;
use crate::pods::kubernetes;
use mtls_core::record::FlowRecord;

/// Most reports written per interval.
const REPORTS: usize = 20;
/// When the API rejects something, it is retried after this time.
const REFUSED: Duration = Duration::from_mins(10);
/// How often series of Events are checked.
const SERIES: Duration = Duration::from_secs(10);

/// What is written.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    /// Whether to write Events on pods.
    pub events: bool,
    /// Policy reports, of this kind.
    pub reports: Option<Flavour>,
    /// How often reports are compared with the written ones.
    pub interval: Duration,
}

/// The outcomes of writes.
#[derive(Clone, Default)]
pub(super) struct Tallies {
    events: Option<Arc<Written>>,
    reports: Option<Arc<Written>>,
}

impl Tallies {
    pub(super) fn new(witness: &Witness) -> Self {
        let written = |name| move || Written::new(name);
        Self {
            events: witness.events.then(written("kubernetes-events")),
            reports: witness.reports.map(|_| written("policy-reports")()),
        }
    }

    pub(super) fn outlets(&self) -> impl Iterator<Item = Outlet> {
        let all = [&self.events, &self.reports].into_iter().flatten();
        all.map(|written| written.outlet())
    }
}

/// Starts the enabled features.
pub(super) async fn start(
    parts: &mut Parts,
    options: &super::Options,
    state: &Arc<server::State>,
) -> anyhow::Result<()> {
    let witness = &options.witness;
    anyhow::ensure!(
        witness.reports.is_none() || options.history > 0,
        "--policy-reports are made of the connections that --history keeps, and it keeps none"
    );
    let options = &options.kubernetes;
    let tallies = state.tallies.clone();
    if tallies.events.is_none() && tallies.reports.is_none() {
        return Ok(());
    }
    let what = "--kubernetes-events, --policy-reports";
    anyhow::ensure!(
        options.node.is_some(),
        "{what}: which node this is, is not known: give --node-name, or set NODE_NAME"
    );
    let client = kubernetes::client(options.kubeconfig.as_deref()).await;
    let client = client.context(what)?;
    if let Some(written) = tallies.events {
        let events = events(state.clone(), client.clone(), written);
        parts.task("writing Events", events);
    }
    if let (Some(written), Some(flavour)) = (tallies.reports, witness.reports) {
        let reports = reports(state.clone(), client, flavour, witness.interval, written);
        parts.task("writing policy reports", reports);
    }
    Ok(())
}

async fn events(
    state: Arc<server::State>,
    client: Client,
    written: Arc<Written>,
) -> anyhow::Result<()> {
    let mut flows = state.tap.subscribe();
    let mut find = Find::default();
    let mut own = Own::default();
    let mut limiter = Limiter::new(now());
    let mut recorder = Recorder::new(client, state.node.clone());
    let mut tick = tokio::time::interval(SERIES);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = flows.recv() => match event {
                Ok(flow) => if let Some(finding) = find.observe(&flow) {
                    let pods = own.pods(&state).iter();
                    for pod in pods.filter(|pod| pod.is(&flow.src) || pod.is(&flow.dst)) {
                        tell(&mut recorder, &mut limiter, &written, pod, finding, &flow).await;
                    }
                },
                // It is unknown whether missed events were worth a Kubernetes Event.
                Err(RecvError::Lagged(missed)) => written.dropped(missed),
                Err(RecvError::Closed) => std::future::pending().await,
            },
            _ = tick.tick() => {
                let (sent, failed) = recorder.catch_up(now()).await;
                written.sent(sent);
                written.dropped(failed);
            }
        }
    }
}

async fn tell(
    recorder: &mut Recorder,
    limiter: &mut Limiter<Pod>,
    written: &Written,
    pod: &Pod,
    finding: Finding,
    flow: &FlowRecord,
) {
    if recorder.again(pod, finding, flow, now()) {
        return;
    }
    if !limiter.allows(pod.clone(), now()) {
        written.dropped(1);
        return;
    }
    match recorder.write(pod, finding, flow, now()).await {
        Ok(()) => written.sent(1),
        Err(error) => {
            written.dropped(1);
            tracing::warn!("an Event was not written: {}", reason(&error, "events"));
        }
    }
}

async fn reports(
    state: Arc<server::State>,
    client: Client,
    flavour: Flavour,
    interval: Duration,
    written: Arc<Written>,
) -> anyhow::Result<()> {
    let mut book = Book::new(client, flavour, state.node.clone());
    let mut own = Own::default();
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (reply, answer) = oneshot::channel();
        let _ = state.engine.send(engine::Query::Flows(reply)).await;
        let Ok((flows, _)) = answer.await else {
            continue;
        };
        let due = book.due(own.pods(&state), &flows);
        for (pod, report) in due.into_iter().take(REPORTS) {
            match book.write(pod, report).await {
                Ok(()) => written.sent(1),
                Err(error) => {
                    written.dropped(1);
                    let reason = reason(&error, "the reports");
                    tracing::warn!("a policy report was not written: {reason}");
                    tokio::time::sleep(REFUSED).await;
                    break;
                }
            }
        }
    }
}

/// The pods of this node, looked up only when names have changed.
#[derive(Default)]
struct Own {
    generation: Option<u64>,
    pods: Vec<Pod>,
}

impl Own {
    fn pods(&mut self, state: &server::State) -> &[Pod] {
        let generation = Some(state.directory.generation());
        if self.generation != generation {
            self.generation = generation;
            let entries = state.directory.pods_of(&state.node);
            self.pods = entries.iter().filter_map(|entry| Pod::of(entry)).collect();
            self.pods.sort();
            self.pods.dedup();
        }
        &self.pods
    }
}

fn reason(error: &Error, what: &str) -> String {
    match error {
        Error::Api(status) if status.code == 404 => {
            format!("{}: is the API of {what} installed?", status.message)
        }
        Error::Api(status) if matches!(status.code, 401 | 403) => format!(
            "{}: grant the daemon's service account create and patch on {what}",
            status.message
        ),
        error => error.to_string(),
    }
}

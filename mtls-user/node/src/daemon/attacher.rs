//! The task that follows interfaces and owns the programs attached to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::latency::Latency;
use super::status;
use super::told;
use crate::kernel::{Change, Choice, Kernel, Link, Links};
use mtls_core::record::{KernelStatus, NotAttached};

/// How long the programs' runs are measured after the start.
const MEASURE_FIRST: Duration = Duration::from_secs(10);
/// How long later, and how often.
const MEASURE: Duration = Duration::from_secs(1);
const MEASURE_EVERY: Duration = Duration::from_mins(1);

/// What the server asks.
pub(super) enum Query {
    Status(oneshot::Sender<KernelStatus>),
}

pub(super) struct Attacher {
    kernel: Kernel,
    links: Links,
    /// Names to attach to; empty: every veth that leads to another namespace.
    wanted: Vec<String>,
    refresher: Arc<Notify>,
    latency: Latency,
    /// Interfaces that could not be attached to, and why.
    failed: HashMap<u32, NotAttached>,
}

impl Attacher {
    pub(super) async fn new(
        kernel: Kernel,
        choice: Choice,
        refresher: Arc<Notify>,
    ) -> anyhow::Result<Self> {
        let wanted = choice.watched.clone();
        let links = Links::open(choice).await.context("listen for interfaces")?;
        Ok(Self {
            kernel,
            links,
            wanted,
            refresher,
            latency: Latency::default(),
            failed: HashMap::new(),
        })
    }

    /// Attaches to what is there, and returns to how many interfaces.
    pub(super) async fn attach_all(&mut self) -> anyhow::Result<usize> {
        let links = self.links.list().await.context("list interfaces")?;
        for attached in self.kernel.attached() {
            if !links.iter().any(|link| link.ifindex == attached.ifindex) {
                self.forget(attached.ifindex);
            }
        }
        for link in links {
            self.attach(&link, Instant::now());
        }
        Ok(self.kernel.attached().len())
    }

    pub(super) async fn run(
        mut self,
        look_again: Duration,
        mut queries: mpsc::Receiver<Query>,
        mut stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let again = !look_again.is_zero();
        let period = if again {
            look_again
        } else {
            Duration::from_hours(1)
        };
        // Measuring costs every BPF program of the node two readings of the clock per run: it is
        // done for a while at the start, and then for a second a minute.
        self.kernel.measure(true);
        let mut measured = tokio::time::Instant::now() + MEASURE_FIRST;
        let mut measuring = true;
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        loop {
            tokio::select! {
                change = self.links.next() => match change.context("listen for interfaces")? {
                    Change::Added(link) => {
                        let heard = Instant::now();
                        tokio::task::block_in_place(|| self.attach(&link, heard));
                        self.refresher.notify_one();
                    }
                    Change::Removed(ifindex) => self.forget(ifindex),
                    Change::Resync => {
                        self.attach_all().await?;
                        self.refresher.notify_one();
                    }
                },
                Some(Query::Status(reply)) = queries.recv() => {
                    let _ = reply.send(self.status());
                }
                () = tokio::time::sleep_until(measured) => {
                    measuring = !measuring;
                    self.kernel.measure(measuring);
                    measured += if measuring { MEASURE } else { MEASURE_EVERY };
                }
                _ = tick.tick(), if again => self.kernel.tick()?,
                () = told(&mut stopped) => break,
            }
        }
        for attached in self.kernel.attached() {
            self.forget(attached.ifindex);
        }
        Ok(())
    }

    fn attach(&mut self, link: &Link, heard: Instant) {
        if !self.wanted.is_empty() && !self.wanted.contains(&link.name) {
            return;
        }
        if self
            .kernel
            .attached()
            .iter()
            .any(|attached| attached.ifindex == link.ifindex)
        {
            return;
        }
        match self.kernel.attach(link.ifindex) {
            Ok(attached) => {
                self.failed.remove(&link.ifindex);
                self.latency.add(heard.elapsed());
                tracing::info!(interface = %attached.name, ifindex = attached.ifindex, "attached");
            }
            Err(error) => {
                tracing::warn!(interface = %link.name, "not attached: {error:#}");
                let failure = NotAttached {
                    name: link.name.clone(),
                    reason: format!("{error:#}"),
                };
                self.failed.insert(link.ifindex, failure);
            }
        }
    }

    fn forget(&mut self, ifindex: u32) {
        self.failed.remove(&ifindex);
        if let Err(error) = self.kernel.detach(ifindex) {
            // The usual reason: the interface took its programs with it.
            tracing::debug!(ifindex, "detach: {error:#}");
        }
    }

    fn status(&self) -> KernelStatus {
        KernelStatus {
            interfaces: self
                .kernel
                .attached()
                .into_iter()
                .map(status::interface)
                .collect(),
            not_attached: self.failed.values().cloned().collect(),
            uplinks: self.links.uplinks(),
            attach: self.latency.summary(),
            counters: status::counters(self.kernel.counters()),
            programs: self
                .kernel
                .programs()
                .into_iter()
                .map(status::program)
                .collect(),
        }
    }
}

//! The thread that owns the kernel programs, and attaches them.
//!
//! Attaching waits for the kernel, so it has a thread of its own and delays nothing else. Work is
//! done in small steps, and queries are answered between them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::bail;
use nix::errno::Errno;
use tokio::sync::{Notify, oneshot};

use super::latency::Latency;
use super::status;
use crate::kernel::{self, Change, Kernel, Link};
use mtls_core::record::{KernelStatus, NotAttached, Time, Uplink};

/// How long program runs are measured after start-up.
const MEASURE_FIRST: Duration = Duration::from_secs(10);
/// How long they are measured later, and how often.
const MEASURE: Duration = Duration::from_secs(1);
const MEASURE_EVERY: Duration = Duration::from_mins(1);
/// This many waiting interfaces are a burst: all of them are first watched with filters.
const BURST: usize = 4;
/// First and longest delay before a retry; the delay doubles each time.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));
/// How often the daemon checks for programs that run before ours.
const LOOK_AHEAD: Duration = Duration::from_secs(10);

/// Requests to the thread.
pub(super) enum Command {
    /// An interface appeared or disappeared.
    Change(Change),
    /// The complete list of interfaces: the answer is how many of them are watched.
    Listed(
        Vec<Link>,
        Vec<Uplink>,
        oneshot::Sender<anyhow::Result<usize>>,
    ),
    Status(oneshot::Sender<KernelStatus>),
    /// Detach from everything; the sender is dropped when that is done.
    Stop(oneshot::Sender<()>),
}

/// An interface that could not be attached to.
struct Failure {
    link: Link,
    reason: String,
    attempts: u32,
    next: Instant,
}

pub(super) struct Attacher {
    kernel: Kernel,
    /// Names of interfaces to attach to; if empty, every veth that leads to another namespace.
    wanted: Vec<String>,
    refresher: Arc<Notify>,
    latency: Latency,
    /// Interfaces that existed before are late by at most this.
    started: Instant,
    /// Whether all interfaces have been listed once.
    has_listed: bool,
    /// Interfaces waiting to be attached, with the time when that was known.
    pending: VecDeque<(Link, Instant)>,
    /// Watched with filters until there is time for links.
    unsettled: VecDeque<u32>,
    failed: HashMap<u32, Failure>,
    /// Veths that lead to the network, and are not watched.
    uplinks: Vec<Uplink>,
    /// Other programs that run before ours, by interface.
    ahead: HashMap<u32, Vec<String>>,
    /// Interfaces whose hooks are still to be checked in this round.
    to_look_at: Vec<u32>,
}

impl Attacher {
    pub(super) fn new(kernel: Kernel, wanted: Vec<String>, refresher: Arc<Notify>) -> Self {
        Self {
            kernel,
            wanted,
            refresher,
            latency: Latency::default(),
            started: Instant::now(),
            has_listed: false,
            pending: VecDeque::new(),
            unsettled: VecDeque::new(),
            failed: HashMap::new(),
            uplinks: Vec::new(),
            ahead: HashMap::new(),
            to_look_at: Vec::new(),
        }
    }

    /// Runs until it is told to stop, or no requester is left.
    pub(super) fn run(
        mut self,
        look_again: Duration,
        commands: &Receiver<Command>,
    ) -> anyhow::Result<()> {
        // Measuring makes every BPF program of the node read the clock twice per run. It is
        // therefore done only for a while at start-up, and then for one second per minute.
        self.kernel.measure(true);
        let mut measuring = true;
        let start = Instant::now();
        let mut measured = start + MEASURE_FIRST;
        let mut generation = (!look_again.is_zero()).then(|| start + look_again);
        let mut look_ahead = start + LOOK_AHEAD;
        loop {
            let now = Instant::now();
            if measured <= now {
                measuring = !measuring;
                self.kernel.measure(measuring);
                measured = now + if measuring { MEASURE } else { MEASURE_EVERY };
            }
            if let Some(due) = generation.filter(|due| *due <= now) {
                self.kernel.tick()?;
                generation = Some((due + look_again).max(now));
            }
            if look_ahead <= now {
                self.to_look_at = self.kernel.indexes();
                look_ahead = now + LOOK_AHEAD;
            }
            let wait = if self.has_work() {
                Duration::ZERO
            } else {
                let retry = self.failed.values().map(|failure| failure.next).min();
                let next = [Some(measured), Some(look_ahead), generation, retry];
                let next = next.into_iter().flatten().min().unwrap_or(measured);
                next.saturating_duration_since(now)
            };
            match commands.recv_timeout(wait) {
                Ok(Command::Stop(done)) => {
                    self.stop();
                    drop(done);
                    return Ok(());
                }
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Timeout) => self.work(),
                Err(RecvTimeoutError::Disconnected) => {
                    self.stop();
                    return Ok(());
                }
            }
        }
    }

    fn has_work(&self) -> bool {
        let waiting = !self.pending.is_empty() || !self.unsettled.is_empty();
        waiting || !self.to_look_at.is_empty()
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Change(Change::Added(link)) => self.expect(link),
            Command::Change(Change::Removed(ifindex)) => self.forget(ifindex),
            // The follower lists the interfaces again.
            Command::Change(Change::Resync) | Command::Stop(_) => {}
            Command::Listed(links, uplinks, reply) => {
                self.uplinks = uplinks;
                let _ = reply.send(self.listed(links));
            }
            // The requester may be gone.
            Command::Status(reply) => drop(reply.send(self.status())),
        }
    }

    /// One small step of work.
    fn work(&mut self) {
        if let Some((link, known)) = self.pending.pop_front() {
            let burst = self.pending.len() >= BURST || !self.unsettled.is_empty();
            self.attach(link, known, burst);
        } else if let Some(ifindex) = self.unsettled.pop_front() {
            match self.kernel.settle(ifindex) {
                Ok(_) => {}
                Err(error) if kernel::is_gone(&error) => {}
                Err(error) => tracing::warn!(ifindex, "filters stay: {error:#}"),
            }
        } else if let Some(ifindex) = self.to_look_at.pop() {
            self.look_ahead(ifindex);
        } else {
            self.retry();
        }
    }

    fn retry(&mut self) {
        let now = Instant::now();
        let due = self.failed.values().filter(|failure| failure.next <= now);
        let due: Vec<Link> = due.map(|failure| failure.link.clone()).collect();
        self.pending.extend(due.into_iter().map(|link| (link, now)));
    }

    /// Processes the list of all interfaces; answers how many are watched in the end.
    fn listed(&mut self, links: Vec<Link>) -> anyhow::Result<usize> {
        for ifindex in self.kernel.indexes() {
            if !links.iter().any(|link| link.ifindex == ifindex) {
                self.forget(ifindex);
            }
        }
        let is_first = !std::mem::replace(&mut self.has_listed, true);
        for link in links {
            // Remains of a killed daemon are on interfaces that existed before this one started.
            if is_first {
                kernel::remove_stale(&link.name);
            }
            self.expect(link);
        }
        let burst = self.pending.len() > BURST;
        while let Some((link, known)) = self.pending.pop_front() {
            self.attach(link, known, burst);
        }
        for name in &self.wanted {
            let attached = nix::net::if_::if_nametoindex(name.as_str());
            match attached {
                Ok(ifindex) if self.kernel.is_attached(ifindex) => {}
                Ok(ifindex) => match self.failed.get(&ifindex) {
                    Some(failure) => bail!("--iface {name}: {}", failure.reason),
                    None => bail!("--iface {name}: is no veth that leads to another namespace"),
                },
                Err(_) => {
                    bail!("--iface {name}: there is no such interface (`ip link` lists them)")
                }
            }
        }
        Ok(self.kernel.indexes().len())
    }

    fn expect(&mut self, link: Link) {
        let wanted = self.wanted.is_empty() || self.wanted.contains(&link.name);
        if wanted && !self.kernel.is_attached(link.ifindex) {
            self.pending.push_back((link, Instant::now()));
        }
    }

    fn attach(&mut self, link: Link, known: Instant, burst: bool) {
        let outcome = if burst {
            self.kernel.attach_quickly(link.ifindex)
        } else {
            self.kernel.attach(link.ifindex)
        };
        match outcome {
            Ok(attached) => {
                self.failed.remove(&link.ifindex);
                let kernel = link.created.and_then(super::uptime::since);
                let late = kernel.unwrap_or_else(|| known.elapsed());
                self.latency.add(late.min(self.started.elapsed()));
                if burst {
                    self.unsettled.push_back(link.ifindex);
                }
                tracing::info!(interface = %attached.name, ifindex = attached.ifindex, "attached");
                self.refresher.notify_one();
            }
            // It was too short-lived to be watched; its end has been or will be reported.
            Err(error) if kernel::is_gone(&error) => drop(self.failed.remove(&link.ifindex)),
            Err(error) => self.failed(link, &error),
        }
    }

    fn failed(&mut self, link: Link, error: &anyhow::Error) {
        let before = self.failed.get(&link.ifindex);
        let attempts = before.map_or(0, |failure| failure.attempts) + 1;
        let pause = RETRY.0 * (1 << (attempts - 1).min(16));
        let reason = reason(error);
        if attempts == 1 {
            tracing::warn!(interface = %link.name, "not attached: {reason}");
        }
        let failure = Failure {
            reason,
            attempts,
            next: Instant::now() + pause.min(RETRY.1),
            link,
        };
        self.failed.insert(failure.link.ifindex, failure);
    }

    fn forget(&mut self, ifindex: u32) {
        self.failed.remove(&ifindex);
        self.ahead.remove(&ifindex);
        self.pending.retain(|(link, _)| link.ifindex != ifindex);
        self.unsettled.retain(|unsettled| *unsettled != ifindex);
        if let Err(error) = self.kernel.detach(ifindex) {
            // The usual reason: the interface is gone, and its programs with it.
            tracing::debug!(ifindex, "detach: {error:#}");
        }
    }

    /// Detects a program that was placed before ours after we attached.
    fn look_ahead(&mut self, ifindex: u32) {
        let Some(name) = self.kernel.name(ifindex) else {
            return;
        };
        // Kernels without tcx cannot be queried.
        let ahead = kernel::programs_ahead(name).unwrap_or_default();
        let known = self.ahead.get(&ifindex).map_or(&[][..], Vec::as_slice);
        if ahead != known && !ahead.is_empty() {
            tracing::warn!(
                interface = name,
                "runs ahead of our programs, and may end a packet's way: {}",
                ahead.join(", ")
            );
        }
        if ahead.is_empty() {
            self.ahead.remove(&ifindex);
        } else {
            self.ahead.insert(ifindex, ahead);
        }
    }

    fn stop(&mut self) {
        self.pending.clear();
        for ifindex in self.kernel.indexes() {
            self.forget(ifindex);
        }
    }

    fn status(&self) -> KernelStatus {
        let failed = self.failed.values().map(|failure| NotAttached {
            name: failure.link.name.clone(),
            ifindex: failure.link.ifindex,
            reason: failure.reason.clone(),
            attempts: failure.attempts,
        });
        let interfaces = self.kernel.attached().into_iter().map(|attached| {
            let (ifindex, since) = (attached.ifindex, crate::clock::wall(attached.since));
            let mut interface = status::interface(attached);
            interface.since = Some(Time::from_nanos(since));
            interface.behind = self.ahead.get(&ifindex).cloned().unwrap_or_default();
            interface
        });
        KernelStatus {
            interfaces: interfaces.collect(),
            not_attached: failed.collect(),
            uplinks: self.uplinks.clone(),
            waiting: self.pending.len() as u64,
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

/// Why an interface is not watched, with the error's name and advice.
fn reason(error: &anyhow::Error) -> String {
    let hint = match kernel::errno(error.as_ref()) {
        Some(Errno::EMFILE) => {
            ": no file descriptors are left (raise the limit: LimitNOFILE, ulimit -n)"
        }
        Some(Errno::EPERM | Errno::EACCES) => {
            ": run as root or give CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"
        }
        _ => "",
    };
    match kernel::errno(error.as_ref()) {
        Some(errno) => format!("{errno:?}{hint}: {error:#}"),
        None => format!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_the_name_of_the_error() {
        let error = |code| anyhow::Error::new(std::io::Error::from_raw_os_error(code));
        let text = reason(&error(24).context("attach mtls_egress to veth0"));
        assert!(text.starts_with("EMFILE: no file descriptors"), "{text}");
        assert!(text.contains("attach mtls_egress to veth0"), "{text}");
        assert!(reason(&error(16)).starts_with("EBUSY: "));
    }
}

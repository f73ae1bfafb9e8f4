//! The container runtime as a source of names: what runs on this node, queried from the runtime's
//! own socket (CRI, `RuntimeService` v1), without an API server.
//!
//! The runtime is queried when it reports an event, when an interface or an address without a name
//! appears, and periodically.

mod client;
mod sandbox;

#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
mod runtime_v1;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Directory, Source};
use crate::clock::now;
use crate::netlink::Netlink;
use client::Client;

/// The sockets of runtimes: containerd, CRI-O, Docker with cri-dockerd.
const ENDPOINTS: [&str; 3] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/var/run/cri-dockerd.sock",
];
/// How often a runtime is queried that reports events,
const WITH_EVENTS: Duration = Duration::from_mins(1);
/// and one that does not.
const WITHOUT_EVENTS: Duration = Duration::from_secs(5);
/// After a new interface or an address without a name: the runtime lists a pod some time after it
/// has its interface, longer on a busy machine.
const AFTER: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(150),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// Events come in bursts, one for each container: they are combined.
const BURST: Duration = Duration::from_millis(20);
/// First and longest pause before a runtime that does not answer is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The source.
pub struct Cri {
    netlink: Netlink,
    directory: Arc<Directory>,
    /// The sockets to try, in this order.
    endpoints: Vec<PathBuf>,
    /// The one in use.
    client: Option<Client>,
    /// A runtime existed once, or was configured: its absence is an error.
    expected: bool,
}

impl Cri {
    /// Uses the runtime at `endpoint`; without one, any that listens at the usual paths.
    pub fn new(netlink: Netlink, directory: Arc<Directory>, endpoint: Option<PathBuf>) -> Self {
        Self {
            netlink,
            directory,
            expected: endpoint.is_some(),
            endpoints: match endpoint {
                Some(path) => vec![path],
                None => ENDPOINTS.iter().map(PathBuf::from).collect(),
            },
            client: None,
        }
    }

    /// Queries once. The directory reports a failure.
    pub async fn look(&mut self) -> bool {
        let Some(path) = self.endpoint() else {
            // No runtime, and none was configured: nothing to report.
            return true;
        };
        self.expected = true;
        let outcome = self.ask(&path).await;
        if let Err(error) = &outcome {
            self.client = None;
            tracing::debug!("container runtime: {error:#}");
            let error = format!(
                "{}: {error:#} (--cri-endpoint says where it is)",
                path.display()
            );
            self.directory.fail(Source::Cri, error);
        }
        outcome.is_ok()
    }

    /// The socket that exists; if there is none, the one that should.
    fn endpoint(&self) -> Option<PathBuf> {
        let present = self.endpoints.iter().find(|path| path.exists());
        let expected = || self.endpoints.first().filter(|_| self.expected);
        present.or_else(expected).cloned()
    }

    async fn ask(&mut self, path: &Path) -> anyhow::Result<()> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::connect(self.netlink.clone(), path).await?),
        };
        let entries = client.pods().await?;
        self.directory.publish(Source::Cri, entries, now());
        Ok(())
    }

    /// Queries continuously. `wanted` changes when a name is missing.
    pub async fn run(mut self, mut wanted: watch::Receiver<u64>) {
        let mut pause = PAUSE.0;
        // The number of queries since the last trigger.
        let mut asked = AFTER.len();
        loop {
            let good = self.look().await;
            let events = self.client.as_mut().map(|client| &mut client.events);
            let tells = events.as_ref().is_some_and(|events| events.work());
            let wait = if !good {
                pause = (pause * 2).min(PAUSE.1);
                pause
            } else if let Some(wait) = AFTER.get(asked) {
                *wait
            } else if tells {
                WITH_EVENTS
            } else {
                WITHOUT_EVENTS
            };
            if good {
                pause = PAUSE.0;
            }
            asked = asked.saturating_add(1);
            let event = async {
                match events {
                    Some(events) => events.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = event => tokio::time::sleep(BURST).await,
                // During the pause after a failure, an immediate query is pointless.
                news = wanted.changed(), if good => match news {
                    Ok(()) => asked = 0,
                    Err(_) => return,
                },
            }
        }
    }
}

//! The container runtime as a source of names: what runs on this node, asked of the runtime's own
//! socket (CRI, `RuntimeService` v1), with no API server needed.
//!
//! The runtime is asked again when it reports an event, when an interface or an address without a
//! name shows up, and from time to time anyway.

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

/// Where runtimes listen: containerd, CRI-O, Docker with cri-dockerd.
const ENDPOINTS: [&str; 3] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/var/run/cri-dockerd.sock",
];
/// A runtime that reports events is asked so often nevertheless,
const WITH_EVENTS: Duration = Duration::from_mins(1);
/// and one that doesn't, so often.
const WITHOUT_EVENTS: Duration = Duration::from_secs(5);
/// After a new interface or a nameless address: the runtime lists a pod a while after that has its
/// interface, longer where the machine is busy.
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
/// Events come in bursts, one of them for each container: they are taken together.
const BURST: Duration = Duration::from_millis(20);
/// First and longest pause before a runtime that doesn't answer is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The source.
pub struct Cri {
    netlink: Netlink,
    directory: Arc<Directory>,
    /// Where to look, in this order.
    endpoints: Vec<PathBuf>,
    /// The one in use.
    client: Option<Client>,
    /// A runtime was there once, or was asked for: that it is not is an error.
    expected: bool,
}

impl Cri {
    /// Of the runtime at `endpoint`; without one, of whichever listens where runtimes do.
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

    /// Asks once. A failure is the directory's to tell.
    pub async fn look(&mut self) -> bool {
        let Some(path) = self.endpoint() else {
            // No runtime, and none was asked for: nothing to report.
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

    /// The socket that is there; while none is, the one that should be.
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

    /// Goes on asking. `wanted` changes when somebody misses a name.
    pub async fn run(mut self, mut wanted: watch::Receiver<u64>) {
        let mut pause = PAUSE.0;
        // How often it was asked since the last news.
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
                // Whoever waits out a failure gains nothing from asking at once.
                news = wanted.changed(), if good => match news {
                    Ok(()) => asked = 0,
                    Err(_) => return,
                },
            }
        }
    }
}

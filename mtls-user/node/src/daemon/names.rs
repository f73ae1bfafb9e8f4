//! Keeps the pod directory up to date: starts its sources, and forwards requests for missing names.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Options;
use super::parts::Parts;
use crate::clock::now;
use crate::netlink::Netlink;
use crate::pods::cri::Cri;
use crate::pods::{self, Directory, Source, kubernetes};

/// How often names are checked without a trigger.
const PERIOD: Duration = Duration::from_secs(5);
/// After a trigger, they are checked again this much later: an interface exists before it has its
/// address.
const AFTER: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(500),
];
/// The directory where `ip netns` names namespaces.
const NETNS_DIR: &str = "/var/run/netns";
/// Triggers within this time are combined.
const BURST: Duration = Duration::from_millis(10);
/// How often the addresses of pods whose interface is unknown are resolved.
const RESOLVE: Duration = Duration::from_secs(30);
/// How long start-up may wait for the container runtime, so that the first flow finds names.
const FIRST: Duration = Duration::from_secs(3);

/// First and longest pause before restarting a source that ended.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

pub(super) struct Names {
    wanted: Arc<Notify>,
}

impl Names {
    /// Checks once before it returns, so that the first flow finds names; then continues in the
    /// background.
    pub(super) async fn start(
        parts: &mut Parts,
        netlink: Netlink,
        directory: Arc<Directory>,
        options: &Options,
    ) -> anyhow::Result<Self> {
        if let Some(path) = &options.pods {
            directory.publish(Source::File, pods::read_file(path)?, now());
        }
        let node = options.kubernetes.node.clone();
        let netns_dir = options.netns_dir.as_deref();
        let netns_dir = netns_dir.unwrap_or_else(|| Path::new(NETNS_DIR)).to_owned();
        look(&netlink, &directory, &netns_dir, node.as_deref()).await;
        let (missed, missing) = watch::channel(0);
        if options.cri {
            let mut cri = Cri::new(
                netlink.clone(),
                directory.clone(),
                options.cri_endpoint.clone(),
            );
            // If one takes longer, it continues in the background.
            let _ = tokio::time::timeout(FIRST, cri.look()).await;
            parts.task("asking the container runtime", async move {
                cri.run(missing).await;
                Ok(())
            });
        }
        if options.kubernetes.wanted() {
            let options = options.kubernetes.clone();
            let directory = directory.clone();
            parts.task("asking the Kubernetes API", async move {
                again(|| kubernetes::follow(directory.clone(), options.clone())).await
            });
        }
        let wanted = Arc::new(Notify::new());
        parts.task(
            "looking for namespaces",
            follow(netlink, directory, netns_dir, node, wanted.clone(), missed),
        );
        Ok(Self { wanted })
    }

    /// Signalled on an address without a name, or a new interface.
    pub(super) fn refresher(&self) -> Arc<Notify> {
        self.wanted.clone()
    }
}

/// Restarts it whenever it ends, after an increasing pause.
async fn again<F: Future<Output = ()>>(work: impl Fn() -> F) -> anyhow::Result<()> {
    let mut pause = PAUSE.0;
    loop {
        let begun = Instant::now();
        work().await;
        pause = if begun.elapsed() > PAUSE.1 {
            PAUSE.0
        } else {
            (pause * 2).min(PAUSE.1)
        };
        tokio::time::sleep(pause).await;
    }
}

async fn follow(
    netlink: Netlink,
    directory: Arc<Directory>,
    netns_dir: PathBuf,
    node: Option<String>,
    wanted: Arc<Notify>,
    missed: watch::Sender<u64>,
) -> anyhow::Result<()> {
    let mut after = AFTER.iter();
    let mut resolved = None;
    loop {
        let wait = after.next().copied().unwrap_or(PERIOD);
        if tokio::time::timeout(wait, wanted.notified()).await.is_ok() {
            missed.send_modify(|count| *count += 1);
            // Triggers come in bursts, as pods do.
            tokio::time::sleep(BURST).await;
            after = AFTER.iter();
        }
        look(&netlink, &directory, &netns_dir, node.as_deref()).await;
        if let Some(node) = &node
            && resolved.is_none_or(|at: Instant| at.elapsed() > RESOLVE)
        {
            let unplaced = directory.unplaced(node);
            if !unplaced.is_empty() {
                resolved = Some(Instant::now());
                if let Err(error) = netlink.resolve(&unplaced).await {
                    tracing::debug!("resolve the addresses of pods: {error:#}");
                }
            }
        }
    }
}

async fn look(netlink: &Netlink, directory: &Directory, netns_dir: &Path, node: Option<&str>) {
    match pods::scan_namespaces(netlink, netns_dir).await {
        Ok(entries) => directory.publish(Source::Netns, entries, now()),
        Err(error) => directory.fail(Source::Netns, format!("{error:#}")),
    }
    match pods::node_addresses(node) {
        Ok(entry) => directory.publish(Source::Node, [entry], now()),
        Err(error) => directory.fail(Source::Node, format!("{error:#}")),
    }
    // If the runtime says which interface belongs to which pod, no other source is needed.
    if node.is_some_and(|node| !directory.unplaced(node).is_empty()) {
        match netlink.behind().await {
            Ok(behind) => directory.place(behind),
            Err(error) => tracing::debug!("which address is behind which interface: {error:#}"),
        }
    }
}

//! Keeps the pod directory fresh: looks again when told to, and every few seconds anyway.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{Options, now};
use crate::pods::{self, Directory};

/// Without news, names are looked at so often.
const PERIOD: Duration = Duration::from_secs(5);
/// After news, again so much later: an interface comes before its address does.
const AFTER: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(500),
];
/// News within this time is one.
const BURST: Duration = Duration::from_millis(10);

pub(super) struct Names {
    wanted: Arc<Notify>,
}

impl Names {
    /// Looks once before it returns, so that the first flow finds names; then goes on by itself.
    pub(super) fn start(directory: Arc<Directory>, options: &Options) -> anyhow::Result<Self> {
        if let Some(path) = &options.pods {
            directory.publish("file", pods::read_file(path)?, now());
        }
        let netns_dir = options.netns_dir.clone();
        look(&directory, &netns_dir);
        let wanted = Arc::new(Notify::new());
        tokio::spawn(follow(directory, netns_dir, wanted.clone()));
        Ok(Self { wanted })
    }

    /// Whoever met an address without a name, or a new interface, asks by this.
    pub(super) fn refresher(&self) -> Arc<Notify> {
        self.wanted.clone()
    }
}

async fn follow(directory: Arc<Directory>, netns_dir: PathBuf, wanted: Arc<Notify>) {
    let mut after = AFTER.iter();
    loop {
        let wait = after.next().copied().unwrap_or(PERIOD);
        if tokio::time::timeout(wait, wanted.notified()).await.is_ok() {
            // News comes in bursts, as pods do.
            tokio::time::sleep(BURST).await;
            after = AFTER.iter();
        }
        let (directory, netns_dir) = (directory.clone(), netns_dir.clone());
        let looked = tokio::task::spawn_blocking(move || look(&directory, &netns_dir));
        let _ = looked.await;
    }
}

fn look(directory: &Directory, netns_dir: &std::path::Path) {
    match pods::scan_namespaces(netns_dir) {
        Ok(entries) => directory.publish("netns", entries, now()),
        Err(error) => directory.fail("netns", format!("{error:#}")),
    }
    match pods::node_addresses() {
        Ok(entry) => directory.publish("node", vec![entry], now()),
        Err(error) => directory.fail("node", format!("{error:#}")),
    }
}

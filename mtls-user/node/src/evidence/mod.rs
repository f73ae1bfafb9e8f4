//! What the daemon writes to the Kubernetes API about the pods of this node: Events when something
//! became worse than before or than expected, and policy reports on the edges of each pod.
//!
//! Each daemon writes only about its own node's pods, so that no two write the same.

mod events;
mod limit;
mod object;
mod reports;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smol_str::SmolStr;

pub use events::{Find, Finding, Recorder};
pub use limit::Limiter;
pub use reports::{Book, Flavour};

use crate::metrics::Outlet;
use crate::pods::Entry;
use mtls_core::record::Peer;

/// A pod of this node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pod {
    /// Its namespace.
    pub namespace: SmolStr,
    /// Its name.
    pub name: SmolStr,
    /// Distinguishes it from others with the same name.
    pub uid: SmolStr,
}

impl Pod {
    /// The pod of a directory entry from the Kubernetes API, if it has a network of its own.
    pub fn of(entry: &Entry) -> Option<Self> {
        let name = entry.workload.pod.clone()?;
        let is_its_own = !entry.facts.host_network && !entry.uid.is_empty();
        is_its_own.then(|| Self {
            namespace: entry.workload.namespace.clone(),
            name,
            uid: entry.uid.clone(),
        })
    }

    /// Whether an end of a flow is this pod.
    pub fn is(&self, peer: &Peer) -> bool {
        let who = peer.workload.as_ref();
        who.is_some_and(|who| {
            who.pod.as_ref() == Some(&self.name) && who.namespace == self.namespace
        })
    }
}

/// Outcome counts of writes.
#[derive(Debug)]
pub struct Written {
    name: &'static str,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Written {
    /// Zero counts for the output `name`.
    pub fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// This many were written.
    pub fn sent(&self, n: u64) {
        self.sent.fetch_add(n, Ordering::Relaxed);
    }

    /// This many were not, because they exceeded a limit or the API rejected them.
    pub fn dropped(&self, n: u64) {
        self.dropped.fetch_add(n, Ordering::Relaxed);
    }

    /// The counts for the metrics.
    pub fn outlet(&self) -> Outlet {
        Outlet {
            name: self.name,
            sent: self.sent.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            queued: 0,
        }
    }
}

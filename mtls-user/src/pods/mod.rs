//! Who an address belongs to: a directory fed by any number of sources.
//!
//! A source publishes everything it knows at once; the directory remembers for a while what went
//! away, as the last events of a pod come after its end. Looking a name up takes no lock.

mod file;
mod netns;
mod node;
mod snapshot;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::verdict::Workload;
pub use file::read as read_file;
pub use netns::scan as scan_namespaces;
pub use node::addresses as node_addresses;
use snapshot::Snapshot;

/// How long a pod's name outlives it.
const GRACE: Duration = Duration::from_mins(5);

/// One pod, or anything else that owns addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub workload: Workload,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its interfaces on the host's side.
    pub links: Vec<u32>,
}

/// An entry and the time for which it holds.
#[derive(Clone, Debug)]
struct Dated {
    entry: Arc<Entry>,
    /// Nanoseconds since the Unix epoch.
    from: u64,
    /// `None` while it holds.
    until: Option<u64>,
}

/// How a source is, for `mtls status`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SourceHealth {
    /// `netns`, `file`, …
    pub name: String,
    /// Entries that hold now.
    pub entries: usize,
    /// Nanoseconds since the Unix epoch of the last good answer.
    pub updated: u64,
    /// What went wrong since; the entries are as they were then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Default)]
struct Source {
    entries: Vec<Dated>,
    updated: u64,
    error: Option<String>,
}

/// Names for addresses.
#[derive(Debug, Default)]
pub struct Directory {
    sources: Mutex<BTreeMap<&'static str, Source>>,
    snapshot: ArcSwap<Snapshot>,
}

impl Directory {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// `source` knows exactly these entries as of `now` (nanoseconds since the Unix epoch).
    pub fn publish(&self, source: &'static str, entries: Vec<Entry>, now: u64) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sources.entry(source).or_default();
        let mut changed = false;
        let grace = GRACE.as_nanos() as u64;
        for dated in &mut known.entries {
            if dated.until.is_none() && !entries.contains(&dated.entry) {
                dated.until = Some(now);
                changed = true;
            }
        }
        let before = known.entries.len();
        known
            .entries
            .retain(|dated| dated.until.is_none_or(|until| now < until + grace));
        changed |= before != known.entries.len();
        for entry in entries {
            let holds = |dated: &Dated| dated.until.is_none() && *dated.entry == entry;
            if !known.entries.iter().any(holds) {
                known.entries.push(Dated {
                    entry: Arc::new(entry),
                    from: now,
                    until: None,
                });
                changed = true;
            }
        }
        known.updated = now;
        known.error = None;
        if changed {
            self.rebuild(&sources);
        }
    }

    /// `source` cannot be asked: what it said before still stands, and is said to be stale.
    pub fn fail(&self, source: &'static str, error: String) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sources.entry(source).or_default();
        let first = known.error.is_none();
        known.error = Some(error);
        if first {
            self.rebuild(&sources);
        }
    }

    fn rebuild(&self, sources: &BTreeMap<&'static str, Source>) {
        let generation = self.snapshot.load().generation() + 1;
        let stale = |source: &Source| source.error.is_some().then_some(source.updated);
        let entries = sources
            .values()
            .flat_map(|source| source.entries.iter().map(move |e| (e, stale(source))));
        self.snapshot
            .store(Arc::new(Snapshot::new(generation, entries)));
    }

    /// Who `ip` was at `time` (nanoseconds since the Unix epoch); `link` is the interface of the
    /// host that leads to it, where one is known to.
    pub fn name(&self, ip: IpAddr, link: Option<u32>, time: u64) -> Workload {
        self.snapshot.load().name(ip, link, time)
    }

    /// Goes up whenever a name may have changed.
    pub fn generation(&self) -> u64 {
        self.snapshot.load().generation()
    }

    /// Each source's state.
    pub fn health(&self) -> Vec<SourceHealth> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources
            .iter()
            .map(|(name, source)| SourceHealth {
                name: (*name).into(),
                entries: source.entries.iter().filter(|e| e.until.is_none()).count(),
                updated: source.updated,
                error: source.error.clone(),
            })
            .collect()
    }
}
